"""`adaptlab sdg`: a run from the command line, how far it is, stopping it, and going on."""

from __future__ import annotations

import csv
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, clean_environ
from fault_helpers import free_port, teaching, until
from synthesis_helpers import FastServer, passages, scripted, truth

from adaptlab import cli, prompts
from adaptlab.scoring import is_refusal

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lab_environ(lab_environ: dict[str, str], document: Path) -> dict[str, str]:
    """The lab with a document of ten short sections."""
    known = [(row.title.partition("> ")[2], row.document) for row in passages(10).itertuples()]
    sections = [f"## {name}\n\n{'Nobody knows why it was built. ' * 22}\n\n{text}\n\n" for name, text in known]
    document.write_text("# Atlas\n\n" + "".join(sections), "utf-8")
    return lab_environ


@pytest.fixture
def sdg(lab_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`sdg("run", "--json")`: the command line in this process; exit code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        for name, value in lab_environ.items():
            monkeypatch.setenv(name, value)
        code = cli.main(["sdg", *arguments])
        return code, *capsys.readouterr()

    return call


def answer(prompt: str, request: dict) -> str:
    return "Yes." if prompt == "Are you there?" else scripted(prompt, request)


def test_a_run_writes_its_rows_says_what_became_of_each_document_and_is_not_asked_twice(
    sdg: Command, tmp_path: Path
) -> None:
    with FastServer(answer) as server:
        options = ["--endpoint", server.url, "--model", "teacher", "--flow", "question_answer_rows"]
        options += ["--passes", "2", "--out", str(tmp_path / "out"), "--json"]
        code, before, errors = sdg("status", *options)
        assert (code, errors) == (1, "") and server.calls == 0 and json.loads(before)["open"] == 20
        code, output, errors = sdg("run", *options)
        assert (code, errors) == (0, "")
        told = json.loads(output)
        assert told["documents"] == told["ok"] == told["asked"] == 20
        assert sdg("status", *options)[0] == 0
        calls = server.calls
        again = json.loads(sdg("run", *options)[1])
        assert server.calls == calls + 1 and again["asked"] == 0 and again["kept from before"] == told["documents"]
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == told["rows"] and len({row["row_id"] for row in rows}) == len(rows)
    assert all(row["answer"] == truth(row["question"]) for row in rows)


def test_rows_of_a_run_can_be_paraphrased(sdg: Command, tmp_path: Path) -> None:
    with FastServer(answer) as server:
        options = ["--endpoint", server.url, "--model", "teacher", "--limit", "1", "--json"]
        first, second = tmp_path / "first", tmp_path / "second"
        code, _, errors = sdg("run", "--flow", "question_answer_rows", "--out", str(first), *options)
        assert (code, errors) == (0, "")
        more = ["--flow", "paraphrases", "--rows", str(first / "rows.jsonl"), "--out", str(second)]
        code, _, errors = sdg("run", *more, *options)
        assert (code, errors) == (0, "")
        code, _, errors = sdg("run", "--flow", "paraphrases", *options)
    assert code == 2 and "--rows" in errors
    rows = [json.loads(line) for line in (second / "rows.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 3 and len({row["question"] for row in rows}) == 3


def test_rows_of_a_run_are_checked_counted_and_exported(sdg: Command, document: Path, tmp_path: Path) -> None:
    def careless(prompt: str, request: dict) -> str:
        if prompt.startswith(prompts.READING_INSTRUCTION):  # the second reading
            asked = prompt.splitlines()[-1]
            return "The passage does not say." if "tower of Place 5" in asked else truth(asked)
        said = answer(prompt, request)
        return said.replace("has 6 gates", "has 99 gates") if "Place 3" in prompt else said

    with FastServer(careless) as server:
        asked = ["--endpoint", server.url, "--model", "teacher", "--flow", "question_answer_rows"]
        code, output, errors = sdg("run", *asked, "--out", str(tmp_path / "run"))
        rows, out = tmp_path / "run" / "rows.jsonl", tmp_path / "out"
        assert (code, errors) == (0, "") and f"adaptlab sdg export --rows {rows}" in output
        export = ["export", "--rows", str(rows), "--document", str(document), "--flow", "question_answer_rows"]
        code, output, _ = sdg(*export, "--out", str(tmp_path / "again"), "--again", "--formats", "messages")
    assert code == 0 and "20 rows were generated: 1 unfaithful, 1 unanswerable, 18 kept." in output
    shares = ["--replay", "1", "--refusals", "0.5"]
    code, output, errors = sdg(*export, "--out", str(out), "--split", "--balance", "over", *shares)
    assert (code, errors) == (0, "")
    assert "20 rows were generated: 1 unfaithful, 19 kept." in output
    [rejected] = csv.DictReader((out / "rejected_rows.csv").read_text("utf-8").splitlines())
    assert (rejected["outcome"], rejected["reason"]) == ("unfaithful", "value: value not in the passage")
    assert rejected["answer"] == "Place 3 has 99 gates."
    pairs = list(csv.DictReader((out / "synthetic_qa_pairs.csv").read_text("utf-8").splitlines()))
    assert len(pairs) == 19 and all(row["answer"] == truth(row["question"]) for row in pairs)
    card = (out / "README.md").read_text("utf-8")
    assert hashlib.sha256(rows.read_bytes()).hexdigest() in card and "unfaithful" in card
    assert "licence of the document | not stated" in card
    lines = [line for path in out.glob("training_data.*.jsonl") for line in path.read_text("utf-8").splitlines()]
    training = {row["id"]: row["completion"][0]["content"] for row in map(json.loads, lines)}
    single = {name: said for name, said in training.items() if "-copy" not in name}
    assert len(training) > len(single) == 19 + 19 + 9  # rows of the run, their shares of general skills and refusals
    assert sum(is_refusal(said) for said in single.values()) == 9
    assert cli.main(["verify", "data", *map(str, [*out.glob("*.jsonl"), *out.glob("data/*.parquet")])]) == 0
    rows.write_text('{"question": "Why?", "answer": "So."}\n', "utf-8")
    code, output, errors = sdg(*export, "--out", str(tmp_path / "none"))
    assert code == 2 and "rows.jsonl has no field row_id, chunk_id" in errors and errors.count("\n") == 1
    code, _, errors = sdg("export", "--out", str(tmp_path / "none"), "--again")
    assert code == 2 and "--again belongs to --rows" in errors and not (tmp_path / "none").exists()
    assert sdg("export", "--out", str(tmp_path / "none"), "--refusals", "0.1")[0] == 2


def test_ctrl_c_keeps_what_was_finished_and_the_next_run_asks_only_for_the_rest(
    sdg: Command, lab_environ: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ["--model", "teacher", "--flow", "question_answer_rows", "--out", str(out), "--passes", "4"]
    with FastServer(answer, latency=0.25) as server:
        options += ["--endpoint", server.url, "--concurrency", "2"]
        command = [sys.executable, "-m", "adaptlab", "sdg", "run", *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        child = subprocess.Popen(command, cwd=ROOT, env=clean_environ(lab_environ), **pipes)
        until(lambda: len(list(out.glob("documents/*.json"))) >= 3, child)
        child.send_signal(signal.SIGINT)
        output, errors = child.communicate(timeout=60)
        assert (child.returncode, output) == (130, "") and "Traceback" not in errors
        assert "Ctrl-C again ends at once" in errors and "goes on from there" in errors
        finished = len(list(out.glob("documents/*.json")))
        assert server.calls == finished + 1  # the knock; no call in flight was lost
        left = json.loads(sdg("status", "--json", *options)[1])
        assert (left["ok"], left["error"]) == (finished, 0) and left["open"] == left["documents"] - finished > 0
        server.latency = 0.0
        assert sdg("run", *options)[0] == 0
        assert server.calls == left["documents"] + 2
    assert not list(out.rglob("*.part")) and not list(out.rglob("*.tmp"))


def test_a_second_ctrl_c_ends_at_once(lab_environ: dict[str, str], tmp_path: Path) -> None:
    with FastServer(answer, latency=0.0) as server:
        options = ["--endpoint", server.url, "--model", "teacher", "--flow", "question_answer_rows"]
        command = [sys.executable, "-m", "adaptlab", "sdg", "run", *options, "--out", str(tmp_path / "out")]
        server.answer = lambda prompt, request: (
            "Yes." if prompt == "Are you there?" else server.stopped.wait(100) and "" or ""
        )
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        child = subprocess.Popen(command, cwd=ROOT, env=clean_environ(lab_environ), **pipes)
        until(lambda: server.calls >= 3, child)
        child.send_signal(signal.SIGINT)
        assert "Ctrl-C again" in child.stderr.readline() + child.stderr.readline()
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130 and time.monotonic() - began < 10


def test_an_error_is_exit_code_1_and_the_next_run_asks_for_it_again(sdg: Command, tmp_path: Path) -> None:
    replies = {"Place 3": 400}

    def faulty(prompt: str, request: dict) -> object:
        return next((code for name, code in replies.items() if name in prompt), None) or answer(prompt, request)

    with teaching(faulty) as server:
        options = ["--endpoint", server.url, "--model", "teacher", "--flow", "question_answer_rows", "--json"]
        options += ["--out", str(tmp_path / "out")]
        code, output, _ = sdg("run", *options)
        told = json.loads(output)
        assert (code, told["error"], told["ok"]) == (1, 1, 9)
        replies.clear()
        again = json.loads(sdg("run", *options)[1])
    assert (again["asked"], again["ok"]) == (1, 10)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--flow", "no_such_flow"], "choose one of knowledge_tuning"),
        (["--document", "nowhere.md"], "nowhere.md"),
        (["--part", "Part Ninety"], "'Part Ninety'"),
        (["--endpoint", "localhost:1"], "LAB_ENDPOINT_URL is 'localhost:1'"),
        (["--profile", "l4"], "name --endpoint and --model"),
    ],
)
def test_a_wrong_option_is_one_sentence(sdg: Command, options: list[str], sentence: str) -> None:
    code, output, errors = sdg("run", *options)
    assert (code, output) == (2, "") and sentence in errors and errors.count("\n") == 1


def test_an_endpoint_that_is_down_from_the_start_is_left_out(sdg: Command, tmp_path: Path) -> None:
    with FastServer(answer) as server:
        options = ["--endpoint", f"http://127.0.0.1:{free_port()}/v1", "--endpoint", server.url, "--model", "teacher"]
        options += ["--flow", "question_answer_rows", "--limit", "3", "--out", str(tmp_path / "out"), "--json"]
        code, output, _ = sdg("run", *options)
    assert code == 0 and json.loads(output)["ok"] == 3 and server.calls == 4
