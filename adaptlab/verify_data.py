"""Training data checked row by row: every fault with its line and field, in four formats and four kinds of file.

Formats: `messages` (a chat), `prompt` and `completion` (texts or chats, as TRL takes them), `instruction`, `input` and
`output` (Alpaca), `question` and `answer`. Files: JSON Lines, a JSON list, CSV with a header, Parquet. Of a table that
says which rows are `kept`, only those are rows.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config import LabError

ROLES = ("system", "user", "assistant")
FORMATS = {
    "messages": ("messages",),
    "prompt and completion": ("prompt", "completion"),
    "instruction, input and output": ("instruction", "input", "output"),
    "question and answer": ("question", "answer"),
}
NEEDED = {**FORMATS, "instruction, input and output": ("instruction", "output")}
# What the lab's own rows carry besides, and what common tools add; anything else is unknown.
ALSO = ("id", "fact_ids", "source", "chunk_id", "generator", "verdicts", "split", "system", "tools", "metadata")
SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")
KINDS = "JSON, JSON Lines, CSV or Parquet"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong; `line` counts from 1, `field` is a path such as messages.2.content."""

    line: int
    field: str
    what: str

    def sentence(self, file: str) -> str:
        """The fault for a person."""
        return f"{file}, line {self.line}, field {self.field}: {self.what}."


@dataclass
class Found:
    """What a file holds: rows by format, and every fault in the order of the lines."""

    file: str
    rows: int = 0
    formats: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# ----------------------------------------------------------------------------------------------------- reading


def _text_of(path: Path, found: Found) -> str:
    """The file's text; bytes that are no UTF-8 are faults with their line, and a binary file cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabError(f"{path.name} cannot be read ({error.strerror}): give a {KINDS} file.") from error
    if b"\x00" in data:
        raise LabError(f"{path.name} is a binary file: give a JSON, JSON Lines or CSV file in UTF-8.")
    if not data.strip():
        raise LabError(f"{path.name} is empty: give a file with rows.")
    if data.startswith(b"\xef\xbb\xbf"):
        found.notes.append("It starts with a byte order mark, which some tools read as a part of the first field.")
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            what = f"not UTF-8 (byte {error.start + 1} of the line); save the file as UTF-8"
            found.faults.append(Fault(number, "the whole line", what))
    return data.decode("utf-8-sig", errors="replace")


def _json_lines(text: str, found: Found) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            what = f"not JSON ({error.msg}, column {error.colno}); correct the line"
            found.faults.append(Fault(number, "the whole line", what))


def _json_list(name: str, text: str) -> Iterator[tuple[int, Any]]:
    """The items of a JSON list, each with the line that it starts on."""
    decoder, at = json.JSONDecoder(), 0
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise LabError(f"{name}, line {error.lineno}: not JSON ({error.msg}): correct it, then check again.") from error
    if not isinstance(value, list):
        raise LabError(f"{name} holds no list: put the rows into a JSON list, or one a line into a .jsonl file.")
    at = text.index("[") + 1
    for _ in value:
        while text[at] in " \t\r\n,":
            at += 1
        item, end = decoder.raw_decode(text, at)
        yield text.count("\n", 0, at) + 1, item
        at = end


def _csv_rows(name: str, text: str, found: Found) -> Iterator[tuple[int, Any]]:
    """The rows of a CSV file; a cell that starts like a chat is read as JSON."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # of the whole process, so it may only grow
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = next(reader)
        if len(set(head)) < len(head):
            raise LabError(f"{name}, line 1: two columns have the same name: give each its own.")
        start = reader.line_num + 1
        for cells in reader:
            if cells and len(cells) != len(head):
                what = f"{len(cells)} cells where the header has {len(head)}; quote cells that hold commas"
                found.faults.append(Fault(start, "the whole line", what))
            elif cells:
                yield start, {column: _cell(cell) for column, cell in zip(head, cells, strict=True)}
            start = reader.line_num + 1
    except csv.Error as error:
        raise LabError(f"{name}, line {reader.line_num}: not CSV ({error}): correct it, then check again.") from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """The rows of a Parquet file; a row's number stands for its line."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise LabError("Parquet files need pyarrow: install requirements.txt, or give JSON Lines.") from error
    try:
        rows = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        why = " ".join(str(error).split())[:150].rstrip(".")
        raise LabError(f"{path.name} is not Parquet ({why}): write it again, or give JSON Lines.") from error
    yield from enumerate(rows, 1)


def _cell(cell: str) -> Any:
    if not cell.lstrip().startswith("[{"):
        return cell
    try:
        return json.loads(cell)
    except json.JSONDecodeError:
        return cell


# ---------------------------------------------------------------------------------------------------- checking


def _chat(value: Any, name: str, roles: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with a list of messages; `roles` are those that it may begin with and end with."""
    if not isinstance(value, list):
        yield name, f"a list of messages belongs here, not {type(value).__name__}"
        return
    if not value:
        yield name, "the list of messages is empty"
    spoken: list[str] = []
    for at, message in enumerate(value):
        place = f"{name}.{at}"
        if not isinstance(message, dict):
            yield place, f"a message with role and content belongs here, not {type(message).__name__}"
            spoken.append("")
            continue
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            yield f"{place}.role", f"{role!r} is no role; use one of {', '.join(ROLES)}"
        if not isinstance(content, str):
            yield f"{place}.content", f"a text belongs here, not {type(content).__name__}"
        elif not content.strip():
            yield f"{place}.content", "the text is empty"
        for key in message:
            if key not in ("role", "content", "name"):
                yield f"{place}.{key}", "this field is not known; remove it"
        if role == "system" and at > 0:
            yield f"{place}.role", "a system message stands first or not at all"
        elif role in ROLES and spoken and spoken[-1] == role:
            yield f"{place}.role", f"two {role} messages follow each other; user and assistant take turns"
        spoken.append(role if role in ROLES else "")
    turns = [role for role in spoken if role != "system"]
    if turns and turns[0] and turns[0] != roles[0]:
        yield f"{name}.{spoken.index(turns[0])}.role", f"the first turn is the {roles[0]}'s, not the {turns[0]}'s"
    if turns and turns[-1] and turns[-1] != roles[1]:
        last = max(at for at, role in enumerate(spoken) if role != "system")
        yield f"{name}.{last}.role", f"the last turn is the {roles[1]}'s, not the {turns[-1]}'s"
    if value and not turns:
        yield name, "there is nothing but a system message"


