"""Stored verdicts: each text judged once, never asked twice, chosen by without a model, refused ones named so."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fault_helpers import teaching
from test_bestofn import KNOWN, MINORITY, QUESTIONS, SAMPLES, UNKNOWN, say

from adaptlab import figures, verdicts
from adaptlab.agreement import load_labels
from adaptlab.bestofn import curves, left_on_table
from adaptlab.choosing import Options
from adaptlab.schemas import Generation, Hit
from adaptlab.verdicts import StoredJudge, StoredVerdict, judges_of, measure_name
from config import LabError

GOLD = {question.id: question.answer for question in (KNOWN, MINORITY, UNKNOWN)}


def stored(verdict_of: Any, tokens: int = 0) -> StoredJudge:
    """A judge with a verdict on every candidate of SAMPLES."""
    said = [
        StoredVerdict(
            judge="j", sees="s", question_id=g.question_id, text=g.text, verdict=verdict_of(g), tokens=tokens, seconds=1
        )
        for g in SAMPLES
    ]
    return judges_of(one.model_dump() for one in said)[0]


def reanswers(texts: dict[str, str]) -> list[Generation]:
    hit = {"chunk_id": "c", "title": "Beasts", "text": "It has Armour Class 12.", "start": 0, "end": 23}
    hits = [Hit(**hit, score=1.0, rank=1)]
    asked = {question.id: question for question in QUESTIONS}
    made = [say(asked[name], [text])[0] for name, text in texts.items()]
    return [one.model_copy(update={"arm": "re-answer", "hits": hits}) for one in made]


def test_a_judge_takes_only_what_it_calls_right_and_otherwise_nothing():
    judge = stored(lambda g: g.text == "12")
    assert judge.choose(MINORITY, ["13", "13", "12"]) == 2
    assert judge.choose(KNOWN, ["15", "14"]) is None  # all called wrong: no choice, which counts as wrong
    table = curves(SAMPLES, QUESTIONS, Options(counts=(1, 4), choosers={"judge@N": judge.choose}))
    assert table.set_index(["measure", "n"]).loc[("judge@N", 4), "rate"] == pytest.approx(1 / 3)


def test_an_unreadable_verdict_rejects_nothing():
    judge = stored(lambda g: None if g.text != "14" else False)
    assert judge.choose(KNOWN, ["14", "14", "15"]) == 2
    with pytest.raises(LabError, match="has no verdict on an answer to q0"):
        judge.choose(KNOWN, ["never judged"])


def test_a_judges_cost_counts_each_different_text_once():
    judge = stored(lambda g: True, tokens=7)
    assert judge.spent(SAMPLES, 1) == (7, 1)
    assert judge.spent([g for g in SAMPLES if g.question_id == "q1"], 4) == (21, 3)  # 13, 13, 12, hm


def test_offline_the_re_answer_check_judges_candidates_and_labels_without_a_model(make_lab):
    lab, labelled = make_lab(), load_labels()[:40]
    second = reanswers({name: f"It is {gold}." for name, gold in GOLD.items()})
    known = [item._replace(question=item.question.model_copy(update={"id": "q0"})) for item in labelled]

    def judge(progress):
        return verdicts.of_candidates(lab, SAMPLES, QUESTIONS, second, known, progress)

    made = lab.step("judge_verdicts.json", judge, models=(), needs=())
    [check] = judges_of(made.data)
    assert (check.name, check.sees) == ("re-answer", "sees the passage")
    assert check.choose(MINORITY, ["13", "13", "12"]) == 2 and check.choose(UNKNOWN, ["18", "17"]) is None
    found = check.calibration(known)
    assert found is not None and found.agreement.n <= len(known) and found.fault is not None
    assert measure_name(check, found) == "judge@N (re-answer, sees the passage, under its threshold)"
    assert measure_name(check, None).endswith("not calibrated)")
    assert check.calibration(labelled) is None or len(check.said) > len(SAMPLES)


def script(prompt: str, request: dict) -> str:
    """A judge that reads: YES where the answer stands in the passage."""
    fence = re.search(r"lines that hold only (ANSWER\S+)\.", prompt)[1]
    text, key = prompt.split(f"\n{fence}\n")[1], re.search(r"holds the word (\S+),", prompt)[1]
    passage = prompt.split(f"PASSAGES-{fence}\n")[1]
    return f"{key} {'YES' if f'Class {text}.' in passage else 'NO'}"


def test_an_llm_judge_sees_the_passage_and_not_the_gold_and_is_asked_once(make_lab):
    second = reanswers(GOLD)
    with teaching(script) as server:
        lab = make_lab(LAB_ENDPOINT_URL=server.url, LAB_TEACHER_MODEL="m")

        def judge(progress):
            return verdicts.of_candidates(lab, SAMPLES, QUESTIONS, second, [], progress)

        made = lab.step("judge_verdicts.json", judge, models=("judge",), needs=())
        prompts = [request["messages"][-1]["content"] for request in server.requests]
        again = lab.step("judge_verdicts.json", judge, models=("judge",), needs=())
        assert len(server.requests) == len(prompts) and again.data == made.data
    different = {(g.question_id, g.text) for g in SAMPLES}
    assert len(prompts) == len(different)
    assert all("It has Armour Class 12." in prompt and "Reference answer" not in prompt for prompt in prompts[:1])
    check, model = judges_of(made.data)
    assert (model.name, model.sees) == ("LLM judge", "sees the passage")
    assert model.choose(MINORITY, ["13", "13", "12"]) == 2 and model.choose(UNKNOWN, ["18", "17"]) is None
    assert model.spent(SAMPLES, 4)[0] > 0 == check.spent(SAMPLES, 4)[0]


def test_verdicts_that_failed_are_asked_for_again_and_the_others_are_kept(make_lab):
    failing = {"on": True}

    def answer(prompt: str, request: dict) -> Any:
        return 403 if failing["on"] and "\n12\n" in prompt else script(prompt, request)

    with teaching(answer) as server:
        lab = make_lab(LAB_ENDPOINT_URL=server.url, LAB_TEACHER_MODEL="m")

        def judge(progress):
            return verdicts.of_candidates(lab, SAMPLES, QUESTIONS, reanswers(GOLD), [], progress)

        with pytest.raises(LabError, match="1 of .* verdicts are missing"):
            lab.step("judge_verdicts.json", judge, models=("judge",), needs=())
        asked, failing["on"] = len(server.requests), False
        made = lab.step("judge_verdicts.json", judge, models=("judge",), needs=())
        assert len(server.requests) == asked + 1
    assert judges_of(made.data)[1].choose(MINORITY, ["12"]) == 0


def test_a_judge_that_obeys_the_judged_text_is_drawn_but_named_under_its_threshold(make_lab):
    labelled = load_labels(half="tune")
    gold = {item.question.id: item.question.answer for item in labelled}
    asked = {item.question.id: item.question for item in labelled}
    second = [say(question, [gold[name]], arm="re-answer")[0] for name, question in asked.items()]
    drawn = [one for name, question in asked.items() for one in say(question, [gold[name], "hm"])]

    def gullible(prompt: str, request: dict) -> str:
        return re.search(r"holds the word (\S+),", prompt)[1] + " YES"

    with teaching(gullible) as server:
        lab = make_lab(LAB_ENDPOINT_URL=server.url, LAB_TEACHER_MODEL="m")

        def judge(progress):
            return verdicts.of_candidates(lab, drawn, list(asked.values()), second, labelled, progress)

        made = lab.step("judge_verdicts.json", judge, models=("judge",), needs=())
    judges = judges_of(made.data)
    found = [one.calibration(labelled) for one in judges]
    assert found[1].injected.rate == 1 and found[1].fault
    options = verdicts.with_judges(Options(counts=(1, 2)), judges, labelled, drawn, {"LLM judge": (10.0, 2.0)})
    table = curves(drawn, list(asked.values()), options)
    refused = "judge@N (LLM judge, sees the passage, under its threshold)"
    assert refused in set(table["measure"])
    spent = table.set_index(["measure", "n"])["tokens"]
    assert spent[refused, 2] > spent["majority@N", 2] + 10
    legend = figures.bon_curves(table).legends[0]
    assert any("under its threshold" in text.get_text() for text in legend.get_texts())
    assert len(left_on_table(drawn, list(asked.values()), options)) == 2
