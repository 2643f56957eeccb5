"""`adaptlab sdg export`: the training rows and their table in the formats of other tools, with a dataset card.

The rows are those of notebook 02, or with `--rows` those of `adaptlab sdg run`, which are checked here first.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import config
from adaptlab.commands import add, show
from config import LabError

if TYPE_CHECKING:
    import pandas as pd

    from adaptlab.artifacts import Lab
    from adaptlab.dataset_card import Origin
    from adaptlab.schemas import Question, Row

REJECTED = "rejected_rows.csv"
NEEDED = ("row_id", "chunk_id", "title", "document", "subject", "question", "answer", "problem", "raw")
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
    made.add_argument(
        "--rows", action="append", type=Path, default=[], metavar="FILE",
        help="check and export a rows.jsonl or top_up.jsonl of adaptlab sdg run, not the rows of notebook 02",
    )  # fmt: skip
    made.add_argument("--document", type=Path, help="with --rows: what they are about (LAB_DOCUMENT)")
    made.add_argument("--flow", help="with --rows: what made them, whose examples no row may repeat (the profile's)")
    made.add_argument("--again", action="store_true", help="with --rows: keep only what the judge answers alike again")
    for name, what in (("--replay", "general skills"), ("--refusals", "questions that have to be declined")):
        help_text = f"with --rows: so many of {what} for each row (0)"
        made.add_argument(name, type=float, default=0.0, metavar="SHARE", help=help_text)
    made.add_argument("--formats", type=_formats, default=FORMATS, help=f"of {','.join(FORMATS)} (all)")
    made.add_argument("--split", action="store_true", help="deal the rows out 80/10/10, by fact")
    made.add_argument("--balance", choices=("under", "over"), help="as many training rows of every form or source")
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

    belonging = ("document", "flow", "again", "replay", "refusals")
    if not arguments.rows and (given := [f"--{name}" for name in belonging if getattr(arguments, name)]):
        raise LabError(f"{given[0]} belongs to --rows: name the rows of an adaptlab sdg run.")
    if arguments.document:
        os.environ["LAB_DOCUMENT"] = str(arguments.document)
    lab = Lab(config.settings(), notebook="adaptlab sdg export")
    table, rows, origin, label = _of_run(lab, arguments) if arguments.rows else _of_notebook(lab)
    rows += [row for path in arguments.own for row in mixing.read_own_rows(path)]
    changed = None
    if arguments.clean:
        table, rows, changed = _cleaned(table, rows)
    student, longest = lab.settings.student, lab.profile.training.max_length
    tokenizer = None if student.remote else verify_data.tokenizer_at_hand(student.location)
    rows, left = exports.fitting(rows, tokenizer, longest)
    if arguments.replay or arguments.refusals:  # after what falls away, so that the shares are those of what is written
        rows = _mixed(lab, rows, arguments, tokenizer)
    stratum = mixing.by_form(workbench.facts(lab, workbench.document(lab)))
    splits = mixing.split(rows, stratum=stratum, seed=lab.settings.seeds.training) if arguments.split else None
    splits = splits or {"train": rows}
    if arguments.balance:
        splits["train"] = mixing.balanced(splits["train"], stratum, arguments.balance, seed=lab.settings.seeds.training)
    others = [name for name in arguments.formats if name != "pairs"]
    exported = []
    if "pairs" in arguments.formats:
        exported.append(exports.export_pairs(table, arguments.out, guard_formulas=arguments.guard_formulas))
    if others:
        exported += exports.export_rows(splits, arguments.out, others)
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
    lines = _funnel_lines(table, arguments.out) if arguments.rows else []
    lines += [f"{one.file}: {one.rows} rows{_left(one.left_out)}" for one in exported]
    lines += [f"Left out: {count} rows, {reason}." for reason, count in left.items() if count]
    lines += [f"{changed} rows were cleaned."] if arguments.clean else []
    lines.append(f"Wrote {len(exported)} files and their card, README.md, into {arguments.out} ({label}).")
    value = {
        "folder": str(arguments.out),
        "files": [vars(one) for one in exported],
        "left_out": left,
        "cleaned": changed,
    }
    show(arguments, value, "\n".join(lines))
    return 0


def _of_notebook(lab: Lab) -> tuple[pd.DataFrame, list[Row], Origin, str]:
    """The table and the training rows of notebook 02, where they come from, and the words for it."""
    from adaptlab import dataset_card

    pairs, training = lab.result("synthetic_qa_pairs"), lab.result("training_data")
    return pairs.data.fillna(""), list(training.data), dataset_card.origin_of(lab, [training, pairs]), training.label


def _of_run(lab: Lab, arguments: argparse.Namespace) -> tuple[pd.DataFrame, list[Row], Origin, str]:
    """The same of rows that `adaptlab sdg run` wrote: read, put in order, checked."""
    import pandas as pd

    from adaptlab import dataset_card, files, synthesis

    lines = [line for path in arguments.rows for line in files.read_jsonl(path)]
    rows = pd.DataFrame(lines).fillna("")
    missing = [name for name in NEEDED if name not in rows.columns]
    if missing:
        name = arguments.rows[0].name
        raise LabError(f"{name} has no field {', '.join(missing)}: give a rows.jsonl that adaptlab sdg run wrote.")
    table = _checked(lab, rows, arguments)
    hashes = {path.name: files.sha256_path(path) for path in arguments.rows}
    return table, synthesis.to_training_rows(table), dataset_card.Origin({}, files=hashes), f"from {', '.join(hashes)}"


def _mixed(lab: Lab, rows: list[Row], arguments: argparse.Namespace, tokenizer: Any) -> list[Row]:
    """The rows with the stated shares of general ones, those that decline apart from the others."""
    from adaptlab import exports
    from adaptlab.miniature import skills
    from adaptlab.synthesis import mixing

    general, _ = exports.fitting(skills.replay_rows(4000, "replay"), tokenizer, lab.profile.training.max_length)
    declining, others = mixing.refusals_of(general)
    parts = [mixing.Part("replay", others, arguments.replay), mixing.Part("refusals", declining, arguments.refusals)]
    return mixing.mix(rows, parts, seed=lab.settings.seeds.training)


def _checked(lab: Lab, rows: pd.DataFrame, arguments: argparse.Namespace) -> pd.DataFrame:
    """Rows of a run after the filters and quality tools of notebook 02."""
    from adaptlab import synthesis, verify_data, workbench

    rows = synthesis.cleaned(rows).drop(columns="cleaned")
    text, student = workbench.document(lab), lab.settings.student
    facts, questions = workbench.facts(lab, text), _questions(lab)
    second = workbench.answered_again(lab, rows) if arguments.again else None
    found = synthesis.apply_filters(rows, facts=facts, questions=questions, reanswers=second)
    return synthesis.screen(
        found,
        questions=questions,
        names=[fact.entity for fact in facts],
        few_shot=synthesis.few_shot_texts(synthesis.find_flow(arguments.flow or lab.settings.flow)),
        tokenizer=None if student.remote else verify_data.tokenizer_at_hand(student.location),
        longest=lab.profile.training.max_length,
    )


def _questions(lab: Lab) -> list[Question]:
    """The benchmark's questions; none for a document that has no benchmark yet, whose rows cannot repeat one."""
    from adaptlab import workbench

    try:
        path = workbench.benchmark_path(lab)
    except LabError:
        return []
    return workbench.questions(lab) if path.is_file() else []


def _funnel_lines(table: pd.DataFrame, out: Path) -> list[str]:
    """What became of every row in one line, and the file with those that were turned down, which is written."""
    from adaptlab import synthesis

    counts = synthesis.outcomes(table)
    said = ", ".join(f"{line.rows} {line.outcome}" for line in counts.itertuples() if line.rows)
    synthesis.write_pairs_csv(synthesis.rejected(table), out / REJECTED)
    return [f"{len(table)} rows were generated: {said}. Each rejected one stands with its reason in {REJECTED}."]


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
