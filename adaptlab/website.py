"""A small site from what there is: the report's index, the executed notebooks, the brief and the documents.

It is for participants, so the facilitator's cells are left out. The pages are those of the report (`report`,
`notebook_html`) and of the guides (`pages`); nothing is rendered twice. They hold no script and load nothing, so they
open from disk, from a web server, or from a memory stick.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from nbformat import NotebookNode

from adaptlab import committed, pages, report, sections
from adaptlab.artifacts import Lab
from adaptlab.files import atomic_write_text, read_text
from adaptlab.notebook_html import finished, heading_text, notebook_page
from config import LabError, Settings

INDEX = "index.html"
BRIEF = "evidence_brief"
DOCUMENTS = ("docs/*.md", "deploy/*/README.md")
ORIGINS = {"prebuilt": "replay of the prebuilt results", "live": "run on this machine"}

TOP = """<style>
.lab-nav { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 0 auto; padding: 0.6rem; color: #1f2430; }
.lab-nav a { color: #00558a; margin-right: 1rem; display: inline-block; }
.lab-nav ol { margin: 0.2rem 0; padding-left: 1.4rem; }
.lab-nav details { margin-top: 0.2rem; } .lab-nav summary { cursor: pointer; }
.lab-nav [aria-current] { font-weight: 600; }
@media print { .lab-nav { display: none; } }
</style>
<nav class="lab-nav" aria-label="Pages">
<a href="{{ index }}">Model Adaptation Lab</a>
{% if before %}<a rel="prev" href="{{ before.file }}">&larr; {{ before.title }}</a>{% endif %}
{% if after %}<a rel="next" href="{{ after.file }}">{{ after.title }} &rarr;</a>{% endif %}
<details><summary>All pages</summary>
<ol>
{% for place in places %}
<li><a href="{{ place.file }}"{% if place.file == here %} aria-current="page"{% endif %}>{{ place.title }}</a></li>
{% endfor %}
</ol></details>
{% if contents %}
<details><summary>On this page</summary>
<ol>
{% for anchor, text in contents %}
<li><a href="#{{ anchor }}">{{ text }}</a></li>
{% endfor %}
</ol></details>
{% endif %}
</nav>
"""


@dataclass(frozen=True)
class Place:
    """A page of the site: where its source lies in the repository, its file on the site, and its title."""

    source: str
    file: str
    title: str


def build(settings: Settings, folder: Path) -> list[Path]:
    """Write the site into `folder`; returns the files, the index first. Raises a LabError before it writes anything.

    The notebooks are those of this machine's last run, or as they stand in the repository, a replay of the prebuilt
    results: the first in the mode live, the second in the mode prebuilt, what there is in the mode auto.
    """
    origin = _origin(settings)
    shown = replace(settings, mode=origin)
    notebooks = {name: _executed(shown, name) for name in sections.SERIES if _wanted(shown, name)}
    talks = [_notebook_place(settings.root, name) for name in notebooks]
    papers = [_paper(settings.root, path) for path in _documents(settings.root)]
    texts = {**_brief(shown), **{place: read_text(settings.root / place.source) for place in papers}}
    places = [*talks, *texts]
    written = {place.file: _notebook(notebooks[place.source], place, places) for place in talks}
    written |= {place.file: _document(text, place, places) for place, text in texts.items()}
    written = {INDEX: _index(shown, talks, list(texts)), **written}
    return [atomic_write_text(folder / name, text) for name, text in written.items()]


# --------------------------------------------------------------------------------------------------- what there is


def _origin(settings: Settings) -> str:
    """Which notebooks are shown: `live` or `prebuilt`."""
    if settings.mode != "auto":
        return settings.mode
    return "live" if all(_run_path(settings, name).is_file() for name in sections.NOTEBOOKS) else "prebuilt"


def _run_path(settings: Settings, name: str) -> Path:
    """Where a run of this machine leaves an executed notebook."""
    return settings.live_dir / "report" / f"{_stem(name)}.ipynb"


def _stem(name: str) -> str:
    """The name of a notebook's page without its extension, the same as in the report."""
    return name.removesuffix(".ipynb").replace("/", "_")


def _wanted(settings: Settings, name: str) -> bool:
    """Whether a notebook belongs on the site: all of the series, and a long one where it was run without an error."""
    if name not in sections.LONG:
        return True
    try:
        cells = _executed(settings, name).cells
    except LabError:
        return False
    return not any(output.output_type == "error" for cell in cells for output in cell.get("outputs", []))


def _executed(settings: Settings, name: str) -> NotebookNode:
    """A notebook with its outputs and without the facilitator's cells, or a sentence on how to get the outputs."""
    live = settings.mode == "live"
    path = _run_path(settings, name) if live else settings.root / name
    todo = "run make lab" if live else "run adaptlab run --mode prebuilt --write-outputs"
    if not path.is_file():
        raise LabError(f"{path} is missing: {todo} first.")
    try:
        notebook = committed.read(path)
    except (ValueError, AttributeError, KeyError) as error:
        raise LabError(f"{path} is no readable notebook: {todo} first.") from error
    if not any(cell.get("outputs") for cell in notebook.cells):
        raise LabError(f"{path} has no outputs to show: {todo} first.")
    notebook.cells = sections.for_participants(notebook.cells)
    return notebook


def _brief(settings: Settings) -> dict[Place, str]:
    """The evidence brief that the conclusion wrote, if it has run."""
    try:
        text = str(Lab(settings, notebook="adaptlab site").result(BRIEF).data)
    except LabError:
        return {}
    return {Place(f"{BRIEF}.md", f"{BRIEF}.html", "Evidence brief"): text}


def _documents(root: Path) -> list[Path]:
    """The Markdown documents that are part of the site."""
    return [path for pattern in DOCUMENTS for path in sorted(root.glob(pattern))]


def _notebook_place(root: Path, name: str) -> Place:
    """A notebook's page."""
    title = sections.section(root, name).title
    number = name[:2]
    return Place(name, f"{_stem(name)}.html", title if title.startswith(number) else f"{number} {title}")


def _paper(root: Path, path: Path) -> Place:
    """A document's page, named after its path."""
    source = path.relative_to(root).as_posix()
    title = sections.heading_of(read_text(path)) or source
    return Place(source, source.removesuffix(".md").replace("/", "_") + ".html", title)


# --------------------------------------------------------------------------------------------------- pages


def _index(settings: Settings, talks: Sequence[Place], papers: Sequence[Place]) -> str:
    """The report's index with links to everything."""
    spent = report.minutes_by_notebook(settings)
    rows = [report.Page(place.title, place.file, "", spent.get(place.source.removesuffix(".ipynb"))) for place in talks]
    documents = [report.Page(place.title, place.file, "", None) for place in papers]
    heading = f"{ORIGINS[settings.mode]}, profile {settings.profile.name}, document {settings.document_name}"
    return report.index_page(heading, rows, report.ladder(settings), documents)


def _notebook(notebook: NotebookNode, place: Place, places: Sequence[Place]) -> str:
    """A notebook's page with navigation, its links leading to the site's pages."""
    titled = nbformat.from_dict({**notebook, "metadata": {**notebook.metadata, "title": place.title}})
    return notebook_page(titled, place.title, partial(_top, place, places), partial(_target, place, places))


def _document(text: str, place: Place, places: Sequence[Place]) -> str:
    """A document's page, the same way."""
    page = pages.page(text, place.title)
    return finished(page, partial(_top, place, places), partial(_target, place, places))


def _top(place: Place, places: Sequence[Place], page: BeautifulSoup) -> str:
    """The navigation of one page: to the index, its neighbours, all pages, and its own headings."""
    at = places.index(place)
    return (
        report.escaping({"top": TOP})
        .get_template("top")
        .render(
            index=INDEX,
            here=place.file,
            places=places,
            before=places[at - 1] if at else None,
            after=places[at + 1] if at + 1 < len(places) else None,
            contents=[(heading["id"], heading_text(heading)) for heading in page.find_all("h2")],
        )
    )


def _target(place: Place, places: Sequence[Place], href: str) -> str | None:
    """Where a link of the repository leads on the site; None where the site has no such page."""
    path, _, anchor = href.partition("#")
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(place.source), path))
    found = next((other.file for other in places if other.source == wanted), None)
    return f"{found}#{anchor}" if found and anchor else found
