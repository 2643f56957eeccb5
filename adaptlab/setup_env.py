"""Makes the virtual environment of the lab with pip: PyTorch first, then the pinned requirements, then the project.

Run by the Makefile with the standard library only (`python -P adaptlab/setup_env.py`), before anything is installed.
A finished environment carries a stamp; one without its stamp was interrupted and is made again.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"
STAMP = "lab-stamp.json"
OWNED = "lab-owned"
CUDA_PACKAGES = ("nvidia-", "cuda-", "triton")
PROBE_SECONDS = 3.0


class SetupError(Exception):
    """What went wrong and what to do, in one sentence."""


def say(text: str) -> None:
    """Print a sentence at once, also when the output is a pipe."""
    print(text, flush=True)


def digest(*parts: bytes) -> str:
    """A short hash of some bytes."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def wanted_stamp(requirements: Path, torch: bool) -> dict[str, str]:
    """What a finished environment records: pins with interpreter and place, and the project's own metadata."""
    place = f"{sys.version_info[:3]} {sys.base_prefix} {sys.prefix} {ROOT} {torch}".encode()
    project = ROOT / "pyproject.toml"
    return {
        "requirements": digest(requirements.read_bytes(), place),
        "project": digest(project.read_bytes() if project.exists() else b""),
    }


def read_stamp(venv: Path) -> dict[str, str]:
    """The stamp of an environment; empty when it was never finished."""
    try:
        stamp = json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(venv: Path, stamp: dict[str, str]) -> None:
    """Record that the environment is finished, in one atomic step."""
    part = venv / f"{STAMP}.part"
    part.write_text(json.dumps(stamp), encoding="utf-8")
    os.replace(part, venv / STAMP)


@contextmanager
def one_at_a_time(venv: Path) -> Iterator[None]:
    """Hold the lock of this environment, so that two makes in one clone do not install over each other."""
    lock = venv.with_name(f"{venv.name}.lock")
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another make is setting up {venv.name}; waiting for it.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def interpreter(venv: Path) -> Path:
    """The Python inside an environment."""
    return venv / "bin" / "python"


def clear(venv: Path) -> None:
    """Remove an environment that this script made; refuse to touch one that it did not make."""
    if not venv.exists() and not venv.is_symlink():
        return
    if venv.is_symlink() or not (venv / OWNED).exists():
        raise SetupError(
            f"{venv.name} exists and was not made by this Makefile: move it away, or name another folder with VENV=..."
        )
    if not read_stamp(venv):
        say(f"{venv.name} is half made; it is made again.")
    shutil.rmtree(venv)


