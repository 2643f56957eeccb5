"""Tables in a PDF without ruled lines: neighbouring rows whose cells stand below each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adaptlab.documents.pdf import Row

Cell = tuple[float, float, str]  # where it begins, where it about ends, its words
GAP = 1.4  # times the size: so much empty room parts two cells
LONGEST_CELL = 90
NARROW, WIDE = "iljtf.,;:'|!()[]/ ", "mwMW@%"


def split(rows: Sequence[Row]) -> list[Row | str]:
    """The lines in order, runs of table rows replaced by the Markdown of their table."""
    cells = [_cells(row) for row in rows]
    result: list[Row | str] = []
    at = 0
    while at < len(rows):
        end = _table_end(cells, at)
        if end > at:
            result.append(_markdown(cells[at:end]))
            at = end
        else:
            result.append(rows[at])
            at += 1
    return result


def _width(text: str, size: float) -> float:
    """About how wide a text is set, in points; a file need not tell."""
    narrow = sum(letter in NARROW for letter in text)
    wide = sum(letter in WIDE or letter.isupper() for letter in text)
    return size * (0.28 * narrow + 0.7 * wide + 0.5 * (len(text) - narrow - wide))


def _cells(row: Row) -> list[Cell]:
    """The row's pieces, joined where no empty room parts them."""
    found: list[Cell] = []
    for piece in row.pieces:
        text = piece.text.strip()
        end = piece.x + _width(piece.text.rstrip(), piece.size)
        if found and piece.x - found[-1][1] < GAP * piece.size:
            start, _, before = found[-1]
            space = " " if piece.text[:1].isspace() else ""
            found[-1] = (start, max(end, found[-1][1]), f"{before}{space}{text}")
        else:
            found.append((piece.x, end, text))
    return found


def _table_end(cells: Sequence[list[Cell]], start: int) -> int:
    """Where the table that begins at `start` ends; `start` itself where none does."""
    columns = len(cells[start])
    if columns < 2 or any(len(cell[2]) > LONGEST_CELL for cell in cells[start]):
        return start
    end = start + 1
    while end < len(cells) and len(cells[end]) == columns and _aligned(cells[start], cells[end]):
        end += 1
    return end if end - start >= (3 if columns == 2 else 2) else start


def _aligned(one: list[Cell], other: list[Cell]) -> bool:
    """Whether each cell stands below its like: left, right or centre within two letters, or one over the other."""
    for (a, b, _), (c, d, text) in zip(one, other, strict=True):
        overlap = min(b, d) - max(a, c)
        if overlap <= 0 and abs(a - c) > 12 and abs(b - d) > 12:
            return False
        if len(text) > LONGEST_CELL:
            return False
    return True


def _markdown(rows: Sequence[list[Cell]]) -> str:
    """A Markdown table whose first row is its head."""
    lines = ["| " + " | ".join(cell[2].replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
