"""The recipes whose speed is compared, on the same rows and the same model, and what each of them has to process.

`pad to 512` is what textbooks show: every row padded to 512 tokens, all tokens trained on, question and answer alike.
`pad to longest` trains on answers only and pads to the longest row of a batch of random rows. `by length` is what the
lab's profiles do, `packed` lays rows end to end without seeing each other. All else is equal: base, adapter, optimiser.

Speed is counted in tokens that are trained on, which here means the tokens of the answers: those that the lab's recipes
train on, of the same rows for all. A recipe that trains on the questions too is not the faster for it; how many tokens
with a label each one gets through is told beside it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from adaptlab import memory, training
from adaptlab.precision import keep_adapter_in_float32
from adaptlab.quiet import quiet
from adaptlab.schemas import Message, Row
from adaptlab.synthesis.rows import read_training_jsonl
from adaptlab.training_batches import of_epoch, trainer_class
from benchmarks.flops import Work
from config import ROOT, LabError, Profile

LONGEST = 512  # tokens: what the textbook recipe pads to, so no recipe gets a longer row
PACK = 4096  # tokens of a packed row
ROWS = ROOT / "prebuilt" / "mini" / "the-sea-that-left" / "training_data.jsonl"


@dataclass(frozen=True)
class Recipe:
    """A way to make batches. `changes` are for SFTConfig.

    `times` is how often it gets the rows: more than once where it is so fast that one pass would be over too soon, and
    a part of them where every row takes the same number of tokens, so that a part tells as much as all.
    """

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    everything: bool = False  # train on all tokens
    times: float = 1

    def share(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of one pass."""
        if self.times < 1:
            return list(rows[: max(1, round(self.times * len(rows)))])
        return [row for row in rows for _ in range(round(self.times))]


TEXTBOOK = Recipe(
    "pad to 512",
    {
        "completion_only_loss": False,
        "pad_to_multiple_of": LONGEST,
        "max_length": LONGEST,
        "packing": False,
        "train_sampling_strategy": "random",
    },
    everything=True,
    times=1 / 8,
)
SHORT = {"packing": False, "max_length": LONGEST}
TO_LONGEST = Recipe("pad to longest", {**SHORT, "train_sampling_strategy": "random"})
BY_LENGTH = Recipe("by length", {**SHORT, "train_sampling_strategy": "group_by_length"})
PACKED = Recipe(
    "packed",
    {
        "packing": True,
        "max_length": PACK,
        "per_device_train_batch_size": 1,  # TRL lays a whole batch into one row: two would see twice as wide a mask
        "gradient_accumulation_steps": 1,
        "train_sampling_strategy": "random",
    },
    times=2,
)
AS_IS = Recipe("rows of full length", {"packing": False})
RECIPES = {recipe.name: recipe for recipe in (TEXTBOOK, TO_LONGEST, BY_LENGTH, PACKED, AS_IS)}


# --------------------------------------------------------------------------------------------------------------- rows


def captured_rows(tokenizer: Any, count: int, seed: int = 0) -> list[Row]:
    """Some of the captured training rows of an epoch, drawn by seed, none longer than LONGEST tokens."""
    rows = read_training_jsonl(ROWS)
    met = [rows[at].model_copy(update={"generator": {}}) for at in of_epoch(rows, 0)]
    fitting = [row for row in met if training.row_length(tokenizer, row) <= LONGEST]
    return random.Random(f"rows {seed}").sample(fitting, min(count, len(fitting)))


def long_row(tokenizer: Any, length: int, number: int = 0) -> Row:
    """A row of exactly `length` tokens, half of them question."""

    def row(words: int, more: int) -> Row:
        question = Message(role="user", content=f"{number}" + " the" * words)
        answer = Message(role="assistant", content=f"{number}" + " the" * (words + more))
        return Row(id=f"long{number}", prompt=[question], completion=[answer])

    base = training.row_length(tokenizer, row(0, 0))
    if base + 2 > length:
        raise LabError(f"A row needs at least {base + 2} tokens: ask for more than {length}.")
    words, more = divmod(length - base, 2)
    made = row(words, more)
    if (found := training.row_length(tokenizer, made)) != length:
        raise LabError(f"This tokenizer makes {found} tokens of a row meant to have {length}: name another tokenizer.")
    return made


def answer_tokens(tokenizer: Any, row: Row) -> int:
    """The tokens of a row's answer, its end included: those that TRL trains on for a prompt and a completion."""
    prompt = [message.model_dump() for message in row.prompt]
    encoded: Any = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)
    return training.row_length(tokenizer, row) - len(encoded["input_ids"])


