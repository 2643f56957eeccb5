"""its_hub on the lab's own server and on one that fails: its traps are handled, one question never takes another."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from adaptlab import pace, product, serving
from adaptlab.product import JUDGE, Agreement, CarefulJudge, Product, sentence, summary
from adaptlab.prompts import closed_book
from adaptlab.schemas import Message, Phrasing, Question, Quote
from config import LabError

needs_its_hub = pytest.mark.skipif(not product.installed(), reason="its_hub is not installed")


def ask(name: str, answer: str) -> Question:
    return Question(
        id=name, category="explicit_rule", answer_type="number", answer=answer, quotes=[Quote(text="x", section="S")],
        phrasings=[Phrasing(text=f"What is the Armour Class of the {name}?", role="unseen form")],
    )  # fmt: skip


def item(question: Question) -> tuple[Question, list[Message]]:
    return question, [Message(role="user", content=closed_book(question.text()))]


FENHAG, GULL, DOOMED = ask("Fenhag", "12"), ask("Gullwight", "15"), ask("Doomed", "9")


class Scripted(BaseHTTPRequestHandler):
    """Answers by rule: the Doomed fail, the Fenhag's candidates take turns, the judge never writes JSON."""

    turns: dict[str, int] = {}
    asked: list[dict[str, Any]] = []
    lock = threading.Lock()
    says = {
        "Fenhag": ["It is 12.", "hm", "It is 12.", "hm"],
        "Gullwight": ["It is 3.", "It is 15.", "It is 3.", "It is 3."],
    }
    judge = "A fine answer."

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = body["messages"][-1]["content"]
        with self.lock:
            self.asked.append(body)
            name = next((n for n in self.says if n in said), "Doomed")
            self.turns[name] = self.turns.get(name, -1) + 1
        if body["model"] == "judge":
            return self.reply(200, self.judge)
        if name == "Doomed":
            return self.reply(400, "")
        self.reply(200, self.says[name][self.turns[name] % 4])

    def reply(self, status: int, text: str) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 4}
        body = {"choices": [choice], "usage": usage} if status == 200 else {"error": {"message": "no"}}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def scripted() -> Iterator[str]:
    Scripted.turns, Scripted.asked = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@needs_its_hub
def test_one_failed_question_does_not_take_the_others_with_it(scripted: str) -> None:
    ticks: list[int] = []
    hub = Product(scripted, "none", "student", budget=4, on_done=lambda: ticks.append(1))
    made = hub.self_consistency([item(FENHAG), item(DOOMED), item(GULL)])
    assert [record["status"] for record in made] == ["ok", "error", "ok"] and len(ticks) == 3
    assert made[1]["attempts"] == 2 and made[1]["error"] and made[1]["text"] == ""
    assert made[0]["text"] == "It is 12."  # two that do not parse stand alone, so they cannot outvote or tie as one
    assert made[2]["text"] == "It is 3."
    assert (made[0]["calls"], made[0]["prompt_tokens"], made[0]["completion_tokens"]) == (4, 40, 16)
    assert all("seed" not in body and body.get("n", 1) == 1 for body in Scripted.asked)


@needs_its_hub
def test_every_call_of_its_hub_waits_for_the_endpoints_rate_limit(scripted: str) -> None:
    pace.of(scripted, 1200)
    began = time.monotonic()
    hub = Product(scripted, "none", "student", budget=4)
    hub.self_consistency([item(FENHAG), item(GULL)])
    assert len(Scripted.asked) == 8 and time.monotonic() - began >= 7 * 60 / 1200


@needs_its_hub
def test_more_candidates_than_threads_fail_without_hanging(scripted: str) -> None:
    """With its_hub's own limit on concurrency this never ends."""
    began = time.monotonic()
    [record] = Product(scripted, "none", "student", budget=80, attempts=1).self_consistency([item(DOOMED)])
    assert record["status"] == "error" and "RuntimeError" in record["error"]
    assert time.monotonic() - began < 60


@needs_its_hub
def test_best_of_n_takes_the_candidate_that_agrees_with_the_second_answer(scripted: str) -> None:
    hub = Product(scripted, "none", "student", budget=4)
    [record] = hub.best_of_n([item(GULL)], {"Gullwight": "The Armour Class is 15."})
    assert record["text"] == "It is 15." and sum(record["scores"]) == 1


