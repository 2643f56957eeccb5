"""A run that can be watched: the picture's data, where it shows, and that it goes."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat

from adaptlab import kernel, training_live
from config import ROOT


def line(step: int, **more) -> dict:
    common = {"step": step, "total_steps": 20, "memory_bytes": 2_500_000_000, "eta_seconds": 95.0}
    return {**common, "loss": 3 / step, "learning_rate": 1e-3, "tokens_per_second": 1234.5, **more}


def test_the_picture_holds_loss_validation_and_learning_rate_and_its_title_the_pace() -> None:
    watched = {k: v for k, v in line(10, eval_loss=0.7).items() if k not in ("loss", "learning_rate")}
    figure = training_live.picture([line(5), line(10), watched, line(15)])
    left, right = figure.axes
    assert [list(drawn.get_ydata()) for drawn in left.lines] == [[0.6, 0.3, 0.2], [0.7]]
    assert list(right.lines[0].get_xdata()) == [5, 10, 15] and right.get_xlim() == (0, 20)
    assert figure.get_suptitle() == "step 15 of 20, 1,234 tokens/s, 2.50 GB, 1:35 min left"


CELL = """
import sys
sys.path.insert(0, {root!r})
from adaptlab import workbench
from adaptlab.progress import progress
bar = progress(total=20, desc="Training")
moved = workbench.follow(bar)
line = dict(total_steps=20, memory_bytes=2_500_000_000, eta_seconds=95.0, loss=0.5, learning_rate=1e-3,
            tokens_per_second=1234.5)
moved(dict(line, step=5))
moved(dict(line, step=10))
{end}
"""


def shown_in_a_kernel(folder: Path, end: str, **environment: str) -> list[dict]:
    """What a real kernel shows under a cell that follows two log lines."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL.format(root=str(ROOT), end=end))])
    kernel.execute(notebook, folder, {**os.environ, **environment}, lambda cells: None)
    return [output.get("data", output) for output in notebook.cells[0].outputs]


def test_in_jupyter_the_picture_grows_under_the_bar_and_is_gone_at_the_end(tmp_path: Path) -> None:
    [*_, picture] = shown_in_a_kernel(tmp_path, end="")
    assert picture["image/png"] and "1,234 tokens/s" in picture["text/plain"]
    assert [dict(data) for data in shown_in_a_kernel(tmp_path, end="bar.close()")] == [{"text/plain": ""}] * 2


def test_under_adaptlab_run_only_the_bar_moves(tmp_path: Path) -> None:
    bars = tmp_path / "progress.jsonl"
    assert shown_in_a_kernel(tmp_path, end="bar.close()", LAB_PROGRESS=str(bars)) == []
    assert '"n": 10' in bars.read_text()
