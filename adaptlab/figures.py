"""The lab's figures: colour-blind safe, with units, intervals and the origin of the data in small print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from adaptlab.figures_style import (
    BLUE,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    PALETTE,
    PURPLE,
    RED,
    SKY,
    YELLOW,
    canvas,
    error_bars,
    finish,
    name_ticks,
    percent_axis,
    plain,
)

LAYER_COLOURS = {
    "right": GREEN,
    "call failed": "#000000",
    "proving quote on the page": GREEN,
    "proving quote not retrieved": ORANGE,
    "retrieved but cut off": BLUE,
    "retrieved and still wrong": RED,
    "refused wrongly": PURPLE,
    "wrong without context": RED,
    "refused without context": SKY,
    "should have refused": YELLOW,
}
WITHOUT_CONTEXT = {"wrong without context", "refused without context"}
MEASURE_STYLE: dict[str, tuple[str, str, str]] = {
    "ceiling (pass@N)": (GREY, "--", "^"),
    "guess control of the ceiling": (GREY, ":", "x"),
    "majority@N": (BLUE, "-", "o"),
    "re-answer@N": (ORANGE, "-", "s"),
}

SPARE = (GREEN, PURPLE, RED, SKY)  # measures without a style of their own, such as judges


def ladder(
    rungs: pd.DataFrame,
    origin: str = "",
    guess: float | None = None,
    detectable: float | None = None,
    title: str = "The ladder: answers right on the same questions",
) -> Figure:
    """Bars of `rung, rate, low, high` in order, with the guess control as a line and the detectable difference."""
    figure, (ax,) = canvas(width=max(6.0, 1.5 * len(rungs) + 2))
    x = range(len(rungs))
    ax.bar(x, rungs["rate"], width=0.62, color=BLUE, yerr=error_bars(rungs), capsize=4, ecolor="#333333")
    for at, (rate, high) in enumerate(zip(rungs["rate"], rungs["high"], strict=True)):
        ax.text(at, min(high + 0.02, 1.0), f"{100 * rate:.0f} %", ha="center", va="bottom", fontsize=9)
    if guess is not None:
        ax.axhline(guess, color=RED, linestyle=":", linewidth=1.6, label=f"guess control {100 * guess:.0f} %")
        ax.legend(loc="upper left", frameon=False, fontsize=9)
    name_ticks(ax, list(rungs["rung"]))
    percent_axis(ax)
    ax.set_ylim(0, 1.12)
    note = "bars: 95 % Wilson intervals"
    if detectable is not None and detectable == detectable:
        note += f"; smallest difference this set detects: {100 * detectable:.0f} points"
    return finish(figure, title, "; ".join(part for part in (note, origin) if part))


def layers_bar(counts: pd.DataFrame, origin: str = "", title: str = "Where each question fails") -> Figure:
    """Stacked bars of the questions of each arm by layer, from `evaluation.layer_counts`."""
    arms = list(dict.fromkeys(counts["arm"]))
    figure, (ax,) = canvas(width=9.0, height=1.6 + 0.75 * len(arms) + 0.6)
    ax.grid(visible=False)
    longest = counts.groupby("arm")["questions"].sum().max()
    for name, colour in LAYER_COLOURS.items():
        part = counts[counts["layer"] == name].set_index("arm")["questions"].reindex(arms, fill_value=0)
        if not part.any():
            continue
        left = _before(counts, arms, name)
        hatch = "//" if name in WITHOUT_CONTEXT else None
        ax.barh(range(len(arms)), part, left=left, color=colour, hatch=hatch, edgecolor="white", label=name, height=0.6)
        for at, (count, start) in enumerate(zip(part, left, strict=True)):
            if count:
                thin = count < 0.03 * longest  # too narrow for its number, which then stands above it
                ink = "black" if thin or colour in (YELLOW, ORANGE, SKY) or hatch else "white"
                patch = {"facecolor": "white", "edgecolor": "none", "pad": 1.5} if hatch and not thin else None
                place: dict[str, Any] = {"ha": "center", "va": "bottom" if thin else "center", "fontsize": 8.5}
                height = at - 0.31 if thin else at
                ax.text(start + count / 2, height, str(int(count)), color=ink, bbox=patch, **place)
    ax.set_yticks(range(len(arms)), [plain(arm) for arm in arms])
    ax.invert_yaxis()
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("questions")
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.28), ncols=3, frameon=False, fontsize=8.5)
    return finish(figure, title, origin)


def _before(counts: pd.DataFrame, arms: Sequence[str], layer: str) -> list[float]:
    """Where a layer's bar starts: behind the layers drawn before it."""
    names = list(LAYER_COLOURS)
    earlier = counts[counts["layer"].isin(names[: names.index(layer)])]
    return [float(earlier.loc[earlier["arm"] == arm, "questions"].sum()) for arm in arms]


