"""Every generated row counted once: what became of it, the funnel, the rejected rows, and how faithful a teacher was.

Faithfulness is a rate over rows before any filter has seen them. The second reading that estimates it errs too; where
a registry of facts gives the truth, its false yes and its false no are measured on the same unfiltered rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from adaptlab.agreement import measure
from adaptlab.schemas import Fact
from adaptlab.stats import mean_interval, wilson
from adaptlab.synthesis.coverage import covered_facts
from adaptlab.synthesis.filters import LABELS, OK, STAGES, UNCHECKED

if TYPE_CHECKING:
    import pandas as pd

KEPT = "kept"
OUTCOMES = (
    "unparsable",
    "empty",
    "unfaithful",
    "wrong cell",
    "unanswerable",
    "held out",
    "contaminated",
    "too long",
    "wrong language",
    "duplicate",
    KEPT,
)
_OF_STAGE = {
    "well_formed": "unparsable",
    "name": "unfaithful",
    "value": "unfaithful",
    "table": "wrong cell",
    "reanswer": "unfaithful",
    "held_out": "held out",
    "contamination": "contaminated",
    "length": "too long",
    "language": "wrong language",
    "duplicate": "duplicate",
}
_OF_STAGE |= {  # of the quality tools, which come after the filters
    "readable": "unparsable",
    "in_document": "unfaithful",
    "benchmark": "contaminated",
    "near_duplicate": "duplicate",
}
_JUDGED = "well_formed: turned down by "  # by a judge inside a flow; its name and word follow
_OF_REASON = {
    "well_formed: empty reply": "empty",
    "well_formed: a tag is empty": "empty",
    "well_formed: the flow made no row of it": "empty",
    "name: name not in the question": "unanswerable",  # asked without its passage, it does not say of what
    "reanswer: the passage does not say, on second reading": "unanswerable",
    "reanswer: no second answer": "unanswerable",
}
REJECTED_COLUMNS = ("row_id", "run", "outcome", "reason", "title", "subject", "question", "answer", "raw")


def outcome_of(reason: str) -> str:
    """The one outcome that a row's `reason` stands for; a row without a reason is kept."""
    if not reason:
        return KEPT
    if reason.startswith(_JUDGED):
        return "unfaithful"
    stage = reason.split(": ", 1)[0]
    return _OF_REASON.get(reason) or _OF_STAGE.get(stage) or stage


def outcomes(rows: pd.DataFrame) -> pd.DataFrame:
    """How many rows ended in each outcome, the known ones in order (those without a row too), then any others."""
    import pandas as pd

    found = [outcome_of(reason) for reason in rows["reason"]]
    names = [*OUTCOMES[:-1], *sorted(set(found) - set(OUTCOMES)), KEPT]
    total = max(1, len(found))
    return pd.DataFrame(
        [{"outcome": name, "rows": found.count(name), "share": found.count(name) / total} for name in names]
    )


def funnel(rows: pd.DataFrame) -> pd.DataFrame:
    """Counts by stage and reason: generated, then what each filter turned down, then kept. They add up.

    `left` is how many rows have passed up to and with the line's stage.
    """
    import pandas as pd

    lines = [("generated", "", "", len(rows), len(rows))]
    left = len(rows)
    for stage in stages_of(rows):
        reasons = [text for text in rows["reason"] if text.startswith(f"{stage}: ")]
        left -= len(reasons)
        label = LABELS.get(stage, stage.replace("_", " "))
        for reason in sorted(set(reasons)):
            lines.append((label, reason.split(": ", 1)[1], outcome_of(reason), reasons.count(reason), left))
    lines.append((KEPT, "", KEPT, int(sum(rows["kept"].astype(bool))), left))
    return pd.DataFrame(lines, columns=["stage", "reason", "outcome", "rows", "left"])


def stages_of(rows: pd.DataFrame) -> list[str]:
    """The filters that `rows` went through, in the order in which they object."""
    own = [name.removeprefix("verdict_") for name in rows.columns if name.startswith("verdict_")]
    return [*(stage for stage in STAGES if stage in own), *(stage for stage in own if stage not in STAGES)]


def rejected(rows: pd.DataFrame) -> pd.DataFrame:
    """Every row that was not kept, with its outcome and reason and, for a piece that is no pair, what was written."""
    turned_down = rows[~rows["kept"].astype(bool)]
    turned_down = turned_down.assign(outcome=[outcome_of(reason) for reason in turned_down["reason"]])
    return turned_down[[name for name in REJECTED_COLUMNS if name in turned_down.columns]].reset_index(drop=True)


