"""The driver under kills, faults, dying endpoints and many documents: nothing vanishes, nothing is asked twice."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from fault_helpers import teaching
from synthesis_helpers import FastServer, Shaky, digest, passages, scripted, truth

from adaptlab import replicas, synthesis
from config import ROOT, LabError, settings

KILLS = 20
DOCUMENTS = 24
WORKERS = 4


def run(flow: str, urls: str | list[str], out: Path, frame: pd.DataFrame, **changes):
    fixed = {"model": "hosted_vllm/teacher", "num_retries": 0, "timeout": 20.0, "max_concurrency": WORKERS}
    seeds = synthesis.flow_seeds(frame, synthesis.find_flow(flow))
    return synthesis.generate(flow, seeds, api_base=urls, out_dir=out, **{**fixed, **changes})


# Imports once, then forks a child for every run, so that each of them is a process of its own that can be killed.
VICTIMS = """
import os, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests"]
from synthesis_helpers import passages
from adaptlab import synthesis
from adaptlab.synthesis import flows
flows.sdg_hub()
for line in sys.stdin:
    url, out, count, workers = line.split()
    child = os.fork()
    if child == 0:
        synthesis.generate("question_answer_rows", passages(int(count)), model="hosted_vllm/teacher", api_base=url,
                           out_dir=out, num_retries=0, max_concurrency=int(workers))
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


def settle(calls: Counter[str], quiet: float = 0.1) -> None:
    """Return once no call has been counted for `quiet` seconds."""
    last, since = sum(calls.values()), time.monotonic()
    while time.monotonic() - since < quiet:
        time.sleep(quiet / 10)
        if (now := sum(calls.values())) != last:
            last, since = now, time.monotonic()


