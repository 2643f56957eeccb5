"""How synthesis asks its teacher: every call counts against the rate limit, and none lasts longer than its deadline."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fault_helpers import Reply, completion, teaching
from test_synthesis import own_pair, passages

from adaptlab import endpoint, pace, synthesis


def write(url: str, provider: str, out_dir: Path, count: int = 3, **changes: Any) -> Any:
    settings = {"model": f"{provider}/m", "api_base": url, "api_key": "k", "timeout": 20.0, "num_retries": 2}
    return synthesis.generate(synthesis.SHORT_FLOW, passages(count), out_dir=out_dir, **{**settings, **changes})


def title(request: dict) -> str:
    return request["messages"][-1]["content"].split("\n")[2]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 0.01)


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm"])
def test_every_try_waits_for_the_rate_limit(provider: str, tmp_path: Path) -> None:
    times: list[float] = []

    def answer(prompt: str, request: dict) -> Any:
        times.append(time.monotonic())
        return 500 if sum(title(one) == title(request) for one in server.requests) < 3 else own_pair(prompt)

    with teaching(answer) as server:
        pace.of(server.url, 600)
        made = write(server.url, provider, tmp_path)
    assert list(made.documents["status"]) == ["ok"] * 3
    assert Counter(title(request) for request in server.requests) == {f"Passage {letter}": 3 for letter in "ABC"}
    assert times[-1] - times[0] >= 8 * 0.1 * 0.9  # nine calls, a tenth of a second apart


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm"])
def test_what_never_passes_is_asked_once_and_what_fails_on_as_often_as_allowed(provider: str, tmp_path: Path) -> None:
    for status, calls in ((400, 1), (401, 1), (503, 3)):
        with teaching(lambda prompt, request, status=status: status) as server:
            made = write(server.url, provider, tmp_path / str(status), count=1)
        assert (list(made.documents["status"]), len(server.requests)) == (["error"], calls), status


def test_no_document_is_asked_while_the_teacher_orders_a_pause(tmp_path: Path) -> None:
    times: list[float] = []

    def answer(prompt: str, request: dict) -> Any:
        times.append(time.monotonic())
        return Reply(429, b'{"error": {"message": "slow"}}', {"Retry-After": "1"}) if len(times) == 1 else "x"

    with teaching(answer) as server:
        write(server.url, "openai", tmp_path, max_concurrency=1)
    assert len(times) == 4 and times[1] - times[0] >= 1


def test_a_teacher_that_trickles_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    drip = Reply(body=completion(["x"]), trickle=0.2)
    with teaching(lambda prompt, request: drip if "Passage A" in prompt else own_pair(prompt)) as server:
        began = time.monotonic()
        made = write(server.url, "openai", tmp_path, count=2, timeout=0.6, num_retries=0)
    assert list(made.documents["status"]) == ["error", "ok"] and time.monotonic() - began < 25
    assert "imed out" in made.documents["error"].iloc[0] or "imeout" in made.documents["error"].iloc[0]
