"""The figures of section 02: the funnel, two runs beside each other, and the map of what the rows cover."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from adaptlab.figures_style import BLUE, GREEN, GREY, ORANGE, PALETTE, canvas, error_bars, finish, plain, white_grid

NOT_READ = "#E4E4E4"
WRAP = 48  # chunks in one line of the map


def funnel(table: pd.DataFrame, origin: str = "", title: str = "What became of every generated row") -> Figure:
    """Bars of the rows left after each filter, with what it turned down, from `synthesis.funnel`."""
    stages = list(dict.fromkeys(table["stage"]))
    down = [
        0 if name in ("generated", "kept") else int(table.loc[table["stage"] == name, "rows"].sum()) for name in stages
    ]
    left = [int(table.loc[table["stage"] == name, "left"].iloc[-1]) for name in stages]
    figure, (ax,) = canvas(width=9.0, height=1.5 + 0.42 * len(stages))
    ax.grid(visible=False)
    colours = [GREY if name == "generated" else GREEN if name == "kept" else BLUE for name in stages]
    ax.barh(range(len(stages)), left, color=colours, height=0.68)
    ax.barh(range(len(stages)), down, left=left, color=ORANGE, hatch="//", edgecolor="white", height=0.68)
    widest = max([1, *left])
    for at, (stay, gone) in enumerate(zip(left, down, strict=True)):
        words = f"{stay:,}" + (f"  (turned down: {gone:,})" if gone else "")
        ax.text(stay + gone + 0.01 * widest, at, words, va="center", fontsize=8.5)
    ax.set_yticks(range(len(stages)), [plain(name) for name in stages], fontsize=9)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.3 * widest)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("rows left after the filter; hatched: rows that it turned down")
    return finish(figure, title, origin)


def runs(table: pd.DataFrame, origin: str = "", title: str = "Two runs that differ in their passages only") -> Figure:
    """One panel for each measure of `synthesis.compare_runs`, with intervals; rates are shown in per cent."""
    measures = list(dict.fromkeys(table["measure"]))
    figure, axes = canvas(width=3.1 * len(measures), height=4.3, columns=len(measures))
    for ax, name in zip(axes, measures, strict=True):
        part = table[table["measure"] == name]
        style: dict[str, Any] = {"color": [PALETTE[i] for i in range(len(part))], "width": 0.6}
        ax.bar(range(len(part)), part["rate"], yerr=error_bars(part), capsize=5, ecolor="#333333", **style)
        ax.set_xticks(range(len(part)), [f"{run}\n(n={n})" for run, n in zip(part["run"], part["n"], strict=True)])
        ax.tick_params(axis="x", labelsize=8.5)
        ax.set_title("\n".join(textwrap.wrap(plain(name), 26)), fontsize=9.5)
        if part["is rate"].all():
            ax.set_ylim(0, 1.05)
            ax.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        else:
            ax.set_ylim(bottom=0)
    note = "bars: 95 % intervals (Wilson; for a mean, bootstrap over the passages)"
    return finish(figure, title, "; ".join(part for part in (note, origin) if part))


def coverage_map(
    per_chunk: pd.DataFrame,
    grid: pd.DataFrame | None = None,
    origin: str = "",
    title: str = "What the kept rows cover, along the document",
) -> Figure:
    """The document as lines of chunks, shaded by kept questions a length; below it, facts by section and form.

    `per_chunk` comes from `synthesis.by_chunk`, `grid` from `synthesis.by_section_and_form`. Grey was not read.
    """
    lines = max(1, math.ceil(len(per_chunk) / WRAP))
    sections = [] if grid is None or grid.empty else list(dict.fromkeys(grid["section"]))
    heights = [0.34 * lines + 0.8, *([0.34 * len(sections) + 1.0] if sections else [])]
    figure = Figure(figsize=(10.0, sum(heights) + 0.9), dpi=110, layout="constrained")
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    _along(figure, axes[0], per_chunk, lines)
    if sections and grid is not None:
        _sections_by_form(figure, axes[1], grid, sections)
    return finish(figure, title, origin)


def _along(figure: Figure, ax: Axes, per_chunk: pd.DataFrame, lines: int) -> None:
    """The chunks in reading order, `WRAP` to a line."""
    density = per_chunk["per 1,000 characters"].where(per_chunk["read"]).to_numpy(float)
    cells = np.full(lines * WRAP, np.nan)
    cells[: len(density)] = density
    unread = np.full(lines * WRAP, np.nan)
    unread[: len(density)] = np.where(per_chunk["read"], np.nan, 1.0)
    ax.imshow(unread.reshape(lines, WRAP), aspect="auto", cmap=ListedColormap([NOT_READ]))
    top = float(np.nanmax(density)) if per_chunk["read"].any() else 1.0
    shown = ax.imshow(cells.reshape(lines, WRAP), aspect="auto", cmap="viridis", vmin=0, vmax=max(top, 1e-9))
    starts = [str(per_chunk["section"].iloc[at * WRAP]).split(" > ") for at in range(lines)]
    names = [textwrap.shorten(parts[min(1, len(parts) - 1)], 34, placeholder=" …") for parts in starts]
    ax.set_yticks(range(lines), [plain(name) for name in names], fontsize=8)
    ax.set_xticks([])
    ax.set_xlabel(
        f"{WRAP} chunks to a line, each line named after its first; grey: not read, or held out", fontsize=8.5
    )
    white_grid(ax, lines, WRAP)
    bar = figure.colorbar(shown, ax=ax, pad=0.01, fraction=0.03)
    bar.set_label("kept questions\nper 1,000 characters", fontsize=8)


def _sections_by_form(figure: Figure, ax: Axes, grid: pd.DataFrame, sections: list[str]) -> None:
    """Share of the facts covered in each cell, with the counts written in it; an empty cell states no fact."""
    forms = sorted(set(grid["form"]))
    share = grid.pivot(index="section", columns="form", values="share").reindex(index=sections, columns=forms)
    shown = ax.imshow(share.to_numpy(float), aspect="auto", cmap="viridis", vmin=0, vmax=1)
    for line in grid.to_dict("records"):
        ink = "black" if line["share"] > 0.6 else "white"
        place = (forms.index(line["form"]), sections.index(line["section"]))
        ax.text(*place, f"{line['covered']} of {line['facts']}", ha="center", va="center", fontsize=8.5, color=ink)
    ax.set_xticks(range(len(forms)), [form.replace("_", " ") for form in forms])
    ax.set_yticks(range(len(sections)), [plain(name.split(" > ")[-1]) for name in sections], fontsize=8)
    ax.set_xlabel("how the document states the fact; white: no such fact here", fontsize=8.5)
    white_grid(ax, len(sections), len(forms))
    bar = figure.colorbar(shown, ax=ax, pad=0.01, fraction=0.03, format=PercentFormatter(xmax=1))
    bar.set_label("visible facts in\na kept row", fontsize=8)


def check_errors(table: pd.DataFrame, origin: str = "", title: str = "How often each check errs") -> Figure:
    """False yes and false no of each check against the registry, with Wilson intervals, from `check_errors`."""
    figure, (ax,) = canvas(width=7.5, height=3.9)
    for number, (name, colour) in enumerate((("false yes", ORANGE), ("false no", BLUE))):
        part = table.rename(columns={name: "rate"})[["check", "rate", f"{name} low", f"{name} high"]]
        part = part.rename(columns={f"{name} low": "low", f"{name} high": "high"})
        x = np.arange(len(part)) - 0.2 + 0.4 * number
        ax.bar(
            x, part["rate"], width=0.38, color=colour, yerr=error_bars(part), capsize=4, ecolor="#333333", label=name
        )
    ax.set_xticks(range(len(table)), ["\n".join(textwrap.wrap(plain(name), 24)) for name in table["check"]])
    ax.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=""))
    ax.set_ylabel("of the wrong rows (false yes),\nof the right rows (false no), %")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, fontsize=9)
    return finish(figure, title, "; ".join(part for part in ("bars: 95 % Wilson intervals", origin) if part))
