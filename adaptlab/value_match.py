"""Whether a text commits itself to the gold number or dice: which of its values are meant, and with which unit."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adaptlab.answers import (
    FUNCTION_WORDS,
    UNITS,
    Value,
    clean,
    committed_values,
    values,
    words_of,
)
from adaptlab.retrieval import stem
from adaptlab.schemas import Question


def _gold_values(question: Question, form: str) -> tuple[list[Value], frozenset[str]]:
    """The values of one gold form, with the unit words that stand behind its numbers."""
    plain = clean(form)
    tail = re.search(r"(?:\d|%)\s*[-\s]([a-z]+)(?:\s([a-z]+))?\s*$", plain)
    extra = (
        frozenset(stem(word) for word in tail.groups() if word and word not in FUNCTION_WORDS) if tail else frozenset()
    )
    return values(plain, question.answer_type, extra), extra


def value_right(question: Question, asked: str, text: str, strict_units: bool) -> bool:
    """Whether the values that a text commits itself to are those of the gold; strictly: with their unit."""
    for form in (question.answer, *question.accepted):
        gold, extra = _gold_values(question, form)
        if not gold:
            continue
        known = {value.value for value in values(clean(asked), question.answer_type, extra)} - {v.value for v in gold}
        found = [value for value in values(text, question.answer_type, extra) if value.value not in known]
        committed = committed_values(text, _about(found, gold, asked, text))
        if committed and _same_values(committed, gold, asked, strict_units):
            return True
    return False


_LABEL = re.compile(r"(\band |, )?\b(?:an?|its|the) ((?:[a-z]+ ){1,3})(?:of|is|at) $")
_VALUE_WORDS = re.compile(r"\b(?!and\b|or\b)[a-z]{2,}")


def _about(found: Sequence[Value], gold: Sequence[Value], asked: str, text: str) -> list[Value]:
    """The values that can be meant as the answer: not "a Morale of 9", and not 6 rounds where 45 feet stand too.

    A value of another unit stays where its number is the gold number, so that "45 feet or 45 rounds" is no answer.
    """
    words = set(words_of(clean(asked)))
    if len(_VALUE_WORDS.findall(text)) <= len(found):  # nothing but values: every one of them is an answer
        return list(found)
    labels = {value: _LABEL.search(text[: value.start]) for value in found}
    ours = any(label and words & set(words_of(label[2])) for label in labels.values())
    plain = [v for v, label in labels.items() if not label or words & set(words_of(label[2])) or not (ours or label[1])]
    units = {value.unit for value in gold} | {UNITS.get(word, word) for word in words} | {""}
    if not any(value.unit in units for value in plain):
        return plain
    numbers = {value.value for value in gold}
    return [value for value in plain if value.unit in units or value.value in numbers]


def _same_values(committed: Sequence[Value], gold: Sequence[Value], asked: str, strict_units: bool) -> bool:
    if {_magnitude(value.value, asked) for value in committed} != {_magnitude(value.value, asked) for value in gold}:
        return False
    wanted = {value.unit for value in gold if value.unit}
    given = {value.unit for value in committed if value.unit}
    in_question = {UNITS.get(word, word) for word in words_of(clean(asked))}
    if wanted:
        missing = not given and not (wanted & in_question)
        return (given <= wanted) and not (missing and strict_units)
    foreign = given - in_question - {"point"}
    return not (foreign if strict_units else foreign & set(UNITS.values()))


def _magnitude(value: str, asked: str) -> str:
    """A plus sign says nothing; a minus sign says nothing where the question speaks of a penalty."""
    return value.lstrip("-") if re.search(r"penalt|minus|reduc|lose|subtract", asked.casefold()) else value
