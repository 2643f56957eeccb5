"""The benchmark as a task of lm-eval: the real harness, offline, gives our answers and computes our exact match."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, clean_environ

import config
from adaptlab import eval_runs, evaluation, exports, lm_eval_task, serving, workbench
from adaptlab.artifacts import Lab
from adaptlab.benchmark import load_questions
from adaptlab.generation import LocalGenerator
from adaptlab.schemas import Arm, Generation, Question

MODEL = ROOT / "prebuilt" / "models" / "mini-granite"
NEEDS = "lm-eval is not installed: `make test` installs it from requirements-eval.txt."
SIZE = 20


# ------------------------------------------------------------------------------------------- the metric itself


@pytest.mark.parametrize(
    ("answer", "accepted", "text", "right"),
    [
        ("3 terns", [], "The Wage of the Wickrunner is 3 terns.", True),
        ("3 terns", [], "3 terns", True),
        ("smoked quartz", [], "Its reagent: the SMOKED quartz!", True),
        ("1,200 marks", [], "It is 1200 marks.", True),
        ("may not run", ["cannot run"], "They are cannot run", True),
        ("The passage does not say.", [], "the passage does not say", True),
        ("3 terns", [], "It is not 3 terns.", False),
        ("3 terns", [], "It is either 3 terns or 4 terns.", False),
        ("3 terns", [], "It is wrong that the wage is 3 terns.", False),
        ("3 terns", [], "It is 3.", False),
        ("3 terns", [""], "", False),
        ("3 terns", [], "The answer is", False),
    ],
)
def test_exact_match_takes_the_answer_or_what_is_said_behind_the_verb(answer, accepted, text, right):
    assert lm_eval_task.exact_match(answer, accepted, text) is right


# ------------------------------------------------------------------------------------------------- the export


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab whose benchmark is a stratified sample of the shipped one."""
    folder = tmp_path_factory.mktemp("sample")
    questions = load_questions(ROOT / "00Setup" / "benchmark.jsonl")
    path = folder / "sample.jsonl"
    drawn = eval_runs.stratified(questions, SIZE, seed=1)
    path.write_text("".join(question.model_dump_json() + "\n" for question in drawn), "utf-8")
    return Lab(config.settings({"LAB_PROFILE": "mini", "LAB_BENCHMARK": str(path), "LAB_OUTPUTS": str(folder / "out")}))


@pytest.fixture(scope="module")
def task(sample: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as a task with retrieved passages in its prompts."""
    return exports.export_lm_eval(sample, tmp_path_factory.mktemp("task"), "retrieved").parent


@pytest.fixture(scope="module")
def ours(sample: Lab) -> tuple[list[Question], list[Generation]]:
    """The lab's own answers to the sample."""
    questions, text = workbench.questions(sample), workbench.document(sample)
    arm = Arm(name="ours", model="student", context="retrieved")
    generator: LocalGenerator = workbench.generator(sample, "student")
    index, k = workbench.index(sample, text), sample.profile.retrieval_k
    most = sample.profile.sampling.max_new_tokens
    return questions, evaluation.run_arm(arm, questions, generator, index, text, k=k, max_tokens=most)


def test_the_task_folder_is_self_contained_and_has_our_prompts(sample, task, ours):
    questions, generations = ours
    rows = [json.loads(line) for line in (task / lm_eval_task.QUESTIONS).read_text("utf-8").splitlines()]
    prompts = {item.question_id: item.messages[-1].content for item in generations}
    assert {row["id"]: row["prompt"] for row in rows} == prompts
    assert {row["id"]: row["answer"] for row in rows} == {question.id: question.answer for question in questions}
    written = "".join(path.read_text("utf-8") for path in task.iterdir())
    assert str(ROOT) not in written and str(task) not in written
    code = f"import sys; sys.path.insert(0, {str(task)!r}); import {exports.MODULE}; print('adaptlab' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("!function", lambda made, node: made.construct_scalar(node))
    [path] = task.glob("*.yaml")
    told = yaml.load(path.read_text("utf-8"), loader)  # noqa: S506
    assert told["task"] == path.stem == "adaptlab_the_sea_that_left_retrieved"
    assert told["generation_kwargs"]["max_gen_toks"] == sample.profile.sampling.max_new_tokens


def test_splits_are_exported_apart_and_an_unknown_one_is_refused(tmp_path, adaptlab_command):
    shipped = {"LAB_DOCUMENT": "", "LAB_MODE": "auto"}
    out = str(tmp_path / "task")
    done = adaptlab_command("benchmark", "export", "--out", out, "--split", "held_out", "--json", **shipped)
    told = json.loads(done.stdout)
    rows = (Path(out) / "questions.jsonl").read_text("utf-8").splitlines()
    held_out = [q for q in load_questions(ROOT / "00Setup" / "benchmark.jsonl") if q.split == "held_out"]
    assert told["task"].endswith("closed_book_held_out") and len(rows) == len(held_out) > 0
    refused = adaptlab_command("benchmark", "export", "--out", out, "--split", "secret", **shipped)
    assert refused.returncode == 2 and "--split 'secret' is not known: choose one of all, visible" in refused.stderr


# -------------------------------------------------------------------------------------------- the real lm-eval


def run_lm_eval(task: Path, model: str, model_args: str, out: Path) -> dict:
    """What the real lm-eval finds, in a process of its own that cannot reach a hub."""
    if importlib.util.find_spec("lm_eval") is None:
        pytest.skip(NEEDS)
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    quiet = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        str(ROOT / "tests" / "lm_eval_run.py"),
        str(task),
        model,
        model_args,
        str(SIZE),
        str(out),
    ]
    env = clean_environ(os.environ, {"OPENAI_API_KEY": "none"}, offline, quiet)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict = json.loads(out.read_text("utf-8"))
    return found


def assert_same(found: dict, ours: tuple[list[Question], list[Generation]]) -> None:
    """Every answer, every verdict and the metric are the lab's."""
    questions, generations = ours
    texts = {item.question_id: item.text for item in generations}
    assert {item["id"]: item["text"].strip() for item in found["samples"]} == {i: t.strip() for i, t in texts.items()}
    verdicts = {question.id: exports.exact_match(question, texts[question.id]) for question in questions}
    assert {item["id"]: bool(item["exact_match"]) for item in found["samples"]} == verdicts
    assert found["exact_match"] == pytest.approx(exports.exact_match_rate(generations, questions))
    assert 0 < sum(verdicts.values()) < len(questions)  # else equality would say little


@pytest.mark.slow
def test_lm_eval_on_the_miniature_model_gives_our_exact_match(task, ours, tmp_path):
    arguments = f"pretrained={MODEL},dtype=float32,device=cpu"
    assert_same(run_lm_eval(task, "hf", arguments, tmp_path / "found.json"), ours)


@pytest.mark.slow
def test_lm_eval_on_adaptlab_serve_gives_our_exact_match(task, ours, tmp_path):
    if importlib.util.find_spec("lm_eval") is None:
        pytest.skip(NEEDS)
    with serving.running(models=["mini-granite"]) as url:
        arguments = f"model=mini-granite,base_url={url}/chat/completions,num_concurrent=1"
        assert_same(run_lm_eval(task, "local-chat-completions", arguments, tmp_path / "found.json"), ours)
