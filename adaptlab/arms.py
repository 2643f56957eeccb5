"""Arms: a model with a kind of context is asked every question, and what it was shown is kept with what it said."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from adaptlab import prompts
from adaptlab.documents import header_of
from adaptlab.retrieval import Searches, as_hit, holds
from adaptlab.schemas import Arm, Generation, Hit, Message, PhrasingRole, Question
from config import LabError

Fits = Callable[[Sequence[Message]], bool]


class Generates(Protocol):
    """What an arm needs of a generator; `adaptlab.generation` has the local one and the one for endpoints."""

    def generate(
        self,
        chats: Sequence[Sequence[Message]],
        *,
        n: int = ...,
        temperature: float = ...,
        max_tokens: int | None = ...,
        seeds: Sequence[int] | None = ...,
        on_item: Callable[[int, list[Any]], None] | None = ...,
    ) -> Sequence[Sequence[Any]]:
        """A list of completions for every chat."""


def context_for(arm: Arm, question: Question, index: Searches | None, role: PhrasingRole, k: int) -> list[Hit]:
    """The hits an arm puts before a question: none, the retrieved ones, or those that hold the proving quotes.

    A question without quotes has no oracle context; it gets what was retrieved, which does not answer it.
    """
    if arm.context == "none":
        return []
    if index is None:
        raise LabError(f"The arm {arm.name!r} needs {arm.context} context: give run_arm an index of the chunks.")
    if arm.context == "retrieved" or not question.quotes:
        return index.search(question.text(role), k)
    holding = [chunk for chunk in index.chunks if any(holds([chunk], quote) for quote in question.quotes)]
    return [as_hit(chunk, 0.0, rank) for rank, chunk in enumerate(holding, 1)]


def messages_for(question: str, hits: Sequence[Hit], document: str | None = None) -> list[Message]:
    """The chat for a question over its hits; a hit that continues a table gets the table's head in front."""
    if not hits:
        return [Message(role="user", content=prompts.closed_book(question))]
    heads = [header_of(hit, document) if document else "" for hit in hits]
    passages = [(hit.title, f"{head}\n{hit.text}" if head else hit.text) for hit, head in zip(hits, heads, strict=True)]
    return [Message(role="user", content=prompts.with_passages(question, passages))]


def fitted(question: str, hits: Sequence[Hit], document: str | None, fits: Fits | None) -> list[Message]:
    """The chat over as many of the best hits as fit; what does not even fit with one hit is left as it is.

    The stored hits stay what was retrieved, so that a proof that was cut off here can be told from one never found.
    """
    messages = messages_for(question, hits, document)
    for count in range(len(hits), 1, -1):
        if fits is None or fits(messages):
            return messages
        messages = messages_for(question, hits[: count - 1], document)
    return messages


def seed_for(question_id: str, seed: int) -> int:
    """A seed of its own for each question, the same on every machine and in every batch."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{question_id}".encode()).digest()[:4], "big") >> 1


def run_arm(
    arm: Arm,
    questions: Sequence[Question],
    generator: Generates,
    index: Searches | None = None,
    document: str | None = None,
    role: PhrasingRole = "unseen form",
    k: int = 4,
    on_done: Callable[[list[Generation]], None] | None = None,
    done: Iterable[Generation] = (),
    max_tokens: int = 64,
    seed: int = 0,
    fits: Fits | None = None,
) -> list[Generation]:
    """Every question's candidates under one arm, in the order of the questions.

    `done` are generations of an earlier, interrupted run: a question whose candidates are all there, with the same
    messages and without an error, is not asked again. `on_done` gets each question's candidates as they arrive.
    `fits` says whether a chat and its answer go into the model's window; without it, no context is shortened.
    """
    before: dict[str, list[Generation]] = defaultdict(list)
    for item in done:
        if item.arm == arm.name:
            before[item.question_id].append(item)
    kept: dict[str, list[Generation]] = {}
    todo: list[tuple[Question, list[Hit], list[Message]]] = []
    for question in questions:
        hits = context_for(arm, question, index, role, k)
        messages = fitted(question.text(role), hits, document, fits)
        earlier = sorted(before[question.id], key=lambda item: item.sample)
        if _finished(earlier, arm, messages):
            kept[question.id] = earlier
        else:
            todo.append((question, hits, messages))

    def keep(at: int, completions: Sequence[Any]) -> None:
        question, hits, messages = todo[at]
        if question.id not in kept:
            kept[question.id] = [
                _generation(arm, question, role, hits, messages, sample, item, seed_for(question.id, seed))
                for sample, item in enumerate(completions)
            ]
            if on_done:
                on_done(kept[question.id])

    if todo:
        answered = generator.generate(
            [messages for _, _, messages in todo],
            n=arm.n,
            temperature=arm.temperature,
            max_tokens=max_tokens,
            seeds=[seed_for(question.id, seed) for question, _, _ in todo],
            on_item=keep,
        )
        for at, completions in enumerate(answered):
            keep(at, completions)
    return [generation for question in questions for generation in kept[question.id]]


def _finished(earlier: Sequence[Generation], arm: Arm, messages: Sequence[Message]) -> bool:
    complete = [item.sample for item in earlier] == list(range(arm.n))
    return complete and earlier[0].messages == list(messages) and all(item.status != "error" for item in earlier)


def _generation(
    arm: Arm,
    question: Question,
    role: PhrasingRole,
    hits: list[Hit],
    messages: list[Message],
    sample: int,
    completion: Any,
    seed: int,
) -> Generation:
    given = getattr(completion, "seed", None)
    return Generation(
        question_id=question.id,
        phrasing=question.text(role),
        arm=arm.name,
        sample=sample,
        messages=messages if sample == 0 else [],
        hits=hits if sample == 0 else [],
        text=completion.text or "",
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        finish_reason=completion.finish_reason,
        seed=seed if given is None else given,
        seconds=completion.seconds,
        status=completion.status,
        error=completion.error,
        attempts=getattr(completion, "attempts", 1),
        faults=getattr(completion, "faults", []),
    )
