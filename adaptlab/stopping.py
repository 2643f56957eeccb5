"""A small run that is broken off on purpose and called again: what a kill costs, and when validation stops a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adaptlab import files
from adaptlab.training_records import TrainingResult, result_dict
from config import LabError

Line = dict[str, Any]


class BrokenOff(Exception):
    """Raised in the middle of a run, as a kill would end it."""


def broken_off_and_resumed(
    run: Callable[[Callable[[Line], None]], TrainingResult], folder: Path, after: float = 1.0
) -> Line:
    """Break `run` off after `after` epochs, call it again as it is, and return the log of both.

    `run` trains in `folder`, which is emptied first: what a real kill left there would leave nothing to break off. It
    takes a call-back for log lines and is to go on by itself from its last whole checkpoint. The record has
    `first` (the lines before the break), `log` (training_log.jsonl at the end) and `result`; `resumed_from` in it is
    the step of that checkpoint, and the lines of `first` behind it are what the break cost.
    """
    shutil.rmtree(folder, ignore_errors=True)
    first: list[Line] = []

    def break_off(line: Line) -> None:
        first.append(line)
        if line["epoch"] > after:
            raise BrokenOff

    try:
        run(break_off)
    except BrokenOff:
        pass
    else:
        raise LabError(f"The run ended before it could be broken off after {after:g} epochs: give it more epochs.")
    result = run(lambda line: None)
    return {"first": first, "log": list(files.read_jsonl(result.log_path)), "result": result_dict(result)}


def sentences(record: Line) -> list[str]:
    """What happened, in words computed from the record."""
    result, lost = record["result"], record["first"][-1]["step"]
    resumed = result["resumed_from"] or 0
    said = [
        f"Broken off at step {lost}; the same call went on from step {resumed}: {lost - resumed} steps were done again."
    ]
    watched = [line for line in record["log"] if "eval_loss" in line]
    if watched:
        best = min(watched, key=lambda line: line["eval_loss"])
        ended = "stopped early" if result["stopped_early"] else "went to its end"
        said.append(
            f"The validation loss was lowest after epoch {best['epoch']:g} ({best['eval_loss']:.3f}); the run {ended} "
            f"after epoch {result['epochs']:g}, and the adapter kept is the one of the best epoch."
        )
    return said
