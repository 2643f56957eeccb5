"""Best-of-N from stored candidates: what selecting reaches, what it could reach, and what guessing would reach."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import comb
from statistics import fmean

import pandas as pd

from adaptlab.benchmark import permuted_gold
from adaptlab.choosing import Options, Scorer
from adaptlab.schemas import Generation, Question
from adaptlab.scoring import majority, strict
from adaptlab.stats import ALPHA, Interval, exceeds_chance, holm, mean_interval, wilson
from config import LabError

CEILING = "ceiling (pass@N)"
GUESS = "guess control of the ceiling"
LUCK = "majority right, no more than guessing explains"
KINDS = ("majority right", LUCK, "sampling failure", "knowledge failure")
STANDARD = Options()


@lru_cache(maxsize=8)
def remembered(scorer: Scorer) -> Scorer:
    """The same scorer with a memory, because the same candidates are scored against the same golds many times."""
    known: dict[tuple[str, str, str, tuple[str, ...], str], bool] = {}

    def score(question: Question, text: str) -> bool:
        key = (question.id, question.text(), question.answer, tuple(question.accepted), text)
        if key not in known:
            known[key] = scorer(question, text)
        return known[key]

    return score


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


def continued(arm: str, first: int, generations: Sequence[Generation]) -> list[Generation]:
    """Candidates of another seed as the next ones of `arm`, numbered from `first`; its first sample has the context."""
    return [
        item.model_copy(update={"arm": arm, "sample": first + item.sample, "messages": [], "hits": []})
        for item in generations
    ]


def _guess_rights(
    candidates: Mapping[str, list[Generation]],
    questions: Sequence[Question],
    scorer: Scorer,
    permutations: int,
    seed: int,
    attributes: Mapping[str, str] | None,
) -> dict[str, list[int]]:
    """How many candidates are right by another question's gold, for each question and permutation."""
    rights: dict[str, list[int]] = defaultdict(list)
    score = remembered(scorer)
    texts = {i: Counter(item.text for item in items) for i, items in candidates.items()}
    for turn in range(permutations):
        for question in permuted_gold(questions, seed + turn, attributes):
            right = sum(n for text, n in texts[question.id].items() if score(question, text))
            rights[question.id].append(right)
    return dict(rights)


def _cost(candidates: Mapping[str, list[Generation]], n: int) -> dict[str, float]:
    """Mean tokens and seconds a question for `n` candidates; the prompt is read once and shared."""
    tokens = [
        items[0].prompt_tokens + sum(item.completion_tokens for item in items[:n]) for items in candidates.values()
    ]
    seconds = [sum(item.seconds for item in items[:n]) for items in candidates.values()]
    return {"tokens": fmean(tokens), "seconds": fmean(seconds)}


def _asked(
    generations: Sequence[Generation], questions: Sequence[Question], most: int = 1
) -> tuple[list[Question], dict[str, list[Generation]]]:
    """The answerable questions that have candidates, and these; a LabError if there are fewer than `most` of one."""
    stored = by_samples(generations)
    asked = [question for question in questions if question.id in stored and question.answer_type != "refusal"]
    candidates = {question.id: stored[question.id] for question in asked}
    if not candidates:
        raise LabError("Best-of-N found no candidates of these questions: run the sampling step first.")
    fewest = min(len(items) for items in candidates.values())
    if most > fewest:
        raise LabError(f"Best-of-N at N={most} needs as many candidates a question, but one has only {fewest}.")
    return asked, candidates


def curves(
    generations: Sequence[Generation], questions: Sequence[Question], options: Options = STANDARD
) -> pd.DataFrame:
    """One row for each measure and N: rate with interval, questions, and mean tokens and seconds a question.

    A selector at N uses the first N candidates (Wilson interval). The ceiling and its guess control average over all
    subsets of N (bootstrap over the questions). Unanswerable questions have no guess control and stay out.
    """
    asked, candidates = _asked(generations, questions, max(options.counts))
    score, seed = remembered(options.scorer), options.seed
    right = {q.id: [score(q, item.text) for item in candidates[q.id]] for q in asked}
    guessed = _guess_rights(candidates, asked, options.scorer, options.permutations, seed, options.attributes)
    rows: list[dict[str, object]] = []
    for n in options.counts:
        texts = {q.id: [item.text for item in candidates[q.id][:n]] for q in asked}
        measures: dict[str, tuple[Interval, int]] = {
            CEILING: (mean_interval([pass_at_n(len(r), sum(r), n) for r in right.values()], seed=seed), len(asked)),
            GUESS: (
                mean_interval(
                    [fmean(pass_at_n(len(candidates[i]), r, n) for r in found) for i, found in guessed.items()],
                    seed=seed,
                ),
                len(guessed),
            ),
        }
        for measure, choose in options.selectors().items():
            able = options.able(measure, asked)
            found = sum(_chosen(q, texts[q.id], choose(q, texts[q.id]), score) for q in able)
            measures[measure] = (wilson(found, len(able)), len(able))
        cost = _cost(candidates, n)
        for measure, (interval, count) in measures.items():
            tokens, seconds = options.spent(measure, n)
            spent = {"tokens": cost["tokens"] + tokens, "seconds": cost["seconds"] + seconds}
            rows.append({"measure": measure, "n": n, **interval._asdict(), "questions": count, **spent})
    table = pd.DataFrame(rows)
    return table.sort_values(["measure", "n"], kind="stable").reset_index(drop=True)


