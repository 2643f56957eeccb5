"""The one-page brief: every word of it computed from the evaluation, also when nothing changed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from adaptlab.capture import read_manifest
from adaptlab.choosing import mean_cost
from adaptlab.files import atomic_write_text
from adaptlab.pages import page
from adaptlab.report import minutes_by_notebook
from adaptlab.schemas import Generation
from adaptlab.stats import guess_verdict, p_words, paired_bootstrap, points, wilson
from config import LabError

if TYPE_CHECKING:
    from adaptlab.artifacts import Lab

# The results that hold answers, in the order of the ladder.
ANSWERED = (
    "eval_results",
    "eval_with_context",
    "bon_results",
    "bon_with_context.json",
    "adapter_results.json",
    "adapter_with_context.json",
)
# The steps of the evaluation's grid that are no comparison of adapters, and that every customer asks about.
FIRST_STEPS = {("base", "base + retrieval")}


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
        f"{t['b']} against {t['a']}: {points(t['difference'])} on {t['n']} questions, {t['verdict']}."
        for t in data["tests"]
    ]
    return lines + [guess_line(g) for g in data["guess"]] + [_skill_line(s) for s in data["skills"]]


def guess_line(control: dict[str, Any]) -> str:
    """One guess control; it counts the questions whose attribute others share, which can be fewer than the ladder's."""
    right = wilson(control["rate"] * control["n"], control["n"])
    return (
        f"{control['arm']}, closed-book, {control['facts']}: {right.rate:.0%} of {control['n']} right "
        f"({right.low:.0%} to {right.high:.0%}), {guess_verdict(control['above_guess'])} ({control['guess']:.0%})."
    )


def _skill_line(skill: dict[str, Any]) -> str:
    """One skill before and after, with the intervals where they were stored."""
    told = [f"{skill[arm]:.0%}{_ends(skill, arm)} {when}" for arm, when in (("base", "before"), ("adapter", "after"))]
    return f'Skill "{skill["skill"]}": {", ".join(told)}, {skill["verdict"]}.'


def _ends(skill: dict[str, Any], arm: str) -> str:
    low, high = skill.get(f"{arm} low"), skill.get(f"{arm} high")
    return "" if low is None or high is None else f" ({low:.0%} to {high:.0%})"


def next_step(data: dict[str, Any]) -> str:
    """What the comparisons and the skills support doing next."""
    by_pair = {(t["a"], t["b"]): t["verdict"] for t in data["tests"]}
    lost = ", ".join(s["skill"] for s in data["skills"] if s["verdict"] == "worse")
    beside = by_pair.get(("base + retrieval", "adapter + retrieval"))
    if beside == "better":
        if lost:
            return f"Adaptation added to retrieval, but cost something ({lost}): try a larger replay share first."
        return "Adaptation added to retrieval and no loss was detected: repeat it on the customer's own questions."
    if beside == "worse":
        return "Adaptation made answers with retrieval worse: keep the base model, and read what it lost, item by item."
    if by_pair.get(("base", "adapter")) == "better":
        price = f" It also cost something ({lost}): try a larger replay share before anybody relies on it." * bool(lost)
        return (
            "Adaptation put knowledge into the weights, and beside retrieval no gain was detected: keep retrieval, and "
            f"adapt only where the pages in each prompt are too slow or too dear.{price}"
        )
    return "Adaptation brought no detectable gain here: work on retrieval and data before training again."


def headline(data: dict[str, Any]) -> str:
    """The one sentence to remember: what adaptation added to the best that was there without it."""
    by_pair = {(t["a"], t["b"]): t for t in data["tests"]}
    test = by_pair.get(("base + retrieval", "adapter + retrieval")) or (data["tests"] or [None])[-1]
    if test is None:
        return "No paired comparison was made, so nothing can be said about a difference."
    low, high = difference_interval(test)
    ends = f"95 % interval {100 * low:+.0f} to {100 * high:+.0f}"
    found = f"{points(test['difference'])} ({ends}) on {test['n']} questions"
    return f"{test['b']} against {test['a']}: {test['verdict']}, {found}."


def difference_interval(test: dict[str, Any]) -> tuple[float, float]:
    """The 95 % bootstrap interval of a paired difference, from the four counts that the test is made of."""
    counts = [int(test[name]) for name in ("both", "only_a", "only_b", "neither")]
    first = np.repeat([1.0, 1.0, 0.0, 0.0], counts)
    second = np.repeat([1.0, 0.0, 1.0, 0.0], counts)
    interval = paired_bootstrap(first, second)
    return interval.low, interval.high


def unknown(data: dict[str, Any]) -> list[str]:
    """What these results cannot say, with the figures that bound it."""
    lines = []
    if data.get("detectable") is not None:
        asked = max((row["n"] for row in data["ladder"]), default=0)
        least = points(data["detectable"], signed=False)
        lines.append(f"Differences under {least}: {asked} questions are too few to show them.")
    unsure = [t for t in data["tests"] if t["verdict"].startswith("no detectable")]
    if unsure:
        lines.append(
            f"Whether there is any difference in {len(unsure)} of {len(data['tests'])} comparisons: none was detected, "
            "which does not show that there is none."
        )
    guessed = [row["rung"] for row in data["ladder"] if row["guess"] is None]
    if guessed:
        lines.append(f"How much guessing is in these rungs: {'; '.join(guessed)}.")
    return [
        *lines,
        "How a larger model behaves on these questions, and how any model behaves on questions of other kinds.",
        "Any training seed but the one that was run.",
    ]


