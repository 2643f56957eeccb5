"""How well a scorer or a judge agrees with labelled answers: rates with intervals, errors by direction, kappa.

The labels lie beside the benchmark, and `00Setup/labelled_answers.md` has the rules they follow. A verdict is True,
False, or None where it could not be read; an unreadable verdict is counted by itself and never turned into a score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from adaptlab.benchmark import load_questions, read_records, things_of
from adaptlab.schemas import Question, Record
from adaptlab.stats import Interval, wilson
from config import ROOT, LabError

if TYPE_CHECKING:
    import pandas as pd

TUNED, MORE = ROOT / "00Setup" / "labelled_answers.jsonl", ROOT / "00Setup" / "labelled_answers_more.jsonl"
OPENED = ROOT / "00Setup" / "labelled_answers_fresh.jsonl"  # measured twice as a rate, then tuned on as well
FRESH = ROOT / "00Setup" / "labelled_answers_unseen.jsonl"
SHIPPED = ROOT / "00Setup" / "benchmark.jsonl"
Half = Literal["tune", "unseen"]
Level = Literal["strict", "lenient"]
Scorer = Callable[[Question, str], bool]


class LabelledAnswer(Record):
    """One line of the labels: `question` is the id of a benchmark question, or the whole question."""

    id: str
    question: Question | str
    text: str
    source: Literal["model", "written"]
    origin: str | None = None
    label_strict: bool
    label_lenient: bool
    why: str
    half: Half


class Labelled(NamedTuple):
    """A labelled answer with its question found."""

    question: Question
    answer: LabelledAnswer

    def label(self, level: Level) -> bool:
        """The verdict of the label under one of the two definitions."""
        return self.answer.label_strict if level == "strict" else self.answer.label_lenient


@dataclass(frozen=True)
class Agreement:
    """Verdicts beside labels. All rates are over the readable verdicts but `unreadable`, which is over all.

    `false_yes` is the share of the answers labelled wrong that were let pass, `false_no` that of the answers labelled
    right that were turned away. `kappa` is agreement beyond what both margins give by chance.
    """

    n: int
    agree: Interval
    false_yes: Interval
    false_no: Interval
    kappa: Interval
    unreadable: Interval

    def row(self) -> dict[str, float]:
        """The figures as the cells of one table row."""
        return {
            "n": self.n,
            "agree": self.agree.rate,
            "low": self.agree.low,
            "high": self.agree.high,
            "false yes": self.false_yes.rate,
            "false yes low": self.false_yes.low,
            "false yes high": self.false_yes.high,
            "false no": self.false_no.rate,
            "false no low": self.false_no.low,
            "false no high": self.false_no.high,
            "kappa": self.kappa.rate,
            "kappa low": self.kappa.low,
            "unreadable": self.unreadable.rate,
        }


def label_files() -> list[Path]:
    """The files of the lab's own labelled answers."""
    return [each for each in (TUNED, MORE, OPENED, FRESH) if each.exists()]


def load_labels(
    path: str | Path | None = None, half: Half | None = None, questions: Sequence[Question] | None = None
) -> list[Labelled]:
    """The labelled answers of a JSONL file, of one half if named; ids refer to `questions`, else the shipped ones.

    Without a path: the answers the scorers were tuned on (three files), and the unseen ones, as far as they are there.
    Raises a LabError that names file, line and field where a line is broken or its question unknown.
    """
    known = {question.id: question for question in (load_questions(SHIPPED) if questions is None else questions)}
    paths = [Path(path)] if path is not None else label_files()
    found = [item for each in paths for item in _labels_of(each, known)]
    return [item for item in found if half is None or item.answer.half == half]


