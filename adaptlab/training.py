"""QLoRA of a student: a 4-bit base, a LoRA adapter on top, TRL's trainer, safe checkpoints and a log.

A notebook composes `load_base_nf4`, `make_trainer` and `run_trainer` with its own LoraConfig and SFTConfig;
`train_qlora` does the same from a profile. What these functions add to the libraries is what was measured to go wrong
without it; each such line says what.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from adaptlab import files
from adaptlab.schemas import Row
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
from config import LabError, LoraSettings, Profile, TrainingSettings

__all__ = [
    "OnLog",
    "TrainingResult",
    "batches_by_length",
    "load_base",
    "load_base_nf4",
    "load_student",
    "lora_config",
    "make_trainer",
    "newest_checkpoint",
    "result_dict",
    "run_trainer",
    "sft_config",
    "train_qlora",
]

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from trl import SFTConfig, SFTTrainer

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


# ---------------------------------------------------------------------------------------------------------- the base


def load_base_nf4(
    model_dir: str | Path, *, compute_dtype: str = "float32", device: str | None = None, revision: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base model with its linear layers in 4 bits (NF4), and its tokenizer. `device` defaults to a GPU if any."""
    import torch
    from transformers import BitsAndBytesConfig

    with _quiet():  # bitsandbytes notes on import that a faster kernel could be downloaded
        import bitsandbytes as bnb

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=getattr(torch, compute_dtype),
        bnb_4bit_use_double_quant=device != "cpu",
    )
    model, tokenizer = load_base(
        model_dir, dtype=compute_dtype, device=device, revision=revision, quantization_config=quantised
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

    where = str(model_dir)
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(where, revision=revision)
            model = AutoModelForCausalLM.from_pretrained(
                where, dtype=getattr(torch, dtype), device_map={"": device}, revision=revision, **options
            )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        why = " ".join(str(error).split())[:200]
        raise LabError(f"The base model {Path(where).name} cannot be loaded ({why}): restore its folder.") from error
    return model, tokenizer


def load_student(profile: Profile, model_dir: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base that a profile trains on: in NF4 where the profile says so, else at its own precision."""
    dtype = DTYPES[profile.precision]
    if profile.quantisation == "nf4":
        return load_base_nf4(model_dir, compute_dtype=dtype, device=_device(profile))
    return load_base(model_dir, dtype=dtype, device=_device(profile))


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
    """TRL's training configuration of a profile.

    Rows are batched by length: on a CPU that is faster than packing, whose mask grows with the square of
    the packed batch. A profile with `packing` on suits a GPU.
    """
    import torch
    from trl import SFTConfig

    gpu = torch.cuda.is_available() and precision != "fp32"
    settings = {
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
        "use_cpu": not gpu,
        "bf16": gpu and precision == "bf16",  # TRL's default is True
        "fp16": gpu and precision == "fp16",
        "gradient_checkpointing": gpu,
        "dataloader_pin_memory": gpu,
        "logging_steps": 5,
        "save_strategy": "epoch",
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": seed,
        "data_seed": seed,
    }
    return SFTConfig(**{**settings, **changes})


# ------------------------------------------------------------------------------------------------------- the trainer


def make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    lora: LoraConfig,
    sft: SFTConfig,
    *,
    on_log: OnLog | None = None,
) -> SFTTrainer:
    """TRL's trainer over `rows` in prompt/completion form, the adapter put on `model`."""
    from datasets import Dataset
    from transformers import PrinterCallback, ProgressCallback

    if not sft.completion_only_loss or sft.assistant_only_loss:
        raise LabError("Set completion_only_loss=True: otherwise the questions are trained on as well.")
    fitting = [row for row in rows if sft.max_length is None or _length(tokenizer, row) <= sft.max_length]
    if not fitting:
        raise LabError(f"None of the {len(rows)} training rows fits into max_length={sft.max_length}: raise it.")
    chats = [
        {side: [m.model_dump() for m in getattr(row, side)] for side in ("prompt", "completion")} for row in fitting
    ]
    with _quiet():
        trainer: Any = _trainer_class()(
            model=model,
            args=sft,
            train_dataset=Dataset.from_list(chats),
            processing_class=tokenizer,
            peft_config=lora,
        )
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            # TRL casts the adapter of a 4-bit base to bf16: fp16 training then crashes, and a resumed run differs.
            parameter.data = parameter.data.float()
    for printing in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printing)
    trainer.lab_rows, trainer.lab_left_out, trainer.lab_on_log = fitting, len(rows) - len(fitting), on_log
    return trainer


def run_trainer(trainer: Any, out_dir: str | Path, resume: bool = True) -> TrainingResult:
    """Train, from the newest whole checkpoint of the same run if there is one, and save adapter, card and log.

    In `out_dir`: `adapter/` (safetensors, configuration, tokenizer, README.md), `training_log.jsonl`, `checkpoints/`.
    """
    folder = Path(out_dir)
    checkpoints = Path(trainer.args.output_dir)
    checkpoint = prepare_checkpoints(checkpoints, fingerprint(trainer), resume)
    log = recorder(folder / "training_log.jsonl", step_of(checkpoint), trainer.lab_on_log)
    trainer.add_callback(log)
    _reset_peak_memory()
    try:
        with _quiet():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        trainer.remove_callback(log)
    result = _result(trainer, folder, log, step_of(checkpoint) or None)
    _save_adapter(trainer, result)
    return result


def train_qlora(
    rows: Sequence[Row],
    base_model_dir: str | Path,
    out_dir: str | Path,
    settings: Profile,
    on_log: OnLog | None = None,
    resume: bool = True,
    seed: int = 0,
) -> TrainingResult:
    """Everything from a profile: load the base (4-bit where the profile says so), train, save."""
    model, tokenizer = load_student(settings, base_model_dir)
    sft = sft_config(settings.training, out_dir, precision=settings.precision, seed=seed)
    trainer = make_trainer(model, tokenizer, rows, lora_config(settings.lora), sft, on_log=on_log)
    return run_trainer(trainer, out_dir, resume)


# ------------------------------------------------------------------------------------------------------- the details


def _trainer_class() -> type[SFTTrainer]:
    """SFTTrainer whose batches by length depend on seed and epoch alone, so that a resumed run sees the same ones."""
    import torch
    from trl import SFTTrainer

    class Sampler(torch.utils.data.Sampler):
        def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
            self.lengths, self.batch, self.seed, self.epoch = lengths, batch, seed, 0

        def __len__(self) -> int:
            return len(self.lengths)

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[int]:
            return iter(batches_by_length(self.lengths, self.batch, f"{self.seed} {self.epoch}"))

    class LengthTrainer(SFTTrainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            dataset: Any = train_dataset if train_dataset is not None else self.train_dataset
            if self.args.train_sampling_strategy != "group_by_length":
                return super()._get_train_sampler(train_dataset)
            lengths = [len(ids) for ids in dataset["input_ids"]]
            return Sampler(lengths, self.args.train_batch_size, self.args.seed)

    return LengthTrainer


def batches_by_length(lengths: Sequence[int], batch: int, seed: str) -> list[int]:
    """Indices in an order in which each batch holds rows of nearly one length, and batches come in random order."""
    import random

    rng = random.Random(seed)
    order = list(range(len(lengths)))
    rng.shuffle(order)
    order.sort(key=lambda index: lengths[index])
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]
    last = batches.pop() if batches and len(batches[-1]) < batch else []  # the short batch must stay the last one
    rng.shuffle(batches)
    return [index for group in [*batches, last] for index in group]


def _result(trainer: Any, folder: Path, log: Any, resumed: int | None) -> TrainingResult:
    trainable, everything = trainer.model.get_nb_trainable_parameters()  # counts 4-bit weights as they were
    seconds = log.before + perf_counter() - log.start
    lengths = sum(len(ids) for ids in trainer.train_dataset["input_ids"])
    tokens = round(lengths * float(trainer.state.epoch or 0))
    losses = [line["loss"] for line in log.lines]
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
        total_parameters=everything - trainable,
        peak_memory_bytes=_peak_memory(),
        rows=len(trainer.lab_rows),
        left_out=trainer.lab_left_out,
        resumed_from=resumed,
    )


