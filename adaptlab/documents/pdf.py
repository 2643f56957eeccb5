"""PDF to Markdown by what pypdf tells of each piece of text: where it stands, how large it is, and in which font.

Larger or bold lines become headings, rows whose cells stand below each other become tables, lines become paragraphs,
hyphens at line ends are taken out, and what repeats at the top or foot of the pages becomes a comment. It cannot see
ruled lines, several columns inside a table cell, or a picture of text.
"""

from __future__ import annotations

import io
import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from adaptlab.documents import pdf_tables
from config import LabError

MOST_PAGES = 5_000
TEXT_PER_PAGE = 20  # fewer characters a page than this, over all pages, are a scan without its text
EDGE_LINES = 2  # so many lines at the top and the foot of a page may be running heads
EDGE_SHARE = 0.3  # of the pages must carry a line for it to be one
HEADING_SCALE = 1.12  # times the size of the text
HEADING_CHARS = 150
PARAGRAPH_GAP = 1.35  # times the usual distance of lines
BULLET = re.compile(r"^\s*[•▪‣◦●■–]\s*")
LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "ft", "ﬆ": "st"})
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
LEADERS = re.compile(r"(?:\.[ ]?){5,}\s*\d*\s*$")
ENDS = re.compile(r"[.!?:;][\"')\]”’]*$")


@dataclass(frozen=True)
class Piece:
    """Text as one operator of a page shows it; lengths in points, y from the foot of the page."""

    text: str
    x: float
    y: float
    size: float
    bold: bool


@dataclass
class Row:
    """The pieces of one visual line of a page."""

    page: int
    y: float
    pieces: list[Piece] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The line's words."""
        return " ".join("".join(piece.text for piece in self.pieces).split())

    @property
    def size(self) -> float:
        """The size of most of its characters, to half a point."""
        sizes: Counter[float] = Counter()
        for piece in self.pieces:
            sizes[round(piece.size * 2) / 2] += len(piece.text.strip())
        return sizes.most_common(1)[0][0]

    @property
    def x(self) -> float:
        """Where it begins."""
        return min(piece.x for piece in self.pieces)

    @property
    def bold(self) -> bool:
        """Whether all of it is bold."""
        return all(piece.bold for piece in self.pieces if piece.text.strip())


def to_markdown(data: bytes, name: str) -> tuple[str, list[str]]:
    """The Markdown of a PDF, and notes on what was lost; a `LabError` for one that cannot be read or has no text."""
    pages = _pages(data, name)
    rows = [row for page in pages for row in page]
    if not pages:
        raise LabError(f"The document {name} is a PDF without pages: save it again.")
    if sum(len(row.text) for row in rows) < TEXT_PER_PAGE * len(pages):
        raise LabError(
            f"The document {name} is a PDF of {len(pages)} pages with hardly any text, so its pages are scans: "
            "run text recognition on it first (for example ocrmypdf), then try again."
        )
    shape = Shape.of(rows)
    heads = Heads.of(pages, shape.size)
    blocks: list[str] = []
    before: list[Row] = []
    for number, page in enumerate(pages, 1):
        body, edges = _split_edges(page, number, heads)
        made = shape.blocks(body)
        if made and blocks and _torn(before, body):  # the words of a paragraph stay together, before the page's mark
            made[0] = f"{blocks.pop()}{_seam(before[-1])}{made[0]}"
        blocks += [_comment(number, edges), *made]
        before = body or before
    text = "\n\n".join(block for block in blocks if block)
    return _unhyphenated(text) + "\n", [f"{name}: tables without aligned cells and images are lost."]


# ---------------------------------------------------------------------------------------------------------- pages


