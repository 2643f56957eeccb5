"""Cleaning of generated or brought texts that shows what it changed: encoding, invisible characters, whitespace."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from config import LabError

if TYPE_CHECKING:
    import pandas as pd

TEXTS = ("question", "answer")
ENCODING, CONTROLS, DIRECTIONS = "encoding", "control characters", "direction marks"
INVISIBLE, FORMS, WHITESPACE = "invisible characters", "composed characters", "whitespace"
# Unicode's Bidi_Control: they reorder what a person sees but not what a model reads (CVE-2021-42574).
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_INVISIBLE = re.compile("[\u00ad\u180e\u200b\u2060-\u2064\ufeff]")  # joiners stay: emoji and Persian need them
_FLAG = "(\U0001f3f4[\U000e0020-\U000e007f]+)"  # tag characters spell a flag, or a text that nobody sees
_TAGS = re.compile(f"{_FLAG}|[\U000e0000-\U000e007f]")
_STEPS = {  # what ftfy's steps are called here; steps without a name of their own repair a wrong encoding
    "remove_control_chars": CONTROLS,
    "remove_terminal_escapes": CONTROLS,
    "fix_line_breaks": WHITESPACE,
    "fix_latin_ligatures": FORMS,
    "NFC": FORMS,
}


def clean_text(text: str) -> tuple[str, list[str]]:
    """A text in order, and the names of what was changed on the way (none for a text that was in order).

    ftfy repairs what was decoded wrongly, line by line; quotes, full-width letters and HTML entities are left alone.
    A text of several lines keeps the spaces inside it: in Markdown they break lines and align tables.
    """
    changes: set[str] = set()
    lines = [_fixed_line(line, changes) for line in re.sub("\r\n?|[\u2028\u2029\u0085]", "\n", text).split("\n")]
    fixed = "\n".join(lines)
    for pattern, name, kept in ((_BIDI, DIRECTIONS, ""), (_INVISIBLE, INVISIBLE, ""), (_TAGS, INVISIBLE, r"\1")):
        without = pattern.sub(kept, fixed)
        changes |= {name} if without != fixed else set()
        fixed = without
    spaced = re.sub(r"\n{3,}", "\n\n", re.sub(r"[^\S\n\t]", " ", fixed)).strip()
    spaced = spaced if "\n" in spaced else re.sub(r"\s+", " ", spaced)
    if spaced != fixed or re.search("\r|[\u2028\u2029\u0085]", text):
        changes.add(WHITESPACE)
    return spaced, sorted(changes)


def _fixed_line(line: str, changes: set[str]) -> str:
    """A line as ftfy leaves it; what it did is added to `changes`."""
    try:
        import ftfy
    except ImportError as error:
        raise LabError("Cleaning needs ftfy: install requirements.txt.") from error
    config = ftfy.TextFixerConfig(
        unescape_html=False, uncurl_quotes=False, fix_character_width=False, fix_line_breaks=False
    )
    fixed, steps = ftfy.fix_and_explain(line, config)
    if fixed != line:
        changes |= {_STEPS.get(step.parameter, ENCODING) for step in steps or ()}
    return fixed


def cleaned(rows: pd.DataFrame, columns: Sequence[str] = TEXTS) -> pd.DataFrame:
    """The rows with the texts of `columns` in order; a column `cleaned` says what was changed where, else nothing."""
    result, said = rows.copy(), [""] * len(rows)
    for name in columns:
        pairs = [clean_text(str(text)) for text in rows[name]]
        result[name] = [text for text, _ in pairs]
        for at, (_, what) in enumerate(pairs):
            said[at] = "; ".join(part for part in (said[at], f"{name}: {', '.join(what)}" if what else "") if part)
    return result.assign(cleaned=said)


def changes(rows: pd.DataFrame, columns: Sequence[str] = TEXTS) -> pd.DataFrame:
    """What `cleaned` changes in `rows`: row_id, column, changed, before, after; invisible characters as \\u escapes."""
    import pandas as pd

    lines: list[dict[str, Any]] = []
    for row_id, row in zip(row_ids(rows), rows.to_dict("records"), strict=True):
        for name in columns:
            text, what = clean_text(str(row[name]))
            if what:
                shown = {"before": visible(str(row[name])), "after": visible(text)}
                lines.append({"row_id": row_id, "column": name, "changed": ", ".join(what), **shown})
    return pd.DataFrame(lines, columns=["row_id", "column", "changed", "before", "after"])


def visible(text: str) -> str:
    """A text with every character that is not seen written as an escape such as \\u202e."""
    return "".join(_shown(letter) for letter in text)


def _shown(letter: str) -> str:
    hidden = unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") or letter == "\u00a0"
    return letter.encode("ascii", "backslashreplace").decode() if hidden and ord(letter) > 127 else _escaped(letter)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode() if ord(letter) < 32 or ord(letter) == 127 else letter


def row_ids(rows: pd.DataFrame) -> list[str]:
    """The rows' names: their `row_id`, else their position from 1."""
    return [str(name) for name in (rows["row_id"] if "row_id" in rows.columns else range(1, len(rows) + 1))]
