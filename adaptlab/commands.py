"""What every command of the command line shares: its options, and how it answers a program or a person."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import config
from adaptlab.inert import inert

Command = Callable[[argparse.Namespace, list[str]], int]
MODULES = {"serve": "serving", "run": "runner"}


def add(
    group: Any, name: str, help_text: str, command: Command, passes_on: bool = False, example: str = ""
) -> argparse.ArgumentParser:
    """One command with the options that all have; `passes_on` hands the other arguments to the command."""
    such = f", such as {example}" if example else ""
    more = f"Further options{such}: python -m adaptlab.{MODULES.get(name, name)} --help" if passes_on else None
    made: argparse.ArgumentParser = group.add_parser(
        name,
        help=help_text,
        description=help_text,
        epilog=more or (f"example: {example}" if example else None),
        allow_abbrev=False,
    )
    made.add_argument("--profile", help=f"one of {', '.join(config.PROFILES)}; else LAB_PROFILE, else the hardware")
    made.add_argument("--mode", help=f"one of {', '.join(config.MODES)}; else LAB_MODE, else auto")
    made.add_argument("--json", action="store_true", help="print the answer as JSON")
    made.set_defaults(command=command, passes_on=passes_on)
    return made


def show(arguments: argparse.Namespace, value: Any, text: str) -> None:
    """The answer, for a program or for a person."""
    print(json.dumps(value, ensure_ascii=False, indent=2) if arguments.json else inert(text))
