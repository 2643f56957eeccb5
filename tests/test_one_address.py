"""Every client of the lab against the lab's own server: it changes its address and nothing else, not even an answer.

lm-eval, the fourth client, does the same in `test_lm_eval.py`, and its_hub in `test_product.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import config
from adaptlab import eval_runs, models, serving, synthesis, workbench
from adaptlab.artifacts import Lab
from adaptlab.benchmark import load_questions
from adaptlab.schemas import Arm, Generation, Question
from config import ROOT

MODEL = "mini-teacher"
if models.missing_files(config.MODELS[MODEL]):
    pytest.skip("the miniature's weights are not here yet", allow_module_level=True)
BEST_OF_N = Arm(name="sampled", model="teacher", n=3, temperature=0.8)
SIZE = 3  # questions
READING = Arm(name="reading", model="teacher", context="retrieved")
Labs = Callable[..., Lab]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The lab's own server with the teacher, the one that a notebook borrows for synthesis."""
    with serving.lent([MODEL]) as address:
        yield address


@pytest.fixture
def lab_at(tmp_path: Path) -> Labs:
    """`lab_at(url)`: the shipped document, asked through an address; `lab_at()`: with the models of this machine."""

    def make(*urls: str) -> Lab:
        own = {"LAB_PROFILE": "mini", "LAB_MODE": "live", "LAB_OUTPUTS": str(tmp_path / f"outputs-{len(urls)}")}
        there = {"LAB_ENDPOINT_URL": " ".join(urls), "LAB_TEACHER_MODEL": MODEL} if urls else {}
        return Lab(config.settings({**own, **there}), say=lambda text: None)

    return make


def sample() -> list[Question]:
    return eval_runs.stratified(load_questions(ROOT / "00Setup" / "benchmark.jsonl"), SIZE, seed=2)


def asked(lab: Lab, arm: Arm) -> list[Generation]:
    """What an arm answers to a few questions."""
    text = workbench.document(lab)
    index = workbench.index(lab, text) if arm.context == "retrieved" else None
    run = lambda progress: workbench.ask(lab, arm, sample(), progress, index, text)  # noqa: E731
    return workbench.generations(lab.step("eval_results", run, models=("teacher",)))


@pytest.mark.parametrize("arm", [BEST_OF_N, READING], ids=lambda arm: arm.name)
def test_best_of_n_and_evaluation_get_the_same_answers_here_behind_an_address_and_behind_two(arm, url, lab_at) -> None:
    replica = url.replace("127.0.0.1", "localhost")
    here, there, shared = (asked(lab_at(*urls), arm) for urls in ((), (url,), (url, replica)))
    assert [item.text for item in there] == [item.text for item in here] == [item.text for item in shared]
    assert len(here) == SIZE * arm.n and {item.status for item in there} == {"ok"}
    assert [item.messages for item in there] == [item.messages for item in here]


def test_eval_run_scores_what_the_arm_answers(url, lab_at, tmp_path) -> None:
    run = eval_runs.run_endpoint(lab_at(), url, tmp_path / "run.json", model=MODEL, size=SIZE, seed=2)
    here = asked(lab_at(), READING)
    assert [item.text for item in run.generations] == [item.text for item in here]


def test_synthesis_writes_the_same_rows_here_and_behind_an_address(url, lab_at, tmp_path) -> None:
    def rows(lab: Lab, out: Path) -> list[dict]:
        text, flow = workbench.document(lab), synthesis.find_flow(lab.profile.flow)
        passages = synthesis.flow_seeds(synthesis.seed_rows(text, workbench.part(lab, text)[1:2]), flow)
        with workbench.teacher_endpoint(lab) as teacher:
            made = synthesis.generate(flow, passages, **teacher, seeds=(7,), max_tokens=80, out_dir=out)
        return made.rows.drop(columns="model").to_dict("records")  # which LiteLLM spells by the kind of address

    here, there = (rows(lab_at(*urls), tmp_path / f"rows-{len(urls)}") for urls in ((), (url,)))
    assert here == there and here
