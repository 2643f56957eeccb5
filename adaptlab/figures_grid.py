"""The figures of section 04: the grid of arms by category as a heat map, and what each step brought."""

from __future__ import annotations

import textwrap
from typing import get_args

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from adaptlab.figures_style import GREEN, GREY, RED, finish, plain, white_grid
from adaptlab.stats import Verdict

VERDICT_COLOURS = dict(zip(get_args(Verdict), (GREEN, RED, GREY), strict=True))


def heat_map(table: pd.DataFrame, origin: str = "", title: str = "Answers right, by arm and category") -> Figure:
    """Rates of `grid.scores` as colours, with the rate and its 95 % interval written in each cell."""
    arms, groups = list(dict.fromkeys(table["arm"])), list(dict.fromkeys(table["group"]))
    rates = table.pivot(index="arm", columns="group", values="rate").reindex(index=arms, columns=groups)
    figure = Figure(figsize=(2.6 + 1.25 * len(groups), 1.7 + 0.46 * len(arms)), dpi=110, layout="constrained")
    ax = figure.subplots()
    shown = ax.imshow(rates.to_numpy(float), aspect="auto", cmap="viridis", vmin=0, vmax=1)
    for line in table.to_dict("records"):
        ink = "black" if line["rate"] > 0.6 else "white"
        words = f"{100 * line['rate']:.0f} %\n{100 * line['low']:.0f} to {100 * line['high']:.0f}"
        place = (groups.index(line["group"]), arms.index(line["arm"]))
        ax.text(*place, words, ha="center", va="center", fontsize=7.5, color=ink, linespacing=1.1)
    sizes = table.groupby("group")["n"].max()
    names = [f"{str(group).replace('_', ' ')} (n={sizes[group]})" for group in groups]
    ax.set_xticks(range(len(groups)), ["\n".join(textwrap.wrap(plain(name), 14)) for name in names], fontsize=8.5)
    ax.set_yticks(range(len(arms)), [plain(arm) for arm in arms], fontsize=8.5)
    white_grid(ax, len(arms), len(groups))
    for at in [i for i in range(1, len(arms)) if arms[i].split()[0].strip(",") != arms[i - 1].split()[0].strip(",")]:
        ax.axhline(at - 0.5, color="black", linewidth=1.6)
    bar = figure.colorbar(shown, ax=ax, pad=0.01, fraction=0.03, format=PercentFormatter(xmax=1))
    bar.set_label("answers right", fontsize=8)
    note = "in each cell the rate and its 95 % Wilson interval; an empty cell was not asked"
    return finish(figure, title, "; ".join(part for part in (note, origin) if part))


def steps(table: pd.DataFrame, origin: str = "", title: str = "Which step paid? One thing added at a time") -> Figure:
    """The gain of every line of `grid.verdicts` with its interval, coloured by the verdict of the paired test."""
    figure = Figure(figsize=(10.0, 1.5 + 0.34 * len(table)), dpi=110, layout="constrained")
    ax = figure.subplots()
    for at, line in enumerate(table.to_dict("records")):
        colour = VERDICT_COLOURS.get(line["verdict"], GREY)
        gain = 100 * line["difference"]
        spread = [[gain - 100 * line["low"]], [100 * line["high"] - gain]]
        ax.errorbar([gain], [at], xerr=np.clip(spread, 0, None), color=colour, marker="o", capsize=3.5, linewidth=1.8)
    names = [f"{line['added']}, from {line['a']}" for line in table.to_dict("records")]
    ax.set_yticks(range(len(table)), [plain(name) for name in names], fontsize=8)
    for edge in np.flatnonzero(table["added"].to_numpy()[1:] != table["added"].to_numpy()[:-1]):
        ax.axhline(edge + 0.5, color="#BBBBBB", linewidth=0.8)
    ax.axvline(0, color="black", linewidth=1)
    ax.invert_yaxis()
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel("points gained on the same questions")
    for name, colour in VERDICT_COLOURS.items():
        ax.plot([], [], color=colour, marker="o", label=name)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.2, 1.0), ncols=3, frameon=False, fontsize=8.5)
    note = "bars: 95 % bootstrap intervals; colour: exact McNemar, Holm over all steps"
    return finish(figure, title, "; ".join(part for part in (note, origin) if part))
