"""What compared trainings know and what they lost: item by item, as rates with intervals, and in paired tests.

Standard packages only: a replay reads the stored answers and scores them here, without PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from adaptlab import benchmark
from adaptlab.schemas import Generation, Question
from adaptlab.scoring import strict
from adaptlab.stats import holm, mcnemar_exact, verdict, wilson

SEEN, UNSEEN, HELD_OUT = "facts, seen forms", "facts, unseen forms", "held-out facts"
READING, REFUSING = "reading", "not in the passage"
OUTCOMES = ["trial", "measure", "item", "right"]


def outcomes(records: Sequence[Mapping[str, Any]], questions: Sequence[Question]) -> pd.DataFrame:
    """Right or wrong on every item of every trial: `trial`, `measure`, `item`, `right`.

    The lookups that synthesis may see count once in the form that the rows use and once in others; then the facts that
    no row holds, and the general skills.
    """
    visible = {q.id: q for q in benchmark.lookup(questions, split="visible")}
    held = {q.id: q for q in benchmark.lookup(questions, split="held_out")}
    measures = {"seen form": (SEEN, visible), "unseen form": (UNSEEN, visible)}
    lines = []
    for record in records:
        name = record["trial"]["name"]
        for answer in record["answers"]:
            known, form = answer["question_id"], answer["form"]
            for measure, members in (measures[form], (HELD_OUT, held if form == "unseen form" else {})):
                if known in members:
                    lines.append((name, measure, known, strict(members[known], answer["text"])))
        lines += [(name, told["skill"], str(told["item"]), bool(told["right"])) for told in record["skills"]]
    return pd.DataFrame(lines, columns=OUTCOMES)


def taught(found: pd.DataFrame, questions: Sequence[Question], facts: Mapping[str, set[str]]) -> pd.DataFrame:
    """Only the facts that a trial's own rows teach, asked in unseen forms; `facts` has each trial's fact ids."""
    needs = {q.id: set(q.fact_ids) for q in questions if q.fact_ids}
    part = found[(found["measure"] == UNSEEN) & found["trial"].isin(list(facts))]
    items = zip(part["trial"], part["item"], strict=True)
    return part[[item in needs and needs[item] <= facts[name] for name, item in items]].assign(
        measure="facts that its rows teach"
    )


def rates(found: pd.DataFrame, trials: Sequence[str] | None = None) -> pd.DataFrame:
    """A row for each trial and measure: `k` of `n` right, and the rate with Wilson's interval."""
    names = list(trials) if trials is not None else list(dict.fromkeys(found["trial"]))
    lines = []
    for name in names:
        for measure, part in found[found["trial"] == name].groupby("measure", sort=False):
            right = int(part["right"].sum())
            lines.append((name, measure, right, len(part), *wilson(right, len(part))))
    return pd.DataFrame(lines, columns=["trial", "measure", "k", "n", "rate", "low", "high"])


def paired(
    found: pd.DataFrame, pairs: Sequence[tuple[str, str]], measures: Sequence[str] | None = None
) -> pd.DataFrame:
    """Each pair (a, b) on each measure: exact McNemar on the same items, Holm's correction over the whole table.

    `only_a` and `only_b` count the items that one has right and the other wrong; the verdict speaks of b against a.
    """
    asked = list(measures) if measures is not None else list(dict.fromkeys(found["measure"]))
    lines = []
    for a, b in pairs:
        for measure in asked:
            part = found[(found["measure"] == measure) & found["trial"].isin([a, b])]
            wide = part.pivot(index="item", columns="trial", values="right").dropna().astype(bool)
            if len(wide) and a in wide and b in wide:
                only_a, only_b = int((wide[a] & ~wide[b]).sum()), int((~wide[a] & wide[b]).sum())
                change = (only_b - only_a) / len(wide)
                lines.append((a, b, measure, len(wide), only_a, only_b, change, mcnemar_exact(only_b, only_a)))
    table = pd.DataFrame(lines, columns=["a", "b", "measure", "n", "only_a", "only_b", "difference", "p"])
    table["p (Holm)"] = holm(table["p"].tolist())
    table["verdict"] = [verdict(p, d) for p, d in zip(table["p (Holm)"], table["difference"], strict=True)]
    return table


def generations(records: Sequence[Mapping[str, Any]]) -> list[Generation]:
    """The answers in unseen forms as generations, for the guess control."""
    return [
        Generation(
            question_id=answer["question_id"],
            phrasing="unseen form",
            arm=record["trial"]["name"],
            sample=0,
            text=answer["text"],
        )
        for record in records
        for answer in record["answers"]
        if answer["form"] == "unseen form"
    ]


def costs(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """What each training took: minutes, speed, peak memory above the libraries', artifact, trained weights."""
    lines = []
    for record in records:
        cost = record["cost"]
        if not cost:
            continue
        lines.append(
            {
                "trial": record["trial"]["name"],
                "minutes": cost["seconds"] / 60,
                "tokens a second": cost["tokens_per_second"],
                "peak memory (GB)": max(0, cost["peak_bytes"] - cost["libraries_bytes"]) / 1e9,
                "artifact (MB)": cost["artifact_bytes"] / 1e6,
                "trained weights": cost["trained_weights"],
                "share of weights": cost["trained_weights"] / cost["weights"],
                "final loss": cost["final_loss"],
            }
        )
    return pd.DataFrame(lines)
