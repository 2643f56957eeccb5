"""The command `adaptlab site`: the executed notebooks and the documents as pages that need no server and no network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import config
from adaptlab.commands import add, show


def register(nouns: Any) -> None:
    """Add the command to the command line."""
    made = add(
        nouns,
        "site",
        "write the executed notebooks and the documents as a small site that opens from disk",
        site,
        example="adaptlab site --out site",
    )
    made.add_argument("--out", type=Path, help="the folder to write to (else site/ below the outputs)")


def site(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Write the site."""
    from adaptlab import website

    settings = config.settings()
    files = website.build(settings, arguments.out or settings.outputs_dir / "site")
    index = str(files[0])
    show(arguments, {"index": index, "files": [str(path) for path in files]}, f"{len(files)} pages: {index}")
    return 0
