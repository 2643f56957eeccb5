"""The outputs that notebooks carry in the repository: write them after a replay, and compare a replay with them."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from adaptlab.files import atomic_write_text

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
CELL_METADATA = ("tags", "jupyter")
TEXT_KINDS = ("text/plain", "text/html", "text/markdown", "text/latex", "application/json")
SAME = (
    (re.compile(r"\bT_[0-9a-f]{5,}"), "T_id"),  # ids of styled tables
    (re.compile(r"\b0x[0-9a-f]{6,}"), "0xaddress"),
)

Output = tuple[str, str]


def read(path: Path) -> NotebookNode:
    """A notebook in the current format."""
    return nbformat.read(path, as_version=4)


def store(executed: NotebookNode, path: Path) -> None:
    """Put the executed notebook into the repository, without what differs from run to run and machine to machine."""
    atomic_write_text(path, nbformat.writes(stripped(executed)) + "\n")


def stripped(executed: NotebookNode) -> NotebookNode:
    """A copy without time stamps, kernel versions and widget state; sources, tags and outputs stay."""
    notebook = nbformat.from_dict(executed)
    title = notebook.metadata.get("title")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    if title:
        notebook.metadata["title"] = title
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in CELL_METADATA if key in cell.metadata})
        for output in cell.get("outputs", []):
            output.pop("transient", None)
    return notebook


def differences(committed: NotebookNode, executed: NotebookNode) -> list[str]:
    """Where text and table outputs of a replay are not the committed ones, one sentence a cell."""
    if len(committed.cells) != len(executed.cells):
        return [f"{len(committed.cells)} cells are committed and {len(executed.cells)} were run: replay it again."]
    pairs = zip(committed.cells, executed.cells, strict=True)
    found = [(number, _difference(was, now)) for number, (was, now) in enumerate(pairs, 1)]
    return [f"cell {number}: {text}" for number, text in found if text]


def _difference(was: NotebookNode, now: NotebookNode) -> str:
    """How two runs of one cell differ; empty if they do not."""
    if was.source != now.source:
        return "its source was changed and not replayed."
    before, after = outputs_of(was), outputs_of(now)
    for old, new in zip(before, after, strict=False):
        if old != new:
            return f"{new[0]} differs: {_first_difference(old[1], new[1])}"
    if len(before) != len(after):
        return f"{len(before)} outputs are committed and the replay made {len(after)}."
    return ""


def outputs_of(cell: NotebookNode) -> list[Output]:
    """The outputs of a cell as kind and comparable text; of a picture only that there is one."""
    found: list[Output] = []
    for output in cell.get("outputs", []):
        found += _texts(output)
    merged: list[Output] = []
    for kind, text in found:
        if merged and merged[-1][0] == kind and kind in ("stdout", "stderr"):
            merged[-1] = (kind, merged[-1][1] + text)
        else:
            merged.append((kind, text))
    return merged


def _texts(output: NotebookNode) -> list[Output]:
    """One output as kinds and texts."""
    if output.output_type == "stream":
        return [(output.name, comparable(output.text))]
    if output.output_type == "error":
        return [("error", comparable(f"{output.ename}: {output.evalue}"))]
    return [
        (kind, comparable(value) if kind in TEXT_KINDS else "")
        for kind, value in sorted(output.data.items())
        if kind in TEXT_KINDS or kind.startswith("image/")
    ]


def comparable(value: Any) -> str:
    """Text without the parts that no two runs share."""
    text = value if isinstance(value, str) else str(value)
    for pattern, same in SAME:
        text = pattern.sub(same, text)
    return text


def _first_difference(old: str, new: str) -> str:
    """The first lines that differ, committed and now."""
    lines = [line for line in difflib.ndiff(old.splitlines(), new.splitlines()) if line[:2] in ("- ", "+ ")]
    was = next((line[2:] for line in lines if line.startswith("- ")), "nothing")
    now = next((line[2:] for line in lines if line.startswith("+ ")), "nothing")
    return f"committed {was.strip()[:160]!r}, now {now.strip()[:160]!r}."
