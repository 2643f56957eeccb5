"""Answers that are wrong by construction, and forms of the gold that are right: what a scorer is held against.

Every trick scores 0 under strict on every question it is made for; a scorer that passes one rewards the trick.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from adaptlab.answers import FUNCTION_WORDS, clean, words_of
from adaptlab.prompts import NOT_IN_PASSAGE
from adaptlab.schemas import Question

if TYPE_CHECKING:
    import pandas as pd

ANSWERABLE, UNANSWERABLE = "answerable", "unanswerable"
TRICKS = {
    ANSWERABLE: (
        "empty",
        "echo",
        "refusal",
        "negated gold",
        "another question's answer",
        "hedge",
        "two options",
        "two guesses",
        "all options",
        "wrong unit",
    ),
    UNANSWERABLE: ("empty", "echo", "always answering"),
}
_UNITS = ("rounds", "crowns")


def negative_controls(question: Question, questions: Sequence[Question]) -> dict[str, str]:
    """Texts that are wrong by construction for `question`, by the name of the trick; strict must score each 0.

    A trick is left out where it would not be wrong: "wrong unit" is made for numbers only, and those that need
    another gold answer need another question of the same type.
    """
    asked, gold = question.text(), question.answer
    if question.answer_type == "refusal":
        made = {"empty": "", "echo": asked}
        near = _nearest(question, questions)
        return made | {"always answering": f"The answer is {near.answer if near else 15}."}
    made = {"empty": "", "echo": asked, "refusal": NOT_IN_PASSAGE, "negated gold": f"It is not {gold}."}
    made["hedge"] = f"It could be {gold}, but I am not sure."
    own = {clean(form) for form in (gold, *question.accepted)}
    others = [q.answer for q in questions if q.answer_type == question.answer_type and clean(q.answer) not in own]
    others = [other for other in dict.fromkeys(others) if not _overlap(other, own)]
    if others:
        made["another question's answer"] = f"It is {others[0]}."
        made["two options"] = f"It is either {gold} or {others[0]}."
        made["two guesses"] = f"Maybe {others[0]}, maybe {gold}."
        made["all options"] = ", ".join(sorted([gold, *others[:3]]))
    number = re.search(r"-?\d[\d,.]*\d|\d", gold) if question.answer_type == "number" else None
    unit = next((unit for unit in _UNITS if unit[:-1] not in clean(f"{gold} {asked}")), None)
    if number and unit and "foot" not in gold.casefold():
        made["wrong unit"] = f"It is {number[0]} {unit}."
    return made


def positive_controls(question: Question) -> dict[str, str]:
    """Texts that are right by construction, so that a scorer that fails everything is found out too."""
    if question.answer_type == "refusal":
        return {"gold": question.answer}
    verb = "The answer is" if question.answer_type != "yes_no" else "Answer:"
    return {"gold": question.answer, "gold in a sentence": f"{verb} {question.answer}."}


def control_table(
    questions: Sequence[Question], scorers: Mapping[str, Callable[[Question, str], bool]]
) -> pd.DataFrame:
    """One row for each kind of question and control: its items, and how many of them each scorer calls right.

    `expected` says what a scorer ought to do. Every trick of `TRICKS` has a row, also where it fits no question.
    """
    import pandas as pd

    texts: dict[tuple[str, str, str], list[tuple[Question, str]]] = defaultdict(list)
    for question in questions:
        kind = UNANSWERABLE if question.answer_type == "refusal" else ANSWERABLE
        for name, text in negative_controls(question, questions).items():
            texts[kind, "all wrong", name].append((question, text))
        for name, text in positive_controls(question).items():
            texts[kind, "all right", name].append((question, text))
    names = [(kind, "all wrong", trick) for kind, tricks in TRICKS.items() for trick in tricks]
    names += [key for key in texts if key not in names]
    return pd.DataFrame(
        [
            {"questions": kind, "control": name, "expected": expected, "items": len(texts[kind, expected, name])}
            | {s: sum(score(q, text) for q, text in texts[kind, expected, name]) for s, score in scorers.items()}
            for kind, expected, name in names
        ]
    ).sort_values(["questions", "expected"], ascending=[True, False], kind="stable", ignore_index=True)


def _nearest(question: Question, questions: Sequence[Question]) -> Question | None:
    """The answerable question that shares most words with this one: whose answer a guesser would give."""
    words = set(words_of(clean(question.text()))) - FUNCTION_WORDS
    answerable = [other for other in questions if other.answer_type != "refusal"]
    return max(answerable, key=lambda other: len(words & set(words_of(clean(other.text())))), default=None)


def _overlap(other: str, own: set[str]) -> bool:
    """Whether another gold would be right here too, since one contains the other."""
    words = set(clean(other).split())
    return any(words <= set(form.split()) or set(form.split()) <= words for form in own)
