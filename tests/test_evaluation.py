"""Running arms, resuming them, and the tables and verdicts that follow. The generator looks answers up by rule."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest

from adaptlab import figures
from adaptlab.bestofn import curves
from adaptlab.choosing import Options
from adaptlab.documents import chunks
from adaptlab.evaluation import (
    answers,
    by_category,
    compare,
    guess_control,
    layer,
    layer_counts,
    layers,
    messages_for,
    moved,
    read_together,
    retrieval_layers,
    run_arm,
    score_table,
    seed_for,
)
from adaptlab.generation import Completion
from adaptlab.prompts import NOT_IN_PASSAGE, READING_INSTRUCTION
from adaptlab.retrieval import Index, as_hit, build, recall_table
from adaptlab.schemas import Arm, Chunk, Generation, Phrasing, Question, Quote
from config import LabError

NAMES = ["Gullwight", "Fenhag", "Mirehound", "Saltgast", "Reedking", "Lampmoth", "Bellcrab", "Tidewarg"]
DOCUMENT = "# Bestiary\n\n" + "".join(
    f"## {name}\n\nThe {name} is a thing of the marsh and the tide, and few have seen it by daylight and lived.\n\n"
    f"Armour Class: {10 + i}. It hunts alone{', at dusk, along the dikes' if i % 2 else ''}.\n\n"
    for i, name in enumerate(NAMES)
)
TABLE = "| Ware | Price |\n|------|-------|\n" + "".join(
    f"| Ware{c} | {i} crowns |\n" for i, c in enumerate("abcdefghijklmno", 3)
)
DOCUMENT += "## Wares\n\n" + TABLE
INDEX = Index(chunks(DOCUMENT, size=200), DOCUMENT)


def ask(i, name, **more):
    return Question(
        id=f"q{i}", category="explicit_rule", answer_type="number",
        phrasings=[
            Phrasing(text=f"What is the Armour Class of the {name}?", role="seen form"),
            Phrasing(text=f"Which Armour Class has a {name}?", role="unseen form"),
        ],
        answer=str(10 + i), quotes=[Quote(text=f"Armour Class: {10 + i}.", section=name)], **more,
    )  # fmt: skip


LAIR = Question(
    id="lair", category="unanswerable", answer_type="refusal", answer=NOT_IN_PASSAGE,
    phrasings=[Phrasing(text="Where does the Gullwight sleep in winter?", role="unseen form")],
)  # fmt: skip
PRICE = Question(
    id="price", category="table_lookup", answer_type="number", answer="17 crowns",
    phrasings=[Phrasing(text="What is the Price of a Wareo?", role="unseen form")],
    quotes=[Quote(text="| Wareo | 17 crowns |", section="Wares")],
)  # fmt: skip
QUESTIONS = [*(ask(i, name) for i, name in enumerate(NAMES)), PRICE, LAIR]


class Reader:
    """Answers with the Armour Class of the best passage; without passages it guesses 10. It counts what it is asked."""

    def __init__(self, fail_at=None):
        self.asked, self.fail_at = [], fail_at

    def generate(self, chats, *, n=1, temperature=0.0, max_tokens=64, seeds=None, on_item=None):
        results = []
        for at, chat in enumerate(chats):
            if at == self.fail_at:
                raise KeyboardInterrupt
            self.asked.append(chat[-1].content)
            text = self.read(chat[-1].content)
            made = [Completion(text=text, prompt_tokens=9, completion_tokens=3, seconds=0.1, seed=seeds[at])] * n
            results.append(made)
            if on_item:
                on_item(at, made)
        return results

    @staticmethod
    def read(prompt):
        if "Question: Where" in prompt:
            return NOT_IN_PASSAGE
        name = re.search(r"(\w+)\?$", prompt)[1]
        row = re.search(rf"\| {name} \| (\d+ crowns)", prompt)
        passage = re.search(rf"{name}\n[^\[]*?Armour Class: (\d+)", prompt)
        return row[1] if row else f"It is {passage[1]}." if passage else "The Armour Class is 10."


CLOSED = Arm(name="base", model="mini", context="none")
READING = Arm(name="base + retrieval", model="mini", context="retrieved")
ORACLE = Arm(name="base + oracle", model="mini", context="oracle")


def run(arm, questions=QUESTIONS, reader=None, **more):
    return run_arm(arm, questions, reader or Reader(), INDEX, DOCUMENT, **more)


def test_a_closed_book_arm_asks_the_bare_unseen_phrasing():
    made = run(CLOSED)
    assert [g.question_id for g in made] == [q.id for q in QUESTIONS]
    assert made[0].messages[0].content == "Which Armour Class has a Gullwight?" == made[0].phrasing
    assert all(not g.hits for g in made)
    assert run(CLOSED, role="seen form")[0].phrasing.startswith("What is the Armour Class")


def test_stored_contexts_are_exactly_what_was_retrieved():
    for g, question in zip(run(READING, k=3), QUESTIONS, strict=True):
        assert g.hits == INDEX.search(question.text(), 3)
        assert all(hit.text == DOCUMENT[hit.start : hit.end] for hit in g.hits)
        assert g.messages[0].content.startswith(READING_INSTRUCTION)
        assert all(hit.text in g.messages[0].content for hit in g.hits)


def test_a_piece_of_a_table_gets_its_head_in_the_prompt_only():
    made = next(g for g in run(READING) if g.question_id == "price")
    piece = next(hit for hit in made.hits if "Wareo" in hit.text)
    assert "Price |" not in piece.text
    assert f"| Ware | Price |\n|------|-------|\n{piece.text}" in made.messages[0].content


def test_the_oracle_context_holds_the_quotes_and_nothing_else():
    made = {g.question_id: g for g in run(ORACLE)}
    assert all("Armour Class: 13." in hit.text for hit in made["q3"].hits)
    assert len(made["q3"].hits) == 1
    assert made["lair"].hits == INDEX.search(LAIR.text(), 4)


def test_context_without_an_index_is_one_sentence():
    with pytest.raises(LabError, match="give run_arm an index"):
        run_arm(READING, QUESTIONS, Reader())


def test_an_interrupted_run_goes_on_where_it_stopped():
    stored: list[Generation] = []
    with pytest.raises(KeyboardInterrupt):
        run(READING, reader=Reader(fail_at=4), on_done=stored.extend)
    assert [g.question_id for g in stored] == ["q0", "q1", "q2", "q3"]
    again = Reader()
    resumed = run(READING, reader=again, done=stored)
    assert len(again.asked) == len(QUESTIONS) - 4
    assert resumed == run(READING)
    idle = Reader()
    assert run(READING, reader=idle, done=resumed) == resumed and idle.asked == []


def test_what_changed_or_failed_is_asked_again():
    made = run(READING)
    broken = [g.model_copy(update={"status": "error", "text": ""}) if g.question_id == "q1" else g for g in made]
    reader = Reader()
    assert run(READING, reader=reader, done=broken) == made and len(reader.asked) == 1
    reader = Reader()
    run(READING, reader=reader, done=made, k=1)
    assert len(reader.asked) > 5  # another context is another prompt
    reader = Reader()
    run(CLOSED, reader=reader, done=made)
    assert len(reader.asked) == len(QUESTIONS)


def test_samples_are_numbered_and_seeded_by_question():
    made = run(Arm(name="bon", model="mini", n=4, temperature=0.8), QUESTIONS[:2], seed=7)
    assert [(g.question_id, g.sample) for g in made] == [(q, s) for q in ("q0", "q1") for s in range(4)]
    assert made[0].seed == seed_for("q0", 7) != seed_for("q1", 7)
    assert seed_for("q0", 7) != seed_for("q0", 8)


def test_scores_come_with_counts_and_intervals():
    table = score_table(run(CLOSED) + run(READING), QUESTIONS).set_index("arm")
    closed, reading = table.loc["base"], table.loc["base + retrieval"]
    assert (closed.k, closed.n) == (1, 10)  # guessing 10 is right for the Gullwight; it never refuses closed-book
    assert (reading.k, reading.n) == (10, 10)
    assert closed.low < closed.rate == closed.strict < closed.high
    assert list(table["errors"]) == [0, 0]


def test_scores_by_group_add_up():
    made = run(READING)
    by = score_table(made, QUESTIONS, by="answerable").set_index("answerable")
    assert by["n"].to_dict() == {"answerable": 9, "unanswerable": 1}
    assert set(score_table(made, QUESTIONS, by="category")["category"]) == {
        "explicit_rule",
        "table_lookup",
        "unanswerable",
    }
    assert list(score_table([], QUESTIONS).columns)[0] == "arm"


def test_a_failed_call_is_wrong_and_counted():
    made = [g.model_copy(update={"status": "error", "text": "", "error": "429"}) for g in run(READING)]
    row = score_table(made, QUESTIONS).iloc[0]
    assert (row.k, row.n, row.errors) == (0, 10, 10)


def test_a_selector_decides_which_candidate_counts():
    made = run(Arm(name="bon", model="mini", n=3), QUESTIONS[1:2])
    texts = ["It is 12.", "It is 11.", "11"]
    made = [g.model_copy(update={"text": text}) for g, text in zip(made, texts, strict=True)]
    assert answers(made, QUESTIONS) == {"q1": "It is 12."}
    assert answers(made, QUESTIONS, "majority") == {"q1": "It is 11."}
    assert answers(made, QUESTIONS, "reanswer", {"q1": "12"}) == {"q1": "It is 12."}
    assert score_table(made, QUESTIONS, selectors={"bon": "majority"})["k"].tolist() == [1]


def test_failures_are_sorted_by_layer():
    made = {g.question_id: g for g in run(READING)}
    changed = [
        made["q0"],
        made["q1"].model_copy(update={"text": "It is 99."}),
        made["q2"].model_copy(update={"text": NOT_IN_PASSAGE}),
        made["q3"].model_copy(update={"text": "It is 99.", "hits": made["q4"].hits[:1]}),
        made["q4"].model_copy(update={"text": NOT_IN_PASSAGE, "hits": []}),
        made["q5"].model_copy(update={"status": "error", "text": ""}),
        made["lair"].model_copy(update={"text": "In the reeds."}),
    ]
    found = layers(changed, QUESTIONS, DOCUMENT).set_index("question_id")["layer"].to_dict()
    assert found == {
        "q0": "right",
        "q1": "retrieved and still wrong",
        "q2": "refused wrongly",
        "q3": "proving quote not retrieved",
        "q4": "proving quote not retrieved",
        "q5": "call failed",
        "lair": "should have refused",
    }
    counts = layer_counts(layers(changed, QUESTIONS, DOCUMENT))
    assert counts["questions"].sum() == 7 and set(counts["n"]) == {7}


def test_a_proof_that_the_window_cut_off_is_told_from_one_never_found():
    """The window holds one passage; the proof of the sixth beast is then found at rank 2 or 3 but not shown."""
    made = run(READING, k=3, fits=lambda messages: "[2]" not in messages[-1].content)
    shown = {g.question_id: [hit for hit in g.hits if hit.text in g.messages[0].content] for g in made}
    assert all(len(g.hits) >= 1 and len(shown[g.question_id]) == 1 for g in made)
    turned = [
        g.model_copy(update={"text": "It is 99.", "hits": [*g.hits[1:], g.hits[0]]})
        if g.question_id != "q5"
        else g.model_copy(update={"text": "It is 99.", "messages": made[0].messages})
        for g in made
    ]
    found = layers(turned, QUESTIONS, DOCUMENT).set_index("question_id")["layer"]
    assert found["q5"] == "retrieved but cut off"
    assert found["q1"] == "retrieved and still wrong"


def test_a_prompt_over_the_window_is_cut_off_and_not_a_failed_call():
    made = {g.question_id: g for g in run(READING)}
    refused = {"status": "error", "finish_reason": "refused", "text": "", "error": "The prompt has 9 tokens."}
    changed = [
        made["q1"].model_copy(update=refused),
        made["q2"].model_copy(update={**refused, "hits": made["q4"].hits[:1]}),
        made["lair"].model_copy(update=refused),
    ]
    assert layers(changed, QUESTIONS, DOCUMENT)["layer"].tolist() == [
        "retrieved but cut off",
        "proving quote not retrieved",
        "call failed",
    ]


def test_a_quote_that_a_border_runs_through_is_cut_off():
    half = DOCUMENT.index("Armour Class: 13.") + len("Armour ")
    left = Chunk(id="left", title="Fenhag", text=DOCUMENT[half - 90 : half], start=half - 90, end=half)
    right = Chunk(id="right", title="Fenhag", text=DOCUMENT[half : half + 90], start=half, end=half + 90)
    g = next(g for g in run(READING) if g.question_id == "q3")

    def with_hits(*chunks):
        hits = [as_hit(chunk, 1.0, rank) for rank, chunk in enumerate(chunks, 1)]
        messages = messages_for(g.phrasing, hits, DOCUMENT)
        return g.model_copy(update={"hits": hits, "messages": messages, "text": "It is 99."})

    assert layer(QUESTIONS[3], with_hits(left), DOCUMENT) == "retrieved but cut off"
    assert layer(QUESTIONS[3], with_hits(right), DOCUMENT) == "retrieved but cut off"
    assert layer(QUESTIONS[3], with_hits(left, right), DOCUMENT) == "retrieved and still wrong"
    assert layer(QUESTIONS[3], with_hits(INDEX.chunks[0]), DOCUMENT) == "proving quote not retrieved"


def test_failures_move_between_layers_when_the_retriever_changes():
    whole = build(DOCUMENT, 200)
    before = retrieval_layers(Index(whole.chunks[:4], DOCUMENT), QUESTIONS, 2, DOCUMENT, arm="narrow")
    after = retrieval_layers(whole, QUESTIONS, 2, DOCUMENT, arm="wide")
    assert set(before["question_id"]) == {q.id for q in QUESTIONS if q.quotes}
    table = moved(before, after)
    assert table.to_numpy().sum() == len(before)
    assert table.loc["proving quote not retrieved", "proving quote on the page"] > 0
    counts = layer_counts(pd.concat([before, after]))
    assert counts.groupby("arm")["questions"].sum().to_dict() == {"narrow": 9, "wide": 9}
    assert "proving quote on the page" in drawn(figures.layers_bar(counts, "live"))


def test_failures_are_shown_by_category_in_the_order_of_the_ladder():
    made = run(READING)
    made[0] = made[0].model_copy(update={"text": "It is 99."})
    table = by_category(layers(made, QUESTIONS, DOCUMENT))
    assert list(table.index) == ["right", "retrieved and still wrong"]
    assert table.loc["retrieved and still wrong"].to_dict() == {
        "explicit_rule": 1,
        "table_lookup": 0,
        "unanswerable": 0,
    }


def test_comparisons_read_together_are_corrected():
    three = [compare(run(CLOSED), run(READING), QUESTIONS[:7])] * 3
    table = read_together(three)
    assert table["p"].tolist() == pytest.approx([2 / 2**6] * 3)
    assert table["p (Holm)"].tolist() == pytest.approx([3 * 2 / 2**6] * 3)
    assert three[0].verdict == "better" and table["verdict"][0] == "no detectable difference at this size"


def test_closed_book_failures_have_layers_of_their_own():
    made = run(CLOSED)
    made[1] = made[1].model_copy(update={"text": "I don't know."})
    found = layers(made, QUESTIONS).set_index("question_id")["layer"]
    assert found["q0"] == "right"
    assert found["q1"] == "refused without context"
    assert found["q2"] == "wrong without context"


def test_two_arms_are_compared_on_the_same_questions():
    found = compare(run(CLOSED), run(READING), QUESTIONS)
    assert (found.n, found.both, found.only_a, found.only_b, found.neither) == (10, 1, 0, 9, 0)
    assert found.verdict == "better" and found.p == pytest.approx(2 / 2**9)
    assert found.difference == pytest.approx(0.9)
    back = compare(run(READING), run(CLOSED), QUESTIONS)
    assert back.verdict == "worse" and back.p == found.p
    same = compare(run(READING), run(READING), QUESTIONS)
    assert same.verdict == "no detectable difference at this size" and same.p == 1.0


def test_a_comparison_needs_one_arm_a_side_and_common_questions():
    with pytest.raises(LabError, match="one arm on each side"):
        compare(run(CLOSED) + run(READING), run(READING), QUESTIONS)
    with pytest.raises(LabError, match="share no question"):
        compare(run(CLOSED, QUESTIONS[:1]), run(READING, QUESTIONS[1:]), QUESTIONS)


def test_guessing_is_not_above_its_control_and_reading_is():
    table = guess_control(run(CLOSED) + run(READING), QUESTIONS, permutations=100).set_index("arm")
    assert not table.loc["base", "above_guess"]
    assert table.loc["base + retrieval", "above_guess"]
    assert table.loc["base + retrieval", "rate"] == 1.0 > table.loc["base + retrieval", "guess_high"]


def drawn(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return " ".join(text.get_text() for text in figure.findobj(match=lambda a: hasattr(a, "get_text")))


def test_every_figure_draws_with_title_axis_labels_and_origin():
    table = score_table(run(CLOSED) + run(READING), QUESTIONS)
    by = score_table(run(CLOSED) + run(READING), QUESTIONS, by="category")
    bon = curves(run(Arm(name="bon", model="mini", n=4)), QUESTIONS, Options(counts=(1, 2, 4), reanswers={"q0": "10"}))
    log = table.assign(step=[1, 2], loss=[3.0, 2.0])
    origin = "live; cost $5 and $6; 2026-11-21"
    made = {
        "answers right (%)": figures.ladder(table.rename(columns={"arm": "rung"}), origin, guess=0.1, detectable=0.2),
        "questions": figures.layers_bar(layer_counts(layers(run(CLOSED) + run(READING), QUESTIONS)), origin),
        "candidates a question (N)": figures.bon_curves(bon, origin),
        "cross-entropy (nats a token)": figures.loss_curve(log, origin),
        "explicit rule": figures.category_bars(by, origin),
        "chunks retrieved (k)": figures.recall_curve(recall_table(INDEX, QUESTIONS, (1, 2)), origin),
    }
    for label, figure in made.items():
        text = drawn(figure).replace("\n", " ")
        assert label in text and "2026-11-21" in text
        assert len(figure.get_suptitle()) > 5
