"""The command `adaptlab colab`: badges and set-up cells of the notebooks, from the one setting in config.py."""

from __future__ import annotations

import argparse
from typing import Any

import config
from adaptlab.commands import add, show


def register(nouns: Any) -> None:
    """Add the command to the command line."""
    made = add(
        nouns,
        "colab",
        "write the Colab badges and the set-up cells of all notebooks from REPOSITORY and REPOSITORY_REF in config.py",
        colab,
        example="adaptlab colab --check",
    )
    made.add_argument("--check", action="store_true", help="only list the notebooks that differ; exit code 1 if any")


def colab(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Rewrite the notebooks, or list those that a rewrite would change."""
    from adaptlab import colab_cells

    names = list(colab_cells.differing(config.ROOT)) if arguments.check else colab_cells.rewrite(config.ROOT)
    place = f"{config.REPOSITORY} at {config.REPOSITORY_REF}"
    head = f"{'To be written' if arguments.check else 'Written'} for {place}:" if names else f"All name {place}."
    show(arguments, {"notebooks": names, "repository": config.REPOSITORY}, "\n".join([head, *names]))
    return 1 if arguments.check and names else 0
