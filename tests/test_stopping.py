"""A run that is broken off goes on by itself, and validation on other facts stops it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_training import row

from adaptlab import stopping, training
from config import MINI, MODELS_DIR, LabError

BASE = MODELS_DIR / "mini-granite"
pytestmark = pytest.mark.skipif(not (BASE / "model.safetensors").is_file(), reason="prebuilt/models is not there")
ROWS = [row(i).model_copy(update={"fact_ids": [f"fact {i}"]}) for i in range(10)]


def runner(folder: Path, epochs: float):
    profile = replace(
        MINI, training=replace(MINI.training, epochs=epochs, batch_size=4, gradient_accumulation=1, learning_rate=0.05)
    )
    kept, watched = training.split_by_fact(ROWS, 0.2)

    def run(on_log):
        return training.train_qlora(kept, BASE, folder, profile, on_log=on_log, validation=watched, patience=1)

    return run


@pytest.mark.slow
def test_a_broken_run_goes_on_from_its_checkpoint_and_stops_by_its_validation_loss(tmp_path: Path) -> None:
    record = stopping.broken_off_and_resumed(runner(tmp_path, epochs=8), tmp_path)
    result, first, log = record["result"], record["first"], record["log"]
    assert first[-1]["epoch"] > 1 and result["resumed_from"] == 2 < first[-1]["step"]
    steps = [line["step"] for line in log if "loss" in line]
    assert steps == sorted(set(steps)) and steps[-1] == result["steps"]
    assert result["stopped_early"] and result["validation_rows"] == 2
    losses = [line["eval_loss"] for line in log if "eval_loss" in line]
    assert losses[-1] >= min(losses) == pytest.approx(result["best_validation_loss"])
    broken, stopped = stopping.sentences(record)
    assert f"went on from step 2: {first[-1]['step'] - 2} steps" in broken and "stopped early" in stopped


@pytest.mark.slow
def test_a_run_that_ends_before_the_break_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="ended before it could be broken off after 1 epochs"):
        stopping.broken_off_and_resumed(runner(tmp_path, epochs=1), tmp_path)