# ------------------------------------------------------------------------------------------------- faithfulness


def second_reading(rows: pd.DataFrame) -> list[bool | None]:
    """What answering again says of each row: the same (True), another or none (False); None where it said nothing."""
    verdicts = rows["verdict_reanswer"]
    return [None if v in (UNCHECKED, "no second answer") else v == OK for v in verdicts]


def all_checks(rows: pd.DataFrame) -> list[bool | None]:
    """The second reading together with the checks in code: name, value, and the cell of a table where one is named.

    Rows that were checked before there was a check of cells are taken without it.
    """
    stages = [stage for stage in ("verdict_name", "verdict_value", "verdict_table") if stage in rows.columns]
    in_code = rows[stages].isin((OK, UNCHECKED)).all(axis=1)
    return [
        None if read is None else read and bool(code) for read, code in zip(second_reading(rows), in_code, strict=True)
    ]


CHECKS = {"answered alike again": second_reading, "name, value, cell and second answer": all_checks}


def faithfulness(rows: pd.DataFrame, by: str | None = None) -> pd.DataFrame:
    """The share of all whole pairs, filtered or not, that each check finds faithful, with Wilson's interval.

    `by` names a column to split by. `n` counts pairs with a verdict; `pairs` all of them. Rows of one passage resemble
    each other, so that the interval is, if anything, too narrow.
    """
    import pandas as pd

    pairs = rows[rows["verdict_well_formed"] == OK]
    groups = pairs.groupby(by, sort=False) if by else [("all", pairs)]
    lines = []
    for name, part in groups:
        for check, ask in CHECKS.items():
            read = [verdict for verdict in ask(part) if verdict is not None]
            line = {by or "rows": name, "check": check, "pairs": len(part), "n": len(read)}
            lines.append({**line, **wilson(sum(read), len(read))._asdict()})
    return pd.DataFrame(lines, columns=[by or "rows", "check", "pairs", "n", "rate", "low", "high"])


def check_errors(judged: pd.DataFrame) -> pd.DataFrame:
    """Each check held against the registry on unfiltered rows; `judged` comes from `against_facts`.

    `false yes` is the share of the wrong rows that the check lets pass, `false no` that of the right ones that it
    turns away. Rows about no known fact have no truth to be held against and are left out.
    """
    import pandas as pd

    known = judged[judged["right"].notna() & (judged["verdict_well_formed"] == OK)]
    labels = [bool(value) for value in known["right"]]
    lines = [{"check": name, **measure(labels, ask(known)).row()} for name, ask in CHECKS.items() if labels]
    return pd.DataFrame(lines)


# --------------------------------------------------------------------------------------------- two runs, side by side


def compare_runs(rows: pd.DataFrame, passages: Mapping[int, Sequence[str]], facts: Sequence[Fact] = ()) -> pd.DataFrame:
    """Yield, faithfulness and coverage of each run, with intervals; `passages` names the seed passages of each.

    Yield is the mean number of kept rows a passage (interval: bootstrap over the passages); the others are rates.
    Faithfulness is over all whole pairs of a run, before any filter. A run of which duplicates were dropped because an
    earlier run had asked the same keeps its count: the filters see both runs at once.
    """
    import pandas as pd

    lines = []
    for run, ids in passages.items():
        part = rows[rows["run"] == run]
        kept = part[part["kept"].astype(bool)]
        counts = [int((kept["chunk_id"] == name).sum()) for name in ids]
        lines.append((run, "kept rows for each passage", len(ids), False, *mean_interval(counts)))
        some = sum(count > 0 for count in counts)
        lines.append((run, "passages with a kept row", len(ids), True, *wilson(some, len(ids))))
        read = [verdict for verdict in all_checks(part[part["verdict_well_formed"] == OK]) if verdict is not None]
        lines.append(
            (run, "whole pairs that pass every check of faithfulness", len(read), True, *wilson(sum(read), len(read)))
        )
        visible = {fact.id for fact in facts if fact.split == "visible"}
        if visible:
            found = len(covered_facts(part) & visible)
            lines.append((run, "visible facts that kept rows state", len(visible), True, *wilson(found, len(visible))))
    columns = ["run", "measure", "n", "is rate", "rate", "low", "high"]
    return pd.DataFrame(lines, columns=columns).assign(run=[f"run {line[0]}" for line in lines])
