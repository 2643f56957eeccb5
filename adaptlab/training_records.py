"""What a training run leaves behind: its log, its checkpoints, the card of its adapter, and what it came to."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from adaptlab import files, memory
from adaptlab.schemas import Row
from adaptlab.training_batches import epoch_size
from config import TrainingSettings

SMALL_WEIGHTS = 200_000_000  # bytes of a base up to which its content, and not only its size, tells runs apart
OnLog = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to. `seconds` counts resumed parts too; `left_out` rows were longer than `max_length`.

    `stopped_early` is true where the validation loss ended the run before its last planned step.
    """

    adapter_dir: Path
    log_path: Path
    steps: int
    epochs: float
    final_loss: float
    seconds: float
    tokens: int
    tokens_per_second: float
    trainable_parameters: int
    total_parameters: int
    peak_memory_bytes: int
    rows: int
    left_out: int
    resumed_from: int | None
    engine: str = "plain"
    validation_rows: int = 0
    best_validation_loss: float | None = None
    stopped_early: bool = False


def result_dict(result: TrainingResult) -> dict[str, Any]:
    """A result as plain data, without paths."""
    return {name: value for name, value in asdict(result).items() if not isinstance(value, Path)}


def training_steps(rows: Sequence[Row], training: TrainingSettings) -> int:
    """How many optimiser steps a run over `rows` takes."""
    batches = math.ceil(epoch_size(rows) / training.batch_size)
    return max(1, int(math.ceil(batches / training.gradient_accumulation) * training.epochs))


def with_cost(result: TrainingResult, resting_bytes: int | None = None) -> Path:
    """The adapter's folder, with the training log and what the run cost put beside the weights.

    `resting_bytes` is what the process held before the base was loaded (`memory.in_use()`): on a processor the peak is
    that of the whole process, and only what is above this is the training's.
    """
    before = {} if resting_bytes is None else {"memory before (GB)": round(resting_bytes / 1e9, 2)}
    cost = {
        "minutes": round(result.seconds / 60, 1),
        "epochs": round(result.epochs, 2),
        "steps": result.steps,
        "rows": result.rows,
        "rows too long": result.left_out,
        "tokens": result.tokens,
        "tokens per second": round(result.tokens_per_second),
        "trainable weights": result.trainable_parameters,
        "weights": result.total_parameters,
        "peak memory (GB)": round(result.peak_memory_bytes / 1e9, 2),
        **before,
    }
    files.atomic_write_json(result.adapter_dir / "cost.json", cost)
    shutil.copyfile(result.log_path, result.adapter_dir / "training_log.jsonl")
    return result.adapter_dir


# --------------------------------------------------------------------------------------------------------------- log


def recorder(path: Path | None, resumed_step: int, on_log: OnLog | None) -> Any:
    """A callback that writes the log; on resuming, it goes on after the lines up to the checkpoint.

    A line has step, epoch, learning_rate, loss (or eval_loss, on the validation rows), tokens_per_second since the
    last line, memory_bytes in use, seconds so far (those before a kill included) and eta_seconds to the last planned
    step, at the mean speed of this process. Without a path (the other processes of `torchrun`) nothing is written.
    """
    from transformers import TrainerCallback

    kept = [line for line in files.Partial(path).read() if line["step"] <= resumed_step] if path else []
    if path:
        files.write_jsonl(path, kept)

    class Recorder(TrainerCallback):
        lines = kept
        before = kept[-1]["seconds"] if kept else 0.0
        start = perf_counter()
        last = (start, 0.0)

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.start = perf_counter()
            self.last = (self.start, 0.0)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # A line at each checkpoint, so that no line averages over steps on both sides of a kill.
            control.should_log = control.should_log or control.should_save

        on_epoch_end = on_step_end

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            name = next((name for name in ("loss", "eval_loss") if logs and name in logs), None)
            if name is None:
                return
            line = {"step": state.global_step, "epoch": round(float(state.epoch or 0), 4), name: float(logs[name])}
            line |= self.pace(state, logs) if name == "loss" else {}
            done = max(1, state.global_step - resumed_step)
            spent = perf_counter() - self.start
            line["memory_bytes"] = memory.in_use()
            line["seconds"] = round(self.before + spent, 3)
            line["eta_seconds"] = round(spent / done * (state.max_steps - state.global_step), 1)
            self.lines.append(line)
            if path:
                files.append_jsonl(path, line)
            if on_log is not None:
                on_log({**line, "total_steps": state.max_steps})

        def pace(self, state: Any, logs: Any) -> dict[str, float]:
            """Learning rate, and tokens a second since the last line; TRL counts tokens over all processes."""
            now, tokens = perf_counter(), float(logs.get("num_tokens", 0))
            speed = (tokens - self.last[1]) / max(now - self.last[0], 1e-9)
            self.last = (now, tokens)
            return {"learning_rate": float(logs.get("learning_rate", 0)), "tokens_per_second": round(speed, 1)}

    return Recorder()


# ------------------------------------------------------------------------------------------------------- checkpoints


