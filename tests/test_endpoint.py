"""Endpoints that fail: what is tried again, when, how often, what is given up, and books that add up exactly."""

from __future__ import annotations

import asyncio
import email.utils
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fault_helpers import KEY, ChatServer, Endpoint, Reply, Unreliable, completion, question, teaching

from adaptlab import endpoint, evaluation, pace, workbench
from adaptlab.generation import Completion, EndpointGenerator
from adaptlab.schemas import Arm, Generation, Question
from config import LabError, settings

PAUSE = 0.01  # seconds before the first retry, so that these tests do not wait for nothing
LEAKING = b'{"error": {"message": "no: Bearer secret-key sk-made-up-for-this-test"}}'


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def asking(url: str, **changes: Any) -> EndpointGenerator:
    return EndpointGenerator(url, changes.pop("key", "secret-key"), "m", **{"first_pause": PAUSE, **changes})


def questions(count: int) -> list[Question]:
    return [Question.model_validate_json(question(number)) for number in range(count)]


def in_turn(*said: Any) -> Callable[[str, dict], Any]:
    """An answer that says one thing after another to each prompt; the last one for good."""
    times: Counter[str] = Counter()

    def answer(prompt: str, request: dict) -> Any:
        times[prompt] += 1
        return said[min(times[prompt], len(said)) - 1]

    return answer


# -------------------------------------------------------------------------------------------------- one call, one fault

BUSY = Reply(429, b'{"error": {"message": "busy"}}', {"retry-after-ms": "5"})
CASES = {
    "fine": (["fine"], "ok", [], None),
    "null": ([None], "empty", [], None),
    "blank": ([" "], "empty", [], None),
    "twice busy": ([BUSY, BUSY, "fine"], "ok", ["rate limit"] * 2, None),
    "once each": ([500, b"{", completion([]), "fine"], "ok", ["server error", "malformed reply", "no choices"], None),
    "an error as 200": ([b'{"error": {"message": "x"}}', "fine"], "ok", ["no choices"], None),
    "a page": ([Reply(200, b"<html>", {"Content-Type": "text/html"})], "error", ["malformed reply"], "ends in /v1"),
    "no choices": ([completion([])], "error", ["no choices"] * 4, "sent no chat completion (no choices in it)"),
    "half JSON": ([completion(["x"])[:-9]], "error", ["malformed reply"] * 4, "sent no chat completion"),
    "cut": ([Reply(body=completion(["x"]), cut=True)], "error", ["connection lost"] * 4, "cannot be reached"),
    "400": ([Reply(400, LEAKING)], "error", ["refused"], "answered 400"),
    "401": ([Reply(401, LEAKING)], "error", ["turned away"], "LAB_ENDPOINT_KEY"),
    "404": ([Reply(404, LEAKING)], "error", ["turned away"], "does not know 'm'"),
    "429": ([Reply(429, LEAKING, {"retry-after-ms": "5"})], "error", ["rate limit"] * 4, "answered 429"),
    "500": ([Reply(500, LEAKING)], "error", ["server error"] * 4, "answered 500"),
    "too long": ([Reply(503, LEAKING, {"Retry-After": "3600"})], "error", ["server error"], "3600 seconds of rest"),
}


@pytest.mark.parametrize("name", CASES)
def test_an_endpoints_fault_is_that_items_status_and_no_others(name: str) -> None:
    said, status, faults, told = CASES[name]
    special = in_turn(*said)

    def answer(prompt: str, request: dict) -> Any:
        return special(prompt, request) if prompt == name else f"{prompt} {request.get('seed')}"

    done: list[int] = []
    with teaching(answer) as server:
        generator = asking(server.url, max_retries=3)
        first, [item], last = generator.generate(
            [ask("first"), ask(name), ask("last")], on_item=lambda i, _: done.append(i)
        )
        calls = sum(request["messages"] == ask(name) for request in server.requests)
    assert ([one.text for one in first], [one.text for one in last]) == (["first None"], ["last None"])
    assert (item.status, item.faults, item.attempts) == (status, faults, calls)
    assert calls == len(faults) + (status != "error")
    assert item.finish_reason == ("refused" if faults[:1] == ["refused"] else "error" if told else "stop")
    assert sorted(done) == [0, 1, 2]
    words = item.error or ""
    assert (told is None) == (item.error is None) and (told or "") in words
    assert "secret-key" not in words and "made-up-for-this-test" not in words and "\n" not in words


