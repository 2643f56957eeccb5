"""The figures of section 03: memory part by part against the card's, and what a training log holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from adaptlab.figures_style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, YELLOW, finish, plain

PART_STYLE: dict[str, tuple[str, str | None]] = {  # colour and hatch, the same in every bar
    "weights": (BLUE, None),
    "quantisation constants": (SKY, None),
    "adapter": (GREEN, None),
    "gradients": (YELLOW, None),
    "optimiser": (ORANGE, None),
    "checkpoints": (PURPLE, "//"),
    "activations of one layer": (PURPLE, None),
    "activations": (PURPLE, None),
    "logits": (RED, None),
    "working space": (GREY, None),
    "cache": (GREEN, "//"),
}
PHASES = ("training", "generation")


def memory_bars(
    plans: Sequence[Mapping[str, Any]], origin: str = "", title: str = "Will it fit? Memory, part by part"
) -> Figure:
    """Stacked bars of the plans of `fit_plans`, two each, as shares of the memory that there is; 100 % is all of it.

    A plan without a known memory is drawn as shares of its own peak.
    """
    bars = [(plan, phase) for plan in plans for phase in PHASES]
    figure = Figure(figsize=(10.0, 1.9 + 0.42 * len(bars)), dpi=110, layout="constrained")
    ax = figure.subplots()
    longest = 1.0
    for at, (plan, phase) in enumerate(bars):
        parts = plan[phase]
        whole = plan["memory"] or max(sum(plan[name].values()) for name in PHASES)
        _stack(ax, at, parts, whole)
        share = sum(parts.values()) / whole
        words = f" {sum(parts.values()) / 1e9:.2f} of {whole / 1e9:.1f} GB" if plan["memory"] else ""
        ax.text(share, at, words, va="center", fontsize=8.5)
        longest = max(longest, share)
    names = [f"{plan.get('profile') or plan['model']}, {phase}" for plan, phase in bars]
    ax.set_yticks(range(len(bars)), [plain(name) for name in names], fontsize=9)
    ax.axvline(1.0, color="black", linestyle="--", linewidth=1.4)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.22 * longest)
    ax.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    ax.set_xlabel("share of the memory; the line is all of it")
    ax.spines[["top", "right"]].set_visible(False)
    below = (0.45, -0.55 / (0.6 + 0.21 * len(bars)))
    ax.legend(*_legend(ax), loc="upper center", bbox_to_anchor=below, ncols=6, frameon=False, fontsize=8)
    return finish(figure, title, origin)


def _stack(ax: Axes, at: int, parts: Mapping[str, float], whole: float) -> None:
    """One bar: its parts beside each other, in the order in which they are counted."""
    left = 0.0
    for name, size in parts.items():
        colour, hatch = PART_STYLE.get(name, (GREY, ".."))
        style: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.4}
        ax.barh(at, size / whole, left=left, height=0.62, label=name, **style)
        left += size / whole


def _legend(ax: Axes) -> tuple[list[Any], list[str]]:
    """Each part once, in the order of PART_STYLE."""
    handles, names = ax.get_legend_handles_labels()
    found = dict(zip(names, handles, strict=True))
    ordered = [name for name in PART_STYLE if name in found] + [name for name in found if name not in PART_STYLE]
    return [found[name] for name in ordered], ordered


def training_run(
    log: pd.DataFrame, origin: str = "", title: str = "The run: loss, learning rate, speed and memory"
) -> Figure:
    """Four panels over the optimiser steps of a `training_log.jsonl`: what the live picture showed, and speed."""
    figure = Figure(figsize=(10.0, 5.4), dpi=110, layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    trained = log.dropna(subset=["loss"])
    panels[0].plot(trained["step"], trained["loss"], color=SKY, linewidth=1.0, label="training rows, each logged step")
    smooth = trained["loss"].rolling(max(1, len(trained) // 20), min_periods=1).mean()
    panels[0].plot(trained["step"], smooth, color=BLUE, linewidth=2, label="their moving mean")
    if "eval_loss" in log and log["eval_loss"].notna().any():
        held = log.dropna(subset=["eval_loss"])
        panels[0].plot(held["step"], held["eval_loss"], color=ORANGE, marker="s", label="validation rows, other facts")
    panels[0].legend(frameon=False, fontsize=8)
    panels[1].plot(trained["step"], trained["learning_rate"], color=GREEN, linewidth=2)
    panels[2].plot(trained["step"], trained["tokens_per_second"], color=PURPLE, linewidth=1.2)
    panels[3].plot(log["step"], log["memory_bytes"] / 1e9, color=RED, linewidth=1.5)
    names = ("cross-entropy (nats a token)", "learning rate", "tokens a second", "memory in use (GB)")
    for ax, name in zip(panels, names, strict=True):
        ax.set_ylabel(name, fontsize=9)
        ax.set_xlabel("optimiser step", fontsize=9)
        ax.set_xlim(left=0)
        ax.set_ylim(bottom=0)
        ax.grid(axis="y", color="#DDDDDD", linewidth=0.8)
        ax.spines[["top", "right"]].set_visible(False)
    return finish(figure, title, origin)
