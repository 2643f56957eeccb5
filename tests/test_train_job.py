"""The training as a TrainJob: one function for this machine and for clusters, sent by the real Kubeflow SDK.

What is marked `index` installs that SDK and runs the job in a fresh environment of its local backend.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT, clean_environ
from fault_helpers import free_port

from adaptlab import files, setup_env
from tests.test_manifests import documents, problems
from tests.test_training import ROWS, adapter_weights, log_lines, make_base

SCRIPT = ROOT / "deploy" / "training" / "job.py"
CPU = {"LAB_PROFILE": "mini", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "NO_PROXY": "127.0.0.1"}


def the_script() -> Any:
    spec = importlib.util.spec_from_file_location("job", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


JOB = the_script()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "tiny-granite")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.write_jsonl(tmp_path_factory.mktemp("rows") / "training_data.jsonl", ROWS[:20])


def python(*arguments: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
    env = clean_environ(os.environ, CPU, {"PYTHONPATH": str(ROOT)}, changes)
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)


# -------------------------------------------------------------------------------------------- without a package index


def test_the_jobs_function_stands_alone_takes_both_kinds_of_arguments_and_survives_a_shell(rows, base, tmp_path):
    source = inspect.getsource(JOB.train_rows)
    assert not re.search(r"[$`\\]", source)  # on a cluster a here-document of the shell carries it
    keywords = {"rows": str(rows), "out": str(tmp_path / "run"), "base": str(base), "max_steps": "1"}
    (tmp_path / "cluster.py").write_text(f"{source}\ntrain_rows(**{keywords})\n")
    done = python(tmp_path / "cluster.py")
    assert done.returncode == 0 and "the adapter is in" in done.stdout, done.stderr
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()
    (tmp_path / "here.py").write_text(f"{source}\ntrain_rows({ {**keywords, 'profile': 'none'} })\n")
    done = python(tmp_path / "here.py")
    assert done.returncode == 2 and "'none'" in done.stderr and done.stderr.count("\n") == 1


def test_the_fresh_environment_gets_the_labs_own_pins() -> None:
    pinned = re.findall(r"^([\w.-]+)==", JOB.PINS.read_text("utf-8"), re.MULTILINE)
    first, *names = JOB.NEEDED
    assert first == setup_env.TORCH and set(names) <= set(pinned)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--on", "cluster"], "name the workbench image's address with --image"),
        (["--nodes", "2"], "this machine is one node: leave --nodes out, and take --processes"),
        ([], "The Kubeflow SDK is missing: run pip install -r requirements-train.txt."),
    ],
)
def test_what_keeps_a_job_from_being_sent_is_one_sentence(options, words, capsys) -> None:
    if not options and importlib.util.find_spec("kubeflow") is not None:
        pytest.skip("the Kubeflow SDK is installed here")
    try:
        code = JOB.main(["rows.jsonl", "--out", "run", *options])
    except SystemExit as stopped:  # argparse's own way
        code = stopped.code
    assert code == 2 and words in capsys.readouterr().err


def trainjob(name: str) -> dict[str, Any]:
    [job] = [d for d in documents(ROOT / "deploy" / "training" / name) if d["kind"] == "TrainJob"]
    return job


def test_the_job_of_several_nodes_is_that_of_one_but_for_nodes_batch_and_volume() -> None:
    one, several = trainjob("trainjob.yaml"), trainjob("trainjob-nodes.yaml")
    [claim] = [d for d in documents(ROOT / "deploy/training/trainjob-nodes.yaml") if d["kind"] != "TrainJob"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"] and claim["metadata"]["name"] == volume(several)
    nodes, batch = several["spec"]["trainer"]["numNodes"], several["spec"]["trainer"]["args"].pop()
    assert nodes > 1 and batch == f"--batch-size={profile_batch() // nodes}"
    expected = copy.deepcopy(one)
    expected["metadata"]["name"] = several["metadata"]["name"]
    expected["spec"]["trainer"] |= {"numNodes": nodes}
    expected["spec"]["trainer"]["args"][0] = several["spec"]["trainer"]["args"][0]
    expected["spec"]["runtimePatches"] = several["spec"]["runtimePatches"]
    assert several == expected


def volume(job: dict[str, Any]) -> str:
    """The claim that the job's pods mount."""
    [patch] = job["spec"]["runtimePatches"]
    [node] = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = node["template"]["spec"]["template"]["spec"]
    [mounted], [container] = pod["volumes"], pod["containers"]
    assert container["volumeMounts"] == [{"name": mounted["name"], "mountPath": "/data"}]
    return str(mounted["persistentVolumeClaim"]["claimName"])


