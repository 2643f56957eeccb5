"""The report of a run: executed notebooks as pages without network, one index page, and the table of the ladder."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import DictLoader, Environment, select_autoescape
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, ValidationError

from adaptlab.capture import SIDECAR_END, TIMINGS, read_manifest
from adaptlab.files import atomic_write_text
from adaptlab.inert import inert
from adaptlab.notebook_html import POLICY, notebook_page
from config import LabError, Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["POLICY", "Ladder", "Page", "Rung", "closing_table", "index_page", "ladder", "notebook_page", "write_index"]

INDEX_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<title>Model Adaptation Lab: {{ heading }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2430; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; color: #5a6172; padding-bottom: 0.4rem; }
th, td { text-align: left; padding: 0.35rem 0.8rem 0.35rem 0; border-bottom: 1px solid #dfe3ea; vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.origin { color: #5a6172; } .failed { color: #a11616; } img { max-width: 100%; height: auto; }
body { overflow-wrap: anywhere; } td, th { overflow-wrap: break-word; }
@media (max-width: 700px) { body { font-size: 15px; } table { display: block; overflow-x: auto; }
  td, th { padding-right: 0.4rem; } }
</style>
</head>
<body>
<h1>Model Adaptation Lab</h1>
<p class="origin">{{ heading }}</p>
{% if ladder %}
<h2>The ladder</h2>
<table>
<caption>{{ ladder.label }}</caption>
<tr><th>Rung</th><th class="number">Score</th><th class="number">Interval (95 %)</th>
<th class="number">Minutes</th></tr>
{% for rung in ladder.rungs %}
<tr><td>{{ rung.rung }}</td><td class="number">{{ percent(rung.rate) }}</td>
<td class="number">{{ percent(rung.low) }} to {{ percent(rung.high) }}</td>
<td class="number">{{ minutes(rung.minutes) }}</td></tr>
{% endfor %}
<tr><td>All notebooks together</td><td></td><td></td><td class="number">{{ minutes(ladder.minutes) }}</td></tr>
</table>
<p><img alt="{{ words }}" src="data:image/png;base64,{{ picture }}"></p>
{% else %}
<p>There is no ladder yet: it is shown once the evaluation notebook has run.</p>
{% endif %}
<h2>The notebooks</h2>
<table>
<tr><th>Notebook</th>{% if stated %}<th>State</th>{% endif %}
<th class="number">{{ "Minutes of this run" if stated else "Minutes of computing" }}</th></tr>
{% for page in pages %}
<tr><td>{% if page.file %}<a href="{{ page.file }}">{{ page.name }}</a>{% else %}{{ page.name }}{% endif %}</td>
{% if stated %}<td{% if page.failed %} class="failed"{% endif %}>{{ page.state }}</td>{% endif %}

<td class="number">{{ minutes(page.minutes) }}</td></tr>
{% endfor %}
</table>
{% if documents %}
<h2>Documents</h2>
<ul>
{% for page in documents %}
<li><a href="{{ page.file }}">{{ page.name }}</a></li>
{% endfor %}
</ul>
{% endif %}
</body>
</html>
"""


class Rung(BaseModel):
    """One row of the ladder. `notebook` is where it is computed, for its minutes; other fields are not shown."""

    model_config = ConfigDict(extra="ignore")
    rung: str
    rate: float
    low: float
    high: float
    notebook: str = ""
    guess: float | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class Ladder:
    """The rungs with the origin of their figures; `minutes` is what all notebooks took together."""

    rungs: list[Rung]
    label: str
    detectable: float | None = None
    minutes: float = 0.0


@dataclass(frozen=True)
class Page:
    """A notebook in the report; `file` is its page, empty while it has not run."""

    name: str
    file: str
    state: str
    minutes: float | None
    failed: bool = False


def ladder(settings: Settings) -> Ladder | None:
    """The ladder out of the evaluation's artifact; None while the evaluation has not run."""
    from adaptlab.artifacts import Lab

    places = [settings.prebuilt_dir] if settings.mode == "prebuilt" else [settings.live_dir, settings.prebuilt_dir]
    if not any((place / "evaluation.json").exists() for place in places):
        return None
    result = Lab(settings).result("evaluation")
    rows, detectable = _rows(settings, result.data)
    spent = minutes_by_notebook(settings)
    together = sum(spent.values())
    rungs: list[Rung] = []
    for number, row in enumerate(rows, 1):
        try:
            rung = Rung.model_validate(row)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = f"{result.path.name} ladder row {number}: field {'.'.join(map(str, fault['loc']))}"
            raise LabError(f"{where}: {fault['msg']}: run the evaluation notebook again.") from error
        if rung.minutes is None and rung.notebook:
            rung.minutes = spent.pop(rung.notebook, None)  # a notebook's minutes stand at its first rung
        rungs.append(rung)
    return Ladder(rungs, result.label, detectable, together) if rungs else None


