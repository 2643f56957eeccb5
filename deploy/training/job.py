"""The training of section 03 as a TrainJob through the Kubeflow SDK: on this machine, or on a cluster on several nodes.

    pip install -r requirements-train.txt
    python deploy/training/job.py training_data.jsonl --out run --profile mini
    python deploy/training/job.py /data/training_data.jsonl --out /data/run --on cluster --image ADDRESS --nodes 2

Both send the same function, `train_rows`, with the same arguments. On this machine the SDK makes a fresh environment
for it, so a package index has to be in reach; on a cluster the workbench image brings everything. Paths are those that
the job sees: on a cluster the volume `--claim` lies at /data. Exit code 0: trained; 1: the job failed; 2: not started.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "requirements.txt"
NEEDED = (  # what the job imports; PINS says which versions, but for PyTorch
    "torch==2.13.0 accelerate bitsandbytes datasets jinja2 pandas peft pydantic pyyaml rank-bm25 scipy statsmodels "
    "tokenizers transformers trl"
).split()
ENDED = {"Complete", "Failed"}
POD_ENV = {"HOME": "/tmp", "HF_HOME": "/data/.cache/huggingface", "PYTHONPATH": "/opt/lab"}


def train_rows(parameters=None, **named):
    """Train as the command "adaptlab train rows" does; the SDK sends this source, so it stands alone.

    On this machine the arguments come as one dictionary, on a cluster as keywords. There a shell carries the source,
    so it may hold no dollar sign, backtick or backslash.
    """
    import sys

    from adaptlab.cli import main

    options = {**(parameters or {}), **named}
    rows = options.pop("rows")
    sys.exit(main(["train", "rows", rows, *(f"--{name.replace('_', '-')}={value}" for name, value in options.items())]))


def local(options: argparse.Namespace) -> tuple[Any, dict[str, Any], list[Any]]:
    """Client, settings of the trainer and options of the job for a fresh environment on this machine."""
    from kubeflow.trainer import LocalProcessBackendConfig, TrainerClient

    python = Path(sys.executable).parent
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PET_STANDALONE": "1", "PET_NPROC_PER_NODE": str(options.processes)}
    env["PATH"] = os.environ["PATH"] = f"{python}{os.pathsep}{os.environ['PATH']}"  # the SDK takes the first python
    env |= {"PIP_CONSTRAINT": PINS.as_uri(), "PIP_NO_COMPILE": "1"}
    indexes = options.index or [os.environ[name] for name in ("PIP_INDEX_URL",) if os.environ.get(name)]
    settings = {"packages_to_install": NEEDED, "env": env, **({"pip_index_urls": indexes} if indexes else {})}
    return TrainerClient(LocalProcessBackendConfig()), settings, []


def cluster(options: argparse.Namespace) -> tuple[Any, dict[str, Any], list[Any]]:
    """Client, settings of the trainer and options of the job for Kubeflow Trainer v2, as in trainjob.yaml."""
    from kubeflow.trainer import KubernetesBackendConfig, TrainerClient
    from kubeflow.trainer.options import (
        ContainerPatch,
        JobSetSpecPatch,
        JobSetTemplatePatch,
        JobSpecPatch,
        JobTemplatePatch,
        Labels,
        PodSpecPatch,
        PodTemplatePatch,
        ReplicatedJobPatch,
        RuntimePatch,
        TrainingRuntimeSpecPatch,
    )

    pod = PodSpecPatch(
        volumes=[{"name": "home", "persistentVolumeClaim": {"claimName": options.claim}}],
        containers=[ContainerPatch(name="node", volume_mounts=[{"name": "home", "mountPath": "/data"}])],
    )
    job = JobTemplatePatch(spec=JobSpecPatch(template=PodTemplatePatch(spec=pod)))
    jobs = JobSetSpecPatch(replicated_jobs=[ReplicatedJobPatch(name="node", template=job)])
    patch = RuntimePatch(TrainingRuntimeSpecPatch(template=JobSetTemplatePatch(spec=jobs)))
    resources = {"cpu": "8", "memory": "48Gi", "gpu": str(options.processes)}
    settings = {"image": options.image, "num_nodes": options.nodes, "resources_per_node": resources, "env": POD_ENV}
    client = TrainerClient(KubernetesBackendConfig(namespace=options.namespace))
    return client, settings, [Labels({"app": "adaptation-lab"}), patch]


def arguments(options: argparse.Namespace) -> dict[str, str]:
    """What `train_rows` gets; relative paths mean this folder, wherever the job runs."""
    here = options.on == "local"
    rows, out = (str(Path(path).resolve()) if here else path for path in (options.rows, options.out))
    base = str(Path(options.base).resolve()) if options.base and Path(options.base).is_dir() and here else options.base
    given = {"rows": rows, "out": out, "profile": options.profile, "base": base}
    given |= {"batch_size": options.batch_size, "max_steps": options.max_steps}
    return {name: str(value) for name, value in given.items() if value}


def run(options: argparse.Namespace) -> int:
    """Submit, wait for the end, whichever it is, and print what the first node said."""
    from kubeflow.trainer import CustomTrainer
    from kubeflow.trainer.options import Name

    client, settings, more = (local if options.on == "local" else cluster)(options)
    trainer = CustomTrainer(func=train_rows, func_args=arguments(options), **settings)
    name = client.train(options.runtime, trainer=trainer, options=[Name(options.name), *more])
    print(f"The TrainJob {name} was sent; waiting for its end.", flush=True)
    try:
        job = client.wait_for_job_status(name, status=ENDED, timeout=options.timeout, polling_interval=1)
    except BaseException:
        if options.on == "local":
            client.delete_job(name)
        raise
    for line in client.get_job_logs(name):
        print(line)
    print(f"The TrainJob {name}: {job.status}.")
    return 0 if job.status == "Complete" else 1


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train rows as a TrainJob of Kubeflow Trainer v2.")
    parser.add_argument("rows", help="training rows as section 02 writes them")
    parser.add_argument("--out", required=True, help="the folder to write; on several nodes, on a disk that all see")
    parser.add_argument("--on", choices=["local", "cluster"], default="local", help="where it runs (local)")
    parser.add_argument("--profile", default="mini", help="(mini)")
    parser.add_argument("--base", help="a folder with weights or a hub name; else the profile's student")
    parser.add_argument("--batch-size", type=int, help="rows a step and process; else the profile's")
    parser.add_argument("--max-steps", type=int, help="stop after so many steps")
    parser.add_argument("--processes", type=int, default=1, help="processes a node, on a cluster with a GPU each (1)")
    parser.add_argument("--nodes", type=int, default=1, help="on a cluster (1)")
    parser.add_argument("--image", help="on a cluster: the workbench image's address")
    parser.add_argument("--claim", default="adaptation-lab", help="on a cluster: the volume (adaptation-lab)")
    parser.add_argument("--namespace", help="on a cluster; else the current one")
    parser.add_argument("--runtime", default="torch-distributed", help="(torch-distributed)")
    parser.add_argument("--name", default="adaptation-lab", help="the job's name (adaptation-lab)")
    parser.add_argument("--index", action="append", metavar="URL", help="here: a package index; repeat it for more")
    parser.add_argument("--timeout", type=int, default=6 * 3600, help="seconds to wait (21600)")
    options = parser.parse_args(argv)
    if options.on == "cluster" and not options.image:
        parser.error("name the workbench image's address with --image")
    if options.on == "local" and options.nodes > 1:
        parser.error("this machine is one node: leave --nodes out, and take --processes")
    return options


def main(argv: list[str] | None = None) -> int:
    """Run a job; whatever keeps it from being sent or watched is one sentence."""
    options = parse(argv)
    try:
        import kubeflow.trainer  # noqa: F401
    except ImportError:
        print("The Kubeflow SDK is missing: run pip install -r requirements-train.txt.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="trainjob.") as folder:
        tempfile.tempdir = folder  # the SDK puts the environment here, and leaves it behind where a job fails
        try:
            return run(options)
        except (RuntimeError, TimeoutError, ValueError) as error:
            said = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
            print(f"The TrainJob cannot be run or watched ({' '.join(said.split())[:300]}).", file=sys.stderr)
            return 2
        finally:
            tempfile.tempdir = None


if __name__ == "__main__":
    sys.exit(main())
