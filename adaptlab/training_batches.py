"""Which rows a training step sees: batches by length, the same on every resume, and a validation split by fact."""

from __future__ import annotations

import functools
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from adaptlab.schemas import Row
from config import LabError

if TYPE_CHECKING:
    from trl import SFTTrainer


def trainer_class() -> type[SFTTrainer]:
    """SFTTrainer whose batches by length depend on seed and epoch alone, so that a resumed run sees the same ones.

    Under several processes the batches are those of one process with the same number of rows a step, dealt out in
    turn. An epoch's last batch, if it is short, is then filled up with rows of its start (accelerate's even_batches).
    """
    import torch
    from trl import SFTTrainer

    _numbered_processors()

    class Sampler(torch.utils.data.Sampler):
        def __init__(self, rows: Sequence[Row], lengths: Sequence[int], batch: int, seed: int) -> None:
            self.rows, self.lengths, self.batch, self.seed, self.epoch = rows, lengths, batch, seed, 0

        def __len__(self) -> int:
            return epoch_size(self.rows)

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[int]:
            met = of_epoch(self.rows, self.epoch)
            order = batches_by_length([self.lengths[at] for at in met], self.batch, f"{self.seed} {self.epoch}")
            return iter(met[at] for at in order)

    class LengthTrainer(SFTTrainer):
        lab_rows: Sequence[Row]

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            dataset: Any = train_dataset if train_dataset is not None else self.train_dataset
            if self.args.train_sampling_strategy != "group_by_length":
                return super()._get_train_sampler(train_dataset)
            lengths = [len(ids) for ids in dataset["input_ids"]]
            return Sampler(self.lab_rows, lengths, self.args.train_batch_size * self.args.world_size, self.args.seed)

    return LengthTrainer


def of_epoch(rows: Sequence[Row], epoch: int) -> list[int]:
    """Which rows an epoch meets, by their indices: those for every epoch, and those that `synthesis.dealt` gave to it.

    Epochs beyond those that rows were dealt to begin again; every epoch has as many rows.
    """
    turns: dict[int, list[int]] = {}
    for at, row in enumerate(rows):
        if isinstance(turn := row.generator.get("epoch"), int):
            turns.setdefault(turn, []).append(at)
    if not turns:
        return list(range(len(rows)))
    parts = [members for _, members in sorted(turns.items())]
    part = parts[epoch % len(parts)][: min(map(len, parts))]
    left_out = {at for members in parts for at in members} - set(part)
    return [at for at in range(len(rows)) if at not in left_out]


def trained_on(rows: Sequence[Row], epochs: float) -> list[Row]:
    """The rows that so many epochs meet, each once: not all of them where rows were dealt to more epochs."""
    met = {at for epoch in range(math.ceil(epochs)) for at in of_epoch(rows, epoch)}
    return [rows[at] for at in sorted(met)]


def epoch_size(rows: Sequence[Row]) -> int:
    """How many rows an epoch meets."""
    return len(of_epoch(rows, 0))


@functools.cache
def _numbered_processors() -> None:
    """Let torch.load read onto `cpu:1`: accelerate numbers the processes on a CPU so, and resuming loads onto that."""
    import torch

    torch.serialization.register_package(
        30, lambda storage: None, lambda storage, place: storage if str(place).startswith("cpu:") else None
    )


def batches_by_length(lengths: Sequence[int], batch: int, seed: str) -> list[int]:
    """Indices in an order in which each batch holds rows of nearly one length, and batches come in random order."""
    rng = random.Random(seed)
    order = list(range(len(lengths)))
    rng.shuffle(order)
    order.sort(key=lambda index: lengths[index])
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]
    last = batches.pop() if batches and len(batches[-1]) < batch else []  # the short batch must stay the last one
    rng.shuffle(batches)
    return [index for group in [*batches, last] for index in group]


def split_by_fact(rows: Sequence[Row], share: float, seed: int = 0) -> tuple[list[Row], list[Row]]:
    """`rows` as (training, validation), with about `share` of the facts, and all rows that name them, in validation.

    A row without facts goes by the chunk it came from, else by its question, so that no fact is on both sides. What
    the validation loss then tells is how well the *form* of answers generalises: the values of facts that were never
    trained cannot be known. It rises once phrasings are memorised. Replay rows count like any other; open-book rows
    have the value on their page, so with them the loss is partly one of reading.
    """
    if not 0 < share < 1:
        raise LabError(f"The validation share is {share}: give a number between 0 and 1, such as 0.1.")
    groups = _groups(rows)
    names = sorted(set(groups))
    wanted = max(1, round(share * len(names)))
    if wanted >= len(names):
        raise LabError(f"The {len(rows)} rows are about {len(names)} facts, too few to hold any back: take more rows.")
    held = set(random.Random(f"validation {seed}").sample(names, wanted))
    sides: tuple[list[Row], list[Row]] = ([], [])
    for row, group in zip(rows, groups, strict=True):
        sides[group in held].append(row)
    return sides


def split_by_wording(rows: Sequence[Row], share: float, seed: int = 0) -> tuple[list[Row], list[Row]]:
    """`rows` as (training, validation): of about `share` of the rows everything that asks in their words is held back.

    Of each fact (without a registry: of each passage) at least one wording stays in training, so the validation loss
    tells how well a model takes facts in, not how well it repeats sentences. Replay rows are held back beside them.
    Copies and open-book rows go where the row goes that they were made from, replay rows with others that ask the
    same. Rows about no known fact all stay in training.
    """
    if not 0 < share < 1:
        raise LabError(f"The validation share is {share}: give a number between 0 and 1, such as 0.1.")
    wordings: dict[str, list[Row]] = {}
    for row in rows:
        wordings.setdefault(_wording(row), []).append(row)
    left = Counter(fact for same in wordings.values() for fact in set(same[0].fact_ids))
    held: set[str] = set()
    for name in random.Random(f"wordings {seed}").sample(sorted(wordings), len(wordings)):
        first = wordings[name][0]
        known = first.fact_ids or first.source.startswith("replay")
        if known and len(held) < share * len(wordings) and all(left[fact] > 1 for fact in set(first.fact_ids)):
            held.add(name)
            left.subtract(set(first.fact_ids))
    if not held:
        raise LabError(f"None of the {len(rows)} rows can be held back: give at least one fact two rows.")
    return [row for row in rows if _wording(row) not in held], [row for row in rows if _wording(row) in held]


def _wording(row: Row) -> str:
    """What the rows have in common that ask in the same words."""
    return _asked(row) if row.source.startswith("replay") else row.origin


def _groups(rows: Sequence[Row]) -> list[str]:
    """For each row the name of its group: rows that share a fact, directly or through others, share a group."""
    parent: dict[str, str] = {}

    def top(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            name = parent[name]
        return name

    keys = [_keys(row) for row in rows]
    for names in keys:
        first = top(names[0])
        for name in names[1:]:
            parent[top(name)] = first
    return [top(names[0]) for names in keys]


def _keys(row: Row) -> list[str]:
    if row.fact_ids:
        return [f"fact {name}" for name in row.fact_ids]
    if row.chunk_id:
        return [f"chunk {row.chunk_id}"]
    return [_asked(row)]


def _asked(row: Row) -> str:
    return f"question {' '.join(row.prompt[-1].content.split()).casefold()}"
