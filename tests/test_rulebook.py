"""The shipped rulebook: long enough, its facts verbatim in it, no paragraph stamped out too often."""

from __future__ import annotations

import re
from collections import Counter

import pytest

import config
from adaptlab import benchmark, documents, synthesis
from adaptlab.miniature.catalogue import KIND_BY_NAME
from adaptlab.schemas import Chunk, Fact

FOLDER = config.DOCUMENT_FOLDER


@pytest.fixture(scope="module")
def text() -> str:
    return documents.load(FOLDER / str(config.RULEBOOK))


@pytest.fixture(scope="module")
def facts(text: str) -> list[Fact]:
    return benchmark.load_facts(FOLDER / "facts.jsonl", text)


def test_the_rulebook_is_at_least_100_kilobytes_of_plain_text(text: str) -> None:
    assert len(text.encode()) >= 100_000
    assert text.isascii()


def test_every_fact_stands_verbatim_where_its_offsets_say(text: str, facts: list[Fact]) -> None:
    for fact in facts:
        assert text[fact.start : fact.end] == fact.quote, fact.id
        assert fact.value in fact.quote, fact.id


def test_every_fact_names_its_entity_in_its_section_or_its_quote(facts: list[Fact]) -> None:
    assert [f.id for f in facts if f.entity not in f.section and f.entity not in f.quote] == []


def test_the_named_part_has_the_promised_number_of_visible_and_held_out_facts(facts: list[Fact]) -> None:
    counts = Counter(fact.split for fact in facts if fact.in_mini)
    assert 200 <= counts["visible"] <= 250
    assert counts["held_out"] >= 50


def test_entries_are_held_out_whole(facts: list[Fact]) -> None:
    splits: dict[str, set[str]] = {}
    for fact in facts:
        splits.setdefault(fact.entity, set()).add(fact.split)
    assert [entity for entity, found in splits.items() if len(found) > 1] == []


def test_the_four_forms_have_roughly_equal_shares(facts: list[Fact]) -> None:
    counts = Counter(fact.form for fact in facts)
    assert min(counts.values()) >= 0.8 * len(facts) / 4


def test_facts_use_the_attributes_that_the_catalogue_knows(facts: list[Fact]) -> None:
    unknown = [f.id for f in facts if f.attribute not in {a.name for a in KIND_BY_NAME[f.kind].attributes}]
    assert unknown == []


def skeleton(paragraph: str) -> str:
    """A paragraph with its names, numbers and dice masked."""
    return re.sub(r"\b(?:[A-Z][\w'-]*|\d[\w,+-]*)", "#", paragraph)


def test_no_paragraph_skeleton_stands_more_than_ten_times(text: str) -> None:
    blocks = [block.strip() for block in re.split(r"\n\s*\n", text)]
    paragraphs = [b for b in blocks if b and not b.startswith(("#", "|"))]
    shape, times = Counter(skeleton(p) for p in paragraphs).most_common(1)[0]
    assert times <= 10, shape


def test_no_seed_passage_holds_a_held_out_value(text: str, facts: list[Fact]) -> None:
    whole: list[Chunk] = documents.chunks(text, size=config.MINI.chunk_chars)
    seeds = "\n".join(synthesis.seed_rows(text, whole, facts)["document"])
    assert [f.id for f in facts if f.split == "held_out" and f.quote in seeds] == []