def test_a_run_that_is_killed_at_any_point_ends_with_the_rows_of_an_undisturbed_one(tmp_path: Path) -> None:
    chance = random.Random(20)
    points = [(chance.randint(1, DOCUMENTS - 1), chance.uniform(0, 0.03)) for _ in range(KILLS)]
    calls: Counter[str] = Counter()
    lock, fatal = threading.Lock(), threading.Event()
    limit = 0

    def answer(prompt: str, request: dict) -> str:
        with lock:
            calls[prompt] += 1
            if sum(calls.values()) == limit:
                fatal.set()
        return scripted(prompt, request)

    with FastServer(answer, latency=0.004) as server:
        whole = digest(run("question_answer_rows", server.url, tmp_path / "whole", passages(DOCUMENTS)).rows)
        command = [sys.executable, "-c", VICTIMS, str(ROOT)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        with subprocess.Popen(command, cwd=ROOT, **pipes) as parent:
            cut_short = 0
            for number, (limit, pause) in enumerate(points):
                calls.clear()
                fatal.clear()
                out = tmp_path / str(number)
                parent.stdin.write(f"{server.url} {out} {DOCUMENTS} {WORKERS}\n")
                child = int(parent.stdout.readline())
                assert fatal.wait(120)
                time.sleep(pause)
                os.kill(child, 9)
                ended = int(parent.stdout.readline())
                cut_short += ended == -9
                settle(calls)  # what the dead process still had in flight reaches the server's count
                finished = len(list(out.glob("*.json")))
                before = sum(calls.values())
                limit = 0
                made = run("question_answer_rows", server.url, out, passages(DOCUMENTS))
                assert digest(made.rows) == whole, f"kill {number} at call {points[number]}"
                assert sum(calls.values()) - before == DOCUMENTS - finished
                assert before - finished <= WORKERS and max(calls.values()) <= 2
                assert sum(made.documents["cached"]) == finished
            parent.stdin.close()
        assert cut_short >= KILLS // 2, "most runs were over before they could be killed: slow the server down"


@pytest.mark.parametrize("flow", ["question_answer_rows", "knowledge_tuning", synthesis.KNOWLEDGE_TUNING])
def test_with_faults_in_a_fifth_of_the_calls_every_document_ends_and_none_is_mispaired(
    flow: str, tmp_path: Path
) -> None:
    server = Shaky(scripted, share=0.2, seed=4)
    try:
        frame = passages(40)
        made = run(flow, server.url, tmp_path, frame)
        statuses = Counter(made.documents["status"])
        assert set(statuses) <= {"ok", "empty", "error"} and sum(statuses.values()) == len(frame)
        assert list(made.documents["chunk_id"]) == list(frame["chunk_id"])
        assert statuses["ok"] and statuses["error"] and len(set(map(str, server.met))) >= 6
        assert all(made.documents[made.documents["status"] == "error"]["error"])
        named = set(made.rows["chunk_id"]) | set(made.documents[made.documents["status"] == "error"]["chunk_id"])
        assert named == set(frame["chunk_id"])
        for _ in range(20):
            if "error" not in set(made.documents["status"]):
                break
            asked = len(server.requests)
            failed = sum(made.documents["status"] == "error")
            made = run(flow, server.url, tmp_path, frame)
            assert sum(~made.documents["cached"].astype(bool)) == failed and len(server.requests) > asked
        assert set(made.documents["status"]) <= {"ok", "empty"} and set(made.rows["chunk_id"]) == set(frame["chunk_id"])
        check_pairs(made.rows)
    finally:
        server.close()


def check_pairs(rows: pd.DataFrame) -> None:
    """Every whole row is about its own passage and has its own question's answer; every other row says what it is."""
    for row in rows.to_dict("records"):
        if row["problem"]:
            continue
        assert row["title"].rpartition("> ")[2] in row["question"]
        cut_short = truth(row["question"]).startswith(row["answer"])  # free text does not show where it was cut
        assert cut_short or row["answer"] == "I cannot help with that."


# --------------------------------------------------------------------------------------------------- many endpoints


def test_several_endpoints_share_the_work(tmp_path: Path) -> None:
    with FastServer(scripted, latency=0.05) as one, FastServer(scripted, latency=0.05) as two:
        made = run("question_answer_rows", f"{one.url}, {two.url}", tmp_path, passages(24), max_concurrency=2)
        assert set(made.documents["status"]) == {"ok"} and one.calls + two.calls == 24
        assert min(one.calls, two.calls) >= 6


def test_an_endpoint_that_dies_on_the_way_loses_no_document(tmp_path: Path) -> None:
    with FastServer(scripted, latency=0.02) as lasting, FastServer(scripted, latency=0.02) as dying:
        frame = passages(30)
        ended = 0

        def watch(done: int, total: int, result: dict) -> None:
            nonlocal ended
            ended = done
            if done == 8:
                dying.close()

        urls = [lasting.url, dying.url]
        made = run("question_answer_rows", urls, tmp_path, frame, max_concurrency=2, on_done=watch)
        assert ended == 30 and set(made.documents["status"]) == {"ok"}
        assert 0 < dying.calls < 15 and lasting.calls >= 15
        assert digest(made.rows) == digest(run("question_answer_rows", lasting.url, tmp_path / "alone", frame).rows)


def test_an_endpoint_that_fails_again_and_again_rests_while_another_works() -> None:
    shared = replicas.Replicas(["bad", "good"], each=4, rest_seconds=60)
    for _ in range(replicas.FAILURES):
        assert shared.take({"good"}) == "bad"
        shared.give_back("bad", answered=False)
    assert [shared.take() for _ in range(4)] == ["good"] * 4
    assert shared.take({"good"}) == "bad"  # for a document that the other one failed on there is no choice
    assert shared.take({"good", "bad"}) is None


def test_what_no_endpoint_can_answer_is_asked_of_one_and_what_one_failed_on_of_each(tmp_path: Path) -> None:
    replies: dict[str, object] = {"Place 0": 400, "Place 1": 500}

    def faulty(prompt: str, request: dict):
        return next((reply for name, reply in replies.items() if name in prompt), None) or scripted(prompt, request)

    with teaching(faulty) as one, teaching(faulty) as two:
        made = run("question_answer_rows", [one.url, two.url], tmp_path, passages(4))
        asked = Counter(next(n for n in ("0", "1", "2", "3") if f"Place {n}" in r["messages"][-1]["content"])
                        for server in (one, two) for r in server.requests)  # fmt: skip
    assert list(made.documents["status"]) == ["error", "error", "ok", "ok"]
    assert asked == {"0": 1, "1": 2, "2": 1, "3": 1}


def test_the_endpoint_variable_takes_a_list() -> None:
    told = settings({"LAB_PROFILE": "mini", "LAB_ENDPOINT_URL": "http://a:1/v1, http://b:2/v1 http://a:1/v1"})
    assert (told.endpoint.url, told.endpoint.more_urls) == ("http://a:1/v1", ("http://b:2/v1",))
    with pytest.raises(LabError, match=r"LAB_ENDPOINT_URL is 'b:2/v1'"):
        settings({"LAB_PROFILE": "mini", "LAB_ENDPOINT_URL": "http://a:1/v1,b:2/v1"})


# ---------------------------------------------------------------------------------------------------- many documents


def test_documents_are_read_as_they_are_needed_and_not_all_at_once(tmp_path: Path) -> None:
    read = 0

    def records():
        nonlocal read
        for record in passages(40).to_dict("records"):
            read += 1
            yield record

    with FastServer(scripted) as server:
        plan = synthesis.plan("question_answer_rows", model="hosted_vllm/t", api_base=server.url, out_dir=tmp_path,
                              max_concurrency=2)  # fmt: skip
        for ended, _ in enumerate(plan.stream(records()), 1):
            assert read <= ended + 2 * 2
    assert read == 40
    assert plan.survey(passages(41).to_dict("records")) == {"ok": 40, "empty": 0, "error": 0, "open": 1, "rows": 80}
    assert sum(1 for _ in plan.rows(passages(40).to_dict("records"))) == 80


def test_memory_does_not_grow_with_the_number_of_documents(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "synthesis.py"), "--only", "memory", "--json"]
    command += ["--documents", "20", "200", "--characters", "200000"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [measured] = json.loads(done.stdout)
    assert 0.8 < measured["ratio"] < 1.1