def _rows(settings: Settings, data: Any) -> tuple[list[Any], float | None]:
    """The raw rows: as the evaluation room derives them, else as the artifact holds them under `ladder`."""
    from adaptlab import evaluation

    derive = getattr(evaluation, "ladder_rows", None)
    detectable = data.get("detectable") if isinstance(data, dict) else None
    if derive is not None:
        return list(derive(settings)), detectable
    rows = data.get("ladder") if isinstance(data, dict) else None
    return (rows if isinstance(rows, list) else []), detectable


def minutes_by_notebook(settings: Settings) -> dict[str, float]:
    """Minutes that each notebook's work took when it was computed: of this machine, or in a replay of the capture."""
    from adaptlab.provenance import read_sidecar

    if settings.mode == "prebuilt":
        manifest = read_manifest(settings.prebuilt_dir)
        return {name: seconds / 60 for name, seconds in manifest.notebooks.items()} if manifest else {}
    seconds: dict[str, float] = {}
    for beside in sorted(settings.live_dir.glob(f"*{SIDECAR_END}")):
        record = read_sidecar(beside.with_name(beside.name.removesuffix(SIDECAR_END)))
        seconds[record.notebook] = seconds.get(record.notebook, 0.0) + record.wall_seconds
    try:
        noted: dict[str, float] = json.loads((settings.live_dir / TIMINGS).read_text("utf-8"))
    except (OSError, ValueError):
        noted = {}
    for name, whole in noted.items():  # less than its steps where a run found them done
        seconds[name] = max(seconds.get(name, 0.0), float(whole))
    return {name: value / 60 for name, value in seconds.items()}


# --------------------------------------------------------------------------------------------------- pages


def picture(found: Ladder) -> tuple[str, str]:
    """The ladder as a PNG in base64, and what it shows in words."""
    import pandas as pd

    from adaptlab import alt_text, figures

    guess = max((rung.guess for rung in found.rungs if rung.guess is not None), default=None)
    frame = pd.DataFrame([rung.model_dump() for rung in found.rungs])
    figure: Figure = figures.ladder(frame, found.label, guess=guess, detectable=found.detectable)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, bbox_inches="tight")
    return base64.b64encode(stream.getvalue()).decode("ascii"), alt_text.describe(figure)


def escaping(templates: dict[str, str]) -> Environment:
    """Templates whose every value is escaped and inert."""
    return Environment(
        loader=DictLoader(templates),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        finalize=lambda value: inert(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )


def index_page(heading: str, pages: Sequence[Page], found: Ladder | None, documents: Sequence[Page] = ()) -> str:
    """The page that everything is reached from; every text in it is escaped."""
    image, words = picture(found) if found else ("", "")
    return (
        escaping({"index.html": INDEX_PAGE})
        .get_template("index.html")
        .render(
            heading=heading,
            pages=pages,
            stated=any(page.state for page in pages),
            documents=documents,
            ladder=found,
            picture=image,
            words=words,
            policy=POLICY,
            percent=percent,
            minutes=minutes,
        )
    )


def write_index(folder: Path, heading: str, pages: Sequence[Page], found: Ladder | None) -> Path:
    """Write the index page into the report's folder."""
    return atomic_write_text(folder / "index.html", index_page(heading, pages, found))


# --------------------------------------------------------------------------------------------------- words


def percent(rate: float) -> str:
    """A share for people."""
    return f"{100 * rate:.0f} %"


def minutes(value: float | None) -> str:
    """Minutes for people; nothing where none were measured for this row."""
    return "" if value is None else f"{value:.1f}"


def closing_table(found: Ladder | None, pages: Sequence[Page]) -> str:
    """The table that ends a run: the ladder, else what the notebooks took."""
    if found is None:
        rows = [(page.name, page.state, minutes(page.minutes)) for page in pages]
        return _aligned([("notebook", "state", "minutes"), *rows])
    rows = [
        (inert(rung.rung), f"{percent(rung.rate)} ({percent(rung.low)} to {percent(rung.high)})", minutes(rung.minutes))
        for rung in found.rungs
    ]
    lines = _aligned([("rung", "score (95 % interval)", "minutes"), *rows])
    return f"{found.label}\n{lines}\nall notebooks together: {minutes(found.minutes)} minutes"


def _aligned(rows: Sequence[tuple[str, str, str]]) -> str:
    """Rows as text in columns, the last one to the right."""
    wide = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c:>{wide[2]}}".rstrip() for a, b, c in rows]
    return "\n".join([lines[0], "-" * max(len(line) for line in lines), *lines[1:]])