def _labels_of(path: Path, known: Mapping[str, Question]) -> list[Labelled]:
    """All the labelled answers of one file, each with its question."""
    found: list[Labelled] = []
    things = things_of(known.values())
    for line, answer in read_records(path, LabelledAnswer):
        question = known.get(answer.question) if isinstance(answer.question, str) else answer.question.among(things)
        if question is None:
            raise LabError(
                f"{path.name}, line {line}, field question: the benchmark has no question {answer.question!r}; "
                "correct the id or put the whole question there."
            )
        if answer.label_strict and not answer.label_lenient:
            raise LabError(
                f"{path.name}, line {line}, field label_lenient: what is right under strict is right under "
                "lenient too; correct one of the labels."
            )
        found.append(Labelled(question, answer))
    return found


def measure(labels: Sequence[bool], verdicts: Sequence[bool | None]) -> Agreement:
    """Agreement of verdicts with labels, with Wilson intervals (95 %)."""
    if len(labels) != len(verdicts) or not len(labels):
        raise ValueError(f"measure needs as many verdicts as labels, not {len(verdicts)} for {len(labels)}")
    read = [(label, verdict) for label, verdict in zip(labels, verdicts, strict=True) if verdict is not None]
    on_wrong = [verdict for label, verdict in read if not label]
    on_right = [verdict for label, verdict in read if label]
    return Agreement(
        n=len(read),
        agree=wilson(sum(label == verdict for label, verdict in read), len(read)),
        false_yes=wilson(sum(on_wrong), len(on_wrong)),
        false_no=wilson(len(on_right) - sum(on_right), len(on_right)),
        kappa=_kappa(read),
        unreadable=wilson(len(labels) - len(read), len(labels)),
    )


def _kappa(pairs: Sequence[tuple[bool, bool]]) -> Interval:
    """Cohen's kappa (1960) with the interval of statsmodels; unknown where labels and verdicts never vary."""
    from statsmodels.stats.inter_rater import cohens_kappa

    table = np.zeros((2, 2))
    for label, verdict in pairs:
        table[int(label), int(verdict)] += 1
    chance = float(table.sum(1) @ table.sum(0)) / max(1.0, table.sum() ** 2)
    if not pairs or chance >= 1:
        return Interval(float("nan"), -1.0, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):  # its test against no agreement, which is not used here
        found = cohens_kappa(table)
    return Interval(float(found.kappa), float(found.kappa_low), min(1.0, float(found.kappa_upp)))


def scorer_agreement(answers: Sequence[Labelled], scorer: Scorer, level: Level) -> Agreement:
    """Agreement of a deterministic scorer with the labels of its level."""
    return measure(
        [item.label(level) for item in answers], [scorer(item.question, item.answer.text) for item in answers]
    )


def table(
    answers: Sequence[Labelled], scorers: Mapping[Level, Scorer], by: Literal["source", "answer_type", "half"] | None
) -> pd.DataFrame:
    """One row for each scorer and part of the labels: all of them first, then each value of `by`; none for none."""
    import pandas as pd

    parts = {"all": list(answers)}
    for item in answers if by else ():
        value = item.question.answer_type if by == "answer_type" else str(getattr(item.answer, str(by)))
        parts.setdefault(value, []).append(item)
    return pd.DataFrame(
        [
            {"scorer": level, "answers": name, **scorer_agreement(members, scorer, level).row()}
            for level, scorer in scorers.items()
            for name, members in parts.items()
            if members
        ],
        columns=["scorer", "answers", *measure([True], [True]).row()],
    )


def disagreements(answers: Sequence[Labelled], scorer: Scorer, level: Level) -> pd.DataFrame:
    """The answers of the half `tune` on which a scorer and the label differ; the other half is not to be looked at."""
    import pandas as pd

    tune = [item for item in answers if item.answer.half == "tune"]
    return pd.DataFrame(
        [
            {
                "id": item.answer.id,
                "question": item.question.text(),
                "gold": item.question.answer,
                "answer": item.answer.text,
                "label": item.label(level),
                "why": item.answer.why,
            }
            for item in tune
            if scorer(item.question, item.answer.text) != item.label(level)
        ],
        columns=["id", "question", "gold", "answer", "label", "why"],
    )
