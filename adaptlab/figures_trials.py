"""Figures of compared trainings: rates over a setting such as the rank, and costs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from adaptlab.figures_style import MARKERS, PALETTE, canvas, error_bars, finish, name_ticks, percent_axis, plain


def sweep(table: pd.DataFrame, xlabel: str, origin: str = "", title: str = "", ticks: Sequence[str] = ()) -> Figure:
    """Rates of `measure, x, rate, low, high` over x (even steps, in order), one line a measure, with intervals.

    `ticks` are the words under the values of x, in order; without them the values themselves.
    """
    figure, (ax,) = canvas(width=8.5, height=4.6)
    values = sorted(table["x"].unique())
    series = list(table.groupby("measure", sort=False))
    for number, (measure, part) in enumerate(series):
        part = part.sort_values("x")
        beside = [values.index(x) + 0.06 * (number - (len(series) - 1) / 2) for x in part["x"]]
        style: dict[str, Any] = {"color": PALETTE[number % len(PALETTE)], "marker": MARKERS[number % len(MARKERS)]}
        ax.errorbar(beside, part["rate"], yerr=error_bars(part), capsize=3, label=plain(measure), **style)
    name_ticks(ax, list(ticks) or [f"{value:g}" for value in values])
    ax.set_xlabel(xlabel)
    percent_axis(ax)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=min(4, len(series)), frameon=False, fontsize=9)
    note = "bars: 95 % Wilson intervals; lines only lead the eye"
    return finish(figure, title, "; ".join(part for part in (note, origin) if part))


def cost_bars(table: pd.DataFrame, columns: Sequence[str], origin: str = "", title: str = "What each took") -> Figure:
    """A panel for each of `columns` (named with their unit), a bar for each trial, its value above it."""
    figure, axes = canvas(width=3.2 * len(columns) + 1.0, height=3.8, columns=len(columns))
    for ax, column in zip(axes, columns, strict=True):
        heights = table[column].astype(float)
        ax.bar(range(len(table)), heights, width=0.6, color=[PALETTE[at % len(PALETTE)] for at in range(len(table))])
        for at, value in enumerate(heights):
            ax.text(at, value, f"{value:.3g}", ha="center", va="bottom", fontsize=9)
        name_ticks(ax, list(table["trial"]), width=12)
        ax.set_ylabel(column)
        ax.set_ylim(0, 1.15 * max(heights.max(), 1e-9))
    return finish(figure, title, origin)
