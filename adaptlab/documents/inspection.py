"""What a document is made of and what looks broken in it, before anything is generated from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from adaptlab.documents.chunking import FENCE, IMAGE, SEPARATOR_ROW, chunks, lines_of, running_heads, sections
from adaptlab.documents.furniture import Line
from adaptlab.schemas import Chunk, Section

KINDS = ("heading", "prose", "list", "table", "code", "furniture", "image")
LIST_ITEM = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s+\S")
MOJIBAKE = re.compile(r"(?:[ÃÂ][\u0080-\u00bf]|â€[\u0080-\uffff]|Ã[ƒ„…†‡‰Š‹Œ™š›œžŸ¡-¿])")
ODD_LETTERS = re.compile(
    "[\ufffd\u00ad\u200b\u200c\u200d\u2060\ufeff\ue000-\uf8ff\ufb00-\ufb06\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)
HYPHEN_END = re.compile(r"[^\W\d_]{2,}-$")
WIDE_BLANKS = re.compile(r"\S {3,}\S")
PARAGRAPH_CHARS = 80  # a shorter paragraph may well stand twice


@dataclass(frozen=True)
class Stretch:
    """Neighbouring lines of one kind, with their offsets."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class Table:
    """A table: its first line (from 1), offsets, and its size without the rule under the head."""

    line: int
    start: int
    end: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Problem:
    """Something that looks broken: what, where, an excerpt, and what to do about it."""

    kind: str
    line: int
    start: int
    end: int
    excerpt: str
    advice: str


@dataclass(frozen=True)
class Inspection:
    """A whole document, seen from the outside; offsets count characters of its text."""

    characters: int
    words: int
    stretches: list[Stretch]
    sections: list[Section]
    tables: list[Table]
    chunks: list[Chunk]
    chunk_size: int
    heads: dict[str, int]
    furniture: list[Stretch]
    problems: list[Problem]

    def shares(self) -> dict[str, float]:
        """Which share of the characters each kind of line has."""
        total = sum(item.end - item.start for item in self.stretches) or 1
        return {k: sum(i.end - i.start for i in self.stretches if i.kind == k) / total for k in KINDS}

    def sizes(self) -> dict[str, float]:
        """Characters of the chunks: least, median, most, and how many are under a quarter of the size or over it."""
        found = sorted(len(chunk.text) for chunk in self.chunks) or [0]
        return {
            "chunks": len(self.chunks),
            "least": found[0],
            "median": median(found),
            "most": found[-1],
            "under a quarter": sum(size < self.chunk_size / 4 for size in found),
            "over the size": sum(size > self.chunk_size for size in found),
        }

    def counts(self) -> dict[str, int]:
        """How many problems there are of each kind."""
        return dict(Counter(problem.kind for problem in self.problems))


def inspect(text: str, size: int = 800, overlap: int = 0) -> Inspection:
    """Look at a text: its sections, tables, chunks of `size` characters, page furniture, and what looks broken."""
    lines = lines_of(text)
    kinds = _kinds(text, lines)
    heads = running_heads(text)
    counted = Counter(line.text for line in lines if line.kind == "noise" and line.text in heads)
    stretches = _stretches(lines, kinds)
    tables = _tables(text, lines, kinds)
    return Inspection(
        characters=len(text),
        words=len(text.split()),
        stretches=stretches,
        sections=sections(text),
        tables=tables,
        chunks=chunks(text, size, overlap),
        chunk_size=size,
        heads=dict(counted.most_common()),
        furniture=[item for item in stretches if item.kind == "furniture"],
        problems=sorted(_problems(text, lines, kinds), key=lambda problem: problem.start),
    )


