"""The one-page brief: every word of it computed from the evaluation, also when nothing changed."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from adaptlab.stats import guess_verdict


def _interval(row: dict[str, Any]) -> str:
    return f"{row['rate']:.0%} ({row['low']:.0%} to {row['high']:.0%}, n = {row['n']})"


def _ladder(data: dict[str, Any]) -> list[str]:
    lines = ["| rung | right answers (95 % interval) | by guessing |", "|---|---|---|"]
    for row in data["ladder"]:
        guess = "not estimated" if row["guess"] is None else f"{row['guess']:.0%}"
        lines.append(f"| {row['rung']} | {_interval(row)} | {guess} |")
    return lines


def verdicts(data: dict[str, Any]) -> list[str]:
    """One sentence for each paired comparison, each guess control and each skill."""
    lines = [
        f"{t['b']} against {t['a']}: {t['difference']:+.0%} on {t['n']} questions, {t['verdict']}."
        for t in data["tests"]
    ]
    for g in data["guess"]:
        state = guess_verdict(g["above_guess"])
        lines.append(f"{g['arm']}, closed-book, {g['facts']}: {g['rate']:.0%} right, {state} ({g['guess']:.0%}).")
    for s in data["skills"]:
        lines.append(f'Skill "{s["skill"]}": {s["base"]:.0%} before, {s["adapter"]:.0%} after, {s["verdict"]}.')
    return lines


def next_step(data: dict[str, Any]) -> str:
    """What the comparisons and the skills support doing next."""
    by_pair = {(t["a"], t["b"]): t["verdict"] for t in data["tests"]}
    lost = [s["skill"] for s in data["skills"] if s["verdict"] == "worse"]
    better = by_pair.get(("base + retrieval", "adapter + retrieval")) == "better"
    if better and not lost:
        return "Adaptation added to retrieval and no loss was detected: repeat it on the customer's own questions."
    if better:
        return (
            f"Adaptation added to retrieval, but cost something ({', '.join(lost)}): try a larger replay share first."
        )
    if by_pair.get(("base", "adapter")) == "better":
        return (
            "Adaptation put knowledge into the weights without adding to retrieval: keep retrieval, and adapt only "
            "where context is what costs."
        )
    return "Adaptation brought no detectable gain here: work on retrieval and data before training again."


def write(data: dict[str, Any], document: str, profile: str) -> str:
    """The brief as Markdown. `data` is the evaluation's artifact."""
    lines = [
        f"# Evidence brief: {document}",
        "",
        f"Profile {profile}. One scorer, the same questions for every rung, asked in words that no training used.",
        "",
        "## What was measured",
        "",
        *_ladder(data),
        "",
    ]
    detectable = data.get("detectable")
    if detectable is not None:
        lines += [f"Differences under {detectable:.0%} cannot be detected with this many questions.", ""]
    lines += [
        "## What changed",
        "",
        *(f"- {line}" for line in verdicts(data)),
        "",
        "## What is not known",
        "",
        "- How a larger model behaves on these questions.",
        "- Questions of other kinds than those asked here.",
        "- Any training seed but the one that was run.",
        "",
        "## What to do next",
        "",
        next_step(data),
        "",
    ]
    return "\n".join(lines)


def figures_named(sentence: str, rungs: pd.DataFrame) -> str:
    """The rung whose rate and both interval ends, in whole per cent, stand in `sentence`; empty if none."""
    numbers = set(re.findall(r"\d+", sentence))
    for row in rungs.itertuples():
        wanted = {f"{100 * value:.0f}" for value in (row.rate, row.low, row.high)}
        if wanted <= numbers:
            return str(row.rung)
    return ""
