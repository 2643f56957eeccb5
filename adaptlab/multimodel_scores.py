"""What compared models know, gained and cost: item by item, in paired tests, and beside the seconds they took.

Standard packages only: a replay reads the stored answers and scores them here, without PyTorch. Intervals and tests
are those of each model's first seed, which was named before anything ran; the other seeds show how far luck moves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean, median
from typing import Any

import pandas as pd

from adaptlab import benchmark, evaluation, grid
from adaptlab.multimodel import NO_CONTEXT, RETRIEVED, Compared
from adaptlab.schemas import Generation, Question
from adaptlab.scoring import strict
from adaptlab.stats import guess_verdict, holm, mcnemar_exact, mean_interval, smallest_detectable, verdict, wilson

BASE, BASE_PAGES, ADAPTER, ADAPTER_PAGES = "base", "base + retrieval", "adapter", "adapter + retrieval"
ADAPTERS = (ADAPTER, ADAPTER_PAGES)
ARMS = (BASE, BASE_PAGES, *ADAPTERS)
ADAPTED, CONTEXT = "adaptation", "retrieval"
GAINS = (
    (ADAPTED, BASE, ADAPTER),
    (ADAPTED, BASE_PAGES, ADAPTER_PAGES),
    (CONTEXT, BASE, BASE_PAGES),
    (CONTEXT, ADAPTER, ADAPTER_PAGES),
)
Records = Sequence[Mapping[str, Any]]


def arm_of(record: Mapping[str, Any], context: str) -> str:
    """The arm that a record's answers with this context belong to."""
    return ARMS[2 * (record["seed"] is not None) + (context == RETRIEVED)]


def first_runs(records: Records) -> list[Mapping[str, Any]]:
    """Each model's base and the adapter of its first seed."""
    kept: dict[tuple[str, bool], Mapping[str, Any]] = {}
    for record in records:
        kept.setdefault((record["model"], record["seed"] is None), record)
    return list(kept.values())


def outcomes(records: Records, questions: Sequence[Question]) -> pd.DataFrame:
    """Right or wrong on each question of each run: `model`, `arm`, `seed` (0 for a base), `group`, `item`, `right`."""
    known = {question.id: question for question in questions}
    lines = []
    for record in records:
        for answer in record["answers"]:
            question = known.get(answer["question_id"])
            if question is not None:
                arm, group = arm_of(record, answer["context"]), grid.group_of(question)
                right = strict(question, answer["text"])
                lines.append((record["model"], arm, record["seed"] or 0, group, question.id, right))
    return pd.DataFrame(lines, columns=["model", "arm", "seed", "group", "item", "right"])


def of_first_seeds(found: pd.DataFrame) -> pd.DataFrame:
    """The outcomes of the bases and of each adapter's first seed."""
    return found[found["seed"] == found.groupby(["model", "arm"], sort=False)["seed"].transform("first")]


def scores(found: pd.DataFrame) -> pd.DataFrame:
    """Rates for each model, arm and one of grid.GROUPS with Wilson's intervals, models and arms in their order."""
    visible = found[found["group"] != grid.HELD_OUT].assign(group=grid.VISIBLE)
    both = pd.concat([found, visible], ignore_index=True)
    lines = []
    for (model, arm, group), part in both.groupby(["model", "arm", "group"], sort=False):
        right = int(part["right"].sum())
        lines.append({"model": model, "arm": arm, "group": group, "k": right, "n": len(part)})
        lines[-1] |= wilson(right, len(part))._asdict()
    models = list(dict.fromkeys(found["model"]))
    lines.sort(key=lambda x: (models.index(x["model"]), ARMS.index(x["arm"]), grid.GROUPS.index(x["group"])))
    return pd.DataFrame(lines)


# ------------------------------------------------------------------------------------------------------- paired tests