def _text(value: Any, name: str, may_be_empty: bool = False) -> Iterator[tuple[str, str]]:
    yield from ((name, what) for what in text_faults(value, may_be_empty))


def text_faults(value: Any, may_be_empty: bool = False) -> Iterator[str]:
    """What is wrong with one text by itself."""
    if not isinstance(value, str):
        yield f"a text belongs here, not {type(value).__name__}"
        return
    if not value.strip() and not may_be_empty:
        yield "the text is empty"
    if "\ufffd" in value:
        yield "a replacement character (U+FFFD) shows that the text was read in a wrong encoding before"
    if any(unicodedata.category(letter) == "Cc" and letter not in "\n\r\t" for letter in value):
        yield "a control character stands in the text; remove it"
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
        yield "half of a character pair stands in the text, which no file in UTF-8 can hold; remove it"


def format_of(row: dict[str, Any]) -> str | None:
    """The format that a row's fields tell."""
    if "messages" in row:
        return "messages"
    if "prompt" in row or "completion" in row:
        return "prompt and completion"
    if "instruction" in row or "output" in row:
        return "instruction, input and output"
    return "question and answer" if "question" in row or "answer" in row else None


def row_faults(row: Any) -> Iterator[tuple[str, str]]:
    """Field and fault of everything that is wrong with one row by itself."""
    if not isinstance(row, dict):
        yield "the whole row", f"an object with named fields belongs here, not {type(row).__name__}"
        return
    kind = format_of(row)
    if kind is None:
        known = "; ".join(", ".join(names) for names in FORMATS.values())
        yield "the whole row", f"no format fits: give the fields {known}"
        return
    for name in NEEDED[kind]:
        if name not in row:
            yield name, "this field is missing"
    for name in row:
        own = kind == "question and answer" and "row_id" in row  # the lab's own table, which says more of a row
        if name not in FORMATS[kind] and name not in ALSO and not own:
            yield name, "this field is not known; remove it or rename it"
    if kind == "messages":
        yield from _chat(row["messages"], "messages", ("user", "assistant"))
        for at, message in enumerate(row["messages"] if isinstance(row["messages"], list) else []):
            if isinstance(message, dict) and isinstance(message.get("content"), str):
                yield from _marks(message["content"], f"messages.{at}.content")
    elif kind == "prompt and completion":
        yield from _pair(row)
    else:
        for name in FORMATS[kind]:
            if name in row:
                yield from _text(row[name], name, may_be_empty=name == "input")


