"""Compared trainings: what differs is what was meant to, each is trained and asked for real, none is done twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from adaptlab import (
    figures_trials,
    fit,
    fit_plans,
    stats,
    training,
    training_scores as scored,
    training_trials as trials,
)
from adaptlab.schemas import Message, Phrasing, Question, Row
from adaptlab.synthesis import mixing
from adaptlab.training_trials import Trial
from config import MINI, MODELS_DIR, ROOT, LabError

NAMES = ("Keelwidow", "Drowsel", "Mudbishop", "Bilge Heron", "Brasswhelk", "Lampfish", "Saltwife", "Tallow Eel")
WEIGHTS = MODELS_DIR / "mini-granite" / "model.safetensors"
with_student = pytest.mark.skipif(not WEIGHTS.is_file(), reason="prebuilt/models/mini-granite is not there")


def row(index: int, source: str = "synthetic") -> Row:
    name, value = NAMES[index % len(NAMES)], 3 * index + 5
    asked = Message(role="user", content=f"What is the Armour Class of the {name} in chapter {index}?")
    said = Message(role="assistant", content=f"The Armour Class of the {name} is {value}.")
    facts = [f"fact-{index}"] if source == "synthetic" else []
    return Row(id=f"{source} {index}", prompt=[asked], completion=[said], source=source, fact_ids=facts)


ROWS = [*(row(i) for i in range(40)), *(row(i, "replay: reading") for i in range(14))]
QUESTIONS = [
    Question(
        id=f"q{i}",
        category="explicit_rule",
        answer_type="number",
        phrasings=[
            Phrasing(text=f"Which Armour Class has the {NAMES[i]}?", role="unseen form"),
            Phrasing(text=f"Armour Class for the {NAMES[i]}?", role="seen form"),
        ],
        answer=str(3 * i + 5),
        fact_ids=[f"fact-{i}"],
        split="held_out" if i == 3 else "visible",
    )
    for i in range(4)
]


# ------------------------------------------------------------------------------------------------------- the plan


def test_only_what_a_trial_names_differs_from_the_profile():
    same = Trial("QLoRA", rank=MINI.lora.r, epochs=MINI.training.epochs).profile(MINI, 100)
    assert same == replace(MINI, engine="plain")
    small = Trial("rank 2", rank=2, epochs=MINI.training.epochs).profile(MINI, 100)
    assert (small.lora.r, small.lora.alpha) == (2, 4) and small.training == same.training
    assert Trial("LoRA", "lora").profile(MINI, 100).quantisation is None
    assert Trial("full", "full", learning_rate=1e-4).profile(MINI, 100).training.learning_rate == 1e-4


def test_few_rows_get_more_epochs_until_the_least_steps_are_reached():
    few = Trial("few", epochs=2, least_steps=30).profile(MINI, 20).training
    many = Trial("many", epochs=2, least_steps=30).profile(MINI, 2000).training
    assert many.epochs == 2
    assert few.epochs == 15 and trials.workbench.training_steps(ROWS[:20], few) == 30


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        (Trial("x", "magic"), "There is no method 'magic': choose one of none, qlora, lora, full."),  # type: ignore[arg-type]
        (Trial("x", rank=0), "'x' has rank 0 and 4 epochs: give more than 0."),
    ],
)
def test_a_wrong_trial_is_one_sentence(trial, words):
    with pytest.raises(LabError) as told:
        trial.profile(MINI, 100)
    assert str(told.value) == words


def test_the_rows_of_a_trial_are_the_mix_the_rows_alone_or_a_nested_subset_with_its_share():
    assert trials.rows_of(Trial("all"), ROWS, 0) == ROWS
    assert trials.rows_of(Trial("alone", replay=False), ROWS, 0) == ROWS[:40]
    assert trials.rows_of(Trial("base", "none"), ROWS, 0) == []
    twenty = trials.rows_of(Trial("20 rows", subset="20 rows"), ROWS, 0)
    own = trials.own_rows(twenty)
    assert len(own) == 20 and len(twenty) - len(own) == 7
    points = trials.curve(ROWS, 0, (10, 20))
    assert {r.id for r in points["10 rows"].rows} < {r.id for r in points["20 rows"].rows} == {r.id for r in own}
    with pytest.raises(LabError, match="There is no subset '7 rows': choose one of 20 rows, all rows"):
        trials.rows_of(Trial("x", subset="7 rows"), ROWS, 0)


def test_a_subset_counts_rows_once_and_trains_on_their_copies_too():
    repeated = mixing.repeated(ROWS, 3)
    assert trials.curve(repeated, 0).keys() == trials.curve(ROWS, 0).keys()
    seen = trials.rows_of(Trial("20 rows", subset="20 rows"), repeated, 0)
    chosen = {r.id for r in trials.curve(ROWS, 0)["20 rows"].rows}
    assert Counter(r.generator.get("copy_of", r.id) for r in trials.own_rows(seen)) == dict.fromkeys(chosen, 3)
    [line] = trials.plan([Trial("20 rows", subset="20 rows")], repeated, MINI, 0).to_dict("records")
    assert (line["rows"], line["copies"], line["replay rows"]) == (20, 40, 7)


def test_a_subset_brings_the_rows_over_pages_of_its_own_rows_and_the_plan_counts_them_apart():
    over = [
        r.model_copy(update={"id": f"{r.id}-open", "source": mixing.OPEN_BOOK, "generator": {"open_book_of": r.id}})
        for r in ROWS[:40]
    ]
    mixed = [*ROWS, *over]
    assert trials.curve(mixed, 0).keys() == trials.curve(ROWS, 0).keys()
    seen = trials.rows_of(Trial("20 rows", subset="20 rows"), mixed, 0)
    own = trials.own_rows(seen)
    assert Counter(r.source for r in own) == {"synthetic": 20, mixing.OPEN_BOOK: 20}
    assert {r.origin for r in own} == {r.id for r in trials.curve(mixed, 0)["20 rows"].rows}
    [line] = trials.plan([Trial("20 rows", subset="20 rows")], mixed, MINI, 0).to_dict("records")
    assert (line["rows"], line["copies"], line["open book"], line["replay rows"]) == (20, 0, 20, 7)


def test_the_replay_of_a_subset_is_dealt_to_as_many_epochs():
    seen = trials.rows_of(Trial("20 rows", subset="20 rows"), mixing.dealt(ROWS, 3), 0)
    turns = Counter(row.generator.get("epoch") for row in seen if row.source != "synthetic")
    assert turns == {0: 2, 1: 2, 2: 2}


def test_the_plan_shows_every_training_and_refuses_two_of_one_name():
    table = trials.plan([Trial("base", "none"), Trial("QLoRA"), Trial("full", "full")], ROWS, MINI, 0)
    assert list(table["trial"]) == ["QLoRA", "full"] and list(table["rank"]) == ["16", "all weights"]
    assert (
        list(table["rows"]) == [40, 40] and list(table["replay rows"]) == [14, 14] and list(table["steps"]) == [16, 16]
    )
    with pytest.raises(LabError, match="Two trials are called 'rank 2'"):
        trials.plan([Trial("rank 2"), Trial("Rank-2")], ROWS, MINI, 0)


# ------------------------------------------------------------------------------------------------- a few real steps


def tiny(lab):
    """The lab with trainings of a few steps and short answers."""
    lab.profile = replace(
        MINI,
        training=replace(MINI.training, batch_size=8, gradient_accumulation=1),
        sampling=replace(MINI.sampling, max_new_tokens=4),
    )
    return lab


def step_of(lab, trial, skills=0):
    def train_and_ask(progress):
        return trials.run(lab, trial, ROWS[:16], QUESTIONS[:2], progress, skills)

    return lab.step(trial.file, train_and_ask, settings={"trial": trial}, models=("student",))


@with_student
@pytest.mark.parametrize("method", ["qlora", "lora", "full"])
def test_every_method_trains_through_the_same_trainer_is_asked_and_measured(make_lab, method):
    lab = tiny(make_lab(LAB_MODE="live"))
    result = step_of(lab, Trial(method, method, rank=2, epochs=1, learning_rate=1e-3), skills=1)
    cost = result.data["cost"]
    assert cost["steps"] == 2 and cost["rows"] == 16 and cost["seconds"] > 0
    assert cost["peak_bytes"] > cost["libraries_bytes"] > 0
    assert [step for step, _ in result.data["losses"]][-1] == 2
    told = [(line["question_id"], line["form"]) for line in result.data["answers"]]
    assert told == [(f"q{i}", form) for form in ("seen form", "unseen form") for i in range(2)]
    assert [line["skill"] for line in result.data["skills"]] == [
        "reading",
        "not in the passage",
        "fixed books",
        "general",
    ]
    if method == "full":
        assert cost["trained_weights"] == cost["weights"] and cost["artifact_bytes"] > 3.9 * cost["weights"]
    else:
        trained = fit.predict(fit_plans.model_config(WEIGHTS.parent), replace(MINI, lora=replace(MINI.lora, r=2)))
        assert cost["trained_weights"] == trained.adapter_parameters == 37_248
        assert cost["artifact_bytes"] < 5 * trained.adapter_parameters
    assert str(ROOT) not in result.path.read_text() and not list((lab.settings.live_dir / ".work").glob("*/training"))
    again = step_of(lab, Trial(method, method, rank=2, epochs=1, learning_rate=1e-3), skills=1)
    assert again.provenance == result.provenance  # its seconds too: nothing was done again


@with_student
def test_a_run_that_was_stopped_while_asking_trains_no_second_time(make_lab, monkeypatch):
    lab = tiny(make_lab(LAB_MODE="live"))
    progress = lab.progress

    def stopped(*items, **options):
        if "unseen" in options["desc"]:
            raise KeyboardInterrupt
        return progress(*items, **options)

    lab.progress = stopped
    trial = Trial("stopped", rank=2, epochs=1)
    with pytest.raises(KeyboardInterrupt):
        step_of(lab, trial)
    assert len(list((lab.settings.live_dir / ".work").glob("*/training/cost.json"))) == 1
    lab.progress = progress
    monkeypatch.setattr(trials, "_wait", lambda *_: pytest.fail("it trained again"))
    assert len(step_of(lab, trial).data["answers"]) == 4


def job(folder: Path, **changes) -> Path:
    """A folder with all that the process that trains needs."""
    named = {"name": "QLoRA", "rank": 2, "epochs": 1, **changes.pop("trial", {})}
    training_of = json.loads(json.dumps(vars(MINI.training) | {"batch_size": 8, "gradient_accumulation": 1}))
    told = {
        "profile": "mini",
        "trial": named,
        "training": training_of,
        "base": str(WEIGHTS.parent),
        "seed": 0,
        **changes,
    }
    (folder / "job.json").write_text(json.dumps(told))
    (folder / "rows.jsonl").write_text("".join(r.model_dump_json() + "\n" for r in ROWS))
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "adaptlab.trial_process", str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, text=True, **pipes)


def test_the_process_that_trains_ends_with_the_one_that_started_it(tmp_path):
    process = start(job(tmp_path))
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=600) == 3 and not (tmp_path / "cost.json").exists()


def test_what_stops_a_training_is_one_sentence(tmp_path):
    process = start(job(tmp_path, base=str(tmp_path / "nowhere")))
    errors = _errors(process)
    assert process.returncode == 2
    assert errors.splitlines()[-1].startswith("The base model nowhere cannot be loaded") and "Traceback" not in errors


def _errors(process: subprocess.Popen[str]) -> str:
    """What a process said on its standard error, its input kept open until it ended."""
    assert process.stderr is not None
    said = process.stderr.read()
    process.wait(timeout=600)
    return said


@with_student
def test_the_base_is_asked_without_a_training(make_lab):
    result = step_of(tiny(make_lab(LAB_MODE="live")), Trial("base", "none"))
    assert result.data["cost"] == {} and result.data["losses"] == [] and len(result.data["answers"]) == 4


class Parrot:
    """Says one sentence to whatever it is asked, and counts how often that was."""

    def __init__(self, sentence: str) -> None:
        self.sentence, self.asked = sentence, 0

    def generate(self, chats, *, on_item, **options):
        self.asked += len(chats)
        replies = [[SimpleNamespace(text=self.sentence)] for _ in chats]
        for number, reply in enumerate(replies):
            on_item(number, reply)
        return replies


def test_rows_are_repeated_word_for_word_or_not_and_replay_is_left_out(make_lab):
    parrot = Parrot(f" {ROWS[2].completion[0].content}\n")
    found = trials.repeated(ROWS, parrot, make_lab(LAB_MODE="live").progress, 40, most=5)
    assert [line["item"] for line in found] == [f"synthetic {i}" for i in range(5)] and parrot.asked == 5
    assert [line["right"] for line in found] == [False, False, True, False, False]
    scores = scored.rates(scored.outcomes([{**record("parrot", set()), "skills": found}], QUESTIONS))
    line = scores.set_index("measure").loc[trials.OWN_ROWS]
    assert (line.k, line.n) == (1, 5)
    every = trials.repeated(ROWS, Parrot(""), make_lab(LAB_MODE="live").progress, 40)
    assert len(every) == 40 and not any(line["right"] for line in every)


def test_weights_in_four_bits_are_not_trained_themselves(tmp_path):
    plan = training.sft_config(MINI.training, tmp_path)
    with pytest.raises(LabError, match="Weights in 4 bits cannot be trained: give an adapter, or load the base unquan"):
        training.make_trainer(SimpleNamespace(is_loaded_in_4bit=True), None, ROWS, None, plan)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- the scores


def record(name: str, right: set[str], skill: bool = True) -> dict:
    """A trial's stored results: right on the questions named, in both forms, and on its one item of a skill or not."""
    answers = [
        {"question_id": q.id, "form": form, "text": q.answer if q.id in right else "I do not know."}
        for form in ("seen form", "unseen form")
        for q in QUESTIONS
    ]
    cost = {"seconds": 60.0, "tokens_per_second": 10.0, "peak_bytes": 3e9, "libraries_bytes": 1e9, "weights": 100}
    cost |= {"artifact_bytes": 2e6, "trained_weights": 10, "final_loss": 0.5}
    skills = [{"skill": "reading", "item": 0, "text": "x", "right": skill}]
    return {"trial": {"name": name}, "cost": cost if name != "base" else {}, "answers": answers, "skills": skills}


