"""Bring your own benchmark: guesses are said, quotes are found in the document, unproven questions stay out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT

from adaptlab.answers import clean
from adaptlab.benchmark import load_questions
from adaptlab.own_benchmark import answer_type_of, make, write
from config import LabError

RULES = """# Ferry Rules

## Tolls

A ferry across the Saltmarket costs 3 crowns. Children under ten cross free of charge.

| Boat | Seats | Oars |
|---|---|---|
| Gull | 12 | oak and ash |
| Heron | 40 | bog iron |

## Dusk

No ferry leaves after dusk, except for the midwife. The ferryman of the Gull is called Anselm Reed.
"""
REAL = "../shared/data/basic-fantasy/Basic-Fantasy-RPG-Rules-r142.md"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.md"
    path.write_text(RULES, "utf-8")
    return path


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("13", "number"),
        ("3 crowns", "number"),
        ("2d6+1", "dice"),
        ("Yes", "yes_no"),
        ("No, only the midwife", "yes_no"),
        ("oak and ash", "list"),
        ("Anselm Reed", "name"),
        ("cold iron", "text"),
        ("The document does not say.", "refusal"),
    ],
)
def test_the_answer_type_is_told_from_the_answers_form(answer, kind):
    assert answer_type_of(answer) == kind


def test_a_csv_becomes_a_benchmark_with_quotes_and_says_what_it_guessed(tmp_path, rules):
    table = tmp_path / "faq.csv"
    lines = [
        "question,answer,category",
        "What do I pay for the Saltmarket ferry?,3 crowns,",
        "How many seats has the Heron?,40,",
        "Who is the ferryman of the Gull?,Anselm Reed,terminology",
        "What does the ferryman earn?,The rules do not say.,",
        "How deep is the river?,90 feet,",
    ]
    table.write_text("\n".join(lines) + "\n", "utf-8")
    made = make(table, rules)
    found = {question.answer: question for question in load_questions(write(made, tmp_path / "out.jsonl"))}
    assert found["3 crowns"].quotes[0].text == "A ferry across the Saltmarket costs 3 crowns."
    assert found["3 crowns"].quotes[0].section == "Tolls"
    assert found["40"].quotes[0].text == "| Heron | 40 | bog iron |" and found["40"].category == "table_lookup"
    assert found["Anselm Reed"].category == "terminology" and found["Anselm Reed"].quotes[0].section == "Dusk"
    assert found["The rules do not say."].category == "unanswerable"
    assert "90 feet" not in found and len(made.unproven) == 1 and "faq.csv, line 6: How deep" in made.unproven[0]
    assert "faq.csv, line 2: category explicit_rule" in made.guessed
    assert not [guess for guess in made.guessed if guess.startswith("faq.csv, line 4: category")]


def test_unproven_questions_are_kept_only_on_purpose_and_are_marked(tmp_path, rules):
    path = tmp_path / "faq.jsonl"
    path.write_text('{"question": "How deep is the river?", "answer": "90 feet"}\n', "utf-8")
    with pytest.raises(LabError, match="No question is left"):
        write(make(path, rules), tmp_path / "out.jsonl")
    [kept] = load_questions(write(make(path, rules, keep_unproven=True), tmp_path / "out.jsonl"))
    assert kept.unproven and kept.quotes == []
    line = (tmp_path / "out.jsonl").read_text("utf-8").replace(', "unproven": true', "")
    (tmp_path / "unmarked.jsonl").write_text(line, "utf-8")
    with pytest.raises(LabError, match="needs at least one quote"):
        load_questions(tmp_path / "unmarked.jsonl")


def test_faulty_rows_are_listed_with_their_line_and_left_out(tmp_path, rules):
    path = tmp_path / "faq.jsonl"
    rows = [
        {"question": "What does the Saltmarket ferry cost?", "answer": "3 crowns"},
        {"question": "What does the Saltmarket ferry cost", "answer": "4 crowns"},
        {"question": "Who rows the Gull?"},
        {"question": "Who?", "answer": "Anselm Reed", "category": "gossip"},
        {
            "question": "Who is the ferryman?",
            "answer": "Anselm Reed",
            "category": "unanswerable",
            "answer_type": "name",
        },
        {"question": "Seats of the Gull?", "answer": 12, "quote": "The Gull has 12 seats.", "colour": "red"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    made = make(path, rules)
    told = [fault.split(":")[0] for fault in made.faults]
    assert told == [
        "faq.jsonl, line 2, field question",
        "faq.jsonl, line 3, field answer",
        "faq.jsonl, line 4, field category",
        "faq.jsonl, line 5, field category",
        "faq.jsonl, line 6, field quotes",
    ]
    assert [question.answer for question in made.questions] == ["3 crowns", "12"]
    assert made.questions[1].quotes[0].text.startswith("| Gull | 12")
    assert made.notes == ["Fields that are not read: colour."]


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("faq.csv", "frage,antwort\nWas?,Das\n", "no row with a question and an answer"),
        ("faq.jsonl", "{broken\n", "line 1: not JSON"),
        ("faq.txt", "x", "unknown extension"),
    ],
)
def test_an_unusable_file_is_one_sentence_and_exit_code_2(tmp_path, rules, adaptlab_command, name, text, what):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    out = tmp_path / "out.jsonl"
    done = adaptlab_command("benchmark", "make", str(path), "--document", str(rules), "--out", str(out))
    assert done.returncode == 2 and what in done.stderr and done.stderr.count("\n") == 1 and not out.exists()


def overlap(proposed: str, real: str) -> bool:
    """Whether one holds the other, or both share five words in a row: the same place of the document."""
    one, other = clean(proposed).split(), clean(real).split()
    runs = {tuple(one[i : i + 5]) for i in range(len(one) - 4)}
    shared = any(tuple(other[i : i + 5]) in runs for i in range(len(other) - 4))
    return shared or " ".join(one) in " ".join(other) or " ".join(other) in " ".join(one)


def test_most_quotes_of_a_real_benchmark_are_found_again_without_them(tmp_path):
    document = ROOT / REAL
    if not document.is_file():
        pytest.skip(f"The real document is not here: put it at {REAL}, seen from the repository, to run this test.")
    real = load_questions(ROOT / "tests" / "data" / "basic_fantasy.questions.jsonl")
    rows = [{"id": q.id, "question": q.text(), "answer": q.answer, "accepted": q.accepted} for q in real]
    path = tmp_path / "stripped.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    made = make(path, document)
    load_questions(write(made, tmp_path / "made.jsonl"))
    proven = [question for question in real if question.quotes]
    found = {question.id: question for question in made.questions}
    again = [q.id for q in proven if q.id in found and _meets(found[q.id].quotes, q.quotes)]
    proposed = [q.id for q in proven if q.id in found and found[q.id].quotes]
    print(f"{len(again)} of {len(proven)} found again, {len(proposed)} proposed, {len(made.unproven)} unproven")
    assert all(quote.text in document.read_text("utf-8") for q in made.questions for quote in q.quotes)
    assert len(again) >= LEAST * len(proven)


LEAST = 0.6  # the share of quotes that a search by words finds again, although the questions avoid the words


def _meets(proposed: list, real: list) -> bool:
    return any(overlap(one.text, other.text) for one in proposed for other in real)
