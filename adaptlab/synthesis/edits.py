"""A copy of a flow with other words in its prompts, to see what an edit changes before it costs a call."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Mapping
from pathlib import Path

from adaptlab import files
from adaptlab.synthesis import flows
from config import LabError


def opening_words(flow_path: Path) -> str:
    """The first line of what a flow's first prompt says to the teacher: words to edit, to see what an edit does."""
    import yaml

    [first, *_] = flows.prompt_files(flow_path)
    turns = yaml.safe_load(files.read_text(first))
    return str(next(turn["content"] for turn in turns if turn["role"] == "user")).strip().splitlines()[0].strip()


def edited_flow(flow_path: Path, folder: Path, words: Mapping[str, str]) -> Path:
    """Copy the flow's folder to `folder` and put `words` (old text: new text) into its prompt files.

    Returns the copy's flow.yaml. A text that stands in no prompt file is a LabError.
    """
    shutil.copytree(flow_path.parent, folder, dirs_exist_ok=True)
    prompts = sorted((folder / "prompts").glob("*.yaml"))
    for old, new in words.items():
        holding = [path for path in prompts if old in files.read_text(path)]
        if not holding:
            raise LabError(
                f"No prompt of {flow_path.parent.name} says {old!r}: copy the words from its prompts folder."
            )
        for path in holding:
            files.atomic_write_text(path, files.read_text(path).replace(old, new))
    return folder / flow_path.name


def prompt_changes(one: Path, other: Path) -> list[str]:
    """The lines that differ between the prompts of two flows, as a unified diff without file names."""
    lines = []
    for path in sorted((one.parent / "prompts").glob("*.yaml")):
        before = files.read_text(path).splitlines()
        after = files.read_text(other.parent / "prompts" / path.name).splitlines()
        changed = list(difflib.unified_diff(before, after, lineterm="", n=0))[2:]  # the first two lines name the files
        lines += [line for line in changed if not line.startswith("@@")]
    return lines
