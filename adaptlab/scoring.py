"""Two deterministic scorers, strict and lenient, and the votes over parsed answers.

Strict asks for a committed, complete answer: hedges, lists of options, negations, wrong units and echoes score 0.
Lenient asks only that the gold answer is asserted: units may be left out and the words of a text may be reordered.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from adaptlab.answers import FUNCTION_WORDS, UNITS, asserted, clean, sentences_of, values, words_of
from adaptlab.claims import HEDGE, committed_values, only_in_a_case
from adaptlab.list_match import items_of, list_right
from adaptlab.polarity import loose_polarity, polarity
from adaptlab.refusals import REFUSALS, is_refusal, mentions_refusal, refusals_in, without_refusals
from adaptlab.schemas import AnswerType, Question
from adaptlab.text_match import text_right
from adaptlab.topics import own_fields
from adaptlab.value_match import value_right

SCORER_VERSION = "5"
REFUSAL = "<refusal>"
Reanswers = Mapping[str, str | Sequence[str]]  # a second answer, or several, for each question id


@dataclass(frozen=True)
class Vote:
    """A majority: the winning canonical answer, the index of its first text, its votes, and the texts that voted."""

    answer: str | None
    index: int | None
    votes: int
    counted: int


# ------------------------------------------------------------------------------------------------------- scorers


def _unanswerable(question: Question) -> bool:
    return question.category == "unanswerable" or question.answer_type == "refusal"


_YES_OR_NO = re.compile(r"^(?:yes|no|well|sure|certainly)\b[,:.!]\s*")


def _right(question: Question, text: str, strictly: bool) -> bool:
    phrasings = [phrasing.text for phrasing in question.phrasings]
    asked = next((p for p in phrasings if clean(text).startswith(clean(p).rstrip(" ?."))), " ".join(phrasings))
    said = asserted(asked, text)
    if not said:
        return False
    said = said if question.answer_type == "yes_no" else own_fields(said, clean(asked))
    if question.answer_type in ("number", "dice"):
        return value_right(question, asked, said, strictly)
    if question.answer_type == "yes_no":
        gold = polarity(clean(question.answer))
        read = polarity if strictly else loose_polarity
        if only_in_a_case(said, 0, clean(question.text())) and not re.search(r"\bno\b|\bnot\b", said):
            return False
        return gold is not None and read(said, question.text()) == gold
    said = _YES_OR_NO.sub("", said)
    if question.answer_type == "list":
        return list_right(question, said, strictly)
    return text_right(question, asked, said, strictly)


_HOWEVER = re.compile(r"\b(?:however|no matter how) [a-z]+ [^.,;\n]*")  # "however deep it may be" is no hedge

_PERMITS = re.compile(r"\b(?:may|can|could|open to|allowed|permitted|able|choose)\b")


def _hedges(question: Question, text: str) -> bool:
    """Whether the text hedges, with words that the gold answer does not bring along."""
    own = clean(" ".join((question.answer, *question.accepted)))
    own += " may be could be" if _PERMITS.search(clean(question.text())) else ""
    said = _HOWEVER.sub("", clean(text))
    return any(match[0] not in own for match in HEDGE.finditer(said))


def strict(question: Question, text: str) -> bool:
    """Whether the text commits itself to the gold answer, whole, with its unit, and to nothing else."""
    if not text or not text.strip():
        return False
    if _unanswerable(question):
        return is_refusal(text, question.text())
    said = sentences_of(clean(text))
    if is_refusal(text) or (said and refusals_in(said[0])) or _hedges(question, text):
        return False
    return _right(question, text, strictly=True)


def lenient(question: Question, text: str) -> bool:
    """Whether the text asserts the gold answer: a missing unit, another order and a hedge are forgiven."""
    if not text or not text.strip():
        return False
    if _unanswerable(question):
        return mentions_refusal(text)
    if strict(question, text):
        return True
    if question.answer_type == "yes_no":
        return not is_refusal(text) and _right(question, text, strictly=False)
    own = any(REFUSALS.search(clean(form)) for form in (question.answer, *question.accepted))
    return _right(question, text if own else without_refusals(text), strictly=False)


# --------------------------------------------------------------------------------------------------------- votes


def canonical(question: Question | AnswerType, text: str) -> str | None:
    """The answer that a text gives, in one comparable spelling; None where none can be read."""
    if isinstance(question, str):
        return _canonical(question, "", text)
    return _canonical(question.answer_type, question.text(), text)


@lru_cache(maxsize=1 << 16)
def _canonical(kind: AnswerType, asked: str, text: str) -> str | None:
    """`canonical`, kept: among many candidates the same few texts come again and again."""
    if not text or not text.strip():
        return None
    if is_refusal(text):
        return REFUSAL
    said = asserted(asked, text)
    if not said or HEDGE.search(said):
        return None
    if kind == "yes_no":
        return polarity(said, asked)
    if kind in ("number", "dice"):
        known = {value.value for value in values(clean(asked), kind)}
        found = values(said, kind)
        committed = committed_values(said, [value for value in found if value.value not in known] or found)
        spare = set(words_of(clean(asked))) - set(UNITS)
        forms = {f"{value.value} {'' if value.unit in spare else value.unit}".strip() for value in committed}
        return forms.pop() if len(forms) == 1 else None
    if kind == "list":
        head = max(
            (m.end() for m in re.finditer(r"\b(?:is|are|was|were|include|includes|need|needs)\b|:", said)), default=0
        )
        items = sorted({" ".join(words_of(item)) for item in items_of(said[head:])} - {""})
        return ", ".join(items) or None
    return _value_phrase(asked, said)


def _value_phrase(asked: str, said: str) -> str | None:
    """What a sentence says about its subject: the words behind the verb, without those of the question."""
    sentence = said.split("\n")[0].strip(" .!\"'")
    verb = re.search(r"\b(?:is|are|was|were)\b|:", sentence)
    phrase = sentence[verb.end() :] if verb and sentence[verb.end() :].strip() else sentence
    words = [word for word in words_of(phrase) if word not in FUNCTION_WORDS]
    own = [word for word in words if word not in words_of(clean(asked))]
    return " ".join(own or words) or None


def agrees(question: Question, one: str, other: str) -> bool:
    """Whether two texts give the same answer to a question."""
    first, second = canonical(question, one), canonical(question, other)
    return first is not None and first == second


def majority(question: Question | AnswerType, texts: Sequence[str]) -> Vote:
    """The most frequent parsed answer; what cannot be parsed has no vote, a tie goes to the answer given first."""
    parsed = [canonical(question, text) for text in texts]
    votes = Counter(answer for answer in parsed if answer is not None)
    if not votes:
        return Vote(None, None, 0, 0)
    winner, count = max(votes.items(), key=lambda item: (item[1], -parsed.index(item[0])))
    return Vote(winner, parsed.index(winner), count, sum(votes.values()))


def reanswered(question: Question, texts: Sequence[str], reanswers: Sequence[str]) -> int | None:
    """The first candidate that gives the same answer as a second answer from the passage, else the majority's."""
    second = majority(question, reanswers).answer
    agreeing = [i for i, text in enumerate(texts) if second is not None and canonical(question, text) == second]
    return agreeing[0] if agreeing else majority(question, texts).index
