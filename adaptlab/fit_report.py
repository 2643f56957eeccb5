"""What `adaptlab.fit` predicts, to look at: a table, a sentence, predicted beside measured; bars: figures_training."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from adaptlab.fit import Architecture, Fit

if TYPE_CHECKING:
    import pandas as pd

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
