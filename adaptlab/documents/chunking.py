"""Texts become sections and chunks that keep their exact offsets into the text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from adaptlab.documents import furniture
from adaptlab.documents.furniture import Line
from adaptlab.schemas import Chunk, Hit, Section
from config import LabError

RUNNING_HEAD_REPEATS = 8  # a heading text that occurs more often is a running head of the pages
CAPITAL_HEAD_REPEATS = 3  # the same for a heading in capitals only, which is how running heads are mostly set
TINY = 200  # neighbouring sections shorter than this, under one parent, share a chunk
HEADING = re.compile(r"^(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
FENCE = re.compile(r"^[ \t]*(```|~~~)")
IMAGE = re.compile(r"^\s*(<!--.*?-->|!\[[^\]]*\]\([^)]*\))\s*$")
LEADERS = re.compile(r"(?:\.[ ]?){5,}\s*\d")
SENTENCE_END = re.compile(
    r"[.!?][\"')\]”’*_]*(?:[ \t]+|\n)(?=[\"'(\[“‘*_]*[A-Z0-9])|\n(?=[ \t]*(?:[-*+]|\d+[.)])[ \t])"
)
SEPARATOR_ROW = re.compile(r"^\s*\|?\s*:?-{2,}.*$")


@dataclass(frozen=True)
class Block:
    """A paragraph or a table: consecutive lines of one kind."""

    start: int
    end: int
    kind: str


def _raw_lines(text: str) -> Iterator[tuple[int, int, str]]:
    start = 0
    for line in text.split("\n"):
        yield start, start + len(line), line
        start += len(line) + 1


def _headings(text: str) -> list[Counter[str]]:
    """How often each heading stands in a document; of several files, in each of them by itself."""
    counts: list[Counter[str]] = [Counter()]
    for match in (HEADING.match(line) for _, _, line in _raw_lines(text)):
        if match and furniture.names_file(match[2], len(match[1])):
            counts.append(Counter())
        elif match:
            counts[-1][" ".join(match[2].split())] += 1
    return counts


def running_heads(text: str) -> set[str]:
    """Heading texts that are page furniture and not sections.

    They repeat often, or in capitals they repeat what stands behind the colon of another heading: a page headed
    "TREASURE" in "PART 7: TREASURE".
    """
    found = _headings(text)
    parts = {head.partition(": ")[2] for counts in found for head in counts}
    return {
        head
        for counts in found
        for head, count in counts.items()
        if count > RUNNING_HEAD_REPEATS or (head.isupper() and (count > CAPITAL_HEAD_REPEATS or head in parts))
    }


def lines_of(text: str, keep_furniture: bool = False) -> list[Line]:
    """Classify every line; running heads, page numbers, images and contents lists are noise.

    `keep_furniture` makes running heads and contents lists text; they are still no headings of sections.
    """
    heads = running_heads(text)
    lines: list[Line] = []
    fenced = False
    for start, end, raw in _raw_lines(text):
        is_fence = bool(FENCE.match(raw))
        match = None if fenced or is_fence else HEADING.match(raw)
        fenced ^= is_fence
        title = " ".join(match[2].split()) if match else ""
        if fenced or is_fence:
            kind = "text"
        elif match:
            kind = "noise" if title in heads or not title else "heading"
        elif not raw.strip():
            kind = "blank"
        elif IMAGE.match(raw) or LEADERS.search(raw):
            kind = "noise"
        else:
            kind = "table" if raw.lstrip().startswith("|") else "text"
        lines.append(Line(start, end, kind, title or raw, len(match[1]) if match else 0))
    lines = furniture.page_numbers(furniture.contents_lists(_contents_tables(lines)))
    return [_kept(text, line) for line in lines] if keep_furniture else lines


def _kept(text: str, line: Line) -> Line:
    """A line of page furniture as text; what only places an image stays noise."""
    raw = text[line.start : line.end]
    if line.kind != "noise" or IMAGE.match(raw):
        return line
    return Line(line.start, line.end, "table" if raw.lstrip().startswith("|") else "text", raw)


def _contents_tables(lines: list[Line]) -> list[Line]:
    """A table any row of which has dot leaders is a table of contents: all its rows are noise."""
    result = list(lines)
    for index, line in enumerate(lines):
        if line.kind != "noise" or not line.text.lstrip().startswith("|"):
            continue
        for step in (-1, 1):
            at = index + step
            while 0 <= at < len(lines) and lines[at].kind == "table":
                result[at] = Line(lines[at].start, lines[at].end, "noise", lines[at].text)
                at += step
    return result


def sections(text: str) -> list[Section]:
    """The sections of a Markdown text in order; each ends where the next heading starts."""
    return _sections(text, lines_of(text))


def _sections(text: str, lines: list[Line]) -> list[Section]:
    heads = [line for line in lines if line.kind == "heading"]
    ends = [line.start for line in heads[1:]] + [len(text)]
    found: list[Section] = []
    path: list[tuple[int, str]] = []
    if not heads or text[: heads[0].start].strip():
        found.append(Section(title="", level=0, path=[], start=0, end=heads[0].start if heads else len(text)))
    for line, end in zip(heads, ends, strict=False):
        path = [*(item for item in path if item[0] < line.level), (line.level, line.text)]
        names = [name for _, name in path]
        found.append(Section(title=line.text, level=line.level, path=names, start=line.start, end=end))
    return found


def _blocks(lines: list[Line]) -> list[list[Block]]:
    """Runs of blocks; noise ends a run, so that no chunk holds any. Heading lines are left out."""
    runs: list[list[Block]] = [[]]
    open_block = False
    for line in lines:
        if line.kind in ("noise", "heading"):
            runs.append([])
        elif line.kind != "blank" and open_block and runs[-1] and runs[-1][-1].kind == line.kind:
            runs[-1][-1] = Block(runs[-1][-1].start, line.end, line.kind)
        elif line.kind != "blank":
            runs[-1].append(Block(line.start, line.end, line.kind))
        open_block = line.kind not in ("blank", "noise", "heading")
    return [run for run in runs if run]


def _cut(text: str, start: int, end: int, size: int) -> list[tuple[int, int]]:
    """Cut one overlong stretch at spaces."""
    pieces = []
    while end - start > size:
        space = max(text.rfind(" ", start, start + size), text.rfind("\n", start, start + size))
        stop = space + 1 if space > start else start + size
        pieces.append((start, stop))
        start = stop
    return [*pieces, (start, end)]


def _parts(text: str, block: Block, size: int) -> list[tuple[int, int]]:
    """What a block may be split into: rows for a table, sentences for a paragraph, the block itself if it fits."""
    if block.end - block.start <= size:
        return [(block.start, block.end)]
    body = text[block.start : block.end]
    if block.kind == "table":
        ends = [match.end() for match in re.finditer("\n", body)]
        rows = list(zip([0, *ends], [*ends, len(body)], strict=True))
        if len(rows) > 2 and SEPARATOR_ROW.match(body[rows[1][0] : rows[1][1]]):
            rows = [(rows[0][0], rows[2][1]), *rows[3:]]  # header, rule and first row belong together
        return [(block.start + a, block.start + b) for a, b in rows]
    ends = [match.end() for match in SENTENCE_END.finditer(body)]
    parts = []
    for a, b in zip([0, *ends], [*ends, len(body)], strict=True):
        parts += _cut(text, block.start + a, block.start + b, size) if b > a else []
    return parts


def _pack(text: str, run: list[Block], size: int) -> list[tuple[int, int]]:
    """Fill chunks block by block; a block that fits into a chunk is never split."""
    packed: list[tuple[int, int]] = []
    for block in run:
        parts = _parts(text, block, size)
        for index, (start, end) in enumerate(parts):
            joins = bool(packed) and end - packed[-1][0] <= size
            if joins and index == 0 and len(parts) > 1 and block.kind == "table":
                joins = False  # a table that must be split starts a chunk, so that its head stays on top
            if joins:
                packed[-1] = (packed[-1][0], end)
            else:
                packed.append((start, end))
    return packed


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _overlapped(text: str, spans: list[tuple[int, int]], overlap: int) -> list[tuple[int, int]]:
    """Let every chunk but the first of a run begin up to `overlap` characters earlier, at a word or row boundary."""
    result = spans[:1]
    for start, end in spans[1:]:
        first = max(spans[0][0], start - overlap)
        breaks = "\n" if text[start : start + 1] == "|" or "|" in text[first:start] else " \n"
        while first < start and first > spans[0][0] and text[first - 1] not in breaks:
            first += 1
        result.append((first, end))
    return result


def _merged(found: list[Section], size: int) -> list[tuple[list[str], list[Section]]]:
    """Group tiny neighbouring sections under one parent; the title of a group is the parent's path."""
    groups: list[tuple[list[str], list[Section]]] = []
    for section in found:
        last = groups[-1] if groups else None
        if (
            last
            and last[1][-1].level == section.level > 1
            and last[1][-1].path[:-1] == section.path[:-1]
            and all(item.end - item.start < TINY for item in (*last[1], section))
            and section.end - last[1][0].start <= size
        ):
            groups[-1] = (section.path[:-1], [*last[1], section])
        else:
            groups.append((section.path, [section]))
    return groups


