"""Ratios that a benchmark measures in one run, beside their targets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Ratio:
    """One measured ratio. `at_least` targets are speed-ups, the others costs that should stay below."""

    name: str
    ratio: float
    target: float
    at_least: bool
    note: str

    @property
    def verdict(self) -> str:
        """Whether the target was reached."""
        reached = self.ratio >= self.target if self.at_least else self.ratio <= self.target
        return "reached" if reached else "missed"


def table(ratios: Sequence[Ratio]) -> str:
    """The ratios beside their targets, a line for each."""
    wide = max(len(item.name) for item in ratios)
    lines = []
    for item in ratios:
        target = f"{'at least' if item.at_least else 'at most'} {item.target:g}: {item.verdict}"
        lines.append(f"{item.name:<{wide}} {item.ratio:5.2f}  {target}; {item.note}")
    return "\n".join(lines)


def tell(ratios: Sequence[Ratio], about: str = "", as_json: bool = False) -> int:
    """Print the ratios as a table below what was measured, or as JSON; 0 where every target was reached, else 1."""
    if as_json:
        print(json.dumps([{**asdict(item), "verdict": item.verdict} for item in ratios], indent=2))
    else:
        print("\n".join(filter(None, [about, table(ratios)])))
    return 0 if all(item.verdict == "reached" for item in ratios) else 1
