"""BM25 search, its ties and duplicates, and recall of proving quotes."""

from __future__ import annotations

from adaptlab.documents import chunks
from adaptlab.retrieval import Index, holds, proved, recall_at_k, recall_table, stem, terms
from adaptlab.schemas import Chunk, Phrasing, Question, Quote

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