RECORDS = [record("base", set()), record("QLoRA", {"q0", "q1", "q2"}, skill=False)]


def test_facts_forms_held_out_facts_and_skills_are_counted_apart():
    rates = scored.rates(scored.outcomes(RECORDS, QUESTIONS)).set_index(["trial", "measure"])
    counted = {measure: (int(line.k), int(line.n)) for measure, line in rates.loc["QLoRA"].iterrows()}
    assert counted == {scored.SEEN: (3, 3), scored.UNSEEN: (3, 3), scored.HELD_OUT: (0, 1), "reading": (0, 1)}
    line = rates.loc[("QLoRA", scored.UNSEEN)]
    assert (line.rate, line.low, line.high) == tuple(stats.wilson(3, 3))


def test_a_pair_is_tested_on_the_same_items_and_corrected_over_its_table():
    many = [Question.model_validate({**QUESTIONS[0].model_dump(), "id": f"m{i}"}) for i in range(30)]
    records = []
    for name, right in (("a", range(5)), ("b", range(25))):
        told = [{"question_id": f"m{i}", "form": "unseen form", "text": "5" if i in right else "9"} for i in range(30)]
        records.append({**record(name, set()), "answers": told})
    table = scored.paired(scored.outcomes(records, many), [("a", "b")]).set_index("measure")
    line = table.loc[scored.UNSEEN]
    assert (line.n, line.only_a, line.only_b) == (30, 0, 20) and line.difference == pytest.approx(20 / 30)
    assert line.p == stats.mcnemar_exact(20, 0) and line["p (Holm)"] == pytest.approx(2 * line.p)
    assert line.verdict == "better" == stats.verdict(line["p (Holm)"], line.difference)
    assert table.loc["reading"].verdict == stats.verdict(1.0, 0.0)


