"""Generation and evaluation over several endpoints: the work is shared out, and one that dies loses no question."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_helpers import ChatServer, free_port, question, teaching

from adaptlab import eval_runs, sharing, workbench
from adaptlab.endpoint import EndpointGenerator
from adaptlab.schemas import Arm, Question
from config import LabError

ASKED = [Question.model_validate_json(question(number)) for number in range(24)]
ARM = Arm(name="teacher", model="teacher")


def crowns(prompt: str, request: dict) -> str:
    """Three crowns, after a moment in which the next question can go elsewhere."""
    threading.Event().wait(0.02)
    return "3 crowns"


@pytest.fixture
def two() -> Iterator[tuple[ChatServer, ChatServer]]:
    """Two endpoints that answer alike."""
    with teaching(crowns) as one, teaching(crowns) as other:
        yield one, other


def asked_of(make_lab, *urls: str, **more: str) -> list:
    """The answers of one arm, asked through endpoints."""
    lab = make_lab(LAB_ENDPOINT_URL=" ".join(urls), LAB_TEACHER_MODEL="m", LAB_ENDPOINT_CONCURRENCY="2", **more)
    result = lab.step("eval_results", lambda progress: workbench.ask(lab, ARM, ASKED, progress), models=("teacher",))
    return workbench.generations(result)


def prompts(server: ChatServer) -> list[str]:
    return [request["messages"][-1]["content"] for request in server.requests]


def test_an_arm_is_shared_out_and_no_endpoint_gets_more_at_once_than_allowed(make_lab, two) -> None:
    made = asked_of(make_lab, two[0].url, two[1].url)
    assert [item.question_id for item in made] == [item.id for item in ASKED]
    assert {item.status for item in made} == {"ok"} and {item.attempts for item in made} == {1}
    first, second = map(prompts, two)
    assert len(first) + len(second) == 24 == len({*first, *second}) and min(len(first), len(second)) >= 8
    assert [server.peak for server in two] == [2, 2]


def test_an_endpoint_that_is_gone_loses_no_question_and_its_failed_calls_are_counted(two) -> None:
    dead = f"http://127.0.0.1:{free_port()}/v1"
    members = [EndpointGenerator(url, "k", "m", 2, 5, 1, first_pause=0.01) for url in (dead, two[0].url)]
    chats = [[{"role": "user", "content": f"Question {number}"}] for number in range(20)]
    replies = [made for [made] in sharing.SharedGenerator(members).generate(chats)]
    assert {reply.text for reply in replies} == {"3 crowns"}
    assert sorted(prompts(two[0])) == sorted(chat[0]["content"] for chat in chats)
    moved = [reply for reply in replies if reply.faults]
    assert {tuple(reply.faults) for reply in moved} == {("connection lost",) * 2}
    assert {reply.attempts for reply in moved} == {3} and 3 <= len(moved) <= 4  # then it rests


def test_what_no_endpoint_answers_is_asked_of_each_and_ends_the_step_with_one_sentence(make_lab) -> None:
    with teaching(lambda prompt, request: 401) as one, teaching(lambda prompt, request: 401) as other:
        with pytest.raises(LabError, match=r"refused the key \(401\): check LAB_ENDPOINT_KEY"):
            asked_of(make_lab, one.url, other.url)
        assert {*prompts(one)} & {*prompts(other)}


def test_a_request_that_cannot_be_answered_is_not_asked_twice(two) -> None:
    for server in two:
        server.answer = lambda prompt, request: 400
    members = [EndpointGenerator(server.url, "k", "m", 2, 5, 1) for server in two]
    [[made]] = sharing.SharedGenerator(members).generate([[{"role": "user", "content": "Too long"}]])
    assert (made.finish_reason, made.attempts) == ("refused", 1)
    assert len(two[0].requests) + len(two[1].requests) == 1


def test_eval_run_takes_replicas(make_lab, two, tmp_path: Path, lab_environ) -> None:
    benchmark = tmp_path / "questions.jsonl"
    benchmark.write_text("".join(question(number) for number in range(24)), "utf-8")
    Path(lab_environ["LAB_DOCUMENT"]).write_text("# The Saltmarket\n\nA ferry across the Saltmarket costs 3 crowns.\n")
    lab = make_lab(LAB_BENCHMARK=str(benchmark), LAB_ENDPOINT_CONCURRENCY="2")
    urls = [server.url for server in two]
    run = eval_runs.run_endpoint(lab, urls, tmp_path / "run.json", model="m", size=None)
    assert run.endpoint == ", ".join(urls) and sum(score.strict for score in run.scores) == 24
    assert min(len(server.requests) for server in two) >= 8
    assert json.loads((tmp_path / "run.json").read_text())["sample"] == 24
