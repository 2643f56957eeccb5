"""Turn what arms said into scores and paired comparisons; running them and their layers are in rooms of their own."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from adaptlab.arms import Fits, Generates, context_for, fitted, messages_for, run_arm, seed_for
from adaptlab.benchmark import permuted_gold
from adaptlab.layers import LAYERS, RIGHT, by_category, layer, layer_counts, layers, moved, retrieval_layers
from adaptlab.schemas import Generation, Question
from adaptlab.scoring import Reanswers, lenient, majority, reanswered, strict
from adaptlab.stats import Verdict, exceeds, holm, mcnemar_exact, smallest_detectable, verdict, wilson
from config import LabError

__all__ = [
    "LAYERS",
    "RIGHT",
    "Comparison",
    "Fits",
    "Generates",
    "answers",
    "by_category",
    "compare",
    "context_for",
    "fitted",
    "guess_control",
    "layer",
    "layer_counts",
    "layers",
    "messages_for",
    "moved",
    "read_together",
    "retrieval_layers",
    "run_arm",
    "score_table",
    "seed_for",
]

Selector = Literal["first", "majority", "reanswer"]


def _by_arm(generations: Iterable[Generation]) -> dict[str, list[Generation]]:
    arms: dict[str, list[Generation]] = defaultdict(list)
    for generation in generations:
        arms[generation.arm].append(generation)
    return dict(arms)


def _selected(
    generations: Sequence[Generation],
    questions: Sequence[Question],
    selector: Selector,
    reanswers: Reanswers | None,
) -> dict[str, Generation]:
    """The candidate that counts for each question of one arm."""
    found: dict[str, list[Generation]] = defaultdict(list)
    for generation in sorted(generations, key=lambda item: item.sample):
        found[generation.question_id].append(generation)
    chosen: dict[str, Generation] = {}
    for question in questions:
        if not (items := found.get(question.id)):
            continue
        texts = [item.text for item in items]
        at: int | None = 0
        if selector == "majority":
            at = majority(question, texts).index
        elif selector == "reanswer":
            second = (reanswers or {}).get(question.id, ())
            at = reanswered(question, texts, [second] if isinstance(second, str) else second)
        chosen[question.id] = items[at or 0]
    return chosen


def answers(
    generations: Sequence[Generation],
    questions: Sequence[Question],
    selector: Selector = "first",
    reanswers: Reanswers | None = None,
) -> dict[str, str]:
    """The final answer to each question of one arm; where nothing can be parsed the first candidate stands."""
    return {i: item.text for i, item in _selected(generations, questions, selector, reanswers).items()}


def _group(question: Question, by: str | None) -> str:
    if by is None:
        return ""
    if by == "answerable":
        return "unanswerable" if question.answer_type == "refusal" else "answerable"
    return str(getattr(question, by))


def score_table(
    generations: Sequence[Generation],
    questions: Sequence[Question],
    by: Literal["category", "split", "answer_type", "answerable"] | None = None,
    selectors: Mapping[str, Selector] | None = None,
    reanswers: Reanswers | None = None,
) -> pd.DataFrame:
    """One row an arm (and group): `k` of `n` right under strict, with Wilson's interval; lenient beside it.

    A failed call counts as wrong and is counted under `errors`; `n` is the number of questions the arm was asked.
    """
    rows: list[dict[str, Any]] = []
    for arm, items in _by_arm(generations).items():
        chosen = _selected(items, questions, (selectors or {}).get(arm, "first"), reanswers)
        groups: dict[str, list[Question]] = defaultdict(list)
        for question in questions:
            if question.id in chosen:
                groups[_group(question, by)].append(question)
        for group, members in groups.items():
            k = sum(strict(question, chosen[question.id].text) for question in members)
            easy = sum(lenient(question, chosen[question.id].text) for question in members)
            interval = wilson(k, len(members))
            rows.append(
                {
                    "arm": arm,
                    **({by: group} if by else {}),
                    "k": k,
                    "n": len(members),
                    **interval._asdict(),
                    "strict": interval.rate,
                    "lenient": easy / len(members),
                    "errors": sum(chosen[question.id].status == "error" for question in members),
                }
            )
    columns = ["arm", *([by] if by else []), "k", "n", "rate", "low", "high", "strict", "lenient", "errors"]
    return pd.DataFrame(rows, columns=columns)


def guess_control(
    generations: Sequence[Generation],
    questions: Sequence[Question],
    permutations: int = 200,
    seed: int = 0,
    attributes: Mapping[str, str] | None = None,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Each arm's score beside the same answers scored against permuted gold: only what exceeds that is knowledge.

    `guess` is the mean over the permutations and `guess_low` and `guess_high` hold 95 % of them. `p` is the one-sided
    exact test (Fisher) of the score against the control as if it had been measured on as many questions: where few
    questions share an attribute, the permutations alone vary too little to tell luck from knowledge.
    """
    rows = []
    for arm, items in _by_arm(generations).items():
        texts = answers(items, questions)
        exchangeable = {q.id for q in permuted_gold([q for q in questions if q.id in texts], seed, attributes)}
        asked = [q for q in questions if q.id in exchangeable]
        if not asked:
            continue
        right = sum(strict(q, texts[q.id]) for q in asked)
        known: dict[tuple[str, str, tuple[str, ...]], bool] = {}
        scores = []
        for turn in range(permutations):
            hits = 0
            for q in permuted_gold(asked, seed + turn, attributes):
                key = (q.id, q.answer, tuple(q.accepted))
                if key not in known:
                    known[key] = strict(q, texts[q.id])
                hits += known[key]
            scores.append(hits)
        ordered = pd.Series(scores) / len(asked)
        guessed = math.ceil(float(ordered.mean()) * len(asked))
        p = exceeds(right, guessed, len(asked))
        rows.append(
            {
                "arm": arm,
                "n": len(asked),
                "rate": right / len(asked),
                "guess": float(ordered.mean()),
                "guess_low": float(ordered.quantile(0.025)),
                "guess_high": float(ordered.quantile(0.975)),
                "p": p,
                "above_guess": p < alpha,
            }
        )
    columns = ["arm", "n", "rate", "guess", "guess_low", "guess_high", "p", "above_guess"]
    return pd.DataFrame(rows, columns=columns)