def test_an_endpoint_that_is_not_there_is_one_sentence() -> None:
    [[item]] = asking("http://127.0.0.1:9/v1", max_retries=0).generate([ask("Hello.")])
    assert (item.status, item.faults, item.attempts) == ("error", ["connection lost"], 1)
    assert "cannot be reached: check LAB_ENDPOINT_URL" in (item.error or "")


def test_an_endpoint_that_says_nothing_is_not_waited_for_longer_than_its_timeout() -> None:
    with teaching(lambda prompt, request: ChatServer.SILENT) as server:
        [[item]] = asking(server.url, timeout=0.2, max_retries=1).generate([ask("Hello.")])
    assert (item.status, item.faults, len(server.requests)) == ("error", ["timeout"] * 2, 2)
    assert "did not answer in time" in (item.error or "")


def test_an_endpoint_that_trickles_is_given_up_at_the_deadline() -> None:
    drip = Reply(body=completion(["fine"]), trickle=0.1)  # 0.1 s are no silence, but the whole would take 20 s
    with teaching(lambda prompt, request: drip if prompt == "slow" else "fine") as server:
        began = time.monotonic()
        [[slow], [fast]] = asking(server.url, timeout=5, deadline=0.8, max_retries=1).generate([ask("slow"), ask("x")])
        took = time.monotonic() - began
        while server.left < 2 and time.monotonic() < began + 60:  # the connections are closed, not left to drip
            time.sleep(0.05)
    assert (slow.status, slow.faults, fast.text) == ("error", ["timeout"] * 2, "fine")
    assert 1.6 <= took < 15 and server.left == 2


def test_headers_that_trickle_are_given_up_at_the_deadline_too() -> None:
    stop = threading.Event()

    def drip(listening: socket.socket) -> None:
        calling, _ = listening.accept()
        with calling:
            calling.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not stop.wait(0.1):
                try:
                    calling.sendall(b"a")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        began = time.monotonic()
        [[item]] = asking(url, timeout=5, deadline=0.5, max_retries=0).generate([ask("Hello.")])
        took = time.monotonic() - began
        thread.join(20)
        gone = not thread.is_alive()
        stop.set()
    assert (item.status, item.faults) == ("error", ["timeout"]) and took < 15 and gone


def test_without_a_deadline_of_its_own_a_call_gets_twice_the_timeout() -> None:
    drip = Reply(body=completion(["fine"]), trickle=0.2)
    with teaching(lambda prompt, request: drip) as server:
        [[item]] = asking(server.url, timeout=0.5, max_retries=0).generate([ask("Hello.")])
    assert (item.status, item.faults) == ("error", ["timeout"]) and 1 <= item.seconds < 15


def test_a_connection_has_a_timeout_of_its_own() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # they fill the queue of a server that accepts nobody: the next one hears nothing
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        [[item]] = asking(url, timeout=3600, connect_timeout=0.2, max_retries=0).generate([ask("Hello.")])
        for one in waiting:
            one.close()
    assert (item.status, item.faults) == ("error", ["timeout"])


# ---------------------------------------------------------------------------------------------------------- samples


def by_seed(prompt: str, request: dict) -> bytes:
    count = 1 if prompt == "one choice" else request.get("n", 1)
    return completion([f"{prompt} {request.get('seed')} {number}" for number in range(count)])


def test_an_endpoint_that_ignores_n_is_asked_again_with_other_seeds() -> None:
    with teaching(by_seed) as server:
        [answers] = asking(server.url).generate([ask("one choice")], n=3, temperature=0.9, seeds=10)
        [at_once] = asking(server.url).generate([ask("fine")], n=3, temperature=0.9, seeds=10)
    assert [item.text for item in answers] == ["one choice 10 0", "one choice 11 0", "one choice 12 0"]
    assert [item.text for item in at_once] == ["fine 10 0", "fine 10 1", "fine 10 2"]
    assert sum(item.completion_tokens for item in at_once) == 7
    assert [[item.attempts for item in one] for one in (answers, at_once)] == [[1, 1, 1], [1, 0, 0]]


