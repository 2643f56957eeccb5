"""Best-of-N from stored candidates: estimator, selectors, ceiling beside its guess control, cost."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from adaptlab.bestofn import (
    CEILING,
    GUESS,
    LUCK,
    by_question,
    continued,
    curves,
    knowledge_failures,
    left_on_table,
    pass_at_n,
    spread,
    spread_table,
)
from adaptlab.choosing import MAJORITY, REANSWER, Options, at_any_n, mean_cost
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
    table = curves(SAMPLES, QUESTIONS, Options(counts=(1, 2, 4)))
    assert rate(table, CEILING, 1) == pytest.approx((3 / 4 + 1 / 4 + 0) / 3)
    assert rate(table, CEILING, 4) == pytest.approx(2 / 3)
    assert rate(table, CEILING, 1) < rate(table, CEILING, 2) < rate(table, CEILING, 4)


def test_majority_uses_the_first_n_candidates():
    table = curves(SAMPLES, QUESTIONS, Options(counts=(1, 4)))
    assert rate(table, MAJORITY, 1) == pytest.approx(1 / 3)
    assert rate(table, MAJORITY, 4) == pytest.approx(1 / 3)


def test_a_second_answer_selects_the_candidate_that_agrees():
    table = curves(
        SAMPLES, QUESTIONS, Options(counts=(1, 4), reanswers={"q0": "15", "q1": ["The AC is 12."], "q2": "20"})
    )
    assert rate(table, REANSWER, 4) == pytest.approx(2 / 3)
    assert reanswered(MINORITY, ["13", "13", "12"], ["12"]) == 2
    assert reanswered(MINORITY, ["13", "13", "11"], ["12"]) == 0  # none agrees: the majority stands
    assert reanswered(MINORITY, ["hm"], ["12"]) is None


def test_guessing_is_shown_beside_the_ceiling():
    small = [ask(i, str(10 + i % 3)) for i in range(9)]
    guesses = [g for q in small for g in say(q, ["10", "11", "12", "hm"])]
    table = curves(guesses, small, Options(counts=(1, 4), permutations=50))
    assert rate(table, CEILING, 4) == 1.0
    assert rate(table, GUESS, 4) == 1.0  # sampling every value "finds" everybody's answer
    assert rate(table, GUESS, 1) == pytest.approx(0.25, abs=0.01)


def test_knowledge_exceeds_the_guess_control():
    known = [ask(i, str(10 + i)) for i in range(9)]
    table = curves([g for q in known for g in say(q, [q.answer] * 4)], known, Options(counts=(4,)))
    assert rate(table, CEILING, 4) == 1.0
    assert rate(table, GUESS, 4) == 0.0


def test_cost_counts_the_shared_prompt_once():
    table = curves(SAMPLES, QUESTIONS, Options(counts=(1, 4))).set_index(["measure", "n"])
    assert table.loc[(MAJORITY, 1), "tokens"] == 110
    assert table.loc[(MAJORITY, 4), "tokens"] == 140
    assert table.loc[(MAJORITY, 4), "seconds"] == 2.0


def test_unanswerable_questions_stay_out_of_the_curves():
    assert set(curves(SAMPLES, QUESTIONS, Options(counts=(1,)))["questions"]) == {3}


def test_too_few_candidates_is_one_sentence():
    with pytest.raises(LabError, match="only 4"):
        curves(SAMPLES, QUESTIONS, Options(counts=(1, 16)))
    with pytest.raises(LabError, match="run the sampling step"):
        curves([], QUESTIONS)
    with pytest.raises(LabError, match="one arm at a time"):
        curves(SAMPLES + say(KNOWN, ["15"], arm="other"), QUESTIONS)


MANY = (
    say(KNOWN, ["15"] * 14 + ["14", "hm"])
    + say(MINORITY, ["13"] * 8 + ["12"] * 7 + ["hm"])
    + say(UNKNOWN, ["18", "17", "16", "hm"] * 4)
    + say(REFUSES, ["15"] * 16)
)


def test_questions_are_told_apart_by_what_failed():
    table = by_question(MANY, QUESTIONS).set_index("question_id")
    assert table["kind"].to_dict() == {"q0": "majority right", "q1": "sampling failure", "q2": "knowledge failure"}
    assert table.loc["q1", "p"] < 0.05 < table.loc["q2", "p"] == 1.0


def test_what_guessing_explains_is_neither_sampling_failure_nor_knowledge():
    """Everybody answers 10, 11 and 12 in turns, and gold is one of these: every right candidate is luck."""
    small = [ask(i, str(10 + i % 3)) for i in range(9)]
    guesses = [g for q in small for g in say(q, ["10", "11", "12"] * 5)]
    table = by_question(guesses, small, permutations=50)
    assert (table["right"] == 5).all() and (table["p"] == 1.0).all()
    assert set(table["kind"]) == {LUCK, "knowledge failure"}


def test_one_right_candidate_among_sixteen_proves_nothing():
    """The control saw no hit at all, but that is no proof of a chance of zero."""
    wide = [ask(i, str(100 + i)) for i in range(9)]
    drawn = say(wide[0], ["100", *["7"] * 15]) + [g for q in wide[1:] for g in say(q, ["7"] * 16)]
    table = by_question(drawn, wide).set_index("question_id")
    assert table.loc["q0", "guess"] == 0.0 and table.loc["q0", "kind"] == "knowledge failure"


def test_the_list_for_section_two_names_facts_and_never_the_test():
    context = by_question(MANY, QUESTIONS)
    [one] = knowledge_failures(by_question(MANY, QUESTIONS), QUESTIONS, context)
    assert one["question_id"] == "q2" and one["sections"] == ["S"] and one["with retrieval"] == "knowledge failure"
    told = str(one)
    assert UNKNOWN.text() not in told and "'20'" not in told


def test_a_judge_is_one_more_chooser():
    table = curves(
        SAMPLES, QUESTIONS, Options(counts=(1, 4), choosers={"judge@N": lambda question, texts: len(texts) - 2})
    )
    assert rate(table, "judge@N", 4) == pytest.approx(1 / 3)  # "14", "12" and "16" are the third candidates
    with_cost = curves(
        SAMPLES, QUESTIONS, Options(counts=(1,), reanswers={"q0": "15"}, costs={REANSWER: at_any_n((50.0, 2.0))})
    )
    spent = with_cost.set_index("measure")["tokens"]
    assert spent[REANSWER] == spent[MAJORITY] + 50


def test_selection_leaves_nothing_at_one_and_what_it_misses_at_four():
    table = left_on_table(SAMPLES, QUESTIONS, Options(counts=(1, 4))).set_index("n")
    assert table.loc[1, "gap"] == 0.0
    assert table.loc[4, "ceiling"] == pytest.approx(2 / 3) and table.loc[4, "selected"] == pytest.approx(1 / 3)
    assert table.loc[4, "gap"] == pytest.approx(1 / 3)


def test_a_gap_that_guessing_makes_is_no_gap():
    small = [ask(i, str(10 + i % 3)) for i in range(9)]
    guesses = [g for q in small for g in say(q, ["10", "11", "12", "hm"])]
    row = left_on_table(guesses, small, Options(counts=(4,), permutations=50)).iloc[0]
    assert row["gap"] == pytest.approx(row["by guessing"], abs=0.02) and row["low"] < 0 < row["high"]


def test_disjoint_groups_of_candidates_are_seeds():
    drawn = spread(MANY, QUESTIONS, Options(counts=(1, 4, 8)))
    assert drawn.groupby("n")["seed"].max().to_dict() == {1: 16, 4: 4}  # two groups of eight are no spread
    table = spread_table(drawn[drawn["measure"] == MAJORITY]).set_index("n")
    assert list(table["seeds"]) == [16, 4]
    texts = {g.question_id: [] for g in MANY}
    for g in MANY:
        texts[g.question_id].append(g.text)
    right = [sum(texts[f"q{q}"][i] == gold for q, gold in ((0, "15"), (1, "12"), (2, "20"))) / 3 for i in range(16)]
    assert table.loc[1, "mean"] == pytest.approx(sum(right) / 16)
    assert (table["lowest"] <= table["mean"]).all() and (table["mean"] <= table["highest"]).all()


def test_candidates_of_another_seed_continue_the_arm():
    more = continued("sampled", 4, say(KNOWN, ["15", "14"], arm="sampled, more"))
    assert [(g.arm, g.sample) for g in more] == [("sampled", 4), ("sampled", 5)]
    assert not more[0].messages and mean_cost(SAMPLES[:4]) == (140.0, 2.0)
    assert len(by_question([*SAMPLES[:4], *more], [KNOWN])) == 1


def test_pass_at_n_agrees_with_the_published_estimator():
    """Chen et al. 2021, figure 3: 1 - prod(1 - k / arange(n - c + 1, n + 1)), and c / n for k = 1."""
    for total, right, n in [(200, 13, 1), (200, 13, 10), (200, 13, 100), (16, 1, 8), (5, 4, 2)]:
        published = 1.0 if total - right < n else 1.0 - float(np.prod(1 - n / np.arange(total - right + 1, total + 1)))
        assert pass_at_n(total, right, n) == pytest.approx(published)
    assert pass_at_n(200, 13, 1) == pytest.approx(13 / 200)


def test_order_of_the_stored_lines_does_not_matter():
    assert curves(SAMPLES, QUESTIONS, Options(counts=(1, 4))).equals(
        curves(SAMPLES[::-1], QUESTIONS, Options(counts=(1, 4)))
    )
