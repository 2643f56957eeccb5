"""The lab's own benchmark: counts, proofs in the rulebook, phrasings of both roles, and no leak into training text."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from adaptlab.answers import clean
from adaptlab.benchmark import contamination, load_facts, load_questions, lookup
from adaptlab.controls import negative_controls
from adaptlab.files import read_jsonl
from adaptlab.miniature.catalogue import KIND_BY_NAME, KINDS
from adaptlab.miniature.phrasings import GENERIC, GENERIC_HELD_OUT, SPECIFIC, SPECIFIC_HELD_OUT
from adaptlab.prompts import NOT_IN_PASSAGE
from adaptlab.schemas import CATEGORIES, Fact, Phrasing, Question, Row
from adaptlab.scoring import lenient, strict

ROOT = Path(__file__).resolve().parents[1]
BENCHMARK = ROOT / "00Setup" / "benchmark.jsonl"
SYNTHESIS = ROOT / "02SyntheticDataGen"
GENERATORS = {
    "visible": (*GENERIC, *sum(SPECIFIC.values(), ())),
    "held out": (*GENERIC_HELD_OUT, *sum(SPECIFIC_HELD_OUT.values(), ())),
}
NAME = r"\w[\w'-]*(?: \w[\w'-]*){0,4}"  # what may stand in a template's place for the entity, article included
ATTRIBUTES = "|".join(sorted({a.name.casefold() for kind in KINDS for a in kind.attributes}, key=len, reverse=True))


def plain(text: str) -> str:
    """A question in lower case without punctuation at its end: what the comparison with templates goes by."""
    return re.sub(r"\s+", " ", clean(text)).strip(" ?.!")


@cache
def pattern(template: str) -> re.Pattern[str]:
    """A template as a pattern over plain questions, whatever entity and attribute are filled in."""
    parts = re.split(r"(\{\w+\})", plain(template))
    slots = {"{e}": NAME, "{a}": f"(?:{ATTRIBUTES})", "{al}": f"(?:{ATTRIBUTES})"}
    return re.compile("".join(slots.get(part, re.escape(part)) for part in parts))


def followed(text: str) -> list[str]:
    """The templates of every generator that a question follows."""
    every = (*GENERATORS["visible"], *GENERATORS["held out"])
    return [template for template in every if pattern(template).fullmatch(plain(text))]


@cache
def questions() -> list[Question]:
    return load_questions(BENCHMARK)


@cache
def document() -> str:
    """The rulebook that the lab ships: the longest Markdown file beside its facts."""
    files = sorted(SYNTHESIS.glob("*.md"), key=lambda path: path.stat().st_size)
    if not files:
        pytest.fail("02SyntheticDataGen has no rulebook: put the Markdown file there.")
    return files[-1].read_text(encoding="utf-8")


@cache
def facts() -> dict[str, Fact]:
    return {fact.id: fact for fact in load_facts(SYNTHESIS / "facts.jsonl", document())}


@cache
def sections() -> dict[str, str]:
    """The text under each heading, up to the next heading of any level; equal titles are joined."""
    found: dict[str, str] = {}
    for block in re.split(r"(?m)^(?=#{1,6} )", document()):
        head = re.match(r"#{1,6} +(.+)\n?", block)
        if head:
            title = head[1].strip()
            found[title] = found.get(title, "") + block[head.end() :]
    return found


def ids(question: Question) -> str:
    return question.id


def unseen(question: Question) -> list[Phrasing]:
    return [phrasing for phrasing in question.phrasings if phrasing.role == "unseen form"]


# ------------------------------------------------------------------------------------------------- what it holds


def test_it_has_enough_questions_of_every_category():
    count = Counter(question.category for question in questions())
    assert len(questions()) >= 180
    assert {category: count[category] for category in CATEGORIES if count[category] < 15} == {}
    assert count["terminology"] >= 18


def test_it_has_enough_questions_of_each_group_that_a_notebook_reports():
    mini = Counter((q.category, q.split) for q in questions() if q.in_mini)
    assert len(lookup(questions(), "visible", mini=True)) >= 80
    assert len(lookup(questions(), "held_out", mini=True)) >= 40
    assert mini["explicit_rule", "visible"] >= 15 and mini["table_lookup", "visible"] >= 15
    assert mini["multi_step_rule", "visible"] >= 8 and mini["implicit_reasoning", "visible"] >= 6
    assert mini["unanswerable", "visible"] >= 15


def test_lookups_are_spread_over_the_four_forms():
    for split in ("visible", "held_out"):
        forms = Counter(facts()[q.fact_ids[0]].form for q in lookup(questions(), split, mini=True))
        assert len(forms) == 4 and max(forms.values()) <= 1.25 * min(forms.values()), (split, forms)


def test_ids_and_phrasings_stand_once():
    texts = Counter(plain(phrasing.text) for question in questions() for phrasing in question.phrasings)
    assert [text for text, times in texts.items() if times > 1] == []
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*", question.id) for question in questions())


def test_multi_step_questions_have_two_or_more_quotes():
    short = [q.id for q in questions() if q.category == "multi_step_rule" and len({e.text for e in q.quotes}) < 2]
    assert short == []


def test_unanswerable_questions_have_no_proof_and_decline():
    for question in questions():
        if question.category == "unanswerable":
            assert not question.quotes and not question.fact_ids, question.id
            assert question.answer == NOT_IN_PASSAGE and not question.accepted, question.id


# ------------------------------------------------------------------------------------------------------- proofs


def test_every_quote_stands_in_the_named_section():
    missing = [
        (question.id, quote.section, quote.text[:60])
        for question in questions()
        for quote in question.quotes
        if quote.text not in sections().get(quote.section, "")
    ]
    assert missing == []


def test_every_fact_is_known_and_of_the_same_split():
    unknown = [(q.id, fact) for q in questions() for fact in q.fact_ids if fact not in facts()]
    assert unknown == []
    wrong = [q.id for q in questions() for fact in q.fact_ids if facts()[fact].split != q.split]
    assert wrong == []


def test_a_lookup_answers_with_the_value_of_its_fact():
    for question in (q for q in lookup(questions(), mini=True) if q.fact_ids):
        fact = facts()[question.fact_ids[0]]
        assert len(question.fact_ids) == 1, question.id
        assert question.answer == fact.value and fact.value in question.quotes[0].text, question.id
        assert fact.entity in question.text("unseen form"), question.id
        assert (question.category == "table_lookup") == (fact.form == "table"), question.id
        assert (question.category == "terminology") == (fact.kind == "term"), question.id


def test_held_out_facts_appear_only_in_held_out_questions():
    names = {fact.entity for fact in facts().values() if fact.split == "held_out"}
    for question in questions():
        text = " ".join(p.text for p in question.phrasings)
        named = [name for name in names if re.search(rf"\b{re.escape(name)}\b", text)]
        assert bool(named) == (question.split == "held_out"), (question.id, named)


def test_nothing_in_the_book_answers_an_unanswerable_lookup():
    for question in (q for q in questions() if q.category == "unanswerable"):
        text = question.text("unseen form")
        for fact in facts().values():
            named = re.search(rf"\b{re.escape(fact.entity)}\b", text)
            assert not (named and re.search(rf"\b{fact.attribute.casefold()}\b", clean(text))), (question.id, fact.id)


# ------------------------------------------------------------------------------------------------------ scoring


@pytest.mark.parametrize("question", questions() if BENCHMARK.is_file() else [], ids=ids)
def test_the_gold_answer_and_its_other_forms_pass_and_wrong_answers_fail(question):
    forms = [question.answer, *question.accepted]
    assert [form for form in forms if not strict(question, form) or not lenient(question, form)] == []
    passed = [name for name, text in negative_controls(question, questions()).items() if strict(question, text)]
    assert passed == []


# ---------------------------------------------------------------------------------------------------- phrasings


def test_every_question_has_an_unseen_form_that_follows_no_template():
    assert [question.id for question in questions() if not unseen(question)] == []
    templated = {p.text: followed(p.text) for q in questions() for p in unseen(q) if followed(p.text)}
    assert templated == {}
    assert [p.text for q in questions() for p in unseen(q) if p.template] == []


def test_every_seen_form_is_the_trained_template_it_names():
    for question in questions():
        for phrasing in (p for p in question.phrasings if p.role == "seen form"):
            fact = facts()[question.fact_ids[0]]
            mention = KIND_BY_NAME[fact.kind].article + fact.entity
            values = {
                "e": mention,
                "E": mention[0].upper() + mention[1:],
                "a": fact.attribute,
                "al": fact.attribute.lower(),
            }
            own = (*GENERIC, *SPECIFIC[fact.kind, fact.attribute])
            assert phrasing.template in own and phrasing.template.format(**values) == phrasing.text, question.id


def test_at_most_two_fifths_of_the_questions_follow_a_template():
    templated = [q for q in questions() if any(p.template or followed(p.text) for p in q.phrasings)]
    assert len(templated) <= 0.40 * len(questions())


@pytest.mark.parametrize(
    "text",
    [
        "What is the Armour Class of the Mudbishop?",
        "what's the morale for Pewter Eel",
        "Who rules **Marrowquay**?",
        "As regards toll, what holds for Upper Drench?",
        "The Drowsel hits me: how much do I lose?",
    ],
)
def test_the_template_check_recognises_a_template(text):
    assert followed(text)


# ------------------------------------------------------------------------------------------------- contamination


def names() -> list[str]:
    return sorted({fact.entity for fact in facts().values()})


def test_no_question_stands_in_a_prompt_or_an_example_of_the_flows():
    texts = [path.read_text(encoding="utf-8") for path in (SYNTHESIS / "flows").rglob("*") if path.is_file()]
    lines = [line.strip(" -|>\"'") for text in texts for line in text.splitlines()]
    assert texts
    assert contamination(questions(), [*texts, *lines], names()) == []


def test_no_question_stands_in_the_shipped_training_rows():
    files = sorted((ROOT / "prebuilt").rglob("training_data.jsonl"))
    if not files:
        pytest.skip("prebuilt has no training_data.jsonl yet")
    texts = [m.content for path in files for row in read_jsonl(path, Row) for m in (*row.prompt, *row.completion)]
    assert contamination(questions(), texts, names()) == []