def test_greedy_samples_of_an_endpoint_are_asked_for_once() -> None:
    with teaching(in_turn(500, "fine")) as server:
        [answers] = asking(server.url).generate([ask("fine")], n=4)
    assert [item.text for item in answers] == ["fine"] * 4
    assert [(item.attempts, item.faults) for item in answers] == [(2, ["server error"]), *[(0, [])] * 3]
    assert len(server.requests) == 2 and "n" not in server.requests[0]


def test_an_endpoint_can_be_asked_from_inside_an_event_loop() -> None:
    async def cell(url: str) -> list[list[Completion]]:
        return asking(url).generate([ask("fine")], max_tokens=9, stop="x")

    with teaching(lambda prompt, request: "fine") as server:
        assert asyncio.run(cell(server.url))[0][0].text == "fine"
    assert (server.requests[0]["max_tokens"], server.requests[0]["stop"]) == (9, ["x"])


# ------------------------------------------------------------------------------------------- how fast, how much at once


def test_an_endpoint_gets_as_many_requests_at_once_as_allowed_and_no_more() -> None:
    three = threading.Barrier(3)

    def answer(prompt: str, request: dict) -> str:
        three.wait(60)  # nobody is answered until three are there
        return "fine"

    with teaching(answer) as server:
        made = asking(server.url, max_concurrency=3).generate([ask(f"x {i}") for i in range(15)])
    assert (server.peak, {item.attempts for [item] in made}) == (3, {1})


def test_a_rate_limit_holds_for_all_that_is_asked_of_an_endpoint_retries_included() -> None:
    with teaching(in_turn(500, "fine")) as server:
        first = asking(server.url, requests_per_minute=1200, max_concurrency=4)
        second = asking(server.url, requests_per_minute=1200, max_concurrency=4)
        began = time.monotonic()
        for generator, names in ((first, "abc"), (second, "def")):
            generator.generate([ask(name) for name in names])
        took = time.monotonic() - began
    assert len(server.requests) == 12
    assert took >= 11 * 60 / 1200


def test_the_pace_of_an_address_is_shared_and_the_last_limit_counts() -> None:
    assert pace.of("http://a/v1") is pace.of("http://a/v1/", 30) is not pace.of("http://b/v1")
    assert (pace.of("http://a/v1").per_minute, pace.of("http://b/v1").per_minute) == (30, None)


def test_no_call_begins_while_an_endpoint_asks_for_a_pause() -> None:
    times: list[float] = []

    def answer(prompt: str, request: dict) -> Any:
        times.append(time.monotonic())
        return Reply(429, b"{}", {"Retry-After": "1"}) if len(times) == 1 else "fine"

    with teaching(answer) as server:
        first, second = asking(server.url, max_concurrency=1), asking(server.url, max_concurrency=1)
        thread = threading.Thread(target=first.generate, args=([ask("a")],))
        thread.start()
        while not times:
            time.sleep(0.01)
        while time.monotonic() < times[0] + 0.5:  # the first one has heard of the pause by now
            time.sleep(0.01)
        second.generate([ask("b")])
        thread.join()
    assert len(times) == 3 and min(times[1:]) - times[0] >= 1


def test_a_stop_ends_every_wait() -> None:
    stopped, limit = threading.Event(), pace.Pace()
    limit.hold(3600)
    thread = threading.Thread(target=limit.wait, args=(stopped,))
    thread.start()
    stopped.set()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
    ],
)
def test_an_ordered_pause_is_read_as_seconds_or_milliseconds(headers: dict, seconds: float) -> None:
    assert endpoint.ordered_pause(headers) == seconds


def test_an_ordered_pause_is_read_as_a_date() -> None:
    headers = {"retry-after": email.utils.formatdate(time.time() + 600, usegmt=True)}
    assert 1 <= (endpoint.ordered_pause(headers) or 0) <= 600


