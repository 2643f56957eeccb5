"""Open-book rows: kept questions over the document's pages, without held-out entries, where a page tells the answer."""

from __future__ import annotations

import math
from collections import Counter

import pandas as pd
import pytest
from conftest import ROOT

from adaptlab import benchmark, documents, prompts, synthesis, verify_data
from adaptlab.schemas import Message, Row
from adaptlab.synthesis import mixing
from adaptlab.training_batches import of_epoch, split_by_wording
from config import MINI, LabError

DOCUMENT = ROOT / "02SyntheticDataGen" / "The-Sea-That-Left.md"
TEXT = DOCUMENT.read_text("utf-8")
PAGES = pd.DataFrame(
    [
        {"chunk_id": "a", "title": "The Tallow Eel", "document": "Armour Class: 14. It hides in lamps."},
        {"chunk_id": "b", "title": "The Mudbishop", "document": "Armour Class: 9. It blesses mud."},
        {"chunk_id": "c", "title": "Lamps", "document": "A lamp burns for six hours, and no longer."},
    ]
)


def row(name: str, asked: str, answer: str, subject: str, facts: tuple[str, ...] = ()) -> Row:
    return Row(
        id=name,
        prompt=[Message(role="user", content=asked)],
        completion=[Message(role="assistant", content=answer)],
        generator={"subject": subject},
        fact_ids=list(facts),
    )


EEL = row(
    "eel", "Which Armour Class has the Tallow Eel?", "The Armour Class of Tallow Eel is 14.", "Tallow Eel: Armour Class"
)


def test_a_question_is_asked_over_the_pages_that_retrieval_finds_and_keeps_its_answer() -> None:
    [made] = synthesis.open_book([EEL], PAGES)
    content = made.prompt[0].content
    assert content.startswith(prompts.READING_INSTRUCTION) and content.endswith(f"Question: {EEL.prompt[0].content}")
    assert "[1] The Tallow Eel\nArmour Class: 14." in content and "[2] The Mudbishop" in content
    assert made.completion == EEL.completion and made.fact_ids == EEL.fact_ids
    assert (made.source, made.origin, EEL.origin) == ("open book", "eel", "eel") and made.id != EEL.id
    again = made.model_copy(update={"id": "again", "generator": {**made.generator, "copy_of": made.id}})
    assert again.origin == "eel"
    assert synthesis.open_book([EEL], PAGES) == [made]


@pytest.mark.parametrize(
    ("answer", "subject"),
    [
        ("The Armour Class of Tallow Eel is 15.", "Tallow Eel: Armour Class"),  # no page says so
        ("The Armour Class of Tallow Eel is 9.", "Tallow Eel: Armour Class"),  # the neighbour's page says it
        (prompts.NOT_IN_PASSAGE, "Tallow Eel: Armour Class"),
    ],
)
def test_a_row_whose_answer_no_page_tells_gets_none(answer, subject) -> None:
    assert synthesis.open_book([row("x", EEL.prompt[0].content, answer, subject)], PAGES) == []


@pytest.mark.parametrize(("chunk", "made"), [("a", 1), ("a-2", 1), ("b", 0), (None, 0)])
def test_of_a_row_that_names_no_subject_only_its_own_passage_holds_the_answer(chunk, made) -> None:
    spoken = row("x", EEL.prompt[0].content, "Fourteen, as its armour is thick.", "").model_copy(
        update={"chunk_id": chunk}
    )
    rows = synthesis.open_book([spoken], PAGES.iloc[:1])
    assert len(rows) == made


def test_copies_get_none_and_long_rows_lose_their_last_pages() -> None:
    tokenizer = verify_data.tokenizer_at_hand(str(ROOT / "prebuilt" / "models" / "mini-granite"))
    [whole] = synthesis.open_book(mixing.repeated([EEL.model_copy(update={"fact_ids": ["f"]})], 3), PAGES)
    long = synthesis.token_count(whole, tokenizer)
    [shorter] = synthesis.open_book([EEL], PAGES, tokenizer=tokenizer, longest=long - 1)
    assert "[1] The Tallow Eel" in shorter.prompt[0].content and "[2]" not in shorter.prompt[0].content
    assert synthesis.open_book([EEL], PAGES, tokenizer=tokenizer, longest=20) == []


