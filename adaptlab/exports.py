"""What leaves the lab for other tools: the benchmark as a task of lm-evaluation-harness, and rows for any trainer.

The task asks with the lab's own prompts. Rows go out as a table of pairs, as prompt and completion (TRL), as messages
(OpenAI), as instruction, input and output (Alpaca) and as Parquet; each file reads back as the same chats.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml

from adaptlab import benchmark, evaluation, lm_eval_task, prompts, verify_data, workbench
from adaptlab.artifacts import Lab
from adaptlab.files import atomic_write_bytes, atomic_write_text, sha256_path, write_jsonl
from adaptlab.schemas import Arm, Generation, Question, Row, Split
from adaptlab.synthesis.mixing import token_count
from config import LabError

if TYPE_CHECKING:
    import pandas as pd

Asked = Literal["none", "retrieved"]
FORMATS = ("lm-eval",)
MODULE = "adaptlab_task"
README = """# {title}

A task for lm-evaluation-harness, exported from {benchmark} (sha256 {sha256}) by `adaptlab benchmark export`.
{count} questions, context: {context}. The metric is a normalised exact match, defined in `{module}.py`, which needs
nothing but lm-eval; the same function scores the lab's own answers. The folder may be moved.

    lm_eval run --tasks {name} --include_path THIS_FOLDER --apply_chat_template --log_samples --output_path OUT \\
        --model hf --model_args pretrained=MODEL_FOLDER,dtype=float32
    lm_eval run --tasks {name} --include_path THIS_FOLDER --apply_chat_template --log_samples --output_path OUT \\
        --model local-chat-completions --model_args model=NAME,base_url=http://127.0.0.1:8000/v1/chat/completions
"""


class _Function(str):
    """A function of the task's Python file, as lm-eval's YAML names it."""


class _Dumper(yaml.SafeDumper):
    """A dumper that knows lm-eval's tag."""


_Dumper.add_representer(_Function, lambda dumper, name: dumper.represent_scalar("!function", str(name)))


def chosen(questions: Sequence[Question], split: str = "all") -> list[Question]:
    """The questions of one split; `all` takes every one."""
    if split not in ("all", *get_args(Split)):
        raise LabError(f"--split {split!r} is not known: choose one of all, {', '.join(get_args(Split))}.")
    found = [question for question in questions if split in ("all", question.split)]
    if not found:
        raise LabError(f"The benchmark has no question of the split {split}: choose another one.")
    return found


def task_name(lab: Lab, context: Asked, split: str = "all") -> str:
    """The task's name in lm-eval."""
    parts = [lab.settings.slug.replace("-", "_"), "closed_book" if context == "none" else context]
    return "_".join(["adaptlab", *parts, *([split] if split != "all" else [])])


def documents_of(lab: Lab, questions: Sequence[Question], context: Asked) -> list[dict[str, Any]]:
    """The task's data: each question's prompt exactly as the lab's arms put it, its gold and its accepted forms."""
    text = workbench.document(lab)
    index = workbench.index(lab, text) if context == "retrieved" else None
    arm = Arm(name="export", model="student", context=context)
    rows = []
    for question in questions:
        hits = evaluation.context_for(arm, question, index, "unseen form", lab.profile.retrieval_k)
        [message] = evaluation.messages_for(question.text(), hits, text)
        rows.append(
            {
                "id": question.id,
                "category": question.category,
                "answer_type": question.answer_type,
                "prompt": message.content,
                "answer": question.answer,
                "accepted": [form for form in question.accepted if form] or [question.answer],
            }
        )
    return rows


