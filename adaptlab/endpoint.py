"""Asking an OpenAI-compatible endpoint that fails now and then: retries, pauses, a rate limit, and an early stop.

Every failed call is kept by its kind (`FAULTS`) in the completion it was made for, so that `call_table` can say what a
run's calls came to. The official client could retry too, but it cannot be stopped while it pauses, does not retry a
reply that is no chat completion, and tells nobody what it retried; so it makes single calls here, and tenacity repeats
them.
"""

from __future__ import annotations

import email.utils
import math
import random
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from time import perf_counter
from typing import TYPE_CHECKING, Any

from adaptlab import pace
from adaptlab.generation import Completion, Generator, OnItem, Request, copies
from config import Endpoint, LabError

if TYPE_CHECKING:
    import pandas as pd
    import tenacity

    from adaptlab.schemas import Generation

RATE_LIMIT, SERVER_ERROR, TIMEOUT, CUT_OFF = "rate limit", "server error", "timeout", "connection lost"
MALFORMED, NO_CHOICES, REFUSED, TURNED_AWAY = "malformed reply", "no choices", "refused", "turned away"
FAULTS = (RATE_LIMIT, SERVER_ERROR, TIMEOUT, CUT_OFF, MALFORMED, NO_CHOICES, REFUSED, TURNED_AWAY)
GIVE_UP_AFTER = 8  # if so many requests in a row stay without an answer, each after its retries, more would not help
CONNECT_SECONDS = 10.0
DEADLINE = 2.0  # a reply that has begun gets as long again as the endpoint may be silent before
FIRST_PAUSE = 0.5  # seconds before the first retry; every further pause is twice as long, up to 16 times as long
LONGEST_ORDERED_PAUSE = 120.0  # seconds; who asks for more with Retry-After is not waited for
NEVER = (400, 413, 422)  # the request itself cannot be answered, such as a prompt over the window
PASSING = (408, 409, 429)  # besides everything from 500 on


class Failure(Exception):
    """A call without an answer: what it was, in words for a person, and whether and when to try again."""

    def __init__(self, kind: str, sentence: str, passing: bool, pause: float | None = None) -> None:
        super().__init__(sentence)
        self.kind, self.sentence, self.passing, self.pause = kind, sentence, passing, pause


class Asking(Generator):
    """Asks in threads, `max_concurrency` requests at a time: so it works inside the event loop of a notebook too."""

    max_concurrency: int
    give_up_after: int

    def run(self, requests: Sequence[Request], on_item: OnItem | None = None) -> list[list[Completion]]:
        """The completions of every request, in order; `on_item` is called as requests finish.

        Raises a LabError with the last failure's sentence when `give_up_after` requests in a row got no answer.
        """
        stopped = threading.Event()
        answers: list[list[Completion]] = [[] for _ in requests]
        pool = ThreadPoolExecutor(max(1, min(self.max_concurrency, len(requests))), "endpoint")
        answered, in_a_row = False, 0
        try:
            tasks = {pool.submit(self.complete, request, stopped): i for i, request in enumerate(requests)}
            for task in as_completed(tasks):
                made = answers[tasks[task]] = task.result()
                if on_item is not None:
                    on_item(tasks[task], made)
                if any(item.status != "error" for item in made):
                    answered, in_a_row = True, 0
                elif not answered or made[0].finish_reason != "refused":
                    in_a_row += 1
                if in_a_row >= self.give_up_after:
                    raise LabError(made[0].error)
        finally:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
        return answers

    def complete(self, request: Request, stopped: threading.Event) -> list[Completion]:
        """All samples of one request, those without an answer as errors; fewer only once `stopped` is set."""
        raise NotImplementedError


