"""What `adaptlab.fit` predicts, to look at: a table, stacked bars against the card, predicted beside measured."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from adaptlab.figures import GREY, PALETTE
from adaptlab.fit import Architecture, Fit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from adaptlab.training_records import TrainingResult

UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"))


def size(number: float) -> str:
    """Bytes for people, in powers of ten."""
    unit, word = next(((unit, word) for unit, word in UNITS if abs(number) >= unit), (1.0, "bytes"))
    return f"{number / unit:.2f} {word}" if unit > 1 else f"{number:.0f} bytes"


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def verdict(fit: Fit) -> str:
    """One sentence: does it fit, and how long does it take."""
    shape = fit.architecture
    words = f"{shape.name}, {shape.parameters / 1e6:,.1f} M parameters: {size(fit.peak)} at the peak"
    if fit.card is not None:
        share = fit.peak / fit.card.memory
        words += f", {share:.0%} of {fit.card.name}'s memory: it {'fits' if fit.fits else 'does not fit'}"
    if fit.seconds is not None:
        words += f"; {duration(fit.seconds[0])} to {duration(fit.seconds[1])} for {fit.load.tokens:,} tokens"
    return words + "."


def table(fit: Fit) -> pd.DataFrame:
    """Bytes by part, for training and for generation."""
    import pandas as pd

    parts = [("training", name, value) for name, value in fit.training.items()]
    parts += [("generation", name, value) for name, value in fit.generation.items()]
    frame = pd.DataFrame(parts, columns=["phase", "part", "bytes"])
    return frame.assign(size=frame["bytes"].map(size))


def figure(fit: Fit, origin: str = "predicted from the config") -> Figure:
    """Stacked bars of training and generation by part, the card's memory as a line."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9.0, 3.6), dpi=110, layout="constrained")
    ax = drawn.subplots()
    parts = list(dict.fromkeys([*fit.training, *fit.generation]))
    scale, unit = UNITS[0] if max(fit.peak, fit.card.memory if fit.card else 0) >= 1e9 else UNITS[1]
    left = [0.0, 0.0]
    for number, name in enumerate(parts):
        values = [phase.get(name, 0.0) / scale for phase in (fit.training, fit.generation)]
        colour, hatch = PALETTE[number % len(PALETTE)], "//" if number >= len(PALETTE) else None
        ax.barh([0, 1], values, left=left, color=colour, hatch=hatch, edgecolor="white", height=0.55, label=name)
        left = [start + value for start, value in zip(left, values, strict=True)]
    for at, total in enumerate(left):
        ax.text(total, at, f" {total:.2f} {unit}", va="center", fontsize=9)
    if fit.card is not None:
        ax.axvline(fit.card.memory / scale, color="black", linestyle="--", linewidth=1.4)
        ax.text(fit.card.memory / scale, -0.48, f"{fit.card.name} ", ha="right", fontsize=9)
    ax.set_yticks([0, 1], ["training", "generation"])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12 * max(*left, fit.card.memory / scale if fit.card else 0))
    ax.set_xlabel(f"memory ({unit})")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=4, frameon=False, fontsize=8.5)
    drawn.suptitle(f"Will {fit.architecture.name.replace('$', '')} fit?", fontsize=12, x=0.01, ha="left")
    drawn.supxlabel(origin, fontsize=7.5, color=GREY, x=0.99, ha="right")
    return drawn


def compare(fit: Fit, result: TrainingResult, resting_bytes: int = 0) -> pd.DataFrame:
    """Predicted beside measured. On a processor `resting_bytes` (`memory.in_use()` before the base was loaded) is taken
    off the measured peak, which there is that of the whole process."""
    import pandas as pd

    measured = result.peak_memory_bytes - resting_bytes
    predicted = sum(fit.training.values())
    low, high = fit.seconds or (float("nan"), float("nan"))
    lines: list[dict[str, Any]] = [
        {"what": "trained weights", "predicted": fit.adapter_parameters, "measured": result.trainable_parameters},
        {"what": "weights of the base", "predicted": fit.architecture.parameters, "measured": result.total_parameters},
        {"what": "peak memory of training (bytes)", "predicted": predicted, "measured": measured},
        {"what": "seconds, at the fastest", "predicted": low, "measured": result.seconds},
        {"what": "seconds, at the slowest", "predicted": high, "measured": result.seconds},
    ]
    frame = pd.DataFrame(lines)
    return frame.assign(ratio=frame["predicted"] / frame["measured"])


def processor_speed(shape: Architecture, tokens: int = 4096, seconds: float = 0.3) -> tuple[float, float]:
    """FLOPs a second that this processor reaches here, as (slowest, fastest): half of, and all of a matrix product's.

    The product has the shape of the model's own feed-forward, since small matrices reach less than large ones. Half is
    an assumption for all else that a step does (attention, norms, taking weights out of 4 bits).
    """
    import torch

    left, right = torch.randn(tokens, shape.hidden), torch.randn(shape.hidden, shape.feed_forward)
    left @ right
    count, start = 0, perf_counter()
    while perf_counter() - start < seconds:
        left @ right
        count += 1
    reached = count * 2 * tokens * shape.hidden * shape.feed_forward / (perf_counter() - start)
    return reached / 2, reached
