"""The batched decoding loop: what prompts have in common is read once, and the answers stay what they are alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from adaptlab import models, prompts
from adaptlab.decoding import SHORTEST_HEAD, common_head
from adaptlab.generation import LocalGenerator

PASSAGES = [
    ("Bells", "The Grey Bell rings at dusk. Its weight is 40 stones and its Price is 350 crowns."),
    ("Boats", "| Boat | Price | Crew |\n|---|---|---|\n| Cog | 900 crowns | 12 |\n| Skiff | 40 crowns | 2 |"),
]
QUESTIONS = (
    "What is the Price of the Grey Bell?",
    "How many does it take to crew the Cog, and what is its Price?",
    "What is the Weight of the Grey Bell?",
    "Price of the Skiff?",
)


@pytest.fixture(scope="module")
def loaded() -> models.Loaded:
    return models.load("mini-granite")


def chats() -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": prompts.with_passages(question, PASSAGES)}] for question in QUESTIONS]


@contextmanager
def tokens_read(loaded: models.Loaded) -> Iterator[list[int]]:
    """The numbers of tokens that the model is given, call by call."""
    seen: list[int] = []

    def note(_module: object, _arguments: object, options: dict) -> None:
        seen.append(options["input_ids"].numel())

    handle = loaded.model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def test_the_common_head_ends_where_prompts_begin_to_differ_and_is_never_a_whole_prompt() -> None:
    head = tuple(range(SHORTEST_HEAD + 4))
    assert common_head([(*head, 7, 8), (*head, 9), (*head, 7, 1, 1)]) == len(head)
    assert common_head([head, (*head, 9)]) == len(head) - 1
    assert common_head([(1, *head), (2, *head)]) == 0, "nothing in common"
    assert common_head([head[:8] + (99,), head[:8] + (98,)]) == 0, "too short to pay"
    assert common_head([head]) == 0, "one prompt shares with nobody"


def test_prompts_with_a_common_head_are_answered_as_they_are_alone(loaded: models.Loaded) -> None:
    generator = LocalGenerator(loaded)
    together = generator.generate(chats(), n=3, temperature=0.8, max_tokens=24, seeds=list(range(4)))
    alone = [generator.generate([c], n=3, temperature=0.8, max_tokens=24, seeds=i)[0] for i, c in enumerate(chats())]
    assert [[item.text for item in row] for row in together] == [[item.text for item in row] for row in alone]


def test_a_common_head_is_read_once(loaded: models.Loaded) -> None:
    generator = LocalGenerator(loaded)
    with tokens_read(loaded) as alone:
        for chat in chats():
            generator.generate([chat], max_tokens=1, seeds=0)
    with tokens_read(loaded) as together:
        generator.generate(chats(), max_tokens=1, seeds=0)
    assert sum(together) < 0.5 * sum(alone)
