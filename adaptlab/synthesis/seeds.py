"""Seed passages for a flow, with every held-out entry cut out of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adaptlab import documents
from adaptlab.schemas import Chunk, Fact, Section
from config import LabError

if TYPE_CHECKING:
    import pandas as pd

Span = tuple[int, int]


def seed_rows(
    document: str, chunks: Sequence[Chunk], facts: Sequence[Fact] = (), *, table_rows: int | None = None
) -> pd.DataFrame:
    """One row a chunk (chunk_id, title, document, masked). `attrs["dropped"]` lists the chunks with nothing left.

    Held-out facts name what is cut: the whole section of their entry, or in a table the entry's row. `masked` counts
    the characters cut out of a chunk. A chunk that continues a table gets the table's head back. `table_rows` deals a
    longer table out to several seed rows, each under the table's head and without a title: a small teacher confuses
    the entries of a page, and takes the heading over a single row for the entry's name.
    """
    import pandas as pd

    spans = held_out_spans(document, facts)
    rows, dropped = [], []
    for chunk in chunks:
        text, masked = _without(document, chunk, spans)
        head = documents.header_of(chunk, document)
        if not _has_content(text):
            dropped.append(chunk.id)
            continue
        parts = _dealt(f"{head}\n{text}" if head else text, table_rows)
        for number, passage in enumerate(parts, 1):
            name = chunk.id if len(parts) == 1 else f"{chunk.id}-{number}"
            title = chunk.title if len(parts) == 1 else ""
            rows.append({"chunk_id": name, "title": title, "document": passage, "masked": masked})
    frame = pd.DataFrame(rows, columns=["chunk_id", "title", "document", "masked"])
    frame.attrs["dropped"] = dropped
    return frame


def _dealt(passage: str, table_rows: int | None) -> list[str]:
    """A passage whose one table has more than `table_rows` rows as several, with the words around it in each."""
    lines = passage.split("\n")
    at = [i for i, line in enumerate(lines) if line.lstrip().startswith("|")]
    whole = not at or at[-1] - at[0] + 1 != len(at) or len(at) < 3 or not _is_separator(lines[at[1]])
    if table_rows is None or whole or len(at) - 2 <= table_rows:
        return [passage]
    first, last = at[2], at[-1] + 1
    return [
        "\n".join([*lines[:first], *lines[start : min(start + table_rows, last)], *lines[last:]])
        for start in range(first, last, table_rows)
    ]


def held_out_spans(document: str, facts: Sequence[Fact]) -> list[Span]:
    """The merged offsets of everything that stands in a held-out entry."""
    held_out = [fact for fact in facts if fact.split == "held_out"]
    if not held_out:
        return []
    sections = documents.sections(document)
    found = sorted({_table_row(document, f) if f.form == "table" else _entry(sections, f) for f in held_out})
    merged: list[Span] = []
    for start, end in found:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _table_row(document: str, fact: Fact) -> Span:
    """The line of a table in which the fact stands, with its line break."""
    start = document.rfind("\n", 0, fact.start) + 1
    end = document.find("\n", fact.start)
    return start, len(document) if end < 0 else end + 1


def _entry(sections: Sequence[Section], fact: Fact) -> Span:
    """The section of the fact's entry, its subsections included."""
    inner = next((section for section in sections if section.start <= fact.start < section.end), None)
    title = fact.section.split(" > ")[-1]
    if inner is None or title not in inner.path:
        raise LabError(f"Fact {fact.id}: it does not stand under the heading {fact.section!r}: correct its section.")
    path = inner.path[: inner.path.index(title) + 1]
    first = max(s.start for s in sections if s.path == path and s.start <= fact.start)
    after = (s.start for s in sections if s.start > first and s.path[: len(path)] != path)
    repeated = (s.start for s in sections if s.start > first and s.path == path)
    ends = [*after, *repeated]
    return first, min(ends) if ends else max(section.end for section in sections)


def _without(document: str, chunk: Chunk, spans: Sequence[Span]) -> tuple[str, int]:
    """The chunk's text without the spans, and how many characters that cost."""
    kept, position, masked = [], chunk.start, 0
    for start, end in spans:
        start, end = max(start, chunk.start), min(end, chunk.end)
        if start < end:
            kept.append(document[position:start])
            position, masked = end, masked + end - start
    kept.append(document[position : chunk.end])
    return "".join(kept).strip(), masked


def _has_content(text: str) -> bool:
    """Whether anything but headings and the heads of tables is left."""
    lines = [line for line in text.split("\n") if line.strip() and not documents.HEADING.match(line)]
    separators = {i for i, line in enumerate(lines) if line.lstrip().startswith("|") and _is_separator(line)}
    heads = separators | {i - 1 for i in separators}
    return any(re.search(r"\w", line) for i, line in enumerate(lines) if i not in heads)


def _is_separator(line: str) -> bool:
    return bool(documents.SEPARATOR_ROW.match(line)) and not re.search(r"\w", line)
