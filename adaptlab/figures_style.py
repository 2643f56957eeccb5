"""What all figures of the lab share: colours that everybody can tell apart, an empty figure, and its last touches."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from adaptlab.inert import inert

# Okabe and Ito (2008), in the order of use.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#7F7F7F",
)
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MOST_LINES = 6  # of a label, so that a very long name leaves room for the figure


def canvas(width: float = 8.0, height: float = 4.2, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure (inches) with axes side by side, light horizontal lines and no box."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", color="#DDDDDD", linewidth=0.8)
        ax.set_axisbelow(True)
    return figure, list(axes)


def finish(figure: Figure, title: str, origin: str) -> Figure:
    """The figure with its title, and in small print where its data come from."""
    figure.suptitle(plain(title), fontsize=12, x=0.01, ha="left")
    if origin:
        figure.supxlabel(plain(origin), fontsize=7.5, color="#555555", x=0.99, ha="right")
    return figure


def plain(text: object) -> str:
    """Text as it is: matplotlib would read a pair of dollar signs as mathematics."""
    return inert(str(text)).replace("$", r"\$")


def error_bars(frame: pd.DataFrame) -> list[Any]:
    """The distances from `rate` down to `low` and up to `high`, as matplotlib wants them for error bars."""
    rate = frame["rate"].astype(float)
    return [(rate - frame["low"]).clip(lower=0).to_numpy(), (frame["high"] - rate).clip(lower=0).to_numpy()]


def percent_axis(ax: Axes, label: str = "answers right (%)") -> None:
    """An axis from 0 to 100 per cent."""
    ax.set_ylim(0, 1.05)
    ax.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=""))
    ax.set_ylabel(label)


def name_ticks(ax: Axes, names: Sequence[object], width: int = 16) -> None:
    """Names under the ticks, wrapped at so many letters."""
    wrapped = [textwrap.wrap(plain(name), width, max_lines=MOST_LINES, placeholder=" …") for name in names]
    ax.set_xticks(range(len(names)), ["\n".join(lines) or " " for lines in wrapped], fontsize=9)


def white_grid(ax: Axes, lines: int, columns: int) -> None:
    """Thin white lines between the cells of a map."""
    ax.set_xticks(np.arange(-0.5, columns), minor=True)
    ax.set_yticks(np.arange(-0.5, lines), minor=True)
    ax.grid(which="minor", color="white", linewidth=0.8)
    ax.tick_params(which="minor", length=0)
    ax.tick_params(which="major", length=0)
    ax.spines[:].set_visible(False)
