"""Best-of-N as a product: its_hub's `SelfConsistency` and `BestOfN` on the lab's questions, through an endpoint.

What is known to go wrong in its_hub 1.2.0, and what is done about it here:

- One failed candidate or judge call fails the whole question, and there is no time limit. Every question has its own
  try and its own limit, is asked again once, and is kept with status `error` and the reason.
- Its own limit on concurrency waits in threads: when a call fails, those that were still waiting wait for ever, and the
  program hangs. So it gets no limit here; questions are asked one after the other, so at most N calls are under way.
- A judge's reply that cannot be read becomes a score of 5.0, which can win, and nothing checks the range. The reward
  that wraps its judge turns both into UNREADABLE, below every score; they are counted and never shown as a score.
- Candidates that do not parse vote together as one answer. Here each of them stands alone.
- It never sends a seed or `n`: N requests with N prefills, and no run repeats another.
- N equal candidates get a score of 1.0 without the judge being asked; its usage leaves the judge's own calls out.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import math
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from adaptlab import pace
from adaptlab.artifacts import Lab
from adaptlab.schemas import Message, Question
from adaptlab.scoring import canonical, strict
from adaptlab.stats import wilson
from config import LabError

UNREADABLE = -1.0
UNLIMITED = -1
JUDGE = "BestOfN, LLM judge"
INSTALL = "run pip install --no-deps its-hub==1.2.0 backoff==2.2.1"
JUDGE_PROMPT = 'Score this conversation from 0 to 10. Answer with JSON only: {{"score": <number>}}\n\n{conversation}'
Item = tuple[Question, Sequence[Message]]


@contextmanager
def endpoint(lab: Lab, *roles: str) -> Iterator[tuple[str, str]]:
    """URL and key of an endpoint that answers as these models: the configured one, else a server of our own."""
    specs = [lab.settings.model(role) for role in roles]
    if lab.settings.endpoint.url and all(spec.remote for spec in specs):
        pace.of(lab.settings.endpoint.url, lab.settings.endpoint.requests_per_minute)
        yield lab.settings.endpoint.url, lab.settings.endpoint.key or "none"
        return
    from adaptlab import serving

    with serving.running(models=list(dict.fromkeys(spec.name for spec in specs))) as url:
        yield url, serving.client_key()


def installed() -> bool:
    """Whether its_hub can be imported with its language-model part."""
    return all(importlib.util.find_spec(name) for name in ("its_hub", "backoff", "aiohttp"))


@dataclass
class Product:
    """Where its_hub asks, and how: `budget` is its word for N; `limit` are seconds a question may take."""

    url: str
    key: str
    model: str
    budget: int = 8
    temperature: float = 0.8
    max_tokens: int = 64
    limit: float = 120.0
    attempts: int = 2
    on_done: Callable[[], Any] = field(default=lambda: None)

    def language_model(self, model: str = "", temperature: float | None = None) -> Any:
        """its_hub's client of an OpenAI-compatible endpoint."""
        if not installed():
            raise LabError(f"its_hub is not installed: {INSTALL}.")
        return _paced(self.url)(
            endpoint=self.url,
            api_key=self.key,
            model_name=model or self.model,
            temperature=self.temperature if temperature is None else temperature,
            max_completion_tokens=self.max_tokens,
            max_tries=1,  # its own retries would go past the endpoint's rate limit; `_one` asks again
        )

    def self_consistency(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """A vote over parsed answers, as `scoring.majority` parses them; a record a question, see `_record`."""

        def algorithm(question: Question) -> tuple[Any, None]:
            from its_hub import LMOrchestrator, SelfConsistency

            return SelfConsistency(_projection(question), orchestrator=LMOrchestrator(UNLIMITED)), None

        return self._all("SelfConsistency", items, algorithm)

    def best_of_n(self, items: Sequence[Item], reanswers: Mapping[str, str]) -> list[dict[str, Any]]:
        """The candidate that a reward likes best; the reward is agreement with a stored second answer."""

        def algorithm(question: Question) -> tuple[Any, Any]:
            from its_hub import BestOfN, LMOrchestrator

            reward = Agreement(question, reanswers.get(question.id, ""))
            return BestOfN(reward, orchestrator=LMOrchestrator(UNLIMITED)), reward

        return self._all("BestOfN, re-answer", items, algorithm)

    def judged(self, items: Sequence[Item], judge: str) -> list[dict[str, Any]]:
        """The candidate that its_hub's own judge scores best, with unreadable verdicts told apart from scores."""

        def algorithm(question: Question) -> tuple[Any, Any]:
            from its_hub import BestOfN, LLMJudge, LMOrchestrator

            model = self.language_model(judge, 0.0)
            reward = CarefulJudge(LLMJudge(model, JUDGE_PROMPT, fallback_score=math.nan), model)
            return BestOfN(reward, orchestrator=LMOrchestrator(UNLIMITED)), reward

        return self._all(JUDGE, items, algorithm)

    def _all(
        self, name: str, items: Sequence[Item], algorithm: Callable[[Question], tuple[Any, Any]]
    ) -> list[dict[str, Any]]:
        async def every() -> list[dict[str, Any]]:
            async with self.language_model() as model:
                return [await self._one(name, model, item, algorithm) for item in items]

        log = logging.getLogger()
        before = log.level
        log.setLevel(logging.CRITICAL)  # it logs every failed call; here the record says what failed
        try:
            return _outside_the_loop(every())
        finally:
            log.setLevel(before)

    async def _one(
        self, name: str, model: Any, item: Item, algorithm: Callable[[Question], tuple[Any, Any]]
    ) -> dict[str, Any]:
        """One question, asked again if its_hub gave all its candidates up."""
        from its_hub.api import ChatMessage

        question, messages = item
        chat = [ChatMessage(role=message.role, content=message.content) for message in messages]
        began, error = time.perf_counter(), ""
        for attempt in range(1, self.attempts + 1):
            method, reward = algorithm(question)
            try:
                found = await asyncio.wait_for(
                    method.ainfer(model, chat, self.budget, return_response_only=False), self.limit
                )
            except Exception as problem:  # its_hub raises RuntimeError, ValueError, KeyError and those of aiohttp
                error = f"{type(problem).__name__}: {problem}"[:300] if str(problem) else type(problem).__name__
                continue
            finally:
                if isinstance(reward, CarefulJudge):
                    await reward.model.close()
            self.on_done()
            return _record(name, question, self.budget, found, attempt, time.perf_counter() - began)
        self.on_done()
        failed = _record(name, question, self.budget, None, self.attempts, time.perf_counter() - began)
        return {**failed, "status": "error", "error": error}


def _paced(url: str) -> type[Any]:
    """its_hub's client, each of whose calls waits for the endpoint's rate limit as all others of this process do."""
    from its_hub import OpenAICompatibleLanguageModel

    limit = pace.of(url)

    class Paced(OpenAICompatibleLanguageModel):
        async def agenerate_single(self, *args: Any, **options: Any) -> Any:
            await asyncio.to_thread(limit.wait)
            return await super().agenerate_single(*args, **options)

    return Paced


def _record(name: str, question: Question, budget: int, found: Any, attempts: int, seconds: float) -> dict[str, Any]:
    """One question's outcome as plain data; with no readable score there is no choice, and the text is empty."""
    texts = [str(answer.get("content") or "") for answer in found.responses] if found else []
    scored = name != JUDGE or len(set(texts)) > 1  # equal candidates: its_hub asks no judge and says 1.0
    scores = [float(score) for score in getattr(found, "scores", [])] if scored else []
    unreadable = sum(score == UNREADABLE for score in scores)
    chosen = texts[found.selected_index] if found and not (scores and unreadable == len(scores)) else ""
    return {
        "algorithm": name,
        "question_id": question.id,
        "budget": budget,
        "text": chosen,
        "candidates": texts,
        "scores": [None if score == UNREADABLE else score for score in scores],
        "unreadable": unreadable,
        "prompt_tokens": found.usage.prompt_tokens if found and found.usage else 0,
        "completion_tokens": found.usage.completion_tokens if found and found.usage else 0,
        "calls": found.usage.num_calls if found and found.usage else 0,
        "attempts": attempts,
        "seconds": seconds,
        "status": "ok",
        "error": None,
    }


def _projection(question: Question) -> Callable[[str], str]:
    """What a candidate votes for; one that cannot be parsed votes for itself alone."""
    alone: list[str] = []

    def project(text: str) -> str:
        answer = canonical(question, text)
        if answer is None:
            alone.append(text)
            return f"unparsed {len(alone)}"
        return f"answer {answer}"

    return project


def last_text(conversation: Sequence[Any]) -> str:
    """The candidate at the end of a conversation that its_hub hands to a reward."""
    return str(conversation[-1].content or "")


class Agreement:
    """A reward for its_hub: 1 for the answer that a second model gave from the passages, else 0."""

    def __init__(self, question: Question, second: str) -> None:
        self.question, self.second = question, canonical(question, second) if second else None

    async def ascore(self, conversations: Sequence[Any], orchestrator: Any = None) -> list[float]:
        """A score for each conversation; no model is asked."""
        found = [canonical(self.question, last_text(conversation)) for conversation in conversations]
        return [float(answer is not None and answer == self.second) for answer in found]


class CarefulJudge:
    """its_hub's judge, with unreadable and impossible scores (not from 0 to 10) as UNREADABLE instead of 5.0."""

    def __init__(self, judge: Any, model: Any) -> None:
        self.judge, self.model = judge, model

    async def ascore(self, conversations: Sequence[Any], orchestrator: Any = None) -> list[float]:
        """A score for each conversation, from its_hub's judge."""
        scores = await self.judge.ascore(conversations, orchestrator=orchestrator)
        return [score if math.isfinite(score) and 0 <= score <= 10 else UNREADABLE for score in scores]


def _outside_the_loop(work: Coroutine[Any, Any, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Run `work` in a loop of its own, in a thread: a notebook's loop is busy, and its_hub must not wait inside it."""
    done: list[list[dict[str, Any]]] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            done.append(asyncio.run(work))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="its_hub")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return done[0]


def sentence(records: Sequence[Mapping[str, Any]] | None, sample: int) -> str:
    """What was run, or that it was not and what it would have done."""
    if records is None:
        return (
            f"its_hub is not installed, so this cell is left out: {INSTALL}, and it would ask {sample} questions "
            "through the local endpoint, with SelfConsistency and with BestOfN, and two of them with its judge."
        )
    failed = sum(record["status"] == "error" for record in records)
    judged = [record for record in records if record["algorithm"] == JUDGE]
    unreadable, verdicts = sum(r["unreadable"] for r in judged), sum(len(r["scores"]) for r in judged)
    return (
        f"its_hub ran {len(records)} times with {sum(r['calls'] for r in records)} calls for candidates; {failed} "
        f"questions failed; {unreadable} of {verdicts} of its judge's scores could not be read and count as no score."
    )


def summary(records: Sequence[Mapping[str, Any]], questions: Sequence[Question]) -> pd.DataFrame:
    """A row for each algorithm: right answers under strict with Wilson's interval, and what it cost a question."""
    known = {question.id: question for question in questions}
    rows = []
    for name in dict.fromkeys(record["algorithm"] for record in records):
        part = [record for record in records if record["algorithm"] == name]
        right = sum(strict(known[record["question_id"]], record["text"]) for record in part)
        row = {"algorithm": name, "N": part[0]["budget"], "right": right, "n": len(part)}
        row |= wilson(right, len(part))._asdict() | {"errors": sum(r["status"] == "error" for r in part)}
        row |= {"unreadable scores": sum(r["unreadable"] for r in part)}
        row |= {"tokens": sum(r["prompt_tokens"] + r["completion_tokens"] for r in part) / len(part)}
        rows.append({**row, "seconds": sum(r["seconds"] for r in part) / len(part)})
    names = ["algorithm", "N", "right", "n", "rate", "low", "high", "errors", "unreadable scores", "tokens", "seconds"]
    return pd.DataFrame(rows, columns=names)
