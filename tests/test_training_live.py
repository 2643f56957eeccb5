"""A run that can be watched: the picture's data, where it shows, and that it goes."""

from __future__ import annotations

import sys
import types

import pytest

from adaptlab import training_live, workbench
from adaptlab.progress import progress


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


class Handle:
    def __init__(self) -> None:
        self.shown: list[dict] = []

    def update(self, data, raw) -> None:
        self.shown.append(data)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """A Jupyter kernel as far as the picture sees one; what it displays is kept."""
    handle = Handle()
    display = types.ModuleType("IPython.display")
    display.display = lambda data, raw, display_id: handle.update(data, raw) or handle
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(training_live, "INTERVAL", 0.0)
    return handle


def test_in_jupyter_the_picture_grows_under_the_bar_and_is_gone_at_the_end(kernel: Handle) -> None:
    with progress(total=20, desc="Training") as bar:
        moved = workbench.follow(bar)
        for step in (5, 10):
            moved(line(step))
        assert bar.n == 10
        pictures = [data for data in kernel.shown if "image/png" in data]
        assert pictures and "tokens/s" in pictures[0]["text/plain"]
    assert kernel.shown[-1] == {"text/plain": ""}


def test_under_adaptlab_run_only_the_bar_moves(kernel: Handle, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("LAB_PROGRESS", str(tmp_path / "progress.jsonl"))
    with progress(total=20, desc="Training") as bar:
        workbench.follow(bar)(line(5))
    assert kernel.shown == [] and '"n": 5' in (tmp_path / "progress.jsonl").read_text()
