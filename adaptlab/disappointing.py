"""What to say when a result disappoints: each finding of an evaluation that a room may not like, with words for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adaptlab import brief
from adaptlab.stats import points


def lines(data: Mapping[str, Any]) -> list[str]:
    """The chapter of the guide, as Markdown."""
    hard, expected = list(_hard(data)), list(_expected(data))
    found = [
        "## When a result disappoints",
        "",
        "Say what was found, with its interval, before anybody explains it.",
        "",
        *(f"- {what} *Say:* {say}" for what, say in hard),
        "",
    ]
    if expected:
        listed = [f"- {what} *Say:* {say}" for what, say in expected]
        found += ["These look poor and are as they should be:", "", *listed, ""]
    return [*found, f"What follows from all of it: {brief.next_step(dict(data))}", ""]


def _hard(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Findings against what people hope for."""
    told = brief.verdicts(dict(data))
    for test, what in zip(data["tests"], told, strict=False):
        if test["verdict"] == "worse":
            yield what, "it got worse, and that is a result. Read the questions that were lost one by one, in 4.8."
        elif test["verdict"] != "better":
            yield what, f"{_bound(data, test)} Until a larger set says otherwise, the cheaper of the two stays."
    for control in data["guess"]:
        hoped = control["arm"] == "adapter" and control["facts"] == "visible facts"
        if hoped and not control["above_guess"]:
            yield brief.guess_line(control), "training taught nothing beyond guessing: look at 2.9 first."
        if control["facts"] == "held-out facts" and control["above_guess"]:
            yield brief.guess_line(control), "nobody could know these: something leaked. Stop and find it."
    for skill, what in zip(data["skills"], told[len(data["tests"]) + len(data["guess"]) :], strict=True):
        if skill["verdict"] == "worse":
            yield what, "knowledge went in and this went out. A larger replay share (2.10) or fewer epochs may hold it."


def _expected(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Findings that look poor and are what a sound experiment shows."""
    for control in data["guess"]:
        if control["above_guess"]:
            continue
        if control["facts"] == "held-out facts" and control["arm"] == "adapter":
            yield brief.guess_line(control), "no training row held these facts, so no leak is seen."
        elif control["facts"] != "held-out facts" and control["arm"] == "base":
            yield brief.guess_line(control), "the model never saw the document; that is why we are here."


def _bound(data: Mapping[str, Any], test: Mapping[str, Any]) -> str:
    """What a test that found nothing leaves open."""
    least = test.get("detectable") or data.get("detectable")
    if least is None:
        return f"{test['n']} questions are too few to show any difference."
    return f"{test['n']} questions show {points(least, signed=False)} or more; a smaller difference may be there."
