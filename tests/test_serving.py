"""The OpenAI-compatible server, tried with the official client: answers, errors, adapters, start, stop and death."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from adaptlab import models, serving
from adaptlab.batching import Batcher, served_models
from adaptlab.generation import EndpointGenerator, LocalGenerator, Request
from adaptlab.prompts import with_passages
from config import MODELS, ROOT, LabError

openai = pytest.importorskip("openai")
torch = pytest.importorskip("torch")
STUDENT = MODELS["mini-granite"]
if models.missing_files(STUDENT):
    pytest.skip("the miniature's weights are not here yet", allow_module_level=True)

KEY = "a key for the tests"
PATIENCE = 300  # seconds; a machine with much else to do takes minutes to import PyTorch
PASSAGE = "The Marsh Otter has a speed of 12 and 3 hit dice. It is worth 40 crowns. Its bite does 1d6. "
QUESTIONS = [
    "Hello.",
    "What is the speed of the Marsh Otter?",
    with_passages("What is the speed of the Marsh Otter?", [("Marsh Otter", PASSAGE)]),
    with_passages("What does its bite do?", [("Monsters", PASSAGE * 4), ("Otters", PASSAGE * 2)]),
]


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter with random weights, as training leaves one."""
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    adapted = get_peft_model(models.load(STUDENT).model, LoraConfig(r=4, lora_alpha=32, target_modules="all-linear"))
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.05)
    adapted.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def url(adapter: Path) -> Iterator[str]:
    """The URL of a running server with a key, the student and an adapter on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(serving.KEY_VARIABLE, KEY)
        server = serving.start(["mini-granite"], {"tuned": adapter})
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    return openai.OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=PATIENCE)


def complete(client: Any, text: str, model: str = "mini-granite", **options: Any) -> Any:
    return client.chat.completions.create(model=model, messages=ask(text), **{"max_tokens": 24, **options})


def said(answer: Any) -> list[str]:
    return [choice.message.content for choice in answer.choices]


# ------------------------------------------------------------------------------------------------------- answers


def test_models_and_adapters_are_listed(client: Any) -> None:
    assert {item.id: item.parent for item in client.models.list()} == {"mini-granite": None, "tuned": "mini-granite"}


def test_an_answer_is_what_the_local_generator_says_with_its_usage(client: Any) -> None:
    answer = complete(client, QUESTIONS[2], n=3, temperature=0.9, seed=5)
    (expected,) = LocalGenerator(models.load(STUDENT)).generate(
        [ask(QUESTIONS[2])], n=3, temperature=0.9, seeds=5, max_tokens=24
    )
    assert said(answer) == [item.text for item in expected]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [choice.finish_reason for choice in answer.choices] == [item.finish_reason for item in expected]
    assert answer.usage.prompt_tokens == expected[0].prompt_tokens
    assert answer.usage.completion_tokens == sum(item.completion_tokens for item in expected)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_answers_are_the_same_one_by_one_and_all_at_once(client: Any) -> None:
    jobs = [
        {"text": text, "temperature": heat, "seed": seed, "n": n, "model": model, "max_tokens": 8 + 4 * seed}
        for text in QUESTIONS
        for heat, seed, n in ((0, 1, 1), (0.8, 2, 2), (1.4, 3, 1))
        for model in ("mini-granite", "tuned")
    ]
    alone = [said(complete(client, **job)) for job in jobs]
    with ThreadPoolExecutor(len(jobs)) as pool:
        together = list(pool.map(lambda job: said(complete(client, **job)), jobs))
    assert together == alone


def test_requests_that_arrive_together_run_as_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    as_it_is = LocalGenerator.run

    def watched(self: LocalGenerator, requests: list[Request], on_item: Any = None) -> Any:
        sizes.append(len(requests))
        return as_it_is(self, requests, on_item)

    monkeypatch.setattr(LocalGenerator, "run", watched)
    batcher = Batcher(served_models(["mini-granite"], {}))
    waiting = [batcher.submit("mini-granite", Request(ask(text), max_tokens=4)) for text in QUESTIONS]
    batcher.start()
    assert [len(answer.result(PATIENCE)) for answer in waiting] == [1, 1, 1, 1]
    batcher.stop()
    assert sizes == [4]


def test_a_stopped_batcher_lets_nobody_wait() -> None:
    batcher = Batcher(served_models(["mini-granite"], {}))
    waiting = [batcher.submit("mini-granite", Request(ask("Hello."), max_tokens=900)) for _ in range(3)]
    batcher.break_off()
    batcher.start()
    batcher.stop()
    for answer in [*waiting, batcher.submit("mini-granite", Request(ask("Hello.")))]:
        with pytest.raises(LabError, match="stopping"):
            answer.result(PATIENCE)


def test_seeds_repeat_samples_and_greedy_is_always_the_same(client: Any) -> None:
    options = {"temperature": 1.5, "n": 4}
    first = said(complete(client, QUESTIONS[1], seed=1, **options))
    assert first == said(complete(client, QUESTIONS[1], seed=1, **options))
    assert first != said(complete(client, QUESTIONS[1], seed=2, **options))
    assert len(set(said(complete(client, QUESTIONS[1], temperature=0, n=3)))) == 1


def test_an_adapter_answers_otherwise_than_its_model(client: Any) -> None:
    plain, tuned = (
        said(complete(client, QUESTIONS[2], model=name, temperature=0)) for name in ("mini-granite", "tuned")
    )
    assert plain != tuned


def test_max_tokens_and_stop_end_an_answer(client: Any) -> None:
    whole = complete(client, QUESTIONS[2], temperature=0)
    mark = said(whole)[0].split()[-1]
    cut = complete(client, QUESTIONS[2], temperature=0, stop=[mark])
    short = complete(client, QUESTIONS[2], temperature=0, max_tokens=1)
    assert said(cut)[0] == said(whole)[0].partition(mark)[0]
    assert (cut.choices[0].finish_reason, short.choices[0].finish_reason) == ("stop", "length")
    assert short.usage.completion_tokens == 1


def test_unknown_fields_text_parts_and_missing_options_are_tolerated(client: Any) -> None:
    parts = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}]},
    ]
    answer = client.chat.completions.create(
        model="mini-granite", messages=parts, user="somebody", top_p=0.9, extra_body={"extra_body": {}, "guided": 1}
    )
    assert answer.choices[0].message.role == "assistant"


def test_the_endpoint_generator_gets_the_local_answers(url: str) -> None:
    chats = [ask(text) for text in QUESTIONS]
    options: dict[str, Any] = {"n": 2, "temperature": 0.7, "max_tokens": 12, "seeds": [3, 4, 5, 6]}
    remote = EndpointGenerator(url, KEY, "mini-granite").generate(chats, **options)
    local = LocalGenerator(models.load(STUDENT)).generate(chats, **options)
    assert [[item.text for item in one] for one in remote] == [[item.text for item in one] for one in local]


# -------------------------------------------------------------------------------------------------------- errors


def check_sentence(error: Any) -> str:
    body = error.response.json()["error"]
    assert {"message", "type", "param", "code"} <= set(body)
    assert "\n" not in body["message"]
    assert body["message"].endswith(".")
    return str(body["message"])


def test_an_unknown_model_is_a_404_that_names_the_known_ones(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        complete(client, "Hello.", model="gpt-0")
    assert "use mini-granite, tuned." in check_sentence(caught.value)
    assert caught.value.code == "model_not_found"


def test_a_prompt_over_the_window_is_a_400_and_hurts_no_other(client: Any) -> None:
    def too_long() -> str:
        with pytest.raises(openai.BadRequestError) as caught:
            complete(client, "crown " * 4000)
        return check_sentence(caught.value)

    with ThreadPoolExecutor(4) as pool:
        refused = [pool.submit(too_long) for _ in range(2)]
        answered = [pool.submit(complete, client, "Hello.", temperature=0) for _ in range(2)]
        assert all("window of mini-granite" in task.result() for task in refused)
        assert len({said(task.result())[0] for task in answered}) == 1


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"n": 0}, "n"),
        ({"n": 100000}, "n"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": "x"}, "seed"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_a_field_that_is_not_right_is_a_400_that_names_it(client: Any, wrong: dict[str, Any], named: str) -> None:
    body = {"model": "mini-granite", "messages": ask("Hello."), **wrong}
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body=body, cast_to=object)
    assert named in check_sentence(caught.value)


def fetch(address: str, data: bytes | None = None, key: str | None = KEY) -> tuple[int, Any]:
    """Status and JSON of a plain HTTP call."""
    call = urllib.request.Request(address, data, {"content-type": "application/json"})
    if key:
        call.add_header("authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(call, timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_what_is_no_json_or_no_address_of_the_server_is_an_error_with_a_sentence(url: str) -> None:
    for status, body in (
        (400, fetch(f"{url}/chat/completions", b"{broken")),
        (400, fetch(f"{url}/chat/completions", b"[]")),
        (404, fetch(f"{url}/embeddings", b"{}")),
        (405, fetch(f"{url}/chat/completions")),
    ):
        assert body[0] == status
        assert body[1]["error"]["message"].endswith(".")


def test_the_key_is_asked_for_everywhere_but_for_health(url: str) -> None:
    for key in (None, "wrong"):
        for address, data in ((f"{url}/models", None), (f"{url}/chat/completions", b"{}")):
            status, body = fetch(address, data, key)
            assert (status, KEY in json.dumps(body)) == (401, False)
            assert "LAB_SERVE_KEY" in body["error"]["message"]
    assert fetch(url.removesuffix("/v1") + "/health", key=None) == (
        200,
        {"status": "ok", "models": ["mini-granite", "tuned"]},
    )


# ------------------------------------------------------------------------------------------------ start and stop


def command_line(*arguments: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "adaptlab.serving", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout)


def test_a_port_in_use_is_one_sentence_and_exit_code_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command_line("--port", str(port))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Port {port} is in use: stop what uses it, or choose another one with --port.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--adapter", "tuned"], "--adapter 'tuned' is not NAME=DIR"),
        (["--adapter", "tuned=/nowhere/at/all"], "adapter_config.json is missing"),
        (["--model", "gpt-0"], "There is no model 'gpt-0'"),
        (["--model", "endpoint"], "only reached through LAB_ENDPOINT_URL"),
        (["--port", "70000"], "There is no port 70000"),
    ],
)
def test_wrong_options_are_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serving.main(arguments) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("base", [None, "somebody/else"])
def test_an_adapter_of_another_model_or_under_a_taken_name_is_one_sentence(tmp_path: Path, base: str | None) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    with pytest.raises(LabError, match="which the lab does not know"):
        served_models(["mini-granite"], {"tuned": tmp_path})
    with pytest.raises(LabError, match="is taken by a model"):
        served_models(["mini-granite"], {"mini-granite": tmp_path})


def is_up(url: str) -> bool:
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def gone_within(url: str, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not is_up(url):
            return True
        time.sleep(0.1)
    return False


def test_ctrl_c_ends_the_server_cleanly_even_in_the_middle_of_an_answer() -> None:
    command = [sys.executable, "-m", "adaptlab.serving", "--port", "0", "--model", "mini-granite"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip().rpartition(" on ")[2]
        client = openai.OpenAI(base_url=url, api_key="any", max_retries=0, timeout=PATIENCE)
        complete(client, "Hello.", max_tokens=1)
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(complete, client, QUESTIONS[3], n=128, max_tokens=1000, temperature=3.0)
            time.sleep(1.0)
            assert not work.done()
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=PATIENCE)
            assert isinstance(work.exception(PATIENCE), openai.APIError)
    finally:
        process.kill()
    assert (process.returncode, told) == (0, "")
    assert not is_up(url)


INTERRUPTED_IMPORT = """
import os, runpy, signal, sys

