"""The picture of a document: a strip map of what stands where, and the sizes of its chunks."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from adaptlab.documents.inspection import KINDS, Inspection, Problem, Stretch
from adaptlab.figures_style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, YELLOW, finish

COLOURS = dict(zip(KINDS, ("#000000", SKY, GREEN, BLUE, PURPLE, YELLOW, GREY), strict=True))
NAMES = {"furniture": "contents, running heads"}
HARMLESS = "wide blanks"
STRIPS = 32  # so many lines of the map at most
LEAST_CHARACTERS = 500  # a line of the map


def document_map(found: Inspection, title: str) -> Figure:
    """Where headings, prose, lists, tables and page furniture lie, what looks broken, and how large the chunks are."""
    strips = max(1, min(STRIPS, found.characters // LEAST_CHARACTERS))
    width = found.characters / strips
    figure = Figure(figsize=(10, 2.6 + 0.17 * strips), dpi=110, layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=[max(1.0, 0.17 * strips), 1.6])
    for item in found.stretches:
        _bars(top, item, width, COLOURS[item.kind])
    _marks(top, found, width)
    top.set_xlim(0, width)
    top.set_ylim(strips - 0.4, -0.8)
    top.set_xlabel(f"characters, {width:,.0f} a line")
    top.set_ylabel("characters (thousands)")
    ticks = list(range(0, strips, max(1, strips // 8)))
    top.set_yticks(ticks, [f"{tick * width / 1000:,.0f}" for tick in ticks])
    top.spines[["top", "right"]].set_visible(False)
    shares = found.shares()
    shown = [kind for kind in KINDS if shares[kind]]
    patches = [Patch(color=COLOURS[kind], label=f"{NAMES.get(kind, kind)} ({shares[kind]:.0%})") for kind in shown]
    marked = len(_worth_a_mark(found))
    patches += [Patch(color=RED, label=f"looks broken ({marked:,}; {HARMLESS} left out)")] if marked else []
    figure.legend(handles=patches, loc="outside upper right", ncols=4, fontsize=8, frameon=False)
    _sizes(bottom, found)
    return finish(figure, title, "")


def _bars(ax: Axes, item: Stretch, width: float, colour: str) -> None:
    """One stretch, broken over the lines of the map."""
    start = float(item.start)
    while start < item.end:
        row = int(start // width)
        stop = min(float(item.end), (row + 1) * width)
        ax.barh(row, stop - start, left=start - row * width, height=0.62, color=colour, linewidth=0)
        if stop <= start:
            return
        start = stop


def _worth_a_mark(found: Inspection) -> list[Problem]:
    """What looks broken, without what is mostly harmless and everywhere."""
    return [problem for problem in found.problems if problem.kind != HARMLESS]


def _marks(ax: Axes, found: Inspection, width: float) -> None:
    """A small mark above each place that looks broken."""
    spots = [(problem.start % width, problem.start // width - 0.42) for problem in _worth_a_mark(found)]
    if spots:
        x, y = zip(*spots, strict=True)
        ax.scatter(x, y, marker="v", s=9, color=RED, linewidths=0, zorder=3)


def _sizes(ax: Axes, found: Inspection) -> None:
    """A histogram of the chunks' sizes beside the size that was asked for."""
    lengths: Sequence[int] = [len(chunk.text) for chunk in found.chunks]
    ax.hist(lengths, bins=40, color=ORANGE)
    ax.axvline(found.chunk_size, color="#000000", linestyle="--", linewidth=1)
    ax.set_xlabel(f"characters of a chunk ({len(lengths):,} chunks; dashed: the size asked for)")
    ax.set_ylabel("chunks")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    ax.set_axisbelow(True)
