"""Evaluation runs against a real server: sampled, resumed, scored, kept as baselines, gated with exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT, clean_environ

import config
from adaptlab import eval_runs, gate, serving
from adaptlab.artifacts import Lab
from adaptlab.benchmark import load_questions
from adaptlab.eval_runs import EvalRun
from adaptlab.stats import mcnemar_exact, wilson
from config import LabError

QUESTIONS = load_questions(ROOT / "00Setup" / "benchmark.jsonl")
KEY = "made-up-key-of-a-test"


def shipped(folder: Path, **more: str) -> dict[str, str]:
    """The shipped document and benchmark, with outputs in a temporary folder."""
    return {"LAB_PROFILE": "mini", "LAB_MODE": "auto", "LAB_OUTPUTS": str(folder / "outputs"), **more}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "adaptlab", "eval", *arguments]


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = clean_environ(os.environ, shipped(folder, **more))
    return subprocess.run(command(*arguments), cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def url() -> str:
    """A real server with the miniature student, behind a key."""
    before = os.environ.get(serving.KEY_VARIABLE)
    os.environ[serving.KEY_VARIABLE] = KEY
    try:
        with serving.running(models=["mini-granite"]) as address:
            yield address
    finally:
        os.environ.pop(serving.KEY_VARIABLE) if before is None else os.environ.update({serving.KEY_VARIABLE: before})


# ------------------------------------------------------------------------------------------------------ sample


def test_a_sample_is_stratified_by_category_and_the_same_for_the_same_seed():
    drawn = eval_runs.stratified(QUESTIONS, 50, seed=3)
    assert len(drawn) == 50 and drawn == eval_runs.stratified(QUESTIONS, 50, seed=3)
    assert drawn == [question for question in QUESTIONS if question in drawn]
    assert drawn != eval_runs.stratified(QUESTIONS, 50, seed=4)
    whole, part = (Counter(question.category for question in items) for items in (QUESTIONS, drawn))
    assert set(part) == set(whole)
    assert all(abs(part[name] - 50 * count / len(QUESTIONS)) < 1 or part[name] == 1 for name, count in whole.items())
    assert set(Counter(q.category for q in eval_runs.stratified(QUESTIONS, 6, 0)).values()) == {1}
    assert eval_runs.stratified(QUESTIONS, None, 0) == QUESTIONS
    with pytest.raises(LabError, match="--sample is 0"):
        eval_runs.stratified(QUESTIONS, 0, 0)


# ---------------------------------------------------------------------------------------------- a real endpoint


def test_a_run_asks_the_endpoint_with_the_key_of_the_environment_and_never_stores_it(url, tmp_path):
    out = tmp_path / "run.json"
    asked = ["run", "--endpoint", url, "--sample", "12", "--context", "none", "--out", str(out), "--json"]
    refused = run(tmp_path, *asked, "--model", "mini-granite")
    assert refused.returncode == 2 and "LAB_ENDPOINT_KEY" in refused.stderr and refused.stderr.count("\n") == 1
    assert not out.exists()
    done = run(tmp_path, *asked, LAB_ENDPOINT_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "mini-granite"
    found = eval_runs.load(out)
    texts = {item.question_id: item.text for item in found.generations}
    known = {question.id: question for question in QUESTIONS}
    assert [s.strict for s in found.scores] == [eval_runs.strict(known[i], t) for i, t in texts.items()]
    assert len(found.scores) == 12 and all(score.seconds > 0 for score in found.scores)
    assert KEY not in out.read_text("utf-8") + done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_killed_run_goes_on_where_it_stopped(url, tmp_path):
    out = tmp_path / "run.json"
    asked = command("run", "--endpoint", url, "--sample", "90", "--context", "retrieved", "--out", str(out))
    env = clean_environ(os.environ, shipped(tmp_path, LAB_ENDPOINT_KEY=KEY))
    with subprocess.Popen(asked, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 240
        while not (kept := list(tmp_path.glob(".run.json.*"))) or kept[0].read_bytes().count(b"\n") < 3:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        process.kill()
    early = [json.loads(line) for line in kept[0].read_text("utf-8").splitlines()[:3]]
    assert not out.exists()
    again = run(tmp_path, *asked[4:], LAB_ENDPOINT_KEY=KEY)
    assert again.returncode == 0, again.stderr
    found = {item.question_id: item for item in eval_runs.load(out).generations}
    assert len(found) == 90 and not kept[0].exists()
    assert [found[item["question_id"]].seconds for item in early] == [item["seconds"] for item in early]


@pytest.mark.parametrize(
    ("endpoint", "what"),
    [
        ("localhost:8000", "is no URL"),
        ("http://me:secret@127.0.0.1/v1", "give the bare URL, and the key in LAB_ENDPOINT_KEY"),
        ("http://127.0.0.1:9/v1", "does not list its models (APIConnectionError): name one with --model"),
    ],
)
def test_a_wrong_endpoint_is_one_sentence_and_exit_code_2(tmp_path, endpoint, what):
    done = run(tmp_path, "run", "--endpoint", endpoint, "--out", str(tmp_path / "run.json"))
    assert done.returncode == 2 and what in done.stderr and done.stderr.count("\n") == 1
    assert "secret" not in done.stderr and list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------- baselines and reports


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> EvalRun:
    """The baseline of the prebuilt answers with retrieval."""
    lab = Lab(config.settings(shipped(tmp_path_factory.mktemp("baseline"))))
    return eval_runs.baseline_of(lab, "eval_with_context")


def changed(run: EvalRun, lose: int = 0, gain: int = 0, **more: object) -> EvalRun:
    """The run with some verdicts turned over."""
    right = [score.question_id for score in run.scores if score.strict][:lose]
    wrong = [score.question_id for score in run.scores if not score.strict][:gain]
    scores = [
        score.model_copy(update={"strict": not score.strict}) if score.question_id in right + wrong else score
        for score in run.scores
    ]
    return run.model_copy(update={"scores": scores, "kind": "run", "timing": "whole requests", **more})


def test_a_baseline_holds_verdicts_and_provenance_but_no_answers(baseline, tmp_path):
    stored = json.loads((ROOT / "prebuilt/mini/the-sea-that-left/eval_with_context.json").read_text("utf-8"))
    assert len(baseline.scores) == len(stored) and baseline.generations == []
    assert baseline.origin.startswith("prebuilt") and baseline.source_sha256 and baseline.context == "retrieved"
    path = tmp_path / "run.json"
    path.write_text(changed(baseline).model_dump_json(), "utf-8")
    done = run(tmp_path, "baseline", str(path), "--out", str(tmp_path / "baseline.json"))
    kept = eval_runs.load(tmp_path / "baseline.json")
    assert done.returncode == 0 and kept.kind == "baseline" and kept.scores == baseline.scores


def test_a_report_has_wilson_intervals_and_escapes_names(baseline):
    evil = baseline.model_copy(update={"name": "<script>|`x`"})
    rows = eval_runs.report_rows([evil])
    right = sum(score.strict for score in baseline.scores)
    expected = wilson(right, len(baseline.scores))
    assert (rows[0]["right"], rows[0]["low"], rows[0]["high"]) == (right, expected.low, expected.high)
    assert sum(row["n"] for row in rows[1:]) == rows[0]["n"]
    table = eval_runs.markdown(rows)
    assert "<script" not in table and "&lt;script&gt;\\|'x'" in table
    assert f"{expected.low:.0%} to {expected.high:.0%}" in table


# ---------------------------------------------------------------------------------------------------- the gate


def test_the_gate_compares_question_by_question(baseline):
    same = gate.against_baseline(changed(baseline), baseline)
    assert same.outcome == "pass" and same.said.startswith("no detectable difference")
    worse = gate.against_baseline(changed(baseline, lose=20, gain=3), baseline)
    assert worse.outcome == "fail" and worse.said.startswith("worse") and "3 gained, 20 lost" in worse.said
    assert f"p = {mcnemar_exact(3, 20):.3g}" in worse.said
    better = gate.against_baseline(changed(baseline, gain=12), baseline)
    assert better.outcome == "pass" and better.said.startswith("better")
    balanced = gate.against_baseline(changed(baseline, lose=10, gain=10), baseline)
    assert balanced.outcome == "pass"


def test_what_cannot_be_compared_is_never_passed(baseline):
    few = changed(baseline, scores=baseline.scores[:6])
    assert gate.against_baseline(few, baseline).outcome == "cannot be judged"
    other = [score.model_copy(update={"question": "another gold"}) for score in baseline.scores]
    assert gate.against_baseline(changed(baseline, scores=other), baseline).outcome == "cannot be judged"
    assert gate.against_baseline(changed(baseline, scorer="0"), baseline).outcome == "cannot be judged"
    assert gate.against_baseline(changed(baseline, context="none"), baseline).outcome == "cannot be judged"
    dull = [score.model_copy(update={"valid": at % 2 == 0}) for at, score in enumerate(baseline.scores)]
    [_, validity] = gate.gate(changed(baseline, scores=dull), baseline, gate.Targets(min_validity=0.95))
    assert (validity.name, validity.outcome) == ("validity", "fail") and "target 95.0%" in validity.said
    untimed = changed(baseline, timing="shares of batches")
    checks = gate.gate(untimed, baseline, gate.Targets(max_latency=1000))
    assert [check.outcome for check in checks] == ["pass", "cannot be judged"]


def test_targets_pass_or_fail_with_their_exit_codes(baseline, tmp_path):
    for name, made in (("base", baseline), ("same", changed(baseline)), ("worse", changed(baseline, lose=30))):
        (tmp_path / f"{name}.json").write_text(made.model_dump_json(), "utf-8")
    few = changed(baseline, scores=baseline.scores[:5])
    (tmp_path / "few.json").write_text(few.model_dump_json(), "utf-8")

    def judged(name: str, *targets: str) -> tuple[int, dict[str, str]]:
        done = run(tmp_path, "gate", str(tmp_path / f"{name}.json"), "--baseline", str(tmp_path / "base.json"),
                   "--json", *targets)  # fmt: skip
        assert done.stderr == ""
        told = json.loads(done.stdout)
        return done.returncode, {check["name"]: check["outcome"] for check in told["checks"]}

    code, checks = judged("same", "--min-accuracy", "0.01", "--min-validity", "0.01", "--max-latency", "1000")
    assert code == 0 and set(checks.values()) == {"pass"} and len(checks) == 4
    code, checks = judged("same", "--min-accuracy", "0.999", "--max-latency", "0.000001")
    assert code == 1 and (checks["accuracy"], checks["latency"]) == ("fail", "fail")
    assert judged("worse")[0] == 1
    assert judged("few") == (2, {"not worse than the baseline": "cannot be judged"})
    out_of_range = run(tmp_path, "gate", str(tmp_path / "same.json"), "--baseline", str(tmp_path / "base.json"),
                       "--min-accuracy", "60")  # fmt: skip
    assert out_of_range.returncode == 2 and "--min-accuracy is 60: give a share from 0 to 1" in out_of_range.stderr


def test_a_file_that_is_no_run_is_one_sentence(tmp_path):
    path = tmp_path / "notes.json"
    path.write_text('{"format": "adaptlab-eval-1", "kind": "run"}', "utf-8")
    done = run(tmp_path, "report", str(path))
    assert done.returncode == 2 and "notes.json is no file of adaptlab eval (field name" in done.stderr
    gone = run(tmp_path, "report", str(tmp_path / "gone.json"))
    assert gone.returncode == 2 and "gone.json does not exist" in gone.stderr and gone.stderr.count("\n") == 1
