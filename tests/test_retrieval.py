"""BM25 search, its ties and duplicates, and recall of proving quotes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import config
from adaptlab import documents, trials
from adaptlab.documents import chunks
from adaptlab.embeddings import encoder, lsa
from adaptlab.retrieval import (
    DenseIndex,
    Index,
    build,
    holds,
    proved,
    recall_at_k,
    recall_grid,
    recall_table,
    stem,
    terms,
    touched,
)
from adaptlab.schemas import Chunk, Phrasing, Question, Quote
from config import LabError

TEXT = """# Bestiary

## Gullwight

The Gullwight haunts the tide. Its Armour Class is 15 and its Morale is 9.

## Fenhag

The Fenhag lives in reeds. Its Armour Class is 12 and its Morale is 7.

## Wardens' Camp

Wardens carry a lamp, and a warden's dogs bark at thieves.
"""


def piece(text, start=0, title="T"):
    return Chunk(id=f"c{start}", title=title, text=text, start=start, end=start + len(text))


def ask(text, *quotes):
    return Question(
        id=text,
        category="explicit_rule" if quotes else "unanswerable",
        answer_type="number" if quotes else "refusal",
        phrasings=[Phrasing(text=text, role="unseen form")],
        answer="15",
        quotes=[Quote(text=quote, section="S") for quote in quotes],
    )


def test_the_chunk_that_speaks_of_it_comes_first():
    index = Index(chunks(TEXT, size=150), TEXT)
    hits = index.search("What is the armor class of the Gullwights?", 3)
    assert hits[0].title == "Bestiary > Gullwight"
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert hits[0].score > hits[1].score
    assert hits[0].text == TEXT[hits[0].start : hits[0].end]


def test_title_words_count():
    index = Index([piece("It is wet.", 0, "Marsh"), piece("It is wet.  Really, very.", 50, "Tower")])
    assert index.search("tower")[0].title == "Tower"


def test_plurals_and_possessives_are_one_term():
    assert {stem(word) for word in ("warden", "wardens", "warden's")} == {"warden"}
    assert stem("armour") == stem("armor")
    assert stem("class") == "class"
    assert terms("The thieves of Émile, are they 15?") == ["thieve", "emile", "15"]


def test_ties_go_to_the_earlier_chunk_and_repeat():
    index = Index([piece("alpha beta", 0), piece("beta alpha", 20), piece("gamma", 40)])
    first = [hit.chunk_id for hit in index.search("alpha beta", 2)]
    assert first == ["c0", "c20"]
    assert first == [hit.chunk_id for hit in index.search("alpha beta", 2)]


def test_duplicates_and_near_duplicates_never_share_the_top():
    words = [f"word{i}" for i in range(40)]
    once, twice = " ".join(words), " ".join([*words, "more"])
    index = Index([piece(once, 0), piece(once, 500), piece(twice, 1000), piece("word1 alone here", 2000)])
    assert [hit.chunk_id for hit in index.search("word1 word2", 4)] == ["c2000", "c0"] or [
        hit.chunk_id for hit in index.search("word1 word2", 4)
    ] == ["c0", "c2000"]


def test_a_query_without_a_known_term_finds_nothing():
    index = Index(chunks(TEXT, size=150))
    assert index.search("xylophone") == []
    assert index.search("the of is") == []
    assert Index([]).search("Gullwight") == []


def test_a_quote_is_held_verbatim_or_across_adjoining_chunks():
    text = "Alpha beta gamma. Delta epsilon zeta."
    left, right = piece(text[:17], 0), piece(text[18:], 18)
    assert holds([left], "beta gamma")
    assert not holds([left], "Delta epsilon")
    assert not holds([left, right], "gamma. Delta")
    assert holds([left, right], "gamma. Delta", text)
    assert not holds([left], "gamma. Delta", text)


def test_a_quote_in_running_text_may_break_its_line_elsewhere():
    assert holds([piece("It costs\n35 crowns.")], "It costs 35 crowns.")


def test_all_quotes_of_a_question_must_be_there():
    question = ask("Q", "alpha", "beta")
    assert proved([piece("alpha"), piece("beta", 9)], question)
    assert not proved([piece("alpha")], question)
    assert not proved([piece("alpha")], ask("no quotes"))


def test_recall_counts_questions_whose_proof_is_in_the_top_k():
    index = Index(chunks(TEXT, size=150), TEXT)
    questions = [
        ask("Which Morale has the Fenhag?", "its Morale is 7"),
        ask("What do dogs bark at?", "dogs bark at thieves"),
        ask("Something about lutes?", "its Morale is 9"),
        ask("Not counted"),
    ]
    table = recall_table(index, questions, (1, 3))
    assert list(table["n"]) == [3, 3]
    assert list(table["found"]) == [2, 2]
    assert recall_at_k(index, questions, 1) == 2 / 3
    assert (table["low"] < table["rate"]).all() and (table["rate"] < table["high"]).all()


def test_recall_over_chunk_sizes_says_what_it_costs():
    questions = [ask("Which Morale has the Fenhag?", "its Morale is 7"), ask("What do dogs bark at?", "dogs bark at")]
    table = recall_grid(TEXT, questions, (100, 400), (1, 2))
    assert list(table["size"]) == [100, 100, 400, 400] and list(table["k"]) == [1, 2, 1, 2]
    assert table["series"].nunique() == 2 and (table["n"] == 2).all()
    for size, part in table.groupby("size"):
        index = build(TEXT, int(size))
        shown = [sum(len(hit.text) for hit in index.search(q.text(), 2)) for q in questions]
        assert part.set_index("k").loc[2, "characters"] == pytest.approx(sum(shown) / 2)
        assert part.set_index("k").loc[2, "rate"] == recall_at_k(index, questions, 2, document=TEXT)


def test_a_border_through_a_quote_touches_it_and_a_neighbour_does_not():
    text = "Alpha beta gamma. Delta epsilon zeta. Eta theta."
    question = ask("Q", "gamma. Delta")
    left, right, far = piece(text[:17], 0), piece(text[18:37], 18), piece(text[38:], 38)
    assert touched([left], question, text) and touched([right], question, text)
    assert not touched([far], question, text)
    assert not touched([left, right], question, text)  # together they hold it
    assert not touched([left], ask("Q", "gamma. Delta", "Eta theta"), text)  # the other quote is not there at all
    assert touched([left, far], ask("Q", "gamma. Delta", "Eta theta"), text)
    assert not touched([left], question)  # without the document nobody knows what a part is


@pytest.mark.parametrize("kind", trials.RETRIEVERS)
def test_copies_and_near_copies_never_fill_the_top(kind):
    """The real rulebook, every chunk there three times more: as it is, with a running number, with a word changed."""
    text = documents.load(config.settings({"LAB_PROFILE": "mini"}).document)
    whole = chunks(text, 800)[:60]
    copies = [
        c.model_copy(update={"id": f"{c.id}-copy", "start": c.start + 10**6, "end": c.end + 10**6}) for c in whole
    ]
    near = [c.model_copy(update={"id": f"{c.id}-near", "text": f"{c.text} Page {i}."}) for i, c in enumerate(whole)]
    changed = [c.model_copy(update={"id": f"{c.id}-word", "text": c.text.replace(" the ", " that ", 1)}) for c in whole]
    everything = [*whole, *copies, *near, *changed]
    made = Index(everything) if kind == "bm25" else DenseIndex(everything, lsa([c.text for c in everything]))
    for asked in ("What is the Armour Class?", whole[7].title, whole[30].text[:90]):
        hits = made.search(asked, 5)
        places = [hit.chunk_id.partition("-copy")[0].removesuffix("-near").removesuffix("-word") for hit in hits]
        assert len(hits) == len(set(places)) >= 3, asked


ARTIFACTS = ("eval_with_context.json", "bon_with_context.json", "reanswers.json", "adapter_with_context.json")
OPTIONAL = ("retriever_trial.json",)


@pytest.mark.parametrize("name", [*ARTIFACTS, *OPTIONAL])
def test_every_stored_hit_is_the_document_at_its_offsets(name):
    settings = config.settings({"LAB_PROFILE": "mini", "LAB_MODE": "prebuilt"})
    path = settings.prebuilt_dir / name
    if name in OPTIONAL and not path.exists():
        pytest.skip(f"{name} has not been captured yet")
    text = documents.load(settings.document)
    stored = json.loads(path.read_text("utf-8"))
    hits = [hit for generation in stored for hit in generation["hits"]]
    assert len(hits) > 100
    assert [hit["chunk_id"] for hit in hits if text[hit["start"] : hit["end"]] != hit["text"]] == []
    shown = [g for g in stored if g["hits"]]
    assert all(any(hit["text"] in g["messages"][-1]["content"] for hit in g["hits"]) for g in shown)


def test_stored_contexts_are_what_the_retriever_returns_today():
    settings = config.settings({"LAB_PROFILE": "mini", "LAB_MODE": "prebuilt"})
    text, profile = documents.load(settings.document), settings.profile
    index = Index(chunks(text, profile.chunk_chars, profile.chunk_overlap), text)
    stored = json.loads(Path(settings.prebuilt_dir / "eval_with_context.json").read_text("utf-8"))
    for generation in stored[::12]:
        found = [hit.model_dump() for hit in index.search(generation["phrasing"], profile.retrieval_k)]
        assert found == generation["hits"], generation["question_id"]


def test_embeddings_of_the_document_find_what_shares_no_word_with_the_query():
    texts = [
        "a warden keeps lamps",
        "wardens guard lamps by night",
        "lamps burn oil",
        "oil is sold in jars",
        "bread rises",
    ]
    embed = lsa(texts, dimensions=2)
    index = DenseIndex([piece(text, 100 * i) for i, text in enumerate(texts)], embed)
    assert index.search("bread", 1)[0].text == "bread rises"
    assert len(index.search("warden", 3)) == 3
    assert index.search("xylophone") == [] and DenseIndex([], embed).search("bread") == []
    assert np.allclose(embed(["bread rises"]), embed(["rises bread"]))


def test_a_retriever_that_does_not_exist_is_one_sentence():
    with pytest.raises(LabError, match="choose one of bm25, embeddings"):
        trials.retriever(TEXT, 200, 0, "guess")
    words = trials.retriever_words({"size": 200, "overlap": 40, "k": 2, "retriever": "bm25"})
    assert words == "bm25, 200 characters, overlap 40, k = 2"


def test_an_encoder_on_disk_gives_one_row_a_text_whatever_stands_beside_it():
    embed = encoder(config.MODELS_DIR / "mini-granite")
    texts = ["The Fenhag lives in reeds.", "Wardens carry a lamp, and a warden's dogs bark at thieves all night long."]
    together, alone = embed(texts), embed(texts[:1])
    assert together.shape[0] == 2 and np.allclose(together[:1], alone, atol=1e-4)
    found = build(TEXT, 150, embed=embed).search("The Fenhag lives in reeds.", 1)
    assert found[0].text == TEXT[found[0].start : found[0].end]
    with pytest.raises(LabError, match="holds no encoder"):
        encoder(config.ROOT / "tests")