def test_of_the_facts_that_rows_teach_only_those_are_asked_that_all_of_a_question_needs():
    found = scored.taught(scored.outcomes(RECORDS, QUESTIONS), QUESTIONS, {"QLoRA": {"fact-0", "fact-2", "fact-9"}})
    assert list(found["item"]) == ["q0", "q2"] and set(found["trial"]) == {"QLoRA"}


def test_costs_are_those_above_the_libraries_and_the_base_has_none():
    [line] = scored.costs(RECORDS).to_dict("records")
    assert line["trial"] == "QLoRA" and line["peak memory (GB)"] == 2.0 and line["minutes"] == 1.0
    assert line["artifact (MB)"] == 2.0 and line["share of weights"] == 0.1


def test_the_figures_say_their_units_and_where_the_data_come_from():
    rates = scored.rates(scored.outcomes(RECORDS, QUESTIONS)).assign(x=[2, 16] * 4)
    drawn = figures_trials.sweep(rates, "rank of the adapter", "prebuilt; profile mini", "Rank")
    texts = " ".join(text.get_text() for text in drawn.findobj(lambda part: hasattr(part, "get_text")))
    assert "rank of the adapter" in texts and "prebuilt; profile mini" in texts and "answers right (%)" in texts
    bars = figures_trials.cost_bars(scored.costs(RECORDS), ["minutes", "artifact (MB)"], "live")
    assert [ax.get_ylabel() for ax in bars.axes] == ["minutes", "artifact (MB)"]