def _pages(data: bytes, name: str) -> list[list[Row]]:
    """The visual lines of each page, in the order in which the file shows them."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what cannot be read is told below, in one sentence
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise LabError(f"The document {name} is an encrypted PDF: save a copy without its password and use that.")
        if len(reader.pages) > MOST_PAGES:
            raise LabError(f"The document {name} has {len(reader.pages)} pages: split it, {MOST_PAGES} are the most.")
        return [_rows(page, number) for number, page in enumerate(reader.pages, 1)]
    except DependencyError as error:
        raise LabError(f"The document {name} is an encrypted PDF: save a copy without its password.") from error
    except (PyPdfError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        if isinstance(error, LabError):
            raise
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise LabError(f"The document {name} is a damaged PDF ({said}): open it and save it again.") from error


def _rows(page: Any, number: int) -> list[Row]:
    """The lines of one page."""
    rows: list[Row] = []

    def seen(text: str, outer: Any, matrix: Any, font: Any, size: Any) -> None:
        scale = abs(matrix[3] or matrix[1] or 1) * abs(outer[3] or outer[1] or 1)
        points = abs(float(size or 0)) * scale or 1.0
        x = matrix[4] * outer[0] + matrix[5] * outer[2] + outer[4]
        y = matrix[4] * outer[1] + matrix[5] * outer[3] + outer[5]
        bold = bool(re.search(r"bold|black|heavy|CMBX", str((font or {}).get("/BaseFont", "")), re.IGNORECASE))
        for index, part in enumerate(CONTROLS.sub("", text.translate(LIGATURES)).split("\n")):
            if part.strip():
                _place(rows, Piece(part, float(x), float(y) - 1.2 * points * index, points, bold), number)

    page.extract_text(visitor_text=seen)
    return rows


def _place(rows: list[Row], piece: Piece, page: int) -> None:
    """Add a piece to the line that it goes on, or begin a line."""
    if rows and abs(rows[-1].y - piece.y) <= 0.45 * max(piece.size, rows[-1].pieces[-1].size):
        rows[-1].pieces.append(piece)
    else:
        rows.append(Row(page, piece.y, [piece]))


def _edge_rows(page: Sequence[Row]) -> list[Row]:
    """The lines that stand highest and lowest on a page."""
    ordered = sorted(page, key=lambda row: -row.y)
    return [*ordered[:EDGE_LINES], *ordered[max(EDGE_LINES, len(ordered) - EDGE_LINES) :]]


def _furniture_key(row: Row) -> str:
    """A line without its numbers, so that the heads of all pages are alike."""
    return re.sub(r"\d+|\b[ivxlc]+\b", "#", row.text.casefold())


@dataclass(frozen=True)
class Heads:
    """The running heads of a file: lines that return without their numbers, and how far page numbers are ahead."""

    keys: frozenset[str]
    ahead: int | None
    largest: float  # a line of this size is a heading, though it may begin with the page's number

    @classmethod
    def of(cls, pages: Sequence[Sequence[Row]], size: float) -> Heads:
        """What stands at the edge of at least three pages and of a good part of all."""
        least = max(3, EDGE_SHARE * len(pages))
        keys: Counter[str] = Counter()
        ahead: Counter[int] = Counter()
        for number, page in enumerate(pages, 1):
            edges = _edge_rows(page)
            keys.update({_furniture_key(row) for row in edges})
            ahead.update({found - number for row in edges for found in _outer_numbers(row)})
        common = ahead.most_common(1)
        return cls(
            frozenset(key for key, count in keys.items() if count >= least),
            common[0][0] if common and common[0][1] >= least else None,
            HEADING_SCALE * size,
        )

    def hold(self, row: Row, number: int) -> bool:
        """Whether a line at the edge of page `number` is page furniture."""
        return _furniture_key(row) in self.keys or (
            self.ahead is not None and number + self.ahead in _outer_numbers(row) and row.size < self.largest
        )


def _outer_numbers(row: Row) -> set[int]:
    """The numbers with which a line begins and ends."""
    return {int(found) for found in re.findall(r"^\d{1,4}\b|\b\d{1,4}$", row.text)}


def _split_edges(page: Sequence[Row], number: int, heads: Heads) -> tuple[list[Row], list[Row]]:
    """A page's lines without its running heads, and those."""
    edges = [row for row in _edge_rows(page) if heads.hold(row, number)]
    return [row for row in page if row not in edges], edges


def _comment(number: int, edges: Iterable[Row]) -> str:
    """The mark of a page with its running heads: a comment, which no chunk holds; nothing for a page without them."""
    said = re.sub(r"--+|[<>]", "-", " | ".join(row.text for row in edges))
    return f"<!-- page {number}: {said} -->" if said else ""


def _seam(row: Row) -> str:
    """What stands between a line and the one that goes on from it."""
    return "\n" if re.search(r"\w-$", row.text) else " "


