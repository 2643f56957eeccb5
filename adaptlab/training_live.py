"""A training run while it runs: loss and learning rate as a picture that grows, with speed, memory and time left.

In JupyterLab `follow` draws under the cell, and takes the picture away at the end, so that a notebook keeps no outputs
that differ from machine to machine. Elsewhere, and under `adaptlab run`, it moves the progress bar alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INTERVAL = 2.0  # seconds from one picture to the next
Line = dict[str, Any]


def follow(bar: Any) -> Callable[[Line], None]:
    """A call-back for the trainer's log lines: it moves `bar`, and in JupyterLab it draws as well."""
    show = LivePlot() if in_notebook() else None
    if show is not None:
        bar.at_close.append(show.clear)
    reached = 0

    def moved(line: Line) -> None:
        nonlocal reached
        bar.update(max(0, line["step"] - reached))
        reached = max(reached, line["step"])
        if show is not None:
            show(line)

    return moved


def in_notebook() -> bool:
    """Whether somebody looks at this process in JupyterLab: a kernel, and not one that `adaptlab run` started."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel") and not os.environ.get("LAB_PROGRESS")


class LivePlot:
    """Collects log lines and shows them as one picture, drawn again every two seconds, until `clear`."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self.lines: list[Line] = []
        self.interval = interval
        self._shown = float("-inf")
        self._handle: Any = None

    def __call__(self, line: Line) -> None:
        """Take one line in, and draw if the last picture is old enough."""
        self.lines.append(line)
        if time.monotonic() - self._shown >= self.interval:
            self._shown = time.monotonic()
            self._show(_png(picture(self.lines)))

    def clear(self) -> None:
        """Take the picture away."""
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)

    def _show(self, png: bytes) -> None:
        import base64

        from IPython.display import display

        data = {"image/png": base64.b64encode(png).decode("ascii"), "text/plain": status(self.lines[-1])}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


def status(line: Line) -> str:
    """Where a run is, in words: step, tokens a second, memory, time left."""
    words = [f"step {line['step']} of {line['total_steps']}"]
    if "tokens_per_second" in line:
        words.append(f"{line['tokens_per_second']:,.0f} tokens/s")
    words.append(f"{line['memory_bytes'] / 1e9:.2f} GB")
    minutes, seconds = divmod(round(line["eta_seconds"]), 60)
    words.append(f"{minutes}:{seconds:02d} min left")
    return ", ".join(words)


def picture(lines: list[Line]) -> Figure:
    """Loss (and validation loss) and learning rate over the steps, the run's state as the title."""
    from matplotlib.figure import Figure

    from adaptlab.figures import BLUE, GREEN, ORANGE

    figure = Figure(figsize=(8.5, 2.9), dpi=80, layout="constrained")
    left, right = figure.subplots(1, 2)
    trained = [line for line in lines if "loss" in line]
    watched = [line for line in lines if "eval_loss" in line]
    left.plot([x["step"] for x in trained], [x["loss"] for x in trained], color=BLUE, label="training rows")
    if watched:
        steps = [x["step"] for x in watched]
        left.plot(steps, [x["eval_loss"] for x in watched], color=ORANGE, marker="s", label="validation rows")
        left.legend(frameon=False, fontsize=8)
    left.set_ylabel("loss (nats a token)")
    left.set_ylim(bottom=0)
    right.plot([x["step"] for x in trained], [x["learning_rate"] for x in trained], color=GREEN)
    right.set_ylabel("learning rate")
    right.set_ylim(bottom=0)
    for ax in (left, right):
        ax.set_xlim(0, lines[-1]["total_steps"])
        ax.set_xlabel("optimiser step")
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(status(lines[-1]), fontsize=10, x=0.01, ha="left")
    return figure


def _png(figure: Figure) -> bytes:
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
