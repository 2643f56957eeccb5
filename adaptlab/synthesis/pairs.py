"""What a teacher wrote, split into tagged pairs. A piece that is not a whole pair is kept and its problem named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

PARSER_VERSION = 1  # part of every result's key: raise it when the same reply would be split differently
_TEXT = r"((?:(?!</?(?:subject|question|answer)>).)+?)"
_PAIR = re.compile(
    rf"\s*<subject>{_TEXT}</subject>\s*<question>{_TEXT}</question>\s*<answer>{_TEXT}</answer>\s*", re.DOTALL
)


@dataclass(frozen=True)
class Piece:
    """One pair, or (where `problem` is not empty) a piece of the reply that is none."""

    subject: str = ""
    question: str = ""
    answer: str = ""
    problem: str = ""
    raw: str = ""


def parse_pairs(reply: str | None) -> list[Piece]:
    """Split a reply at its `<subject>` tags; every part of it comes back in exactly one piece, at least one."""
    text = reply or ""
    if not text.strip():
        return [Piece(problem="empty reply", raw=text)]
    parts = [part for part in re.split(r"(?=<subject>)", text) if part.strip()]
    return [_piece(part, last=index == len(parts) - 1) for index, part in enumerate(parts)]


def _piece(part: str, last: bool) -> Piece:
    match = _PAIR.fullmatch(part)
    if match:
        subject, question, answer = (" ".join(text.split()) for text in match.groups())
        if subject and question and answer:
            return Piece(subject, question, answer, raw=part)
        return Piece(problem="a tag is empty", raw=part)
    return Piece(problem=_problem(part, last), raw=part)


def _problem(part: str, last: bool) -> str:
    if not part.startswith("<subject>"):
        return "no tags" if not re.search(r"</?(subject|question|answer)>", part) else "does not start with a subject"
    if any(part.count(f"<{tag}>") > 1 or part.count(f"</{tag}>") > 1 for tag in ("question", "answer")):
        return "several questions or answers for one subject"
    if _PAIR.match(part):
        return "words outside the tags"
    return "cut off" if last and "</answer>" not in part else "a tag is missing or misplaced"


# ---------------------------------------------------------------------------------------------- tags of any kind


@dataclass(frozen=True)
class Tagged:
    """The texts between the tags of one piece, in the order of the tags; none where `problem` is not empty."""

    values: tuple[str, ...] = ()
    problem: str = ""
    raw: str = ""


def split_tagged(reply: str | None, starts: Sequence[str], ends: Sequence[str]) -> list[Tagged]:
    """Split a reply at each first start tag; a piece counts only if every tag stands in it once and in order.

    So a missing tag costs its own piece and never shifts the others. Words before the first piece and after a piece's
    last tag are ignored. A start tag without an end tag reads to the end; empty tags take the whole reply as it is.
    """
    text = reply or ""
    if not text.strip():
        return [Tagged(problem="empty reply", raw=text)]
    if not any(starts) and not any(ends):
        return [Tagged((text.strip(),), raw=text)]
    before, *parts = re.split(rf"(?={re.escape(starts[0])})", text)
    if any(tag in before for tag in (*starts, *ends) if tag):  # another order: every answer may be a neighbour's
        return [Tagged(problem="does not start with the first tag", raw=text)]
    if not parts:
        return [Tagged(problem="no tags", raw=text)]
    return [_tagged(part, starts, ends) for part in parts]


def _tagged(part: str, starts: Sequence[str], ends: Sequence[str]) -> Tagged:
    wanted = [tag for pair in zip(starts, ends, strict=True) for tag in pair if tag]
    known = sorted(set(wanted), key=len, reverse=True)
    found = list(re.finditer("|".join(map(re.escape, known)), part))
    names = [match[0] for match in found]
    if names != wanted:
        cut = names == wanted[: len(names)]
        return Tagged(problem="cut off" if cut else "a tag is missing, repeated or misplaced", raw=part)
    values, at = [], 0
    for end in ends:
        after = found[at + 1].start() if at + 1 < len(found) else len(part)
        values.append(part[found[at].end() : after].strip())
        at += 2 if end else 1
    if not all(values):
        return Tagged(problem="a tag is empty", raw=part)
    return Tagged(tuple(values), raw=part)
