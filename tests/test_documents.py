"""Loading and cutting documents: offsets stay exact, tables whole, page furniture out."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptlab.documents import chunks, header_of, load, running_heads, sections
from config import LabError

REAL = Path(__file__).resolve().parents[2] / "shared/data/basic-fantasy/Basic-Fantasy-RPG-Rules-r142.md"
WIDE = "| Name | Price |\n|------|-------|\n" + "".join(f"| Blade {i:02d} | {i} crowns |\n" for i in range(60))
TEXT = f"""# Rules

A first paragraph. It has two sentences.

## Fighting

{"A long sentence about fighting that goes on for a while. " * 30}

### Arms

The arms of the land:

| Name | Price |
|------|-------|
| Saltknife | 35 crowns |
| Bell | 9 crowns |

Prose behind the table.

## Wares

{WIDE}
## Tiny

### One

First note.

### Two

Second note.
"""


def test_every_chunk_is_a_verbatim_slice_in_order():
    made = chunks(TEXT, size=300)
    assert all(chunk.text == TEXT[chunk.start : chunk.end] for chunk in made)
    assert all(a.end <= b.start for a, b in zip(made, made[1:], strict=False))
    assert len({chunk.id for chunk in made}) == len(made)


def test_chunks_keep_to_the_size_and_lose_no_word():
    made = chunks(TEXT, size=300)
    assert max(len(chunk.text) for chunk in made) <= 300
    kept = " ".join(chunk.text for chunk in made)
    body = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
    assert all(word in kept for line in body for word in line.split())


def test_prose_is_cut_between_sentences():
    parts = [chunk.text for chunk in chunks(TEXT, size=300) if "fighting" in chunk.text]
    assert len(parts) > 3
    assert all(part.endswith("while.") and part.startswith("A long") for part in parts)


def test_the_title_is_the_heading_path():
    titles = {chunk.title for chunk in chunks(TEXT)}
    assert {"Rules", "Rules > Fighting", "Rules > Fighting > Arms", "Rules > Wares"} <= titles


def test_a_table_that_fits_stays_whole_with_its_introduction():
    holding = [chunk for chunk in chunks(TEXT, size=300) if "Saltknife" in chunk.text]
    assert len(holding) == 1
    assert holding[0].text.startswith("The arms of the land")
    assert "| Bell | 9 crowns |" in holding[0].text


def test_a_table_larger_than_a_chunk_is_split_only_between_rows():
    parts = [chunk for chunk in chunks(TEXT, size=300) if chunk.title == "Rules > Wares"]
    assert len(parts) > 3
    rows = [line for part in parts for line in part.text.splitlines()]
    assert rows == WIDE.strip().splitlines()


def test_the_head_of_a_split_table_is_found_for_its_later_pieces_only():
    first, second, *_ = [chunk for chunk in chunks(TEXT, size=300) if chunk.title == "Rules > Wares"]
    assert header_of(first, TEXT) == ""
    assert header_of(second, TEXT) == "| Name | Price |\n|------|-------|"
    prose = next(chunk for chunk in chunks(TEXT) if chunk.title == "Rules")
    assert header_of(prose, TEXT) == ""


def test_tiny_neighbours_under_one_parent_share_a_chunk():
    shared = next(chunk for chunk in chunks(TEXT) if "First note." in chunk.text)
    assert shared.title == "Rules > Tiny"
    assert "Second note." in shared.text
    assert shared.text == TEXT[shared.start : shared.end]


def test_overlap_reaches_back_without_breaking_a_word():
    plain, lapped = chunks(TEXT, size=300), chunks(TEXT, size=300, overlap=60)
    assert all(chunk.text == TEXT[chunk.start : chunk.end] for chunk in lapped)
    assert [chunk.end for chunk in plain] == [chunk.end for chunk in lapped]
    reached = [a.start - b.start for a, b in zip(plain, lapped, strict=True)]
    assert max(reached) > 30 and max(reached) <= 60
    assert all(chunk.start == 0 or TEXT[chunk.start - 1].isspace() for chunk in lapped)


def test_running_heads_images_and_contents_tables_are_not_indexed():
    page = "## MY BOOK\n\n<!-- image -->\n\n"
    contents = "| One........12 | Two.........13 |\n|---|---|\n| PART TWO | Three.....14 |\n\n"
    text = contents + "## Chapter\n\n" + "".join(f"{page}Paragraph {i} of the chapter.\n\n" for i in range(12))
    made = chunks(text)
    assert running_heads(text) == {"MY BOOK"}
    assert {chunk.title for chunk in made} == {"Chapter"}
    assert not any("MY BOOK" in chunk.text or "image" in chunk.text or "PART" in chunk.text for chunk in made)
    assert [chunk.text for chunk in made] == [f"Paragraph {i} of the chapter." for i in range(12)]


def test_a_heading_in_a_code_fence_is_text():
    text = "# A\n\n```\n# not a heading\n```\n"
    assert [section.title for section in sections(text)] == ["A"]
    assert "# not a heading" in chunks(text)[0].text


def test_sections_carry_level_path_and_offsets():
    found = {section.title: section for section in sections(TEXT)}
    assert found["Arms"].path == ["Rules", "Fighting", "Arms"]
    assert found["Arms"].level == 3
    assert TEXT[found["Arms"].start :].startswith("### Arms")
    assert found["Arms"].end == found["Wares"].start


def test_text_before_the_first_heading_is_kept():
    made = chunks("Preface words.\n\n# A\n\nBody.\n")
    assert [(chunk.title, chunk.text) for chunk in made] == [("", "Preface words."), ("A", "Body.")]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.md", None, "does not exist"),
        ("empty.md", b" \n\n", "is empty"),
        ("binary.md", b"abc\x00\x01", "binary"),
        ("book.pdf", b"%PDF-1.7 ...", "damaged PDF"),
        ("latin.md", "Wächter".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_document_that_cannot_be_used_is_one_sentence(tmp_path, name, content, says):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LabError, match=says) as caught:
        load(path)
    assert name in str(caught.value) and str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_not_a_document(tmp_path):
    with pytest.raises(LabError, match="folder"):
        load(tmp_path)


def test_line_endings_and_byte_order_mark_are_taken_off(tmp_path):
    path = tmp_path / "windows.md"
    path.write_bytes(b"\xef\xbb\xbf# A\r\n\r\nBody.\r\n")
    assert load(path) == "# A\n\nBody.\n"


@pytest.mark.parametrize(("size", "overlap"), [(50, 0), (300, 300), (300, -1)])
def test_impossible_chunk_settings_are_refused(size, overlap):
    with pytest.raises(LabError, match="Chunk size"):
        chunks(TEXT, size=size, overlap=overlap)


@pytest.mark.skipif(not REAL.is_file(), reason="the real document is not here")
@pytest.mark.parametrize("overlap", [0, 100])
def test_the_real_document_keeps_offsets_tables_and_no_page_furniture(overlap):
    text = load(REAL)
    made = chunks(text, overlap=overlap)
    assert len(made) > 1000
    assert all(chunk.text == text[chunk.start : chunk.end] for chunk in made)
    assert not any("BASIC FANTASY RPG" in chunk.title or "## BASIC FANTASY RPG" in chunk.text for chunk in made)
    assert not any("......" in chunk.text or "<!-- image" in chunk.text for chunk in made)
    for chunk in made:  # no chunk starts or ends inside a table row
        line = text[text.rfind("\n", 0, chunk.start) + 1 : chunk.start]
        assert not line.lstrip().startswith("|")
        assert not chunk.text.splitlines()[-1].startswith("|") or text[chunk.end : chunk.end + 1] in ("\n", "", " ")
