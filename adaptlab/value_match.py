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
    negated,
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
            if _in_words(text, form) and not values(text, question.answer_type):
                return True
            continue
        known = {value.value for value in values(clean(asked), question.answer_type, extra)} - {v.value for v in gold}
        found = [value for value in values(text, question.answer_type, extra) if value.value not in known]
        found = [value for value in found if not _repeats_measure(value, gold, asked)]
        found = [v for v in found if (v.value, v.unit) not in _same_in(question, form, gold)] or found
        committed = committed_values(text, _about(found, gold, asked, text))
        if any(_other_claim(text, value, asked, form) for value in committed):
            continue
        if committed and _same_values(committed, gold, asked, strict_units):
            return not _wrong_sign(question, committed, text)
    return False


def _in_words(text: str, form: str) -> bool:
    """Whether a form that holds no value ("percentile dice") stands in the text and is not denied."""
    at = text.find(clean(form))
    return at >= 0 and not negated(text, at, at + len(clean(form)))


def _same_in(question: Question, form: str, gold: Sequence[Value]) -> set[tuple[str, str]]:
    """What the other forms of the gold say, so that "10 minutes, that is 1 turn" holds one answer and not two."""
    said = {(value.value, value.unit) for value in gold}
    others = (_gold_values(question, other)[0] for other in (question.answer, *question.accepted) if other != form)
    return {(value.value, value.unit) for values_of in others for value in values_of if value.unit} - said


def _repeats_measure(value: Value, gold: Sequence[Value], asked: str) -> bool:
    """Whether a value only repeats the question's own measure: "in one round" where it asks "in a round"."""
    measures = re.findall(r"\b(?:an?|one|each|every|per|single) ([a-z]+)", asked.casefold())
    units = {UNITS.get(word, UNITS.get(stem(word), "")) for word in measures} - {""}
    return value.value == "1" and value.unit in units and all(item.value != "1" for item in gold)


_BEYOND = re.compile(
    r"\b(?:(?:more|less|fewer|greater|higher|lower) than|above|below|over|under|beyond)\s(?:an? |the )?$"
)
_AT_LEAST = re.compile(r"\b(?:at least|no less than|no fewer than|a minimum of)\s(?:an? |the )?$")
_THRESHOLD = re.compile(r"\b(?:must|need\w*|have to|required?|lowest|least|minimum|reach|beat|equal|enough|when)\b")
_AGE = re.compile(r"\s[a-z]+ (?:ago|old)\b")


def _other_claim(text: str, value: Value, asked: str, form: str) -> bool:
    """Whether a value is only a bound or an age ("at least 40", "187 years ago") that the gold does not speak of."""
    head, plain = text[: value.start], clean(f"{asked} {form}")
    if _AT_LEAST.search(head):
        return not _THRESHOLD.search(plain)
    bound, age = _BEYOND.search(head), _AGE.match(text[value.end :])
    return bool(bound and bound[0].strip() not in plain) or bool(age and age[0].split()[-1] not in plain)


def _wrong_sign(question: Question, committed: Sequence[Value], text: str) -> bool:
    """Whether a plus is written before a value whose gold is negative in one of its forms."""
    forms = " ".join((question.answer, *question.accepted))
    negative = any(value.value.startswith("-") for value in values(clean(forms), question.answer_type))
    plus = any(re.search(r"(?:\+\s?|\bplus |\bbonus of )$", text[: value.start]) for value in committed)
    plus = plus or any(text[value.start] == "+" for value in committed)
    return negative and plus


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
    plain = _asked_dimension(plain, asked, text)
    numbers = {value.value for value in gold}
    return [value for value in plain if value.unit in units or value.value in numbers]


_DIMENSIONS = {"tall": "high"} | {d: d for d in ("long", "wide", "high", "deep", "thick", "broad", "across", "heavy")}


def _asked_dimension(found: Sequence[Value], asked: str, text: str) -> list[Value]:
    """Without the widths where a length was asked: "60 feet long and 12 feet wide"."""
    after = {value: re.match(r"\s[a-z]+ ([a-z]+)\b", text[value.end :]) for value in found}
    named = {value: _DIMENSIONS.get(match[1]) for value, match in after.items() if match}
    wanted = {_DIMENSIONS[word] for word in re.findall(r"[a-z]+", asked.casefold()) if word in _DIMENSIONS}
    ours = any(named.get(value) in wanted for value in found)
    return [value for value in found if not (ours and named.get(value) and named[value] not in wanted)]


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
    counted = re.search(r"\bhow many ([a-z]+)", asked.casefold())
    if foreign and counted and not foreign & {stem(counted[1])}:
        return False
    return not (foreign if strict_units else foreign & set(UNITS.values()))


def _magnitude(value: str, asked: str) -> str:
    """A plus sign says nothing; a minus sign says nothing where the question speaks of a penalty."""
    return value.lstrip("-") if re.search(r"penalt|minus|reduc|lose|subtract", asked.casefold()) else value