def _torn(before: Sequence[Row], after: Sequence[Row]) -> bool:
    """Whether a paragraph goes on over the page: no end before it, and a small letter after it."""
    if not before or not after:
        return False
    last, first = before[-1].text, after[0].text
    return not ENDS.search(last) and first[:1].islower() and abs(before[-1].size - after[0].size) < 0.6


# --------------------------------------------------------------------------------------------------------- blocks


@dataclass(frozen=True)
class Shape:
    """What is usual in a document: the size of its text, its heading sizes from large to small, its line distance."""

    size: float
    headings: tuple[float, ...]
    leading: float

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Shape:
        """The shape of a whole document's lines."""
        weights: Counter[float] = Counter()
        for row in rows:
            weights[row.size] += len(row.text)
        size = weights.most_common(1)[0][0]
        larger = {row.size for row in rows if row.size >= HEADING_SCALE * size and _could_head(row)}
        steps = [one.y - two.y for one, two in zip(rows, rows[1:], strict=False) if one.size == two.size == size]
        near = [step for step in steps if 0 < step < 2.5 * size]
        return cls(size, tuple(sorted(larger, reverse=True)), median(near) if near else 1.2 * size)

    def blocks(self, rows: Sequence[Row]) -> list[str]:
        """The Markdown blocks of some lines: headings, tables, list items and paragraphs."""
        made: list[str] = []
        open_lines: list[Row] = []
        head: Row | None = None  # the heading line just before, which a long heading goes on from
        for item in pdf_tables.split(rows):
            if isinstance(item, str):
                made += [_paragraph(open_lines), item]
                open_lines, head = [], None
                continue
            level = self._level(item)
            if level or (open_lines and self._breaks(open_lines[-1], item)):
                made.append(_paragraph(open_lines))
                open_lines = []
            if level and head and head.size == item.size and 0 < head.y - item.y < 1.6 * item.size:
                made[-2:] = [f"{made[-2]} {item.text}"] if not made[-1] else [f"{made[-1]} {item.text}"]
            elif level:
                made.append(f"{'#' * level} {item.text}")
            else:
                open_lines.append(item)
            head = item if level else None
        return [block for block in [*made, _paragraph(open_lines)] if block]

    def _level(self, row: Row) -> int:
        """The level of a heading; 0 for a line that is none."""
        if not _could_head(row):
            return 0
        if row.size in self.headings:
            return min(self.headings.index(row.size) + 1, 5)
        return min(len(self.headings) + 1, 6) if row.bold and row.size >= self.size and len(row.text) <= 80 else 0

    def _breaks(self, before: Row, row: Row) -> bool:
        """Whether a paragraph ends between two lines."""
        if BULLET.match(row.text) or LEADERS.search(row.text) or LEADERS.search(before.text):
            return True
        step = before.y - row.y
        if before.page != row.page or step < 0:  # the next page or column
            return bool(ENDS.search(before.text)) or not row.text[:1].islower()
        if step > PARAGRAPH_GAP * max(self.leading, 1.1 * row.size) or abs(before.size - row.size) > 1.5:
            return True
        return row.x - before.x > 0.8 * row.size and bool(ENDS.search(before.text))


def _could_head(row: Row) -> bool:
    """Whether a line may be a heading: short, with letters, and no end of a sentence."""
    text = row.text
    if LEADERS.search(text):
        return False
    return len(text) <= HEADING_CHARS and bool(re.search(r"[^\W\d_]{2}", text)) and not re.search(r"[.,;]$", text)


def _paragraph(rows: Sequence[Row]) -> str:
    """Lines as one paragraph or list item; a line break stays where a hyphen ends the line, to be looked at later."""
    if not rows:
        return ""
    text, before = rows[0].text, rows[0]
    for row in rows[1:]:
        text += _seam(before) + row.text
        before = row
    text = BULLET.sub("- ", text) if BULLET.match(text) and not text.startswith("–") else text
    return re.sub(r"^(#+)(?=\s)", r"\\\1", text)


def _unhyphenated(text: str) -> str:
    """Words that a line end parted in one piece; the hyphen stays where the text has the word with it elsewhere."""
    whole = Counter(re.findall(r"\w+-\w+", text))

    def joined(match: re.Match[str]) -> str:
        first, second = match[1], match[2]
        return f"{first}-{second}" if whole[f"{first}-{second}"] or not second[:1].islower() else f"{first}{second}"

    return re.sub(r"(\w+)-\n(\w+)", joined, text)
