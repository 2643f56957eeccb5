"""Files become one text: Markdown and plain text as they are, HTML, PDF and DOCX converted to Markdown.

Every offset of the lab counts characters of this text. Where docling is installed it reads PDF and DOCX (it keeps more
tables); otherwise pypdf, mammoth and markdownify do.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptlab.documents.chunking import FENCE, HEADING
from adaptlab.environment import document_files, is_plain_text
from config import LabError

CONVERTER = 1  # counts up when the same file becomes another text
MOST_BYTES = 300_000_000
MOST_CHARACTERS = 50_000_000
KINDS = {".html": "HTML", ".htm": "HTML", ".xhtml": "HTML", ".pdf": "PDF", ".docx": "DOCX"}
LIBRARIES = {"HTML": ("bs4", "markdownify"), "PDF": ("pypdf",), "DOCX": ("mammoth", "bs4", "markdownify")}
INSTALL = {"HTML": "beautifulsoup4 markdownify", "PDF": "pypdf", "DOCX": "mammoth markdownify"}
OTHERS = {
    b"\xd0\xcf\x11\xe0": "an old Office file or an encrypted one",
    b"{\\rtf": "RTF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
}


@dataclass(frozen=True)
class File:
    """One file of a document: where its text stands in the whole, and how it was read."""

    name: str
    kind: str
    reader: str
    start: int
    end: int


@dataclass(frozen=True)
class Reading:
    """The text of one or more files, and what a person should know about how it came about."""

    text: str
    files: list[File]
    notes: list[str]


def load(path: str | Path) -> str:
    """The text of one file, or of all documents in a folder."""
    return read([Path(path)]).text


def read(paths: Sequence[str | Path]) -> Reading:
    """The text of files and folders; of several, each becomes a section under a heading with its name."""
    named = _named([Path(path) for path in paths])
    if len(named) == 1 and not Path(paths[0]).is_dir():
        name, path = named[0]
        text, kind, reader, notes = _text_of(path)
        return Reading(text, [File(name, kind, reader, 0, len(text))], notes)
    return _joined(named)


def sources_hash(paths: Sequence[Path]) -> str:
    """A hash of what is read: of a single text file its bytes' own, else of all names and bytes."""
    if len(paths) == 1 and is_plain_text(paths[0]):
        return hashlib.sha256(paths[0].read_bytes()).hexdigest()
    lines = [f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for name, path in _named(paths)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _named(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Every file with the name that its section gets: relative to a folder that was named, else its own."""
    found: list[tuple[str, Path]] = []
    for path in paths:
        if path.is_dir():
            inside = document_files(path)
            if not inside:
                raise LabError(f"The document {path.name} is a folder with no Markdown, text, HTML, PDF or DOCX in it.")
            found += [(file.relative_to(path).as_posix(), file) for file in inside]
        else:
            found.append((path.name, path))
    return found


def _joined(named: Sequence[tuple[str, Path]]) -> Reading:
    """Several files as one text; a file with the same text as an earlier one is left out, and that is noted."""
    text, files, notes = "", [], []
    seen: dict[str, str] = {}
    for name, path in named:
        body, kind, reader, said = _text_of(path)
        notes += said
        if body in seen:
            notes.append(f"{name} has the same text as {seen[body]}: it is left out.")
            continue
        seen[body] = name
        start = len(text)
        text += f"# {' '.join(name.split())}\n\n{_lowered(body).strip(chr(10))}\n\n"
        files.append(File(name, kind, reader, start, len(text)))
        if len(text) > MOST_CHARACTERS:
            raise LabError(f"The documents up to {name} have over {MOST_CHARACTERS:,} characters: name fewer of them.")
    return Reading(text, files, notes)


def _lowered(body: str) -> str:
    """A file's text with its headings one level lower, to stand under its name; an open code fence is closed."""
    lines, fenced = [], False
    for line in body.split("\n"):
        is_fence = bool(FENCE.match(line))
        match = None if fenced or is_fence else HEADING.match(line)
        fenced ^= is_fence
        lines.append(f"#{line}" if match and len(match[1]) < 6 else line)
    return "\n".join([*lines, "```"] if fenced else lines)


# ------------------------------------------------------------------------------------------------------- one file


def _text_of(path: Path) -> tuple[str, str, str, list[str]]:
    """The text of one file, its kind, what read it, and notes."""
    data = _bytes(path)
    kind = _kind(path, data)
    if kind == "text":
        return _whole(_decoded(data, path.name), path.name), kind, "as it is", []
    text, reader, notes = _converted(path, data, kind)
    return _whole(text, path.name), kind, reader, notes


def _whole(text: str, name: str) -> str:
    """A text with one kind of line break, if it has words and not too many."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise LabError(f"The document {name} is empty: set LAB_DOCUMENT to a file that has text.")
    if len(text) > MOST_CHARACTERS:
        raise LabError(f"The document {name} has over {MOST_CHARACTERS:,} characters: split it.")
    return text


def _bytes(path: Path) -> bytes:
    """The file's bytes, if it is there, can be read, and is of a size that a text has."""
    if not path.exists():
        raise LabError(f"The document {path.name} does not exist: set LAB_DOCUMENT to a file or a folder.")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise LabError(f"The document {path.name} has over {MOST_BYTES // 10**6} MB: split it, or save it as text.")
        return path.read_bytes()
    except OSError as error:
        raise LabError(f"The document {path.name} cannot be read ({error.strerror}): check its permissions.") from error


def _kind(path: Path, data: bytes) -> str:
    """What a file is: its name and its content must agree."""
    named = KINDS.get(path.suffix.lower(), "text")
    if not data.strip():
        raise LabError(f"The document {path.name} is empty: set LAB_DOCUMENT to a file that has text.")
    other = next((what for start, what in OTHERS.items() if data.startswith(start)), None)
    if other:
        raise LabError(f"The document {path.name} is {other}: save it as DOCX, PDF, HTML, Markdown or plain text.")
    held = _held(data)
    if held == "zip" and named != "DOCX":
        raise LabError(f"The document {path.name} is a zip or Office file: save it as DOCX, PDF or Markdown.")
    if held == "PDF" and named != "PDF":
        raise LabError(f"The document {path.name} holds a PDF: rename it so that its name ends in .pdf.")
    if named == "PDF" and held != "PDF":
        raise LabError(f"The document {path.name} holds no PDF, whatever its name says: save it as PDF, or rename it.")
    if named == "DOCX" and held != "zip":
        raise LabError(f"The document {path.name} is no DOCX (it is not a zip file): save it as DOCX, or rename it.")
    if named == "HTML" and b"\x00" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise LabError(f"The document {path.name} is a binary file and no HTML: save it as HTML or Markdown.")
    return named


def _held(data: bytes) -> str:
    """What the content tells of itself."""
    if b"%PDF-" in data[:1024]:
        return "PDF"
    return "zip" if data.startswith((b"PK\x03\x04", b"PK\x05\x06")) else ""


def _decoded(data: bytes, name: str) -> str:
    """Bytes as UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise LabError(f"The document {name} is not UTF-8 text but UTF-16: save it as UTF-8 and try again.")
    if b"\x00" in data:
        raise LabError(f"The document {name} is a binary file: convert it to Markdown or plain text first.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"byte {error.start}"
        raise LabError(f"The document {name} is not UTF-8 text ({where}): save it as UTF-8 and try again.") from error


def _converted(path: Path, data: bytes, kind: str) -> tuple[str, str, list[str]]:
    """A file as Markdown, what converted it, and notes."""
    notes, light = [], " and ".join(LIBRARIES[kind])
    if kind in ("PDF", "DOCX") and importlib.util.find_spec("docling") is not None:
        text, problem = _by_docling(path)
        if text:
            return text, "docling", []
        notes = [f"{path.name}: docling could not read it ({problem}); {light} did."]
    elif kind in ("PDF", "DOCX"):
        notes = [f"{path.name}: docling, which keeps more tables, is not installed: {light} read it."]
    missing = [library for library in LIBRARIES[kind] if importlib.util.find_spec(library) is None]
    if missing:
        raise LabError(
            f"The document {path.name} is {kind}, and {' and '.join(missing)} is missing here: "
            f"pip install {INSTALL[kind]} (or docling, which keeps more), or save it as Markdown."
        )
    from adaptlab.documents import markup, pdf

    convert = {"HTML": markup.html_to_markdown, "PDF": pdf.to_markdown, "DOCX": markup.docx_to_markdown}[kind]
    text, said = convert(data, path.name)
    return text, light, notes + said


def _by_docling(path: Path) -> tuple[str, str]:
    """The Markdown that docling makes, or an empty text and why; it may need models that are not at hand."""
    try:
        from docling.document_converter import DocumentConverter

        return str(DocumentConverter().convert(path).document.export_to_markdown()), ""
    except Exception as error:  # docling and its models raise what they like; the lighter route is there
        return "", re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")[:160]