def _save_adapter(trainer: Any, result: TrainingResult) -> None:
    """Publish the adapter folder in one move, naming the base by its name and not by where it lies on this machine."""
    destination = result.adapter_dir
    destination.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".adapter.", dir=destination.parent))
    try:
        trainer.model.save_pretrained(folder, safe_serialization=True)
        trainer.processing_class.save_pretrained(folder)
        where = trainer.model.config._name_or_path
        base = Path(where).name if Path(where).is_dir() else where
        config_path = folder / "adapter_config.json"
        config = {**json.loads(config_path.read_text("utf-8")), "base_model_name_or_path": base}
        files.atomic_write_json(config_path, config)
        files.atomic_write_text(folder / "README.md", card(trainer, result, base))
        folder.chmod(0o755)
        files.replace_folder(folder, destination)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _length(tokenizer: PreTrainedTokenizerBase, row: Row) -> int:
    messages = [message.model_dump() for message in (*row.prompt, *row.completion)]
    encoded: Any = tokenizer.apply_chat_template(messages, return_dict=True)
    return len(encoded["input_ids"])


def _device(settings: Profile) -> str:
    import torch

    return "cuda" if torch.cuda.is_available() and settings.needs_gpu else "cpu"


def _reset_peak_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peak_memory() -> int:
    """Peak bytes on the GPU, else of this process so far."""
    import resource

    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no notes of the libraries; errors still come through as exceptions."""
    import logging

    import datasets
    from transformers.utils import logging as hf_logging

    noisy = [logging.getLogger(name) for name in ("bitsandbytes", "trl", "accelerate")]
    before = [logger.level for logger in noisy]
    bars, level = datasets.are_progress_bars_disabled(), hf_logging.get_verbosity()
    datasets.disable_progress_bars()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    for logger in noisy:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        hf_logging.enable_progress_bar()
        if not bars:
            datasets.enable_progress_bars()
        for logger, was in zip(noisy, before, strict=True):
            logger.setLevel(was)
