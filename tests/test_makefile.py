"""Set-up from nothing: the right Python, PyTorch never replaced nor with CUDA by surprise, half-made work redone."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from adaptlab import setup_env
from adaptlab.capture import read_manifest
from adaptlab.sections import LONG, NOTEBOOKS
from config import ROOT

OUTER = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON", "VENV", "VENV_DEMO")


def environment(**more: str) -> dict[str, str]:
    """The environment without an outer make's variables."""
    return {name: value for name, value in os.environ.items() if name not in OUTER} | more


def make(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-C", str(ROOT), *arguments]
    return subprocess.run(command, env=environment(**variables), capture_output=True, text=True)


def set_up(venv: Path, *options: str) -> list[str]:
    return [sys.executable, "-P", str(ROOT / "adaptlab" / "setup_env.py"), "--venv", str(venv), *options]


def pins(name: str) -> dict[str, set[str]]:
    """The pinned versions of a compiled file by package."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text("utf-8").splitlines():
        package, _, rest = line.partition("==")
        found.setdefault(package, set()).add(rest.split(";")[0].strip())
    return found


# ------------------------------------------------------------------------------------------- requirements


GPU_FILES = ("gpu", "unsloth")


LISTS = ("demo", "eval", "train", *GPU_FILES)


@pytest.mark.parametrize("name", ["requirements.txt", *(f"requirements-{n}.txt" for n in LISTS)])
def test_requirements_are_pinned_without_index_lines_pytorch_or_cuda(name):
    lines = (ROOT / name).read_text("utf-8").splitlines()
    assert lines and all(re.match(r"[a-z0-9][a-z0-9._-]*==[^\s;]+( ; .+)?$", line) for line in lines)
    assert not [line for line in lines if re.match(r"(torch|triton|nvidia-\S*|cuda-\S*)==", line)]


def test_every_wanted_pin_is_in_the_compiled_requirements():
    wanted = re.findall(r"^([a-z][\w-]*)==(\S+)$", (ROOT / "requirements.in").read_text("utf-8"), re.MULTILINE)
    compiled = pins("requirements.txt")
    assert len(wanted) > 8
    assert [name for name, version in wanted if name != "torch" and compiled.get(name) != {version}] == []


def test_a_replay_uses_the_same_versions_as_a_live_run():
    whole = pins("requirements.txt")
    replay = pins("requirements-demo.txt")
    assert [name for name, versions in replay.items() if not versions <= whole.get(name, set())] == []


@pytest.mark.parametrize(("name", "wanted"), [("eval", "lm-eval"), ("train", "kubeflow")])
def test_what_comes_on_top_never_changes_a_version_of_the_lab(name, wanted):
    lab, more = pins("requirements.txt"), pins(f"requirements-{name}.txt")
    assert wanted in more
    assert [name for name, versions in more.items() if name in lab and versions != lab[name]] == []


@pytest.mark.parametrize("name", GPU_FILES)
def test_every_wanted_pin_of_a_gpu_is_in_its_compiled_requirements(name):
    text = (ROOT / f"requirements-{name}.in").read_text("utf-8")
    base = (ROOT / "requirements.in").read_text("utf-8") if "-r requirements.in" in text else ""
    wanted = dict(re.findall(r"^([a-z][\w-]*)==(\S+)$", base + text, re.MULTILINE))
    compiled = pins(f"requirements-{name}.txt")
    assert len(wanted) > 8 and wanted["torch"] == setup_env.TORCH.partition("==")[2]
    assert {n: v for n, v in wanted.items() if n != "torch" and compiled.get(n) != {v}} == {}


def test_unsloth_stands_beside_the_versions_that_it_allows():
    unsloth, lab = pins("requirements-unsloth.txt"), pins("requirements-gpu.txt")
    assert unsloth["unsloth"] == unsloth["unsloth-zoo"] and unsloth["trl"] == {"1.15.0"} != lab["trl"]
    for shared in ("transformers", "peft", "datasets", "accelerate", "bitsandbytes", "sdg-hub", "its-hub"):
        assert unsloth[shared] == lab[shared]


def test_what_unsloth_needs_besides_trl_is_what_the_lab_needs():
    """requirements-unsloth.in cannot include requirements.in, whose trl unsloth refuses; so the two are kept alike."""
    names = [
        {line for line in (ROOT / file).read_text("utf-8").splitlines() if re.match(r"[a-z]", line)}
        for file in ("requirements.in", "requirements-unsloth.in")
    ]
    assert names[0] - names[1] == {"trl==1.16.0"}
    assert {re.split("==", line)[0] for line in names[1] - names[0]} == {"unsloth", "unsloth-zoo", "trl"}


@pytest.mark.slow
@pytest.mark.parametrize("name", GPU_FILES)
def test_the_requirements_of_a_gpu_resolve_for_python_3_12(name, tmp_path):
    uv = shutil.which(os.environ.get("UV", "uv"))
    if uv is None:
        pytest.skip("uv is not installed")
    kept = tmp_path / "constraints.txt"  # what is committed has to be a solution still
    kept.write_text((ROOT / f"requirements-{name}.txt").read_text("utf-8"))
    options = ["--quiet", "--universal", "--python-version", "3.12", "--no-header", "--no-annotate"]
    command = [uv, "pip", "compile", *options, "--constraint", str(kept), str(ROOT / f"requirements-{name}.in")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode and "No solution found" not in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    lines = set(done.stdout.split("\n"))
    assert [line for line in kept.read_text().splitlines() if line not in lines] == []


# ------------------------------------------------------------------------------------------- make


def test_without_a_fitting_python_make_says_one_sentence_and_makes_nothing(tmp_path):
    done = make("env", "PYTHON=/bin/false no-such-python", f"VENV={tmp_path / 'venv'}")
    assert done.returncode == 2
    first = done.stderr.splitlines()[0]
    assert first.startswith("The lab needs Python 3.11 or 3.12") and "PYTHON=" in first
    assert list(tmp_path.iterdir()) == []


def test_ci_does_what_make_test_does():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text("utf-8").splitlines()
    assert "set -euo pipefail" in lines and lines[-1] == "make test"


def test_a_folder_that_is_not_ours_is_never_removed(tmp_path):
    mine = tmp_path / "venv"
    mine.mkdir()
    (mine / "precious.txt").write_text("keep", encoding="utf-8")
    done = subprocess.run(set_up(mine, "--no-torch"), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Set-up stopped: venv exists and was not made by this Makefile: move it away")
    cleaned = make("clean", f"VENV={mine}", f"VENV_DEMO={tmp_path / 'none'}", "--dry-run")
    assert cleaned.returncode == 0
    assert (mine / "precious.txt").read_text("utf-8") == "keep"


def test_an_interrupted_environment_is_made_again_and_a_finished_one_is_left_alone(tmp_path):
    venv = tmp_path / "venv"
    wanted = f"setuptools=={min(pins('requirements.txt')['setuptools'])}"
    listed = tmp_path / "few.txt"
    listed.write_text(f"{wanted}\n", encoding="utf-8")
    command = set_up(venv, "--no-torch", "--requirements", str(listed))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (venv / "lab-owned").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == "Interrupted: venv is half made, and the next make makes it again."
    assert venv.exists() and not (venv / setup_env.STAMP).exists()

    redone = subprocess.run(command, capture_output=True, text=True)
    assert redone.returncode == 0, redone.stderr
    assert redone.stdout.startswith("venv is half made; it is made again.")
    code = "import adaptlab, config; print(config.ROOT)"
    inside = subprocess.run([venv / "bin" / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert inside.stdout.strip() == str(ROOT), inside.stderr

    stamp = (venv / setup_env.STAMP).stat()
    left = subprocess.run(command, capture_output=True, text=True)
    assert (left.returncode, left.stdout, left.stderr) == (0, "", "")
    assert (venv / setup_env.STAMP).stat().st_mtime_ns == stamp.st_mtime_ns
    before = setup_env.wanted_stamp(listed, torch=False)
    listed.write_text(f"{wanted}\n# one line more\n", encoding="utf-8")
    assert setup_env.wanted_stamp(listed, torch=False)["requirements"] != before["requirements"]


def test_an_environment_whose_pytorch_went_with_an_image_is_made_again(only_local_wheels, tmp_path, monkeypatch):
    wheel(only_local_wheels)
    venv, listed = tmp_path / "venv", tmp_path / "none.txt"
    listed.write_text("", encoding="utf-8")
    monkeypatch.setenv("LAB_SYSTEM_TORCH", "0")
    monkeypatch.setattr(setup_env, "install_project", lambda venv: None)
    setup_env.set_up(venv, listed, True, (tmp_path / "no-index").as_uri())
    python = setup_env.interpreter(venv)
    subprocess.run([*setup_env.pip(venv, "uninstall", "--yes", "torch")], check=True, capture_output=True)
    assert setup_env.torch_version(python) is None
    setup_env.set_up(venv, listed, True, (tmp_path / "no-index").as_uri())
    assert setup_env.torch_version(python) == "2.13.0"


def test_another_image_with_the_same_python_below_it_asks_for_an_environment_of_its_own(tmp_path, monkeypatch):
    before = setup_env.wanted_stamp(ROOT / "requirements.txt", torch=True)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert setup_env.wanted_stamp(ROOT / "requirements.txt", torch=True)["requirements"] != before["requirements"]


def test_additions_for_the_tests_come_on_top_once_and_the_lab_alone_does_not_mind_them(tmp_path, capsys):
    venv, few, more = tmp_path / "venv", tmp_path / "few.txt", tmp_path / "more.txt"
    few.write_text(f"setuptools=={min(pins('requirements.txt')['setuptools'])}\n", encoding="utf-8")
    more.write_text("# nothing yet\n", encoding="utf-8")
    setup_env.set_up(venv, few, False, "", more)
    stamp = setup_env.read_stamp(venv)
    assert set(stamp) == {"requirements", "project", "also more.txt"}
    assert "Installing the pinned packages of more.txt" in capsys.readouterr().out
    setup_env.set_up(venv, few, False, "")
    setup_env.set_up(venv, few, False, "", more)
    assert capsys.readouterr().out == "" and setup_env.read_stamp(venv) == stamp
    more.write_text(f"iniconfig=={min(pins('requirements.txt')['iniconfig'])}\n", encoding="utf-8")
    setup_env.set_up(venv, few, False, "", more)
    found = subprocess.run([venv / "bin" / "python", "-c", "import iniconfig"], capture_output=True)
    assert found.returncode == 0
    with pytest.raises(setup_env.SetupError, match="gone.txt is missing"):
        setup_env.set_up(venv, few, False, "", tmp_path / "gone.txt")


# ------------------------------------------------------------------------------------------- PyTorch


def test_an_index_that_does_not_answer_is_noticed_within_seconds():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        started = time.monotonic()
        assert not setup_env.reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/whl/cpu")
        assert time.monotonic() - started < setup_env.PROBE_SECONDS + 2


def test_an_index_that_has_torch_is_found(tmp_path):
    (tmp_path / "torch").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        index = f"http://127.0.0.1:{server.server_port}"
        assert setup_env.reachable(index)
        assert not setup_env.reachable(f"{index}/elsewhere")
        server.shutdown()


def wheel(folder: Path, *needs: str) -> None:
    """A wheel named like PyTorch that holds nothing but its metadata."""
    info = "torch-2.13.0.dist-info"
    metadata = "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n" + "".join(f"Requires-Dist: {n}\n" for n in needs)
    with zipfile.ZipFile(folder / "torch-2.13.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def only_local_wheels(tmp_path, monkeypatch):
    """pip sees this folder and nothing else."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path


@pytest.fixture
def empty_venv(tmp_path):
    venv = tmp_path / "venv"
    setup_env.create(venv, system_site=False)
    return venv


def test_cuda_is_refused_without_a_gpu_and_a_cpu_build_is_taken(only_local_wheels, empty_venv, monkeypatch, capsys):
    monkeypatch.setattr(setup_env.platform, "system", lambda: "Linux")
    monkeypatch.setattr(setup_env, "has_nvidia_gpu", lambda: False)
    nowhere = (only_local_wheels / "no-index").as_uri()
    wheel(only_local_wheels, "filelock", 'nvidia-cublas==13.1; platform_system == "Linux"')
    with pytest.raises(setup_env.SetupError, match="CUDA packages.*set TORCH_INDEX"):
        setup_env.install_torch(empty_venv, nowhere)
    assert setup_env.torch_version(setup_env.interpreter(empty_venv)) is None

    wheel(only_local_wheels, "filelock")
    setup_env.install_torch(empty_venv, nowhere)
    assert setup_env.torch_version(setup_env.interpreter(empty_venv)) == "2.13.0"

    wheel(only_local_wheels, 'nvidia-cublas==13.1; platform_system == "Linux"')
    capsys.readouterr()
    setup_env.install_torch(empty_venv, nowhere)
    assert capsys.readouterr().out == "PyTorch 2.13.0 is already on this machine and stays as it is.\n"


def test_no_torch_anywhere_is_one_sentence(only_local_wheels, empty_venv, monkeypatch):
    monkeypatch.setattr(setup_env.platform, "system", lambda: "Linux")
    monkeypatch.setattr(setup_env, "has_nvidia_gpu", lambda: False)
    with pytest.raises(setup_env.SetupError, match=r"^pip finds no torch==2\.13\.0 \(.*check the network"):
        setup_env.install_torch(empty_venv, (only_local_wheels / "no-index").as_uri())


def test_an_image_with_pytorch_is_seen_through(monkeypatch, tmp_path):
    monkeypatch.delenv("LAB_SYSTEM_TORCH", raising=False)
    has_torch = setup_env.torch_version(sys.executable) is not None
    assert setup_env.wants_system_site(torch=True) is has_torch
    assert setup_env.wants_system_site(torch=False) is False
    monkeypatch.setenv("LAB_SYSTEM_TORCH", "0")
    assert setup_env.wants_system_site(torch=True) is False
    monkeypatch.setenv("LAB_SYSTEM_TORCH", "perhaps")
    with pytest.raises(setup_env.SetupError, match="use auto, 0 or 1"):
        setup_env.wants_system_site(torch=True)


@pytest.mark.parametrize("below", ["an environment", "an environment over an environment"])
def test_pytorch_of_an_image_whose_python_is_an_environment_stays_as_it_is(below, only_local_wheels, tmp_path):
    wheel(only_local_wheels, 'nvidia-cublas==13.1; platform_system == "Linux"')
    image, ours, again = (tmp_path / name for name in ("image", "ours", "again"))
    subprocess.run([sys.executable, "-m", "venv", str(image)], check=True)
    subprocess.run([*setup_env.pip(image, "install", "--no-deps", "torch")], check=True, capture_output=True)
    code = "from pathlib import Path; from adaptlab import setup_env as s; v = Path({!r}); "
    code += "s.create(v, s.wants_system_site(True)); s.install_torch(v, {!r})"
    nowhere = (tmp_path / "no-index").as_uri()
    made = [(image, ours)] if below == "an environment" else [(image, ours), (ours, again)]
    for python, venv in made:
        command = [str(setup_env.interpreter(python)), "-c", code.format(str(venv), nowhere)]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "LAB_SYSTEM_TORCH": "auto"}
        )
        assert done.stdout == "PyTorch 2.13.0 is already on this machine and stays as it is.\n", done.stderr
    assert setup_env.torch_version(setup_env.interpreter(made[-1][1])) == "2.13.0"


# ------------------------------------------------------------------------------------------- the replay


@pytest.mark.slow
def test_the_demo_replays_every_notebook_where_pytorch_is_not_installed(tmp_path):
    if not (ROOT / "prebuilt" / "mini").is_dir() or not all((ROOT / name).is_file() for name in NOTEBOOKS):
        pytest.skip("the notebooks or their prebuilt results are not in this clone yet")
    done = make("demo", LAB_OUTPUTS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    code = "import importlib.util as u; print(u.find_spec('torch'), u.find_spec('transformers'))"
    inside = subprocess.run([ROOT / ".venv-demo/bin/python", "-c", code], capture_output=True, text=True)
    assert inside.stdout.split() == ["None", "None"]
    assert "prebuilt; profile mini" in done.stdout
    told = next(line for line in done.stdout.splitlines() if line.startswith("report: "))
    index = Path(told.removeprefix("report: "))
    manifest = read_manifest(ROOT / "prebuilt/mini/the-sea-that-left")
    stored = [name for name in LONG if manifest and name.removesuffix(".ipynb") in manifest.notebooks]
    assert index.read_text("utf-8").count(">done<") == len(NOTEBOOKS) + len(stored)
