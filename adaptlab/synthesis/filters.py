"""Filters over generated rows. Each gives every row a verdict; nothing is dropped, so the funnel adds up.

A verdict is `ok`, `not checked`, or the reason for turning the row down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from adaptlab import benchmark, prompts, scoring
from adaptlab.schemas import Fact, Phrasing, Question
from adaptlab.synthesis import tables
from adaptlab.synthesis.wording import YES_OR_NO, attribute_of, name_of, passage_of, plain, stands_in, value_of

if TYPE_CHECKING:
    import pandas as pd

OK = "ok"
UNCHECKED = "not checked"
STAGES = (
    "well_formed",
    "name",
    "value",
    "table",
    "reanswer",
    "held_out",
    "contamination",
    "length",
    "language",
    "duplicate",
)
LABELS = {
    "well_formed": "well-formed",
    "name": "name in passage, question and answer",
    "value": "value in the passage, or a due refusal",
    "table": "the cell that is asked for",
    "reanswer": "answered alike again",
    "held_out": "no held-out entry",
    "contamination": "no benchmark question",
    "length": "not too long",
    "language": "in the document's language",
    "duplicate": "not asked before",
}
LONGEST_VALUE = 8  # words; a longer answer is a sentence of its own and need not stand in the passage word for word
STEM = 4  # letters that tell a word, however it is inflected
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NEGATION = re.compile(r"\b(?:not|never|no|none|cannot|without)\b|n't\b", re.IGNORECASE)
Same = Callable[[str, str, str], bool]


def apply_filters(
    rows: pd.DataFrame,
    *,
    facts: Sequence[Fact] = (),
    questions: Sequence[Question] = (),
    reanswers: Sequence[str] | None = None,
    same: Same | None = None,
    more: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """The rows with a column `verdict_*` a filter, `kept`, `reason` (the first filter that objects) and `fact_ids`.

    `reanswers` holds, row by row, what the teacher answered when asked `reanswer_prompts(rows)`; `same(question, one,
    other)` decides whether two answers agree (by default, the scorer's canonical answers are compared). `more` holds
    further verdicts by filter, one a row ("ok", "not checked" or the reason): "length", "language", or any other name.
    """
    records = rows.to_dict("records")
    if reanswers is not None and len(reanswers) != len(records):
        raise ValueError(f"{len(reanswers)} answers for {len(records)} rows: give one a row, '' where there is none.")
    more = dict(more or {})
    for stage, verdicts in more.items():
        if len(verdicts) != len(records):
            raise ValueError(f"{len(verdicts)} verdicts of {stage} for {len(records)} rows: give one a row.")
    stages = [*STAGES[:-1], *(stage for stage in more if stage not in STAGES), STAGES[-1]]
    formed = [well_formed(row["problem"]) for row in records]
    checked: dict[str, list[str]] = {
        "name": [name_everywhere(r["subject"], r["question"], r["answer"], passage_of(r)) for r in records],
        "value": [_value(row) for row in records],
        "table": [cell_asked_for(r["subject"], r["question"], r["answer"], passage_of(r)) for r in records],
        "reanswer": _reanswered(records, reanswers, same or same_answer),
        "held_out": _held_out(records, facts),
        "contamination": _contaminated(records, questions, facts),
        "length": [UNCHECKED] * len(records),
        "language": [UNCHECKED] * len(records),
        **{stage: list(verdicts) for stage, verdicts in more.items()},
    }
    for stage, verdicts in checked.items():
        checked[stage] = [v if f == OK else UNCHECKED for f, v in zip(formed, verdicts, strict=True)]
    checked["well_formed"] = formed
    alive = [all(checked[s][i] in (OK, UNCHECKED) for s in stages[:-1]) for i in range(len(records))]
    checked["duplicate"] = _duplicates(records, alive)
    result = rows.assign(**{f"verdict_{stage}": checked[stage] for stage in stages})
    reasons = [_first_objection(checked, stages, i) for i in range(len(records))]
    kept = [not reason for reason in reasons]
    return result.assign(kept=kept, reason=reasons, fact_ids=fact_ids_of(rows, facts))


def reanswer_prompts(rows: pd.DataFrame) -> list[str]:
    """For each row, the prompt that asks its question again over its own passage; empty where there is no question."""
    return [
        prompts.with_passages(row["question"], [(row["title"], row["document"])]) if row["question"] else ""
        for row in rows.to_dict("records")
    ]


def fact_ids_of(rows: pd.DataFrame, facts: Sequence[Fact] = ()) -> list[str]:
    """The ids of the visible facts that each row's subject "Entity: Attribute" names, joined by spaces.

    Without a registry the chunk stands in for the fact. A row that names no known fact gets an empty text.
    """
    if not facts:
        return [str(chunk_id) for chunk_id in rows["chunk_id"]]
    known: dict[str, list[str]] = {}
    for fact in facts:
        if fact.split == "visible":
            known.setdefault(plain(f"{fact.entity}: {fact.attribute}"), []).append(fact.id)
    return [" ".join(known.get(plain(subject), [])) for subject in rows["subject"]]


# ------------------------------------------------------------------------------------------------ the single filters


def well_formed(problem: str) -> str:
    """Whether the reply held a whole pair here."""
    return problem or OK


def name_everywhere(subject: str, question: str, answer: str, passage: str) -> str:
    """Whether the subject's name stands in the passage, in the question and in the answer (a refusal needs no name).

    A row without a subject, as SDG Hub's own flows write them, names nothing that could be looked for.
    """
    name = name_of(subject)
    if not name:
        return UNCHECKED
    places = [(passage, "passage"), (question, "question"), (answer, "answer")]
    for text, where in places[:2] if scoring.is_refusal(answer) else places:
        if not stands_in(name, text):
            return f"name not in the {where}"
    return OK


def value_in_passage(subject: str, answer: str, passage: str, question: str = "") -> str:
    """Whether the value that the answer states stands in the passage, as a whole and not as a part of a longer one.

    Without a subject there may be no value: then every number must stand there, and of an answer of few words each
    longer word, be it inflected, in the passage or the question.
    """
    value = value_of(subject, answer)
    if value and stands_in(value, passage):
        return OK
    if name_of(subject):
        return "value not in the passage"
    if YES_OR_NO.match(answer):
        return UNCHECKED
    numbers = _NUMBER.findall(answer)
    if not all(stands_in(number, passage) for number in numbers):
        return "a number of the answer is not in the passage"
    if len(value.split()) > LONGEST_VALUE:
        return OK if numbers else UNCHECKED
    known = {word[:STEM] for word in re.findall(r"\w+", plain(f"{passage} {question}"))}
    longer = [word for word in re.findall(r"[^\W\d]+", plain(value)) if len(word) >= STEM]
    return OK if all(word[:STEM] in known for word in longer) else "value not in the passage"


def refusal_is_due(subject: str, question: str, passage: str) -> str:
    """Whether nothing is found in the passage that a refusal to answer would deny.

    Looked for are the cell of a table, a line "Attribute: value" under the name as title, and a sentence that says of
    the name what its attribute is. A passage may still say it in other words: the second reading looks for these.
    """
    return "the passage says it" if _is_told(subject, question, passage) else OK


def cell_asked_for(subject: str, question: str, answer: str, passage: str) -> str:
    """Whether an answer about a row and a column of a table states their cell, and not a neighbouring one."""
    wrong = None if scoring.is_refusal(answer) else tables.other_cell(subject, question, answer, passage)
    return UNCHECKED if wrong is None else wrong or OK


def same_answer(question: str, one: str, other: str) -> bool:
    """Whether two answers to a question are the same once both are read by the scorer."""
    asked = Question(
        id="row",
        category="explicit_rule",
        answer_type="text",
        phrasings=[Phrasing(text=question, role="seen form")],
        answer=one,
    )
    return scoring.agrees(asked, one, other) and len(_NEGATION.findall(one)) == len(_NEGATION.findall(other))


def _value(row: dict) -> str:
    if scoring.is_refusal(row["answer"]):
        return refusal_is_due(row["subject"], row["question"], passage_of(row))
    return value_in_passage(row["subject"], row["answer"], passage_of(row), row["question"])


def _is_told(subject: str, question: str, passage: str) -> bool:
    if tables.answered(subject, question, passage):
        return True
    name, attribute = plain(name_of(subject)), plain(attribute_of(subject))
    if not name or not attribute:
        return False
    says = re.compile(rf"(?<!\w){re.escape(attribute)}(?!\w)[^:]{{0,60}}?(?:\b(?:is|are|was|were)\b|:)\s*\S")
    title, _, text = passage.partition("\n")
    entry = plain(title).split(" > ")[-1] == name
    lines = (plain(line) for line in text.split("\n"))
    sentences = plain(text).split(". ")
    return any(says.match(line) for line in lines if entry) or any(
        says.search(sentence) for sentence in sentences if stands_in(name, sentence)
    )


def _reanswered(records: Sequence[dict], reanswers: Sequence[str] | None, same: Same) -> list[str]:
    if reanswers is None:
        return [UNCHECKED] * len(records)
    return [_agreement(row, other, same) for row, other in zip(records, reanswers, strict=True)]


def _agreement(row: dict, other: str, same: Same) -> str:
    if not other.strip():
        return "no second answer"
    if scoring.is_refusal(row["answer"]):
        return OK if scoring.is_refusal(other) else "the passage says it, on second reading"
    if scoring.is_refusal(other):
        return "the passage does not say, on second reading"
    return OK if same(row["question"], row["answer"], other) else "another answer on second reading"


def _held_out(records: Sequence[dict], facts: Sequence[Fact]) -> list[str]:
    """Rows that name a held-out entity; a longer visible name that contains one does not count as naming it."""
    hidden = sorted({fact.entity for fact in facts if fact.split == "held_out"})
    visible = sorted({fact.entity for fact in facts if fact.split == "visible"}, key=len, reverse=True)
    longer = [name for name in visible if any(name != other and stands_in(other, name) for other in hidden)]
    verdicts = []
    for row in records:
        text = plain(f"{row['subject']} # {row['question']} # {row['answer']}")
        for name in longer:
            text = text.replace(plain(name), "#")
        verdicts.append("names a held-out entry" if any(stands_in(name, text) for name in hidden) else OK)
    return verdicts


def _contaminated(records: Sequence[dict], questions: Sequence[Question], facts: Sequence[Fact]) -> list[str]:
    if not questions:
        return [UNCHECKED] * len(records)
    names = sorted({fact.entity for fact in facts})
    texts = [row["question"] for row in records] + [row["answer"] for row in records]
    found = {overlap.text_index % len(records) for overlap in benchmark.contamination(questions, texts, names)}
    return ["a question of the benchmark" if index in found else OK for index in range(len(records))]


def _duplicates(records: Sequence[dict], alive: Sequence[bool]) -> list[str]:
    """Among the rows that every other filter let pass, the first to ask a question stays."""
    seen: dict[str, str] = {}
    verdicts = []
    for row, candidate in zip(records, alive, strict=True):
        asked, answer = plain(row["question"]), plain(row["answer"])
        if not candidate:
            verdicts.append(UNCHECKED)
        elif asked not in seen:
            seen[asked] = answer
            verdicts.append(OK)
        else:
            verdicts.append("asked before" if seen[asked] == answer else "asked before, with another answer")
    return verdicts


def _first_objection(checked: dict[str, list[str]], stages: Sequence[str], index: int) -> str:
    objections = ((stage, checked[stage][index]) for stage in stages)
    return next((f"{stage}: {verdict}" for stage, verdict in objections if verdict not in (OK, UNCHECKED)), "")
