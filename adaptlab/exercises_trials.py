"""The checks of the exercises in the long notebooks, which compare trainings (section 03) and models (section 04)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from adaptlab import training_scores as scored
from adaptlab.exercises import NotHere, NotYet, gentle, whole
from adaptlab.stats import ALPHA

CUSTOMERS = (1, 2, 10, 100)


@gentle
def shared_base(formula: Callable[[int, float, float], float], costs: pd.DataFrame, adapter: str, full: str) -> str:
    """Megabytes for many customers with one base and an adapter each; `costs` as of `training_scores.costs`."""
    size = costs.set_index("trial")["artifact (MB)"]
    missing = [name for name in (adapter, full) if name not in size]
    if missing:
        raise NotHere(f"{missing[0]} was not trained here.")
    base, small = float(size[full]), float(size[adapter])
    for customers in CUSTOMERS:
        mine, true = float(formula(customers, base, small)), base + customers * small
        if not math.isclose(mine, true, rel_tol=1e-9):
            raise NotYet(f"{customers} customers do not take {mine:,.1f} MB: what do they share, what has each alone?")
    many = CUSTOMERS[-1]
    return f"{many} customers take {base + many * small:,.0f} MB with one base, and {many * base:,.0f} MB with {many}."


@gentle
def fewest_rows(answer: Any, rows: Mapping[str, int], outcomes: pd.DataFrame) -> str:
    """The fewest rows whose training is not detectably worse in unseen forms than the one with the most.

    `rows` has the number of rows of each trial; `outcomes` as of `training_scores.outcomes`.
    """
    most = max(rows, key=lambda name: rows[name])
    pairs = [(name, most) for name in rows if name != most]
    against = scored.paired(outcomes, pairs, [scored.UNSEEN])
    enough = {line.a: line.verdict != "better" for line in against.itertuples()} | {most: True}
    right = min(rows[name] for name in enough if enough[name])
    number = whole(answer, 0, 10**9)
    if number not in rows.values():
        known = ", ".join(f"{count:,}" for count in rows.values())
        raise NotYet(f"no point of the curve has {number:,} rows: choose of {known}.")
    if number < right:
        raise NotYet(f"with {number:,} rows the training is detectably worse than with all {rows[most]:,}.")
    if number > right:
        raise NotYet(f"{number:,} rows are enough, but a smaller point cannot be told from the largest either.")
    return (
        f"with {number:,} of {rows[most]:,} rows no difference is detected; one that is too small for these questions "
        "may be there."
    )


@gentle
def pairs_compared(formula: Callable[[int, int], int], models: int, arms: int) -> str:
    """How many paired tests compare each model with each other one in every arm, by the learner's formula."""
    for count, ways in ((2, 1), (3, 1), (4, 2), (7, 3), (models, arms)):
        mine, true = int(formula(count, ways)), math.comb(count, 2) * ways
        if mine != true:
            raise NotYet(f"{count} models and {ways} arms do not come to {mine}: who meets whom, and how often?")
    tests = math.comb(models, 2) * arms
    if not tests:
        raise NotHere("fewer than two models were compared.")
    return f"{tests} tests are read together, so Holm asks the smallest p to lie under {ALPHA / tests:.2g}."
