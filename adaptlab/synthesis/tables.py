"""Whether an answer about a Markdown table states the cell that its question names, found in code.

A small teacher names row and column rightly and then reads a neighbouring cell; asked again it errs alike, and the
value does stand in the passage, so that no other check notices. Where a row and a column are not both named, or the
answer states no cell at all, nothing is decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adaptlab import documents
from adaptlab.synthesis.wording import attribute_of, name_of, plain, stands_in, value_of

OTHER_COLUMN = "the cell of another column"
OTHER_ROW = "the cell of another row"
OTHER_CELL = "another cell of the table"
_CELL_END = re.compile(r"(?<!\\)\|")
_UNIT = re.compile(r"\s*\([^()]*\)\s*$")
Place = tuple[int, int]  # row and column, from 0


@dataclass(frozen=True)
class Table:
    """A Markdown table: the names of its columns, and its rows, each cell a plain text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def cell(self, place: Place) -> str:
        """The text of a cell."""
        return self.rows[place[0]][place[1]]

    def places(self) -> Iterator[Place]:
        """All cells, row by row."""
        return ((at, column) for at, cells in enumerate(self.rows) for column in range(len(cells)))


def tables_of(text: str) -> list[Table]:
    """The Markdown tables of a text. A list of "Name: | value" lines has no head: its first line counts as a row."""
    found: list[Table] = []
    lines = text.split("\n")
    for at in range(1, len(lines)):
        if _is_row(lines[at - 1]) and _is_row(lines[at]) and documents.SEPARATOR_ROW.match(lines[at]):
            head = _cells(lines[at - 1])
            rows = [tuple(_cells(line)) for line in _run(lines[at + 1 :])]
            pairs = len(head) == 2 and lines[at - 1].split("|")[1].rstrip().endswith(":")
            rows = [tuple(head), *rows] if pairs else rows
            found.append(Table(("", "") if pairs else tuple(head), tuple(rows)))
    return found


def asked_cells(subject: str, question: str, answer: str, table: Table) -> list[Place]:
    """The cells that a row of question and answer is about; none unless both a row and a column are named.

    The subject "Entity: Attribute" names them, or else the question does, and for the column at last the answer. Where
    several could be meant, all come back. A table with one column beside its names needs only the row.
    """
    columns = _columns(subject, question, answer, table)
    rows = _rows(subject, question, table)
    return [(row, column) for row in rows for column in columns if column < len(table.rows[row])]


def other_cell(subject: str, question: str, answer: str, passage: str) -> str | None:
    """Which wrong cell an answer states; "" where it states the one that is asked for, None where nothing is decided.

    A right reading in any table of the passage counts before a wrong one in another.
    """
    outside = "\n".join(line for line in passage.split("\n") if not _is_row(line))
    verdicts = [_read(subject, question, answer, table, outside) for table in tables_of(passage)]
    decided = [verdict for verdict in verdicts if verdict is not None]
    return min(decided, key=len) if decided else None


def answered(subject: str, question: str, passage: str) -> bool:
    """Whether a table of the passage holds what is asked for."""
    asked = ((table, asked_cells(subject, question, "", table)) for table in tables_of(passage))
    return any(re.search(r"\w", table.cell(place)) for table, places in asked for place in places)


# ---------------------------------------------------------------------------------------------------- the parts


def _read(subject: str, question: str, answer: str, table: Table, outside: str) -> str | None:
    """The verdict of `other_cell` from one table; `outside` is the passage without its tables."""
    asked = asked_cells(subject, question, answer, table)
    if not asked:
        return None
    said = _value(subject, answer, {table.rows[row][0] for row, _ in asked})
    if any(_agree(said, table.cell(place)) for place in asked):
        return ""
    rows, columns = {row for row, _ in asked}, {column for _, column in asked}
    stated = [place for place in table.places() if place not in asked and _states(said, table.cell(place), outside)]
    if any(row in rows for row, _ in stated):
        return OTHER_COLUMN
    if any(column in columns for _, column in stated):
        return OTHER_ROW
    return OTHER_CELL if stated else None


def _value(subject: str, answer: str, names: set[str]) -> str:
    """What the answer states; a sentence of its own without the row's name, which is no value."""
    said = plain(value_of(subject, answer)).rstrip(".")
    for name in sorted(name for name in names if re.search(r"[^\W\d]", name) and name != said):
        said = " ".join(re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", " ", said).split())
    return said


def _agree(said: str, cell: str) -> bool:
    """Whether one of both holds the other as a whole: "5" and "5 gp", or "14" and "14 (11)"."""
    return stands_in(cell, said) or stands_in(said, cell)


def _states(said: str, cell: str, outside: str) -> bool:
    """Whether the answer is that cell; a part of it, or more than it, counts where only the table says so."""
    if said == cell:
        return bool(cell)
    return bool(re.search(r"\d", cell)) and _agree(said, cell) and not stands_in(said, outside)


def _columns(subject: str, question: str, answer: str, table: Table) -> list[int]:
    """The columns that could be meant: the subject's and the question's, else the answer's."""
    if len(table.head) == 2:
        return [1]
    attribute = plain(attribute_of(subject)).rstrip(".")
    heads = {column: head for column, head in enumerate(table.head) if column and head}
    by_subject = [column for column, head in heads.items() if attribute and attribute in (head, _UNIT.sub("", head))]
    by_question = _named(heads, question)
    return sorted({*by_subject, *by_question}) or _named(heads, answer)


def _rows(subject: str, question: str, table: Table) -> list[int]:
    """The rows that could be meant: the subject's, else those whose first cell the question names.

    A number there names a row only behind its column's name: "level 3".
    """
    name = plain(name_of(subject)).rstrip(".:")
    same = [at for at, cells in enumerate(table.rows) if name and name in [*cells[:2], _UNIT.sub("", cells[0])]]
    if same:
        return same
    keys = {at: cells[0] for at, cells in enumerate(table.rows) if cells and cells[0]}
    worded = {at: key if re.search(r"[^\W\d]", key) else f"{table.head[0]} {key}".strip() for at, key in keys.items()}
    return _named({at: key for at, key in worded.items() if re.search(r"[^\W\d]", key)}, question)


def _named(names: dict[int, str], text: str) -> list[int]:
    """Which of the names stand in the text, less those that stand there only as a part of a longer one."""
    found = {at: name for at, name in names.items() if stands_in(name, text) or stands_in(_UNIT.sub("", name), text)}
    rest = plain(text)
    kept: list[int] = []
    for at, name in sorted(found.items(), key=lambda item: -len(item[1])):
        short = name if stands_in(name, text) else _UNIT.sub("", name)
        if stands_in(short, rest) or any(found[other] == name for other in kept):
            kept.append(at)
            rest = rest.replace(short, " # ")
    return sorted(kept)


def _run(lines: Sequence[str]) -> Iterator[str]:
    """The lines of a table after its head, without lines of dashes."""
    for line in lines:
        if not _is_row(line):
            return
        if re.search(r"\w", line):
            yield line


def _is_row(line: str) -> bool:
    return line.lstrip().startswith("|")


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [plain(cell.replace("\\|", " ")).rstrip(".:") for cell in _CELL_END.split(inner)]
