"""Text metrics: published values, only for free texts and lists, and a paired comparison."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT

from adaptlab import textmetrics
from adaptlab.schemas import Phrasing, Question
from adaptlab.textmetrics import compare, corpus_scores, corpus_table, exact_match, item_scores, token_f1
from config import LabError


def ask(kind, answer, *accepted, name="q"):
    return Question(
        id=name,
        category="unanswerable" if kind == "refusal" else "explicit_rule",
        answer_type=kind,
        phrasings=[Phrasing(text=f"What is {name}?", role="unseen form")],
        answer=answer,
        accepted=list(accepted),
    )


CAT = ask("text", "the cat sat on the mat")
LIST = ask("list", "rope, pitons and a hammer", name="tools")


def test_exact_match_ignores_case_punctuation_and_articles():
    assert exact_match("The Cat sat on a mat!", "cat sat on the mat") == 1
    assert exact_match("the cat sat", "the cat sat on the mat") == 0


def test_token_f1_as_squad_counts_it():
    assert token_f1("cat on mat", "the cat sat on the mat") == pytest.approx(2 * 3 / (3 + 4))
    assert token_f1("dog", "cat") == 0
    assert token_f1("cat cat", "cat") == pytest.approx(2 / 3)
    assert token_f1("", "") == 1 and token_f1("", "cat") == 0


def test_rouge_l_is_the_longest_common_subsequence():
    scores = item_scores(CAT, "the cat on the mat")
    assert scores["ROUGE-L"] == pytest.approx(2 * 1 * (5 / 6) / (1 + 5 / 6))


def test_bleu_and_chrf_are_sacrebleus():
    from sacrebleu import sentence_chrf

    question = ask("text", "the cat is there", "a cat is here")
    scores = item_scores(question, "the cat is here")
    assert scores["BLEU"] == pytest.approx(0.8408964, abs=1e-6)
    assert scores["chrF"] == pytest.approx(
        sentence_chrf("the cat is here", ["the cat is there", "a cat is here"]).score / 100
    )


def test_the_gold_itself_and_every_accepted_form_score_one():
    question = ask("text", "the lowest face", "a 1")
    for form in (question.answer, *question.accepted):
        assert item_scores(question, form) == pytest.approx(dict.fromkeys(textmetrics.METRICS, 1.0))
    assert set(item_scores(CAT, "").values()) == {0.0}


@pytest.mark.parametrize("kind", ["number", "dice", "yes_no", "refusal", "name"])
def test_where_overlap_of_words_means_nothing_there_is_no_score(kind):
    question = ask(kind, "The passage does not say." if kind == "refusal" else "15")
    assert item_scores(question, "15") is None
    assert corpus_scores([(question, "15")]) is None
    table = corpus_table({"a": [(question, "15")]})
    assert table.loc[0, "n"] == 0 and table.loc[0, list(textmetrics.METRICS)].isna().all()


def test_a_corpus_counts_only_free_texts_and_lists_and_pools_bleu():
    from sacrebleu import corpus_bleu

    items = [(CAT, "the cat on the mat"), (LIST, "rope and pitons"), (ask("number", "15", name="n"), "16")]
    table = corpus_table({"base": items})
    assert table.loc[0, "n"] == 2
    texts, golds = ["the cat on the mat", "rope and pitons"], [CAT.answer, LIST.answer]
    assert table.loc[0, "BLEU"] == pytest.approx(corpus_bleu(texts, [golds], lowercase=True).score / 100)
    each = [item_scores(CAT, texts[0]), item_scores(LIST, texts[1])]
    assert table.loc[0, "token F1"] == pytest.approx((each[0]["token F1"] + each[1]["token F1"]) / 2)


def test_questions_with_unlike_numbers_of_forms_share_a_corpus():
    items = [(ask("text", "red", "scarlet", "crimson", name="c"), "crimson"), (CAT, CAT.answer)]
    assert corpus_scores(items) == pytest.approx(dict.fromkeys(textmetrics.METRICS, 1.0))


def test_two_arms_are_compared_on_the_same_questions_with_a_paired_interval():
    questions = [ask("text", f"the colour of thing {i}", name=f"q{i}") for i in range(20)]
    questions.append(ask("number", "15", name="n"))
    worse = {q.id: "something else" if i % 2 else q.answer for i, q in enumerate(questions)}
    better = {q.id: q.answer for q in questions}
    table = compare(worse, better, questions).set_index("metric")
    assert list(table.index) == list(textmetrics.METRICS) and (table.n == 20).all()
    assert table.loc["exact match", "difference"] == pytest.approx(0.5)
    assert (table.low > 0).all() and (table.high <= 1).all()
    with pytest.raises(LabError, match="share no question"):
        compare({}, better, questions)


def test_importing_the_module_loads_none_of_the_libraries():
    code = (
        "import sys, adaptlab.textmetrics; print([m for m in ('nltk', 'rouge_score', 'sacrebleu') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_beside_the_scorers_a_wrong_value_in_the_right_sentence_shows_what_overlap_is_worth():
    gold = ask("text", "a cone of 30 feet", name="breath")
    arms = {"right": [(gold, "a cone of 30 feet"), (ask("number", "3"), "4")], "wrong": [(gold, "a cone of 90 feet")]}
    table = textmetrics.beside_scorers(arms).set_index("arm")
    assert list(table["n"]) == [1, 1] and list(table["strict"]) == [1, 0]
    assert table.loc["wrong", "F1 if wrong"] == table.loc["wrong", "token F1"] == pytest.approx(0.75)
    assert pd.isna(table.loc["right", "F1 if wrong"])
    assert textmetrics.beside_scorers({"none": [(ask("number", "3"), "4")]}).loc[0, "n"] == 0
