"""Best-of-N from stored candidates: what selecting reaches, what it could reach, and what guessing would reach."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import comb
from statistics import fmean

import pandas as pd

from adaptlab.benchmark import permuted_gold
from adaptlab.schemas import Generation, Question
from adaptlab.scoring import Reanswers, majority, reanswered, strict
from adaptlab.stats import Interval, mean_interval, wilson
from config import LabError

COUNTS = (1, 2, 4, 8, 16)
CEILING = "ceiling (pass@N)"
GUESS = "guess control of the ceiling"
MAJORITY = "majority@N"
REANSWER = "re-answer@N"
Scorer = Callable[[Question, str], bool]


def pass_at_n(total: int, right: int, n: int) -> float:
    """Unbiased chance that `n` of `total` samples hold one of the `right` right ones (Chen et al. 2021, eq. 1)."""
    if not 0 <= right <= total or not 1 <= n <= total:
        raise ValueError(f"pass@{n} needs 1 <= n <= total and 0 <= right <= total, not total={total}, right={right}")
    return 1.0 - comb(total - right, n) / comb(total, n)


def by_samples(generations: Sequence[Generation]) -> dict[str, list[Generation]]:
    """The candidates of each question in the order of their sample numbers; one arm only."""
    arms = {generation.arm for generation in generations}
    if len(arms) > 1:
        raise LabError(f"Best-of-N reads one arm at a time, not {', '.join(sorted(arms))}: filter the generations.")
    found: dict[str, list[Generation]] = defaultdict(list)
    for generation in sorted(generations, key=lambda item: item.sample):
        found[generation.question_id].append(generation)
    return dict(found)


def _chosen(question: Question, texts: Sequence[str], index: int | None, scorer: Scorer) -> bool:
    return index is not None and scorer(question, texts[index])


def _listed(texts: str | Sequence[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)


def _guess_rights(
    candidates: Mapping[str, list[Generation]],
    questions: Sequence[Question],
    scorer: Scorer,
    permutations: int,
    seed: int,
    attributes: Mapping[str, str] | None,
) -> dict[str, list[int]]:
    """How many candidates are right by another question's gold, for each question and permutation."""
    known: dict[tuple[str, str, tuple[str, ...]], int] = {}
    rights: dict[str, list[int]] = defaultdict(list)
    texts = {i: Counter(item.text for item in items) for i, items in candidates.items()}
    for turn in range(permutations):
        for question in permuted_gold(questions, seed + turn, attributes):
            key = (question.id, question.answer, tuple(question.accepted))
            if key not in known:
                known[key] = sum(n for text, n in texts[question.id].items() if scorer(question, text))
            rights[question.id].append(known[key])
    return dict(rights)


def _cost(candidates: Mapping[str, list[Generation]], n: int) -> dict[str, float]:
    """Mean tokens and seconds a question for `n` candidates; the prompt is read once and shared."""
    tokens = [
        items[0].prompt_tokens + sum(item.completion_tokens for item in items[:n]) for items in candidates.values()
    ]
    seconds = [sum(item.seconds for item in items[:n]) for items in candidates.values()]
    return {"tokens": fmean(tokens), "seconds": fmean(seconds)}


def curves(
    generations: Sequence[Generation],
    questions: Sequence[Question],
    ns: Sequence[int] = COUNTS,
    reanswers: Reanswers | None = None,
    permutations: int = 20,
    seed: int = 0,
    attributes: Mapping[str, str] | None = None,
    scorer: Scorer = strict,
) -> pd.DataFrame:
    """One row for each measure and N: rate with interval, questions, and mean tokens and seconds a question.

    Majority and re-answer at N use the first N candidates (Wilson interval). The ceiling and its guess control average
    over all subsets of N (bootstrap over the questions). Unanswerable questions have no guess control and stay out.
    """
    stored = by_samples(generations)
    asked = [question for question in questions if question.id in stored and question.answer_type != "refusal"]
    candidates = {question.id: stored[question.id] for question in asked}
    if not candidates:
        raise LabError("Best-of-N found no candidates of these questions: run the sampling step first.")
    fewest = min(len(items) for items in candidates.values())
    if max(ns) > fewest:
        raise LabError(f"Best-of-N at N={max(ns)} needs as many candidates a question, but one has only {fewest}.")
    right = {q.id: [scorer(q, item.text) for item in candidates[q.id]] for q in asked}
    guessed = _guess_rights(candidates, asked, scorer, permutations, seed, attributes)
    rows: list[dict[str, object]] = []
    for n in ns:
        texts = {q.id: [item.text for item in candidates[q.id][:n]] for q in asked}
        voted = sum(_chosen(q, texts[q.id], majority(q, texts[q.id]).index, scorer) for q in asked)
        measures: dict[str, tuple[Interval, int]] = {
            CEILING: (mean_interval([pass_at_n(len(r), sum(r), n) for r in right.values()], seed=seed), len(asked)),
            GUESS: (
                mean_interval(
                    [fmean(pass_at_n(len(candidates[i]), r, n) for r in found) for i, found in guessed.items()],
                    seed=seed,
                ),
                len(guessed),
            ),
            MAJORITY: (wilson(voted, len(asked)), len(asked)),
        }
        if reanswers is not None:
            checked = [q for q in asked if q.id in reanswers]
            kept = sum(
                _chosen(q, texts[q.id], reanswered(q, texts[q.id], _listed(reanswers[q.id])), scorer) for q in checked
            )
            measures[REANSWER] = (wilson(kept, len(checked)), len(checked))
        cost = _cost(candidates, n)
        for measure, (interval, count) in measures.items():
            rows.append({"measure": measure, "n": n, **interval._asdict(), "questions": count, **cost})
    table = pd.DataFrame(rows)
    return table.sort_values(["measure", "n"], kind="stable").reset_index(drop=True)


def by_question(
    generations: Sequence[Generation],
    questions: Sequence[Question],
    permutations: int = 20,
    seed: int = 0,
    attributes: Mapping[str, str] | None = None,
    scorer: Scorer = strict,
) -> pd.DataFrame:
    """What stands behind each question: share of right candidates, share that guessing explains, and what that means.

    `kind`: "majority right"; "sampling failure" where right candidates are there, more than guessing explains, and the
    majority misses them; "knowledge failure" otherwise.
    """
    stored = by_samples(generations)
    asked = [question for question in questions if question.id in stored and question.answer_type != "refusal"]
    candidates = {question.id: stored[question.id] for question in asked}
    guessed = _guess_rights(candidates, asked, scorer, permutations, seed, attributes)
    rows = []
    for question in asked:
        texts = [item.text for item in candidates[question.id]]
        right = sum(scorer(question, text) for text in texts)
        guess = fmean(guessed[question.id]) / len(texts) if question.id in guessed else float("nan")
        voted = _chosen(question, texts, majority(question, texts).index, scorer)
        beyond = right > 0 and not right / len(texts) <= guess
        kind = "majority right" if voted else "sampling failure" if beyond else "knowledge failure"
        rows.append(
            {
                "question_id": question.id,
                "category": question.category,
                "samples": len(texts),
                "right": right,
                "share": right / len(texts),
                "guess": guess,
                "majority": voted,
                "kind": kind,
            }
        )
    return pd.DataFrame(rows)
