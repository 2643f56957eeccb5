"""The process in which one trial is trained: `python -m adaptlab.trial_process FOLDER`, started by training_trials.

A fresh process, because a process's peak memory cannot be measured twice. It ends when the one that started it does.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from adaptlab import files, memory, training
from adaptlab.synthesis.rows import read_training_jsonl
from adaptlab.training_records import TrainingResult
from adaptlab.training_trials import COST, JOB, ROWS, settings_of
from config import PROFILES, LabError


def train(folder: Path) -> dict[str, Any]:
    """Train what the job in `folder` describes and return what it cost; goes on from a checkpoint that is there."""
    job = files.parse_record(files.read_text(folder / JOB), JOB)
    trial, settings = settings_of(job)
    rows = read_training_jsonl(folder / ROWS)
    profile = replace(trial.profile(PROFILES[job["profile"]], len(rows)), training=settings)
    libraries = _loaded_libraries()
    model, tokenizer = training.load_student(profile, job["base"])
    lora = None if trial.method == "full" else training.lora_config(profile.lora)
    plan = training.sft_config(settings, folder, precision=profile.precision, seed=job["seed"])
    trainer = training.make_trainer(model, tokenizer, rows, lora, plan)
    return cost_of(training.run_trainer(trainer, folder), libraries)


def end_with_parent() -> None:
    """Leave at once when the other end of standard input is closed: whoever started this process is gone."""

    def watch() -> None:
        sys.stdin.read()
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()


def _loaded_libraries() -> int:
    """Bytes in use once the libraries are loaded, and before any weight is."""
    import bitsandbytes  # noqa: F401
    import datasets  # noqa: F401
    import trl  # noqa: F401

    return memory.in_use()


def cost_of(result: TrainingResult, libraries: int) -> dict[str, Any]:
    """What a training took. On a processor the peak is the whole process's; `libraries` of it were there before."""
    weights = list(result.adapter_dir.glob("*.safetensors"))
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
        "libraries_bytes": libraries,
        "artifact_bytes": sum(path.stat().st_size for path in weights),
    }


def main(argv: list[str]) -> int:
    """Train, and write the cost last: with it, the training counts as finished."""
    folder = Path(argv[0])
    end_with_parent()
    try:
        files.atomic_write_json(folder / COST, train(folder))
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