def prepare_checkpoints(folder: Path, print_of_run: str, resume: bool) -> Path | None:
    """The checkpoint to go on from. Those of another run, and those that a kill left incomplete, are removed."""
    marker = folder / "run.json"
    try:
        same = json.loads(marker.read_text("utf-8"))["fingerprint"] == print_of_run
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    for path in folder.glob("checkpoint-*"):
        if not (same and resume and is_whole(path)):
            shutil.rmtree(path)
    files.atomic_write_json(marker, {"fingerprint": print_of_run})
    return newest_checkpoint(folder)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole."""
    return max((path for path in folder.glob("checkpoint-*") if is_whole(path)), key=step_of, default=None)


def is_whole(checkpoint: Path) -> bool:
    """Whether a save came to its end: `trainer_state.json` is written last, and a kill may fall into that too."""
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
        return bool(state["global_step"] == step_of(checkpoint))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def step_of(checkpoint: Path | None) -> int:
    """The step at which a checkpoint was written; 0 without one."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def fingerprint(trainer: Any) -> str:
    """A hash of all that a run's weights depend on; a checkpoint of another run must not be gone on from."""
    ignored = ("output_dir", "logging_dir", "run_name", "hub_token", "push_to_hub_token", "logging_steps")
    arguments = {k: v for k, v in trainer.args.to_dict().items() if k not in ignored and not k.startswith("save_")}
    adapter = getattr(trainer.model, "peft_config", {}).get("default")
    lora = {k: v for k, v in adapter.to_dict().items() if k != "base_model_name_or_path"} if adapter else None
    rows = [*trainer.lab_rows, None, *trainer.lab_validation, None, trainer.lab_patience]
    turns = [row.generator.get("epoch") for row in trainer.lab_rows]
    chats = [row.model_dump(include={"prompt", "completion"}) if isinstance(row, Row) else row for row in rows]
    basis = [
        arguments,
        lora,
        chats,
        turns,
        trainer.lab_engine,
        _weights(Path(trainer.model.config._name_or_path)),
        str(trainer.model.dtype),
    ]
    return files.sha256_bytes(json.dumps(basis, sort_keys=True, default=_stable).encode())


def _weights(folder: Path) -> list[str]:
    """What tells one base from another: hashes of small weight files, sizes of large ones."""
    found = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    small = sum(path.stat().st_size for path in found) <= SMALL_WEIGHTS
    return [folder.name, *(files.sha256_path(p) if small else f"{p.name} {p.stat().st_size}" for p in found)]


def _stable(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, (set, frozenset)) else str(value)


# -------------------------------------------------------------------------------------------------------------- card


def card(trainer: Any, result: TrainingResult, base: str) -> str:
    """The adapter's README.md."""
    from importlib.metadata import version

    args, adapter = trainer.args, getattr(trainer.model, "peft_config", {}).get("default")
    sources = [row.source for row in trainer.lab_rows]
    mix = ", ".join(f"{sources.count(name)} {name}" for name in sorted(set(sources)))
    libraries = ", ".join(f"{name} {version(name)}" for name in ("transformers", "trl", "peft", "bitsandbytes"))
    quantised = "NF4 (4 bits)" if getattr(trainer.model, "is_loaded_in_4bit", False) else str(trainer.model.dtype)
    return f"""---
base_model: {base}
library_name: {"peft" if adapter else "transformers"}
tags: [{"lora, sft" if adapter else "sft"}]
---

# {"LoRA adapter" if adapter else "Full fine-tuning"} of {base}

| | |
|---|---|
| base | {base}, loaded in {quantised} |
| rows | {len(sources)} ({mix}); {result.left_out} left out as longer than {args.max_length} tokens |
| LoRA | {_lora(adapter)} |
| training | {result.epochs:g} epochs, {result.steps} steps, batch {args.per_device_train_batch_size} x \
{args.gradient_accumulation_steps} x {args.world_size} processes, learning rate {args.learning_rate:g}, {args.optim}, \
seed {args.seed}, engine {result.engine} |
| loss at the end | {result.final_loss:.4f} (completion tokens only) |
| validation | {_validation(result)} |
| trained parameters | {result.trainable_parameters:,} of {result.total_parameters:,} in the base |
| time | {result.seconds:.0f} s, {result.tokens_per_second:.0f} tokens/s |
| peak memory | {result.peak_memory_bytes / 1e9:.2f} GB, of the GPU, or on a processor of the whole process |
| libraries | {libraries} |

It was trained on synthetic questions about one document. What it knows of that document, and what it lost on the way,
is measured in `04Evaluation`; it is not meant for any other use.
"""


def _lora(adapter: Any) -> str:
    """The card's words about the adapter."""
    if adapter is None:
        return "none: all weights are trained"
    return f"rank {adapter.r}, alpha {adapter.lora_alpha}, dropout {adapter.lora_dropout}"


def _validation(result: TrainingResult) -> str:
    """The card's words about the validation split."""
    if not result.validation_rows:
        return "none"
    best = "" if result.best_validation_loss is None else f", best loss {result.best_validation_loss:.4f}"
    return f"{result.validation_rows} rows about other facts{best}{', stopped early' if result.stopped_early else ''}"
