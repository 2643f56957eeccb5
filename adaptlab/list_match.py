"""Whether a text asserts a gold list: every item, not denied, and strictly no other item."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adaptlab.answers import FUNCTION_WORDS, clean, words_of
from adaptlab.claims import negated
from adaptlab.schemas import Question
from adaptlab.text_match import CLAUSE, contains, places_of


def items_of(form: str) -> list[str]:
    """The items of a list that is written as a text."""
    return [item.strip(" .") for item in re.split(r",|;|\n|\band\b|&", clean(form)) if item.strip(" .")]


def list_right(question: Question, text: str, strictly: bool) -> bool:
    """Whether a text asserts every item of the gold list; strictly: and no other item."""
    text = _NUMBERING.sub("", text)
    if any(re.search(r"\bor\b", clean(form)) for form in (question.answer, *question.accepted)):
        text = re.sub(r"\bor\b", "and", text)  # "may be A, B or C" says of all of them that they may be
    for form in (question.answer, *question.accepted):
        items = items_of(form)
        if not items or _offers_or(text, items):
            continue
        found = [[span for span in places_of(text, item) if not negated(text, *span)] for item in items]
        if not strictly and (all(found) or _share_a_noun(text, items)):
            return True
        if not all(found):
            continue
        asked = set(words_of(clean(question.text())))
        extra = _extra_items(text, items, min(spans[0][0] for spans in found))
        if all(set(words_of(item)) <= asked for item in extra):
            return True
    return False


def _share_a_noun(text: str, items: Sequence[str]) -> bool:
    """Whether the items share a noun that the text says once: "the north and the east door", "Saints Ede and Orrin"."""
    words = [words_of(item) for item in items]
    ends = ((-1, slice(None, -1)), (0, slice(1, None)))
    for shared, own in ends:
        nouns, parts = {item[shared] for item in words if item}, [" ".join(item[own]) for item in words]
        if len(nouns) == 1 and all(parts) and places_of(text, nouns.pop()):
            return all(any(not negated(text, *span) for span in places_of(text, part)) for part in parts)
    return False


_NUMBERING = re.compile(r"^\s*\d{1,2}[.)]\s+", re.M)
_RELATIVE = re.compile(
    r"^(?:who|whom|whose|which|that|all of|each of|as|where|when|since|because)\b"
    r"|^(?:but )?(?:not|never|no|without)\b"
)


def _offers_or(text: str, items: Sequence[str]) -> bool:
    """Whether the items stand as alternatives: joined by "or" or a slash that no item brings along."""
    return not any(re.search(r"\bor\b|/", item) for item in items) and bool(re.search(r"\bor\b|/", text))


def _extra_items(text: str, items: Sequence[str], first: int) -> list[str]:
    """Short items that a list holds besides the gold ones; a line without a gold item counts in a list of lines."""
    golds = [words_of(item) for item in items]
    verbs = re.finditer(r"\b(?:is|are|was|were|include|includes|need|needs|be)\b|:|\n", text[:first])
    lines = text[max((match.end() for match in verbs), default=0) :].split("\n")
    lines = [line for line in lines if not re.search(r"\b(?:them|it)\b", line)]
    ours = [line for line in lines if any(contains(words_of(line), gold) for gold in golds)]
    in_lines = len(ours) > 1 and all(len(words_of(line)) <= 4 for line in ours)
    parts = [
        part.strip(" .-*")
        for line in (lines if in_lines else ours)
        for part in re.split(r",|;|\band\b|&|\bplus\b|\bas well as\b", line)
    ]
    return [
        part
        for part in parts
        if 0 < len([word for word in words_of(part) if word not in FUNCTION_WORDS]) <= 4
        and not any(contains(words_of(part), gold) for gold in golds)
        and not CLAUSE.search(part)
        and not _RELATIVE.search(part)
    ]