@needs_its_hub
def test_an_unreadable_verdict_is_no_score(scripted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Product(scripted, "none", "student", budget=4)
    [record] = hub.judged([item(GULL)], "judge")
    assert record["unreadable"] == 4 and record["scores"] == [None] * 4 and record["text"] == ""
    monkeypatch.setitem(Scripted.says, "Fenhag", ["It is 12."] * 4)
    [equal] = hub.judged([item(FENHAG)], "judge")
    assert equal["scores"] == [] and equal["text"] == "It is 12."  # nobody was asked, so there is no score to show
    monkeypatch.setattr(Scripted, "judge", '{"score": 8, "reasoning": "good"}')
    [record] = hub.judged([item(GULL)], "judge")
    assert record["unreadable"] == 0 and set(record["scores"]) == {8.0} and record["text"]
    monkeypatch.setattr(Scripted, "judge", '{"score": 900, "reasoning": "say YES"}')
    assert hub.judged([item(GULL)], "judge")[0]["unreadable"] == 4


@needs_its_hub
def test_the_traps_are_still_there_in_the_installed_release() -> None:
    """If one of these fails after a move of the pin, the trap is gone: read product.py again."""
    from its_hub import LLMJudge, SelfConsistency

    assert LLMJudge(lm=None)._parse_score("A fine answer.") == 5.0
    votes = SelfConsistency(lambda text: (None,) if text == "hm" else (text,))
    answers = [{"content": text} for text in ("12", "hm", "hm")]
    assert votes._process_responses(answers)["content"] == "hm"


@needs_its_hub
def test_it_runs_on_the_labs_own_server() -> None:
    with serving.running(models=["mini-granite"]) as url:
        made = Product(url, serving.client_key(), "mini-granite", budget=2, max_tokens=8).self_consistency(
            [item(FENHAG)]
        )
    assert made[0]["status"] == "ok" and len(made[0]["candidates"]) == 2 and made[0]["completion_tokens"] > 0


def test_a_reward_scores_agreement_and_a_careful_judge_trusts_no_impossible_score() -> None:
    import asyncio

    class Turn:
        def __init__(self, content: str) -> None:
            self.content = content

    class Judge:
        async def ascore(self, conversations: Any, orchestrator: Any = None) -> list[float]:
            return [math.nan, 11.0, -3.0, 7.0]

    talks = [[Turn("It is 12.")], [Turn("It is 13.")], [Turn("")], [Turn("12")]]
    assert asyncio.run(Agreement(FENHAG, "12").ascore(talks)) == [1.0, 0.0, 0.0, 1.0]
    assert asyncio.run(Agreement(FENHAG, "").ascore(talks)) == [0.0] * 4
    assert asyncio.run(CarefulJudge(Judge(), None).ascore(talks)) == [-1.0, -1.0, -1.0, 7.0]


def test_without_its_hub_one_sentence_says_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not installed" in sentence(None, 8) and "8 questions" in sentence(None, 8)
    assert summary([], [FENHAG]).empty
    monkeypatch.setattr(product, "installed", lambda: False)
    with pytest.raises(LabError, match="its_hub is not installed"):
        Product("http://127.0.0.1:9/v1", "none", "student").self_consistency([item(FENHAG)])


def test_the_summary_counts_errors_and_unreadable_scores() -> None:
    none = {"scores": [], "unreadable": 0}
    shared = {"budget": 4, "prompt_tokens": 10, "completion_tokens": 2, "seconds": 1.0, "calls": 4}
    records = [
        {"algorithm": "A", "question_id": "Fenhag", "text": "12", "status": "ok", **none, **shared},
        {"algorithm": "A", "question_id": "Doomed", "text": "", "status": "error", **none, **shared},
        {"algorithm": JUDGE, "question_id": "Gullwight", "text": "", "scores": [None] * 4, "unreadable": 4,
         "status": "ok", **shared},
    ]  # fmt: skip
    table = summary(records, [FENHAG, DOOMED, GULL]).set_index("algorithm")
    assert (table.loc["A", "right"], table.loc["A", "n"], table.loc["A", "errors"]) == (1, 2, 1)
    assert table.loc[JUDGE, "unreadable scores"] == 4 and table.loc["A", "tokens"] == 12
    assert "4 of 4 of its judge's scores could not be read" in sentence(
        records, 3
    ) and "1 questions failed" in sentence(records, 3)
