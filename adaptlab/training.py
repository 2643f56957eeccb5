"""QLoRA of a student: a 4-bit base, a LoRA adapter on top, TRL's trainer, safe checkpoints and a log.

A notebook composes `load_base_nf4`, `make_trainer` and `run_trainer` with its own LoraConfig and SFTConfig;
`train_qlora` does the same from a profile. What these functions add to the libraries is what was measured to go wrong
without it; each such line says what.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from adaptlab import base_weights, engines, files, memory
from adaptlab.precision import Machine, cuda_device, keep_adapter_in_float32, precision_for
from adaptlab.quiet import quiet
from adaptlab.schemas import Row
from adaptlab.training_batches import batches_by_length, of_epoch, split_by_fact, trainer_class
from adaptlab.training_records import (
    OnLog,
    TrainingResult,
    card,
    fingerprint,
    newest_checkpoint,
    prepare_checkpoints,
    recorder,
    result_dict,
    step_of,
)
from config import MODELS, LabError, LoraSettings, Profile, TrainingSettings

__all__ = [
    "OnLog",
    "TrainingResult",
    "batches_by_length",
    "early_stopping",
    "load_base",
    "load_base_nf4",
    "load_student",
    "lora_config",
    "make_trainer",
    "newest_checkpoint",
    "result_dict",
    "row_length",
    "run_trainer",
    "sft_config",
    "split_by_fact",
    "train_qlora",
]

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from trl import SFTConfig, SFTTrainer

THINKING_OFF: dict[str, Any] = {"enable_thinking": False}  # as in generation: Qwen3 then answers at once


# ---------------------------------------------------------------------------------------------------------- the base


def load_base_nf4(
    model_dir: str | Path, *, compute_dtype: str = "float32", device: str | None = None, revision: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base model with its linear layers in 4 bits (NF4), and its tokenizer. `device` defaults to a GPU if any."""
    import torch

    with quiet():  # bitsandbytes notes on import that a faster kernel could be downloaded
        import bitsandbytes as bnb

    device = device or (cuda_device() if torch.cuda.is_available() else "cpu")
    rounding = base_weights.FourBits(double=device != "cpu").config(getattr(torch, compute_dtype))
    model, tokenizer = load_base(
        model_dir, dtype=compute_dtype, device=device, revision=revision, quantization_config=rounding
    )
    for module in model.modules():
        if device == "cpu" and isinstance(module, bnb.nn.Linear4bit):
            # Where the CPU has AVX512-BF16, a generation repacks the weights, and later gradients are 23 % off.
            module.support_avx512bf16_for_cpu = False
    return model, tokenizer


