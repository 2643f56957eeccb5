"""The process in which one trial is trained: `python -m adaptlab.trial_process FOLDER`, started by training_trials.

A fresh process, because a process's peak memory cannot be measured twice. It ends when the one that started it does.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from adaptlab import child, files, memory, training
from adaptlab.synthesis.rows import read_training_jsonl
from adaptlab.training_batches import epoch_size
from adaptlab.training_records import TrainingResult
from adaptlab.training_trials import COST, JOB, ROWS, VALIDATION, settings_of
from config import PROFILES


def train(folder: Path) -> dict[str, Any]:
    """Train what the job in `folder` describes and return what it cost; goes on from a checkpoint that is there.

    Validation rows that lie there are measured after every epoch, and the epoch with the least loss on them is kept.
    """
    job = files.parse_record(files.read_text(folder / JOB), JOB)
    trial, settings = settings_of(job)
    rows = read_training_jsonl(folder / ROWS)
    held = read_training_jsonl(folder / VALIDATION) if (folder / VALIDATION).is_file() else []
    profile = replace(trial.profile(PROFILES[job["profile"]], epoch_size(rows)), training=settings)
    libraries = _loaded_libraries()
    model, tokenizer = training.load_student(profile, job["base"])
    lora = None if trial.method == "full" else training.lora_config(profile.lora)
    watched = training.early_stopping(settings) if held else {}
    plan = training.sft_config(settings, folder, precision=profile.precision, seed=job["seed"], **watched)
    trainer = training.make_trainer(model, tokenizer, rows, lora, plan, validation=held)
    return cost_of(training.run_trainer(trainer, folder), libraries)


def _loaded_libraries() -> int:
    """Bytes in use once the libraries are loaded, and before any weight is."""
    import bitsandbytes  # noqa: F401
    import datasets  # noqa: F401
    import trl  # noqa: F401

    return memory.in_use()


def cost_of(result: TrainingResult, libraries: int) -> dict[str, Any]:
    """What a training took. On a processor the peak is the whole process's; `libraries` of it were there before."""
    weights = list(result.adapter_dir.glob("*.safetensors"))
    watched = {"validation_rows": result.validation_rows, "validation_loss": _finite(result.best_validation_loss)}
    return {
        "seconds": result.seconds,
        "steps": result.steps,
        "epochs": round(result.epochs, 2),
        "rows": result.rows,
        "tokens": result.tokens,
        "tokens_per_second": result.tokens_per_second,
        "final_loss": result.final_loss,
        "trained_weights": result.trainable_parameters,
        "weights": result.total_parameters,
        "peak_bytes": result.peak_memory_bytes,
        "libraries_bytes": 0 if memory.on_gpu() else libraries,  # the GPU's peak counts no libraries
        "artifact_bytes": sum(path.stat().st_size for path in weights),
        **(watched if result.validation_rows else {}),
    }


def _finite(loss: float | None) -> float | None:
    """A loss, or None for that of a training that ran away."""
    return loss if loss is not None and math.isfinite(loss) else None


if __name__ == "__main__":
    sys.exit(child.main(sys.argv[1:], train, COST))
