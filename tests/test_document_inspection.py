"""`adaptlab document`: contents and page numbers are recognised, and what looks broken is told with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adaptlab.documents import chunks, load, sections
from adaptlab.documents.inspection import KINDS, Inspection, inspect

REAL = Path(__file__).resolve().parents[2] / "shared/data/basic-fantasy/Basic-Fantasy-RPG-Rules-r142.md"
TWICE = "A paragraph that is long enough to be told when it stands in the document for a second time, word by word."
SCARRED = f"""# Book

{TWICE}

| Boat | Fee |
|------|-----|
| Cog | 9 crowns |
| Skiff | 1 crown | 2 crew |
| Barge | 4 crowns

The harbour clerk writes down each boat that comes in after dusk and the

<!-- image -->

fee that it paid, and in the morning he adds up the fees of the har-
bour, which the WÃ¤chter counts   again. The \ufb01rst is his.

{TWICE}

## Nothing here

## Code

```
# no heading
"""


@pytest.fixture(scope="module")
def found() -> Inspection:
    return inspect(SCARRED, 300)


@pytest.mark.parametrize(
    ("kind", "line_begins", "advice"),
    [
        ("broken table row", "| Skiff", "its head has 2 cells and this row 3"),
        ("broken table row", "| Barge", "repair the row"),
        ("torn paragraph", "The harbour clerk", "it goes on in line 15"),
        ("hyphen at a line end", "fee that it paid", "put it together"),
        ("wrong encoding", "bour, which", "UTF-8 was once read as another encoding"),
        ("odd letter", "bour, which", "U+FB01"),
        ("wide blanks", "bour, which", "justified page"),
        ("repeated paragraph", "A paragraph", "it stands in line 3 already"),
        ("empty section", "## Nothing here", "no text follows"),
        ("unclosed code fence", "```", "no heading below it is seen"),
    ],
)
def test_what_is_broken_is_told_with_its_line(found: Inspection, kind: str, line_begins: str, advice: str) -> None:
    lines = SCARRED.split("\n")
    told = [p for p in found.problems if p.kind == kind and lines[p.line - 1].startswith(line_begins)]
    assert len(told) == 1 and advice in told[0].advice
    assert SCARRED[told[0].start : told[0].end] == lines[told[0].line - 1]


def test_nothing_else_is_called_broken(found: Inspection) -> None:
    assert sum(found.counts().values()) == 10


def test_a_sound_document_has_no_problems() -> None:
    table = "| Boat | Fee |\n|---|---|\n| Cog \\| Skiff | 9 |"
    sound = f"# Book\n\nOne line.\n\n{table}\n\n- An item\n  goes on\n\n```\na  |    b\n```\n"
    assert inspect(sound).problems == []


def test_every_stretch_has_a_kind_and_all_characters_but_blanks_are_in_one(found: Inspection) -> None:
    assert {item.kind for item in found.stretches} <= set(KINDS)
    assert all(one.end < other.start for one, other in zip(found.stretches, found.stretches[1:], strict=False))
    between = [SCARRED[a.end : b.start] for a, b in zip(found.stretches, found.stretches[1:], strict=False)]
    assert not "".join(between).strip()
    assert sum(found.shares().values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "contents",
    [
        "- [Boats](#boats)\n- [Oil](#oil)\n  - [Prices](#prices)\n- [Ferry](#ferry)",
        "Boats 3\nOil 7\nPrices, 8, 12\nFerry 11",
        "- Boats\n- Oil\n- Prices\n- Ferry",
        "| Boats | 3 |\n|---|---|\n| Oil | 7 |\n| Ferry | 11 |",
        "Boats ....... 3\n\nOil ......... 7\n\nPrices ...... 8",
    ],
    ids=["links", "page numbers", "headings", "table", "leaders"],
)
def test_contents_lists_stand_in_no_chunk_unless_they_are_kept(contents: str) -> None:
    words = "Each of these parts has words enough for a chunk of its own. " * 5
    parts = "".join(f"## {name}\n\n{words}\n\n" for name in ("Boats", "Oil", "Prices", "Ferry"))
    text = f"# Book\n\n{words}\n\n## Contents\n\n{contents}\n\n{parts}"
    assert [c.text for c in chunks(text, 300) if "Contents" in c.title] == []
    kept = chunks(text, 300, keep_furniture=True)
    assert "".join(c.text for c in kept if "Contents" in c.title).split() == contents.split()
    assert all(c.text == text[c.start : c.end] for c in kept)
    assert inspect(text).furniture


