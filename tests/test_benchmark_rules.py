"""Loading the benchmark, contamination, and the guess control."""

from __future__ import annotations

import json

import pytest

from adaptlab.benchmark import attributes_of, contamination, load_facts, load_questions, lookup, permuted_gold
from adaptlab.schemas import Fact, Phrasing, Question, Quote
from config import LabError


def ask(number, answer="15", kind="number", category="explicit_rule", text=None, **more):
    return Question(
        id=f"q{number}",
        category="unanswerable" if kind == "refusal" else category,
        answer_type=kind,
        phrasings=[Phrasing(text=text or f"What is number {number}?", role="unseen form")],
        answer=answer,
        quotes=[] if kind == "refusal" else [Quote(text="x", section="S")],
        **more,
    )


def write(path, *records):
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records) + "\n", encoding="utf-8")
    return path


def test_questions_survive_a_round_trip(tmp_path):
    questions = [ask(1), ask(2, "The passage does not say.", "refusal")]
    path = write(tmp_path / "benchmark.jsonl", *(q.model_dump() for q in questions), "")
    assert load_questions(path) == questions


GOOD = ask(1).model_dump()


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([GOOD, "{broken"], "line 2: not valid JSON"),
        ([{**GOOD, "category": "riddle"}], "line 1, field category"),
        ([{**GOOD, "anwser": "15"}], "line 1, field anwser"),
        ([{k: v for k, v in GOOD.items() if k != "answer"}], "line 1, field answer"),
        ([{**GOOD, "phrasings": []}], "line 1, field phrasings"),
        ([{**GOOD, "phrasings": [{"text": "x", "role": "odd"}]}], "line 1, field phrasings.0.role"),
        ([GOOD, GOOD], "line 2, field id"),
        ([{**GOOD, "quotes": []}], "line 1, field quotes"),
        ([{**GOOD, "answer": " "}], "line 1, field answer"),
        ([{**GOOD, "category": "unanswerable"}], "line 1, field quotes"),
        ([{**GOOD, "answer_type": "refusal"}], "line 1, field answer_type"),
        (["[1, 2]"], "line 1, field the record"),
        ([""], "has no questions"),
    ],
)
def test_a_broken_benchmark_names_file_line_and_field(tmp_path, records, says):
    path = write(tmp_path / "benchmark.jsonl", *records)
    before = path.read_bytes()
    with pytest.raises(LabError) as caught:
        load_questions(path)
    assert "benchmark.jsonl" in str(caught.value) and says in str(caught.value)
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)
    assert path.read_bytes() == before


def test_a_missing_benchmark_is_one_sentence(tmp_path):
    with pytest.raises(LabError, match=r"none\.jsonl does not exist"):
        load_questions(tmp_path / "none.jsonl")


DOCUMENT = "The Gullwight has an Armour Class of 15."
FACT = Fact(
    id="f1", entity="Gullwight", kind="monster", attribute="Armour Class", value="15", form="prose", section="S",
    quote="Armour Class of 15", start=21, end=39, split="visible",
)  # fmt: skip


def test_facts_load_where_their_quote_stands(tmp_path):
    assert load_facts(write(tmp_path / "facts.jsonl", FACT.model_dump()), DOCUMENT) == [FACT]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"start": 20, "end": 38}, "it stands at 21"),
        ({"quote": "Armour Class of 16"}, "does not stand in the document"),
    ],
)
def test_a_fact_whose_quote_has_moved_is_named(tmp_path, change, says):
    path = write(tmp_path / "facts.jsonl", {**FACT.model_dump(), **change})
    with pytest.raises(LabError, match=r"facts\.jsonl, line 1, field quote") as caught:
        load_facts(path, DOCUMENT)
    assert says in str(caught.value)


