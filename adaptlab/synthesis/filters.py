"""Filters over generated rows. Each gives every row a verdict; nothing is dropped, so the funnel adds up.

A verdict is `ok`, `not checked`, or the reason for turning the row down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from adaptlab import benchmark, prompts, scoring
from adaptlab.schemas import Fact, Phrasing, Question

if TYPE_CHECKING:
    import pandas as pd

OK = "ok"
UNCHECKED = "not checked"
STAGES = ("well_formed", "name", "value", "reanswer", "held_out", "contamination", "length", "language", "duplicate")
LABELS = {
    "well_formed": "well-formed",
    "name": "name in passage, question and answer",
    "value": "value stands in the passage",
    "reanswer": "answered alike again",
    "held_out": "no held-out entry",
    "contamination": "no benchmark question",
    "length": "not too long",
    "language": "in the document's language",
    "duplicate": "not asked before",
}
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
        "value": [value_in_passage(r["subject"], r["answer"], passage_of(r)) for r in records],
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
            known.setdefault(_plain(f"{fact.entity}: {fact.attribute}"), []).append(fact.id)
    return [" ".join(known.get(_plain(subject), [])) for subject in rows["subject"]]


# ------------------------------------------------------------------------------------------------ the single filters


def well_formed(problem: str) -> str:
    """Whether the reply held a whole pair here."""
    return problem or OK


def name_everywhere(subject: str, question: str, answer: str, passage: str) -> str:
    """Whether the subject's name stands in the passage, in the question and in the answer."""
    name = name_of(subject)
    for text, where in ((passage, "passage"), (question, "question"), (answer, "answer")):
        if not stands_in(name, text):
            return f"name not in the {where}"
    return OK


def value_in_passage(subject: str, answer: str, passage: str) -> str:
    """Whether the value that the answer states stands in the passage, as a whole and not as a part of a longer one."""
    value = value_of(subject, answer)
    return OK if value and stands_in(value, passage) else "value not in the passage"


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


def name_of(subject: str) -> str:
    """The entity of "Entity: Attribute"."""
    return subject.rpartition(":")[0].strip() or subject.strip()


def value_of(subject: str, answer: str) -> str:
    """What an answer such as "The Range of Emberlace is 45 feet." says of its subject; else the answer's last words."""
    after_name = re.split(re.escape(name_of(subject)), answer, maxsplit=1, flags=re.IGNORECASE)[-1]
    stated = re.search(r"\b(?:is|are|was|were)\s+(.*\S)", after_name or answer, re.DOTALL)
    return (stated[1] if stated else answer).strip().rstrip(".").strip()


def stands_in(part: str, text: str) -> bool:
    """Whether `part` stands in `text` between word boundaries, whatever the case, spacing and emphasis marks.

    "5 feet" does not stand in "45 feet", nor "2d6" in "2d6+1".
    """
    wanted = _plain(part)
    pattern = rf"(?<![\w])(?<!\d[.,]){re.escape(wanted)}(?![\w]|[.,+-]?\d)"
    return bool(wanted) and re.search(pattern, _plain(text)) is not None


def passage_of(row: dict) -> str:
    """What the teacher was shown: the title and the text."""
    return f"{row['title']}\n{row['document']}"


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[*_`|]+", " ", text).casefold().replace("’", "'").split())


def _reanswered(records: Sequence[dict], reanswers: Sequence[str] | None, same: Same) -> list[str]:
    if reanswers is None:
        return [UNCHECKED] * len(records)
    return [_agreement(row, other, same) for row, other in zip(records, reanswers, strict=True)]


def _agreement(row: dict, other: str, same: Same) -> str:
    if not other.strip():
        return "no second answer"
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
        text = _plain(f"{row['subject']} # {row['question']} # {row['answer']}")
        for name in longer:
            text = text.replace(_plain(name), "#")
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
        asked, answer = _plain(row["question"]), _plain(row["answer"])
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
