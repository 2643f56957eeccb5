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
    guided = add(
        nouns,
        "guide",
        "write the facilitator's guide (Markdown and HTML), and notebooks without its notes for participants",
        guide,
        example="adaptlab guide --out guide --participants participants --start 09:30",
    )
    guided.add_argument("--out", type=Path, help="the folder for the guide (else guide/ below the outputs)")
    guided.add_argument(
        "--participants", type=Path, metavar="FOLDER", help="also write the notebooks without its notes"
    )
    guided.add_argument("--start", default="09:00", help="when the day begins (09:00)")
    guided.add_argument("--force", action="store_true", help="write over participants' notebooks that are there")
    rehearsed = add(
        nouns,
        "rehearse",
        "one unattended command for the real hardware: doctor, downloads, the series live, verify, capture",
        rehearse,
        example="adaptlab rehearse --profile l40s",
    )
    rehearsed.add_argument("--from", dest="first", metavar="NN", help="the first section, such as 02")
    rehearsed.add_argument("--to", dest="last", metavar="NN", help="the last section, such as 04")
    rehearsed.add_argument("--full", action="store_true", help="compute the long notebooks too, for many minutes more")
    rehearsed.add_argument("--dry-run", action="store_true", help="only ask the doctor and say what would be done")
    rehearsed.add_argument("--no-capture", action="store_true", help="leave the prebuilt results as they are")
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


def guide(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Write the guide, and the participants' notebooks."""
    from adaptlab import guide as guides

    settings = config.settings()
    written = guides.export(settings, arguments.out or settings.outputs_dir / "guide", arguments.start)
    if arguments.participants is not None:
        written += guides.participants(settings.root, arguments.participants, arguments.force)
    names = [str(path) for path in written]
    show(arguments, {"files": names}, "\n".join(names))
    return 0


def rehearse(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Run everything once, and keep a record of it."""
    from adaptlab import rehearsal

    settings = config.settings()
    done = rehearsal.rehearse(
        settings, arguments.first, arguments.last, not arguments.no_capture, arguments.full, arguments.dry_run
    )
    show(arguments, done.model_dump(), rehearsal.words(done))
    return done.exit_code