def _kinds(text: str, lines: Sequence[Line]) -> list[str]:
    """What each line is: one of `KINDS`, or blank."""
    found, fenced, item = [], False, False
    for line in lines:
        raw = text[line.start : line.end]
        fence = line.kind == "text" and bool(FENCE.match(raw))
        item = line.kind == "text" and (bool(LIST_ITEM.match(raw)) or (item and raw[:1].isspace()))
        if fence or fenced:
            found.append("code")
        elif line.kind == "noise":
            found.append("image" if IMAGE.match(raw) and "<!-- page" not in raw else "furniture")
        else:
            found.append({"text": "list" if item else "prose"}.get(line.kind, line.kind))
        fenced ^= fence
    return found


def _stretches(lines: Sequence[Line], kinds: Sequence[str]) -> list[Stretch]:
    """Runs of lines of one kind; blank lines belong to no run, but do not end one."""
    found: list[Stretch] = []
    for line, kind in zip(lines, kinds, strict=True):
        if kind == "blank":
            continue
        if found and found[-1].kind == kind:
            found[-1] = Stretch(kind, found[-1].start, line.end)
        else:
            found.append(Stretch(kind, line.start, line.end))
    return found


def cells(row: str) -> int:
    """How many cells a table row has; escaped pipes part none."""
    return len(re.split(r"(?<!\\)\|", row.strip().strip("|")))


def _runs(kinds: Sequence[str], wanted: str) -> Iterator[tuple[int, int]]:
    """Where runs of neighbouring lines of one kind begin and end."""
    start = None
    for at, kind in enumerate([*kinds, ""]):
        if kind == wanted and start is None:
            start = at
        elif kind != wanted and start is not None:
            yield start, at
            start = None


def _tables(text: str, lines: Sequence[Line], kinds: Sequence[str]) -> list[Table]:
    """All tables that are no contents lists."""
    found = []
    for first, end in _runs(kinds, "table"):
        rows = [text[line.start : line.end] for line in lines[first:end]]
        ruled = len(rows) > 1 and bool(SEPARATOR_ROW.match(rows[1]))
        found.append(Table(first + 1, lines[first].start, lines[end - 1].end, len(rows) - ruled, cells(rows[0])))
    return found


# ------------------------------------------------------------------------------------------------------- problems


def _problems(text: str, lines: Sequence[Line], kinds: Sequence[str]) -> Iterator[Problem]:
    yield from _broken_tables(text, lines, kinds)
    yield from _open_fence(text, lines)
    yield from _repeated(text, lines, kinds)
    yield from _empty_sections(text, lines, kinds)
    yield from _torn(text, lines, kinds)
    for at, (line, kind) in enumerate(zip(lines, kinds, strict=True)):
        if kind in ("prose", "list", "table"):
            yield from _odd_line(text, lines, kinds, at, line)


def _problem(text: str, number: int, line: Line, kind: str, advice: str, start: int | None = None) -> Problem:
    """A problem in a line; the excerpt begins at `start`."""
    begin = line.start if start is None else start
    excerpt = " ".join(text[begin : min(line.end, begin + 90)].split())
    return Problem(kind, number, line.start, line.end, excerpt, advice)


def _broken_tables(text: str, lines: Sequence[Line], kinds: Sequence[str]) -> Iterator[Problem]:
    """Rows with another number of cells than their head, rows without a closing bar, tables without a rule."""
    for first, end in _runs(kinds, "table"):
        rows = [text[line.start : line.end] for line in lines[first:end]]
        wanted = cells(rows[0])
        if end - first == 1 or not SEPARATOR_ROW.match(rows[1]):
            advice = "a table needs a head and a rule of hyphens under it: add them, or make it text"
            yield _problem(text, first + 1, lines[first], "table without a head", advice)
        for at, row in enumerate(rows):
            if cells(row) != wanted or not row.rstrip().endswith("|"):
                said = f"its head has {wanted} cells and this row {cells(row)}: repair the row"
                yield _problem(text, first + at + 1, lines[first + at], "broken table row", said)