def left_on_table(
    generations: Sequence[Generation], questions: Sequence[Question], options: Options = STANDARD
) -> pd.DataFrame:
    """What the best selector leaves of the ceiling at each N, and how much of that is no guessing.

    Columns: n, ceiling, best, selected, gap (ceiling less selected), by guessing, beyond guessing, low, high. Ceiling
    and selection are read from the same disjoint groups of N candidates, so that the gap is never luck of the draw.
    What guessing explains is the same gap against gold permuted within the attribute; the interval is of the rest
    (bootstrap over the questions, of which those without a guess control stay out).
    """
    asked, candidates = _asked(generations, questions, max(options.counts))
    able = [q for q in asked if options.reanswers is None or q.id in options.reanswers]
    golds = _golds(able, options.permutations, options.seed, options.attributes)
    able = [q for q in able if q.id in golds]
    score, rows = remembered(options.scorer), []
    for n in options.counts:
        groups = {q.id: _groups(candidates[q.id], n) for q in able}
        sides = {}
        for name, choose in options.selectors().items():
            picks = {q.id: [choose(q, group) for group in groups[q.id]] for q in able}
            sides[name] = [_gap([q], groups[q.id], picks[q.id], score) for q in able], picks
        best = min(sides, key=lambda name: fmean(gap for _, gap in sides[name][0]))
        found, picks = sides[best]
        lucky = [_gap(golds[q.id], groups[q.id], picks[q.id], score)[1] for q in able]
        rest = mean_interval([gap - luck for (_, gap), luck in zip(found, lucky, strict=True)], seed=options.seed)
        ceiling, gap = (fmean(part) for part in zip(*found, strict=True))
        row = {"n": n, "ceiling": ceiling, "best": best, "selected": ceiling - gap, "gap": gap}
        row |= {"by guessing": fmean(lucky), "beyond guessing": rest.rate, "low": rest.low, "high": rest.high}
        rows.append({**row, "questions": len(able)})
    return pd.DataFrame(rows)


def _groups(items: Sequence[Generation], n: int) -> list[list[str]]:
    """The texts of disjoint groups of `n` candidates; a rest is left out."""
    return [[item.text for item in items[at : at + n]] for at in range(0, len(items) - n + 1, n)]


def _golds(
    questions: Sequence[Question], permutations: int, seed: int, attributes: Mapping[str, str] | None
) -> dict[str, list[Question]]:
    """Each question with the golds that it gets in the permutations; one that nobody exchanges with is missing."""
    golds: dict[str, list[Question]] = defaultdict(list)
    for turn in range(permutations):
        for question in permuted_gold(questions, seed + turn, attributes):
            golds[question.id].append(question)
    return dict(golds)


def _gap(
    golds: Sequence[Question], groups: Sequence[Sequence[str]], picks: Sequence[int | None], score: Scorer
) -> tuple[float, float]:
    """Over all golds and groups: how often any candidate of a group is right, and how often one is but not the pick."""
    pairs = [
        (any(score(gold, text) for text in group), pick is not None and score(gold, group[pick]))
        for gold in golds
        for group, pick in zip(groups, picks, strict=True)
    ]
    return fmean(one for one, _ in pairs), fmean(one and not chosen for one, chosen in pairs)


