"""What a page carries and a text does not need: contents lists, indexes and page numbers, found line by line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adaptlab.environment import CONVERTED_SUFFIXES, TEXT_SUFFIXES

CONTENTS = re.compile(
    r"^(table of contents|contents|list of (figures|tables)|index|(alphabetical|subject|general) index"
    r"|inhalt(sverzeichnis)?|table des mati[eè]res|sommaire|[ií]ndice|inhoud(sopgave)?)$",
    re.IGNORECASE,
)
LINK_ENTRY = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+\[[^\]]*\]\(#[^)]*\)\s*$")
PAGE_ENTRY = re.compile(r"\S(?:[\s.,…|]+\d{1,4})(?:\s*[,–-]\s*\d{1,4})*\W*$")
PAGE_NUMBER = re.compile(
    r"^\W*(?:(?:page|p\.|pg\.?|seite)\s*)?(\d{1,4})(?:\s*(?:of|/|von)\s*\d{1,4})?\W*$", re.IGNORECASE
)
BOOK_AND_PAGE = re.compile(r"^(\S.{0,60}?)(?:\s{2,}|\t|\s*[|·•—–]\s*|\s+page\s+)(\d{1,4})$", re.IGNORECASE)
LINE_END = 60  # characters in which a page number and its leaders are looked for
LONGEST_ENTRY = 300  # characters of an entry that are compared
LEAST_ENTRIES = 4  # so many links in a row are a contents list
LEAST_PAGES = 5  # so many page numbers that only rise are those of pages
MOST_LEAP = 4  # a page number follows another by at most so much


@dataclass(frozen=True)
class Line:
    """One line of a document with its offsets (`end` leaves out the line break) and what it is."""

    start: int
    end: int
    kind: str  # "heading", "noise", "blank", "table", "text"
    text: str
    level: int = 0


def names_file(title: str, level: int) -> bool:
    """Whether a heading is the name of a file, under which its text stands in a document of several files."""
    return level == 1 and title.lower().endswith((*TEXT_SUFFIXES, *CONVERTED_SUFFIXES))


def contents_lists(lines: list[Line]) -> list[Line]:
    """Mark contents lists as noise: links to anchors, and entries under a heading such as Contents or Index."""
    result = list(lines)
    for start, end in _link_runs(lines) + _entry_runs(lines):
        for at in range(start, end):
            if result[at].kind in ("text", "table"):
                result[at] = replace(result[at], kind="noise")
    return result


def _link_runs(lines: Sequence[Line]) -> list[tuple[int, int]]:
    """Runs of list items that are nothing but links into the document."""
    found: list[tuple[int, int]] = []
    start, entries, last = 0, 0, 0
    for at, line in enumerate(lines):
        if line.kind == "text" and LINK_ENTRY.match(line.text):
            start = at if not entries else start
            entries, last = entries + 1, at
        elif line.kind != "blank":
            found += [(start, last + 1)] if entries >= LEAST_ENTRIES else []
            entries = 0
    return [*found, (start, last + 1)] if entries >= LEAST_ENTRIES else found


def _entry_runs(lines: Sequence[Line]) -> list[tuple[int, int]]:
    """Under a heading such as Contents or Index: its lines, if most end in a page number or name a heading."""
    heads = [at for at, line in enumerate(lines) if line.kind == "heading"]
    titles = {_plain(lines[at].text) for at in heads}
    found = []
    for at, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        body = [line.text for line in lines[at + 1 : end] if line.kind in ("text", "table")]
        if not body or not CONTENTS.match(lines[at].text.strip(" :")):
            continue
        entries = [text for text in body if PAGE_ENTRY.search(text[-LINE_END:]) or _plain(text) in titles]
        if len(body) >= LEAST_ENTRIES - 1 and len(entries) >= 0.6 * len(body):
            found.append((at + 1, end))
    return found


def page_numbers(lines: list[Line]) -> list[Line]:
    """Mark page numbers as noise: lines of their own that hold a number, the same words beside it, and that rise."""
    groups: dict[tuple[int, str], list[tuple[int, int]]] = {}
    file = 0
    for at, line in enumerate(lines):
        file += line.kind == "heading" and names_file(line.text, line.level)
        if line.kind == "text" and _alone(lines, at) and (found := _page_number(line.text)) is not None:
            groups.setdefault((file, found[0]), []).append((at, found[1]))
    result = list(lines)
    for marks in groups.values():
        leaps = [two - one for (_, one), (_, two) in zip(marks, marks[1:], strict=False)]
        if len(marks) >= LEAST_PAGES and all(1 <= leap <= MOST_LEAP for leap in leaps):
            for at, _ in marks:
                result[at] = replace(lines[at], kind="noise")
    return result


def _page_number(text: str) -> tuple[str, int] | None:
    """The words beside a page number, and the number; None for a line that is no page number."""
    stripped = text.strip()
    if number := PAGE_NUMBER.match(stripped):
        return "", int(number[1])
    if both := BOOK_AND_PAGE.match(stripped):
        return _plain(both[1]), int(both[2])
    return None


def _alone(lines: Sequence[Line], at: int) -> bool:
    """Whether a line stands by itself, or between a blank line and page furniture."""
    around = [lines[i].kind for i in (at - 1, at + 1) if 0 <= i < len(lines)]
    return all(kind in ("blank", "noise", "heading") for kind in around)


def _plain(text: str) -> str:
    """A line's words, without list marks, links, leaders and a page number at its end."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text[:LONGEST_ENTRY])
    text = re.sub(r"^\W*(?:[-*+]|\d+[.)])?\s*|[\s.…|]*\d{0,4}\W*$", "", text)
    return " ".join(text.casefold().split())
