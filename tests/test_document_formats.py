"""Documents in other formats than Markdown: what is kept, several files as one, and each fault as one sentence.

Every file is made here, byte by byte, so that what it holds is known.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import config
from adaptlab import documents, workbench
from adaptlab.documents import markup, reading
from config import LabError

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/word/document.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
RELATIONS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" Target="word/document.xml" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"/></Relationships>'
)
STYLES = (
    f'<?xml version="1.0"?><w:styles xmlns:w="{W}">'
    '<w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/></w:style>'
    '<w:style w:type="paragraph" w:styleId="Heading2"><w:name w:val="heading 2"/></w:style></w:styles>'
)


def paragraph(text: str, style: str = "") -> str:
    look = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{look}<w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def word_table(rows: Sequence[Sequence[str]]) -> str:
    made = "".join("<w:tr>" + "".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) + "</w:tr>" for row in rows)
    return f"<w:tbl>{made}</w:tbl>"


def docx(body: str, declared: str = "") -> bytes:
    """A DOCX with this body, written as a zip file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", TYPES)
        archive.writestr("_rels/.rels", RELATIONS)
        archive.writestr("word/styles.xml", STYLES)
        archive.writestr(
            "word/_rels/document.xml.rels",
            '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            '<Relationship Id="s1" Target="styles.xml" '
            'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles"/></Relationships>',
        )
        document = f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'
        archive.writestr("word/document.xml", f'<?xml version="1.0"?>{declared}{document}')
    return stream.getvalue()


def show(text: str, x: float, y: float, size: float = 10, font: str = "F1") -> str:
    """One text of a PDF page."""
    said = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT /{font} {size} Tf 1 0 0 1 {x} {y} Tm ({said}) Tj ET"


def pdf(pages: Sequence[Sequence[str]], encrypt: str = "") -> bytes:
    """A PDF whose pages hold these operators, with Helvetica as F1 and bold as F2; `encrypt` is a trailer's entry."""
    count = len(pages)
    objects = ["<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{5 + 2 * i} 0 R" for i in range(count))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {count} >>")
    objects += [
        f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>"
        for name in ("Helvetica", "Helvetica-Bold")
    ]
    for i, operators in enumerate(pages):
        stream = "\n".join(operators)
        fonts = "/Resources << /Font << /F1 3 0 R /F2 4 0 R >> >>"
        size = "/MediaBox [0 0 595 842]"
        objects.append(f"<< /Type /Page /Parent 2 0 R {size} {fonts} /Contents {6 + 2 * i} 0 R >>")
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    data, places = b"%PDF-1.4\n", []
    for number, item in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{item}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    trailer = f"<< /Size {len(objects) + 1} /Root 1 0 R {encrypt} >>"
    tail = (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n{trailer}\nstartxref\n{len(data)}\n%%EOF\n"
    )
    return data + tail.encode("latin-1")


def page(number: int, lines: Sequence[str]) -> list[str]:
    """A page with a running head and its number, and body lines under each other."""
    edges = [show("The Harbour Handbook", 60, 800, 8), show(str(number), 290, 30, 8)]
    return [edges[0], *(show(line, 60, 760 - 13 * i) for i, line in enumerate(lines)), edges[1]]


