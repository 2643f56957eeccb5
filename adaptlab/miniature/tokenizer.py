"""The family's one tokenizer: byte-level BPE with single digits and a chat template."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from adaptlab.miniature.corpus import Conversation, conversations

VOCABULARY = 2048
WINDOW = 1536
PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL = (PAD, END, SYSTEM, USER, ASSISTANT)
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def render(conversation: Conversation) -> str:
    """The text the chat template makes of `(role, content)` turns."""
    return "".join(f"<|{role}|>{content}{END}" for role, content in conversation)


def train(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learn the vocabulary from rendered conversations."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=WINDOW,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def train_default(seed: int = 0, count: int = 12_000) -> PreTrainedTokenizerFast:
    """The shipped tokenizer: learnt from a mix of the student's and the teacher's conversations."""
    mixed = [c for mix in ("student", "teacher") for c in islice(conversations(mix, f"tokenizer {seed}"), count // 2)]
    return train(render(c) for c in mixed)
