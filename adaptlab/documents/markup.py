"""HTML and DOCX to Markdown: mammoth reads DOCX into HTML, Beautiful Soup parses it, markdownify writes Markdown."""

from __future__ import annotations

import io
import re
import zipfile
from functools import cache
from typing import Any

from config import LabError

MOST_UNPACKED = 400_000_000  # bytes that a DOCX may unpack to
MOST_MARKUP = 50_000_000  # bytes of HTML, or of all XML in a DOCX; parsed, they take many times as much memory
MOST_RATIO = 200  # times its packed size, where it is over a tenth of that
DROPPED = "script style noscript template svg iframe object canvas nav head button select".split()


def html_to_markdown(data: bytes | str, name: str) -> tuple[str, list[str]]:
    """The Markdown of an HTML page, and notes; scripts, styles and navigation are left out."""
    from bs4 import BeautifulSoup, UnicodeDammit
    from bs4.element import Comment

    if len(data) > MOST_MARKUP:
        raise LabError(f"The document {name} has over {MOST_MARKUP // 10**6} MB of HTML: split it, or save it as text.")
    if isinstance(data, bytes):
        decoded = UnicodeDammit(data, ["utf-8"], is_html=True).unicode_markup
        if decoded is None:
            raise LabError(f"The document {name} has letters in no known encoding: save it as UTF-8 and try again.")
        data = decoded
    try:
        soup = BeautifulSoup(data, "html.parser")
        for tag in soup.find_all(DROPPED):
            tag.decompose()
        for comment in soup.find_all(string=lambda item: isinstance(item, Comment)):
            comment.extract()
        for image in soup.find_all("img"):
            image.replace_with(str(image.get("alt") or ""))
        text = str(_converter()(heading_style="ATX", bullets="-", table_infer_header=True).convert_soup(soup))
    except RecursionError as error:
        raise LabError(f"The document {name} nests its elements too deeply: save it from a browser as text.") from error
    return _tidied(text), []


def docx_to_markdown(data: bytes, name: str) -> tuple[str, list[str]]:
    """The Markdown of a DOCX, and notes on what mammoth could not carry over."""
    import mammoth

    _checked_zip(data, name)
    try:
        made = mammoth.convert_to_html(io.BytesIO(data), convert_image=mammoth.images.img_element(lambda image: {}))
    except Exception as error:  # mammoth lets through whatever its XML and zip readers raise
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise LabError(f"The document {name} is a damaged DOCX ({said}): open it and save it again.") from error
    text, notes = html_to_markdown(made.value, name)
    lost = sorted({" ".join(message.message.split()) for message in made.messages})
    return text, notes + [f"{name}: {said}" for said in lost[:5]]


def _checked_zip(data: bytes, name: str) -> None:
    """Raise a LabError unless a DOCX is a whole zip of a size that can be unpacked, without entities in its XML."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            items = archive.infolist()
            if any(item.flag_bits & 1 for item in items):
                raise LabError(f"The document {name} is an encrypted DOCX: save a copy without its password.")
            unpacked = sum(item.file_size for item in items)
            if unpacked > MOST_UNPACKED or (unpacked > MOST_UNPACKED / 10 and unpacked > MOST_RATIO * len(data)):
                raise LabError(
                    f"The document {name} would unpack to {unpacked / 1e6:,.0f} MB from {len(data) / 1e6:.1f} MB, "
                    "which no text needs: take out what makes it so large, or save it as plain text."
                )
            if "word/document.xml" not in {item.filename for item in items}:
                raise LabError(f"The document {name} is a zip file but no DOCX: save it as DOCX, PDF or Markdown.")
            parts = [item for item in items if item.filename.endswith((".xml", ".rels"))]
            if sum(item.file_size for item in parts) > MOST_MARKUP:
                raise LabError(f"The document {name} holds over {MOST_MARKUP // 10**6} MB of XML: split it.")
            for item in parts:
                with archive.open(item) as stream:
                    begin = stream.read(2000)
                if b"<!DOCTYPE" in begin:
                    raise LabError(f"The document {name} declares XML entities, which no DOCX does: save it again.")
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise LabError(f"The document {name} is a damaged DOCX: open it and save it again.") from error


@cache
def _converter() -> Any:
    """A Markdown converter that leaves words as they are, so that quotes stay verbatim; only pipes in cells differ."""
    from markdownify import MarkdownConverter

    class Converter(MarkdownConverter):
        """Escapes nothing but a # that would begin a heading, and pipes inside cells."""

        def escape(self, text: str, parent_tags: Any) -> str:
            return re.sub(r"^(\s*)(#{1,6}\s)", r"\1\\\2", text)

        def convert_td(self, el: Any, text: str, parent_tags: Any) -> str:
            return str(super().convert_td(el, _cell(text), parent_tags))  # type: ignore[misc]

        def convert_th(self, el: Any, text: str, parent_tags: Any) -> str:
            return str(super().convert_th(el, _cell(text), parent_tags))  # type: ignore[misc]

    return Converter


def _cell(text: str) -> str:
    """A table cell on one line, with its pipes escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def _tidied(text: str) -> str:
    """Without blanks at line ends and without more than one empty line."""
    lines = [line.rstrip() for line in text.replace("\u00a0", " ").split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"
