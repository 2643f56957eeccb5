"""Speed of the lab's training recipe on the miniature student, as ratios against the two usual ones in the same run.

Same rows, base in NF4, adapter, optimiser, batch and threads on all sides; only the batches and what is trained on
differ (benchmarks/recipes.py says how). `python benchmarks/training_speed.py` prints each ratio beside its target.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from adaptlab import training  # noqa: E402
from benchmarks import recipes  # noqa: E402
from benchmarks.ratios import Ratio, tell  # noqa: E402
from benchmarks.recipes import BY_LENGTH, TEXTBOOK, TO_LONGEST, Recipe, Timed  # noqa: E402
from config import MINI, MODELS  # noqa: E402

TARGETS = ((TO_LONGEST, 2.0), (TEXTBOOK, 6.0))


def timed(recipe: Recipe, count: int) -> tuple[Timed, int]:
    """One recipe on a fresh base, and how many tokens its rows have."""
    model, tokenizer = training.load_base_nf4(MODELS[MINI.student].location, device="cpu")
    rows = recipes.captured_rows(tokenizer, count)
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        trainer = recipes.trainer_for(recipe, model, tokenizer, rows, MINI, Path(folder))
        found = recipes.measure(recipe, trainer, tokenizer, rows)
    return found, sum(training.row_length(tokenizer, row) for row in rows)


def speed(found: Timed) -> float:
    """Tokens of answers that are trained on a second."""
    return found.work.answers / found.seconds


def ratio(recipe: Recipe, ours: Timed, other: Timed, target: float) -> Ratio:
    """The lab's recipe against another one."""
    labels = (ours.work.trained / ours.seconds) / (other.work.trained / other.seconds)
    padding = [1 - found.work.real / found.work.slots for found in (ours, other)]
    note = (
        f"{speed(ours):.0f} against {speed(other):.0f} tokens/s, padding {padding[0]:.0%} against {padding[1]:.0%}; "
        f"{labels:.2f} in tokens with a label"
    )
    return Ratio(f"trained tokens/s against {recipe.name}", speed(ours) / speed(other), target, True, note)


def main(argv: list[str] | None = None) -> int:
    """Print the ratios; the exit code is 0 where every target was reached."""
    parser = argparse.ArgumentParser(description="Measure the lab's training recipe against the two usual ones.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads for all sides")
    parser.add_argument("--rows", type=int, default=512, help="captured training rows (512)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    ours, tokens = timed(BY_LENGTH, options.rows)
    found: list[Any] = [ratio(other, ours, timed(other, options.rows)[0], target) for other, target in TARGETS]
    about = f"mini-granite in NF4, {options.threads} threads, batches of {MINI.training.batch_size}, "
    about += f"{ours.work.rows} rows of {tokens / ours.work.rows:.0f} tokens, {ours.work.answers} of them trained on"
    return tell(found, about, options.json)


if __name__ == "__main__":
    sys.exit(main())
