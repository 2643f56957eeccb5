"""Judges' verdicts on candidates, asked for once and stored, and choosing among candidates by them without a model.

Every different text of a question gets one verdict. Beside the candidates, the labelled answers are judged, so that a
judge is calibrated on stored verdicts too and a replay shows the same calibration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from adaptlab.agreement import Labelled
from adaptlab.choosing import Cost, Options, Spent
from adaptlab.judging import Calibration, EndpointJudge, Item, Judge, ReanswerJudge, Verdict, calibrate, injected_items
from adaptlab.prompts import format_passages
from adaptlab.schemas import Generation, Question, Record
from adaptlab.scoring import majority
from config import LabError

if TYPE_CHECKING:
    from adaptlab.artifacts import Lab
    from adaptlab.generation import Completion


class StoredVerdict(Record):
    """One verdict; `verdict` is None where it was unreadable. `tokens` and `seconds` are what it took."""

    judge: str
    sees: str
    question_id: str
    text: str
    verdict: bool | None
    tokens: int = 0
    seconds: float = 0.0


def items_of(
    generations: Iterable[Generation], questions: Sequence[Question], labelled: Sequence[Labelled], tricks: bool
) -> list[Item]:
    """What a judge has to judge, each text of a question once: candidates, labelled answers, and tricks if wanted."""
    known = {question.id: question for question in questions}
    items: list[Item] = [(known[g.question_id], g.text) for g in generations if g.question_id in known]
    items += [(item.question, item.answer.text) for item in labelled]
    items += injected_items(labelled) if tricks else []
    return list({(question.id, text): (question, text) for question, text in items}.values())


def passages_of(generations: Iterable[Generation]) -> dict[str, str]:
    """What was retrieved for each question, from the generations that hold it."""
    return {g.question_id: format_passages([(hit.title, hit.text) for hit in g.hits]) for g in generations if g.hits}


def ask(lab: Lab, judge: Judge, items: Sequence[Item], progress: Any) -> list[StoredVerdict]:
    """A verdict on each item, each kept on disk as it comes where a model gives it; inside a step.

    Raises a LabError where calls failed: what never was answered is no verdict, and a rerun asks only for that.
    """
    if not isinstance(judge, EndpointJudge):
        given = zip(items, judge.judge(items), strict=True)
        return [_stored(judge, item, verdict) for item, verdict in given]
    partial = lab.partial("verdicts")
    made = {(one.question_id, one.text): one for one in map(StoredVerdict.model_validate, partial.read())}
    open_items = [item for item in items if (item[0].id, item[1]) not in made]
    lost: list[str] = []
    with progress(total=len(items), desc=judge.name) as bar:
        bar.update(len(items) - len(open_items))

        def keep(at: int, verdict: Verdict, completion: Completion) -> None:
            bar.update(1)
            if completion.status == "error" and completion.finish_reason != "refused":
                lost.append(completion.error or "no answer")
                return
            one = _stored(judge, open_items[at], verdict, completion)
            made[one.question_id, one.text] = one
            partial.append(one)

        judge.judge(open_items, on_item=keep)
    if lost:
        raise LabError(f"{len(lost)} of {len(items)} verdicts are missing ({lost[0].rstrip('.')}): run again for them.")
    return [made[question.id, text] for question, text in items]


def _stored(judge: Judge, item: Item, verdict: Verdict, completion: Completion | None = None) -> StoredVerdict:
    spent = (completion.prompt_tokens + completion.completion_tokens, completion.seconds) if completion else (0, 0.0)
    return StoredVerdict(
        judge=judge.name,
        sees=judge.sees,
        question_id=item[0].id,
        text=item[1],
        verdict=verdict,
        tokens=spent[0],
        seconds=spent[1],
    )


def of_candidates(
    lab: Lab,
    generations: Sequence[Generation],
    questions: Sequence[Question],
    reanswers: Sequence[Generation],
    labelled: Sequence[Labelled],
    progress: Any,
) -> list[StoredVerdict]:
    """The verdicts of every judge that there is: the re-answer check, and behind an endpoint an LLM judge.

    Both see the passage and neither sees the gold answer.
    """
    from adaptlab import workbench

    second = {g.question_id: g.text for g in reanswers}
    known = [item for item in labelled if item.question.id in second]
    check = ReanswerJudge(second)
    made = ask(lab, check, items_of(generations, questions, known, tricks=False), progress)
    if lab.settings.judge.remote:
        judge = EndpointJudge(workbench.generator(lab, "judge"), passages=passages_of(reanswers))
        made += ask(lab, judge, items_of(generations, questions, known, tricks=True), progress)
    return made


@dataclass(frozen=True)
class StoredJudge:
    """A judge whose verdicts are stored: it calibrates and chooses without a model call."""

    name: str
    sees: str
    said: dict[tuple[str, str], StoredVerdict] = field(repr=False)

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """The stored verdicts; a LabError for an answer that was never judged."""
        return [self._of(question, text).verdict for question, text in items]

    def choose(self, question: Question, texts: Sequence[str]) -> int | None:
        """The majority's among the candidates called right, else among the unreadable; None if all are called wrong."""
        marks = self.judge([(question, text) for text in texts])
        for wanted in (True, None):
            places = [at for at, mark in enumerate(marks) if mark is wanted]
            place = majority(question, [texts[at] for at in places]).index
            if place is not None:
                return places[place]
        return None

    def spent(self, generations: Sequence[Generation], n: int) -> Spent:
        """Mean tokens and seconds a question for judging the different texts among the first `n` candidates."""
        texts: dict[str, dict[str, StoredVerdict]] = {}
        for item in generations:
            if item.sample < n and (item.question_id, item.text) in self.said:
                texts.setdefault(item.question_id, {})[item.text] = self.said[item.question_id, item.text]
        each = [list(one.values()) for one in texts.values()] or [[]]
        return fmean(sum(v.tokens for v in one) for one in each), fmean(sum(v.seconds for v in one) for one in each)

    def calibration(self, labelled: Sequence[Labelled]) -> Calibration | None:
        """Its agreement with the labelled answers that it judged, tricks among them; None where there is none."""
        known = [one for one in labelled if (one.question.id, one.answer.text) in self.said]
        tricks = injected_items(known)
        tricked = bool(tricks) and all((question.id, text) in self.said for question, text in tricks)
        return calibrate(self, known, injections=tricked) if known else None

    def _of(self, question: Question, text: str) -> StoredVerdict:
        if (question.id, text) not in self.said:
            raise LabError(f"The judge {self.name!r} has no verdict on an answer to {question.id}: judge it first.")
        return self.said[question.id, text]


