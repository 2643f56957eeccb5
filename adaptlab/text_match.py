"""Whether a text asserts a gold name, text, list, or yes or no: found word by word, not denied, not one of several."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adaptlab.answers import FUNCTION_WORDS, TITLES, clean, words_of
from adaptlab.claims import negated
from adaptlab.retrieval import stem
from adaptlab.schemas import Question

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
    if re.search(r"(?<![\w.])\d+\s$", text[:start]):
        return True
    if re.search(r"\b(?:a|an|the)\s+$", text[:start]):
        before = ""
    asked_words = set(words_of(asked))
    alone = len(words_of(text[start:end])) == 1 or bool(re.match(r"[\s-]+[^\W\d_]+\s*(?:[.,;!]|$)", text[end:], re.M))
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


def _wrong_title(text: str, start: int, form: str, forms: Sequence[str]) -> bool:
    """Whether a bare name stands behind another title than the gold's: "Queen Hasquill" for Portreeve Hasquill."""
    before = re.search(r"([^\W\d_]+)\s$", text[:start])
    titles = {words[0] for words in map(words_of, map(clean, forms)) if words[1:] == words_of(clean(form))}
    return bool(before and titles and before[1] in TITLES and before[1] not in titles)


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


def text_right(question: Question, asked: str, text: str, strictly: bool) -> bool:
    """Whether a text asserts the gold name or text; strictly: whole, and no other beside it."""
    forms = (question.answer, *question.accepted)
    for form in forms:
        spans = [span for span in _spans(text, form) if not negated(text, *span)]
        if strictly and any(_wrong_title(text, start, form, forms) for start, _ in spans):
            continue
        if len(spans) < len(_spans(text, form)) and strictly:
            continue
        if not strictly:
            if not spans and _spans(text, form):
                continue
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


def _root(word: str) -> str:
    """A word without its ending, for the lenient reading only: "silenced" and "silences" are one."""
    return re.sub(r"(?<=\w{5})(?:ing|ed|es|e|s)$", "", word)


def _loosely(text: str, form: str) -> bool:
    """Whether one sentence has the words of the form in any order, and is negated exactly where the form is."""
    plain = clean(form)
    wanted = {_root(word) for word in words_of(plain) if word not in FUNCTION_WORDS}
    titled = len(wanted) == 2 and words_of(plain)[0] in TITLES
    need = 1.0 if len(wanted) < 4 else 0.75
    if titled:
        wanted = {_root(word) for word in words_of(plain)[1:]}
    return bool(wanted) and any(
        (re.search(r"\bbut\b", plain) or not re.search(r"\bbut\b", sentence))
        and len(wanted & set(map(_root, words_of(sentence)))) >= need * len(wanted)
        and bool(_NEGATOR.search(sentence)) == bool(_NEGATOR.search(plain))
        and not re.search(r"\bor\b", sentence)
        for sentence in text.split("\n")
    )


# ---------------------------------------------------------------------------------------------- lists and yes/no


def items_of(form: str) -> list[str]:
    """The items of a list that is written as a text."""
    return [item.strip(" .") for item in re.split(r",|;|\n|\band\b|&", clean(form)) if item.strip(" .")]


def list_right(question: Question, text: str, strictly: bool) -> bool:
    """Whether a text asserts every item of the gold list; strictly: and no other item."""
    text = _NUMBERING.sub("", text)
    for form in (question.answer, *question.accepted):
        items = items_of(form)
        if _offers_or(text, items):
            continue
        found = [[span for span in _spans(text, item) if not negated(text, *span)] for item in items]
        if not items or not all(found):
            continue
        if not strictly or not _extra_items(text, items, min(spans[0][0] for spans in found)):
            return True
    return False


_NUMBERING = re.compile(r"^\s*\d{1,2}[.)]\s+", re.M)
_RELATIVE = re.compile(r"^(?:who|whom|whose|which|that|all of|each of|as|where|when|since|because)\b")


def _offers_or(text: str, items: Sequence[str]) -> bool:
    """Whether the items stand as alternatives: joined by "or" or a slash that no item brings along."""
    return not any(re.search(r"\bor\b|/", item) for item in items) and bool(re.search(r"\bor\b|/", text))


def _extra_items(text: str, items: Sequence[str], first: int) -> list[str]:
    """Short items that a list holds besides the gold ones."""
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
        and not _RELATIVE.search(part)
    ]


def polarity(text: str, asked: str = "") -> str | None:
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
    numbers = {word for word in topic if word.isdigit()}
    if not said and topic and len(topic & main) >= 0.75 * len(topic) and numbers <= main:
        return "no" if _NEGATOR.search(text.split("\n")[0]) else "yes"
    return said.pop() if len(said) == 1 else None


_LOOSE_NO = re.compile(
    r"\bnever\b|\bnot at all\b|\b(?:certainly|maybe|probably|definitely|of course) not\b|\bby no means\b|\bimpossible\b"
    r"|\b(?:forbidden|prohibited|barred|banned|unable)\b|^(?:it|they|he|she|you) (?:[a-z]+ not|cannot)\b"
)
_LOOSE_YES = re.compile(
    r"^(?:(?:it|they|he|she|you) (?:does|do|is|are|can|may|will|must|has|have)|certainly|indeed|of course|definitely"
    r"|absolutely|i (?:think|believe) so|probably|always)\b"
)


def loose_polarity(text: str, asked: str = "") -> str | None:
    """`polarity`, else what other words that mean yes or no say ("never", "it does"); None for neither."""
    said = polarity(text, asked)
    if said is None and not re.search(r"\b(?:yes|no|or)\b", text):
        other = _other_value(text, asked)
        return "no" if other or _LOOSE_NO.search(text) else "yes" if _LOOSE_YES.search(text) else None
    return said


def _other_value(text: str, asked: str) -> bool:
    """Whether the text says of the question's subject another number than the one that is asked about."""
    topic = {word for word in words_of(clean(asked)) if word not in FUNCTION_WORDS}
    numbers, said = {word for word in topic if word.isdigit()}, set(words_of(text.split("\n")[0]))
    same_subject = bool(numbers) and topic - numbers <= said
    return same_subject and not numbers & said and any(word.isdigit() for word in said)
