"""An environment like Colab's for tests: this session's packages but for some, and the lab as a repository to clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest
from conftest import ROOT

import config

UNSEEN = ("adaptlab", "torch", "transformers")  # no lab is installed there, and no PyTorch


def bare_environment(folder: Path, missing: Sequence[str], outdated: str) -> Path:
    """A virtual environment that sees this session's packages but for UNSEEN and `missing`; returns its Python.

    They are links, so none may be uninstalled there; `outdated` alone is a copy, which calls itself version 0.0.1.
    """
    venv.create(folder, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    hidden = {name for package in (*UNSEEN, *missing, outdated) for name in top_names(package)}
    for source in session_packages():
        if source.name not in hidden and source.suffix != ".pth":
            (site / source.name).symlink_to(source)
    old = metadata.distribution(outdated)
    for name in sorted(top_names(outdated)):
        copied = site / name.replace(f"-{old.version}.dist-info", "-0.0.1.dist-info")
        shutil.copytree(old.locate_file(name), copied, ignore=shutil.ignore_patterns("__pycache__"))
    information = site / f"{outdated}-0.0.1.dist-info"
    for file in ("METADATA", "RECORD"):
        text = (information / file).read_text("utf-8").replace(f"Version: {old.version}", "Version: 0.0.1")
        text = text.replace(f"-{old.version}.dist-info", "-0.0.1.dist-info")
        (information / file).write_text(text, "utf-8")
    return folder / "bin" / "python"


def session_packages() -> list[Path]:
    """What lies in the folders that this session imports packages from, each name once."""
    folders = [Path(entry) for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    found = {path.name: path for folder in reversed(folders) if folder.is_dir() for path in folder.iterdir()}
    return [path for name, path in found.items() if name != "__pycache__"]


def top_names(package: str) -> set[str]:
    """The names that an installed package has in its folder of packages; none if it is not installed."""
    try:
        files = metadata.distribution(package).files or []
    except metadata.PackageNotFoundError:
        return set()
    return {file.parts[0] for file in files} - {"..", "__pycache__"}


def wheel_of(package: str, folder: Path) -> Path:
    """An installed package as a wheel again, so that pip can install it without a network."""
    found = metadata.distribution(package)
    information = next(str(file.parent) for file in found.files or [] if file.name == "METADATA")
    own = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
    files = [f for f in found.files or [] if ".." not in f.parts and "__pycache__" not in f.parts and f.name not in own]
    path = folder / f"{package.replace('-', '_')}-{found.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(found.locate_file(file), str(file))
        archive.writestr(f"{information}/RECORD", "".join(f"{file},,\n" for file in files))
    return path


def repository(folder: Path) -> str:
    """The address of a repository that holds the tracked files as they are now, under the tag of the setting."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this is no git checkout")
    for name in filter(None, done.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    who = ("-c", "user.name=A test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")
    for command in (
        ("-c", "init.defaultBranch=main", "init", "-q"),
        ("-c", "core.looseCompression=0", "add", "-A", "-f"),
        (*who, "commit", "-q", "-m", "The lab"),
        ("tag", config.REPOSITORY_REF),
    ):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    return folder.as_uri()


def colab_environ(wheels: Path, address: str, **changes: str) -> dict[str, str]:
    """The variables of a kernel there: the lab comes from `address`, and pip sees nothing but `wheels`."""
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONSTRAINT": ""}
    own = {"PYTHONPATH": "", "LAB_REPOSITORY": address, "LAB_PROFILE": "mini"}
    return pip | own | changes
