"""The part of OpenAI's chat protocol that the lab's server speaks. Fields it does not know are tolerated."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from adaptlab.generation import Completion, Request

MOST_SAMPLES = 128


class ApiError(Exception):
    """An answer with an HTTP status and one sentence."""

    def __init__(self, status: int, sentence: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(sentence)
        self.status, self.param, self.code = status, param, code


class Part(BaseModel):
    """A piece of a message's content; only text can be read."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One turn of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] = Field(union_mode="left_to_right")

    def plain(self) -> dict[str, str]:
        """The message as chat templates want it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(BaseModel):
    """What a stream holds besides the text."""

    include_usage: bool | None = False


class ChatRequest(BaseModel):
    """The body of a chat completion."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    n: int | None = Field(1, ge=1, le=MOST_SAMPLES)
    temperature: float | None = Field(1.0, ge=0, le=10)
    seed: int | None = Field(None, ge=-(2**63), lt=2**64)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: str | list[str] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None


def to_request(body: ChatRequest) -> Request:
    """What the generator is asked for a body of the protocol."""
    if body.stream_options is not None and not body.stream:
        raise ApiError(
            400, "There are stream_options, but stream is not true: set it, or leave them out.", "stream_options"
        )
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return Request(
        chat=[message.plain() for message in body.messages],
        n=body.n or 1,
        temperature=1.0 if body.temperature is None else body.temperature,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        seed=body.seed,
        stop=tuple(text for text in stops if text),
    )


def chat_answer(head: Head, completions: list[Completion]) -> dict[str, Any]:
    """A chat completion with one choice for each sample."""
    choices = [
        {
            "index": number,
            "message": {"role": "assistant", "content": item.text},
            "finish_reason": item.finish_reason,
            "logprobs": None,
        }
        for number, item in enumerate(completions)
    ]
    return {**head.fields("chat.completion"), "choices": choices, "usage": usage(completions)}


def usage(completions: list[Completion]) -> dict[str, int]:
    """The tokens of an answer; greedy copies cost their tokens like any other sample."""
    prompt = completions[0].prompt_tokens
    written = sum(item.completion_tokens for item in completions)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


@dataclass(frozen=True)
class Head:
    """What an answer and all chunks of a stream begin with."""

    model: str
    name: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def fields(self, kind: str) -> dict[str, Any]:
        """The head as the protocol names it."""
        return {"id": self.name, "object": kind, "created": self.created, "model": self.model}


def event(value: Any) -> str:
    """A server-sent event with JSON in it."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


DONE = "data: [DONE]\n\n"


def chunk(head: Head, with_usage: bool, index: int, delta: dict[str, str], reason: str | None = None) -> str:
    """The event of one choice: a piece of its text, or the reason for its end."""
    choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}
    last = {"usage": None} if with_usage else {}
    return event({**head.fields("chat.completion.chunk"), "choices": [choice], **last})


def usage_chunk(head: Head, completions: list[Completion]) -> str:
    """The event with a stream's usage, which has no choices."""
    return event({**head.fields("chat.completion.chunk"), "choices": [], "usage": usage(completions)})


def error_body(sentence: str, status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients expect it."""
    kind = {401: "authentication_error", 404: "not_found_error"}.get(status)
    kind = kind or ("invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": sentence, "type": kind, "param": param, "code": code}}


def field_sentence(errors: Sequence[Any]) -> tuple[str, str | None]:
    """The sentence for the first thing that is wrong with a body, and the field it names."""
    first = errors[0]
    places = [str(part) for part in first["loc"] if part != "body"]
    if first["type"] == "json_invalid" or not places:
        return "The body is not a JSON object: send a chat completion request as JSON.", None
    name = ".".join(places)
    said = str(first["msg"])
    return f"The field {name} is not right ({said[:1].lower()}{said[1:]}): correct it and send the request again.", name