moment = sys.argv.pop(1)

class Interruption:
    def find_spec(self, name, *_):
        if name == moment:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interruption())
runpy.run_module("adaptlab", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("moment", ["argparse", "adaptlab.serving", "uvicorn", "fastapi.routing", "adaptlab.webapp"])
def test_ctrl_c_while_the_server_is_being_imported_ends_it_without_a_word(moment: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED_IMPORT, moment, "serve", "--port", "0", "--model", "mini-granite"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr in ("", "adaptlab: stopped; what was finished is kept, and the next run goes on from there.\n")


@pytest.mark.parametrize("seconds", [0, 0.02, 0.1, 0.5, 2])
def test_ctrl_c_right_after_the_server_says_where_it_is_ends_it_cleanly(seconds: float) -> None:
    command = [sys.executable, "-m", "adaptlab.serving", "--port", "0", "--model", "mini-granite"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().strip().rpartition(" on ")[2]
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    output, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output, told) == (0, "", "")
    assert not is_up(url)


def test_running_serves_for_the_length_of_its_block_from_inside_an_event_loop() -> None:
    async def cell() -> tuple[str, int]:
        with serving.running(models=["mini-granite"]) as url:
            client = openai.AsyncOpenAI(base_url=url, api_key=serving.client_key(), timeout=PATIENCE)
            answer = await client.chat.completions.create(model="mini-granite", messages=ask("Hello."), max_tokens=2)
            return url, answer.usage.completion_tokens

    url, tokens = asyncio.run(cell())
    assert 1 <= tokens <= 2
    assert not is_up(url)


def test_a_lent_server_is_there_for_the_next_block_and_ends_when_nobody_comes() -> None:
    with serving.lent(["mini-granite"]) as first:
        assert is_up(first)
    with serving.lent(["mini-granite"], idle_seconds=0.1) as again, serving.lent(["mini-granite"]) as inner:
        assert first == again == inner
    assert gone_within(first, PATIENCE)
    with serving.lent(["mini-granite"], idle_seconds=0.1) as other:
        assert is_up(other)


def test_a_lent_server_ends_at_once_with_a_block_that_is_broken_off() -> None:
    with pytest.raises(KeyboardInterrupt), serving.lent(["mini-granite"]) as url:
        raise KeyboardInterrupt
    assert not is_up(url)


def test_a_server_dies_with_the_process_that_started_it() -> None:
    program = "from adaptlab import serving; print(serving.start(['mini-granite']).url, flush=True); input()"
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    assert is_up(url)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert gone_within(url, PATIENCE)


def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(LabError, match="There is no model 'gpt-0'"):
        serving.start(["gpt-0"])