def test_lookup_takes_answerable_lookup_questions():
    questions = [
        ask(1), ask(2, category="table_lookup", split="held_out"), ask(3, category="multi_step_rule"),
        ask(4, kind="refusal"), ask(5, category="terminology", in_mini=False),
    ]  # fmt: skip
    assert [q.id for q in lookup(questions)] == ["q1", "q2", "q5"]
    assert [q.id for q in lookup(questions, mini=True)] == ["q1", "q2"]
    assert [q.id for q in lookup(questions, "held_out")] == ["q2"]


LONG = "when the tide is low and the lamps are lit how many brave wardens must hold the gate of {}"


def test_an_equal_question_is_contamination_whatever_its_spelling():
    found = contamination([ask(1, text="What is the AC of the Bell?")], ["what is   the AC of the bell"])
    assert [(o.question_id, o.text_index, o.kind) for o in found] == [("q1", 0, "equal")]


def test_a_question_inside_a_longer_text_is_contamination():
    question = ask(1, text="What is the Armour Class of the Bell?")
    found = contamination([question], ["clean", f"Example.\nQ: {question.text()}\nA: 15"])
    assert [(o.text_index, o.kind) for o in found] == [(1, "contained")]


def test_a_shared_run_of_thirteen_words_is_contamination_and_twelve_are_not():
    words = [f"w{i}x" for i in range(20)]
    question = ask(1, text=" ".join(words))
    hit = contamination([question], ["other start " + " ".join(words[3:16]) + " other end"])
    assert [o.kind for o in hit] == ["shared run"] and len(hit[0].shared.split()) == 13
    assert contamination([question], ["other start " + " ".join(words[3:15]) + " other end"]) == []


def test_entity_names_do_not_count_towards_a_run():
    twelve = [f"w{i}x" for i in range(12)]
    text = " ".join([*twelve[:6], "Lower Brack Water", *twelve[6:]])
    question = ask(1, text=f"Please {text}")
    assert contamination([question], [text], ["Lower Brack Water"]) == []
    assert len(contamination([question], [text])) == 1


def test_the_same_form_about_another_entity_is_not_equal():
    question = ask(1, text="What is the Armour Class of the Gullwight?")
    assert contamination([question], ["What is the Armour Class of the Fenhag?"], ["Gullwight", "Fenhag"]) == []


def test_permuted_gold_stays_within_type_and_nobody_keeps_their_own():
    questions = [ask(i, str(i)) for i in range(8)] + [ask(i, f"{i}d6", "dice") for i in range(8, 13)]
    questions += [ask(20, kind="refusal"), ask(21, "yes", "yes_no")]
    own = {q.id: q.answer for q in questions}
    for seed in range(20):
        exchanged = permuted_gold(questions, seed)
        assert [q.id for q in exchanged] == [f"q{i}" for i in range(13)]  # refusals and lone types stay out
        assert all(q.answer != own[q.id] for q in exchanged)
        assert sorted(q.answer for q in exchanged) == sorted(own[q.id] for q in exchanged)
        assert all(("d6" in q.answer) == (q.answer_type == "dice") for q in exchanged)
    assert permuted_gold(questions, 1) == permuted_gold(questions, 1) != permuted_gold(questions, 2)
    assert {q.id: q.answer for q in questions} == own


def test_permuted_gold_stays_within_the_attribute_where_it_is_known():
    questions = [ask(i, str(i)) for i in range(6)]
    attributes = {f"q{i}": "AC" if i < 3 else "Morale" for i in range(6)}
    for q in permuted_gold(questions, 3, attributes):
        assert (int(q.answer) < 3) == (attributes[q.id] == "AC")


def test_a_lone_attribute_exchanges_with_its_type():
    questions = [ask(i, str(i)) for i in range(4)]
    attributes = {"q0": "AC", "q1": "AC", "q2": "AC", "q3": "Morale"}
    exchanged = permuted_gold(questions, 0, attributes)
    assert len(exchanged) == 4 and all(q.answer != q.id[1:] for q in exchanged)


def test_attributes_come_from_the_facts():
    assert attributes_of([ask(1, fact_ids=["f1"]), ask(2)], [FACT]) == {"q1": "monster: Armour Class"}