def bon_curves(curves: pd.DataFrame, origin: str = "", title: str = "Best-of-N: what selecting reaches") -> Figure:
    """Accuracy over N with the ceiling beside its guess control, then over the tokens and seconds that it costs."""
    figure, axes = canvas(width=13.0, height=4.8, columns=3)
    for number, (measure, part) in enumerate(curves.groupby("measure", sort=False)):
        spare = (SPARE[number % len(SPARE)], "-.", MARKERS[(number + 3) % len(MARKERS)])
        colour, line, marker = MEASURE_STYLE.get(str(measure), spare)
        part = part.sort_values("n")
        style: dict[str, Any] = {"color": colour, "linestyle": line, "marker": marker, "label": plain(measure)}
        for ax, cost in zip(axes, ("n", "tokens", "seconds"), strict=True):
            ax.plot(part[cost], part["rate"], **style)
            ax.fill_between(part[cost], part["low"], part["high"], color=colour, alpha=0.12, linewidth=0)
    counts = sorted(curves["n"].unique())
    axes[0].set_xscale("log", base=2)
    axes[0].set_xticks(counts, [str(n) for n in counts])
    axes[0].set_xlabel("candidates a question (N)")
    axes[1].set_xlabel("tokens a question (prompt read once)")
    axes[2].set_xlabel("seconds a question (share of its batch)")
    for ax in axes:
        percent_axis(ax)
    names = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    figure.legend(list(names.values()), list(names), loc="outside upper right", ncols=4, frameon=False, fontsize=9)
    note = "bands: 95 % intervals over the questions; only what exceeds the guess control is knowledge"
    return finish(figure, title, "; ".join(part for part in (note, origin) if part))


def seed_spread(
    drawn: pd.DataFrame, origin: str = "", title: str = "The same selector under other seeds of sampling"
) -> Figure:
    """A dot for each seed of `bestofn.spread`, a panel for each value of the column `arm` if there is one."""
    panels = drawn.groupby("arm", sort=False) if "arm" in drawn else [("", drawn)]
    figure, axes = canvas(width=10.0, columns=len(panels))
    for ax, (arm, part) in zip(axes, panels, strict=True):
        counts = sorted(part["n"].unique())
        measures = list(dict.fromkeys(part["measure"]))
        for number, (measure, points) in enumerate(part.groupby("measure", sort=False)):
            colour, _, marker = MEASURE_STYLE.get(str(measure), (SPARE[number % len(SPARE)], "-.", "D"))
            x = points["n"].map(counts.index) + 0.22 * (number - (len(measures) - 1) / 2)
            ax.scatter(x, points["rate"], color=colour, marker=marker, alpha=0.55, s=28, label=plain(measure))
            means = points.groupby("n")["rate"].mean()
            at = [counts.index(n) + 0.22 * (number - (len(measures) - 1) / 2) for n in means.index]
            ax.hlines(means, [i - 0.09 for i in at], [i + 0.09 for i in at], color=colour, linewidth=2.2)
        seeds = part.groupby("n")["seed"].max()
        name_ticks(ax, [f"N = {n} ({seeds[n]}\u00a0seeds)" for n in counts], width=10)
        percent_axis(ax)
        ax.set_title(plain(arm), fontsize=10, loc="left")
        ax.legend(frameon=False, fontsize=9, loc="upper right")
    note = "a dot is one seed, a line their mean; seeds are disjoint groups of N candidates"
    return finish(figure, title, "; ".join(part for part in (note, origin) if part))


