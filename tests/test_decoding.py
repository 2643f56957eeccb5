"""The batched decoding loop: what prompts have in common is read once, and the answers stay what they are alone."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import pytest
import torch
from conftest import ROOT

from adaptlab import decoding, models, prompts
from adaptlab.decoding import ALONE_TOKENS, SHORTEST_HEAD, common_head, prefill_parts
from adaptlab.generation import LocalGenerator, Request

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


def long_chats(share: bool) -> list[list[dict[str, str]]]:
    """Prompts of more than ALONE_TOKENS tokens, over the same passages or each over its own."""
    texts = [f"The Bell of Ward {ward} rings at dusk, and its Price is {300 + ward} crowns." for ward in range(12)]
    made = []
    for number, question in enumerate(QUESTIONS):
        order = texts if share else texts[number:] + texts[:number]
        passages = [(f"Ward {place}", text) for place, text in enumerate(order)]
        made.append([{"role": "user", "content": prompts.with_passages(question, passages)}])
    return made


@pytest.mark.parametrize("share", [True, False])
def test_long_prompts_are_answered_as_generate_answers_them(loaded: models.Loaded, share: bool) -> None:
    generator = LocalGenerator(loaded)
    ours = [row[0].text for row in generator.generate(long_chats(share), max_tokens=24)]
    for chat, text in zip(long_chats(share), ours, strict=True):
        ids = torch.tensor([generator.prompt_ids(Request(chat, max_tokens=24))])
        assert ids.shape[1] > ALONE_TOKENS
        with torch.inference_mode():
            made = loaded.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
                                         max_new_tokens=24, pad_token_id=loaded.tokenizer.pad_token_id)  # fmt: skip
        assert loaded.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True).strip() == text.strip()


def test_long_prompts_are_read_apart_unless_a_long_head_is_shared(loaded: models.Loaded) -> None:
    generator = LocalGenerator(loaded)
    with tokens_read(loaded) as apart:
        generator.generate(long_chats(False), max_tokens=1)
    lengths = sorted(len(generator.prompt_ids(Request(chat, max_tokens=1))) for chat in long_chats(False))
    assert sorted(apart) == lengths  # no padding, nothing read twice
    with tokens_read(loaded) as together:
        generator.generate(long_chats(True), max_tokens=1)
    assert sum(together) < 0.5 * sum(lengths)


def test_a_long_prompt_is_a_part_of_its_own() -> None:
    short, long = (1,) * 5, (2,) * 300
    assert prefill_parts([short, short, long, long], 256) == [[short, short], [long], [long]]
    assert prefill_parts([short, short, long, long]) == [[short, short], [long, long]]


def test_the_phases_of_decoding_add_up_and_leave_no_trace(loaded: models.Loaded) -> None:
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "generation.py"))
    before, spent = decoding._Batch._choose, {}
    with benchmark["timed_phases"](spent):
        began = perf_counter()
        LocalGenerator(loaded).generate(chats(), n=2, temperature=0.8, max_tokens=4, seeds=0)
        took = perf_counter() - began
    assert decoding._Batch._choose is before
    assert spent["_forward, next token"][0] == 3 and spent["_choose"][0] == spent["_with_noise"][0] == 4
    assert 0.5 * took < sum(row[1] for row in spent.values()) <= took
