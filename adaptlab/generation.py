"""One interface over local models and endpoints: chats in, texts and their costs out.

`LocalGenerator` decodes many chats at once, `EndpointGenerator` (in `adaptlab.endpoint`) asks an OpenAI-compatible
server. Both give every chat a list of completions, each with its own status: one that fails never takes another with
it. What a sample says depends on its chat, its seed and its number among the samples, not on what else is in the batch
(in float32).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from adaptlab.schemas import GenerationStatus, Message
from config import LabError

if TYPE_CHECKING:
    from adaptlab.endpoint import EndpointGenerator as EndpointGenerator
    from adaptlab.models import Loaded

Chat = Sequence[Message | dict[str, Any]]
DEFAULT_ANSWER_TOKENS = 512
FinishReason = Literal["stop", "length", "error", "refused"]


class Completion(BaseModel):
    """One sample. `seconds` is its share of the time its batch or its request took, so shares can be added up.

    `finish_reason` is `refused` where the request itself cannot be answered, such as a prompt over the window.
    `attempts` counts the calls made for this sample, 0 where it came with the call of another one, and `faults` names
    what went wrong in those that failed, so both can be added up too.
    """

    text: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: FinishReason = "stop"
    seconds: float = 0.0
    seed: int | None = None
    status: GenerationStatus = "ok"
    error: str | None = None
    attempts: int = 1
    faults: list[str] = Field(default_factory=list)


OnItem = Callable[[int, list[Completion]], None]


@dataclass(frozen=True)
class Request:
    """One chat with its own sampling settings; `max_tokens=None` means as many as fit, at most 512.

    Local models only: `on_text(sample, text)` gets each sample's whole text so far after every token but the last, in
    the thread that generates; the samples break off as soon as `wanted` says no.
    """

    chat: Chat
    n: int = 1
    temperature: float = 0.0
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    on_text: Callable[[int, str], None] | None = None
    wanted: Callable[[], bool] | None = None

    @property
    def greedy(self) -> bool:
        """True where every sample is the same, so that one is enough."""
        return self.temperature <= 0

    @property
    def draws(self) -> int:
        """How many samples have to be computed."""
        return 1 if self.greedy else self.n

    def messages(self) -> list[dict[str, str]]:
        """The chat as plain dictionaries."""
        return [m.model_dump() if isinstance(m, Message) else dict(m) for m in self.chat]


class Generator:
    """What local models and endpoints share: many chats with common or individual settings become requests."""

    def run(self, requests: Sequence[Request], on_item: OnItem | None = None) -> list[list[Completion]]:
        """The completions of every request, in order."""
        raise NotImplementedError

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        n: int | Sequence[int] = 1,
        temperature: float | Sequence[float] = 0.0,
        max_tokens: int | None | Sequence[int | None] = 64,
        seeds: int | None | Sequence[int | None] = None,
        stop: str | Sequence[str] | None = None,
        on_item: OnItem | None = None,
    ) -> list[list[Completion]]:
        """Complete every chat `n` times; `n`, `temperature`, `max_tokens`, `seeds` are one value or one for each chat.

        `on_item(index, completions)` is called as each chat is done, in the thread that called `generate`.
        """
        count = len(chats)
        columns = zip(
            chats,
            _for_each(n, count, "n"),
            _for_each(temperature, count, "temperature"),
            _for_each(max_tokens, count, "max_tokens"),
            _for_each(seeds, count, "seeds"),
            strict=True,
        )
        stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
        requests = [checked(Request(chat, k, heat, most, seed, stops)) for chat, k, heat, most, seed in columns]
        return self.run(requests, on_item)


class LocalGenerator(Generator):
    """Batched decoding on a loaded model; `batch_tokens` bounds the cache and `batch_size` the samples of a batch.

    `should_stop` is asked before every step; once it says yes, the run ends with a KeyboardInterrupt.
    """

    def __init__(
        self,
        loaded: Loaded,
        batch_tokens: int = 16_384,
        batch_size: int = 64,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self.loaded = loaded
        self.batch_tokens = batch_tokens
        self.batch_size = batch_size
        self.should_stop = should_stop

    def run(self, requests: Sequence[Request], on_item: OnItem | None = None) -> list[list[Completion]]:
        """The completions of every request, in order; `on_item` is called as requests finish."""
        from adaptlab.decoding import Row, decode

        if self.loaded.model is None:
            raise LabError("This model has been freed: load it again before generating with it.")
        answers: list[list[Completion]] = [[] for _ in requests]
        waiting = [request.draws for request in requests]
        rows: list[Row] = []

        def finish(index: int, sample: int, completion: Completion) -> None:
            answers[index][sample] = completion
            waiting[index] -= 1
            if waiting[index]:
                return
            answers[index] = copies(answers[index], requests[index].n)
            if on_item is not None:
                on_item(index, answers[index])

        for index, request in enumerate(requests):
            answers[index] = [Completion()] * request.draws
            seed = secrets.randbits(31) if request.seed is None and not request.greedy else request.seed
            try:
                prompt = self.prompt_ids(request)
            except LabError as problem:
                refused = Completion(finish_reason="refused", status="error", error=str(problem), seed=seed)
                for sample in range(request.draws):
                    finish(index, sample, refused)
                continue
            most = request.max_tokens or min(DEFAULT_ANSWER_TOKENS, self.loaded.window - len(prompt))
            rows += [
                Row(
                    index,
                    sample,
                    prompt,
                    most,
                    request.temperature,
                    seed,
                    request.stop,
                    request.on_text,
                    request.wanted,
                )
                for sample in range(request.draws)
            ]
        decode(self.loaded, rows, finish, self.batch_tokens, self.batch_size, self.should_stop)
        return answers

    def prompt_ids(self, request: Request) -> tuple[int, ...]:
        """The tokens of the prompt, or a LabError that says why there can be no answer to it."""
        if not request.chat:
            raise LabError("The chat is empty: give it at least one message.")
        try:
            ids = self.loaded.tokenizer.apply_chat_template(
                request.messages(),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
                enable_thinking=False,
            )
        except Exception as error:  # a template is a program: what it raises is anything
            raise LabError(f"The chat template of {self.loaded.name} refuses this chat ({error}).") from error
        wanted, window = request.max_tokens or 1, self.loaded.window
        if len(ids) + wanted > window:
            raise LabError(
                f"The prompt has {len(ids)} tokens and the answer may take {wanted}, but the window of "
                f"{self.loaded.name} holds {window}: shorten the prompt or lower max_tokens."
            )
        return tuple(ids)


def __getattr__(name: str) -> Any:
    """`EndpointGenerator` has a module of its own, which stands on this one."""
    if name != "EndpointGenerator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from adaptlab.endpoint import EndpointGenerator

    return EndpointGenerator


def checked(request: Request) -> Request:
    """`request`, or a LabError that names the setting that cannot be."""
    if request.n < 1:
        raise LabError(f"n is {request.n}: ask for at least one sample.")
    if not 0 <= request.temperature <= 10:
        raise LabError(f"temperature is {request.temperature}: give a number from 0 (greedy) to 10.")
    if request.max_tokens is not None and request.max_tokens < 1:
        raise LabError(f"max_tokens is {request.max_tokens}: an answer needs at least one token.")
    return request


def _for_each(value: Any, count: int, name: str) -> list[Any]:
    """A single value repeated, or a list of values that is as long as the list of chats."""
    if value is None or isinstance(value, Number):
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise LabError(f"{name} has {len(values)} values for {count} chats: give one value, or one for each chat.")
    return values


def copies(completions: list[Completion], n: int) -> list[Completion]:
    """`n` completions out of the one that greedy decoding gives (its time shared), or the `n` that were sampled."""
    if len(completions) == n:
        return completions
    shared = completions[0].model_copy(update={"seconds": completions[0].seconds / n})
    return [shared.model_copy() for _ in range(n)]
