"""Streamed answers, with the official client: the same text in pieces, no piece of a stop sequence, work set free."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from test_serving import KEY, PATIENCE, QUESTIONS, STUDENT, adapter, ask, check_sentence, client, complete, said, url

from adaptlab import models, serving
from adaptlab.batching import Batcher, served_models
from adaptlab.generation import Completion, LocalGenerator, Request
from adaptlab.streaming import Sent, settled
from adaptlab.webapp import build_app

openai = pytest.importorskip("openai")
uvicorn = pytest.importorskip("uvicorn")
FIXTURES = (adapter, client, url)  # of test_serving, used here too


@pytest.fixture(scope="module")
def loaded_student() -> models.Loaded:
    return models.load(STUDENT)


def streamed(client: Any, text: str, **options: Any) -> tuple[list[list[str]], list[str | None], Any]:
    """The pieces and the finish reason of every choice of a streamed answer, and its usage."""
    pieces: list[list[str]] = [[] for _ in range(options.get("n", 1))]
    reasons: list[str | None] = [None] * len(pieces)
    used, heads = None, set()
    for part in complete(client, text, stream=True, **options):
        heads.add((part.id, part.created, part.object, part.model))
        used = part.usage or used
        assert len(part.choices) == (part.usage is None)
        for choice in part.choices:
            assert reasons[choice.index] is None, "nothing follows the reason"
            reasons[choice.index] = choice.finish_reason
            pieces[choice.index].append(choice.delta.content or "")
            assert choice.delta.role == ("assistant" if len(pieces[choice.index]) == 1 else None)
    assert len(heads) == 1 and {head[2] for head in heads} == {"chat.completion.chunk"}
    return pieces, reasons, used


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0},
        {"temperature": 0, "n": 3},
        {"temperature": 0.9, "n": 4, "seed": 5},
        {"temperature": 3.0, "n": 2, "seed": 6, "max_tokens": 90},
        {"temperature": 0, "max_tokens": 1},
    ],
)
def test_a_stream_is_the_same_answer_in_pieces(client: Any, options: dict[str, Any]) -> None:
    whole = complete(client, QUESTIONS[2], **options)
    pieces, reasons, used = streamed(client, QUESTIONS[2], stream_options={"include_usage": True}, **options)
    assert ["".join(one) for one in pieces] == said(whole)
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert used == whole.usage
    if options.get("max_tokens", 24) > 1:
        assert all(len([piece for piece in one if piece]) > 1 for one in pieces)
    assert streamed(client, QUESTIONS[2], **options)[1:] == (reasons, None)


def test_a_stream_never_shows_a_piece_of_a_stop_sequence(client: Any) -> None:
    [whole] = said(complete(client, QUESTIONS[2], temperature=0))
    assert len(whole) > 6
    for place in range(2, len(whole) - 3, 5):
        for stops in ([whole[place : place + 3]], [whole[place : place + 3] + "zz", whole[place + 1 : place + 3]]):
            expected = complete(client, QUESTIONS[2], temperature=0, stop=stops)
            pieces, reasons, _ = streamed(client, QUESTIONS[2], temperature=0, stop=stops)
            ends = [whole.find(stop) for stop in stops if stop in whole]
            assert "".join(pieces[0]) == said(expected)[0] == whole[: min(ends)]
            assert reasons == ["stop"]


def test_text_is_held_back_as_long_as_it_may_become_a_stop_sequence() -> None:
    assert settled("It ends", ("ends here", "x")) == "It "
    assert settled("It ends her", ("ends here", "er.")) == "It "
    assert settled("It ends hex", ("ends here",)) == "It ends hex"
    assert settled("aab", ("abc", "b")) == "a"
    assert settled("caf\ufffd", ()) == "caf"
    sent = Sent(("\n\n",))
    assert [sent.next(text) for text in ("a", "a\n", "a\nb", "a\nb\n")] == ["a", "", "\nb", ""]
    assert sent.rest("a\nb\n") == "\n"


def test_the_events_of_a_stream_are_those_of_the_protocol(url: str) -> None:
    body = {"model": "mini-granite", "messages": ask("Hello."), "stream": True, "max_tokens": 4, "temperature": 0}
    call = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
    call.add_header("authorization", f"Bearer {KEY}")
    call.add_header("content-type", "application/json")
    with urllib.request.urlopen(call, timeout=PATIENCE) as answer:
        kind, text = answer.headers["content-type"], answer.read().decode()
    lines = text.split("\n\n")
    assert kind.startswith("text/event-stream")
    assert lines[-2:] == ["data: [DONE]", ""] and all(line.startswith("data: {") for line in lines[:-2])
    parts = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    assert all("usage" not in part for part in parts)
    assert parts[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert parts[-1]["choices"][0]["delta"] == {}


def test_what_cannot_be_answered_is_an_error_before_the_stream_begins(client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        complete(client, "crown " * 4000, stream=True)
    assert "window of mini-granite" in check_sentence(caught.value)


class Inside:
    """A server in this process, so that a test can see what its worker did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[list[list[Completion]]] = []
        self.begun = threading.Event()
        as_it_is = LocalGenerator.run

        def watched(generator: LocalGenerator, requests: list[Request], on_item: Any = None) -> Any:
            self.begun.set()
            self.made.append(as_it_is(generator, requests, on_item))
            return self.made[-1]

        monkeypatch.setattr(LocalGenerator, "run", watched)
        listener = serving.listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        app = build_app(Batcher(served_models(["mini-granite"], {})))
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
        self.thread = threading.Thread(target=self.server.run, args=([listener],), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(PATIENCE)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    server = Inside(monkeypatch)
    yield server
    server.close()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_the_work(inside: Inside, stream: bool) -> None:
    client = openai.OpenAI(base_url=inside.url, api_key="any", max_retries=0, timeout=PATIENCE)
    long = {"n": 16, "max_tokens": 1000, "temperature": 3.0, "seed": 1, "stream": stream}
    connection = http.client.HTTPConnection("127.0.0.1", int(inside.url.split(":")[2].split("/")[0]), PATIENCE)
    body = json.dumps({"model": "mini-granite", "messages": ask(QUESTIONS[1]), **long})
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    assert inside.begun.wait(PATIENCE)
    if stream:
        assert connection.getresponse().readline().startswith(b"data: {")
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    assert said(complete(client, "Hello.", max_tokens=4, temperature=0))
    [dropped] = inside.made[0]
    assert len(dropped) == 16 and any(item.error == "Nobody waits for this answer any more." for item in dropped)
    assert all(item.completion_tokens < 1000 for item in dropped)


def test_text_arrives_while_the_answer_is_being_written(loaded_student: models.Loaded) -> None:
    seen: list[tuple[int, str]] = []
    texts: list[str] = []
    request = Request(ask(QUESTIONS[2]), max_tokens=12, on_text=lambda sample, text: seen.append((sample, text)))
    LocalGenerator(loaded_student).run([request], lambda _, made: texts.extend([str(len(seen)), made[0].text]))
    assert len(seen) >= 2 and texts[0] == str(len(seen))
    assert all(texts[1].startswith(text.rstrip("\ufffd")) for _, text in seen)


def test_a_request_that_nobody_wants_any_more_ends_and_changes_no_other(loaded_student: models.Loaded) -> None:
    asked: list[bool] = []

    def wanted() -> bool:
        asked.append(True)
        return len(asked) <= 3

    generator = LocalGenerator(loaded_student)
    unwanted = Request(ask(QUESTIONS[3]), max_tokens=30, temperature=3.0, seed=1, wanted=wanted)
    kept = Request(ask(QUESTIONS[2]), max_tokens=30)
    [dropped], [answered] = generator.run([unwanted, kept])
    assert (dropped.status, dropped.completion_tokens) == ("error", 4)
    assert answered.text == generator.run([kept])[0][0].text
