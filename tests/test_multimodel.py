"""Compared models: the same for each, one at a time, what fails is told, memory comes back, and scores are paired."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from test_training_trials import QUESTIONS, ROWS, with_student
from tqdm import tqdm

from adaptlab import (
    alt_text,
    ask_process,
    child,
    exercises,
    figures_models,
    multimodel,
    multimodel_scores as scored,
    stats,
    trial_process,
)
from adaptlab.arms import messages_for
from adaptlab.artifacts import Lab
from adaptlab.multimodel import Asking, Compared, ModelFailed
from adaptlab.schemas import Generation, Hit, Question
from config import MINI, MODELS, PROFILES, ROOT, LabError, ModelSpec

STUDENT = ROOT / "prebuilt/models/mini-granite"


def page(question: Question) -> Generation:
    """What the recap stored for a question: its answer over one retrieved passage."""
    said = f"{question.text()} {question.answer} is the Armour Class."
    hit = Hit(chunk_id="c1", title="Beasts", text=said, start=0, end=len(said), score=1.0, rank=1)
    messages = messages_for(question.text(), [hit])
    shown = {"messages": messages, "hits": [hit], "text": "stored"}
    return Generation(question_id=question.id, phrasing=question.text(), arm="base + retrieval", sample=0, **shown)


PAGES = [page(question).model_dump(mode="json") for question in QUESTIONS]
ASKING = Asking(QUESTIONS, PAGES, skill_items=1, alone=1)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small untrained models of other architectures, and one whose weights are cut off."""
    from transformers import AutoTokenizer

    from adaptlab.miniature import architecture

    folder = tmp_path_factory.mktemp("family")
    tokenizer = AutoTokenizer.from_pretrained(STUDENT)
    for name in ("mini-granite-s", "mini-phi3"):
        architecture.build(name, tokenizer).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    whole = folder / "mini-phi3" / "model.safetensors"
    broken = folder / "broken"
    broken.mkdir()
    for path in (folder / "mini-phi3").iterdir():
        data = path.read_bytes()
        (broken / path.name).write_bytes(data[: len(data) // 2] if path.name == whole.name else data)
    return folder


def tiny(lab: Lab) -> Lab:
    """The lab with trainings of a few steps and short answers."""
    lab.profile = replace(
        MINI,
        training=replace(MINI.training, batch_size=8, gradient_accumulation=1),
        sampling=replace(MINI.sampling, max_new_tokens=4),
    )
    return lab


# ------------------------------------------------------------------------------------------------ which, and the plan


def test_one_line_adds_a_model_by_its_name_a_folder_or_a_repository(make_lab, tmp_path):
    lab, folder = make_lab(), tmp_path / "my-model"
    folder.mkdir()
    mine, hub, named = multimodel.specs(lab, [str(folder), "someone/Some-Model-2B", "mini-granite"])
    assert (mine.name, mine.location) == ("my-model", str(folder)) and mine.shipped
    assert (hub.name, hub.location, hub.revision) == ("Some-Model-2B", "someone/Some-Model-2B", None)
    assert named == MODELS["mini-granite"]
    lab.profile = replace(lab.profile, precision="fp16")
    assert multimodel.specs(lab, ["granite-3.2-8b-instruct"])[0].precision == "fp16"
    with pytest.raises(LabError, match="There is no model 'granit': name one of mini-granite, .* or owner/name"):
        multimodel.specs(lab, ["granit"])
    with pytest.raises(LabError, match=r"Two models are called 'Mini\.Granite'|called 'mini-granite'"):
        multimodel.specs(lab, ["mini-granite", "someone/Mini.Granite"])


def test_every_profile_compares_four_known_models_with_its_student_among_them():
    for profile in PROFILES.values():
        assert len(profile.compared) == 4 and set(profile.compared) <= set(MODELS)
        assert profile.student in profile.compared
        assert not any(MODELS[name].remote for name in profile.compared)


def test_the_plan_gives_each_model_the_same(make_lab):
    lab = tiny(make_lab())
    chosen = multimodel.specs(lab, ["mini-granite", "someone/other"])
    table = multimodel.plan(lab, chosen, ROWS, (1e-3, 2e-3), 1, (5, 6, 7), 2)
    assert list(table["from"]) == ["a folder with weights", "someone/other"]
    same = table.drop(columns=["model", "from"])
    assert same.iloc[0].equals(same.iloc[1])
    [line] = table.head(1).to_dict("records")
    assert line["on rows"] + line["judged on rows"] == line["rows"] == len(ROWS)
    assert line["steps in all"] == 2 * -(-line["on rows"] // 8) + 3 * 2 * 7 and line["rates tried"] == "0.001, 0.002"


def test_the_rate_with_the_least_validation_loss_is_chosen_and_one_that_ran_away_is_not():
    tried = [{"rate": r, "validation_loss": v, "final_loss": 1.0} for r, v in ((1e-3, 0.5), (2e-3, 0.4), (4e-3, None))]
    assert multimodel.best_rate({"model": "m", "tried": tried}) == 2e-3
    shown = scored.searched([{"model": "m", "tried": tried}])
    assert list(shown["chosen"]) == [False, True, False]
    assert scored.at_an_end(shown).startswith("Each model's best rate lies between")
    last = scored.searched([{"model": "m", "tried": tried[:2]}, {"model": "failed", "tried": tried[2:]}])
    assert scored.at_an_end(last) == "Best at an end of what was tried, so a rate beyond might be better still: m."
    with pytest.raises(ModelFailed, match="m did not train at any of the learning rates"):
        multimodel.best_rate({"model": "m", "tried": tried[2:]})


def test_prompts_hold_what_the_recap_retrieved_and_a_question_without_it_is_told():
    made = multimodel.prompts(QUESTIONS, PAGES)
    assert [(one["kind"], one["id"]) for one in made] == [
        (kind, q.id) for kind in (multimodel.NO_CONTEXT, multimodel.RETRIEVED) for q in QUESTIONS
    ]
    assert "is the Armour Class" in made[-1]["messages"][0]["content"]
    assert "is the Armour Class" not in made[0]["messages"][0]["content"]
    with pytest.raises(LabError, match="holds no passages for 1 of 4 questions, such as q0: run 00Setup"):
        multimodel.prompts(QUESTIONS, PAGES[1:])


# ----------------------------------------------------------------------------------------------- models that run


@with_student
def test_a_model_is_trained_and_asked_in_processes_of_its_own_and_one_that_fails_stops_no_other(make_lab, family):
    lab = tiny(make_lab(LAB_MODE="live"))
    compared = Compared(lab)
    rate, seed = 2e-3, 9

    def adapting(spec):
        def train_and_ask(progress):
            return multimodel.adapt(lab, spec, ROWS[:8], rate, 1, seed, ASKING, progress)

        return train_and_ask

    def asking(spec):
        def ask(progress):
            return multimodel.ask(lab, spec, ASKING, progress)

        return ask

    named = [family / "broken", family / "mini-phi3", ROOT / "prebuilt/models/nowhere"]
    broken, phi3 = multimodel.specs(lab, [str(path) for path in named[:2]])
    absent = ModelSpec("nowhere", path="prebuilt/models/nowhere")
    for spec, run in ((broken, asking), (absent, asking), (phi3, adapting)):
        with compared.reporting(spec) as made:
            file = multimodel.file_of(spec, "seed 9")
            compared.check(spec, file)
            made.append(lab.step(file, run(spec), models=(spec,)))
            made.append(made[0])
    assert list(compared.runs) == ["mini-phi3"] and len(compared.results) == 2
    assert compared.failed["nowhere"] == "nowhere cannot be loaded here: prebuilt/models/nowhere holds no model."
    assert compared.failed["broken"].startswith("broken: Answering stopped: The weights in ")
    assert "\n" not in compared.failed["broken"] and str(family / "broken") not in compared.failed["broken"]
    [record] = compared.records
    assert (record["model"], record["seed"], record["rate"]) == ("mini-phi3", 9, 2e-3)
    assert record["training"]["steps"] == 1 and record["training"]["rows"] == 8
    answered = {(answer["question_id"], answer["context"]) for answer in record["answers"]}
    assert answered == {(q.id, kind) for kind in (multimodel.NO_CONTEXT, multimodel.RETRIEVED) for q in QUESTIONS}
    assert [line["questions"] for line in record["asked"]] == [4, 4] and record["asked"][1]["alone"][0] > 0
    assert len(record["skills"]) == 4
    for taken in record["memory"]:
        assert taken["peak"] > 0 and taken["after"] - taken["before"] < multimodel.SLACK
    assert record["memory"][-1]["left"] > 0 and record["loaded"]["loaded_bytes"] > 0
    assert str(family) not in made[0].path.read_text("utf-8")
    assert not list((lab.settings.live_dir / ".work").glob("*/training"))


@with_student
def test_an_answering_that_was_stopped_goes_on_with_what_has_no_answer_yet(family, tmp_path):
    prompts = multimodel.prompts(QUESTIONS, PAGES)
    spec = vars(ModelSpec("mini-phi3", path=str(family / "mini-phi3"), precision="fp32"))
    job = {"model": spec, "adapter": None, "max_tokens": 3, "seed": 1, "alone": {multimodel.RETRIEVED: 2}}
    (tmp_path / "job.json").write_text(json.dumps(job))
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in prompts))
    kept = {"id": "q1", "kind": multimodel.NO_CONTEXT, "text": "kept", "read": 1, "written": 1, "seconds": 0.5}
    (tmp_path / "answers.jsonl").write_text(json.dumps({**kept, "refused": False}) + '\n{"id": "q2", "ki')
    child.run("adaptlab.ask_process", tmp_path, "Answering", lambda: 0, tqdm(disable=True))  # its memory is its own
    cost = json.loads((tmp_path / ask_process.COST).read_text())
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert sorted((line["kind"], line["id"]) for line in lines) == sorted((p["kind"], p["id"]) for p in prompts)
    assert lines[0]["text"] == "kept" and all(0 < line["written"] <= 3 for line in lines)
    assert len(cost["alone"][multimodel.RETRIEVED]) == 2 and cost["peak_bytes"] >= cost["left_bytes"] > 0


@with_student
def test_a_search_measures_the_loss_on_rows_that_were_held_out(family, tmp_path):
    trial = {"name": "m, rate", "rank": 2, "epochs": 2, "learning_rate": 1e-3}
    training = {**vars(MINI.training), "batch_size": 8, "gradient_accumulation": 1, "epochs": 2, "learning_rate": 1e-3}
    job = {"profile": "mini", "trial": trial, "training": training, "base": str(family / "mini-phi3"), "seed": 3}
    (tmp_path / "job.json").write_text(json.dumps(job))
    for name, rows in (("rows", ROWS[:16]), ("validation", ROWS[16:24])):
        (tmp_path / f"{name}.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows))
    cost = trial_process.train(tmp_path)
    logged = [json.loads(line) for line in (tmp_path / "training_log.jsonl").read_text().splitlines()]
    measured = [line["eval_loss"] for line in logged if "eval_loss" in line]
    assert len(measured) == 2 and cost["validation_loss"] == min(measured) and cost["validation_rows"] == 8


def test_rates_are_judged_by_other_wordings_of_facts_that_stay_in_training(make_lab, monkeypatch):
    lab, seen = tiny(make_lab()), []

    def trained(lab, trial, rows, folder, progress, place, seed, held):
        seen.append((rows, held))
        return {"peak_bytes": 0, "libraries_bytes": 0, "validation_loss": 0.5}

    monkeypatch.setattr(multimodel.training_trials, "trained", trained)
    monkeypatch.setattr(lab, "work_dir", Path)
    rows = [*ROWS, *(row.model_copy(update={"id": f"{row.id} again"}) for row in ROWS[:40])]
    found = multimodel.search(lab, MODELS["mini-granite"], rows, (1e-3, 2e-3), 1, None)
    assert [line["rate"] for line in found["tried"]] == [1e-3, 2e-3] and seen[0] == seen[1]
    kept, held = seen[0]
    asked = {fact for row in held for fact in row.fact_ids}
    assert asked and asked <= {fact for row in kept for fact in row.fact_ids} and len(kept) + len(held) == len(rows)


HOLDING = """
from adaptlab import multimodel
multimodel.SETTLING, multimodel.SLACK = 0.0, 16 * 2**20
with multimodel._measured("a tidy model"):
    pass
with multimodel._measured("an untidy model"):
    held = bytearray(b"x" * 96 * 2**20)
"""


def test_memory_that_is_not_given_back_stops_the_comparison():
    """In a process of its own: what the other tests of this one hold comes and goes."""
    ended = subprocess.run([sys.executable, "-c", HOLDING], capture_output=True, text=True, cwd=ROOT)
    assert "0.1 GB more are in use after an untidy model than before: end what holds them" in ended.stderr


# ------------------------------------------------------------------------------------------------------- a replay


def stored(lab: Lab, failed: list[dict[str, str]]) -> Lab:
    """The same lab in a replay of a comparison that holds one model, and these failures."""
    folder = lab.settings.prebuilt_dir
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "multi_model_eval.json").write_text(json.dumps({"failed": failed}))
    (folder / "compared_mini_granite_base.json").write_text("{}")
    return lab


def test_a_replay_tells_what_failed_when_it_was_computed_and_what_is_no_part_of_it(make_lab):
    lab = stored(make_lab(LAB_MODE="prebuilt"), [{"model": "mini-phi3", "reason": "It broke."}])
    compared = Compared(lab)
    for spec in multimodel.specs(lab, ["mini-granite", "mini-phi3", "someone/new"]):
        with compared.reporting(spec) as made:
            compared.check(spec, multimodel.file_of(spec, "base"))
            made += ["search", "base"]  # type: ignore[list-item]
    assert list(compared.runs) == ["mini-granite"]
    assert compared.failed["mini-phi3"] == "It broke."
    assert compared.failed["new"].startswith("new is no part of the stored comparison: set LAB_MODE=auto")
    assert lab.said == [f"{name} is left out. {said}" for name, said in compared.failed.items()]  # type: ignore[attr-defined]


def test_without_any_model_the_reasons_are_told(make_lab):
    compared = Compared(make_lab())
    compared.failed = {"a": "a broke.", "b": "b is away."}
    with pytest.raises(LabError, match=r"None of the models could be compared \(a broke; b is away\): put one of"):
        _ = compared.results


# ------------------------------------------------------------------------------------------------------- the scores


MANY = [
    QUESTIONS[0].model_copy(update={"id": f"m{n}", "split": "held_out" if n >= 30 else "visible"}) for n in range(34)
]


def record(model: str, seed: int | None, closed: int, opened: int, skill: bool = True) -> dict:
    """A run that answers so many of the questions right without and with context."""
    answers = [
        {"question_id": q.id, "context": kind, "text": "5" if n < right else "9"}
        for kind, right in ((multimodel.NO_CONTEXT, closed), (multimodel.RETRIEVED, opened))
        for n, q in enumerate(MANY)
    ]
    asked = [
        {
            "context": kind,
            "questions": 34,
            "seconds": 3.4,
            "read": 340,
            "written": 68,
            "refused": 0,
            "alone": [0.2, 0.4],
        }
        for kind in (multimodel.NO_CONTEXT, multimodel.RETRIEVED)
    ]
    taken = {"what": model, "before": 1e9, "peak": 3e9, "after": 1e9}
    training = {"seconds": 60.0, "tokens_per_second": 9.0, "peak_bytes": 4e9, "libraries_bytes": 1e9, "weights": 100}
    training |= {"trained_weights": 10, "artifact_bytes": 1e6, "final_loss": 0.5}
    return {
        "model": model,
        "seed": seed,
        "rate": None if seed is None else 1e-3,
        "answers": answers,
        "skills": [{"skill": "reading", "item": n, "text": "x", "right": skill} for n in range(20)],
        "asked": asked,
        "training": None if seed is None else training,
        "memory": [*([] if seed is None else [taken]), {**taken, "left": 2e9}],
    }


RECORDS = [
    record("a", None, 2, 20),
    record("a", 7, 25, 26, skill=False),
    record("a", 8, 15, 22),
    record("b", None, 0, 3),
    record("b", 7, 3, 4),
]


def test_gains_are_paired_on_the_first_seed_corrected_over_the_table_and_told_for_every_seed():
    lookups = MANY[:30]
    table = scored.gains(scored.outcomes(RECORDS, MANY), lookups)
    assert len(table) == 8 and set(table["n"]) == {30}
    line = table[(table.added == "adaptation") & (table.a == "a, base")].iloc[0]
    assert (line.b, line.only_a, line.only_b, line["by seed"]) == ("a, adapter", 0, 23, "+77, +43")
    assert line.p == stats.mcnemar_exact(23, 0) and line.verdict == "better" and line.low < line.difference < line.high
    assert table["p (Holm)"].tolist() == stats.holm(table["p"].tolist())
    retrieval = table[(table.added == "retrieval") & (table.a == "a, adapter")].iloc[0]
    assert retrieval["by seed"] == "+3, +23" and retrieval.verdict == stats.verdict(1.0, 0.0)


def test_models_are_compared_in_pairs_on_the_same_questions():
    table = scored.between(scored.outcomes(RECORDS, MANY), MANY[:30])
    assert list(zip(table.arm, table.a, table.b, strict=True)) == [
        ("adapter", "a", "b"),
        ("adapter + retrieval", "a", "b"),
    ]
    assert table.iloc[0].verdict == "worse" and table.iloc[0].difference == pytest.approx(-22 / 30)
    alone = scored.between(scored.outcomes(RECORDS[:2], MANY), MANY[:30])
    assert alone.empty and {"arm", "verdict"} <= set(alone.columns)


def test_scores_are_of_first_seeds_and_held_out_facts_are_a_group_of_their_own():
    table = scored.scores(scored.of_first_seeds(scored.outcomes(RECORDS, MANY))).set_index(["model", "arm", "group"])
    line = table.loc[("a", "adapter", "all but held-out")]
    assert (line.k, line.n) == (25, 30) and (line.rate, line.low, line.high) == tuple(stats.wilson(25, 30))
    assert table.loc[("a", "adapter", "held-out facts")].n == 4
    seeds = scored.spread(scored.outcomes(RECORDS, MANY), MANY[:30])
    assert list(seeds[(seeds.model == "a") & (seeds.arm == "adapter")].rate) == [25 / 30, 15 / 30]


def test_skills_costs_and_memory_are_told_for_each_model():
    told = scored.skills(RECORDS).set_index("model")
    assert told.loc["a", "reading"] == "100% to 0%" and told.loc["a", "verdict"] == "worse"
    assert told.loc["b", "verdict"] == stats.verdict(1.0, 0.0)
    cost = scored.answering(RECORDS).set_index(["model", "arm"])
    line = cost.loc[("a", "adapter + retrieval")]
    assert line["seconds for 1,000"] == pytest.approx(100) and line["questions a second"] == pytest.approx(10)
    assert line["one question alone (s)"] == pytest.approx(0.3) and line["peak memory (GB)"] == 3.0
    assert "price of 1,000" not in scored.priced(cost, None)
    assert scored.priced(cost, 36.0)["price of 1,000"].iloc[0] == pytest.approx(1.0)
    search = [{"model": "a", "tried": [{"memory": {"before": 1e9, "peak": 9e9, "after": 1.5e9}}]}]
    memory = scored.freed(search, RECORDS).set_index("model")
    assert memory.loc["a", "training, peak"] == 9.0 and memory.loc["a", "not given back"] == 0.5
    assert memory.loc["a", "processes"] == 6 and memory.loc["b", "not given back"] == 0.0
    trained = scored.trainings(RECORDS).set_index("model").loc["a"]
    assert trained["minutes"] == 1.0 and trained["peak memory (GB)"] == 3.0 and trained["learning rate"] == 1e-3


def test_what_is_stored_can_be_written_as_json_and_says_who_failed(make_lab):
    compared = Compared(make_lab())
    tried = [
        {"rate": r, "validation_loss": v, "final_loss": 1.0, "memory": RECORDS[0]["memory"][0]}
        for r, v in ((1, None), (2, 0.5))
    ]

    class Stored:
        def __init__(self, data: dict) -> None:
            self.data = data

    compared.searches = {name: Stored({"model": name, "tried": tried}) for name in "ab"}  # type: ignore[misc]
    compared.runs = {name: [Stored(r) for r in RECORDS if r["model"] == name] for name in "ab"}  # type: ignore[misc]
    compared.failed = {"c": "c broke."}
    found = json.loads(json.dumps(scored.summary(compared, MANY), allow_nan=False, default=lambda value: value.item()))
    assert found["models"] == ["a", "b"] and found["failed"] == [{"model": "c", "reason": "c broke."}]
    assert found["search"][0]["validation loss"] is None and found["questions"] == 30
    assert {line["facts"] for line in found["guess"]} == {"visible", "held out"}


def test_figures_say_their_units_and_origin_and_describe_themselves():
    found = scored.outcomes(RECORDS, MANY)
    offers = scored.scores(scored.of_first_seeds(found)).query("group == 'all but held-out'")
    offers = offers.merge(scored.answering(RECORDS), on=["model", "arm"])
    search = scored.searched(
        [
            {
                "model": "a",
                "tried": [{"rate": r, "validation_loss": v, "final_loss": 1} for r, v in ((1e-3, 0.5), (2e-3, 0.4))],
            }
        ]
    )
    panels = {"seconds for 1,000": "1,000 questions (s)", "peak memory (GB)": "memory (GB)"}
    drawn = [
        figures_models.rate_search(search, "prebuilt; profile mini"),
        figures_models.seed_dots(scored.spread(found, MANY[:30]), "prebuilt; profile mini"),
        figures_models.trade_offs(offers, panels, "prebuilt; profile mini"),
    ]
    for figure in drawn:
        assert "prebuilt; profile mini" in figure.get_supxlabel() and len(alt_text.describe(figure)) > 80
    told = alt_text.describe(drawn[2])
    assert "1,000 questions (s)" in told and "a: " in told and "_" not in told
    assert [ax.get_xlabel() for ax in drawn[2].axes] == list(panels.values())
    assert drawn[0].axes[0].get_ylabel().endswith("(nats a token)")


# ----------------------------------------------------------------------------------------------------- the exercise


OFFERS = pd.DataFrame({"name": ["x", "y", "z"], "low": [0.4, 0.6, 0.7], "seconds for 1,000": [1.0, 3.0, 9.0]})


@pytest.mark.parametrize(
    ("choice", "bar", "state", "words"),
    [
        ("y", 0.5, "passed", "1 others are good enough"),
        ("z", 0.5, "not yet", "another that does is faster"),
        ("x", 0.5, "not yet", "its interval begins at 40%"),
        ("none", 0.5, "not yet", "2 of 3 lines begin above 50%"),
        ("", 0.5, "not yet", "'' is no line"),
        (["y"], 0.5, "not yet", ""),
        ("none", 0.9, "passed", "none can be promised"),
    ],
)
def test_the_cheapest_offer_is_the_fastest_of_those_that_can_be_promised(choice, bar, state, words):
    reply = exercises.cheapest_good_enough(choice, OFFERS, bar)
    assert reply.state == state and words in reply.words and "\n" not in reply.words