class EndpointGenerator(Asking):
    """Asks an OpenAI-compatible endpoint, `max_concurrency` requests at a time.

    What may pass (429, 5xx, timeouts, lost connections, replies that are no chat completion) is tried again, up to
    `max_retries` times, after growing pauses or as long as `Retry-After` says; no call to the URL begins meanwhile.
    `timeout` is how long the endpoint may send nothing, `connect_timeout` how long it may take to accept a connection,
    `deadline` how long a call may take altogether (else `DEADLINE` times `timeout`), all in seconds.
    `requests_per_minute` is the limit of all calls of this process to the URL, retries included.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        model: str,
        max_concurrency: int = 8,
        timeout: float = 120.0,
        max_retries: int = 4,
        *,
        connect_timeout: float = CONNECT_SECONDS,
        deadline: float | None = None,
        requests_per_minute: float | None = None,
        first_pause: float = FIRST_PAUSE,
        give_up_after: int = GIVE_UP_AFTER,
    ) -> None:
        from httpx import Timeout
        from openai import OpenAI

        from adaptlab.deadline import client

        self.url, self.model = url, model
        self.max_concurrency, self.max_retries = max_concurrency, max_retries
        self.first_pause, self.give_up_after = first_pause, give_up_after
        self._key = key or "none"
        limits = Timeout(timeout, connect=connect_timeout)
        http = client(deadline or DEADLINE * timeout, limits)
        self._client = OpenAI(base_url=url, api_key=self._key, timeout=limits, max_retries=0, http_client=http)
        self._pace = pace.of(url, requests_per_minute)

    @classmethod
    def of(cls, endpoint: Endpoint, model: str, **changes: Any) -> EndpointGenerator:
        """A generator for a model at the (first) endpoint that the settings describe."""
        return cls(
            str(endpoint.url),
            endpoint.key,
            endpoint.model or model,
            max_concurrency=endpoint.concurrency,
            timeout=endpoint.timeout,
            requests_per_minute=endpoint.requests_per_minute,
            **changes,
        )

    def complete(self, request: Request, stopped: threading.Event) -> list[Completion]:
        """All samples of one request; a server that ignores `n` is asked again, each time with another seed."""
        seed = secrets.randbits(31) if request.seed is None and not request.greedy else request.seed
        done: list[Completion] = []
        while len(done) < request.draws and not stopped.is_set():
            done += self._ask(request, request.draws - len(done), None if seed is None else seed + len(done), stopped)
        made = copies(done[: request.draws], request.n) if done else []
        for item in made[1:] if request.greedy else []:
            item.attempts, item.faults = 0, []
        return made

    def _ask(self, request: Request, count: int, seed: int | None, stopped: threading.Event) -> list[Completion]:
        """Calls until one is answered; if none is, `count` completions with status `error` come back."""
        import tenacity

        faults: list[str] = []

        def call() -> list[Completion]:
            self._pace.wait(stopped)
            if stopped.is_set():
                raise Failure("", "The run was stopped.", passing=False)
            try:
                return self._call(request, count, seed)
            except Failure as failure:
                faults.append(failure.kind)
                self._pace.hold(failure.pause or 0.0)
                raise

        repeat = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, Failure) and error.passing),
            stop=tenacity.stop_after_attempt(self.max_retries + 1) | tenacity.stop_when_event_set(stopped),
            wait=pause_before(self.first_pause),
            sleep=tenacity.sleep_using_event(stopped),
            reraise=True,
        )
        began = perf_counter()
        try:
            made = repeat(call)
            calls = len(faults) + 1
        except Failure as failure:
            reason: Any = "refused" if failure.kind == REFUSED else "error"
            seconds = (perf_counter() - began) / count
            lost = Completion(finish_reason=reason, seconds=seconds, seed=seed, status="error", error=failure.sentence)
            made = [lost.model_copy() for _ in range(count)]
            calls = len(faults)
        for item in made:
            item.attempts = 0
        made[0].attempts, made[0].faults = calls, faults
        return made

    def _call(self, request: Request, count: int, seed: int | None) -> list[Completion]:
        """One call; at least one completion comes back, or a Failure is raised."""
        import openai

        options: dict[str, Any] = {"max_tokens": request.max_tokens, "seed": seed, "stop": list(request.stop) or None}
        options["n"] = count if count > 1 else None
        began = perf_counter()
        try:
            raw = self._client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=request.messages(),  # type: ignore[arg-type]
                temperature=request.temperature,
                **{name: value for name, value in options.items() if value is not None},
            )
            return self._read(raw.parse(), seed, perf_counter() - began)
        except openai.APIStatusError as error:
            raise self._status_failure(error) from error
        except openai.APITimeoutError as error:
            said = "did not answer in time: check that it is up, or ask it for less at once."
            raise Failure(TIMEOUT, f"The endpoint {self.url} {said}", passing=True) from error
        except openai.APIConnectionError as error:
            said = "cannot be reached: check LAB_ENDPOINT_URL and that the server runs."
            raise Failure(CUT_OFF, f"The endpoint {self.url} {said}", passing=True) from error
        except (openai.OpenAIError, ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
            raise self._malformed(self._said(error)) from error

    def _read(self, answer: Any, seed: int | None, seconds: float) -> list[Completion]:
        """The completions in a server's answer, or a Failure that says what it is instead."""
        if isinstance(answer, str):  # a page, not JSON: another address, or a proxy's greeting
            raise self._malformed("a page that is not JSON", passing=False)
        if not getattr(answer, "choices", None):
            raise self._malformed("no choices in it", NO_CHOICES)
        usage = answer.usage
        spent = usage.completion_tokens if usage else 0
        completions = []
        for number, choice in enumerate(answer.choices):
            text = choice.message.content or ""
            completions.append(
                Completion(
                    text=text,
                    prompt_tokens=usage.prompt_tokens if usage else 0,
                    completion_tokens=spent // len(answer.choices) + (number < spent % len(answer.choices)),
                    finish_reason="length" if choice.finish_reason == "length" else "stop",
                    seconds=seconds / len(answer.choices),
                    seed=seed,
                    status="ok" if text.strip() else "empty",
                )
            )
        return completions

    def _malformed(self, said: str, kind: str = MALFORMED, passing: bool = True) -> Failure:
        """The failure of a reply that is no chat completion."""
        sentence = f"The endpoint {self.url} sent no chat completion ({said}): check that the URL ends in /v1."
        return Failure(kind, sentence, passing)

    def _status_failure(self, error: Any) -> Failure:
        """The failure that an HTTP status stands for."""
        status, headers = error.status_code, error.response.headers
        said = self._said(error)
        if status in (401, 403):
            sentence = f"The endpoint {self.url} refused the key ({status}): check LAB_ENDPOINT_KEY."
            return Failure(TURNED_AWAY, sentence, passing=False)
        if status == 404:
            sentence = f"The endpoint {self.url} does not know {self.model!r} or the address (404: {said}): check both."
            return Failure(TURNED_AWAY, sentence, passing=False)
        sentence = f"The endpoint {self.url} answered {status}: {said}."
        if status in NEVER:
            return Failure(REFUSED, sentence, passing=False)
        passing = passes(status)
        kind = RATE_LIMIT if status == 429 else SERVER_ERROR if passing else TURNED_AWAY
        pause = ordered_pause(headers)
        if pause is not None and pause > LONGEST_ORDERED_PAUSE:
            sentence = f"The endpoint {self.url} asks for {pause:.0f} seconds of rest ({status}): run again after that."
            return Failure(kind, sentence, passing=False)
        return Failure(kind, sentence, passing, pause)

    def _said(self, error: Exception) -> str:
        """A server's own words, shortened, in one line and without anything that looks like a key."""
        body = getattr(error, "body", None)
        said = body.get("message") if isinstance(body, dict) else None
        words = " ".join(str(said or error).replace(self._key, "[key]").split()).rstrip(".")
        return re.sub(r"\b(sk|hf|Bearer)[-_ ]\S+", "[key]", words)[:200]


