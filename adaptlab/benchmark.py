"""The benchmark: questions with gold answers and quotes, their contamination check, and the controls beside them."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from adaptlab.answers import clean
from adaptlab.schemas import LOOKUP_CATEGORIES, Fact, Question, Record, Split
from config import LabError

RUN = 13  # words in a row, names not counted, from which on two texts share too much
SHORTEST = 5  # a question of fewer words counts as contained only where a whole text equals it
T = TypeVar("T", bound=Record)


# ------------------------------------------------------------------------------------------------------- loading


def read_records(path: str | Path, schema: type[T]) -> Iterator[tuple[int, T]]:
    """The records of a JSONL file with their line numbers; a broken line is one sentence with file, line and field."""
    path = Path(path)
    if not path.is_file():
        raise LabError(f"{path.name} does not exist: give the path of a JSON Lines file.")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise LabError(f"{path.name} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            raise LabError(
                f"{path.name}, line {number}: not valid JSON ({error.msg}, column {error.colno}): correct this line."
            ) from error
        try:
            yield number, schema.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the record"
            raise LabError(
                f"{path.name}, line {number}, field {where}: {first['msg'].lower()}: correct this field."
            ) from error


def _fault(path: str | Path, line: int, field: str, what: str) -> LabError:
    return LabError(f"{Path(path).name}, line {line}, field {field}: {what}.")


def load_questions(path: str | Path) -> list[Question]:
    """The questions of a JSONL file, validated."""
    questions: dict[str, Question] = {}
    for line, question in read_records(path, Question):
        if question.id in questions:
            raise _fault(path, line, "id", f"{question.id!r} stands here a second time; give every question its own id")
        for field, what in _problems(question):
            raise _fault(path, line, field, what)
        questions[question.id] = question
    if not questions:
        raise LabError(f"{Path(path).name} has no questions: put one JSON object on each line.")
    things = things_of(questions.values())
    return [question.among(things) for question in questions.values()]


def things_of(questions: Iterable[Question]) -> tuple[str, ...]:
    """The things that questions ask about: the names in them that have a section of their own in the document."""
    named = ((each, quote.section) for each in questions for quote in each.quotes)
    return tuple(sorted({section for each, section in named if section and section in each.text()}))


def _problems(question: Question) -> Iterator[tuple[str, str]]:
    unanswerable = question.category == "unanswerable"
    if unanswerable and question.quotes:
        yield "quotes", "an unanswerable question has no quotes; remove them or change the category"
    if unanswerable != (question.answer_type == "refusal"):
        yield "answer_type", "unanswerable questions, and only they, have the answer type 'refusal'"
    if not unanswerable and not question.quotes and not question.unproven:
        yield "quotes", "an answerable question needs at least one quote that proves its answer"
    if not question.answer.strip():
        yield "answer", "the gold answer is empty; write it down"
    if any(not phrasing.text.strip() for phrasing in question.phrasings):
        yield "phrasings", "a phrasing is empty; write the question or remove it"
    if any(not quote.text.strip() for quote in question.quotes):
        yield "quotes", "a quote is empty; copy it from the document or remove it"


def load_facts(path: str | Path, document: str) -> list[Fact]:
    """The facts of a JSONL file; each quote must stand in `document` at its offsets."""
    facts: dict[str, Fact] = {}
    for line, fact in read_records(path, Fact):
        if fact.id in facts:
            raise _fault(path, line, "id", f"{fact.id!r} stands here a second time; give every fact its own id")
        if document[fact.start : fact.end] != fact.quote or not fact.quote:
            at = document.find(fact.quote) if fact.quote else -1
            hint = f"it stands at {at}" if at >= 0 else "it does not stand in the document at all"
            raise _fault(path, line, "quote", f"the document has other text at {fact.start} to {fact.end}; {hint}")
        facts[fact.id] = fact
    return list(facts.values())


def lookup(questions: Sequence[Question], split: Split | None = None, mini: bool = False) -> list[Question]:
    """The answerable lookup questions, of one split if named, and of the mini part only if asked."""
    return [
        question
        for question in questions
        if question.category in LOOKUP_CATEGORIES
        and question.answer_type != "refusal"
        and (split is None or question.split == split)
        and (question.in_mini or not mini)
    ]


def attributes_of(questions: Sequence[Question], facts: Sequence[Fact]) -> dict[str, str]:
    """The attribute each question asks for, where its first fact is known."""
    known = {fact.id: f"{fact.kind}: {fact.attribute}" for fact in facts}
    return {q.id: known[q.fact_ids[0]] for q in questions if q.fact_ids and q.fact_ids[0] in known}


# ------------------------------------------------------------------------------------------------- contamination


@dataclass(frozen=True)
class Overlap:
    """A test question that stands, whole or in part, in a text that it must not stand in."""

    question_id: str
    phrasing: str
    text_index: int
    kind: Literal["equal", "contained", "shared run"]
    shared: str


def _tokens(text: str, names: re.Pattern[str] | None) -> list[str]:
    """Normalised words; an entity name becomes one word that starts with "@" and is never counted."""
    plain = clean(text)
    if names:
        plain = names.sub(lambda match: " @" + re.sub(r"\W+", "_", match[0]) + " ", plain)
    return re.findall(r"@?\w+", plain)


def _runs(tokens: Sequence[str]) -> dict[tuple[str, ...], str]:
    """Every run that has `RUN` words besides names, names in between kept."""
    counted = [at for at, token in enumerate(tokens) if not token.startswith("@")]
    spans = (tokens[counted[i] : counted[i + RUN - 1] + 1] for i in range(len(counted) - RUN + 1))
    return {tuple(span): " ".join(span) for span in spans}


def contamination(
    questions: Sequence[Question], texts: Sequence[str], entity_names: Sequence[str] = ()
) -> list[Overlap]:
    """Where a phrasing equals a text or stands in it, or shares a run of 13 words with it, names not counted."""
    listed = sorted({clean(name) for name in entity_names if name.strip()}, key=len, reverse=True)
    names = re.compile(r"\b(?:" + "|".join(map(re.escape, listed)) + r")\b") if listed else None
    prepared = [_tokens(text, names) for text in texts]
    joined = [" " + " ".join(tokens) + " " for tokens in prepared]
    runs: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, tokens in enumerate(prepared):
        for run in _runs(tokens):
            runs[run].append(index)
    found: list[Overlap] = []
    for question in questions:
        for phrasing in question.phrasings:
            tokens = _tokens(phrasing.text, names)
            whole = " " + " ".join(tokens) + " "
            seen: set[int] = set()
            for index, text in enumerate(joined):
                if tokens and (text == whole or (len(tokens) >= SHORTEST and whole in text)):
                    kind: Literal["equal", "contained"] = "equal" if text == whole else "contained"
                    found.append(Overlap(question.id, phrasing.text, index, kind, whole.strip()))
                    seen.add(index)
            for run, shared in _runs(tokens).items():
                for index in runs.get(run, ()):
                    if index not in seen:
                        found.append(Overlap(question.id, phrasing.text, index, "shared run", shared))
                        seen.add(index)
    return found


# ------------------------------------------------------------------------------------------------------ controls


def permuted_gold(
    questions: Sequence[Question], seed: int = 0, attributes: Mapping[str, str] | None = None
) -> list[Question]:
    """The answerable questions with their gold answers exchanged: what guessing alone would score.

    Gold moves within one answer type, and within one attribute where `attributes` names it; nobody keeps their own.
    A question that has nobody to exchange with is left out.
    """
    attributes = attributes or {}
    draw = random.Random(seed)
    groups: dict[tuple[str, str], list[Question]] = defaultdict(list)
    for question in questions:
        if question.answer_type != "refusal":
            groups[question.answer_type, attributes.get(question.id, "")].append(question)
    for key in [key for key, group in groups.items() if len(group) == 1 and key[1]]:
        groups[key[0], ""] += groups.pop(key)
    gold: dict[str, Question] = {}
    for (kind, attribute), group in list(groups.items()):
        if len(group) == 1:  # the only one left over joins a whole group of its type
            others = [g for (k, a), g in groups.items() if k == kind and a != attribute and len(g) > 1]
            group = [*group, *others[0]] if others else group
        if len(group) < 2:
            continue
        order = list(group)
        draw.shuffle(order)
        gold |= {one.id: other for one, other in zip(order, [*order[1:], order[0]], strict=True)}
    return [
        question.model_copy(update={"answer": gold[question.id].answer, "accepted": list(gold[question.id].accepted)})
        for question in questions
        if question.id in gold
    ]
