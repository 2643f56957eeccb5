"""Two deterministic scorers, strict and lenient, and the votes over parsed answers.

Strict asks for a committed, complete answer: hedges, lists of options, negations, wrong units and echoes score 0.
Lenient asks only that the gold answer is asserted: units may be left out and the words of a text may be reordered.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adaptlab.answers import (
    FUNCTION_WORDS,
    HEDGE,
    REFUSALS,
    TITLES,
    UNITS,
    Value,
    asserted,
    clean,
    committed_values,
    is_refusal,
    mentions_refusal,
    negated,
    sentences_of,
    values,
    words_of,
)
from adaptlab.retrieval import stem
from adaptlab.schemas import AnswerType, Question

SCORER_VERSION = "1"
REFUSAL = "<refusal>"
Reanswers = Mapping[str, str | Sequence[str]]  # a second answer, or several, for each question id


@dataclass(frozen=True)
class Vote:
    """A majority: the winning canonical answer, the index of its first text, its votes, and the texts that voted."""

    answer: str | None
    index: int | None
    votes: int
    counted: int


# ------------------------------------------------------------------------------------------- numbers and dice


def _gold_values(question: Question, form: str) -> tuple[list[Value], frozenset[str]]:
    """The values of one gold form, with the unit words that stand behind its numbers."""
    plain = clean(form)
    tail = re.search(r"(?:\d|%)\s*[-\s]([a-z]+)(?:\s([a-z]+))?\s*$", plain)
    extra = (
        frozenset(stem(word) for word in tail.groups() if word and word not in FUNCTION_WORDS) if tail else frozenset()
    )
    return values(plain, question.answer_type, extra), extra


def _value_right(question: Question, asked: str, text: str, strict_units: bool) -> bool:
    for form in (question.answer, *question.accepted):
        gold, extra = _gold_values(question, form)
        if not gold:
            continue
        known = {value.value for value in values(clean(asked), question.answer_type, extra)} - {v.value for v in gold}
        found = [value for value in values(text, question.answer_type, extra) if value.value not in known]
        committed = committed_values(text, _about(found, gold, asked, text))
        if committed and _same_values(committed, gold, asked, strict_units):
            return True
    return False


_LABEL = re.compile(r"(\band |, )?\b(?:an?|its|the) ((?:[a-z]+ ){1,3})(?:of|is|at) $")
_VALUE_WORDS = re.compile(r"\b(?!and\b|or\b)[a-z]{2,}")


def _about(found: Sequence[Value], gold: Sequence[Value], asked: str, text: str) -> list[Value]:
    """The values that can be meant as the answer: not "a Morale of 9", and not 6 rounds where 45 feet stand too.

    A value of another unit stays where its number is the gold number, so that "45 feet or 45 rounds" is no answer.
    """
    words = set(words_of(clean(asked)))
    if len(_VALUE_WORDS.findall(text)) <= len(found):  # nothing but values: every one of them is an answer
        return list(found)
    labels = {value: _LABEL.search(text[: value.start]) for value in found}
    ours = any(label and words & set(words_of(label[2])) for label in labels.values())
    plain = [v for v, label in labels.items() if not label or words & set(words_of(label[2])) or not (ours or label[1])]
    units = {value.unit for value in gold} | {UNITS.get(word, word) for word in words} | {""}
    if not any(value.unit in units for value in plain):
        return plain
    numbers = {value.value for value in gold}
    return [value for value in plain if value.unit in units or value.value in numbers]


def _same_values(committed: Sequence[Value], gold: Sequence[Value], asked: str, strict_units: bool) -> bool:
    if {_magnitude(value.value, asked) for value in committed} != {_magnitude(value.value, asked) for value in gold}:
        return False
    wanted = {value.unit for value in gold if value.unit}
    given = {value.unit for value in committed if value.unit}
    in_question = {UNITS.get(word, word) for word in words_of(clean(asked))}
    if wanted:
        missing = not given and not (wanted & in_question)
        return (given <= wanted) and not (missing and strict_units)
    foreign = given - in_question - {"point"}
    return not (foreign if strict_units else foreign & set(UNITS.values()))


def _magnitude(value: str, asked: str) -> str:
    """A plus sign says nothing; a minus sign says nothing where the question speaks of a penalty."""
    return value.lstrip("-") if re.search(r"penalt|minus|reduc|lose|subtract", asked.casefold()) else value


# ----------------------------------------------------------------------------------------------- names and texts


def _spans(text: str, form: str) -> list[tuple[int, int]]:
    """Where the words of `form` stand one after the other in a cleaned text (articles and plurals aside)."""
    words = words_of(clean(form))
    if not words:
        return []
    tokens = [
        (m.start(), m.end(), w)
        for m in re.finditer(r"[+-]?\d*d?\d+(?:[+-]\d+)?|[^\W\d_]+(?:'s\b)?|%", text)
        for w in words_of(m[0])
    ]
    count = len(words)
    starts = (i for i in range(len(tokens) - count + 1) if [w for _, _, w in tokens[i : i + count]] == words)
    return [(tokens[i][0], tokens[i + count - 1][1]) for i in starts]


def _neighbour(text: str, start: int, end: int) -> tuple[str, str]:
    """The words that touch a span without punctuation between, else empty."""
    before = re.search(r"([^\W\d_]+(?:'s)?)\s+(?:(?:a|an|the)\s+)?$", text[:start])
    after = re.match(r"[\s-]+([^\W\d_]+)", text[end:])
    return before[1] if before else "", after[1] if after else ""


def _part_of_longer(text: str, start: int, end: int, asked: str) -> bool:
    """Whether a found name is only a piece of a longer one: "iron" in "cold iron" or in "iron dust"."""
    before, after = _neighbour(text, start, end)
    if re.search(r"\b(?:a|an|the)\s+$", text[:start]):
        before = ""
    asked_words = set(words_of(asked))
    alone = len(words_of(text[start:end])) == 1
    loose = [
        word
        for word in ((before, after) if alone else (before,))
        if word
        and word not in FUNCTION_WORDS
        and word not in TITLES
        and not {word, stem(word), *words_of(word)} & (asked_words | FUNCTION_WORDS)
        and not word.endswith(("s", "ed", "ing", "ly", "en"))
    ]
    return bool(loose)


_CLAUSE = re.compile(r"\b(?:it|they|this|that|which|is|are|has|have|does|do|can|must|may|will|you|he|she)\b")


def _among_options(text: str, start: int, end: int, asked: str) -> bool:
    """Whether a found answer is one of several: joined by "or", "/" or "and", or an item of a list."""
    head, tail = text[:start], text[end:]
    if re.match(r"\s*(?:,\s*)?(?:or\b|/)", tail) or re.search(r"(?:\bor|/|\beither)\s+(?:(?:a|an|the)\s+)?$", head):
        return True
    joined = re.match(r"\s*,?\s*and\s+((?:[\w'-]+\s*){1,4})(?=[.,;]|$)", tail, re.M)
    if joined and not _CLAUSE.search(joined[1]):
        return True
    line = head[head.rfind("\n") + 1 :] + "#" + tail.split("\n")[0]
    sentence = next(part for part in re.split(r"(?<=[.!?])\s", line) if "#" in part)
    verb = re.search(r"\b(?:is|are|was|were)\b|:", sentence)
    items = re.split(
        r"[,;/]|\bor\b|\band\b", sentence[verb.end() if verb and verb.end() < sentence.index("#") else 0 :]
    )
    items = [item.strip(" .\"'") for item in items if item.strip(" .\"'")]
    options = [item for item in items if _is_option(item, asked)]
    return len(options) >= 3 or (len(options) == len(items) >= 2 and not _CLAUSE.search(sentence))


def _is_option(item: str, asked: str) -> bool:
    """Whether an item of a list could be an answer: short, no clause, nothing of the question in it."""
    words = words_of(item.replace("#", " gold "))
    foreign = not set(words) & (set(words_of(clean(asked))) - FUNCTION_WORDS)
    return 0 < len(words) <= 4 and foreign and not (set(words) & (FUNCTION_WORDS - {"of", "may", "must", "can", "not"}))


def _other_claim(text: str, start: int, form: str) -> bool:
    """Whether another line or sentence of the same frame claims something else ("It is A. It is B.")."""
    line_start = text.rfind("\n", 0, start) + 1
    frame = words_of(text[line_start:start])
    gold = words_of(clean(form))
    for line in text.split("\n"):
        words = words_of(re.sub(r"^(?:[-*+]|\d+[.)])\s*", "", line))
        bullets = re.match(r"\s*(?:[-*+]|\d+[.)])\s", line)
        same_frame = len(frame) >= 1 and words[: len(frame)] == frame
        bare = not frame and 0 < len(words) <= 5
        if (same_frame or bare or (bullets and len(words) <= 6)) and not _contains(words, gold):
            return True
    return False


def _contains(words: Sequence[str], part: Sequence[str]) -> bool:
    return any(list(words[i : i + len(part)]) == list(part) for i in range(len(words) - len(part) + 1))


def _text_right(question: Question, asked: str, text: str, strictly: bool) -> bool:
    for form in (question.answer, *question.accepted):
        spans = [span for span in _spans(text, form) if not negated(text, *span)]
        if len(spans) < len(_spans(text, form)) and strictly:
            continue
        if not strictly:
            if any(not _among_options(text, *span, asked) for span in spans) or _loosely(text, form):
                return True
        elif (
            spans
            and not any(_among_options(text, *span, asked) or _other_claim(text, span[0], form) for span in spans)
            and (len(words_of(clean(form))) > 3 or any(not _part_of_longer(text, *span, asked) for span in spans))
        ) or (strictly and _in_order(text, form)):
            return True
    return False


_NEGATOR = re.compile(r"\b(?:not|never|no|cannot|without|none)\b|n't\b")


def _in_order(text: str, form: str) -> bool:
    """For longer golds: all content words in one sentence, in order, and as many negations as the gold has."""
    plain = clean(form)
    wanted = [word for word in words_of(plain) if word not in FUNCTION_WORDS]
    if len(wanted) < 4:
        return False
    for sentence in text.split("\n"):
        words = iter(words_of(sentence))
        if all(word in words for word in wanted) and not re.search(r"\bor\b", sentence.replace(plain, "")):
            return len(_NEGATOR.findall(sentence)) == len(_NEGATOR.findall(plain))
    return False


def _loosely(text: str, form: str) -> bool:
    plain = clean(form)
    wanted = {word for word in words_of(plain) if word not in FUNCTION_WORDS}
    titled = len(wanted) == 2 and words_of(plain)[0] in TITLES
    need = 1.0 if len(wanted) < 4 else 0.75
    if titled:
        wanted = set(words_of(plain)[1:])
    return bool(wanted) and any(
        len(wanted & set(words_of(sentence))) >= need * len(wanted)
        and bool(_NEGATOR.search(sentence)) == bool(_NEGATOR.search(plain))
        and not re.search(r"\bor\b", sentence)
        for sentence in text.split("\n")
    )


# ---------------------------------------------------------------------------------------------- lists and yes/no


def _items(form: str) -> list[str]:
    return [item.strip(" .") for item in re.split(r",|;|\n|\band\b|&", clean(form)) if item.strip(" .")]


def _list_right(question: Question, text: str, strictly: bool) -> bool:
    for form in (question.answer, *question.accepted):
        items = _items(form)
        found = [[span for span in _spans(text, item) if not negated(text, *span)] for item in items]
        if not items or not all(found):
            continue
        if not strictly or not _extra_items(text, items, min(spans[0][0] for spans in found)):
            return True
    return False


def _extra_items(text: str, items: Sequence[str], first: int) -> list[str]:
    """Short items that a list holds besides the gold ones."""
    if any(not re.search(r"\bor\b", item) for item in items) and re.search(r"\bor\b|/", text):
        return ["or"]
    head = max(
        (m.end() for m in re.finditer(r"\b(?:is|are|was|were|include|includes|need|needs|be)\b|:|\n", text[:first])),
        default=0,
    )
    parts = [part.strip(" .-*") for part in re.split(r",|;|\n|\band\b|&|\bplus\b", text[head:])]
    golds = [words_of(item) for item in items]
    return [
        part
        for part in parts
        if 0 < len([word for word in words_of(part) if word not in FUNCTION_WORDS]) <= 4
        and not any(_contains(words_of(part), gold) for gold in golds)
        and not _CLAUSE.search(part)
    ]


def _polarity(text: str, asked: str = "") -> str | None:
    """The yes or no of a text: the word, else the question's words as a statement; None for both or neither."""
    heads = re.findall(
        r"(?:^|\n|\banswer(?: is|:)\s*)[\"']?(yes|no|yeah|nope|correct|incorrect|true|false)\b(?! is\b| would\b)", text
    )
    both = r"\b(?:yes|no) (?:and|or) (?:yes|no)\b|\bor (?:yes|no)\b|\b(?:yes[,/]\s*no|no[,/]\s*yes)\s*\.?$"
    if re.search(both, text):
        return None
    said = {"yes" if head in ("yes", "yeah", "correct", "true") else "no" for head in heads}
    topic = {word for word in words_of(clean(asked)) if word not in FUNCTION_WORDS}
    main = set(words_of(text.split("\n")[0]))
    if not said and topic and len(topic & main) >= 0.75 * len(topic):
        return "no" if _NEGATOR.search(text.split("\n")[0]) else "yes"
    return said.pop() if len(said) == 1 else None


