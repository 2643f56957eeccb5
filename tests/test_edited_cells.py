"""An edited cell in a real kernel: a replay stops there, and no old result is ever shown as the edited cell's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from adaptlab import kernel

OLD = "the-old-result"
CELLS = {
    "setup": "from adaptlab import notebook\nlab = notebook.start('00Setup/00_Recap_and_Evidence')",
    "value": f"word = '{OLD}'\ncount = 1",
    "helper": "def wrapped(text):\n    return [text]",
    "step": "def compute(progress):\n    return [{'said': wrapped(word)[0] * count}]\n\n\n"
    "made = lab.step('edited.json', compute, settings={'count': count}, models=(), needs=())",
    "show": "print(made.data[0]['said'], '|', made.label)",
}
EDITS = {
    "the step's own code": {"step": CELLS["step"].replace("* count", "* count + '!'")},
    "a function that it uses": {"helper": "def wrapped(text):\n    return [text.upper()]"},
    "a value that it uses": {"value": "word = 'another word'\ncount = 1"},
    "one of its settings": {"value": f"word = '{OLD}'\ncount = 2"},
}


def run(folder: Path, mode: str, *, force: bool = False, needs: str = "()", **edits: str) -> NotebookNode:
    """The notebook executed in a kernel of its own; `force` goes on after a failed cell, as a person may."""
    cells = {**CELLS, **edits}
    cells["step"] = cells["step"].replace("needs=()", f"needs={needs}")
    made = new_notebook(cells=[new_code_cell(source) for source in cells.values()])
    if force:
        for cell in made.cells:
            cell.metadata["tags"] = ["raises-exception"]
    environment = {
        "PYTHONPATH": str(ROOT),
        "LAB_MODE": mode,
        "LAB_PROFILE": "mini",
        "LAB_DOCUMENT": str(folder / "rules.md"),
        "LAB_OUTPUTS": str(folder / "outputs"),
        "LAB_PREBUILT": str(folder / "prebuilt"),
    }
    return kernel.execute(made, folder, environment, lambda cells: None)


def said(notebook: NotebookNode, number: int) -> str:
    """What one cell left on the screen, errors included."""
    return "".join(str(output) for output in notebook.cells[number].outputs)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the notebook was run live and its result became the prebuilt one."""
    folder = tmp_path_factory.mktemp("edited")
    (folder / "rules.md").write_text("# Ferries\n\nA ferry costs 3 crowns.\n", "utf-8")
    live = run(folder, "live")
    assert f"{OLD} | live" in said(live, 4)
    shutil.copytree(folder / "outputs" / "mini" / "rules", folder / "prebuilt" / "mini" / "rules")
    shutil.rmtree(folder / "outputs")
    return folder


def test_the_unedited_cell_is_replayed_as_prebuilt(home: Path) -> None:
    assert f"{OLD} | prebuilt; profile mini" in said(run(home, "prebuilt"), 4)


def test_a_replay_stops_at_the_edited_cell(home: Path) -> None:
    with pytest.raises(kernel.CellFailed, match=r"cell 4: This cell is not the one that made the prebuilt edited.json"):
        run(home, "prebuilt", **EDITS["the step's own code"])


@pytest.mark.parametrize("name", EDITS)
def test_whoever_goes_on_after_the_stop_sees_no_old_result(home: Path, name: str) -> None:
    forced = run(home, "prebuilt", force=True, **EDITS[name])
    assert "changed: " in said(forced, 3) and "undo the change, or set LAB_MODE=live" in said(forced, 3)
    assert OLD not in said(forced, 3) + said(forced, 4) and "NameError" in said(forced, 4)


def test_where_the_edited_cell_cannot_be_computed_the_old_result_is_named_as_such(home: Path) -> None:
    """Mode auto without a library that the step needs: the only place where an edited cell shows anything old."""
    shown = run(home, "auto", needs="('no_such_library',)", **EDITS["a value that it uses"])
    assert "what you see is the prebuilt result of the unedited cell" in said(shown, 3)
    assert f"{OLD} | prebuilt, of the unedited cell; profile mini" in said(shown, 4)


def test_where_it_can_be_computed_the_edited_cell_shows_its_own_result(home: Path) -> None:
    shown = run(home, "auto", **EDITS["a value that it uses"])
    assert "another word | live" in said(shown, 4) and OLD not in said(shown, 4)
    shutil.rmtree(home / "outputs")


def test_a_real_notebook_stops_where_its_retriever_was_edited(tmp_path: Path) -> None:
    """Section 00 in a replay of the shipped results: under other chunks the trial is no result of theirs."""
    notebook = nbformat.read(ROOT / "00Setup" / "00_Recap_and_Evidence.ipynb", as_version=4)
    sources = [cell.source for cell in notebook.cells]
    edited = next(i for i, source in enumerate(sources) if source.startswith("my_size, my_overlap, my_k"))
    trial = next(i for i, source in enumerate(sources) if 'lab.step("retriever_trial.json"' in source)
    assert edited < trial
    notebook.cells = notebook.cells[: trial + 1]
    [cell] = [cell for cell in notebook.cells if cell.source.startswith("my_size, my_overlap, my_k")]
    cell.source = cell.source.replace("= 400,", "= 500,")
    environment = {"PYTHONPATH": str(ROOT), "LAB_MODE": "prebuilt", "LAB_PROFILE": "mini"}
    with pytest.raises(kernel.CellFailed) as stopped:
        kernel.execute(notebook, tmp_path, environment, lambda cells: None)
    assert "retriever_trial.json" in str(stopped.value) and "changed: setting size" in str(stopped.value)