def spread(
    generations: Sequence[Generation],
    questions: Sequence[Question],
    options: Options = STANDARD,
    fewest: int = 3,
) -> pd.DataFrame:
    """The same selector on disjoint groups of N candidates, each of which is a seed of its own: measure, n, seed, rate.

    The candidates of a question are independent draws, so 24 of them are 3 seeds at N = 8 and 24 at N = 1. An N that
    leaves under `fewest` groups is not in the table: one draw has no spread. At N = 1 every selector is the draw.
    """
    asked, candidates = _asked(generations, questions)
    smallest = min(len(items) for items in candidates.values())
    score, rows = remembered(options.scorer), []
    for n in (n for n in options.counts if smallest // n >= fewest):
        groups = {q.id: _groups(candidates[q.id], n) for q in asked}
        for group in range(smallest // n):
            texts = {q.id: groups[q.id][group] for q in asked}
            for measure, choose in options.selectors().items():
                able = options.able(measure, asked)
                found = sum(_chosen(q, texts[q.id], choose(q, texts[q.id]), score) for q in able)
                rows.append({"measure": measure, "n": n, "seed": group + 1, "rate": found / len(able)})
    return pd.DataFrame(rows, columns=["measure", "n", "seed", "rate"])


def spread_table(drawn: pd.DataFrame) -> pd.DataFrame:
    """One row a measure and N of `spread`: seeds, mean, standard deviation over the seeds, lowest, highest."""
    table = drawn.groupby(["measure", "n"], sort=False)["rate"].agg(["count", "mean", "std", "min", "max"])
    names = {"count": "seeds", "std": "sd", "min": "lowest", "max": "highest"}
    return table.reset_index().rename(columns=names)


def by_question(
    generations: Sequence[Generation],
    questions: Sequence[Question],
    permutations: int = 20,
    seed: int = 0,
    attributes: Mapping[str, str] | None = None,
    scorer: Scorer = strict,
    alpha: float = ALPHA,
) -> pd.DataFrame:
    """What stands behind each question: right candidates, what guessing explains, and what that means.

    `p` is the exact binomial test of the right candidates against the chance that one is right by another question's
    gold, after Holm's correction over the questions. That chance is the question's own or, if larger, the upper end
    of the 95 % interval of all questions together: a control that saw no hit does not prove a chance of 0. Where it is
    under `alpha` the right candidates are beyond guessing. `kind` is one of KINDS: majority right, beyond
    guessing or not; "sampling failure" where the majority misses right candidates that are beyond guessing;
    "knowledge failure" where more samples will not help.
    """
    asked, candidates = _asked(generations, questions)
    guessed = _guess_rights(candidates, asked, scorer, permutations, seed, attributes)
    shares = {i: fmean(found) / len(candidates[i]) for i, found in guessed.items()}
    drawn = sum(len(candidates[i]) for i in guessed)
    floor = wilson(sum(fmean(found) for found in guessed.values()), drawn).high
    rows = []
    for question in asked:
        texts = [item.text for item in candidates[question.id]]
        right = sum(remembered(scorer)(question, text) for text in texts)
        guess = shares.get(question.id, float("nan"))
        voted = _chosen(question, texts, majority(question, texts).index, remembered(scorer))
        rows.append(
            {
                "question_id": question.id,
                "category": question.category,
                "samples": len(texts),
                "right": right,
                "share": right / len(texts),
                "guess": guess,
                "p": exceeds_chance(right, len(texts), max(floor, shares.get(question.id, 0.0))),
                "majority": voted,
            }
        )
    table = pd.DataFrame(rows)
    table["p"] = holm(table["p"].tolist())
    table["kind"] = [_kind(bool(v), p < alpha) for v, p in zip(table["majority"], table["p"], strict=True)]
    return table


def _kind(voted: bool, beyond: bool) -> str:
    if voted:
        return KINDS[0] if beyond else LUCK
    return "sampling failure" if beyond else "knowledge failure"


def knowledge_failures(
    kinds: pd.DataFrame, questions: Sequence[Question], with_context: pd.DataFrame | None = None
) -> list[dict[str, object]]:
    """What the model's weights do not hold, for the notebook that teaches it: one record a question of `kinds`.

    Listed are knowledge failures and answers that are right no more often than guessing explains. A record names the
    question, its facts and the headings its proof stands under, never its words or its answer: those are the test.
    """
    known = {question.id: question for question in questions}
    reading = {} if with_context is None else dict(zip(with_context["question_id"], with_context["kind"], strict=True))
    missing = kinds[kinds["kind"].isin([LUCK, "knowledge failure"])]
    return [
        {
            "question_id": row.question_id,
            "category": row.category,
            "split": known[row.question_id].split,
            "fact_ids": list(known[row.question_id].fact_ids),
            "sections": list(dict.fromkeys(quote.section for quote in known[row.question_id].quotes)),
            "samples": int(row.samples),
            "right": int(row.right),
            "guess": None if row.guess != row.guess else round(float(row.guess), 4),
            "kind": row.kind,
            "with retrieval": reading.get(row.question_id),
        }
        for row in missing.itertuples()
    ]