BOOK = pdf(
    [
        [
            show("Harbour Rules", 60, 700, 24, "F2"),
            show("The Harbour Handbook", 60, 800, 8),
            show("A boat that comes in after dusk pays the lamp fee of three crowns, and the", 60, 660),
            show("harbour clerk notes it at once.", 60, 647),
            show("1", 290, 30, 8),
        ],
        [
            show("The Harbour Handbook", 60, 800, 8),
            show("Fees by boat", 60, 760, 16, "F2"),
            *[
                show(cell, x, y)
                for y, row in zip(
                    (730, 716, 702, 688),
                    (
                        ("Boat", "Crew", "Fee"),
                        ("Skiff", "2", "1 crown"),
                        ("Barge", "6", "4 crowns"),
                        ("Cog", "12", "9 crowns"),
                    ),
                    strict=True,
                )
                for x, cell in zip((60, 200, 300), row, strict=True)
            ],
            show("The clerk may remit a fee where a boat brings a drowned sailor home to the har-", 60, 640),
            show("bour, and writes down why.", 60, 627),
            show("2", 290, 30, 8),
        ],
        page(3, ["Nobody moors at the ferry steps. Whoever does so is towed away at the", "owner's cost and"]),
        page(4, ["pays nine crowns besides."]),
    ]
)
HTML = """<!doctype html><html><head><title>Not text</title><style>p {color: red}</style></head><body>
<nav><a href="/">Home</a></nav><h1>Ferry</h1><p>The ferry costs <b>3 crowns</b>.<script>alert("never")</script></p>
<table><tr><th>Day</th><th>Sails</th></tr><tr><td>Monday</td><td>at 7 | at 9</td></tr></table>
<ul><li>No goats.</li></ul><!-- a note to self --><p># not a heading</p></body></html>"""
WORD = docx(
    paragraph("Lamp Oil", "Heading1")
    + paragraph("A flask burns for six turns.")
    + paragraph("Prices", "Heading2")
    + word_table([["Oil", "Price"], ["Whale", "4 crowns"], ["Weed", "1 crown"]])
)