def test_a_list_that_is_no_contents_list_is_kept() -> None:
    cards = "## Index cards\n\n- Write 3\n- File 4\n- Keep 5"
    text = f"# Book\n\n{cards}\n\n## Contents\n\nThe barrel holds salt.\n\nAnd a cat.\n"
    kept = "".join(chunk.text for chunk in chunks(text, 300))
    assert "File 4" in kept and "The barrel holds salt." in kept


@pytest.mark.parametrize("mark", ["{}", "Page {}", "- {} -", "Harbour Rules | {}", "{} of 9"])
def test_page_numbers_that_rise_stand_in_no_chunk(mark: str) -> None:
    text = "# Book\n\n" + "".join(f"Words of page {i}.\n\n{mark.format(i)}\n\n" for i in range(1, 8))
    assert [chunk.text for chunk in chunks(text, 100)] == [f"Words of page {i}." for i in range(1, 8)]


def test_numbers_that_do_not_rise_as_pages_do_are_kept() -> None:
    text = "# Dice\n\n" + "".join(f"Roll again.\n\n{number}\n\n" for number in (4, 9, 2, 40, 41, 7, 8))
    assert "41" in "".join(chunk.text for chunk in chunks(text, 300))


def test_the_command_tells_a_person_and_a_program_the_same(adaptlab_command, tmp_path) -> None:
    path, picture = tmp_path / "scarred.md", tmp_path / "map.png"
    path.write_text(SCARRED, "utf-8")
    told = adaptlab_command("document", "inspect", str(path), "--picture", str(picture), "--json")
    assert told.returncode == 0, told.stderr
    value = json.loads(told.stdout)
    assert picture.read_bytes().startswith(b"\x89PNG") and value["picture"] == str(picture)
    assert value["problem_counts"]["broken table row"] == 2 and value["files"][0]["name"] == "scarred.md"
    assert [chunk["id"] for chunk in value["chunks"]] == [chunk.id for chunk in chunks(SCARRED, 800)]
    said = adaptlab_command("document", "inspect", str(path), "--no-picture").stdout
    assert "Looks broken (10): " in said and "line 8: broken table row" in said and "Picture" not in said


def test_a_converted_document_can_be_written_and_is_not_overwritten(adaptlab_command, tmp_path) -> None:
    page, out = tmp_path / "ferry.html", tmp_path / "ferry.md"
    page.write_text("<h1>Ferry</h1><p>It sails.</p>", "utf-8")
    assert adaptlab_command("document", "convert", str(page), "--out", str(out)).returncode == 0
    assert out.read_text("utf-8") == "# Ferry\n\nIt sails.\n"
    again = adaptlab_command("document", "convert", str(out), "--out", str(out))
    assert again.returncode == 2 and again.stderr.count("\n") == 1 and "is the document itself" in again.stderr


def test_a_file_that_is_not_there_is_one_sentence_and_exit_code_2(adaptlab_command) -> None:
    told = adaptlab_command("document", "inspect", "gone.md")
    assert told.returncode == 2 and told.stderr.startswith("adaptlab: The document gone.md does not exist")


@pytest.mark.skipif(not REAL.is_file(), reason="the real document is not here")
def test_the_real_document_shows_its_page_heads_contents_and_scars() -> None:
    text = load(REAL)
    found = inspect(text)
    assert set(found.heads) > {"BASIC FANTASY RPG", "MONSTERS", "SPELLS"}
    whole = [(item.start, item.end) for item in found.furniture if item.end - item.start > 10_000]
    named = [s for s in sections(text) if s.title in ("TABLE OF CONTENTS", "Monster Index", "Alphabetical Index")]
    assert len(named) == 3
    assert all(any(start < s.end and s.start < end for start, end in whole) for s in named)
    assert found.counts()["torn paragraph"] > 20 and found.counts()["wide blanks"] > 500
    assert len(found.tables) > 200 and not any("....." in text[table.start : table.end] for table in found.tables)
