"""What a teacher wrote, split into tagged pairs. A piece that is not a whole pair is kept and its problem named."""

from __future__ import annotations

import re
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