@pytest.mark.parametrize("text", ["", "0", "-3", "soon", "nan", "inf", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_what_orders_no_pause_is_none(text: str) -> None:
    assert endpoint.ordered_pause({"retry-after": text}) is None
    assert endpoint.ordered_pause({}) is None


# ------------------------------------------------------------------------------------------------------- giving up


@pytest.mark.parametrize("status", [401, 500, 400])
def test_when_every_call_fails_the_run_ends_early_with_one_sentence(status: int) -> None:
    with teaching(lambda prompt, request: status) as server:
        with pytest.raises(LabError, match=f"^The endpoint {server.url} .*{status}.*[.]$") as caught:
            asking(server.url, max_concurrency=2, max_retries=1).generate([ask(f"x {i}") for i in range(200)])
    assert "\n" not in str(caught.value)
    assert endpoint.GIVE_UP_AFTER <= len(server.requests) <= 2 * (endpoint.GIVE_UP_AFTER + 4)


def test_an_endpoint_that_dies_in_the_middle_ends_the_run_after_what_it_answered() -> None:
    kept: list[int] = []
    with teaching(lambda prompt, request: "fine" if int(prompt) < 20 else 403) as server:
        with pytest.raises(LabError, match="refused the key"):
            asking(server.url, max_concurrency=1).generate(
                [ask(str(i)) for i in range(200)], on_item=lambda i, made: kept.append(i) if made[0].text else None
            )
    assert sorted(kept) == list(range(20))
    assert 28 <= len(server.requests) <= 30


def test_single_failures_and_requests_that_cannot_be_answered_end_no_run() -> None:
    with teaching(lambda prompt, request: "fine" if int(prompt) % 8 == 0 else 403) as server:
        made = asking(server.url, max_concurrency=1).generate([ask(str(i)) for i in range(40)])
    assert Counter(item.status for [item] in made) == {"ok": 5, "error": 35}
    with teaching(lambda prompt, request: "fine" if int(prompt) == 0 else 400) as server:
        made = asking(server.url, max_concurrency=1).generate([ask(str(i)) for i in range(40)])
    assert Counter(item.finish_reason for [item] in made) == {"stop": 1, "refused": 39}


# ------------------------------------------------------------------------------------------------- the books of a run


def check_books(made: list[Generation], asked: list[Question], server: Unreliable) -> None:
    """Each generation and the table against what the server wrote down."""
    met = [server.log[item.messages[-1].content] for item in made]
    assert [item.question_id for item in made] == [one.id for one in asked]
    for item, calls in zip(made, met, strict=True):
        assert item.attempts == len(calls)
        assert item.faults == [name for name in calls if name != "ok"]
        assert (item.status, calls.count("ok")) == (("ok", 1) if calls[-1] == "ok" else ("error", 0))
        assert (item.error is None) == (item.status == "ok")
    [row] = endpoint.call_table(made).to_dict("records")
    assert (row["questions"], row["calls"]) == (len(asked), sum(len(calls) for calls in met))
    assert {kind: row[kind] for kind in endpoint.FAULTS if kind in row} == dict(server.faults)
    assert row["lost"] == sum(calls[-1] != "ok" for calls in met)
    assert row["recovered"] == sum(calls[-1] == "ok" and len(calls) > 1 for calls in met)


def test_a_run_against_a_fifth_of_faults_completes_and_its_artifact_says_what_each_question_met(make_lab) -> None:
    server, asked = Unreliable(share=0.2, seed=1), questions(60)
    lab = make_lab(LAB_ENDPOINT_URL=server.url, LAB_TEACHER_MODEL="teacher", LAB_ENDPOINT_TIMEOUT="5")

    def run(progress: Any) -> list[Generation]:
        return workbench.ask(lab, Arm(name="teacher", model="teacher"), asked, progress)

    try:
        result = lab.step("eval_results", run, models=("teacher",), needs=())
        assert set(server.faults) == set(Unreliable.REPLIES)  # the seed lets every fault happen
        check_books(workbench.generations(result), asked, server)
        assert {item.status for item in workbench.generations(result)} == {"ok"}
        calls = sum(len(met) for met in server.log.values())
        assert lab.step("eval_results", run, models=("teacher",), needs=()).data == result.data
        assert sum(len(met) for met in server.log.values()) == calls
    finally:
        server.close()


def test_what_is_lost_after_its_retries_is_counted_as_lost_and_the_rest_is_there() -> None:
    server, asked = Unreliable(share=0.4, seed=1), questions(40)
    try:
        generator = asking(server.url, timeout=5, max_retries=1, give_up_after=40)
        made = evaluation.run_arm(Arm(name="teacher", model="teacher"), asked, generator)
        check_books(made, asked, server)
    finally:
        server.close()
    assert {"ok", "error"} == {item.status for item in made}


def test_a_second_run_asks_only_what_was_lost_and_the_artifact_counts_the_calls_of_both(make_lab) -> None:
    asked, down, met = questions(12), threading.Event(), Counter()
    down.set()

    def answer(prompt: str, request: dict) -> Any:
        fails = down.is_set() and prompt.startswith(("Passenger 3:", "Passenger 7:"))
        with server.lock:
            met[prompt] += 1
        return Reply(503, b"{}", {"retry-after-ms": "5"}) if fails else "3 crowns"

    with teaching(answer) as server:
        lab = make_lab(LAB_ENDPOINT_URL=server.url, LAB_TEACHER_MODEL="teacher")

        def run(progress: Any) -> list[Generation]:
            return workbench.ask(lab, Arm(name="teacher", model="teacher"), asked, progress)

        with pytest.raises(LabError, match=r"^2 of 12 questions got no answer \(The endpoint .* answered 503"):
            lab.step("eval_results", run, models=("teacher",), needs=())
        assert len(server.requests) == 10 + 2 * 5
        down.clear()
        made = workbench.generations(lab.step("eval_results", run, models=("teacher",), needs=()))
    assert len(server.requests) == 10 + 2 * 5 + 2
    assert [item.attempts for item in made] == [met[item.messages[-1].content] for item in made]
    assert sorted(item.attempts for item in made) == [1] * 10 + [6] * 2
    [row] = endpoint.call_table(made).to_dict("records")
    assert row == {"questions": 12, "calls": 22, "server error": 10, "recovered": 2, "lost": 0}


def test_the_settings_of_an_endpoint_reach_the_generator(lab_environ) -> None:
    given = {"LAB_ENDPOINT_URL": "http://x/v1", "LAB_ENDPOINT_KEY": KEY, "LAB_TEACHER_MODEL": "big"}
    limits = {"LAB_ENDPOINT_RPM": "20", "LAB_ENDPOINT_CONCURRENCY": "3", "LAB_ENDPOINT_TIMEOUT": "45"}
    plain, limited = (settings({**lab_environ, **given, **more}).endpoint for more in ({}, limits))
    assert (plain.requests_per_minute, plain.concurrency, plain.timeout) == (None, 8, 120)
    generator = EndpointGenerator.of(limited, "other")
    assert (generator.model, generator.max_concurrency, pace.of("http://x/v1").per_minute) == ("big", 3, 20)
    assert generator._client.timeout.read == 45 and generator._client.timeout.connect == endpoint.CONNECT_SECONDS
    for name in ("LAB_ENDPOINT_CONCURRENCY", "LAB_ENDPOINT_TIMEOUT"):
        with pytest.raises(LabError, match=f"^{name} is '0': give a whole number from 1 on.$"):
            settings({**lab_environ, name: "0"})


def test_an_endpoint_that_wants_a_key_gets_the_one_of_the_settings(make_lab) -> None:
    server = Endpoint()
    try:
        server.allow(10)
        lab = make_lab(LAB_ENDPOINT_URL=server.url, LAB_TEACHER_MODEL="teacher", LAB_ENDPOINT_KEY=KEY)
        [[item]] = workbench.generator(lab, "teacher").generate([ask("Hello.")])
    finally:
        server.close()
    assert (item.text, server.asked) == ("3 crowns", ["Hello."])