def chunks(text: str, size: int = 700, overlap: int = 0, *, keep_furniture: bool = False) -> list[Chunk]:
    """Verbatim slices of about `size` characters: split at headings, then paragraphs, then sentences.

    A table is split only where it is larger than a chunk, and only between rows. The heading line of a section is in
    the chunk's title and not in its text, except where tiny sections share a chunk. Running heads, page numbers and
    contents lists stand in no chunk, unless `keep_furniture` asks for them.
    """
    if size < 100 or not 0 <= overlap < size:
        raise LabError(f"Chunk size {size} with overlap {overlap}: size must be 100 or more, overlap less than size.")
    lines = lines_of(text, keep_furniture)
    starts = [line.start for line in lines]
    made: list[Chunk] = []
    for path, group in _merged(_sections(text, lines), size):
        first = bisect_right(starts, group[0].start) - 1
        inside = [line for line in lines[first:] if line.start < group[-1].end] if first >= 0 else []
        if len(group) > 1 and not any(line.kind == "noise" for line in inside):
            filled = [line for line in inside if line.kind not in ("blank", "heading")]
            runs = [[(group[0].start, inside[-1].end)]] if filled else []
        else:
            runs = [_pack(text, run, size) for run in _blocks(inside)]
        title = " > ".join(path)
        for run in runs:
            for start, end in _overlapped(text, run, overlap) if overlap else run:
                start, end = _trim(text, start, end)
                if end > start:
                    made.append(Chunk(id=f"c{start}-{end}", title=title, text=text[start:end], start=start, end=end))
    return made


def header_of(chunk: Chunk | Hit, document: str) -> str:
    """The head of the table that `chunk` continues, to put before its text in a prompt; empty for any other chunk."""
    if not chunk.text.startswith("|"):
        return ""
    top = document.rfind("\n", 0, chunk.start) + 1
    begin = top
    while begin > 0:
        previous = document.rfind("\n", 0, begin - 1) + 1
        if not document[previous : begin - 1].lstrip().startswith("|"):
            break
        begin = previous
    if begin == top:
        return ""
    rows = document[begin:top].split("\n")
    return "\n".join(rows[:2]) if len(rows) > 1 and SEPARATOR_ROW.match(rows[1]) else rows[0]