def pause_before(first: float) -> Callable[[tenacity.RetryCallState], float]:
    """Seconds before the next try: what the endpoint ordered, else twice the last pause, and a little by chance."""
    import tenacity

    grow = tenacity.wait_exponential_jitter(multiplier=first, max=16 * first, jitter=first)

    def pause(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, Failure) and error.pause is not None:
            return error.pause + random.uniform(0, first)
        return grow(state)

    return pause


def passes(status: int) -> bool:
    """Whether another call may fare better than one that ended with this HTTP status."""
    return status in PASSING or status >= 500


def ordered_pause(headers: Any) -> float | None:
    """The seconds that `Retry-After` (a number or a date) or `retry-after-ms` orders; None where nothing is ordered."""
    milliseconds, text = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        seconds = float(milliseconds) / 1000 if milliseconds else float(text or 0)
    except ValueError:
        seconds = _seconds_until(str(text or ""))
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _seconds_until(date: str) -> float:
    """Seconds from now until an HTTP date; 0 for what is none."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return 0.0


def call_table(generations: Iterable[Generation]) -> pd.DataFrame:
    """What the calls to an endpoint came to, a row for each arm (its index).

    `calls` is what the endpoint was asked, the `FAULTS` columns how many calls failed of what (empty kinds are left
    out); `recovered` and `lost` are questions with failed calls that got all their answers in the end, or did not.
    """
    import pandas as pd

    questions: dict[tuple[str, str], list[Generation]] = {}
    for item in generations:
        questions.setdefault((item.arm, item.question_id), []).append(item)
    rows: dict[str, Counter[str]] = {}
    for (arm, _), items in questions.items():
        row = rows.setdefault(arm, Counter())
        faults = Counter(fault for item in items for fault in item.faults)
        row.update(faults)
        lost = any(item.status == "error" for item in items)
        row.update(questions=1, calls=sum(item.attempts for item in items))
        row.update(lost=int(lost), recovered=int(bool(faults) and not lost))
    kinds = [kind for kind in FAULTS if any(row[kind] for row in rows.values())]
    columns = ["questions", "calls", *kinds, "recovered", "lost"]
    table = pd.DataFrame([[row[name] for name in columns] for row in rows.values()], list(rows), columns)
    return table.rename_axis("arm")
