"""From kept rows to training rows and files, and what a registry of facts says about them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptlab import files, prompts
from adaptlab.schemas import Fact, Message, Row
from adaptlab.synthesis.filters import same_answer
from adaptlab.synthesis.wording import value_of
from config import LabError

if TYPE_CHECKING:
    import pandas as pd

PAIR_COLUMNS = ("subject", "question", "answer")


def to_training_rows(kept: pd.DataFrame) -> list[Row]:
    """Closed-book rows of the kept pairs; `mixing.mix` adds others. A column `kept` says which rows are meant."""
    frame = kept[kept["kept"].astype(bool)] if "kept" in kept.columns else kept
    if frame.empty:
        raise LabError("No synthetic row was kept: look at the funnel, then generate again with other settings.")
    return [_training_row(row) for row in frame.to_dict("records")]


def _training_row(row: dict[str, Any]) -> Row:
    generator: dict[str, Any] = {name: row[name] for name in ("model", "temperature", "seed") if name in row}
    return Row(
        id=row["row_id"],
        prompt=[Message(role="user", content=prompts.closed_book(row["question"]))],
        completion=[Message(role="assistant", content=row["answer"])],
        fact_ids=str(row.get("fact_ids", "")).split(),
        chunk_id=row["chunk_id"],
        generator={**generator, "subject": row["subject"]},
        verdicts={name.removeprefix("verdict_"): row[name] for name in row if name.startswith("verdict_")},
    )


# ------------------------------------------------------------------------------------------- against the registry


def against_facts(rows: pd.DataFrame, facts: Sequence[Fact]) -> pd.DataFrame:
    """The rows with a column `right`: True or False where a known fact is meant, None where none is.

    Only a world with a registry allows this check; no filter uses it.
    """
    by_id = {fact.id: fact for fact in facts}
    verdicts = [_right(row, by_id) for row in rows.to_dict("records")]
    return rows.assign(right=rows["row_id"].map(dict(zip(rows["row_id"], verdicts, strict=True))).astype(object))


def _right(row: dict[str, Any], by_id: dict[str, Fact]) -> bool | None:
    meant = [by_id[name] for name in str(row.get("fact_ids", "")).split() if name in by_id]
    if not meant or not row["answer"]:
        return None
    return any(_states(row, fact.value) for fact in meant)


def _states(row: dict[str, Any], value: str) -> bool:
    same = value_of(row["subject"], row["answer"]).casefold() == value.strip().rstrip(".").casefold()
    return same or same_answer(row["question"], row["answer"], f"It is {value}.")


# ----------------------------------------------------------------------------------------------------------- files


def write_pairs_csv(rows: pd.DataFrame, path: str | Path) -> Path:
    """Write rows as CSV, whole or not at all."""
    return files.atomic_write_text(Path(path), rows.to_csv(index=False, lineterminator="\n"))


def read_pairs_csv(path: str | Path) -> pd.DataFrame:
    """Read what `write_pairs_csv` wrote. Texts stay as they are: an answer "None" or "007" is not a gap or a number."""
    import pandas as pd

    try:
        frame = pd.read_csv(io.StringIO(files.read_text(Path(path))), dtype=str, keep_default_na=False)
    except pd.errors.ParserError as error:
        raise LabError(f"{path}: not a CSV table ({error}): restore it, or export it again.") from error
    except pd.errors.EmptyDataError as error:
        raise LabError(f"{path} is empty: restore it, or export it again.") from error
    missing = [name for name in PAIR_COLUMNS if name not in frame.columns]
    if missing:
        raise LabError(f"{path} has no column {', '.join(missing)}: restore it, or export it again.")
    for name, convert in (("seed", int), ("masked", int), ("temperature", float)):
        if name in frame.columns:
            frame[name] = [convert(value) for value in frame[name]]
    for name in ("kept", "right"):
        if name in frame.columns:
            frame[name] = [{"True": True, "False": False}.get(value) for value in frame[name]]
    return frame


def write_training_jsonl(rows: Sequence[Row], path: str | Path) -> Path:
    """Write training rows, one JSON object a line."""
    return files.write_jsonl(Path(path), rows)


def read_training_jsonl(path: str | Path) -> list[Row]:
    """Read training rows; a broken line is named with its field."""
    return files.read_jsonl(Path(path), Row)