def cost(lab: Lab) -> dict[str, Any]:
    """What answering and training took, from the artifacts and their sidecars; empty parts where there are none."""
    answers, origins = [], []
    for name in ANSWERED:
        try:
            result = lab.result(name)
        except LabError:
            continue
        generations = [Generation.model_validate(item) for item in result.data]
        origins.append(result.label)
        for arm in dict.fromkeys(item.arm for item in generations):
            mine = [item for item in generations if item.arm == arm]
            tokens, seconds = mean_cost(mine)
            drawn = len(mine) / (len({item.question_id for item in mine}) or 1)
            answers.append({"arm": arm, "drawn": drawn, "tokens": tokens, "seconds": seconds})
    try:
        adapter = lab.result("adapter")
        training = json.loads((adapter.path / "cost.json").read_text("utf-8"))
        device, origins = adapter.provenance.device, [*origins, adapter.label]
    except (LabError, OSError, ValueError):
        training, device = {}, ""
    minutes = minutes_by_notebook(lab.settings) or _minutes(lab)
    return {
        "answers": answers,
        "training": training,
        "device": device,
        "minutes": dict(sorted(minutes.items())),
        "origins": list(dict.fromkeys(origins)),
    }


def _minutes(lab: Lab) -> dict[str, float]:
    """Minutes by notebook of the captured run, for a machine that has none of its own."""
    manifest = read_manifest(lab.settings.prebuilt_dir)
    return {name: seconds / 60 for name, seconds in manifest.notebooks.items()} if manifest else {}


def cost_lines(spent: dict[str, Any] | None) -> list[str]:
    """The costs as Markdown; without any, how to get them onto the page."""
    if not spent or not (spent["answers"] or spent["training"]):
        return ["Not on this page: `adaptlab brief` adds what each answer and the training took."]
    lines = []
    if spent["answers"]:
        lines += ["| answers by | samples a question | tokens a question | seconds a question |", "|---|---|---|---|"]
        lines += [
            f"| {row['arm']} | {row['drawn']:.0f} | {row['tokens']:.0f} | {row['seconds']:.3f} |"
            for row in spent["answers"]
        ]
        lines.append("")
    if spent["training"]:
        lines += [training_words(spent["training"], spent["device"]), ""]
    if spent["minutes"]:
        told = ", ".join(f"{name[:2]} {value:.1f}" for name, value in spent["minutes"].items())
        lines.append(f"Minutes of computing by section: {told}.")
    return lines


def training_words(cost: dict[str, Any], device: str) -> str:
    """What training took, in one sentence made of what was noted."""
    known = {
        "minutes": "{:.1f} minutes",
        "rows": "{:,} rows",
        "epochs": "{:g} epochs",
        "steps": "{:,} steps",
        "tokens": "{:,} tokens",
        "trainable weights": "{:,} trained weights",
        "weights": "{:,} weights in all",
        "peak memory (GB)": "{:.1f} GB of memory at most",
    }
    told = [words.format(cost[name]) for name, words in known.items() if name in cost]
    return f"Training on {device}: {', '.join(told)}."


def _tests(data: dict[str, Any]) -> list[str]:
    """The paired comparisons with their intervals and p values, first what retrieval alone brought."""
    made = {(test["a"], test["b"]) for test in data["tests"]}
    steps = [step for step in data.get("steps", []) if (step["a"], step["b"]) in FIRST_STEPS - made]
    lines = []
    for test in [*steps, *data["tests"]]:
        low, high = (test["low"], test["high"]) if "low" in test else difference_interval(test)
        lines.append(
            f"- {test['b']} against {test['a']}: {points(test['difference'])} ({100 * low:+.0f} to {100 * high:+.0f}, "
            f"n = {test['n']}, {p_words(test.get('p (Holm)', test['p']))}), {test['verdict']}."
        )
    return lines


def write(data: dict[str, Any], document: str, profile: str, cost: dict[str, Any] | None = None) -> str:
    """The brief as Markdown, one page. `data` is the evaluation's artifact, `cost` what `cost()` found."""
    groups = {row["questions"]: row["n"] for row in data.get("scores", [])}
    asked = "; ".join(f"{name} ({count})" for name, count in groups.items())
    origins = [f"Origin: {' | '.join(cost['origins'])}."] if cost and cost["origins"] else []
    about = f"Profile {profile}. One scorer, the same questions for every rung, asked in words that no training used."
    lines = [
        f"# Evidence brief: {document}",
        "",
        f"**{headline(data)}**",
        "",
        " ".join([about, *origins]),
        "",
        "## What was measured",
        "",
        *_ladder(data),
        "",
        *([f"Questions: {asked}.", ""] if asked else []),
        "## What changed",
        "",
        *_tests(data),
        *(f"- {line}" for line in verdicts(data)[len(data["tests"]) :]),
        "",
        "## What it cost",
        "",
        *cost_lines(cost),
        "",
        "## What is not known",
        "",
        *(f"- {line}" for line in unknown(data)),
        "",
        "## What to do next",
        "",
        next_step(data),
        "",
    ]
    return "\n".join(lines)


def export(lab: Lab, folder: Path) -> list[Path]:
    """Write `evidence_brief.md` and `evidence_brief.html` with costs into `folder`; returns both paths."""
    text = write(lab.result("evaluation").data, lab.settings.document.name, lab.profile.name, cost(lab))
    title = f"Evidence brief: {lab.settings.document.name}"
    return [
        atomic_write_text(folder / "evidence_brief.md", text),
        atomic_write_text(folder / "evidence_brief.html", page(text, title)),
    ]


def figures_named(sentence: str, rungs: pd.DataFrame) -> str:
    """The rung whose rate and both interval ends, in whole per cent, stand in `sentence`; empty if none."""
    numbers = set(re.findall(r"\d+", sentence))
    for row in rungs.itertuples():
        wanted = {f"{100 * value:.0f}" for value in (row.rate, row.low, row.high)}
        if wanted <= numbers:
            return str(row.rung)
    return ""