def profile_batch() -> int:
    from config import L40S

    return L40S.training.batch_size


# --------------------------------------------------------------------------------------------- with a package index


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the Kubeflow SDK and nothing of the lab."""
    folder = tmp_path_factory.mktemp("sdk")
    venv.create(folder, with_pip=True)
    command = [folder / "bin" / "python", "-m", "pip", "install", "-q", "-r", ROOT / "requirements-train.txt"]
    subprocess.run(command, check=True, timeout=1200)
    return folder / "bin" / "python"


def send(sdk: Path, *arguments: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """`job.py` in the SDK's environment."""
    env = clean_environ(os.environ, CPU, changes)
    return subprocess.run([sdk, SCRIPT, *arguments], env=env, capture_output=True, text=True, timeout=3600)


def trained(rows: Path, base: Path, out: Path, *options: str) -> Path:
    """The same training by the command line of this environment."""
    done = python("-m", "adaptlab", "train", "rows", rows, "--out", out, "--base", base, *options)
    assert done.returncode == 0, done.stderr
    return out


def assert_same_training(one: Path, other: Path, rtol: float) -> None:
    assert [line["loss"] for line in log_lines(other)] == pytest.approx(
        [line["loss"] for line in log_lines(one)], rel=rtol
    )
    weights = adapter_weights(other)
    for name, weight in adapter_weights(one).items():
        torch.testing.assert_close(weights[name], weight, rtol=100 * rtol, atol=1e-4)


