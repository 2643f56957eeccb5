"""The commands for whoever teaches: `adaptlab checkpoint`, `adaptlab guide`, `adaptlab rehearse`, `adaptlab brief`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import config
from adaptlab.commands import add, show


def register(nouns: Any) -> None:
    """Add the commands to the command line."""
    placed = add(
        nouns,
        "checkpoint",
        "put a workbench into the state at the start of a section, from the prebuilt results",
        checkpoint,
        example="adaptlab checkpoint 03",
    )
    placed.add_argument("section", help="the section that comes next, such as 03")
    placed.add_argument("--force", action="store_true", help="also replace results that this machine computed")
    brief_page = add(
        nouns,
        "brief",
        "write evidence_brief.md and evidence_brief.html, one page with costs, from the results",
        brief,
        example="adaptlab brief --out .",
    )
    brief_page.add_argument("--out", type=Path, help="the folder to write to (else brief/ below the live results)")


def checkpoint(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Fill the gaps before a section."""
    from adaptlab import checkpoint as checkpoints

    settings = config.settings()
    placed = checkpoints.put(settings, arguments.section, arguments.force)
    number, later = arguments.section.zfill(2), checkpoints.later(settings, arguments.section)
    lines = [f"  {item.section}  {item.artifact}: {item.state} ({item.label})" for item in placed]
    lines.append(f"The workbench is ready for section {number}.")
    if later:
        lines.append(f"Results of section {number} and later stay as they are: {', '.join(later)}.")
    value = {"section": number, "results": [vars(item) for item in placed], "later": later}
    show(arguments, value, "\n".join(lines))
    return 0


def brief(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Write the brief."""
    from adaptlab import brief as briefs
    from adaptlab.artifacts import Lab

    settings = config.settings()
    lab = Lab(settings, notebook="adaptlab brief")
    paths = [str(path) for path in briefs.export(lab, arguments.out or settings.live_dir / "brief")]
    headline = briefs.headline(lab.result("evaluation").data)
    show(arguments, {"files": paths, "headline": headline}, "\n".join([headline, *paths]))
    return 0
