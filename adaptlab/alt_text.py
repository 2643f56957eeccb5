"""Alternative text for figures, read from what is drawn: title, axes, and the values of bars and lines.

It follows the data by itself, so that a figure whose numbers change never keeps an old description.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, PercentFormatter

MOST_POINTS = 12  # of one series; of a longer one the ends and the range are told
MOST_CHARACTERS = 1500
COLOURBAR = "<colorbar>"


def describe(figure: Figure) -> str:
    """What a figure shows, in words: one sentence for its title and one for each panel and series."""
    panels = [ax for ax in figure.axes if ax.get_label() != COLOURBAR]
    parts = [_words(figure.get_suptitle()), *(text for ax in panels for text in _panel(ax))]
    text = " ".join(part if part.endswith((".", "?", "!")) else f"{part}." for part in parts if part)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 2].rsplit(" ", 1)[0] + " …"


def png(figure: Figure) -> tuple[str, dict[str, str]] | None:
    """For IPython: the picture in base64 with its alternative text; None for an empty figure."""
    from IPython.core.pylabtools import print_figure

    data = print_figure(figure, fmt="png", base64=True)
    return None if data is None else (data, {"alt": describe(figure)})


def _panel(ax: Axes) -> list[str]:
    """One panel: its title and axes, then its series."""
    title = _words(ax.get_title() or ax.get_title(loc="left"))
    labels = [f"{name}: {text}" for name, text in (("across", _label(ax.xaxis)), ("up", _label(ax.yaxis))) if text]
    kind = "Map" if ax.images else "Panel" if title else ""
    head = ", ".join(part for part in (f"{kind} {title}".strip(), *labels) if part)
    return [head[:1].upper() + head[1:], *_map_rows(ax), *_bars(ax), *_points(ax), *_lines(ax), *_dots(ax)]


def _map_rows(ax: Axes) -> list[str]:
    """The names of a map's rows and columns."""
    if not ax.images:
        return []
    named = {"rows": _ticks(ax.yaxis).values(), "columns": _ticks(ax.xaxis).values()}
    return [f"Its {what}: {_listed(list(names))}" for what, names in named.items() if names]


def _bars(ax: Axes) -> list[str]:
    """Every group of bars with its values."""
    found = []
    for bars in (item for item in ax.containers if isinstance(item, BarContainer)):
        flat = bars.orientation == "horizontal"
        values, places = (ax.xaxis, ax.yaxis) if flat else (ax.yaxis, ax.xaxis)
        pairs = []
        for bar in bars.patches:
            value = bar.get_width() if flat else bar.get_height()
            middle = bar.get_y() + bar.get_height() / 2 if flat else bar.get_x() + bar.get_width() / 2
            pairs.append((middle, value))
        found.append(_series(bars.get_label(), "bars", pairs, places, values))
    return [text for text in found if text]


def _points(ax: Axes) -> list[str]:
    """Every series of points with error bars."""
    found = []
    for points in (item for item in ax.containers if isinstance(item, ErrorbarContainer)):
        if points.lines[0] is not None:
            found.append(_series(points.get_label(), "points", _pairs(points.lines[0]), ax.xaxis, ax.yaxis))
    return [text for text in found if text]


def _lines(ax: Axes) -> list[str]:
    """Every line that the legend names; a line straight across the panel is told by its name."""
    found = []
    for line in ax.get_lines():
        name = str(line.get_label())
        if name.startswith("_"):
            continue
        if line.get_transform() != ax.transData:
            found.append(f"Line: {_words(name)}")
            continue
        found.append(_series(name, "line", _pairs(line), ax.xaxis, ax.yaxis))
    return [text for text in found if text]


def _pairs(line: Line2D) -> list[tuple[Any, Any]]:
    """A line's points."""
    x, y = (np.asarray(values).tolist() for values in line.get_data())
    return list(zip(x, y, strict=True))


def _dots(ax: Axes) -> list[str]:
    """Every cloud of dots that the legend names."""
    found = []
    for cloud in (item for item in ax.collections if isinstance(item, PathCollection)):
        if not str(cloud.get_label()).startswith("_"):
            pairs = [(x, y) for x, y in cloud.get_offsets().tolist()]  # type: ignore[union-attr]
            low, high = min(y for _, y in pairs), max(y for _, y in pairs)
            between = f"{_number(low, ax.yaxis)} to {_number(high, ax.yaxis)}"
            found.append(f"{_words(str(cloud.get_label()))}: {len(pairs)} dots, {between}")
    return found


def _series(name: object, kind: str, pairs: Sequence[tuple[Any, Any]], places: Axis, values: Axis) -> str:
    """A series in words; of a long one its ends and its range. Empty for none."""
    pairs = [(place, value) for place, value in pairs if value == value]
    if not pairs:
        return ""
    head = f"{_words(str(name))}: " if not str(name).startswith("_") else f"{kind.capitalize()}: "
    ticks = _ticks(places)
    if len(pairs) <= MOST_POINTS:
        return head + ", ".join(f"{_place(place, ticks)} = {_number(value, values)}" for place, value in pairs)
    numbers = [value for _, value in pairs]
    ends = f"from {_number(numbers[0], values)} to {_number(numbers[-1], values)}"
    span = f"least {_number(min(numbers), values)}, most {_number(max(numbers), values)}"
    return f"{head}{len(pairs)} values, {ends}, {span}"


def _ticks(axis: Axis) -> dict[float, str]:
    """The names that an axis gives to places; none for an axis of numbers."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return {}
    texts = [_words(label.get_text()) for label in axis.get_ticklabels()]
    places = [float(place) for place in axis.get_majorticklocs()]
    return {place: text for place, text in zip(places, texts, strict=False) if text}


def _place(place: float, ticks: dict[float, str]) -> str:
    """The name of the nearest tick, else the number."""
    if not ticks:
        return f"at {place:g}"
    return ticks[min(ticks, key=lambda tick: abs(tick - float(place)))]


def _number(value: float, axis: Axis) -> str:
    """A value as its axis shows it."""
    if isinstance(axis.get_major_formatter(), PercentFormatter):
        return f"{100 * value:.0f} %"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.3g}"


def _label(axis: Axis) -> str:
    """An axis's label."""
    return _words(axis.get_label_text())


def _listed(names: Sequence[str]) -> str:
    """Names, the first dozen of them."""
    more = f" and {len(names) - MOST_POINTS} more" if len(names) > MOST_POINTS else ""
    return ", ".join(names[:MOST_POINTS]) + more


def _words(text: str) -> str:
    """Text on one line, as a person reads it."""
    return " ".join(text.replace(r"\$", "$").split())
