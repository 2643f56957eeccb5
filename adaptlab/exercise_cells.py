"""The exercises and knowledge checks of a notebook, found by the tags of its cells. Standard library only.

An exercise is a Markdown cell tagged `exercise` (heading and task), a code cell tagged `exercise` (the one thing to
change), a code cell tagged `check`, and a Markdown cell tagged `solution` with a folded hint and a folded solution
whose fenced Python takes the place of the thing to change. A cell tagged `knowledge` holds folded questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptlab.sections import cells, heading_of
from config import LabError

FOLDED = re.compile(r"<details><summary>(?P<summary>.+?)</summary>\n\n(?P<body>.+?)\n\n</details>", re.DOTALL)
FENCED = re.compile(r"^```python\n(?P<code>.+?)\n```$", re.DOTALL | re.MULTILINE)
PARTS = (("markdown", "exercise"), ("code", "exercise"), ("code", "check"), ("markdown", "solution"))


@dataclass(frozen=True)
class Exercise:
    """One exercise: heading, task, the code to change as it is committed, the check, hint and solution's code."""

    title: str
    task: str
    start: str
    check: str
    hint: str
    solution: str


def exercises(path: Path) -> list[Exercise]:
    """The exercises of a notebook in order; a LabError names the one that lacks a part."""
    tagged = [cell for cell in cells(path) if _tags(cell) & {"exercise", "check", "solution"}]
    if len(tagged) % len(PARTS):
        raise LabError(f"{path.name}: an exercise needs {len(PARTS)} tagged cells, and {len(tagged)} are tagged.")
    return [_exercise(path, tagged[at : at + len(PARTS)]) for at in range(0, len(tagged), len(PARTS))]


def knowledge(path: Path) -> list[tuple[str, str]]:
    """The questions of a notebook's knowledge check with their answers."""
    found = [cell["source"] for cell in cells(path) if "knowledge" in _tags(cell)]
    return [folded for source in found for folded in _folded(source)]


def _tags(cell: dict[str, Any]) -> set[str]:
    return set(cell.get("metadata", {}).get("tags", []))


def _folded(source: str) -> Iterator[tuple[str, str]]:
    """The summaries of folded parts with what they hide."""
    for part in FOLDED.finditer(source):
        yield part["summary"].strip(), part["body"].strip()


def _exercise(path: Path, four: list[dict[str, Any]]) -> Exercise:
    """One exercise out of its four cells."""
    title = heading_of(four[0]["source"]) or "an exercise without a heading"
    for cell, (kind, tag) in zip(four, PARTS, strict=True):
        if cell.get("cell_type") != kind or tag not in _tags(cell):
            raise LabError(f"{path.name}, {title}: a {kind} cell tagged {tag} is missing.")
    task, start, check, last = (cell["source"].strip() for cell in four)
    folded = dict(_folded(last))
    code = FENCED.search(folded.get("Solution", ""))
    if code is None or "Hint" not in folded:
        raise LabError(f"{path.name}, {title}: the cell tagged solution needs a folded Hint and a folded Solution.")
    return Exercise(title, task, start, check, folded["Hint"], code["code"])