def test_no_held_out_entry_of_the_document_is_on_a_page_and_every_page_fits() -> None:
    facts = benchmark.load_facts(DOCUMENT.with_name("facts.jsonl"), TEXT)
    held_out = {fact.entity for fact in facts if fact.split == "held_out"}
    chunks = documents.chunks(TEXT, MINI.chunk_chars, MINI.chunk_overlap)
    rows = synthesis.read_training_jsonl(ROOT / "prebuilt" / "mini" / "the-sea-that-left" / "training_data.jsonl")
    own = [item for item in mixing.distinct(rows) if item.source == "synthetic"][:200]
    tokenizer = verify_data.tokenizer_at_hand(str(ROOT / "prebuilt" / "models" / "mini-granite"))
    longest = MINI.training.max_length
    pages = synthesis.seed_rows(TEXT, chunks, facts)
    made = synthesis.open_book(own, pages, tokenizer=tokenizer, longest=longest)
    assert len(made) > 100 and max(synthesis.token_count(item, tokenizer) for item in made) <= longest
    assert not [item.id for item in made if any(name in item.prompt[0].content for name in held_out)]
    entire = synthesis.open_book(own, synthesis.seed_rows(TEXT, chunks), tokenizer=tokenizer, longest=longest)
    assert [item.id for item in entire if any(name in item.prompt[0].content for name in held_out)]  # the cut is needed


def test_open_book_rows_are_mixed_in_dealt_to_epochs_and_counted_apart() -> None:
    rows = [EEL.model_copy(update={"id": f"eel {n}", "fact_ids": [f"f{n}"]}) for n in range(9)]
    made = synthesis.open_book(rows, PAGES)
    mixed = mixing.dealt(mixing.mix(mixing.repeated(rows, 2), [mixing.Part("open book", made, 0.5)]), 3)
    assert Counter(item.generator.get("epoch") for item in mixed) == {None: 18, 0: 3, 1: 3, 2: 3}
    assert [len(of_epoch(mixed, epoch)) for epoch in range(3)] == [21, 21, 21]
    assert sorted(item.id for item in mixing.distinct(mixed)) == [item.id for item in rows]
    table = mixing.mix_table(mixed).set_index("source")
    assert (table["rows"].to_dict(), table["copies"].to_dict()) == (
        {"synthetic": 18, "open book": 9},
        {"synthetic": 9, "open book": 0},
    )


# ------------------------------------------------------------------------------------------- validation by wording


def test_a_wording_is_held_back_with_its_copies_and_pages_and_its_fact_stays_in_training() -> None:
    rows = [
        row(f"{fact} {wording}", f"Wording {wording} of {fact}?", "14", "", (f"f{fact}",))
        for fact in range(20)
        for wording in range(1 if fact == 0 else 3)
    ]
    copies = [item.model_copy(update={"id": f"{item.id}-c", "generator": {"copy_of": item.id}}) for item in rows[:30]]
    pages = [item.model_copy(update={"id": f"{item.id}-o", "generator": {"open_book_of": item.id}}) for item in rows]
    replay = [
        row(f"r{n}", f"Hello {n}?", "Hello.", "").model_copy(update={"source": "replay: chat"}) for n in range(20)
    ]
    every = [*rows, *copies, *pages, *replay]
    kept, held = split_by_wording(every, 0.3, seed=1)
    assert sorted(item.id for item in (*kept, *held)) == sorted(item.id for item in every)
    assert not {item.origin for item in kept} & {item.origin for item in held}
    assert {name for item in held for name in item.fact_ids} < {name for item in kept for name in item.fact_ids}
    origins = {item.origin for item in held}
    assert len(origins) == math.ceil(0.3 * 78) and {item.source for item in held} == {"synthetic", "replay: chat"}
    assert split_by_wording(every, 0.3, seed=1) == (kept, held) != split_by_wording(every, 0.3, seed=2)


def test_rows_about_no_fact_stay_in_training_and_replay_that_asks_the_same_stays_together() -> None:
    unknown = [row(f"u{n}", f"Unknown {n}?", "14", "") for n in range(30)]
    replay = [
        row(f"r{n}", f"Hello {n // 2}?", "Hello.", "").model_copy(update={"source": "replay: chat"}) for n in range(60)
    ]
    kept, held = split_by_wording([*unknown, *replay], 0.2, seed=1)
    asked = [{item.prompt[0].content for item in side} for side in (kept, held)]
    assert len(held) == 24 and not asked[0] & asked[1]
    assert {item.source for item in held} == {"replay: chat"}


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, "validation share is 0.0"), (0.5, "give at least one fact two rows")]
)
def test_nothing_to_hold_back_is_one_sentence(share, words) -> None:
    with pytest.raises(LabError, match=words):
        split_by_wording([EEL.model_copy(update={"fact_ids": ["f"]})], share)
