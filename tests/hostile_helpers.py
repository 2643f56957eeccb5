"""What a model, a document or a benchmark might write to do harm, put through everything that shows text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nbformat
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from adaptlab import alt_text, figures, notebook, pages, report, sections, website
from adaptlab.artifacts import Lab
from adaptlab.files import atomic_write_text

MARKUP = (
    '<script>window.pwned = 1</script><img src=x onerror="window.pwned = 2"><svg onload="window.pwned = 3"></svg>'
    '<iframe srcdoc="<script>parent.pwned = 4</script>"></iframe><a href="javascript:window.pwned = 5">prize</a>'
    '<form action="https://example.org"><button>prize</button></form><base href="https://example.org">'
    '<meta http-equiv="refresh" content="0;url=about:blank"><details open ontoggle="window.pwned = 6">x</details>'
)
UNSEEN = (
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 invoice\u202egnp.exe \u2066left\u2069 \u200ezero\u200b \x9b31m \x00 $\\alpha$"
)
HOSTILE = f"{MARKUP} {UNSEEN}"
SHOWN = (r"\x1b[31mred", r"invoice\u202egnp.exe", r"\u2066left\u2069")
FORBIDDEN = "\x1b\x07\x9b\x00\u202e\u2066\u2069\u200e\u200b"


def hostile_notebook() -> nbformat.NotebookNode:
    """A notebook with hostile text in every kind of output, tables and figures made by the lab's own code."""
    frame = pd.DataFrame({"answer": [HOSTILE, "an answer"], "hits": [[HOSTILE], {"text": HOSTILE}], "right": [1, 0]})
    table = notebook.table(frame, f"Answers {HOSTILE}", origin="test", index=True)
    rungs = pd.DataFrame({"rung": [UNSEEN], "rate": [0.5], "low": [0.4], "high": [0.6]})
    picture, words = alt_text.png(figures.ladder(rungs, UNSEEN, title=HOSTILE))  # type: ignore[misc]
    outputs = [
        new_output("display_data", data={"text/html": table._repr_html_(), "text/plain": repr(table)}),
        new_output("display_data", data={"text/html": f"<p>raw</p>{HOSTILE}"}),
        new_output("display_data", data={"text/markdown": f"**raw** {HOSTILE}"}),
        new_output("display_data", data={"text/latex": f"$x$ {HOSTILE}"}),
        new_output(
            "display_data", data={"image/svg+xml": f"<svg onload='window.pwned = 9'><text>{HOSTILE}</text></svg>"}
        ),
        new_output("display_data", data={"application/javascript": "window.pwned = 7"}),
        new_output("display_data", data={"image/png": picture}, metadata={"image/png": words}),
        new_output("stream", name="stdout", text=HOSTILE),
        new_output("error", ename="ValueError", evalue=HOSTILE, traceback=[HOSTILE]),
        new_output("execute_result", execution_count=1, data={"text/plain": HOSTILE}),
    ]
    cells = [new_markdown_cell("# A title\n\n## A part"), new_code_cell("show()", outputs=outputs, execution_count=1)]
    return new_notebook(cells=cells)


def hostile_site(make_lab: Callable[..., Lab], folder: Path) -> list[Path]:
    """The report, the site and a page of Markdown, made by the real code from hostile results of a live run."""
    lab = make_lab(LAB_MODE="live")
    rung = {"rung": HOSTILE, "rate": 0.5, "low": 0.4, "high": 0.6, "notebook": ""}

    def evaluate():
        return {"ladder": [rung]}

    def brief_text():
        return f"# Brief\n\n{HOSTILE}\n\n| rung |\n|---|\n| {HOSTILE} |\n"

    lab.step("evaluation", evaluate, models=())
    lab.step("evidence_brief", brief_text, models=())
    root = folder / "root"
    settings = replace(lab.settings, root=root)
    made = hostile_notebook()
    executed = nbformat.writes(made) + "\n"
    for name in sections.NOTEBOOKS:
        atomic_write_text(root / name, executed)
        atomic_write_text(
            settings.live_dir / "report" / f"{name.removesuffix('.ipynb').replace('/', '_')}.ipynb", executed
        )
    atomic_write_text(root / "docs" / "notes.md", f"# Notes\n\n{HOSTILE}\n\n[prize](javascript:window.pwned=8)\n")
    files = website.build(settings, folder / "site")
    listed = [report.Page(HOSTILE, "a.html", HOSTILE, 1.0)]
    brief = pages.page(brief_text(), HOSTILE)
    page = report.notebook_page(made, HOSTILE)
    return [
        *files,
        atomic_write_text(
            folder / "report" / "index.html", report.index_page(HOSTILE, listed, report.ladder(settings))
        ),
        atomic_write_text(folder / "report" / "a.html", page),
        atomic_write_text(folder / "report" / "brief.html", brief),
    ]
