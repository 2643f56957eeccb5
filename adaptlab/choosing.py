"""Choosing one of N stored candidates: the selectors of Best-of-N by name, what they cost, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from adaptlab.schemas import Generation, Question
from adaptlab.scoring import Reanswers, majority, reanswered, strict

COUNTS = (1, 2, 4, 8, 16)
MAJORITY = "majority@N"
REANSWER = "re-answer@N"
Scorer = Callable[[Question, str], bool]
Chooser = Callable[[Question, Sequence[str]], int | None]
Spent = tuple[float, float]
Cost = Callable[[int], Spent]


@dataclass(frozen=True)
class Options:
    """How stored candidates are read, the same for every table and figure of one notebook.

    `counts` are the values of N. `reanswers` are second answers by question id. `choosers` are more selectors by the
    name of their measure: each gets a question and its first N candidates and gives the index of one, or None for no
    choice, which is wrong. `costs` gives for a measure the tokens and seconds a question that it needs at N besides
    the candidates. Gold is permuted `permutations` times, within the attribute where `attributes` names one.
    """

    counts: Sequence[int] = COUNTS
    reanswers: Reanswers | None = None
    choosers: Mapping[str, Chooser] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)
    attributes: Mapping[str, str] | None = None
    permutations: int = 20
    seed: int = 0
    scorer: Scorer = strict

    def selectors(self) -> dict[str, Chooser]:
        """All selectors by the name of their measure: majority, re-answer where there are second answers, the rest."""
        made: dict[str, Chooser] = {MAJORITY: lambda question, texts: majority(question, texts).index}
        if self.reanswers is not None:
            second = self.reanswers
            made[REANSWER] = lambda question, texts: reanswered(question, texts, _listed(second[question.id]))
        return {**made, **self.choosers}

    def able(self, measure: str, questions: Sequence[Question]) -> list[Question]:
        """The questions that a selector can choose for: re-answer needs a second answer."""
        return [q for q in questions if measure != REANSWER or q.id in (self.reanswers or {})]

    def spent(self, measure: str, n: int) -> Spent:
        """Tokens and seconds a question that a measure needs at N besides the candidates."""
        return self.costs[measure](n) if measure in self.costs else (0.0, 0.0)


def _listed(texts: str | Sequence[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)


def at_any_n(spent: Spent) -> Cost:
    """A cost that does not depend on N."""
    return lambda _: spent


def mean_cost(generations: Sequence[Generation]) -> Spent:
    """Mean tokens and seconds a question of some generations: what a second model adds to a selector's cost."""
    asked = len({generation.question_id for generation in generations}) or 1
    read = sum(g.prompt_tokens for g in generations if g.sample == 0)
    return (
        (read + sum(g.completion_tokens for g in generations)) / asked,
        sum(g.seconds for g in generations) / asked,
    )
