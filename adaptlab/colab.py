"""What a notebook needs where nobody has set the lab up: on Colab, or in a clone that its own set-up cell made.

Standard library only, because it comes before anything is installed. Everywhere else `prepare` does nothing.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from importlib import import_module, invalidate_caches, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adaptlab import pins
from adaptlab.environment import ROOT, LabError

FOLDER = "model-adaptation-lab"  # what the clone is called, and the folder on Google Drive
RANGES = ROOT / "requirements-colab.txt"
PINNED = ROOT / "requirements.txt"
REPLAY = ROOT / "requirements-demo.txt"
KEPT = ("torch", "numpy", "pandas", "matplotlib")  # where the image has its own, that is never replaced
SECRETS = ("LAB_ENDPOINT_URL", "LAB_ENDPOINT_KEY", "LAB_TEACHER_MODEL")


def prepare() -> None:
    """Install what is missing, take the endpoint from Colab's secrets, and lead the results to Google Drive if mounted.

    Prints a sentence for whatever it did. Raises a LabError where pip fails or the kernel has to be restarted.
    """
    if not is_here():
        return
    fits, wanted = pins.python_fits(ROOT / "pyproject.toml")
    if not fits:
        print(f"This Python is {platform.python_version()}; the lab was tested with {wanted}.")
    replay = os.environ.get("LAB_MODE", "").strip().lower() == "prebuilt"
    install(live=not replay and find_spec("torch") is not None)
    if not replay:
        for sentence in read_secrets():
            print(sentence)
    if drive().is_dir():
        os.environ.setdefault("LAB_OUTPUTS", str(drive() / FOLDER / "outputs"))


def is_here() -> bool:
    """True on Colab, and in a checkout that a set-up cell cloned."""
    return userdata() is not None or is_cloned(ROOT)


def is_cloned(root: Path) -> bool:
    """True for a checkout that a notebook's set-up cell made, which says so in its own git configuration."""
    try:
        return "cloned = true" in (root / ".git" / "config").read_text("utf-8")
    except OSError:
        return False


def userdata() -> Any:
    """The module that reads Colab's secrets; None anywhere else."""
    try:
        return import_module("google.colab.userdata")
    except ImportError:
        return None


# ---------------------------------------------------------------------------------------------------- the results


def drive(root: Path = ROOT) -> Path:
    """Where Google Drive appears once it is mounted: beside the clone, which on Colab lies in /content."""
    return root.parent / "drive" / "MyDrive"


def results_words(outputs: Path) -> str:
    """Whether results outlive this machine, as the banner says it; empty where there is a disk that stays."""
    if not is_here():
        return ""
    if outputs.is_relative_to(drive()):
        return f"on Google Drive, in {outputs.relative_to(drive())}: they outlive this session"
    return (
        "on this machine only: they go with its session, and a notebook that is opened on another machine does not see "
        "them; mount Google Drive, then run this cell again, to keep them"
    )


# ---------------------------------------------------------------------------------------------------- the secrets


def read_secrets() -> list[str]:
    """Take the endpoint's settings from Colab's secrets, where the environment has none; they are held in memory only.

    Without an address nothing else is asked for. Returns what a person should know, never a value.
    """
    source, taken, said = userdata(), [], []
    for name in SECRETS if source else ():
        if os.environ.get(name):
            continue
        try:
            value = source.get(name)
        except Exception as error:  # its own kinds for a secret that is not there, not shared, or not answered in time
            if type(error).__name__ == "NotebookAccessError":
                said.append(f"The secret {name} is not shared with this notebook: give it access, run this again.")
            value = None
        if value and value.strip():
            os.environ[name] = value.strip()
            taken.append(name)
        elif name == SECRETS[0]:
            break
    return [*said, *([f"From Colab's secrets: {', '.join(taken)}."] if taken else [])]


# ---------------------------------------------------------------------------------------------------- the packages