def _marks(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Faults of a text's letters, without those of its emptiness."""
    yield from ((place, what) for place, what in _text(text, name, may_be_empty=True))


def _pair(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    ends = {"prompt": ("user", "user"), "completion": ("assistant", "assistant")}
    present = [name for name in ends if name in row]
    if {type(row[name]) for name in present} == {str, list}:
        yield "completion", "prompt and completion are of one kind: both texts, or both lists of messages"
    for name in present:
        value = row[name]
        if isinstance(value, str):
            yield from _text(value, name)
            continue
        if not isinstance(value, list):
            yield name, f"a text or a list of messages belongs here, not {type(value).__name__}"
            continue
        yield from _chat(value, name, ends[name])
        for at, message in enumerate(value):
            if isinstance(message, dict) and isinstance(message.get("content"), str):
                yield from _marks(message["content"], f"{name}.{at}.content")


def as_chat(row: dict[str, Any]) -> list[dict[str, str]]:
    """A sound row as the chat that a training would see."""
    kind = format_of(row)
    if kind == "messages":
        return list(row["messages"])
    if kind == "prompt and completion":
        if isinstance(row["prompt"], str):
            pair = (("user", row["prompt"]), ("assistant", row["completion"]))
            return [{"role": role, "content": text} for role, text in pair]
        return [*row["prompt"], *row["completion"]]
    if kind == "question and answer":
        return [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["answer"]}]
    asked = "\n\n".join(part for part in (row["instruction"], row.get("input", "")) if part)
    system = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    return [*system, {"role": "user", "content": asked}, {"role": "assistant", "content": row["output"]}]


def chat_mark(chat: Sequence[dict[str, str]]) -> str:
    """What two chats have in common that differ in white space only."""
    return json.dumps([[m["role"], " ".join(m["content"].split())] for m in chat], ensure_ascii=False)


def copy_of(row: dict[str, Any]) -> str | None:
    """The id of the row that a row says it is once more, as over-sampling makes them (a table holds it as JSON)."""
    generator = row.get("generator")
    if isinstance(generator, str):
        try:
            generator = json.loads(generator)
        except ValueError:
            return None
    name = generator.get("copy_of") if isinstance(generator, dict) else None
    return str(name) if name else None


def repeats(row: dict[str, Any], mark: str, seen: dict[str, str | None]) -> bool:
    """Whether a row says what an earlier one said, and neither is marked as the other's copy.

    `seen` is kept from row to row: for each mark of a chat the id whose copies have come so far, None once a row that
    is no copy has. Rows are in any order, so a copy may stand before the row that it copies.
    """
    copied = copy_of(row)
    if copied is not None:
        seen.setdefault(mark, copied)
        return False
    again = mark in seen and (seen[mark] is None or seen[mark] != row.get("id"))
    seen[mark] = None
    return again


def read_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a file in which `check_file` finds no fault, with their lines."""
    return list(_kept_rows(path, Found(path.name)))


def _kept_rows(path: Path, found: Found) -> Iterator[tuple[int, Any]]:
    """The rows of a file, without those that a table marks as not kept."""
    left = 0
    for line, row in _all_rows(path, found):
        if isinstance(row, dict) and str(row.get("kept")) == "False":
            left += 1
            continue
        yield line, row
    if left:
        found.notes.append(f"{left} rows are marked as not kept; they were left out.")


def _all_rows(path: Path, found: Found) -> Iterator[tuple[int, Any]]:
    if not path.is_file():
        raise LabError(f"{path} does not exist: give a {KINDS} file.")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise LabError(f"{path.name} has an unknown extension: give one of {', '.join(SUFFIXES)}.")
    if suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    text = _text_of(path, found)
    if suffix == ".csv":
        yield from _csv_rows(path.name, text, found)
    else:
        yield from _json_list(path.name, text) if suffix == ".json" else _json_lines(text, found)


def check_file(path: Path, tokenizer: Any = None, longest: int | None = None) -> Found:
    """Every fault of a file of rows; a LabError where it cannot be read at all.

    With a `tokenizer`, rows of more than `longest` tokens (in its chat template) are faults too.
    """
    found = Found(path.name)
    first_line: dict[str, int] = {}
    seen: dict[str, str | None] = {}
    again = 0
    for line, row in _kept_rows(path, found):
        found.rows += 1
        faults = [Fault(line, name, what) for name, what in row_faults(row)]
        found.faults += faults
        if faults:
            continue
        kind = str(format_of(row))
        found.formats[kind] = found.formats.get(kind, 0) + 1
        chat = as_chat(row)
        mark = chat_mark(chat)
        if mark in first_line and str(row.get("source")).startswith("replay"):
            again += 1  # general skills are rehearsed: a greeting may come twice
        elif repeats(row, mark, seen):
            found.faults.append(Fault(line, FORMATS[kind][0], f"the same row stands on line {first_line[mark]}"))
        first_line.setdefault(mark, line)
        if tokenizer is not None and longest is not None:
            count = len(tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False))
            if count > longest:
                what = f"{count} tokens are more than the {longest} that a training row may have"
                found.faults.append(Fault(line, FORMATS[kind][-1], what))
    if again:
        found.notes.append(f"{again} rows of general skills say the same as an earlier one.")
    if not found.rows and not found.faults:
        raise LabError(f"{path.name} has no rows: give a file with rows.")
    if len(found.formats) > 1:
        found.notes.append(f"The rows are of {len(found.formats)} formats: {', '.join(found.formats)}.")
    found.faults.sort(key=lambda fault: fault.line)
    return found


def tokenizer_at_hand(location: str) -> Any:
    """The tokenizer of a model on this machine; None without transformers or without the model's files."""
    try:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(location, local_files_only=True)
    except (ImportError, OSError, ValueError):
        return None
    return tokenizer if getattr(tokenizer, "chat_template", None) else None
