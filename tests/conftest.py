"""Fixtures that more than one test file uses: a small document, settings in a temporary folder, the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import config
from adaptlab.artifacts import Lab

ROOT = config.ROOT
# A shell that starts the tests in the background makes them ignore Ctrl-C, and their children with them.
signal.signal(signal.SIGINT, signal.default_int_handler)
DOCUMENT = "# The Saltmarket Rules\n\nA ferry across the Saltmarket costs 3 crowns.\n\n## Dusk\n\nFerries rest.\n"


if "PYTEST_XDIST_WORKER" in os.environ:  # a worker for each core: more threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker begins one when the others are done; `index` is asked for."""
    if "index" not in config.option.markexpr:
        reason = 'installs from a package index and takes minutes: ask for it with make test PYTEST="-m index"'
        for item in items:
            if item.get_closest_marker("index"):
                item.add_marker(pytest.mark.skip(reason=reason))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _no_lab_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the LAB_ variables of whoever runs it."""
    for name in [name for name in os.environ if name.startswith("LAB_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A small document outside the repository."""
    path = tmp_path / "Saltmarket Rules.md"
    path.write_text(DOCUMENT, "utf-8")
    return path


@pytest.fixture
def lab_environ(tmp_path: Path, document: Path) -> dict[str, str]:
    """LAB_ variables that keep a test away from the repository's outputs and prebuilt results."""
    return {
        "LAB_PROFILE": "mini",
        "LAB_MODE": "auto",
        "LAB_DOCUMENT": str(document),
        "LAB_OUTPUTS": str(tmp_path / "outputs"),
        "LAB_PREBUILT": str(tmp_path / "prebuilt"),
    }


@pytest.fixture
def make_lab(lab_environ: dict[str, str]) -> Callable[..., Lab]:
    """`make_lab(LAB_MODE="live")`: a Lab in the temporary folder; what it says is in `lab.said`."""

    def make(**changes: str) -> Lab:
        said: list[str] = []
        lab = Lab(config.settings({**lab_environ, **changes}), notebook="00Setup/test", say=said.append)
        lab.said = said  # type: ignore[attr-defined]
        return lab

    return make


@pytest.fixture
def adaptlab_command(lab_environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`adaptlab_command("doctor", LAB_MODE="live")`: run the command line in a process of its own."""

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "adaptlab", *arguments]
        env = clean_environ(lab_environ, changes)
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)

    return run


def clean_environ(*layers: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without LAB_ variables, then the layers on top."""
    merged = {name: value for name, value in os.environ.items() if not name.startswith("LAB_")}
    for layer in layers:
        merged |= layer
    return merged
