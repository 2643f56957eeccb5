"""The site without a browser: its pages, links and pictures; hostile text in tables, figures and answers is inert."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hostile_helpers import FORBIDDEN, HOSTILE, SHOWN, hostile_notebook, hostile_site
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_notebook, new_output

import config
from adaptlab import alt_text, commands, figures, notebook, notebook_html, sections, website
from adaptlab.inert import inert, inert_frame
from config import LabError

CURVES = pd.DataFrame(
    {"measure": "majority@N", "n": [1, 2], "tokens": [9, 18], "seconds": [0.5, 1.0], "rate": [0.25, 0.5]}
).assign(low=0.1, high=0.6)


def clean(text: str) -> bool:
    return not set(FORBIDDEN) & set(text)


@pytest.mark.parametrize("ordinary", ["an answer", "zwei\nZeilen\tund – ‚Striche‘", "é 日本 🏳\u200d🌈", "a\u00a0b"])
def test_ordinary_text_is_left_alone(ordinary):
    assert inert(ordinary) == ordinary


def test_what_hides_or_reorders_is_shown_as_an_escape():
    shown = inert(HOSTILE)
    assert clean(shown) and all(words in shown for words in SHOWN)
    assert inert("a\r\nb\rc") == "a\nb\\rc"


def test_a_table_escapes_texts_lists_names_and_its_caption_and_leaves_numbers():
    frame = pd.DataFrame(
        {"a": [HOSTILE, [HOSTILE]], HOSTILE: [{HOSTILE: 1}, None], "n": [1.5, 2.0]}, index=[HOSTILE, "b"]
    )
    shown = notebook.table(frame, HOSTILE, origin=HOSTILE, index=True)
    page = shown._repr_html_()
    soup = BeautifulSoup(page, "html.parser")
    assert soup.select("script, img, svg, iframe, form, a, meta") == []
    assert clean(page) and clean(repr(shown)) and all(words in soup.get_text() for words in SHOWN)
    assert inert_frame(frame)["n"].tolist() == frame["n"].tolist() and "2.00" in page


def test_figures_take_hostile_names_as_plain_text():
    rungs = pd.DataFrame({"rung": [HOSTILE], "rate": [0.5], "low": [0.4], "high": [0.6]})
    figure = figures.ladder(rungs, HOSTILE, title=HOSTILE)
    drawn = [text.get_text() for text in figure.findobj(lambda item: hasattr(item, "get_text"))]
    assert all(clean(text) for text in drawn) and clean(alt_text.describe(figure))


def test_a_command_answers_without_terminal_escapes(capsys):
    commands.show(argparse.Namespace(json=False), {}, HOSTILE)
    said = capsys.readouterr().out
    assert clean(said) and all(words in said for words in SHOWN)


def test_a_page_of_a_hostile_notebook_holds_nothing_active():
    soup = BeautifulSoup(notebook_html.notebook_page(hostile_notebook(), HOSTILE), "html.parser")
    assert soup.select("script, iframe, form, base, link, object, embed") == []
    assert [tag["http-equiv"] for tag in soup.select("meta[http-equiv]")] == ["Content-Security-Policy"]
    assert [name for tag in soup.find_all(True) for name in tag.attrs if name.startswith("on")] == []
    assert [tag["href"] for tag in soup.select("[href]") if not tag["href"].startswith(("#", "https://"))] == []
    assert clean(soup.get_text())


def test_every_page_of_a_hostile_run_is_inert(make_lab, tmp_path):
    for path in hostile_site(make_lab, tmp_path):
        soup = BeautifulSoup(path.read_text("utf-8"), "html.parser")
        assert soup.select("script, iframe, form, base") == [] and clean(soup.get_text()), path.name
        assert all(words in soup.get_text() for words in SHOWN), path.name


# ----------------------------------------------------------------------------------------- alternative text


def test_a_figure_is_described_by_its_title_axes_and_values():
    rungs = pd.DataFrame({"rung": ["base", "adapter"], "rate": [0.04, 0.62], "low": [0, 0.5], "high": [0.1, 0.7]})
    words = alt_text.describe(figures.ladder(rungs, guess=0.01))
    assert words.startswith("The ladder: answers right on the same questions.")
    assert "base = 4 %, adapter = 62 %" in words and "guess control 1 %" in words


def test_the_description_follows_the_data():
    first = alt_text.describe(figures.bon_curves(CURVES))
    second = alt_text.describe(figures.bon_curves(CURVES.assign(rate=[0.25, 0.75])))
    assert "2 = 50 %" in first and "2 = 75 %" in second and first.count("candidates a question") == 1


def test_a_long_line_is_described_by_its_ends_and_its_range():
    log = pd.DataFrame({"step": range(50), "loss": [5 - i / 10 for i in range(50)]})
    words = alt_text.describe(figures.loss_curve(log))
    assert "50 values, from 5 to 0.1, least 0.1, most 5" in words and len(words) < alt_text.MOST_CHARACTERS


def test_a_figure_goes_to_a_notebook_with_its_description():
    figure = Figure()
    figure.subplots().bar(["a"], [3])
    data, metadata = alt_text.png(figure)  # type: ignore[misc]
    assert data.startswith("iVBOR") and metadata == {"alt": alt_text.describe(figure)}
    assert alt_text.png(Figure()) is None


# ----------------------------------------------------------------------------------------- the site


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    settings = config.settings({"LAB_PROFILE": "mini", "LAB_MODE": "prebuilt"})
    return website.build(settings, tmp_path_factory.mktemp("site"))


def test_the_site_has_every_notebook_and_document_and_an_index_that_links_to_them(built):
    index = BeautifulSoup(built[0].read_text("utf-8"), "html.parser")
    linked = {tag["href"] for tag in index.select("a[href]")}
    assert linked == {path.name for path in built[1:]}
    documents = len(website._documents(config.ROOT)) + 1  # and the brief
    assert 0 <= len(built) - 1 - len(sections.NOTEBOOKS) - documents <= len(sections.LONG)
    assert "replay of the prebuilt results" in index.get_text() and "evidence_brief.html" in linked


def test_solutions_and_answers_are_folded_and_the_facilitators_notes_left_out(built):
    pages = [path for path in built if path.name[:2].isdigit()]
    for path in pages:
        soup = BeautifulSoup(path.read_text("utf-8"), "html.parser")
        folded = [tag for tag in soup.select("main details") if tag.summary]
        assert len(folded) >= 7 and "Facilitator." not in soup.get_text(), path.name
        assert all(len(tag.get_text().strip()) > len(tag.summary.get_text().strip()) for tag in folded), path.name
        solutions = [tag for tag in folded if tag.summary.get_text() == "Solution"]
        assert len(solutions) >= 2 and all(tag.select("pre") for tag in solutions), path.name


def test_a_long_notebook_is_on_the_site_once_it_has_run(make_lab, tmp_path):
    settings = replace(make_lab(LAB_MODE="prebuilt").settings, root=tmp_path)
    name = sections.LONG[0]
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    error = new_output("error", ename="ValueError", evalue="no", traceback=[])
    text = new_output("stream", name="stdout", text="done")
    for outputs, wanted in ([], False), ([text], True), ([text, error], False):
        nbformat.write(new_notebook(cells=[new_code_cell("x", outputs=outputs)]), path)
        assert website._wanted(settings, name) is wanted
    assert not website._wanted(replace(settings, mode="live"), name)


def test_pages_need_no_network_and_describe_their_pictures(built):
    for path in built:
        page = path.read_text("utf-8")
        soup = BeautifulSoup(page, "html.parser")
        assert soup.select("script, link, iframe") == [] and not re.search(r"@import|url\(['\"]?https?:", page), path
        assert all(image["src"].startswith("data:") and image["alt"].strip() for image in soup.select("img")), path
        assert all(image["alt"] != notebook_html.NO_ALT for image in soup.select("img")), path


def test_links_in_the_repository_become_links_of_the_site_or_plain_text():
    places = [website.Place("docs/a.md", "docs_a.html", "A"), website.Place("00/x.ipynb", "00_x.html", "X")]
    assert website._target(places[0], places, "../00/x.ipynb") == "00_x.html"
    assert website._target(places[1], places, "../docs/a.md#part") == "docs_a.html#part"
    assert website._target(places[0], places, "../config.py") is None


@pytest.mark.parametrize(("mode", "words"), [("live", "run make lab first"), ("prebuilt", "has no outputs to show")])
def test_notebooks_without_outputs_are_one_sentence_and_nothing_is_written(make_lab, tmp_path, mode, words):
    settings = replace(make_lab(LAB_MODE=mode).settings, root=tmp_path)
    for name in sections.NOTEBOOKS:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "utf-8")
    with pytest.raises(LabError, match=words):
        website.build(settings, tmp_path / "site")
    assert not (tmp_path / "site").exists()