def gap_bars(
    gaps: pd.DataFrame, origin: str = "", title: str = "What selection leaves on the table, beyond guessing"
) -> Figure:
    """Points of `bestofn.left_on_table` over N with intervals; a column `arm` makes several series."""
    figure, (ax,) = canvas(width=8.0)
    named = gaps if "arm" in gaps else gaps.assign(arm="ceiling less best selector")
    counts = sorted(named["n"].unique())
    series = list(named.groupby("arm", sort=False))
    for number, (arm, part) in enumerate(series):
        x = [counts.index(n) + 0.16 * (number - (len(series) - 1) / 2) for n in part["n"]]
        rate = part.rename(columns={"beyond guessing": "rate"})
        style: dict[str, Any] = {"color": PALETTE[number], "marker": MARKERS[number], "linestyle": "none"}
        ax.errorbar(x, rate["rate"], yerr=error_bars(rate), capsize=4, label=plain(arm), **style)
    ax.axhline(0, color="#333333", linewidth=1)
    name_ticks(ax, [f"N = {n}" for n in counts])
    ax.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=""))
    ax.set_ylabel("ceiling less best selector,\nless what guessing explains (points)")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=9)
    note = "bars: 95 % bootstrap intervals over the questions; at or under 0 a better chooser finds guesses only"
    return finish(figure, title, "; ".join(part for part in (note, origin) if part))


def loss_curve(log: pd.DataFrame, origin: str = "", title: str = "Training loss") -> Figure:
    """The loss over the steps of a training log with `step`, `loss` and, where measured, `eval_loss`."""
    figure, (ax,) = canvas()
    trained = log.dropna(subset=["loss"])
    ax.plot(trained["step"], trained["loss"], color=SKY, linewidth=1.2, label="each logged step")
    window = max(1, len(trained) // 20)
    if window > 1:
        smooth = trained["loss"].rolling(window, min_periods=1).mean()
        ax.plot(trained["step"], smooth, color=BLUE, linewidth=2, label=f"mean of {window} logged steps")
    if "eval_loss" in log and log["eval_loss"].notna().any():
        held = log.dropna(subset=["eval_loss"])
        ax.plot(held["step"], held["eval_loss"], color=ORANGE, marker="s", label="held-out rows")
    ax.set_xlabel("optimiser step")
    ax.set_ylabel("cross-entropy (nats a token)")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, fontsize=9)
    return finish(figure, title, origin)


def category_bars(
    table: pd.DataFrame, origin: str = "", by: str = "category", title: str = "Answers right by category"
) -> Figure:
    """Grouped bars with intervals from `evaluation.score_table(..., by=...)`."""
    groups, arms = list(dict.fromkeys(table[by])), list(dict.fromkeys(table["arm"]))
    figure, (ax,) = canvas(width=max(7.5, 1.2 * len(groups) + 2.5), height=4.8)
    width = 0.8 / max(1, len(arms))
    for number, arm in enumerate(arms):
        part = table[table["arm"] == arm].set_index(by).reindex(groups)
        x = [at - 0.4 + width * (number + 0.5) for at in range(len(groups))]
        shade = PALETTE[number % len(PALETTE)]
        bar: dict[str, Any] = {"color": shade, "label": plain(arm), "edgecolor": "white"}
        ax.bar(x, part["rate"], width=width, yerr=error_bars(part), capsize=2.5, ecolor="#333333", **bar)
    sizes = table.groupby(by)["n"].max()
    name_ticks(ax, [f"{str(group).replace('_', ' ')} (n={sizes[group]})" for group in groups], width=14)
    percent_axis(ax)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=min(4, len(arms)), frameon=False, fontsize=9)
    return finish(figure, title, "; ".join(part for part in ("bars: 95 % Wilson intervals", origin) if part))


def recall_curve(table: pd.DataFrame, origin: str = "", title: str = "Is the proving quote retrieved?") -> Figure:
    """Recall over k from `retrieval.recall_table`; a column `series`, such as the chunk size, makes several lines."""
    figure, (ax,) = canvas(width=7.5)
    named = table if "series" in table else table.assign(series="all proving quotes of a question")
    for number, (name, part) in enumerate(named.groupby("series", sort=False)):
        style: dict[str, Any] = {"color": PALETTE[number % len(PALETTE)], "marker": MARKERS[number % len(MARKERS)]}
        beside = part["k"] + 0.07 * number  # so that intervals do not cover each other
        ax.errorbar(beside, part["rate"], yerr=error_bars(part), capsize=3, label=plain(name), **style)
    ax.set_xticks(sorted(table["k"].unique()))
    ax.set_xlabel("chunks retrieved (k)")
    percent_axis(ax, "questions with their proof retrieved (%)")
    ax.legend(frameon=False, fontsize=9, loc="lower right")
    return finish(figure, title, "; ".join(part for part in ("bars: 95 % Wilson intervals", origin) if part))
