"""The prompts that the lab and the miniature models' training share, so that both always agree."""

from __future__ import annotations

from collections.abc import Sequence

NOT_IN_PASSAGE = "The passage does not say."
READING_INSTRUCTION = "Answer from the passages. If they do not say, say so."
WRITING_INSTRUCTION = "Write a question and its answer for each fact in this passage."


def closed_book(question: str) -> str:
    """The user turn that asks `question` without any context."""
    return question


def format_passages(passages: Sequence[tuple[str, str]]) -> str:
    """Number `(title, text)` passages the way the models were trained to see them."""
    return "\n\n".join(f"[{i}] {title}\n{text}" for i, (title, text) in enumerate(passages, 1))


def with_passages(question: str, passages: Sequence[tuple[str, str]]) -> str:
    """The user turn that asks `question` over retrieved `(title, text)` passages."""
    return f"{READING_INSTRUCTION}\n\n{format_passages(passages)}\n\nQuestion: {question}"


def write_pairs(title: str, text: str) -> str:
    """The user turn that asks a teacher for question-answer pairs on one passage."""
    return f"{WRITING_INSTRUCTION}\n\n{title}\n{text}"


def pair(subject: str, question: str, answer: str) -> str:
    """One pair in the tags the teacher writes.

    The subject comes first because small models garble names otherwise, and behind a space because a tokenizer cuts
    a word there as it does inside a sentence: what is to be copied then looks as it stands on the page.
    """
    return f"<subject> {subject}</subject>\n<question>{question}</question>\n<answer>{answer}</answer>"
