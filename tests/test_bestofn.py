"""Best-of-N from stored candidates: estimator, selectors, ceiling beside its guess control, cost."""

from __future__ import annotations

from itertools import combinations

import pytest

from adaptlab.bestofn import CEILING, GUESS, MAJORITY, REANSWER, by_question, curves, pass_at_n
from adaptlab.schemas import Generation, Message, Phrasing, Question, Quote
from adaptlab.scoring import reanswered
from config import LabError


def ask(number, answer, kind="number"):
    return Question(
        id=f"q{number}",
        category="unanswerable" if kind == "refusal" else "explicit_rule",
        answer_type=kind,
        phrasings=[Phrasing(text=f"What is the Armour Class of beast {'abcdefghij'[number]}?", role="unseen form")],
        answer=answer,
        quotes=[] if kind == "refusal" else [Quote(text="x", section="S")],
    )


def say(question, texts, arm="sampled"):
    message = Message(role="user", content=question.text())
    return [
        Generation(
            question_id=question.id, phrasing=question.text(), arm=arm, sample=i, messages=[message], text=text,
            prompt_tokens=100, completion_tokens=10, seconds=0.5,
        )
        for i, text in enumerate(texts)
    ]  # fmt: skip


KNOWN, MINORITY, UNKNOWN, REFUSES = (
    ask(0, "15"),
    ask(1, "12"),
    ask(2, "20"),
    ask(3, "The passage does not say.", "refusal"),
)
QUESTIONS = [KNOWN, MINORITY, UNKNOWN, REFUSES]
SAMPLES = (
    say(KNOWN, ["15", "It is 15.", "14", "fifteen"])
    + say(MINORITY, ["13", "13", "12", "hm"])
    + say(UNKNOWN, ["18", "17", "16", "hm"])
    + say(REFUSES, ["15", "15", "The passage does not say.", "15"])
)


def rate(table, measure, n):
    return table.set_index(["measure", "n"]).loc[(measure, n), "rate"]


def test_pass_at_n_is_the_mean_over_all_subsets():
    flags = [1, 1, 0, 0, 0, 0, 1]
    for n in range(1, 8):
        subsets = list(combinations(flags, n))
        assert pass_at_n(7, 3, n) == pytest.approx(sum(any(s) for s in subsets) / len(subsets))


@pytest.mark.parametrize(("total", "right", "n"), [(4, 5, 1), (4, 1, 5), (4, 1, 0), (4, -1, 2)])
def test_pass_at_n_refuses_impossible_counts(total, right, n):
    with pytest.raises(ValueError, match="pass@"):
        pass_at_n(total, right, n)


def test_the_ceiling_starts_at_the_mean_of_single_samples_and_only_rises():
    table = curves(SAMPLES, QUESTIONS, ns=(1, 2, 4))
    assert rate(table, CEILING, 1) == pytest.approx((3 / 4 + 1 / 4 + 0) / 3)
    assert rate(table, CEILING, 4) == pytest.approx(2 / 3)
    assert rate(table, CEILING, 1) < rate(table, CEILING, 2) < rate(table, CEILING, 4)


def test_majority_uses_the_first_n_candidates():
    table = curves(SAMPLES, QUESTIONS, ns=(1, 4))
    assert rate(table, MAJORITY, 1) == pytest.approx(1 / 3)
    assert rate(table, MAJORITY, 4) == pytest.approx(1 / 3)


def test_a_second_answer_selects_the_candidate_that_agrees():
    table = curves(SAMPLES, QUESTIONS, ns=(1, 4), reanswers={"q0": "15", "q1": ["The AC is 12."], "q2": "20"})
    assert rate(table, REANSWER, 4) == pytest.approx(2 / 3)
    assert reanswered(MINORITY, ["13", "13", "12"], ["12"]) == 2
    assert reanswered(MINORITY, ["13", "13", "11"], ["12"]) == 0  # none agrees: the majority stands
    assert reanswered(MINORITY, ["hm"], ["12"]) is None


def test_guessing_is_shown_beside_the_ceiling():
    small = [ask(i, str(10 + i % 3)) for i in range(9)]
    guesses = [g for q in small for g in say(q, ["10", "11", "12", "hm"])]
    table = curves(guesses, small, ns=(1, 4), permutations=50)
    assert rate(table, CEILING, 4) == 1.0
    assert rate(table, GUESS, 4) == 1.0  # sampling every value "finds" everybody's answer
    assert rate(table, GUESS, 1) == pytest.approx(0.25, abs=0.01)


def test_knowledge_exceeds_the_guess_control():
    known = [ask(i, str(10 + i)) for i in range(9)]
    table = curves([g for q in known for g in say(q, [q.answer] * 4)], known, ns=(4,))
    assert rate(table, CEILING, 4) == 1.0
    assert rate(table, GUESS, 4) == 0.0


def test_cost_counts_the_shared_prompt_once():
    table = curves(SAMPLES, QUESTIONS, ns=(1, 4)).set_index(["measure", "n"])
    assert table.loc[(MAJORITY, 1), "tokens"] == 110
    assert table.loc[(MAJORITY, 4), "tokens"] == 140
    assert table.loc[(MAJORITY, 4), "seconds"] == 2.0


def test_unanswerable_questions_stay_out_of_the_curves():
    assert set(curves(SAMPLES, QUESTIONS, ns=(1,))["questions"]) == {3}


def test_too_few_candidates_is_one_sentence():
    with pytest.raises(LabError, match="only 4"):
        curves(SAMPLES, QUESTIONS, ns=(1, 16))
    with pytest.raises(LabError, match="run the sampling step"):
        curves([], QUESTIONS)
    with pytest.raises(LabError, match="one arm at a time"):
        curves(SAMPLES + say(KNOWN, ["15"], arm="other"), QUESTIONS)


def test_questions_are_told_apart_by_what_failed():
    kinds = by_question(SAMPLES, QUESTIONS).set_index("question_id")["kind"]
    assert kinds.to_dict() == {"q0": "majority right", "q1": "sampling failure", "q2": "knowledge failure"}


def test_order_of_the_stored_lines_does_not_matter():
    assert curves(SAMPLES, QUESTIONS, ns=(1, 4)).equals(curves(SAMPLES[::-1], QUESTIONS, ns=(1, 4)))
