"""A document that the lab does not ship: the Basic Fantasy rules, with the scars of their conversion from a PDF.

The document is test data outside the repository; where it is absent, only the tests that need no more than the
questions run.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter

import pytest

from adaptlab.benchmark import load_questions
from adaptlab.controls import negative_controls
from adaptlab.documents import chunks, load, running_heads, sections
from adaptlab.retrieval import Index, recall_at_k, terms
from adaptlab.schemas import Chunk, Question
from adaptlab.scoring import strict
from config import ROOT

WHERE = "../shared/data/basic-fantasy/Basic-Fantasy-RPG-Rules-r142.md"
REAL = ROOT / WHERE
QUESTIONS = ROOT / "tests" / "data" / "basic_fantasy.questions.jsonl"
SIZE = 800
LEADERS = re.compile(r"\.{5,}")
NAMES = (  # of monsters, spells, items and classes; a question cannot do without them
    "battle axe, carrack, chain mail, cleric, elf, fighter, fireball, flying carpet, ghoul, halfling, harpy, ice"
    " dragon, levitate, longbow, longbowman, longsword, magic-user, mind reading, mirror image, oil, onager, plate"
    " mail, riding saddle, roc, shield, shrieker, skeleton, sleep, speak with dead, strangle vine, thief, trebuchet,"
    " troll, trollwife, wand, war horse"
)
Span = tuple[int, int]


@pytest.fixture(scope="module")
def document() -> str:
    if not REAL.is_file():
        pytest.skip(f"The real document is not here: put it at {WHERE}, seen from the repository, to run this test.")
    return load(REAL)


@pytest.fixture(scope="module")
def made(document: str) -> list[Chunk]:
    return chunks(document, size=SIZE)


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return load_questions(QUESTIONS)


@pytest.fixture(scope="module")
def tables(document: str) -> list[list[Span]]:
    """The rows of every table: what stands in neighbouring lines that begin with a pipe."""
    found: list[list[Span]] = []
    for match in re.finditer(r"^[ \t]*\|.*$", document, re.M):
        if found and found[-1][-1][1] + 1 == match.start():
            found[-1].append(match.span())
        else:
            found.append([match.span()])
    return found


def is_contents(document: str, rows: list[Span]) -> bool:
    return bool(LEADERS.search(document[rows[0][0] : rows[-1][1]]))


def chunk_over(made: list[Chunk], start: int, end: int) -> Chunk | None:
    """The chunk that holds a stretch of the document whole."""
    at = bisect_right(made, start, key=lambda chunk: chunk.start) - 1
    return made[at] if at >= 0 and made[at].end >= end else None


def squeeze(text: str) -> str:
    return " ".join(text.split())


# ------------------------------------------------------------------------------------------------- the questions


def test_there_are_fifty_questions_of_all_categories(questions):
    count = Counter(question.category for question in questions)
    assert len(questions) == len({question.text() for question in questions}) == 50
    assert count == {
        "explicit_rule": 18,
        "table_lookup": 14,
        "terminology": 6,
        "multi_step_rule": 4,
        "implicit_reasoning": 3,
        "unanswerable": 5,
    }
    assert all(len(q.phrasings) == 1 and q.phrasings[0].role == "unseen form" for q in questions)
    assert all(len(q.quotes) >= 2 for q in questions if q.category == "multi_step_rule")


def test_every_quote_stands_once_in_the_document_and_under_its_heading(document, questions):
    whole = squeeze(document)
    found = sections(document)
    for question in questions:
        for quote in question.quotes:
            at = document.find(quote.text)
            assert at >= 0, (question.id, quote.text)
            assert whole.count(squeeze(quote.text)) == 1, (question.id, quote.text)
            home = next(s for s in found if s.start <= at and at + len(quote.text) <= s.end)
            assert home.title == quote.section, question.id


def test_the_questions_come_from_every_eighth_of_the_document(document, questions):
    starts = [document.find(quote.text) for question in questions for quote in question.quotes]
    assert {8 * start // len(document) for start in starts} == set(range(8))


def test_twenty_questions_share_no_word_but_names_with_their_quotes(questions):
    names = set(terms(NAMES))
    apart = [
        question.id
        for question in questions
        if question.quotes
        and not (set(terms(question.text())) & {w for quote in question.quotes for w in terms(quote.text)}) - names
    ]
    assert len(apart) >= 20, apart


def test_strict_scoring_passes_every_gold_answer_and_no_wrong_one(questions):
    for question in questions:
        for gold in (question.answer, *question.accepted):
            assert strict(question, gold), (question.id, gold)
        for trick, text in negative_controls(question, questions).items():
            assert not strict(question, text), (question.id, trick, text)


# -------------------------------------------------------------------------------------------------- the document


def test_every_chunk_has_its_exact_offsets(document, made):
    assert all(chunk.text == document[chunk.start : chunk.end] for chunk in made)
    assert all(one.end <= other.start for one, other in zip(made, made[1:], strict=False))


def test_no_table_row_is_split_or_lost(document, made, tables):
    rows = [row for table in tables if not is_contents(document, table) for row in table]
    assert len(rows) > 3000
    lost = [row for row in rows if not chunk_over(made, row[0], row[0] + len(document[slice(*row)].rstrip()))]
    assert not [document[slice(*row)] for row in lost]


def test_a_table_that_fits_a_chunk_stands_in_one(document, made, tables):
    small = [table for table in tables if table[-1][1] - table[0][0] <= SIZE and not is_contents(document, table)]
    assert len(small) > 200
    torn = [table for table in small if not chunk_over(made, table[0][0], table[-1][1])]
    assert not [document[table[0][0] : table[-1][1]] for table in torn]


def test_no_running_head_is_the_title_of_a_chunk(document, made):
    heads = running_heads(document)
    assert {"BASIC FANTASY RPG", "MONSTERS", "TREASURE", "INTRODUCTION"} <= heads
    named = {part for chunk in made for part in chunk.title.split(" > ")}
    assert not named & heads
    assert not [title for title in named if title.isupper() and not title.startswith("PART ")]


def test_contents_and_index_are_not_indexed(document, made):
    contents = next(section for section in sections(document) if section.title == "TABLE OF CONTENTS")
    assert "Climbing and Diving....." in document[contents.start : contents.end]
    assert not [chunk for chunk in made if contents.start <= chunk.start < contents.end]
    assert not [chunk for chunk in made if LEADERS.search(chunk.text)]


def test_the_proving_quotes_of_seven_in_ten_questions_are_among_the_first_five_hits(document, made, questions):
    asked = [question for question in questions if question.category != "unanswerable"]
    assert len(asked) == 45
    assert recall_at_k(Index(made, document), asked, 5) >= 0.70


def test_a_page_head_in_capitals_that_repeats_the_name_of_a_part_is_no_section():
    text = "# PART 1: TREASURE\n\nGold lies here.\n\n# TREASURE\n\nIt glitters.\n\n# Gems\n\nRubies.\n"
    assert running_heads(text) == {"TREASURE"}
    assert [chunk.title for chunk in chunks(text, size=100)] == ["PART 1: TREASURE", "PART 1: TREASURE", "Gems"]
