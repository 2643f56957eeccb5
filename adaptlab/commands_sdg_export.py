"""`adaptlab sdg export`: the training rows and their table in the formats of other tools, with a dataset card."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import config
from adaptlab.commands import add, show
from config import LabError

if TYPE_CHECKING:
    from adaptlab.schemas import Row

FORMATS = ("pairs", "prompt-completion", "messages", "alpaca", "parquet")


def configure(verbs: Any) -> None:
    """Add the verb `export` to the group `sdg`."""
    made = add(
        verbs,
        "export",
        "write the training rows for other tools, with a dataset card: CSV, prompt and completion, OpenAI messages, "
        "Alpaca, Parquet",
        sdg_export,
        example="adaptlab sdg export --out dataset --split --own our-faq.csv",
    )
    made.add_argument("--out", required=True, type=Path, help="the folder to write")
    made.add_argument("--formats", type=_formats, default=FORMATS, help=f"of {','.join(FORMATS)} (all)")
    made.add_argument("--split", action="store_true", help="deal the rows out 80/10/10, by fact")
    made.add_argument("--own", action="append", type=Path, default=[], metavar="FILE", help="add rows of your own")
    made.add_argument("--clean", action="store_true", help="put encoding, invisible characters and spaces in order")
    made.add_argument("--guard-formulas", action="store_true", help="make the CSV safe to open in a spreadsheet")
    made.add_argument("--licence", help="licence of the document, as the Hugging Face Hub names it, such as mit")


def _formats(text: str) -> tuple[str, ...]:
    """Names of formats, joined by commas."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{text!r} names no format: choose of {', '.join(FORMATS)}")
    return names


def sdg_export(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Export rows."""
    from adaptlab import dataset_card, exports, verify_data, workbench
    from adaptlab.artifacts import Lab
    from adaptlab.files import atomic_write_text
    from adaptlab.synthesis import mixing

    lab = Lab(config.settings(), notebook="adaptlab sdg export")
    pairs, training = lab.result("synthetic_qa_pairs"), lab.result("training_data")
    table = pairs.data.fillna("")
    rows = [*training.data, *(row for path in arguments.own for row in mixing.read_own_rows(path))]
    changed = None
    if arguments.clean:
        table, rows, changed = _cleaned(table, rows)
    student, longest = lab.settings.student, lab.profile.training.max_length
    tokenizer = None if student.remote else verify_data.tokenizer_at_hand(student.location)
    rows, left = exports.fitting(rows, tokenizer, longest)
    stratum = mixing.by_form(workbench.facts(lab, workbench.document(lab)))
    splits = mixing.split(rows, stratum=stratum, seed=lab.settings.seeds.training) if arguments.split else None
    splits = splits or {"train": rows}
    others = [name for name in arguments.formats if name != "pairs"]
    exported = []
    if "pairs" in arguments.formats:
        exported.append(exports.export_pairs(table, arguments.out, guard_formulas=arguments.guard_formulas))
    if others:
        exported += exports.export_rows(splits, arguments.out, others)
    origin = dataset_card.origin_of(lab, [training, pairs])
    card = dataset_card.card(
        lab,
        table,
        splits,
        exported,
        origin,
        licence=arguments.licence,
        stratum=stratum,
        left_out=left,
        cleaned=changed,
    )
    atomic_write_text(arguments.out / "README.md", card)
    lines = [f"{one.file}: {one.rows} rows{_left(one.left_out)}" for one in exported]
    lines += [f"Left out: {count} rows, {reason}." for reason, count in left.items() if count]
    lines += [f"{changed} rows were cleaned."] if arguments.clean else []
    lines.append(f"Wrote {len(exported)} files and their card, README.md, into {arguments.out} ({training.label}).")
    value = {
        "folder": str(arguments.out),
        "files": [vars(one) for one in exported],
        "left_out": left,
        "cleaned": changed,
    }
    show(arguments, value, "\n".join(lines))
    return 0


def _left(count: int) -> str:
    return f" ({count} that say the same as an earlier one were left out)" if count else ""


def _cleaned(table: Any, rows: Sequence[Row]) -> tuple[Any, list[Row], int]:
    """The table and the rows with their texts in order, and how many rows that changed."""
    from adaptlab.synthesis import cleaning

    names = [name for name in ("title", "document", "subject", "question", "answer") if name in table.columns]
    table = cleaning.cleaned(table, names)
    changed = int((table.pop("cleaned") != "").sum())
    tidy = []
    for row in rows:
        update = {}
        for side in ("prompt", "completion"):
            chat = getattr(row, side)
            update[side] = [m.model_copy(update={"content": cleaning.clean_text(m.content)[0]}) for m in chat]
        tidy.append(row.model_copy(update=update))
    if any(not message.content for row in tidy for message in (*row.prompt, *row.completion)):
        raise LabError("A row has no text left once it is cleaned: take that row out of its file.")
    return table, tidy, changed + sum(one != other for one, other in zip(rows, tidy, strict=True))