# ------------------------------------------------------------------------------------------------------- scorers


def _unanswerable(question: Question) -> bool:
    return question.category == "unanswerable" or question.answer_type == "refusal"


def _right(question: Question, text: str, strictly: bool) -> bool:
    phrasings = [phrasing.text for phrasing in question.phrasings]
    asked = next((p for p in phrasings if clean(text).startswith(clean(p).rstrip(" ?."))), " ".join(phrasings))
    said = asserted(asked, text)
    if not said:
        return False
    if question.answer_type in ("number", "dice"):
        return _value_right(question, asked, said, strict_units=strictly)
    if question.answer_type == "yes_no":
        gold = _polarity(clean(question.answer))
        return gold is not None and _polarity(said, question.text()) == gold
    if question.answer_type == "list":
        return _list_right(question, said, strictly)
    return _text_right(question, asked, said, strictly)


def _hedges(question: Question, text: str) -> bool:
    """Whether the text hedges, with words that the gold answer does not bring along."""
    own = clean(" ".join((question.answer, *question.accepted)))
    return any(match[0] not in own for match in HEDGE.finditer(clean(text)))


def strict(question: Question, text: str) -> bool:
    """Whether the text commits itself to the gold answer, whole, with its unit, and to nothing else."""
    if not text or not text.strip():
        return False
    if _unanswerable(question):
        return is_refusal(text)
    said = sentences_of(clean(text))
    if is_refusal(text) or (said and REFUSALS.search(said[0])) or _hedges(question, text):
        return False
    return _right(question, text, strictly=True)


def lenient(question: Question, text: str) -> bool:
    """Whether the text asserts the gold answer: a missing unit, another order and a hedge are forgiven."""
    if not text or not text.strip():
        return False
    if _unanswerable(question):
        return mentions_refusal(text)
    if is_refusal(text):
        return False
    return strict(question, text) or _right(question, text, strictly=False)


# --------------------------------------------------------------------------------------------------------- votes


def canonical(question: Question | AnswerType, text: str) -> str | None:
    """The answer that a text gives, in one comparable spelling; None where none can be read."""
    if not text or not text.strip():
        return None
    if is_refusal(text):
        return REFUSAL
    kind: AnswerType = question if isinstance(question, str) else question.answer_type
    asked = "" if isinstance(question, str) else question.text()
    said = asserted(asked, text)
    if not said or HEDGE.search(said):
        return None
    if kind == "yes_no":
        return _polarity(said, asked)
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
        items = sorted({" ".join(words_of(item)) for item in _items(said[head:])} - {""})
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