def gains(found: pd.DataFrame, items: Sequence[Question]) -> pd.DataFrame:
    """What adaptation and retrieval brought each model on the same items: paired tests, Holm's correction over all.

    `found` has every seed; interval and test are of the first, `by seed` has the difference with each.
    """
    wide = _wide(found, items)
    lines = []
    for added, a, b in GAINS:
        for model in dict.fromkeys(found["model"]):
            mine = {key: column for key, column in wide.items() if key[0] == model}
            pairs = _pairs(mine, a, b)
            line = {"added": added, "model": model, "a": f"{model}, {a}", "b": f"{model}, {b}", **_test(*pairs[0])}
            moved = [float(right.mean() - left.mean()) for left, right in pairs]
            lines.append({**line, "by seed": ", ".join(f"{100 * change:+.0f}" for change in moved)})
    return _corrected(lines)


def _wide(found: pd.DataFrame, items: Sequence[Question]) -> dict[tuple[str, str, int], pd.Series]:
    """Right or wrong by item, for each model, arm and seed."""
    wanted = [question.id for question in items]
    part = found[found["item"].isin(wanted)]
    grouped = part.groupby(["model", "arm", "seed"], sort=False)
    return {(m, a, s): one.set_index("item")["right"].astype(bool) for (m, a, s), one in grouped}


def _pairs(mine: Mapping[tuple[str, str, int], pd.Series], a: str, b: str) -> list[tuple[pd.Series, pd.Series]]:
    """The outcomes of two arms of one model, once for each seed of `b`; a base has only one."""
    left = {seed: column for (_, arm, seed), column in mine.items() if arm == a}
    right = {seed: column for (_, arm, seed), column in mine.items() if arm == b}
    return [(left.get(seed, next(iter(left.values()))), column) for seed, column in right.items()]


def _test(a: pd.Series, b: pd.Series) -> dict[str, Any]:
    """Exact McNemar of b against a on the items of both, and the bootstrap interval of the difference."""
    shared = a.index.intersection(b.index)
    left, right = a.loc[shared], b.loc[shared]
    only_a, only_b = int((left & ~right).sum()), int((~left & right).sum())
    change = mean_interval(right.to_numpy(float) - left.to_numpy(float))
    counts = {"n": len(shared), "only_a": only_a, "only_b": only_b, "p": mcnemar_exact(only_b, only_a)}
    return counts | {"difference": change.rate, "low": change.low, "high": change.high}


NO_TESTS = [
    "arm",
    "a",
    "b",
    "n",
    "only_a",
    "only_b",
    "p",
    "difference",
    "low",
    "high",
]  # columns where nothing is compared