def judges_of(records: Iterable[Any]) -> list[StoredJudge]:
    """The judges in an artifact of verdicts."""
    found: dict[tuple[str, str], dict[tuple[str, str], StoredVerdict]] = {}
    for one in map(StoredVerdict.model_validate, records):
        found.setdefault((one.judge, one.sees), {})[one.question_id, one.text] = one
    return [StoredJudge(name, sees, said) for (name, sees), said in found.items()]


def measure_name(judge: StoredJudge, calibration: Calibration | None) -> str:
    """A judge's name in tables and figures, with what it sees, and marked where it may not be headlined."""
    mark = ", not calibrated" if calibration is None else ", under its threshold" if calibration.fault else ""
    return f"judge@N ({judge.name}, {judge.sees}{mark})"


def with_judges(
    options: Options,
    judges: Sequence[StoredJudge],
    labelled: Sequence[Labelled],
    generations: Sequence[Generation],
    extra: Mapping[str, Spent],
) -> Options:
    """The same options with a selector for each judge; `extra` is what a judge of that name needs once a question."""
    choosers, costs = dict(options.choosers), dict(options.costs)
    for judge in judges:
        name = measure_name(judge, judge.calibration(labelled))
        choosers[name] = judge.choose
        costs[name] = _cost(judge, generations, extra.get(judge.name, (0.0, 0.0)))
    return replace(options, choosers=choosers, costs=costs)


def _cost(judge: StoredJudge, generations: Sequence[Generation], extra: Spent) -> Cost:
    def cost(n: int) -> Spent:
        tokens, seconds = judge.spent(generations, n)
        return tokens + extra[0], seconds + extra[1]

    return cost
