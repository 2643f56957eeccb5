"""The yes or no of a text: the word itself, or the question turned into a statement that affirms or denies it."""

from __future__ import annotations

import re

from adaptlab.answers import FUNCTION_WORDS, any_of, clean, words_of
from adaptlab.text_match import NEGATOR

_HEAD = re.compile(
    r"(?:^|\n|[,;:] |\bso |\bbut |\bhence |\btherefore |\banswer(?: is|:)\s*)[\"']?"
    r"(yes|no|yeah|nope|correct|incorrect|true|false)\b(?! is\b| would\b)(?=\s*(?:[-.,:;!\"'(\n]|$)|\s(\w+))"
)
_BOTH = re.compile(r"\b(?:yes|no) (?:and|or) (?:yes|no)\b|\bor (?:yes|no)\b|\b(?:yes[,/]\s*no|no[,/]\s*yes)\s*\.?$")
_YES = ("yes", "yeah", "correct", "true")
_CLAUSES = re.compile(
    r"[,;:(\n]|\s-\s|\b(?:because|since|as|so|but|and) (?=(?:it|they|he|she|you|we|i|the|its|this|that)\b)"
)
_PRONOUN = re.compile(r"^(?:its|their|his|her|it|they|he|she|you|we|i|this|that|these|those|one)\b")


def polarity(text: str, asked: str = "") -> str | None:
    """The yes or no of a text: the word, else the question's words as a statement; None for both or neither."""
    if _BOTH.search(text):
        return None
    said = {"yes" if match[1] in _YES else "no" for match in _HEAD.finditer(text) if not _counts_nothing(match)}
    if not said:
        said = {verdict for clause in _CLAUSES.split(text) if (verdict := _statement(clause.strip(" ."), asked))}
    return said.pop() if len(said) == 1 else None


def _counts_nothing(match: re.Match[str]) -> bool:
    """Whether a no belongs to a noun behind it: "no bonus"."""
    return match[1] == "no" and bool(match[2]) and not re.match(r"it|they|he|she|you|we|i|this|that|a|an|the", match[2])


_DEEDS = {"carry", "pay", "wield", "choose", "fear", "hate", "gain", "become"}  # what a yes or no can be about


def _content(text: str) -> list[str]:
    return [word for word in words_of(text) if (word not in FUNCTION_WORDS or word in _DEEDS) and word != "got"]


def _statement(clause: str, asked: str) -> str | None:
    """What a clause says if it is the question as a statement: most of its words, or a pronoun and no other words."""
    sentences = [part for part in re.split(r"(?<=[.!?])\s+", clean(asked)) if part.strip()]
    topic = set(_content(sentences[-1])) if sentences else set()
    known = set(_content(clean(asked)))
    said = set(_content(clause))
    numbers = {word for word in topic if word.lstrip("+-").isdigit()}
    own = {word for word in said if numbers or not word.lstrip("+-").isdigit()} - {
        "not",
        "cannot",
        "never",
        "longer",
        "still",
        "any",
        "anymore",
    }
    whole = len(topic & said) >= 0.75 * len(topic) and numbers <= said
    short = bool(_PRONOUN.search(clause)) and bool(own) and own <= topic
    short = short or (own <= known and len(own & topic) >= 0.5 * len(topic) and numbers <= said)
    if not topic or not (whole or short):
        return None
    return "no" if NEGATOR.search(clause) else "yes"


_LOOSE_NO = re.compile(
    any_of(
        r"\bnever\b|\bnot at all\b|\b(?:certainly|maybe|probably|definitely|of course) not\b|\bby no means\b"
        r"|\bagainst the (?:rules?|law)\b",
        r"\b(?:impossible|forbidden|prohibited|barred|banned|unable)\b|^(?:it|they|he|she|you) (?:[a-z]+ not|cannot)\b",
        r"\b(?:not|cannot)\.?$|^not (?:exactly|really|quite)\b|\btoo \w+ (?:to|for)\b",
        r"\bnot (?:be )?(?:allowed|permitted|possible|enough|able)\b",
    )
)
_LOOSE_YES = re.compile(
    r"\b(?:does|do|is|are|can|may|will|must)(?=\s*(?:[.,;!]|$))|^(?:certainly|sure|naturally"
    r"|indeed|of course|definitely"
    r"|absolutely|i (?:think|believe) so|probably|always)\b|\b(?:allowed|permitted|possible)\b"
)


def loose_polarity(text: str, asked: str = "") -> str | None:
    """`polarity`, else what other words that mean yes or no say ("never", "it does"); None for neither."""
    said = polarity(text, asked) or _verdict(text)
    if said is None and not re.search(r"\b(?:yes|no|or)\b", text):
        if _other_value(text, asked) or _LOOSE_NO.search(text):
            return "no"
        numbers = {word for word in words_of(clean(asked)) if word.isdigit()}
        same = not numbers or {word for word in words_of(text) if word.isdigit()} <= numbers
        return "yes" if same and _LOOSE_YES.search(text) else None
    return said


_JUDGED = re.compile(
    r"^(?:no, )?(?:that|this|it) (?:is|would be) (not )?(?:(correct|right|true|so)|incorrect|wrong|false|untrue)\b"
)


def _verdict(text: str) -> str | None:
    """What the first clause says by itself in other words for yes or no: "Impossible: ...", "That is wrong: ..."."""
    first = re.split(r"[,;:.!\n]", text)[0].strip()
    judged = _JUDGED.search(first)
    if judged:
        return "yes" if bool(judged[1]) != bool(judged[2]) else "no"
    if re.search(r"\b(?:yes|no|or)\b", first) or len(first.split()) > 2:
        return "no" if re.search(r"\bno effect\b", first) else None
    return "no" if _LOOSE_NO.search(first) else "yes" if _LOOSE_YES.search(first) else None


def _other_value(text: str, asked: str) -> bool:
    """Whether the text says of the question's subject another number than the one that is asked about."""
    topic = set(_content(clean(asked)))
    numbers, said = {word for word in topic if word.isdigit()}, set(words_of(text.split("\n")[0]))
    same_subject = bool(numbers) and topic - numbers <= said
    return same_subject and not numbers & said and any(word.isdigit() for word in said)