def _corrected(lines: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The lines with Holm's p over all of them, and the verdicts that follow."""
    table = pd.DataFrame(lines, columns=None if lines else NO_TESTS)
    table["p (Holm)"] = holm(table["p"].tolist())
    table["verdict"] = [verdict(p, d) for p, d in zip(table["p (Holm)"], table["difference"], strict=True)]
    return table


def between(found: pd.DataFrame, items: Sequence[Question]) -> pd.DataFrame:
    """Each pair of models, adapted, in each context, on the same items: paired tests, Holm's correction over all."""
    wide: dict[tuple[str, str], pd.Series] = {}
    for (model, arm, _), column in _wide(found, items).items():
        wide.setdefault((model, arm), column)
    pairs = list(combinations(dict.fromkeys(found["model"]), 2))
    return _corrected(
        [{"arm": arm, "a": a, "b": b, **_test(wide[a, arm], wide[b, arm])} for arm in ADAPTERS for a, b in pairs]
    )


def skills(records: Records) -> pd.DataFrame:
    """General skills before and after adaptation: rates of each, and a paired test on all items of a model together."""
    told: dict[str, dict[bool, pd.DataFrame]] = {}
    for record in first_runs(records):
        if record["skills"]:
            frame = pd.DataFrame(record["skills"]).set_index("item")
            told.setdefault(record["model"], {})[record["seed"] is None] = frame
    lines = []
    for model, sides in told.items():
        before, after = sides[True]["right"].astype(bool), sides[False]["right"].astype(bool)
        shown = {}
        for skill, part in sides[True].groupby("skill", sort=False):
            shown[str(skill)] = f"{before[part.index].mean():.0%} to {after[part.index].mean():.0%}"
        lines.append({"model": model, **shown, "base": before.mean(), "adapter": after.mean(), **_test(before, after)})
    return _corrected(lines)


def spread(found: pd.DataFrame, items: Sequence[Question]) -> pd.DataFrame:
    """The rate of each seed of each adapter: `model`, `arm`, `seed`, `k`, `n`, `rate`."""
    lines = []
    for (model, arm, seed), column in _wide(found, items).items():
        if arm in ADAPTERS:
            lines.append((model, arm, seed, int(column.sum()), len(column), float(column.mean())))
    return pd.DataFrame(lines, columns=["model", "arm", "seed", "k", "n", "rate"])


def guesses(
    records: Records, questions: Sequence[Question], attributes: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Closed-book rates of each base and adapter beside the guess control, on visible and on held-out lookups."""
    said = [
        Generation(
            question_id=answer["question_id"],
            phrasing="unseen form",
            arm=f"{record['model']}, {arm_of(record, NO_CONTEXT)}",
            sample=0,
            text=answer["text"],
        )
        for record in first_runs(records)
        for answer in record["answers"]
        if answer["context"] == NO_CONTEXT
    ]
    parts = []
    for facts, split in (("visible", "visible"), ("held out", "held_out")):
        members = benchmark.lookup(questions, split=split)  # type: ignore[arg-type]
        if members:
            parts.append(evaluation.guess_control(said, members, attributes=attributes).assign(facts=facts))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(verdict=[guess_verdict(above) for above in table["above_guess"]])


# ---------------------------------------------------------------------------------------------------------------- cost


def answering(records: Records) -> pd.DataFrame:
    """What answering takes in each arm, the mean over its runs; memory is the most above the process's libraries."""
    lines = []
    runs: dict[tuple[str, str], list[tuple[Mapping[str, Any], int]]] = {}
    for record in records:
        for asked in record["asked"]:
            key = (record["model"], arm_of(record, asked["context"]))
            runs.setdefault(key, []).append((asked, record["memory"][-1]["peak"]))
    for (model, arm), parts in runs.items():
        each = fmean(asked["seconds"] / asked["questions"] for asked, _ in parts)
        waits = [seconds for asked, _ in parts for seconds in asked["alone"]]
        lines.append(
            {
                "model": model,
                "arm": arm,
                "tokens read": fmean(asked["read"] / asked["questions"] for asked, _ in parts),
                "tokens written": fmean(asked["written"] / asked["questions"] for asked, _ in parts),
                "one question alone (s)": median(waits) if waits else None,
                "questions a second": 1 / each,
                "seconds for 1,000": 1000 * each,
                "peak memory (GB)": max(peak for _, peak in parts) / 1e9,
                "refused prompts": sum(asked["refused"] for asked, _ in parts),
            }
        )
    return pd.DataFrame(lines)


def priced(table: pd.DataFrame, price_per_hour: float | None) -> pd.DataFrame:
    """`answering` with what 1,000 questions cost, if an hour of the machine has a price; nothing is assumed."""
    if price_per_hour is None:
        return table
    return table.assign(**{"price of 1,000": table["seconds for 1,000"] / 3600 * price_per_hour})


def trainings(records: Records) -> pd.DataFrame:
    """What training an adapter took, the mean over the seeds, at the learning rate that the search chose."""
    lines: dict[str, list[Mapping[str, Any]]] = {}
    rates = {}
    for record in records:
        if record["training"]:
            lines.setdefault(record["model"], []).append(record["training"])
            rates[record["model"]] = record["rate"]
    return pd.DataFrame(
        {
            "model": model,
            "weights": runs[0]["weights"],
            "trained weights": runs[0]["trained_weights"],
            "learning rate": rates[model],
            "minutes": fmean(run["seconds"] for run in runs) / 60,
            "tokens a second": fmean(run["tokens_per_second"] for run in runs),
            "peak memory (GB)": max(run["peak_bytes"] - run["libraries_bytes"] for run in runs) / 1e9,
            "adapter (MB)": runs[0]["artifact_bytes"] / 1e6,
        }
        for model, runs in lines.items()
    )


def searched(searches: Records) -> pd.DataFrame:
    """What each learning rate came to: the loss on the validation rows, and which was chosen."""
    lines = []
    for found in searches:
        losses = [line["validation_loss"] for line in found["tried"] if line["validation_loss"] is not None]
        for line in found["tried"]:
            chosen = bool(losses) and line["validation_loss"] == min(losses)
            told = {"model": found["model"], "rate": line["rate"], "validation loss": line["validation_loss"]}
            lines.append({**told, "training loss": line["final_loss"], "chosen": chosen})
    return pd.DataFrame(lines)


def at_an_end(table: pd.DataFrame) -> str:
    """Whose best learning rate (`searched`) is the smallest or largest that was tried, in a sentence."""
    ends = table.groupby("model", sort=False)["rate"].agg(["min", "max"])
    found = table[table["chosen"]].groupby("model", sort=False)["rate"].first()
    names = [name for name, rate in found.items() if rate in set(ends.loc[name])]
    if not names:
        return "Each model's best rate lies between two others that were tried."
    return f"Best at an end of what was tried, so a rate beyond might be better still: {', '.join(names)}."


def freed(searches: Records, records: Records) -> pd.DataFrame:
    """Memory (GB) around the processes of each model, the most of each: before, within, after freeing, and after.

    `freed, still inside` is what an answering process held once the model was dropped in it; `not given back` is what
    was in use more after a process than before it.
    """
    training = [(found["model"], line["memory"]) for found in searches for line in found["tried"]]
    training += [(record["model"], record["memory"][0]) for record in records if record["training"]]
    asking = [(record["model"], record["memory"][-1]) for record in records]
    lines = []
    for model in dict.fromkeys(name for name, _ in asking):
        trained = [taken for name, taken in training if name == model]
        asked = [taken for name, taken in asking if name == model]
        every = [*trained, *asked]
        bytes_of = {
            "before": max(taken["before"] for taken in every),
            "training, peak": max((taken["peak"] for taken in trained), default=0),
            "answering, peak": max(taken["peak"] for taken in asked),
            "freed, still inside": max(taken["left"] for taken in asked),
            "not given back": max(max(0, taken["after"] - taken["before"]) for taken in every),
        }
        lines.append({"model": model, "processes": len(every), **{name: n / 1e9 for name, n in bytes_of.items()}})
    return pd.DataFrame(lines)


def summary(
    compared: Compared, questions: Sequence[Question], attributes: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Everything that the notebook shows, as plain tables: the content of multi_model_eval.json."""
    records, searches = compared.records, [result.data for result in compared.searches.values()]
    found = outcomes(records, questions)
    lookups = benchmark.lookup(questions, split="visible")
    tables = {
        "scores": scores(of_first_seeds(found)),
        "gains": gains(found, lookups),
        "between": between(found, lookups),
        "spread": spread(found, lookups),
        "guess": guesses(records, questions, attributes),
        "skills": skills(records),
        "answering": answering(records),
        "trainings": trainings(records),
        "search": searched(searches),
        "memory": freed(searches, records),
    }
    return {
        "models": list(dict.fromkeys(record["model"] for record in records)),
        "failed": [{"model": name, "reason": reason} for name, reason in compared.failed.items()],
        "questions": len(lookups),
        "detectable": smallest_detectable(len(lookups)),
        **{name: table.astype(object).where(table.notna(), None).to_dict("records") for name, table in tables.items()},
    }
