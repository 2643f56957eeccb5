"""The escalation ladder as a conversation: what customers say, what to ask back, and what these results say to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from adaptlab.stats import points

COLUMNS = ["they say", "you ask", "the rung", "what these results say"]
# What is said, what to ask back, the rung it leads to, and the two arms whose comparison belongs to it.
TURNS = (
    ("It knows nothing about our documents.", "Is the answer on a page that we could show it?", "retrieval",
     ("base", "base + retrieval")),
    ("It has the page and still gets it wrong.", "Is the right answer among several tries?", "Best-of-N",
     ("base + retrieval", "base + retrieval, majority")),
    ("It never gets these right.", "Is there enough text to make rows from, and who checks them?", "adapter",
     ("base", "adapter")),
    ("Pages in every prompt are too slow or too dear.", "How many answers a day, and what may one cost?", "adapter",
     ("base + retrieval", "adapter")),
    ("We want the best that there is.", "What is the last bit worth to you?", "adapter and retrieval",
     ("base + retrieval", "adapter + retrieval")),
)  # fmt: skip


def ladder_talk(data: Mapping[str, Any]) -> pd.DataFrame:
    """The turns of the conversation beside the evaluation's own comparisons; a turn without one says so."""
    found = {(test["a"], test["b"]): test for test in [*data.get("steps", []), *data["tests"]]}
    lines = [(said, asked, rung, _words(found.get(arms), arms)) for said, asked, rung, arms in TURNS]
    lines.append(("Will it break something?", "What else does it have to be good at?", "any training", _lost(data)))
    return pd.DataFrame(lines, columns=COLUMNS)


def _words(test: Mapping[str, Any] | None, arms: Sequence[str]) -> str:
    """What a paired comparison found, in one line."""
    if test is None:
        return f"{arms[1]} was not compared with {arms[0]}"
    return f"{test['b']} against {test['a']}: {points(test['difference'])}, {test['verdict']}"


def _lost(data: Mapping[str, Any]) -> str:
    """The skills that got worse, or that none was seen to."""
    worse = [f"{s['skill']} {points(s['adapter'] - s['base'])}" for s in data["skills"] if s["verdict"] == "worse"]
    if worse:
        return f"worse after training: {', '.join(worse)}"
    return f"of {len(data['skills'])} skills none was seen to get worse" if data["skills"] else "no skill was measured"