def create(venv: Path, system_site: bool) -> None:
    """Create an empty environment, marked as ours before anything else is in it."""
    venv.mkdir(parents=True)
    (venv / OWNED).write_text("Made by adaptlab/setup_env.py; `make clean` removes it.\n", encoding="utf-8")
    command = [sys.executable, "-m", "venv", *(["--system-site-packages"] if system_site else []), str(venv)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SetupError(
            f"{sys.executable} cannot make a virtual environment: install its venv module "
            "(on Debian and Ubuntu the package python3-venv), or name another Python with PYTHON=..."
        )
    if system_site and sys.prefix != sys.base_prefix:
        see_through(venv)


def see_through(venv: Path) -> None:
    """Let an environment see the packages of the one whose Python runs this, behind its own.

    The workbench images of OpenShift AI keep their packages in an environment (/opt/app-root), and what `venv` calls
    the system's packages are those of the Python below it.
    """
    ours = Path(sysconfig.get_path("purelib", vars={"base": str(venv)}))
    below = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    (ours / "lab-image.pth").write_text("\n".join(below) + "\n", encoding="utf-8")


def pip(venv: Path, *arguments: str) -> list[str]:
    """A pip command line for an environment."""
    return [str(interpreter(venv)), "-m", "pip", *arguments, "--disable-pip-version-check", "--no-input"]


def install(venv: Path, what: str, total: int, *arguments: str) -> None:
    """Run one `pip install`, counting packages on a terminal; a failure shows pip's last lines."""
    started = time.monotonic()
    lines: list[str] = []
    count = 0
    live = sys.stdout.isatty()
    command = pip(venv, "install", "--no-compile", *arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            count += line.startswith("Collecting ")
            if live and line.startswith(("Collecting ", "Installing ")):
                stage = "writing files" if line.startswith("Installing ") else f"{count} of {total} packages fetched"
                print(f"\r  {stage}, {time.monotonic() - started:.0f} s   ", end="", flush=True)
    if live:
        print("\r" + " " * 60 + "\r", end="", flush=True)
    if process.returncode:
        tail = "\n  ".join(lines[-12:])
        raise SetupError(f"pip could not install {what}: see its last lines, then run it again.\n  {tail}")
    say(f"  done in {time.monotonic() - started:.0f} s")


def has_nvidia_gpu() -> bool:
    """Whether this machine shows an NVIDIA GPU."""
    return Path("/dev/nvidia0").exists() or Path("/proc/driver/nvidia/version").exists()


def reachable(index: str) -> bool:
    """Whether an index answers for torch within three seconds, name look-up included; proxies are respected."""
    found: list[bool] = []

    def ask() -> None:
        try:
            url = index.rstrip("/") + "/torch/"
            with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as reply:
                found.append(getattr(reply, "status", 200) in (None, 200))
        except (OSError, ValueError):
            return

    worker = threading.Thread(target=ask, daemon=True)
    worker.start()
    worker.join(PROBE_SECONDS)
    return bool(found and found[0])


def torch_version(python: Path | str) -> str | None:
    """The version of the PyTorch that an interpreter has, read from its metadata without importing it."""
    code = "import importlib.metadata as m; print(m.version('torch'))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    return done.stdout.strip() or None if done.returncode == 0 else None


def brings_cuda(venv: Path) -> bool:
    """Whether pip's default index would answer with a CUDA build, asked without installing anything."""
    command = pip(venv, "install", "--dry-run", "--quiet", "--no-deps", "--report", "-", TORCH)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SetupError(
            f"pip finds no {TORCH} ({last}): check the network, or set TORCH_INDEX to an index that has it."
        )
    needs = [
        re.split(r"[\s;<>=\[]", need)[0]
        for item in json.loads(done.stdout)["install"]
        for need in item["metadata"].get("requires_dist", [])
    ]
    return any(need.startswith(CUDA_PACKAGES) for need in needs)


def install_torch(venv: Path, index: str) -> None:
    """Put PyTorch into the environment first: the image's own, else a CPU build, else a GPU build where one fits."""
    present = torch_version(interpreter(venv))
    if present:
        say(f"PyTorch {present} is already on this machine and stays as it is.")
        return
    if platform.system() != "Linux" or has_nvidia_gpu():
        say(f"Installing {TORCH} from pip's default index.")
        install(venv, TORCH, 20, TORCH)
        return
    if reachable(index):
        say(f"Installing {TORCH}, CPU build, from {index}.")
        install(venv, TORCH, 1, "--no-deps", "--index-url", index, TORCH)
        return
    say(f"{index} cannot be reached from here; looking for {TORCH} with pip's own settings.")
    if brings_cuda(venv) and os.environ.get("LAB_ALLOW_CUDA") != "1":
        raise SetupError(
            "pip's own settings lead to a PyTorch with gigabytes of CUDA packages, and this machine has no NVIDIA GPU: "
            "set TORCH_INDEX to an index with CPU builds, or LAB_ALLOW_CUDA=1 to take it all the same."
        )
    say(f"Installing {TORCH}.")
    deps = [] if os.environ.get("LAB_ALLOW_CUDA") == "1" else ["--no-deps"]
    install(venv, TORCH, 1, *deps, TORCH)


def install_requirements(venv: Path, requirements: Path) -> None:
    """Install the pinned list exactly as compiled; without dependency resolution nothing can replace PyTorch."""
    total = sum(bool(re.match(r"\w", line)) for line in requirements.read_text(encoding="utf-8").splitlines())
    say(f"Installing the pinned packages of {requirements.name} ({total} lines, one to three minutes).")
    install(venv, requirements.name, total, "--no-deps", "-r", str(requirements))


def compile_packages(venv: Path) -> None:
    """Compile what was installed on all cores, test folders left out: much quicker than pip does it on one."""
    say("Compiling the packages.")
    started = time.monotonic()
    command = [str(interpreter(venv)), "-m", "compileall", "-q", "-j", "0", "-x", "/tests?/", str(venv / "lib")]
    subprocess.run(command, capture_output=True, check=False)  # a file that does not compile is nobody's import
    say(f"  done in {time.monotonic() - started:.0f} s")


def install_project(venv: Path) -> None:
    """Install the lab itself, editable."""
    say("Installing the lab itself.")
    install(venv, "the lab", 1, "--no-deps", "--no-build-isolation", "-e", str(ROOT))


def holds(stamp: dict[str, str], wanted: dict[str, str]) -> bool:
    """Whether a stamp has everything that is wanted; it may have more, such as the additions for the tests."""
    return all(stamp.get(name) == value for name, value in wanted.items())


def add_more(venv: Path, also: Path) -> None:
    """Add a second pinned list to a finished environment, once; an interrupted addition is made again."""
    wanted = {f"also {also.name}": digest(also.read_bytes())}
    stamp = read_stamp(venv)
    if holds(stamp, wanted):
        return
    install_requirements(venv, also)
    write_stamp(venv, {**stamp, **wanted})


def wants_system_site(torch: bool) -> bool:
    """Whether to see the packages of the chosen Python: only where it has a PyTorch of its own."""
    policy = os.environ.get("LAB_SYSTEM_TORCH", "auto")
    if policy not in ("auto", "0", "1"):
        raise SetupError(f"LAB_SYSTEM_TORCH={policy} is not known: use auto, 0 or 1.")
    return torch and (policy == "1" or (policy == "auto" and torch_version(sys.executable) is not None))


def set_up(venv: Path, requirements: Path, torch: bool, index: str, also: Path | None = None) -> None:
    """Make the environment, or leave a finished one alone; `also` is a second list, for the tests."""
    for listed in (requirements, also):
        if listed is not None and not listed.is_file():
            raise SetupError(f"{listed.name} is missing: run make in a complete clone of the lab.")
    with one_at_a_time(venv):
        make_base(venv, requirements, torch, index)
        if also is not None:
            add_more(venv, also)


def make_base(venv: Path, requirements: Path, torch: bool, index: str) -> None:
    """Make the environment without additions, or leave a finished one alone."""
    wanted, stamp = wanted_stamp(requirements, torch), read_stamp(venv)
    whole = interpreter(venv).exists() and (not torch or torch_version(interpreter(venv)) is not None)
    if holds(stamp, wanted) and whole:
        return
    if stamp.get("requirements") != wanted["requirements"] or not whole:
        started = time.monotonic()
        clear(venv)
        stamp = {}
        say(f"Making {venv.name} with Python {platform.python_version()}.")
        create(venv, wants_system_site(torch))
        if torch:
            install_torch(venv, index)
        install_requirements(venv, requirements)
        compile_packages(venv)
        install_project(venv)
        say(f"{venv.name} is ready after {time.monotonic() - started:.0f} s.")
    else:
        install_project(venv)
    write_stamp(venv, {**stamp, **wanted})


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The options that the Makefile passes."""
    parser = argparse.ArgumentParser(description="Make the virtual environment of the lab.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("--requirements", type=Path, default=ROOT / "requirements.txt")
    parser.add_argument("--also", type=Path, help="a second pinned list, such as what only the tests need")
    parser.add_argument("--torch-index", default="https://download.pytorch.org/whl/cpu")
    parser.add_argument("--no-torch", action="store_true", help="an environment for replays, without PyTorch")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Set up one environment; 0 when it is ready, 2 with one sentence when it is not, 130 after Ctrl-C."""
    options = parse(argv)
    venv = Path(os.path.abspath(options.venv))
    try:
        also = options.also.resolve() if options.also else None
        set_up(venv, options.requirements.resolve(), not options.no_torch, options.torch_index, also)
    except SetupError as error:
        print(f"Set-up stopped: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Set-up stopped: {error.strerror} ({error.filename}): free or allow it, then retry.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nInterrupted: {venv.name} is half made, and the next make makes it again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