def install(live: bool) -> None:
    """Install what is missing or outside its tested range, at the lab's pins; what is KEPT stays as the image has it.

    `live` asks for all that a live run imports, else for what a replay needs. Raises a LabError if pip cannot, or if
    something that this kernel has already loaded was replaced.
    """
    if find_spec("packaging") is None:  # which reads the ranges
        pip_install([_pin("packaging")])
    wanted = unfit(live)
    if wanted:
        kept = f"; the image's {', '.join(_kept_here())} stay as they are" if _kept_here() else ""
        print(f"Installing {', '.join(wanted)}{kept}.", flush=True)
        before = _versions()
        pip_install([_pin(name) for name in wanted])
        still = unfit(live)
        if still:
            raise LabError(f"{', '.join(still)} did not come out as tested: start a fresh runtime, run again.")
        ask_for_restart(before)
    for sentence in untested():
        print(sentence)


def unfit(live: bool) -> list[str]:
    """The packages that are missing or outside their tested range, in the order of requirements-colab.txt."""
    ranges = read_ranges()
    needed = set(ranges) if live else set(ranges) & set(pins.read(REPLAY))
    never = {"torch", *_kept_here()}
    return [name for name in ranges if name in needed and name not in never and not _fits(name, ranges[name])]


def untested() -> list[str]:
    """A sentence for each of the image's own packages that is outside the range that was tested."""
    ranges = read_ranges()
    found = [(name, pins.version(name)) for name in KEPT]
    return [
        f"The image's {name} {have} stays, though the lab was tested with {ranges[name]}."
        for name, have in found
        if have is not None and not _fits(name, ranges[name])
    ]


def read_ranges(path: Path = RANGES) -> dict[str, str]:
    """The tested range of each package that the notebooks' kernels need, such as `>=1.16.0,<1.17`."""
    from packaging.requirements import Requirement

    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    listed = [Requirement(line) for line in lines if line]
    return {pins.canonical(one.name): str(one.specifier) for one in listed}


def _fits(name: str, wanted: str) -> bool:
    """Whether the installed version lies in a range; a build's own suffix, as in 2.13.0+cpu, makes no difference."""
    from packaging.specifiers import SpecifierSet

    have = pins.version(name)
    return have is not None and SpecifierSet(wanted).contains(have.split("+")[0], prereleases=True)


def _pin(name: str) -> str:
    """A package at the version that the lab pins."""
    return f"{name}=={pins.read(PINNED)[name]}"


def _kept_here() -> list[str]:
    """The packages that are never replaced, as far as the image has them."""
    return [name for name in KEPT if pins.version(name) is not None]


def pip_install(wanted: list[str]) -> None:
    """Install with pip, which may bring what these need, at the lab's pins, but may not touch what is KEPT.

    Raises a LabError with pip's last word where it cannot.
    """
    missing = [f"{name}=={pin}" for name, pin in pins.read(PINNED).items() if pin and pins.version(name) is None]
    kept = [f"{name}=={pins.version(name)}" for name in _kept_here()]
    with tempfile.TemporaryDirectory() as folder:
        bounds = Path(folder) / "constraints.txt"
        bounds.write_text("".join(f"{line}\n" for line in [*kept, *missing]), "utf-8")
        options = ["--disable-pip-version-check", "--no-input", "--quiet", "--constraint", str(bounds)]
        command = [sys.executable, "-m", "pip", "install", *options, *wanted]
        done = subprocess.run(command, capture_output=True, text=True)
    invalidate_caches()
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no message"]
        said = lines[-1].removeprefix("ERROR: ").rstrip(".")
        raise LabError(f"pip could not install {', '.join(wanted)} ({said}): check the network, then run this again.")


def _versions() -> dict[str, str]:
    """Every installed package with its version."""
    return {pins.canonical(one.name): one.version for one in metadata.distributions() if one.name}


def ask_for_restart(before: dict[str, str]) -> None:
    """Raise a LabError if a package was replaced that this kernel has loaded in its older version."""
    changed = [name for name, version in _versions().items() if before.get(name, version) != version]
    files = (file for name in changed for file in metadata.files(name) or [])
    loaded = {file.parts[0].removesuffix(".py") for file in files} & set(sys.modules)
    if loaded:
        raise LabError(
            f"This kernel had loaded an older {', '.join(sorted(loaded))}: restart it (on Colab: Runtime, Restart "
            "session), then run the notebook again."
        )
