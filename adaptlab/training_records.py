"""What a training run leaves behind: its log, its checkpoints, the card of its adapter, and what it came to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from adaptlab import files

SMALL_WEIGHTS = 200_000_000  # bytes of a base up to which its content, and not only its size, tells runs apart
OnLog = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to. `seconds` counts resumed parts too; `left_out` rows were longer than `max_length`."""

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


def result_dict(result: TrainingResult) -> dict[str, Any]:
    """A result as plain data, without paths."""
    return {name: value for name, value in asdict(result).items() if not isinstance(value, Path)}


# --------------------------------------------------------------------------------------------------------------- log


def recorder(path: Path, resumed_step: int, on_log: OnLog | None) -> Any:
    """A callback that writes the log; on resuming, it goes on after the lines up to the checkpoint."""
    from transformers import TrainerCallback

    kept = [line for line in files.Partial(path).read() if line["step"] <= resumed_step]
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
            if not logs or "loss" not in logs:
                return
            now, tokens = perf_counter(), float(logs.get("num_tokens", 0))
            speed = (tokens - self.last[1]) / max(now - self.last[0], 1e-9)
            self.last = (now, tokens)
            line = {
                "step": state.global_step,
                "epoch": round(float(state.epoch or 0), 4),
                "loss": float(logs["loss"]),
                "learning_rate": float(logs.get("learning_rate", 0)),
                "tokens_per_second": round(speed, 1),
                "seconds": round(self.before + now - self.start, 3),
            }
            files.append_jsonl(path, line)
            self.lines.append(line)
            if on_log is not None:
                on_log({**line, "total_steps": state.max_steps})

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
        if not (same and resume and (path / "trainer_state.json").is_file()):
            shutil.rmtree(path)
    files.atomic_write_json(marker, {"fingerprint": print_of_run})
    return newest_checkpoint(folder)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole: `trainer_state.json` is written last."""
    whole = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return max(whole, key=step_of, default=None)


def step_of(checkpoint: Path | None) -> int:
    """The step at which a checkpoint was written; 0 without one."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def fingerprint(trainer: Any) -> str:
    """A hash of all that a run's weights depend on; a checkpoint of another run must not be gone on from."""
    ignored = ("output_dir", "logging_dir", "run_name", "hub_token", "push_to_hub_token", "logging_steps")
    arguments = {k: v for k, v in trainer.args.to_dict().items() if k not in ignored and not k.startswith("save_")}
    lora = {k: v for k, v in trainer.model.peft_config["default"].to_dict().items() if k != "base_model_name_or_path"}
    chats = [row.model_dump(include={"prompt", "completion"}) for row in trainer.lab_rows]
    basis = [arguments, lora, chats, _weights(Path(trainer.model.config._name_or_path)), str(trainer.model.dtype)]
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

    args, lora = trainer.args, trainer.model.peft_config["default"]
    sources = [row.source for row in trainer.lab_rows]
    mix = ", ".join(f"{sources.count(name)} {name}" for name in sorted(set(sources)))
    libraries = ", ".join(f"{name} {version(name)}" for name in ("transformers", "trl", "peft", "bitsandbytes"))
    quantised = "NF4 (4 bits)" if getattr(trainer.model, "is_loaded_in_4bit", False) else str(trainer.model.dtype)
    return f"""---
base_model: {base}
library_name: peft
tags: [lora, sft]
---

# LoRA adapter of {base}

| | |
|---|---|
| base | {base}, loaded in {quantised} |
| rows | {len(sources)} ({mix}); {result.left_out} left out as longer than {args.max_length} tokens |
| LoRA | rank {lora.r}, alpha {lora.lora_alpha}, dropout {lora.lora_dropout} |
| training | {result.epochs:g} epochs, {result.steps} steps, batch {args.per_device_train_batch_size} x \
{args.gradient_accumulation_steps}, learning rate {args.learning_rate:g}, {args.optim}, seed {args.seed} |
| loss at the end | {result.final_loss:.4f} (completion tokens only) |
| trained parameters | {result.trainable_parameters:,} of {result.total_parameters:,} in the base |
| time | {result.seconds:.0f} s, {result.tokens_per_second:.0f} tokens/s |
| libraries | {libraries} |

It was trained on synthetic questions about one document. What it knows of that document, and what it lost on the way,
is measured in `04Evaluation`; it is not meant for any other use.
"""