@pytest.mark.index
def test_the_local_backend_trains_what_the_command_trains(sdk, rows, base, tmp_path) -> None:
    asked = ("--batch-size", "4", "--max-steps", "5")
    done = send(sdk, rows, "--out", tmp_path / "job", "--base", base, *asked, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert done.stdout.endswith("The TrainJob adaptation-lab: Complete.\n") and "nvidia-" not in done.stdout
    assert_same_training(trained(rows, base, tmp_path / "command", *asked), tmp_path / "job", rtol=1e-5)
    assert not list(tmp_path.glob("trainjob.*"))


@pytest.mark.index
def test_a_local_job_that_fails_ends_with_its_log_and_leaves_no_environment(sdk, rows, tmp_path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/simple"
    done = send(sdk, rows, "--out", tmp_path / "job", "--index", nowhere, TMPDIR=str(tmp_path), PIP_RETRIES="0")
    assert done.returncode == 1, done.stderr
    assert "ERROR: " in done.stdout and done.stdout.endswith("The TrainJob adaptation-lab: Failed.\n")
    assert list(tmp_path.iterdir()) == []


class Cluster:
    """What the SDK asks of a cluster: one runtime, and TrainJobs that are over at once."""

    def __init__(self, folder: Path) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, name = self.path.partition("?")[0].split("/")[-2:]
                found = outer.runtime() if kind == "clustertrainingruntimes" else outer.jobs.get(name)
                if name == "pods":
                    found = {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": []}
                self.answer(200 if found else 404, found or {"message": "not found"})

            def do_POST(self) -> None:
                job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.jobs[job["metadata"]["name"]] = outer.ended(job)
                self.answer(201, job)

            def answer(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        at = {"cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}, "name": "here"}
        user = {"name": "me", "user": {"token": "made-up-for-this-test"}}
        context = {"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "lab"}}
        known = {"clusters": [at], "users": [user], "contexts": [context], "current-context": "here"}
        self.config = folder / "kubeconfig"
        self.config.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **known}))

    def runtime(self) -> dict[str, Any]:
        """`torch-distributed`, as Kubeflow Trainer installs it."""
        container = {"name": "node", "image": "pytorch/pytorch"}
        pods = {"template": {"spec": {"containers": [container]}}}
        labels = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
        node = {"name": "node", "template": {"metadata": {"labels": labels}, "spec": pods}}
        return {
            "apiVersion": "trainer.kubeflow.org/v1alpha1",
            "kind": "ClusterTrainingRuntime",
            "metadata": {"name": "torch-distributed", "labels": {"trainer.kubeflow.org/framework": "torch"}},
            "spec": {
                "mlPolicy": {"numNodes": 1, "torch": {"numProcPerNode": "auto"}},
                "template": {"spec": {"replicatedJobs": [node]}},
            },
        }

    def ended(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job as a cluster shows it when it is over; one whose image is `broken` has failed."""
        kind = "Failed" if job["spec"]["trainer"]["image"] == "broken" else "Complete"
        now = "2026-11-01T00:00:00Z"
        condition = {"type": kind, "status": "True", "reason": "x", "message": "x", "lastTransitionTime": now}
        metadata = {**job["metadata"], "namespace": "lab", "creationTimestamp": now}
        return {**job, "metadata": metadata, "status": {"conditions": [condition]}}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


def sent(sdk: Path, cluster: Cluster, *arguments: str | Path) -> tuple[int, str]:
    """Exit code and last line of a job that is sent to the stand-in."""
    done = send(sdk, *arguments, "--on", "cluster", KUBECONFIG=str(cluster.config))
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout.splitlines()[-1]


@pytest.mark.index
@pytest.mark.parametrize(("name", "nodes"), [("trainjob.yaml", 1), ("trainjob-nodes.yaml", 2)])
def test_what_the_sdk_sends_to_a_cluster_is_the_manifest_but_for_the_command(sdk, cluster, name, nodes) -> None:
    manifest = trainjob(name)
    trainer, [file, out, *more] = manifest["spec"]["trainer"], manifest["spec"]["trainer"]["args"]
    named = ("--image", trainer["image"], "--claim", volume(manifest), "--name", manifest["metadata"]["name"])
    assert sent(sdk, cluster, file, out, *more, "--nodes", str(nodes), *named)[0] == 0
    job = cluster.jobs[manifest["metadata"]["name"]]
    assert problems({key: value for key, value in job.items() if key != "status"}) == []
    assert job["spec"]["runtimeRef"]["name"] == manifest["spec"]["runtimeRef"]["name"]
    assert volume(job) == volume(manifest)
    given = job["spec"]["trainer"]
    for field in ("image", "numNodes", "env", "resourcesPerNode"):
        assert given[field] == trainer[field], field
    for value in (file, out.partition("=")[2], *(option.partition("=")[2] for option in more)):
        assert repr(value) in given["command"][-1]


@pytest.mark.index
def test_a_job_that_fails_on_a_cluster_ends_the_wait_with_exit_code_1(sdk, cluster) -> None:
    assert sent(sdk, cluster, "/data/rows.jsonl", "--out", "/data/run", "--image", "broken") == (
        1,
        "The TrainJob adaptation-lab: Failed.",
    )


@pytest.mark.index
def test_the_command_of_the_job_trains_on_two_nodes_what_one_process_trains(sdk, cluster, rows, base, tmp_path) -> None:
    out = tmp_path / "shared"
    asked = ("--base", base, "--max-steps", "5", "--profile", "mini", "--image", "any", "--nodes", "2")
    assert sent(sdk, cluster, rows, "--out", out, "--batch-size", "2", *asked)[0] == 0
    command = cluster.jobs["adaptation-lab"]["spec"]["trainer"]["command"]
    place = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "127.0.0.1"}
    place |= {"PET_MASTER_PORT": str(free_port()), "PYTHONPATH": str(ROOT)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    nodes = []
    for rank in range(2):  # the variables are those that the torch plugin of Kubeflow Trainer sets in each pod
        (pod := tmp_path / f"pod-{rank}").mkdir()
        env = clean_environ(os.environ, CPU, place, {"PET_NODE_RANK": str(rank), "PATH": path})
        nodes.append(subprocess.Popen(command, cwd=pod, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    said = [node.communicate(timeout=900)[0].decode() for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(said)[-3000:]
    assert_same_training(trained(rows, base, tmp_path / "one", "--batch-size", "4", "--max-steps", "5"), out, rtol=1e-4)