def write(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
    return path


# --------------------------------------------------------------------------------------------------------- formats


def test_html_keeps_headings_tables_and_words_and_drops_what_is_no_text(tmp_path):
    text = documents.load(write(tmp_path, "ferry.html", HTML))
    assert text.startswith("# Ferry\n\nThe ferry costs **3 crowns**.\n")
    assert "| Day | Sails |\n| --- | --- |\n| Monday | at 7 \\| at 9 |\n" in text
    assert "- No goats." in text and "\\# not a heading" in text
    assert not [word for word in ("never", "Home", "color", "note to self", "Not text") if word in text]
    assert [section.title for section in documents.sections(text)] == ["Ferry"]


def test_html_in_another_encoding_is_read_as_it_says(tmp_path):
    page = '<html><head><meta charset="windows-1252"></head><body><p>Wächter zahlen 3 €.</p></body></html>'
    assert documents.load(write(tmp_path, "guard.htm", page.encode("cp1252"))) == "Wächter zahlen 3 €.\n"


def test_docx_keeps_headings_and_tables(tmp_path):
    text = documents.load(write(tmp_path, "oil.docx", WORD))
    assert text == (
        "# Lamp Oil\n\nA flask burns for six turns.\n\n## Prices\n\n"
        "| Oil | Price |\n| --- | --- |\n| Whale | 4 crowns |\n| Weed | 1 crown |\n"
    )


def test_pdf_keeps_headings_tables_and_paragraphs_over_pages(tmp_path):
    text = documents.load(write(tmp_path, "book.pdf", BOOK))
    found = {section.title: section.level for section in documents.sections(text) if section.title}
    assert found == {"Harbour Rules": 1, "Fees by boat": 2}
    assert "three crowns, and the harbour clerk notes it at once." in text
    table = "| Boat | Crew | Fee |\n| --- | --- | --- |\n| Skiff | 2 | 1 crown |\n| Barge | 6 | 4 crowns |\n"
    assert f"{table}| Cog | 12 | 9 crowns |" in text
    assert "drowned sailor home to the harbour, and writes" in text
    assert "owner's cost and pays nine crowns besides." in text


def test_running_heads_and_page_numbers_of_a_pdf_are_marks_that_no_chunk_holds(tmp_path):
    text = documents.load(write(tmp_path, "book.pdf", BOOK))
    assert text.count("Harbour Handbook") == 4 and "<!-- page 2: The Harbour Handbook | 2 -->" in text
    made = documents.chunks(text, 300)
    assert not [chunk for chunk in made if "Handbook" in chunk.text or "<!--" in chunk.text]
    assert all(chunk.text == text[chunk.start : chunk.end] for chunk in made)


# --------------------------------------------------------------------------------------------------- several files


def test_several_files_become_sections_under_their_names_with_exact_offsets(tmp_path):
    paths = [
        write(tmp_path, "notes.md", "# Tides\n\nHigh at noon.\n\n```\n# code, never closed\n"),
        write(tmp_path, "ferry.html", HTML),
        write(tmp_path, "oil.docx", WORD),
        write(tmp_path, "book.pdf", BOOK),
    ]
    reading = documents.read(paths)
    assert [file.name for file in reading.files] == ["notes.md", "ferry.html", "oil.docx", "book.pdf"]
    tops = [section for section in documents.sections(reading.text) if section.level == 1]
    assert [section.title for section in tops] == [path.name for path in paths]
    assert [file.start for file in reading.files] == [section.start for section in tops]
    made = documents.chunks(reading.text, 300)
    assert all(chunk.text == reading.text[chunk.start : chunk.end] for chunk in made)
    for file in reading.files:
        inside = [chunk for chunk in made if file.start <= chunk.start < file.end]
        assert inside and all(chunk.end <= file.end and chunk.title.startswith(file.name) for chunk in inside)
    assert "oil.docx > Lamp Oil > Prices" in {chunk.title for chunk in made}


def test_a_folder_is_read_in_the_order_of_names_without_hidden_and_other_files(tmp_path):
    for name in ("b.md", "a/c.txt", ".hidden.md", "a/.git/x.md", "picture.svg", "rows.csv"):
        write(tmp_path / "book", name, f"Words of {name}.")
    reading = documents.read([tmp_path / "book"])
    assert [file.name for file in reading.files] == ["a/c.txt", "b.md"]
    assert reading.text == "# a/c.txt\n\nWords of a/c.txt.\n\n# b.md\n\nWords of b.md.\n\n"


def test_headings_that_all_files_share_are_no_running_heads_but_those_within_a_file_are(tmp_path):
    for number in range(12):
        body = f"## Overview\n\nWhat file {number} is about.\n"
        write(tmp_path / "book", f"{number:02d}.md", body)
    pages = "".join(f"## HARBOUR BOOK\n\nPage {i} of the book.\n\n{i}\n\n" for i in range(1, 11))
    write(tmp_path / "book", "pages.md", pages)
    text = documents.load(tmp_path / "book")
    assert documents.running_heads(text) == {"HARBOUR BOOK"}
    made = documents.chunks(text, 100)
    assert {chunk.title for chunk in made if "What file 7" in chunk.text} == {"07.md > Overview"}
    assert [c.text for c in made if c.title == "pages.md"] == [f"Page {i} of the book." for i in range(1, 11)]


def test_a_copy_of_a_file_is_left_out_and_that_is_said(tmp_path):
    paths = [write(tmp_path, name, "# Tides\n\nHigh at noon.\n") for name in ("tides.md", "copy.md")]
    reading = documents.read(paths)
    assert reading.text.count("High at noon") == 1
    assert reading.notes == ["copy.md has the same text as tides.md: it is left out."]


def test_the_converted_text_is_stored_once_and_found_again(tmp_path, make_lab):
    word, note = write(tmp_path, "oil.docx", WORD), write(tmp_path, "notes.md", "Burns well.\n")
    lab = make_lab(LAB_DOCUMENT=f"{word}{os.pathsep}{note}")
    text = workbench.document(lab)
    stored = lab.settings.live_dir / "document.md"
    assert stored.read_text("utf-8") == text and "# notes.md\n\nBurns well." in text
    assert lab.settings.slug == "oil-and-1-more" and lab.settings.document_name == "oil.docx and 1 more"
    before = stored.stat().st_mtime_ns
    assert workbench.document(make_lab(LAB_DOCUMENT=f"{word}{os.pathsep}{note}")) == text
    assert stored.stat().st_mtime_ns == before
    first = lab.document_hash
    note.write_text("Burns badly.\n", "utf-8")
    changed = make_lab(LAB_DOCUMENT=f"{word}{os.pathsep}{note}")
    assert "Burns badly." in workbench.document(changed) and changed.document_hash != first


def test_a_replay_reads_the_stored_text_and_needs_no_library(tmp_path, make_lab, monkeypatch):
    path = write(tmp_path, "oil.docx", WORD)
    lab = make_lab(LAB_DOCUMENT=str(path))
    text = workbench.document(lab)
    shutil.copytree(lab.settings.live_dir, lab.settings.prebuilt_dir)
    monkeypatch.setattr(reading, "LIBRARIES", {**reading.LIBRARIES, "DOCX": ("no_such_library",)})
    assert workbench.document(make_lab(LAB_DOCUMENT=str(path), LAB_MODE="prebuilt")) == text


def test_a_text_file_is_read_where_it_lies_and_stored_nowhere(make_lab, document):
    lab = make_lab()
    assert workbench.document(lab) == document.read_text("utf-8")
    assert not lab.settings.live_dir.exists()


def test_page_furniture_is_kept_in_the_chunks_where_that_is_asked_for(tmp_path, make_lab):
    links = "".join(f"- [Part {i}](#part-{i})\n" for i in range(5))
    path = write(
        tmp_path, "book.md", f"# Book\n\n{links}\n" + "".join(f"## Part {i}\n\nText {i}.\n\n" for i in range(5))
    )
    plain, kept = make_lab(LAB_DOCUMENT=str(path)), make_lab(LAB_DOCUMENT=str(path), LAB_FURNITURE="keep")
    text = workbench.document(plain)
    assert not [chunk for chunk in workbench.chunks(plain, text) if "#part" in chunk.text]
    assert [chunk for chunk in workbench.chunks(kept, text) if "[Part 3](#part-3)" in chunk.text]
    assert plain.document_hash != kept.document_hash


# ------------------------------------------------------------------------------------------------------ sentences


def encrypted() -> bytes:
    """A PDF with a standard security handler and no usable password."""
    handler = "<< /Filter /Standard /V 1 /R 2 /Length 40 /P -44 /O <" + "41" * 32 + "> /U <" + "42" * 32 + "> >>"
    return pdf([[show("Secret", 60, 700)]], f"/Encrypt {handler} /ID [<{'43' * 16}> <{'43' * 16}>]")


def bomb() -> bytes:
    """A DOCX that unpacks to far more than it weighs."""
    stream = io.BytesIO(docx(paragraph("Small.")))
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/media/zeros.bin", b"\x00" * 60_000_000)
    return stream.getvalue()


ENTITIES = '<!DOCTYPE lol [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
FAULTS = {
    "encrypted PDF": ("a.pdf", encrypted, "is an encrypted PDF: save a copy without its password"),
    "scanned PDF": ("a.pdf", lambda: pdf([["0 0 100 100 re f"]] * 3), "hardly any text, so its pages are scans"),
    "torn PDF": ("a.pdf", lambda: BOOK[:400], "is a damaged PDF"),
    "PDF without pages": ("a.pdf", lambda: pdf([]), "is a PDF without pages"),
    "text named PDF": ("a.pdf", lambda: b"# Words", "holds no PDF, whatever its name says"),
    "PDF named Markdown": ("a.md", lambda: BOOK, r"holds a PDF: rename it so that its name ends in \.pdf"),
    "DOCX named Markdown": ("a.md", lambda: WORD, "is a zip or Office file"),
    "DOCX that is no zip": ("a.docx", lambda: b"# Words", "is no DOCX .it is not a zip file."),
    "torn DOCX": ("a.docx", lambda: WORD[: len(WORD) // 2], "is a damaged DOCX"),
    "zip that is no DOCX": ("a.docx", lambda: b"PK\x05\x06" + b"\x00" * 18, "is a zip file but no DOCX"),
    "DOCX with broken XML": ("a.docx", lambda: docx("<w:p>"), "is a damaged DOCX"),
    "DOCX with entities": ("a.docx", lambda: docx(paragraph("&b;"), ENTITIES), "declares XML entities"),
    "zip bomb": ("a.docx", bomb, "would unpack to 60 MB from"),
    "DOCX without words": ("a.docx", lambda: docx(paragraph("")), "is empty"),
    "old Word file": ("a.doc", lambda: b"\xd0\xcf\x11\xe0" + b"\x00" * 600, "is an old Office file"),
    "RTF": ("a.txt", lambda: rb"{\rtf1 words}", "is RTF: save it as DOCX"),
    "picture": ("a.md", lambda: b"\x89PNG\r\n\x1a\n\x00", "is a picture"),
    "empty": ("a.html", lambda: b"", "is empty"),
    "HTML without words": ("a.html", lambda: b"<html><script>1</script></html>", "is empty"),
    "binary HTML": ("a.html", lambda: b"<html>\x00\x01", "is a binary file and no HTML"),
    "binary": ("a.txt", lambda: b"words\x00\x01", "is a binary file"),
    "UTF-16": ("a.txt", lambda: "Wörter".encode("utf-16"), "not UTF-8 text but UTF-16"),
    "deep HTML": ("a.html", lambda: b"<div>" * 5000 + b"words", "nests its elements too deeply"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, fault):
    name, data, says = FAULTS[fault]
    path = write(tmp_path, name, data())
    with pytest.raises(LabError, match=says) as caught:
        documents.load(path)
    said = str(caught.value)
    assert name in said and str(tmp_path) not in said and "\n" not in said and said.endswith(".")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.html", b"<p>words</p>" * 100_000, "has over 1 MB of HTML: split it"),
        ("a.docx", docx("".join(paragraph(f"Words {number}") for number in range(20_000))), "holds over 1 MB of XML"),
    ],
    ids=["HTML", "DOCX"],
)
def test_more_markup_than_can_be_parsed_is_one_sentence(tmp_path, monkeypatch, name, data, says):
    monkeypatch.setattr(markup, "MOST_MARKUP", 1_000_000)
    with pytest.raises(LabError, match=says):
        documents.load(write(tmp_path, name, data))


DOCLING = """
class DocumentConverter:
    def convert(self, path):
        if path.name.startswith("broken"):
            raise RuntimeError("no layout model is at hand")
        self.document = self
        return self

    def export_to_markdown(self):
        return "# As docling reads it\\n\\nThree crowns.\\n"
"""


@pytest.fixture
def no_docling_left():
    """What a test puts in the place of docling is gone afterwards."""
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "docling"]:
        del sys.modules[name]


@pytest.mark.usefixtures("no_docling_left")
def test_docling_reads_where_it_is_installed_and_a_lighter_library_where_it_is_not_or_fails(tmp_path, monkeypatch):
    book, page = write(tmp_path, "book.pdf", BOOK), write(tmp_path, "ferry.html", HTML)
    light = documents.read([book])
    assert light.files[0].reader == "pypdf" and documents.read([page]).notes == []
    assert light.notes[0] == "book.pdf: docling, which keeps more tables, is not installed: pypdf read it."
    (tmp_path / "docling").mkdir()
    (tmp_path / "docling" / "__init__.py").write_text("")
    (tmp_path / "docling" / "document_converter.py").write_text(DOCLING)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = documents.read([book])
    assert (found.text, found.notes) == ("# As docling reads it\n\nThree crowns.\n", [])
    assert found.files[0].reader == "docling"
    broken = documents.read([write(tmp_path, "broken.pdf", BOOK)])
    assert broken.text == light.text and broken.files[0].reader == "pypdf"
    why = "RuntimeError: no layout model is at hand"
    assert broken.notes[0] == f"broken.pdf: docling could not read it ({why}); pypdf did."


def test_a_missing_library_is_one_sentence_with_its_pip_command(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LIBRARIES", {**reading.LIBRARIES, "PDF": ("no_such_library",)})
    with pytest.raises(LabError, match="no_such_library is missing here: pip install pypdf"):
        documents.load(write(tmp_path, "book.pdf", BOOK))


def test_a_pdf_with_an_empty_password_is_read(tmp_path):
    pypdf = pytest.importorskip("pypdf")
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(BOOK))
    writer.encrypt("", "owner", algorithm="RC4-128")
    stream = io.BytesIO()
    writer.write(stream)
    assert "lamp fee of three crowns" in documents.load(write(tmp_path, "open.pdf", stream.getvalue()))


def test_settings_name_the_path_of_several_that_is_wrong(tmp_path, lab_environ, document):
    with pytest.raises(LabError, match=r"LAB_DOCUMENT names .*gone\.md, which does not exist"):
        config.settings({**lab_environ, "LAB_DOCUMENT": f"{document}{os.pathsep}{tmp_path / 'gone.md'}"})
