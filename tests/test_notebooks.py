"""The notebooks: their anatomy, and that what they carry is what a replay without PyTorch produces."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import config
from adaptlab.capture import has_results
from adaptlab.sections import LONG, SERIES

PROMISED = ("**In:**", "You will be able to", "**Facilitator.**")


@pytest.fixture(scope="module", params=SERIES)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    read = nbformat.read(config.ROOT / request.param, as_version=4)
    read.metadata["path"] = request.param
    return read


def code_of(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def prose_of(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_cells_are_short(notebook: nbformat.NotebookNode) -> None:
    lengths = [len(source.splitlines()) for source in code_of(notebook)]
    assert statistics.median(lengths) <= 10
    assert max(lengths) <= 25


def test_it_promises_exercises_and_concludes(notebook: nbformat.NotebookNode) -> None:
    prose = prose_of(notebook)
    assert all(part in prose for part in PROMISED)
    assert all(re.search(rf"^## \d\.\d+ {part}", prose, re.MULTILINE) for part in ("Your turn", "What we now know"))
    assert "**If this step failed:**" in prose


def test_what_can_be_detected_is_said_before_the_first_result(notebook: nbformat.NotebookNode) -> None:
    if notebook.metadata["path"][:2] not in ("00", "01"):
        return
    code = code_of(notebook)
    said = next(at for at, source in enumerate(code) if "stats.before_looking(" in source)
    assert said < next(at for at, source in enumerate(code) if "lab.step(" in source)


def test_its_prose_states_no_result(notebook: nbformat.NotebookNode) -> None:
    assert not re.search(r"\d+(?:\.\d+)? ?%", prose_of(notebook))


def test_it_shouts_nowhere_and_has_no_empty_cell(notebook: nbformat.NotebookNode) -> None:
    prose = re.sub(r"!\[", "", prose_of(notebook))
    assert "!" not in prose
    assert all(cell.source.strip() for cell in notebook.cells)


def test_it_carries_outputs_without_errors_or_paths_of_a_machine(notebook: nbformat.NotebookNode) -> None:
    settings = config.settings({"LAB_PROFILE": "mini", "LAB_MODE": "prebuilt"})
    name = notebook.metadata["path"]
    if name in LONG and not has_results(settings, name.removesuffix(".ipynb")):
        pytest.skip("nobody has captured this long notebook yet")
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs and not [output for output in outputs if output.output_type == "error"]
    assert str(config.ROOT) not in nbformat.writes(notebook)


def test_a_replay_without_torch_gives_the_committed_outputs(tmp_path: Path) -> None:
    """PyTorch and transformers cannot be imported here: an import of either would fail the replay."""
    for name in ("torch", "transformers"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is not there in a replay')\n")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{config.ROOT}",
        "LAB_OUTPUTS": str(tmp_path / "outputs"),
    }
    command = [sys.executable, "-m", "adaptlab.runner", "--profile", "mini", "--mode", "prebuilt", "--check"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "report:" in ended.stdout
