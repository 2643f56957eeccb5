"""An executed notebook as one HTML page: no script, nothing from a network, readable on a phone, pictures described.

nbconvert renders; what outputs say is made inert before, and what could act or reach out is taken away afterwards.
The page's policy forbids all of it once more, so that a browser refuses what might be left.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import nbformat
from nbformat import NotebookNode

from adaptlab.inert import inert

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

# No script and nothing from a network: whatever a model wrote into an output stays text and pictures.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; base-uri 'none'; form-action 'none'"
)
ACTIVE = "script, iframe, frame, object, embed, applet, portal, form, link, base, template, meta[http-equiv]"
WEB = re.compile(r"(https?://|mailto:)", re.IGNORECASE)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
HEADINGS = ("h1", "h2", "h3", "h4")
NO_ALT = "No description has been provided for this image"  # nbconvert's words

STYLE = """
body.jp-Notebook { overflow: auto; padding: 0; }
body > main { max-width: 68rem; margin: 0 auto; padding: 0 0.5rem 2rem; }
img { max-width: 100%; height: auto; }
.jp-OutputArea-output, .jp-RenderedHTMLCommon { overflow-x: auto; overflow-wrap: anywhere; }
.jp-OutputArea-output pre { white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere; }
.jp-RenderedHTMLCommon td, .jp-RenderedHTMLCommon th { overflow-wrap: break-word; }
.jp-Cell .highlight pre { overflow-x: auto; }
.jp-RenderedHTMLCommon td, .jp-RenderedHTMLCommon th { max-width: 40rem; white-space: pre-line; }
@media (max-width: 700px) {
  .jp-InputPrompt, .jp-OutputPrompt { display: none; }
  .jp-Cell { padding-left: 0; padding-right: 0; }
}
"""
NOTEBOOK_PAGE = (
    "{%- extends 'index.html.j2' -%}"
    "{%- block html_head_js -%}"
    f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    "{%- endblock html_head_js -%}"
    "{%- block jupyter_widgets -%}{%- endblock -%}"
    "{%- block html_head_js_mathjax -%}{%- endblock -%}"
    "{%- block html_head_js_mermaidjs -%}{%- endblock -%}"
    f"{{%- block html_head_css -%}}<style>{STYLE}</style>{{%- endblock -%}}"
    "{%- block data_png scoped -%}"
    '<div class="jp-RenderedImage jp-OutputArea-output {{ extra_class }}">'
    "<img src=\"data:image/png;base64,{{ output.data['image/png'] | escape_html }}\""
    "{%- set alt = output | get_metadata('alt', 'image/png') -%}"
    '{%- if alt %} alt="{{ alt | escape_html }}"{% endif -%}'
    "></div>"
    "{%- endblock -%}"
)

Links = Callable[[str], "str | None"]
Top = Callable[["BeautifulSoup"], str]


def notebook_page(notebook: NotebookNode, title: str, top: Top | None = None, links: Links | None = None) -> str:
    """An executed notebook as one page; `top` and `links` as in `finished`."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="lab", raw_template=NOTEBOOK_PAGE)  # embedding images would unfold <details>
    exporter.log.setLevel("ERROR")  # it warns of pictures without a description, which get one below
    shown = with_inert_outputs(notebook)
    shown.metadata["title"] = inert(str(notebook.metadata.get("title") or title))
    body, _ = exporter.from_notebook_node(shown)
    return finished(str(body), top, links)


def with_inert_outputs(notebook: NotebookNode) -> NotebookNode:
    """A copy whose outputs hold no terminal escapes, direction marks or other characters that hide something."""
    from nbconvert.filters import strip_ansi

    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = inert(output.text)
            elif output.output_type == "error":
                output.traceback = [inert(strip_ansi(line)) for line in output.traceback]
            else:
                for kind, value in output.data.items():
                    if isinstance(value, str) and not kind.startswith("image/"):
                        output.data[kind] = inert(value)
    return copy


def finished(page: str, top: Top | None = None, links: Links | None = None) -> str:
    """A rendered page without anything active, every picture described, every heading a place to link to.

    `top` makes HTML of our own for the top of the page, given the page. `links` says where a relative link leads on
    this site, or None if nowhere: then its text stays. Without `links` relative links stay as they are.
    """
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(page, "html.parser")
    for tag in (soup.body or soup).select(ACTIVE):
        tag.decompose()
    for tag in soup.find_all(True):
        for name in [name for name in tag.attrs if name.lower().startswith("on")]:
            del tag.attrs[name]
    _mend_links(soup, links)
    _name_headings(soup)
    _describe_pictures(soup)
    if top and soup.body is not None:
        soup.body.insert(0, BeautifulSoup(top(soup), "html.parser"))
    return str(soup)


def _mend_links(soup: BeautifulSoup, links: Links | None) -> None:
    """Links lead to this page, this site or the web; any other loses its target."""
    for tag in soup.select("[href]"):
        href = str(tag["href"])
        if href.startswith("#") or WEB.match(href):
            continue
        found = None if SCHEME.match(href) else links(href) if links else href
        if found is None:
            del tag["href"]
        else:
            tag["href"] = found


def _name_headings(soup: BeautifulSoup) -> None:
    """Give headings without an id the one that code hosts give them."""
    for heading in soup.find_all(HEADINGS):
        if not heading.get("id"):
            words = re.sub(r"[^\w\- ]", "", heading.get_text().strip().lower())
            heading["id"] = words.replace(" ", "-")


def _describe_pictures(soup: BeautifulSoup) -> None:
    """A picture without a description is named after the heading above it; one from elsewhere is taken away."""
    for image in soup.find_all("img"):
        if not str(image.get("src", "")).startswith("data:"):
            image.replace_with(str(image.get("alt", "")))
            continue
        if image.get("alt") in (None, "", NO_ALT):
            above = image.find_previous(HEADINGS)
            image["alt"] = f"Figure under the heading {heading_text(above)}" if above else "Figure"


def heading_text(heading: Tag) -> str:
    """A heading's words, without the sign that nbconvert adds as a link to it."""
    return " ".join(heading.get_text().replace("¶", "").split())