def export_lm_eval(lab: Lab, out: Path, context: Asked = "none", split: str = "all") -> Path:
    """Write the task folder: YAML, questions, the Python file with the metric, and how to run it."""
    path = workbench.benchmark_path(lab)
    questions = chosen(benchmark.load_questions(path), split)
    rows = documents_of(lab, questions, context)
    name, sha256 = task_name(lab, context, split), sha256_path(path)
    if out.exists() and not out.is_dir():
        raise LabError(f"--out names {out.name}, which is a file: name a folder.")
    task = {
        "task": name,
        "custom_dataset": _Function(f"{MODULE}.dataset"),
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "doc_to_target": "answer",
        "process_results": _Function(f"{MODULE}.process_results"),
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "num_fewshot": 0,
        "generation_kwargs": {
            "until": [],
            "do_sample": False,
            "temperature": 0.0,
            "max_gen_toks": lab.profile.sampling.max_new_tokens,
        },
        "metadata": {"version": 1.0, "benchmark": path.name, "benchmark_sha256": sha256, "context": context},
    }
    about = README.format(
        title=name, benchmark=path.name, sha256=sha256[:12], count=len(rows), context=context, module=MODULE, name=name
    )
    write_jsonl(out / lm_eval_task.QUESTIONS, rows)
    atomic_write_text(out / f"{MODULE}.py", Path(lm_eval_task.__file__).read_text("utf-8"))
    atomic_write_text(out / "README.md", about)
    atomic_write_text(out / f"{name}.yaml", yaml.dump(task, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
    return out / f"{name}.yaml"


def exact_match(question: Question, text: str) -> bool:
    """The lab's exact match of one answer: the function that the exported task carries along."""
    return lm_eval_task.exact_match(question.answer, question.accepted, text)


def exact_match_rate(generations: Sequence[Generation], questions: Sequence[Question]) -> float:
    """The mean exact match of one arm's first answers; a question without an answer is an error."""
    texts = evaluation.answers(generations, questions)
    return sum(exact_match(question, texts[question.id]) for question in questions) / len(questions)


# ------------------------------------------------------------------------------------------------ training rows

ROW_FORMATS = ("pairs", "prompt-completion", "messages", "alpaca", "parquet")
ROW_FILES = {"prompt-completion": "training_data", "messages": "messages", "alpaca": "alpaca", "parquet": "data/"}
PAIRS_FILE = "synthetic_qa_pairs.csv"
NOT_EXPORTED = ("raw", "problem", "kept", "reason")  # of a table whose rows are all kept
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # OWASP: what a spreadsheet takes for the beginning of a formula


@dataclass(frozen=True)
class Exported:
    """A file that was written; `left_out` counts rows that say the same as an earlier one."""

    format: str
    split: str
    file: str
    rows: int
    left_out: int
    sha256: str


def as_prompt_completion(row: Row) -> dict[str, Any]:
    """A row as TRL takes it, with all that the lab knows of it."""
    return row.model_dump(mode="json")


def as_messages(row: Row) -> dict[str, Any]:
    """A row as OpenAI's fine-tuning takes it, which allows no other field."""
    return {"messages": [message.model_dump() for message in (*row.prompt, *row.completion)]}


def as_alpaca(row: Row) -> dict[str, Any]:
    """A row as instruction, input and output; a question over passages has them in `input`."""
    system = [message.content for message in row.prompt if message.role == "system"]
    asked = [message.content for message in row.prompt if message.role == "user"]
    if len(row.prompt) != len(system) + 1 or len(asked) != 1 or len(row.completion) != 1:
        raise LabError(f"Row {row.id} is a chat of several turns, which Alpaca has no place for: leave alpaca out.")
    head = f"{prompts.READING_INSTRUCTION}\n\n"
    over_passages = asked[0].startswith(head) and len(asked[0]) > len(head)
    instruction, given = (prompts.READING_INSTRUCTION, asked[0][len(head) :]) if over_passages else (asked[0], "")
    extra = {"system": system[0]} if system else {}
    return {"instruction": instruction, "input": given, "output": row.completion[0].content, **extra}


def as_parquet_row(row: Row) -> dict[str, Any]:
    """A row for a table with one type a column; what differs from row to row is JSON text."""
    whole = row.model_dump(mode="json")
    return {**whole, **{name: json.dumps(whole[name], ensure_ascii=False) for name in ("generator", "verdicts")}}


def from_parquet_row(row: Mapping[str, Any]) -> Row:
    """What `as_parquet_row` made, as a row again."""
    return Row.model_validate({**row, **{name: json.loads(row[name]) for name in ("generator", "verdicts")}})


def export_rows(
    splits: Mapping[str, Sequence[Row]],
    out: Path,
    formats: Sequence[str] = ROW_FORMATS[1:],
) -> list[Exported]:
    """Write the rows of each split in each format; one split alone keeps the plain file names.

    Every row is checked before anything is written: a fault is a LabError with the row's id and field.
    """
    unknown = [name for name in formats if name not in ROW_FORMATS[1:]]
    if unknown or not formats:
        raise LabError(f"The format {unknown[0] if unknown else ''!r} is not known: {', '.join(ROW_FORMATS[1:])}.")
    _check_folder(out)
    made: list[tuple[str, str, str, list[Row], int]] = []
    for name, rows in splits.items():
        if not rows:
            raise LabError(f"There are no rows in the split {name}: export what there is, or make more.")
        for row in rows:
            _checked_row(row)
        for kind in formats:
            kept = _once(rows, with_copies=kind in ("prompt-completion", "parquet"))
            made.append((kind, name, _file_name(kind, name, len(splits) == 1), kept, len(rows) - len(kept)))
    content = [_bytes_of(kind, kept) for kind, _, _, kept, _ in made]
    exported = []
    for (kind, name, file, kept, left_out), data in zip(made, content, strict=True):
        path = atomic_write_bytes(out / file, data)
        exported.append(Exported(kind, name, file, len(kept), left_out, sha256_path(path)))
    return exported


def fitting(rows: Sequence[Row], tokenizer: Any = None, longest: int | None = None) -> tuple[list[Row], dict[str, int]]:
    """The rows that a training takes, and how many were left out why: said before, or longer than `longest` tokens."""
    once = _once(rows, with_copies=True)
    if tokenizer is None or longest is None:
        return once, {"the same as an earlier row": len(rows) - len(once)}
    short = [row for row in once if token_count(row, tokenizer) <= longest]
    left = {"the same as an earlier row": len(rows) - len(once), f"more than {longest} tokens": len(once) - len(short)}
    return short, left


def export_pairs(rows: pd.DataFrame, out: Path, *, guard_formulas: bool = False) -> Exported:
    """Write the kept rows of a checked table as CSV, without the teacher's raw replies.

    The cells stand as they are, so that the table reads back unchanged. `guard_formulas` puts an apostrophe before
    cells that a spreadsheet would run as formulas; such a table is for looking at, not for training.
    """
    _check_folder(out)
    table = pairs_table(rows)
    for row in table.to_dict("records"):
        for name, value in row.items():
            fault = next(verify_data.text_faults(value, may_be_empty=True), None) if isinstance(value, str) else None
            if fault:
                raise LabError(f"Row {row['row_id']}, column {name}: {fault}: clean the rows first (--clean).")
    table = guarded(table) if guard_formulas else table
    path = atomic_write_text(out / PAIRS_FILE, table.to_csv(index=False, lineterminator="\n"))
    return Exported("pairs", "train", PAIRS_FILE, len(table), 0, sha256_path(path))


def pairs_table(rows: pd.DataFrame) -> pd.DataFrame:
    """The kept rows with the columns that are exported; line ends are those of Unix."""
    kept = rows[[str(value) == "True" for value in rows["kept"]]] if "kept" in rows.columns else rows
    if kept.empty:
        raise LabError("No row was kept, so there is nothing to export: look at the funnel first.")
    table = kept.drop(columns=[name for name in NOT_EXPORTED if name in kept.columns]).reset_index(drop=True)
    return table.map(lambda value: _unix(value) if isinstance(value, str) else value)


def guarded(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before every cell that a spreadsheet would run."""
    return table.map(lambda value: f"'{value}" if is_formula(value) else value)


def is_formula(value: Any) -> bool:
    """Whether a spreadsheet may take a cell for a formula."""
    return isinstance(value, str) and value.lstrip(" ").startswith(FORMULA)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise LabError(f"{out.name} is a file: name a folder to export into.")


def _checked_row(row: Row) -> None:
    fault = next(verify_data.row_faults(as_prompt_completion(row)), None)
    if fault:
        raise LabError(f"Row {row.id}, field {fault[0]}: {fault[1]}: clean the rows first (--clean).")


def _once(rows: Sequence[Row], with_copies: bool) -> list[Row]:
    """The rows without those that say the same as an earlier one; marked copies stay where their mark can."""
    seen: dict[str, str | None] = {}
    kept = []
    for row in rows:
        mark = verify_data.chat_mark(as_messages(row)["messages"])
        known = mark in seen
        again = verify_data.repeats(as_prompt_completion(row), mark, seen)
        if not (again if with_copies else known):
            kept.append(row)
    return kept


def _file_name(kind: str, split: str, alone: bool) -> str:
    """Where a split goes in a format; Parquet lies where the hub looks for it."""
    base = ROW_FILES[kind]
    if kind == "parquet":
        return f"{base}{split}.parquet"
    return f"{base}.jsonl" if alone else f"{base}.{split}.jsonl"


def _bytes_of(kind: str, rows: Sequence[Row]) -> bytes:
    if kind == "parquet":
        return _parquet(rows)
    shape = {"prompt-completion": as_prompt_completion, "messages": as_messages, "alpaca": as_alpaca}[kind]
    return "".join(json.dumps(shape(row), ensure_ascii=False) + "\n" for row in rows).encode("utf-8")


def _parquet(rows: Sequence[Row]) -> bytes:
    """The rows as one Parquet file; the types are written down, so that an empty column has one too."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise LabError("Parquet needs pyarrow: install requirements.txt, or leave parquet out.") from error
    text = pyarrow.string()
    chat = pyarrow.list_(pyarrow.struct([("role", text), ("content", text)]))
    columns = {"id": text, "prompt": chat, "completion": chat, "fact_ids": pyarrow.list_(text), "source": text}
    columns |= {"chunk_id": text, "generator": text, "verdicts": text}
    table = pyarrow.Table.from_pylist([as_parquet_row(row) for row in rows], pyarrow.schema(list(columns.items())))
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()