# -------------------------------------------------------------------------------------------------- comparing


@dataclass(frozen=True)
class Comparison:
    """Two arms on the same questions; `difference` and the verdict speak of `b` against `a`."""

    a: str
    b: str
    n: int
    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    p: float
    verdict: Verdict
    detectable: float | None


def compare(
    a: Sequence[Generation],
    b: Sequence[Generation],
    questions: Sequence[Question],
    selectors: Mapping[str, Selector] | None = None,
    reanswers: Reanswers | None = None,
    alpha: float = 0.05,
) -> Comparison:
    """Exact McNemar of two arms on the questions that both answered, under the strict scorer."""
    names = [_one_arm(items) for items in (a, b)]
    chosen = [
        _selected(items, questions, (selectors or {}).get(name, "first"), reanswers)
        for items, name in zip((a, b), names, strict=True)
    ]
    asked = [question for question in questions if question.id in chosen[0] and question.id in chosen[1]]
    if not asked:
        raise LabError(f"The arms {names[0]!r} and {names[1]!r} share no question: run both on the same benchmark.")
    pairs = Counter(tuple(strict(q, side[q.id].text) for side in chosen) for q in asked)
    only_a, only_b = pairs[True, False], pairs[False, True]
    difference = (only_b - only_a) / len(asked)
    p = mcnemar_exact(only_b, only_a)
    return Comparison(
        a=names[0],
        b=names[1],
        n=len(asked),
        both=pairs[True, True],
        only_a=only_a,
        only_b=only_b,
        neither=pairs[False, False],
        difference=difference,
        p=p,
        verdict=verdict(p, difference, alpha),
        detectable=smallest_detectable(len(asked), alpha=alpha),
    )


def _one_arm(generations: Collection[Generation]) -> str:
    names = sorted({generation.arm for generation in generations})
    if len(names) != 1:
        raise LabError(f"compare takes one arm on each side, not {len(names)}: filter the generations.")
    return names[0]


def read_together(comparisons: Sequence[Comparison], alpha: float = 0.05) -> pd.DataFrame:
    """Comparisons that one reader sees at once, a row each, with Holm's p and the verdict that follows from it."""
    table = pd.DataFrame([vars(item) for item in comparisons])
    table["p (Holm)"] = holm(table["p"].tolist())
    table["verdict"] = [verdict(p, d, alpha) for p, d in zip(table["p (Holm)"], table["difference"], strict=True)]
    return table[["a", "b", "n", "only_a", "only_b", "difference", "p", "p (Holm)", "verdict"]]
