"""Renders the ladder of the captured mini run into the README: a table and a picture, never typed by hand."""

from __future__ import annotations

import re

import config
from adaptlab import report
from adaptlab.files import atomic_write_bytes, atomic_write_text

README = config.ROOT / "README.md"
PICTURE = config.ROOT / "04Evaluation" / "ladder.png"
BLOCK = re.compile(r"(<!-- ladder -->\n).*?(<!-- /ladder -->)", re.DOTALL)


def ladder() -> report.Ladder:
    """The ladder of the prebuilt mini run on the shipped rulebook."""
    settings = config.settings({"LAB_PROFILE": "mini", "LAB_MODE": "prebuilt"})
    found = report.ladder(settings)
    if found is None:
        raise config.LabError("There is no captured mini run: run `make lab`, then `adaptlab capture`.")
    return found


def block(found: report.Ladder) -> str:
    """The ladder as a Markdown table with its origin."""
    lines = ["| rung | right answers | 95 % interval | by guessing | minutes |", "|---|---|---|---|---|"]
    for rung in found.rungs:
        guess = "" if rung.guess is None else f"{rung.guess:.0%}"
        minutes = "" if rung.minutes is None else f"{rung.minutes:.1f}"
        lines.append(f"| {rung.rung} | {rung.rate:.0%} | {rung.low:.0%} to {rung.high:.0%} | {guess} | {minutes} |")
    return "\n".join([*lines, "", f"Origin: {found.label}.", ""])


def with_ladder(text: str, found: report.Ladder) -> str:
    """The README's text with its ladder block rendered anew."""
    return BLOCK.sub(lambda match: match[1] + block(found) + match[2], text)


def main() -> None:
    """Write the table and the picture."""
    import base64

    found = ladder()
    atomic_write_text(README, with_ladder(README.read_text("utf-8"), found))
    atomic_write_bytes(PICTURE, base64.b64decode(report.picture(found)[0]))


if __name__ == "__main__":
    main()
