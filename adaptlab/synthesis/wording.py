"""What rows, names and values are to the filters: where a text stands in another, and what an answer says of a name."""

from __future__ import annotations

import re
from typing import Any

YES_OR_NO = re.compile(r"(?:yes|no)\b", re.IGNORECASE)


def name_of(subject: str) -> str:
    """The entity of "Entity: Attribute"."""
    return subject.rpartition(":")[0].strip() or subject.strip()


def attribute_of(subject: str) -> str:
    """The attribute of "Entity: Attribute"; empty where the subject names none."""
    return subject.rpartition(":")[2].strip() if ":" in subject else ""


def value_of(subject: str, answer: str) -> str:
    """What an answer such as "The Range of Emberlace is 45 feet." says of its subject; else the answer's last words."""
    after_name = re.split(re.escape(name_of(subject)), answer, maxsplit=1, flags=re.IGNORECASE)[-1]
    stated = re.search(r"\b(?:is|are|was|were)\s+(.*\S)", after_name or answer, re.DOTALL)
    return (stated[1] if stated else answer).strip().rstrip(".").strip()


def stands_in(part: str, text: str) -> bool:
    """Whether `part` stands in `text` between word boundaries, whatever the case, spacing and emphasis marks.

    "5 feet" does not stand in "45 feet", nor "2d6" in "2d6+1".
    """
    wanted = plain(part)
    pattern = rf"(?<![\w])(?<!\d[.,]){re.escape(wanted)}(?![\w]|[.,+-]?\d)"
    return bool(wanted) and re.search(pattern, plain(text)) is not None


def passage_of(row: dict[str, Any]) -> str:
    """What the teacher was shown: the title and the text."""
    return f"{row['title']}\n{row['document']}"


def plain(text: str) -> str:
    """A text without case, emphasis marks, cell bars and doubled spaces."""
    return " ".join(re.sub(r"[*_`|]+", " ", text).casefold().replace("’", "'").split())