def _open_fence(text: str, lines: Sequence[Line]) -> Iterator[Problem]:
    """A code fence that is never closed turns the rest of the document into code."""
    fences = [at for at, line in enumerate(lines) if line.kind == "text" and FENCE.match(line.text)]
    if len(fences) % 2:
        at = fences[-1]
        yield _problem(text, at + 1, lines[at], "unclosed code fence", "close it: no heading below it is seen")


def _repeated(text: str, lines: Sequence[Line], kinds: Sequence[str]) -> Iterator[Problem]:
    """Paragraphs that stand in the document more than once."""
    seen: dict[str, int] = {}
    for first, end in _runs(["prose" if kind == "list" else kind for kind in kinds], "prose"):
        plain = " ".join(text[lines[first].start : lines[end - 1].end].split()).casefold()
        if len(plain) < PARAGRAPH_CHARS:
            continue
        if plain in seen:
            said = f"it stands in line {seen[plain]} already: keep one, or retrieval finds the same passage twice"
            yield _problem(text, first + 1, lines[first], "repeated paragraph", said)
        seen.setdefault(plain, first + 1)


def _empty_sections(text: str, lines: Sequence[Line], kinds: Sequence[str]) -> Iterator[Problem]:
    """Headings with nothing under them, not even a lower heading."""
    heads = [at for at, kind in enumerate(kinds) if kind == "heading"]
    for at, after in zip(heads, [*heads[1:], len(lines)], strict=True):
        lower = after < len(lines) and lines[after].level > lines[at].level
        if not lower and all(kind in ("blank", "image", "furniture") for kind in kinds[at + 1 : after]):
            if "furniture" not in kinds[at + 1 : after]:
                yield _problem(
                    text, at + 1, lines[at], "empty section", "no text follows: remove it, or see what got lost"
                )


def _torn(text: str, lines: Sequence[Line], kinds: Sequence[str]) -> Iterator[Problem]:
    """Paragraphs that stop within a sentence which goes on after page furniture, an image or a heading."""
    for at, (line, kind) in enumerate(zip(lines, kinds, strict=True)):
        raw = text[line.start : line.end].rstrip()
        if kind != "prose" or len(raw) < 40 or not (raw[-1].islower() or raw.endswith(",")):
            continue
        after = next((i for i in range(at + 1, len(lines)) if kinds[i] not in ("blank", "furniture", "image")), None)
        if after is None or after == at + 1 or kinds[after] != "prose":
            continue
        if text[lines[after].start : lines[after].end].lstrip()[:1].islower():
            yield _problem(
                text,
                at + 1,
                line,
                "torn paragraph",
                f"it goes on in line {after + 1}: join them",
                max(line.start, line.end - 90),
            )


def _odd_line(text: str, lines: Sequence[Line], kinds: Sequence[str], at: int, line: Line) -> Iterator[Problem]:
    """Hyphens at line ends, odd letters, and blanks that a justified page left."""
    raw = text[line.start : line.end]
    follows = at + 1 < len(lines) and kinds[at + 1] == kinds[at] and text[lines[at + 1].start :].lstrip()[:1].islower()
    if HYPHEN_END.search(raw.rstrip()) and follows:
        said = "a word is parted at the line end: put it together"
        yield _problem(text, at + 1, line, "hyphen at a line end", said, max(line.start, line.end - 60))
    if found := MOJIBAKE.search(raw):
        said = "UTF-8 was once read as another encoding: convert the file again"
        yield _problem(text, at + 1, line, "wrong encoding", said, max(line.start, line.start + found.start() - 20))
    if found := ODD_LETTERS.search(raw):
        said = f"the letter U+{ord(found[0]):04X} is invisible, private or a lost one: replace it"
        yield _problem(text, at + 1, line, "odd letter", said, max(line.start, line.start + found.start() - 20))
    if kinds[at] != "table" and WIDE_BLANKS.search(raw.strip().lstrip(": ")):
        said = "three blanks and more between words are left from a justified page: make them one"
        yield _problem(text, at + 1, line, "wide blanks", said)