def load_base(
    model_dir: str | Path, *, dtype: str = "float32", device: str = "cpu", revision: str | None = None, **options: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base model in `dtype`, and its tokenizer; a missing or broken folder is one sentence."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    memory.keep_freed_blocks()
    where = str(model_dir)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(where, revision=revision)
            model = AutoModelForCausalLM.from_pretrained(
                where, dtype=getattr(torch, dtype), device_map={"": device}, revision=revision, **options
            )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        why = " ".join(str(error).split())[:200]
        raise LabError(f"The base model {Path(where).name} cannot be loaded ({why}): restore its folder.") from error
    return model, tokenizer


def load_student(profile: Profile, model_dir: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base that a profile trains on, by the profile's engine: in NF4 where it says so, else at its precision."""
    if engines.choose(profile)[0] == "unsloth":
        return engines.load_unsloth(profile, model_dir)
    revision = next((spec.revision for spec in MODELS.values() if spec.repository == str(model_dir)), None)
    options: dict[str, Any] = {"device": _device(profile), "revision": revision}
    dtype = precision_for(profile.precision).compute
    if profile.quantisation == "nf4":
        return load_base_nf4(model_dir, compute_dtype=dtype, **options)
    return load_base(model_dir, dtype=dtype, **options)


def lora_config(lora: LoraSettings) -> LoraConfig:
    """PEFT's LoRA configuration of a profile."""
    from peft import LoraConfig

    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )


def sft_config(
    training: TrainingSettings, out_dir: str | Path, *, precision: str = "fp32", seed: int = 0, **changes: Any
) -> SFTConfig:
    """TRL's training configuration of a profile."""
    from trl import SFTConfig

    return SFTConfig(**{**sft_arguments(training, out_dir, precision=precision, seed=seed), **changes})


def sft_arguments(
    training: TrainingSettings, out_dir: str | Path, *, precision: str, seed: int, machine: Machine | None = None
) -> dict[str, Any]:
    """What `sft_config` hands to TRL, on this machine or on another one.

    Rows are batched by length: on a CPU that is faster than packing, whose mask grows with the square of
    the packed batch. A profile with `packing` on suits a GPU.
    """
    types = precision_for(precision, machine)
    several = {"ddp_find_unused_parameters": False, **({} if types.gpu else {"ddp_backend": "gloo"})}
    return {
        **types.arguments(),
        **(several if "WORLD_SIZE" in os.environ else {}),  # torchrun sets it, for a single process too
        "output_dir": str(Path(out_dir) / "checkpoints"),
        "num_train_epochs": training.epochs,
        "per_device_train_batch_size": training.batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": training.scheduler,
        "warmup_steps": training.warmup,  # a share of all steps, since it is below 1
        "optim": training.optimizer,
        "max_length": training.max_length,
        "packing": training.packing,
        "packing_strategy": "bfd",  # the only strategy that keeps rows from attending to each other
        "train_sampling_strategy": "random" if training.packing else "group_by_length",
        "completion_only_loss": True,
        "loss_type": "nll",
        "logging_steps": 5,
        "save_strategy": "epoch",
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": seed,
        "data_seed": seed,
    }


def early_stopping(training: TrainingSettings) -> dict[str, Any]:
    """Changes for `sft_config`: the loss on validation rows after every epoch, and the best epoch's adapter kept."""
    return {
        "eval_strategy": "epoch",
        "per_device_eval_batch_size": training.batch_size,
        "eval_packing": False,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
    }


# ------------------------------------------------------------------------------------------------------- the trainer


def make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    lora: LoraConfig | None,
    sft: SFTConfig,
    *,
    on_log: OnLog | None = None,
    validation: Sequence[Row] = (),
    patience: int | None = None,
) -> SFTTrainer:
    """TRL's trainer over `rows` (prompt/completion), the adapter put on `model`; without `lora`, all weights train.

    `validation` rows (`split_by_fact`) are measured as `sft` says (`early_stopping`); training stops once their loss
    has not fallen for `patience` epochs.
    """
    from datasets import Dataset
    from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback

    _check(sft, validation, patience)
    if lora is None and getattr(model, "is_loaded_in_4bit", False):
        raise LabError("Weights in 4 bits cannot be trained: give an adapter, or load the base unquantised.")
    fitting = _fitting(tokenizer, rows, sft, "training")
    watched = _fitting(tokenizer, validation, sft, "validation") if validation else []
    with quiet():
        adapted = None if lora is None else engines.put_adapter_on(model, lora, sft.seed)
        trainer: Any = trainer_class()(
            model=adapted or model,
            args=sft,
            train_dataset=Dataset.from_list(_chats(tokenizer, fitting)),
            eval_dataset=Dataset.from_list(_chats(tokenizer, watched)) if watched else None,
            processing_class=tokenizer,
            peft_config=None if adapted is not None else lora,
        )
    keep_adapter_in_float32(trainer.model)
    for printing in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printing)
    if patience is not None:
        trainer.add_callback(EarlyStoppingCallback(patience))
    trainer.lab_rows, trainer.lab_left_out, trainer.lab_on_log = fitting, len(rows) - len(fitting), on_log
    trainer.lab_validation, trainer.lab_patience = watched, patience
    trainer.lab_engine = "plain" if adapted is None else "unsloth"
    return trainer


def run_trainer(trainer: Any, out_dir: str | Path, resume: bool = True) -> TrainingResult:
    """Train, from the newest whole checkpoint of the same run if there is one, and save adapter, card and log.

    In `out_dir`: `adapter/` (safetensors, configuration, tokenizer, README.md), `training_log.jsonl`, `checkpoints/`.
    Under `torchrun` the first process alone writes there; `out_dir` has to be on a disk that all processes see.
    """
    folder = Path(out_dir)
    checkpoints = Path(trainer.args.output_dir)
    first = trainer.is_world_process_zero()
    if first:
        prepare_checkpoints(checkpoints, fingerprint(trainer), resume)
    trainer.accelerator.wait_for_everyone()
    checkpoint = newest_checkpoint(checkpoints)
    log_path = folder / "training_log.jsonl" if first else None
    log = recorder(log_path, step_of(checkpoint), trainer.lab_on_log if first else None)
    trainer.add_callback(log)
    memory.reset_peak()
    try:
        with quiet():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        trainer.remove_callback(log)
    result = _result(trainer, folder, log, step_of(checkpoint) or None)
    if first:
        _save_adapter(trainer, result)
    trainer.accelerator.wait_for_everyone()
    return result


def train_qlora(
    rows: Sequence[Row],
    base_model_dir: str | Path,
    out_dir: str | Path,
    settings: Profile,
    on_log: OnLog | None = None,
    resume: bool = True,
    seed: int = 0,
    validation: Sequence[Row] = (),
    patience: int | None = None,
    **changes: Any,
) -> TrainingResult:
    """Everything from a profile: load the base (4-bit where the profile says so), train, save.

    The same call trains in one process and in each of several that `torchrun` starts; `changes` are for `SFTConfig`.
    """
    model, tokenizer = load_student(settings, base_model_dir)
    changes = {**(early_stopping(settings.training) if validation else {}), **changes}
    sft = sft_config(settings.training, out_dir, precision=settings.precision, seed=seed, **changes)
    watched: dict[str, Any] = {"on_log": on_log, "validation": validation, "patience": patience}
    trainer = make_trainer(model, tokenizer, rows, lora_config(settings.lora), sft, **watched)
    return run_trainer(trainer, out_dir, resume)


# ------------------------------------------------------------------------------------------------------- the details