# ----------------------------------------------------------------------------------------------------------- a trainer


def trainer_for(
    recipe: Recipe, model: Any, tokenizer: Any, rows: Sequence[Row], profile: Profile, out_dir: Path, **changes: Any
) -> Any:
    """TRL's trainer for two passes of a recipe over `rows`, with the profile's adapter, optimiser and precision."""
    asked = {**recipe.changes, "num_train_epochs": 2, "save_strategy": "no", "logging_strategy": "no", **changes}
    sft = training.sft_config(profile.training, out_dir, precision=profile.precision, **asked)
    lora = training.lora_config(profile.lora)
    if recipe.everything:
        return _on_everything(model, tokenizer, recipe.share(rows), lora, sft)
    return training.make_trainer(model, tokenizer, recipe.share(rows), lora, sft)


def _on_everything(model: Any, tokenizer: Any, rows: Sequence[Row], lora: Any, sft: Any) -> Any:
    """A trainer for whole conversations, which `training.make_trainer` refuses on purpose."""
    from datasets import Dataset
    from transformers import PrinterCallback, ProgressCallback

    chats = [{"messages": [m.model_dump() for m in (*row.prompt, *row.completion)]} for row in rows]
    with quiet():
        trainer: Any = trainer_class()(
            model=model, args=sft, train_dataset=Dataset.from_list(chats), processing_class=tokenizer, peft_config=lora
        )
    trainer.lab_rows = rows
    keep_adapter_in_float32(trainer.model)
    for printing in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printing)
    return trainer


# --------------------------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Timed:
    """The second pass of a trainer over its rows: seconds, what was processed, and the peak of both passes in bytes.

    `reserved` is what PyTorch took of the card for it (0 on a processor).
    """

    seconds: float
    work: Work
    peak: int
    reserved: int


def measure(recipe: Recipe, trainer: Any, tokenizer: Any, rows: Sequence[Row]) -> Timed:
    """Run a trainer of `trainer_for` over the same rows; its first pass warms up, the second one counts."""
    on_card = torch.cuda.is_available() and not trainer.args.use_cpu
    counter = Counter()
    trainer.training_step = counter.around(trainer.training_step)
    clock = _clock(counter, on_card)
    trainer.add_callback(clock)
    if on_card:
        torch.cuda.empty_cache()
    memory.reset_peak()
    with quiet():
        trainer.train()
    reserved = torch.cuda.max_memory_reserved() if on_card else 0
    passed = recipe.share(rows)
    answers = len(passed) * sum(answer_tokens(tokenizer, row) for row in rows) / len(rows)
    return Timed(clock.ended - clock.began, counter.work(len(passed), round(answers)), memory.peak(), reserved)


def _clock(counter: Counter, on_card: bool) -> Any:
    """A callback that times the second pass and lets `counter` count it."""
    from transformers import TrainerCallback

    def now() -> float:
        if on_card:
            torch.cuda.synchronize()
        return perf_counter()

    class Clock(TrainerCallback):
        passes, began, ended = 0, 0.0, 0.0

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.passes += 1
            counter.counting = self.passes == 2
            self.began = now()

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.ended = now()

    return Clock()


class Counter:
    """Counts what the steps of a trainer see, without waiting for the card at each of them."""

    def __init__(self) -> None:
        self.counting = False
        self.seen: list[torch.Tensor] = []
        self.slots: list[int] = []

    def around(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """`step` of a trainer, counting the batch that it gets."""

        def counted(model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
            if self.counting:
                self.slots.append(inputs["input_ids"].numel())
                self.seen.append(counts(inputs))
            return step(model, inputs, *more, **named)

        return counted

    def work(self, rows: int, answers: int) -> Work:
        """All that was counted; `rows` and `answers` are known beforehand."""
        real, trained, pairs = torch.stack(self.seen).sum(0).tolist() if self.seen else (0, 0, 0)
        return Work(len(self.slots), rows, sum(self.slots), real, trained, answers, pairs)


def counts(inputs: Any) -> torch.Tensor:
    """Of a batch: tokens that are no padding, tokens with a label, and pairs of tokens that attend to each other.

    A packed batch has no mask, and positions that begin again with every row. A row's first token is never trained on,
    since nothing predicts it.
    """
    trained = (inputs["labels"][:, 1:] != -100).sum()
    mask = inputs.get("attention_mask")
    if mask is None:
        places = inputs["position_ids"] + 1
        return torch.stack([torch.ones_like(places).sum(), trained, places.sum()])
    return torch.stack([mask.sum(), trained, (mask.cumsum(-1) * mask).sum()])
