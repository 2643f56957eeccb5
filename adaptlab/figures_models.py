"""Figures of compared models: the search for a learning rate, the spread of seeds, and quality beside what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from adaptlab.figures_style import MARKERS, PALETTE, canvas, error_bars, finish, name_ticks, percent_axis, plain


def _styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour and a marker for each name, in order."""
    count = len(PALETTE)
    return {n: {"color": PALETTE[at % count], "marker": MARKERS[at % count]} for at, n in enumerate(names)}


def rate_search(table: pd.DataFrame, origin: str = "", title: str = "The search for a learning rate") -> Figure:
    """The validation loss over the learning rates, a line for each `model`; the `chosen` ones have a ring."""
    figure, (ax,) = canvas(width=7.5)
    for model, style in _styles(list(dict.fromkeys(table["model"]))).items():
        part = table[table["model"] == model].sort_values("rate")
        ax.plot(part["rate"], part["validation loss"].astype(float), label=plain(model), **style)
        chosen = part[part["chosen"].astype(bool)]
        losses = chosen["validation loss"].astype(float)
        ring: dict[str, Any] = {"facecolors": "none", "edgecolors": style["color"], "linewidths": 1.6, "s": 170}
        ax.scatter(chosen["rate"], losses, label="_chosen", **ring)
    rates = sorted(table["rate"].unique())
    ax.set_xscale("log")
    ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
    ax.minorticks_off()
    ax.set_xlabel("learning rate (log scale)")
    ax.set_ylabel("loss on validation rows (nats a token)")
    columns = min(4, table["model"].nunique())
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, frameon=False, fontsize=9)
    note = "ring: chosen; lines only lead the eye"
    return finish(figure, title, "; ".join(part for part in (note, origin) if part))


def seed_dots(table: pd.DataFrame, origin: str = "", title: str = "The same training from other seeds") -> Figure:
    """A dot for each seed of `model, arm, seed, rate`, a dash for the mean; a series for each arm."""
    models, arms = list(dict.fromkeys(table["model"])), list(dict.fromkeys(table["arm"]))
    figure, (ax,) = canvas(width=max(6.0, 1.7 * len(models) + 1.5))
    for number, (arm, style) in enumerate(_styles(arms).items()):
        part = table[table["arm"] == arm]
        beside = 0.3 * (number - (len(arms) - 1) / 2)
        ax.scatter([models.index(m) + beside for m in part["model"]], part["rate"], s=34, label=plain(arm), **style)
        means = part.groupby("model", sort=False)["rate"].mean()
        at = [models.index(m) + beside for m in means.index]
        ax.hlines(means, [x - 0.1 for x in at], [x + 0.1 for x in at], color=style["color"], linewidth=2.2)
    name_ticks(ax, models)
    percent_axis(ax)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(arms), frameon=False, fontsize=9)
    note = f"a dot is one seed of {table['seed'].nunique()}, a dash their mean"
    return finish(figure, title, "; ".join(part for part in (note, origin) if part))


def trade_offs(
    table: pd.DataFrame, panels: Mapping[str, str], origin: str = "", title: str = "Quality beside what it costs"
) -> Figure:
    """A panel for each of `panels` (column: label with unit) with `rate, low, high` over it.

    A line for each `model`, a marker for each `arm`; the horizontal axis is logarithmic.
    """
    models, arms = list(dict.fromkeys(table["model"])), list(dict.fromkeys(table["arm"]))
    colours = {model: style["color"] for model, style in _styles(models).items()}
    markers = {arm: style["marker"] for arm, style in _styles(arms).items()}
    figure, axes = canvas(width=4.4 * len(panels) + 1.8, height=4.6, columns=len(panels))
    for ax, (column, label) in zip(axes, panels.items(), strict=True):
        for model in models:
            part = table[table["model"] == model]
            bars: dict[str, Any] = {"fmt": "none", "ecolor": colours[model], "elinewidth": 0.9, "alpha": 0.6}
            ax.errorbar(part[column], part["rate"], yerr=error_bars(part), **bars)
            ax.plot(part[column], part["rate"], color=colours[model], linewidth=0.8, alpha=0.7, label=plain(model))
            for line in part.to_dict("records"):
                dot: dict[str, Any] = {"color": colours[model], "marker": markers[line["arm"]], "s": 48, "zorder": 3}
                ax.scatter([line[column]], [line["rate"]], label="_arm", **dot)
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel(label)
        percent_axis(ax)
    ink = [Line2D([], [], color=colours[model], linewidth=3, label=plain(model)) for model in models]
    shapes = [Line2D([], [], color="#333333", marker=markers[arm], linestyle="none", label=plain(arm)) for arm in arms]
    figure.legend(handles=[*ink, *shapes], loc="outside right center", frameon=False, fontsize=9)
    note = "log scales; bars: 95 % Wilson intervals; lines only tie the arms of a model"
    return finish(figure, title, "; ".join(part for part in (note, origin) if part))
