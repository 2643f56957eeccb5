"""What a miniature model can do, on worlds that it was never trained on, with Wilson intervals."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from adaptlab import prompts
from adaptlab.generation import LocalGenerator
from adaptlab.miniature import corpus
from adaptlab.miniature.forms import FORMS, Passage, entity_passage, table_passage
from adaptlab.miniature.skills import Item, as_question, closed_item, general_item, is_right, reading_item
from adaptlab.miniature.world import new_entity, new_world
from adaptlab.schemas import Message, Question
from adaptlab.scoring import strict
from adaptlab.stats import wilson

PAIR = re.compile(r"<subject>\s*(.*?)</subject>\n<question>(.*?)</question>\n<answer>(.*?)</answer>", re.DOTALL)
SEED = "measure"


def _row(name: str, verdicts: Iterable[bool], **extra: Any) -> dict[str, Any]:
    results = list(verdicts)
    interval = wilson(sum(results), len(results))
    return {
        "measure": name,
        "n": len(results),
        "rate": interval.rate,
        "low": interval.low,
        "high": interval.high,
        **extra,
    }


def answers(generator: LocalGenerator, items: list[Item], max_tokens: int = 48) -> list[str]:
    """Greedy answers to `items`."""
    return [c[0].text for c in generator.generate([i.messages for i in items], max_tokens=max_tokens, seeds=0)]


def scored(generator: LocalGenerator, items: list[Item]) -> list[bool]:
    """Verdicts on greedy answers."""
    return [is_right(item, text) for item, text in zip(items, answers(generator, items), strict=True)]


def reading_rows(generator: LocalGenerator, n: int) -> list[dict[str, Any]]:
    """Reading over all forms (`n` items of each), refusing, the fixed books and the general skills."""
    items = [reading_item(f"{SEED} reading {i}", FORMS[i % 4]) for i in range(n * len(FORMS))]
    verdicts = scored(generator, items)
    rows = [_row("reads the value, phrasings held out", verdicts)]
    for form in FORMS:
        rows.append(
            _row(f"  of these: {form}", [v for v, item in zip(verdicts, items, strict=True) if item.group == form])
        )
    known = [reading_item(f"{SEED} reading {i}", FORMS[i % 4], held_out=False) for i in range(n)]
    rows.append(_row("reads the value, phrasings trained", scored(generator, known)))
    absent = [reading_item(f"{SEED} absent {i}", FORMS[i % 4], answerable=False) for i in range(n)]
    rows.append(_row("says that the passage does not say", scored(generator, absent)))
    rows.append(
        _row(
            "closed-book, books of its training",
            scored(generator, [closed_item(f"{SEED} fixed {i}", True) for i in range(n)]),
        )
    )
    rows.append(
        _row("general skills and refusals", scored(generator, [general_item(f"{SEED} general {i}") for i in range(n)]))
    )
    return rows


def closed_rows(generator: LocalGenerator, n: int) -> list[dict[str, Any]]:
    """Closed-book on unseen worlds beside its guess control: the same answers against gold of the same attribute."""
    items = [closed_item(f"{SEED} closed {i}", False) for i in range(n)]
    texts = answers(generator, items)
    rows = [
        _row(
            "closed-book, unseen worlds (cannot know)",
            [strict(i.question, t) for i, t in zip(items, texts, strict=True)],
        )
    ]
    by_attribute: dict[str, list[int]] = {}
    for position, item in enumerate(items):
        by_attribute.setdefault(item.group, []).append(position)
    control = []
    for positions in by_attribute.values():
        shifted = positions[1:] + positions[:1]
        control += [
            strict(items[other].question, texts[own])
            for own, other in zip(positions, shifted, strict=True)
            if own != other
        ]
    rows.append(_row("  its guess control (gold permuted within attribute)", control))
    return rows


def _writing_passages(n: int) -> list[Passage]:
    passages = []
    for i in range(n):
        world = new_world(f"{SEED} writing {i}")
        form = FORMS[i % 4]
        passages.append(
            table_passage(world.rng, corpus.table_group(world, world.rng.randint(2, 6)))
            if form == "table"
            else entity_passage(world.rng, new_entity(world), form)
        )
    return passages


def writing_rows(generator: LocalGenerator, n: int) -> list[dict[str, Any]]:
    """Question writing at temperature 0.7: well-formed, answerable from the passage, answered right."""
    passages = _writing_passages(n)
    chats = [[Message(role="user", content=prompts.write_pairs(p.title, p.text))] for p in passages]
    replies = generator.generate(chats, temperature=0.7, max_tokens=960, seeds=list(range(n)))
    answerable, right = [], []
    for shown, completions in zip(passages, replies, strict=True):
        facts = {f"{entity.name}: {attribute}": (entity, attribute) for entity, attribute in shown.facts}
        for subject, asked, reply in PAIR.findall(completions[0].text):
            fact = facts.get(subject)
            answerable.append(fact is not None and corpus.asks_for(asked, *fact))
            right.append(fact is not None and strict(as_question("w", *fact, asked), reply))
    return [_row("writes questions answerable from their passage", answerable), _row("  and answers them right", right)]


def checking_row(generator: LocalGenerator, n: int) -> dict[str, Any]:
    """Balanced accuracy of checking an answer by answering again from the passage and comparing in code."""
    items = [reading_item(f"{SEED} check {i}", FORMS[i % 4]) for i in range(n)]
    texts = answers(generator, items)
    verdicts = []
    for position, (item, text) in enumerate(zip(items, texts, strict=True)):
        agrees = strict(item.question, text)
        if position % 2 == 0:
            verdicts.append(agrees)
        else:
            wrong = _another_value(item, position)
            verdicts.append(not strict(wrong, text))
    return _row("checks an answer against its passage (half of them wrong)", verdicts)


def _another_value(item: Item, position: int) -> Question:
    """The same question with another value of the same passage as its claimed answer."""
    values = [e.values[a] for e, a in item.passage.facts if e.values[a] != item.question.answer] if item.passage else []
    return item.question.model_copy(update={"answer": values[position % len(values)] if values else "0"})


def measure(generator: LocalGenerator, n: int = 400, teacher: bool = False) -> pd.DataFrame:
    """Every measure as a table with columns measure, n, rate, low, high."""
    rows = reading_rows(generator, n) + closed_rows(generator, n)
    if teacher:
        rows += [*writing_rows(generator, max(60, n // 4)), checking_row(generator, n)]
    return pd.DataFrame(rows)