def _check(sft: SFTConfig, validation: Sequence[Row], patience: int | None) -> None:
    """Refuse configurations that train on the wrong tokens, or that never look at the validation rows."""
    if not sft.completion_only_loss or sft.assistant_only_loss:
        raise LabError("Set completion_only_loss=True: otherwise the questions are trained on as well.")
    if sft.packing and sft.packing_strategy not in ("bfd", "bfd_split"):
        raise LabError(f"Set packing_strategy='bfd': {sft.packing_strategy!r} lets packed rows see each other.")
    measured = str(getattr(sft.eval_strategy, "value", sft.eval_strategy)) != "no"
    if measured != bool(validation):
        raise LabError("Give validation rows and sft_config(..., **early_stopping(training)) together, or neither.")
    if patience is not None and not sft.load_best_model_at_end:
        raise LabError("patience needs validation rows and sft_config(..., **early_stopping(training)).")


def _fitting(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], sft: SFTConfig, what: str) -> list[Row]:
    """The rows of at most `max_length` tokens; a longer one would lose its answer's end."""
    fitting = [row for row in rows if sft.max_length is None or row_length(tokenizer, row) <= sft.max_length]
    if not fitting:
        raise LabError(f"None of the {len(rows)} {what} rows fits into max_length={sft.max_length}: raise it.")
    return fitting


def _chats(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as TRL wants them, thinking switched off where the chat template knows of it."""
    switch = {"chat_template_kwargs": THINKING_OFF} if "enable_thinking" in str(tokenizer.chat_template) else {}
    sides = ("prompt", "completion")
    return [{**{side: [m.model_dump() for m in getattr(row, side)] for side in sides}, **switch} for row in rows]


def _result(trainer: Any, folder: Path, log: Any, resumed: int | None) -> TrainingResult:
    trainable, base_parameters = _parameters(trainer.model)
    seconds = log.before + perf_counter() - log.start
    tokens = _tokens_seen(trainer)
    losses = [line["loss"] for line in log.lines if "loss" in line]
    return TrainingResult(
        adapter_dir=folder / "adapter",
        log_path=folder / "training_log.jsonl",
        steps=trainer.state.global_step,
        epochs=float(trainer.state.epoch or 0),
        final_loss=losses[-1] if losses else float("nan"),
        seconds=round(seconds, 3),
        tokens=tokens,
        tokens_per_second=round(tokens / max(seconds, 1e-9), 1),
        trainable_parameters=trainable,
        total_parameters=base_parameters,
        peak_memory_bytes=memory.peak(),
        rows=len(trainer.lab_rows),
        left_out=trainer.lab_left_out,
        resumed_from=resumed,
        engine=trainer.lab_engine,
        validation_rows=len(trainer.lab_validation),
        best_validation_loss=trainer.state.best_metric if trainer.lab_validation else None,
        stopped_early=trainer.state.global_step < trainer.state.max_steps,
    )


def _tokens_seen(trainer: Any) -> int:
    """Tokens of all rows that the epochs met, padding apart; packed rows are the same in every epoch."""
    lengths, epochs = [len(ids) for ids in trainer.train_dataset["input_ids"]], float(trainer.state.epoch or 0)
    if trainer.args.packing:
        return round(sum(lengths) * epochs)
    sizes = [sum(lengths[at] for at in of_epoch(trainer.lab_rows, n)) for n in range(math.ceil(epochs))]
    return round(sum(size * min(1.0, epochs - n) for n, size in enumerate(sizes)))


def _parameters(model: Any) -> tuple[int, int]:
    """How many parameters are trained, and how many the base has."""
    if hasattr(model, "peft_config"):
        trained, everything = model.get_nb_trainable_parameters()  # counts 4-bit weights as they were
        return trained, everything - trained
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(count for count, trained in counts if trained), sum(count for count, _ in counts)


def _save_adapter(trainer: Any, result: TrainingResult) -> None:
    """Publish the adapter (or the whole model) in one move, naming the base by its name and not by where it lies."""
    destination = result.adapter_dir
    destination.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".adapter.", dir=destination.parent))
    try:
        trainer.model.save_pretrained(folder, safe_serialization=True)
        trainer.processing_class.save_pretrained(folder)
        where = trainer.model.config._name_or_path
        base = Path(where).name if Path(where).is_dir() else where
        config_path = folder / "adapter_config.json"
        if config_path.is_file():
            config = {**json.loads(config_path.read_text("utf-8")), "base_model_name_or_path": base}
            files.atomic_write_json(config_path, config)
        base_weights.note(trainer.model, folder)
        files.atomic_write_text(folder / "README.md", card(trainer, result, base))
        folder.chmod(0o755)
        files.replace_folder(folder, destination)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def row_length(tokenizer: PreTrainedTokenizerBase, row: Row) -> int:
    """Tokens of a row, prompt and completion in the chat template."""
    messages = [message.model_dump() for message in (*row.prompt, *row.completion)]
    encoded: Any = tokenizer.apply_chat_template(messages, return_dict=True, **THINKING_OFF)
    return len(encoded["input_ids"])


def _device(settings: Profile) -> str:
    import torch

    return cuda_device() if torch.cuda.is_available() and settings.needs_gpu else "cpu"
