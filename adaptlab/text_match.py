"""Whether a text asserts a gold name or text: found word by word, not denied, not one of several."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adaptlab.answers import FUNCTION_WORDS, TITLES, any_of, clean, words_of
from adaptlab.claims import HEDGE, negated
from adaptlab.retrieval import listed, stem
from adaptlab.schemas import Question
from adaptlab.topics import of_another_label, of_another_sort, of_another_thing


def places_of(text: str, form: str) -> list[tuple[int, int]]:
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


_INFLECTED = re.compile(r"s$|..(?:ed|ing|ly|en)$")  # most often no noun that belongs to a name


_NO_ADJECTIVE = re.compile(  # an article, another determiner, or a verb: behind a pronoun, or as an order
    r"\b(?:a|an|the|some|any|no|without|more|enough|plain|simply|called|namely)\s+$"
    r"|\b(?:to|not|cannot|can|may|must|will|would|should|shall|could|might|you|they|we|i|he|she|it|who|which|that|please"
    r"|let) [a-z]+\s+$"
    r"|(?:^|[.;:,\n]\s?|\band |\bthen )(?:use|give|take|bring|drink|throw|pour|carry|apply|buy|get|try|pack"
    r"|hold|put|add|mix"
    r"|burn|eat|feed|offer|rub|spread|wear|choose|pick|search|look for|expect|find|write|say|ask for|serve"
    r"|smear|light)\s+$"
)
_ADVERBS = frozenset(
    listed(
        "rather really actually first again then now instead alone too please once yet today here there anyway though"
        " however whatsoever"
    )
)


def _follows_a_noun(text: str, start: int) -> bool:
    """Whether the word before a span stands behind a noun, so that it is a verb: "your guide drew capsized ferries"."""
    words = re.search(r"([^\W\d_]+)\s+[^\W\d_]+\s+$", text[:start])
    return words is not None and words[1] not in FUNCTION_WORDS | {"some", "any", "with", "without"}


def _part_of_longer(text: str, start: int, end: int, asked: str) -> bool:
    """Whether a found name is only a piece of a longer one: "iron" in "cold iron" or in "iron dust"."""
    before, after = _neighbour(text, start, end)
    if re.search(r"(?<![\w.])\d+\s$", text[:start]):
        return True
    if _NO_ADJECTIVE.search(text[:start]) or (len(words_of(text[start:end])) > 1 and _follows_a_noun(text, start)):
        before = ""
    after = "" if after in _ADVERBS else after
    asked_words = set(words_of(asked))
    alone = len(words_of(text[start:end])) == 1 or bool(re.match(r"[\s-]+[^\W\d_]+\s*(?:[.,;!]|$)", text[end:], re.M))
    loose = [
        word
        for word in ((before, after) if alone else (before,))
        if word
        and word not in FUNCTION_WORDS
        and word not in TITLES
        and not {word, stem(word), *words_of(word)} & (asked_words | FUNCTION_WORDS)
        and not _INFLECTED.search(word)
    ]
    return bool(loose)


def _wrong_title(text: str, start: int, form: str, forms: Sequence[str]) -> bool:
    """Whether a bare name stands behind another title than the gold's: "Queen Hasquill" for Portreeve Hasquill."""
    before = re.search(r"(?:^|[.,:;\n]\s?|\b(?:is|are|was|by|to|of|the|called|named)\s)([^\W\d_]+)\s$", text[:start])
    titles = {words[0] for words in map(words_of, map(clean, forms)) if words[1:] == words_of(clean(form))}
    title = re.search(r"\b([a-z]+) $", text[:start])
    if title and title[1] in TITLES and titles and title[1] not in titles:
        return True
    return before is not None and bool(titles) and before[1] not in titles | FUNCTION_WORDS


CLAUSE = re.compile(r"\b(?:it|they|this|that|which|is|are|has|have|does|do|can|must|may|will|you|he|she)\b")
_VERB = re.compile(r"\b(?:is|are|was|were|includes?)\b|:")
_BESIDES = re.compile(r"\b(?:together with|along with|as well as|in addition to|besides)\s([^.,;\n]{1,40})")


_DEED = re.compile(r"[a-z]+ (?:by|at|until) ")  # "and run by her brother", "and open at dawn"
_SUBJECTS = re.compile(  # "and white rum will both cure it"
    r"\s*,? (?:and|plus) (?:(?!the\b|it\b|its\b|they\b)[\w'-]+ ){1,3}?(?:[a-z]+ )?(?:both|are|were|do|cure|help|work)\b"
)
_ALSO = re.compile(
    r"[,;.\n]\s?(?:but |and |though )?(?!it\b|they\b|he\b|she\b|this\b|that\b|you\b)[a-z][^,;.\n]*"
    r"\b(?:works?|helps?|does|do|will|can|would)\b[^,;.\n]*\b(?:as well|too)\b"
)


def _company(text: str, start: int, end: int, asked: str) -> str:
    """Whether a found answer is one of several "options" (or, slash, a list), has one more beside it ("and"), or "".

    "It is silver or salt", "silver, salt, fire" and "silver, salt and fire are tried" are options.
    """
    head, tail = text[:start], text[end:]
    if re.match(r"\s*(?:,\s*[\w\s'-]{1,25})*(?:,\s*)?(?:\bor\b|/)", tail) or re.search(
        r"(?:\bor|/|\beither)\s+(?:(?:a|an|the)\s+)?$", head
    ):
        return "options"
    if re.search(
        r"\b(?:between|(?:higher|lower|better|best|larger|greater|worse|one) of) (?:the )?$", head
    ) and re.match(r"\s*(?:and|or)\b", tail):
        return "options"
    line = head[head.rfind("\n") + 1 :] + "#" + tail.split("\n")[0]
    sentence = next(part for part in re.split(r"(?<=[.!?])\s", line) if "#" in part)
    before, after = sentence.split("#", 1)
    verbs, later = list(_VERB.finditer(before)), _VERB.search(after)
    listed = (before[verbs[-1].end() :] if verbs else before) + "#" + (after[: later.start()] if later else after)
    items = [item.strip(" .\"'") for item in re.split(r"[,;/]|\bor\b|\band\b", listed) if item.strip(" .\"'")]
    options = [item for item in items if _is_option(item, asked)]
    if len(options) >= 3 or (len(options) == len(items) >= 2 and not (re.search(r"\band\b", listed) or later)):
        return "options"
    if _ALSO.search(tail) or _SUBJECTS.match(tail):
        return "and"
    joined = re.match(r"\s*,?\s*(?:and|plus|&|nor)\s+((?:[\w'-]+\s*){1,4})(?=[.,;]|$)", tail, re.M)
    besides = _BESIDES.search(after)
    if (joined and not (CLAUSE.search(joined[1]) or NEGATOR.search(joined[1]) or _DEED.match(joined[1]))) or (
        besides and set(words_of(besides[1])) - set(words_of(clean(asked))) - FUNCTION_WORDS
    ):
        return "and"
    both = re.search(r"\bboth (?:the )?$", head) and re.match(r" and ", tail)
    return "and" if both or len(options) == len(items) == 2 else ""


def _is_option(item: str, asked: str) -> bool:
    """Whether an item of a list could be an answer: short, no clause, nothing of the question in it."""
    words = words_of(item.replace("#", " gold "))
    if re.match(r"(?:not|during|until|after|before|since|near|because|through|throughout|within) ", item):
        return False
    foreign = not set(words) & (set(words_of(clean(asked))) - FUNCTION_WORDS)
    return (
        0 < len(words) <= 4
        and foreign
        and not HEDGE.search(item)
        and not (set(words) & (FUNCTION_WORDS - {"of", "may", "must", "can", "not"}))
    )


_KIN = any_of(
    "brother|sister|son|daughter|father|mother|wife|husband|widow|deputy|heir|rival|enemy|servant|friend|successor",
    "predecessor|follower",
)
_REFERENCE = re.compile(
    any_of(
        r"\b(?:once|formerly|former|previously|near|beyond|outside|opposite|next to|close to|like|unlike)",
        r"\b(?:north|south|east|west) of|\b(?:hour|minute|day|week|month|year|moon)s? (?:after|before)",
        rf"\b{_KIN}s? (?:of|to)",
    )
    + r" (?:the |an? )?$"
)
_STILL_THE_SAME = frozenset(listed("wood root metal alloy material stuff substance weapon ii iii iv"))


_WHEN = re.compile(r"^(?:[a-z]+ ){0,2}(?:when|what time)\b", re.IGNORECASE)
_BEFORE = re.compile(r"\b(?:before|after) (?:the )?$")


_RELATIVE_TO = re.compile(r"([\w'-]+), (?:who|whose|which|where) (?!is\b|are\b|was\b|were\b)[^.,;\n]*$")


def _only_refers(question: Question, text: str, start: int, end: int, asked: str, form: str) -> bool:
    """Whether a found name only helps to describe another thing: "Ammeline's brother", "near Grey Ford"."""
    if of_another_thing(text, start, clean(asked), question) or of_another_sort(text, start, end, clean(asked)):
        return True
    antecedent = _RELATIVE_TO.search(text[:start])
    if antecedent and not set(words_of(antecedent[1])) & set(words_of(clean(asked))):
        return True
    said = _REFERENCE.search(text[:start]) or (
        (question.answer_type == "name" or _WHEN.search(asked)) and _BEFORE.search(text[:start])
    )
    if said and said[0].strip() not in f"{clean(asked)} {clean(form)}":
        return True
    owned = re.match(r"'?\s+([a-z]+)", text[end:]) if re.search(r"'s$", text[start:end]) else None
    owned = owned or re.match(r"'\s+([a-z]+)", text[end:])
    return owned is not None and not clean(form).endswith("'s") and stem(owned[1]) not in words_of(clean(asked))


def _renamed(question: Question, text: str, start: int, end: int, form: str) -> bool:
    """Whether a longer name is another thing: "lamp black straw", "the Little Sallow".

    A surname behind a name changes nothing, nor does a title before one, nor what stands before a text.
    """
    if question.answer_type == "name":
        titled = any(words_of(clean(other))[1:] == words_of(clean(form)) for other in (question.answer, form))
        return (
            not titled
            and not re.search(r"\d\s$", text[:start])
            and _part_of_longer(text, start, start, question.text())
        )
    after = re.match(r"\s([^\W\d_]+)\s*(?:[.,;!]|$)", text[end:], re.M)
    word = after[1] if after else ""
    loose = word and word not in FUNCTION_WORDS and not _INFLECTED.search(word)
    known = stem(word) in (*words_of(clean(question.text())), *_STILL_THE_SAME)
    return question.answer_type == "text" and bool(loose) and not known


_OTHER_MATTER = re.compile(
    r"(?:the|its|their) (?!answer|name|truth|correct|right)(?:[a-z]+ ){1,3}?(?:is|are|was|costs?) .*\d"
)


def _other_claim(text: str, start: int, form: str) -> bool:
    """Whether another line or sentence of the same frame claims something else ("It is A. It is B.")."""
    line_start = text.rfind("\n", 0, start) + 1
    frame = words_of(text[line_start:start])
    gold = words_of(clean(form))
    for line in text.split("\n"):
        words = words_of(re.sub(r"^(?:[-*+]|\d+[.)])\s*", "", line))
        bullets = re.match(r"\s*(?:[-*+]|\d+[.)])\s", line)
        same_frame = len(frame) >= 1 and words[: len(frame)] == frame
        bare = not frame and 0 < len(words) <= 5 and not (_OTHER_MATTER.match(line) or CLAUSE.search(line))
        if (same_frame or bare or (bullets and len(words) <= 6)) and not contains(words, gold):
            return True
    return False


def contains(words: Sequence[str], part: Sequence[str]) -> bool:
    """Whether the words of `part` stand one after the other among `words`."""
    return any(list(words[i : i + len(part)]) == list(part) for i in range(len(words) - len(part) + 1))


def text_right(question: Question, asked: str, text: str, strictly: bool) -> bool:
    """Whether a text asserts the gold name or text; strictly: whole, and no other beside it."""
    forms = (question.answer, *question.accepted)
    found = [(form, span) for form in forms for span in places_of(text, form)]
    if found and all(of_another_label(text, at, question) for _, (at, _) in found):
        return False
    if strictly:
        return any(_strictly(question, form, forms, asked, text) for form in forms)
    if not found:
        return any(_loosely(question, text, form) for form in forms)
    return any(
        not _denied(text, *span, asked, form)
        and _company(text, *span, asked) != "options"
        and not _only_refers(question, text, *span, asked, form)
        and not _renamed(question, text, *span, form)
        for form, span in found
    )


def _denied(text: str, start: int, end: int, asked: str, form: str) -> bool:
    """Whether a found answer is denied; what may not be done is denied by "you may" too, where that was asked."""
    forbidden = NEGATOR.search(clean(asked)) and not NEGATOR.search(clean(form))
    not_to = re.search(
        r"\b(?:(?:may|can|could|must|should|will|do|does) (?:not|never)|cannot) (?:[a-z]+ (?:any )?)?$"
        r"|\b(?:no|nor) (?:[a-z]+ )?$",
        text[:start],
    )
    if forbidden and not_to and len(NEGATOR.findall(text[:start])) == 1:
        return False
    allowed = re.search(
        r"\b(?:may|can|could|will|(?:allowed|free|able) to)\s(?!only\b)(?:[a-z]+ ){0,2}$", text[:start]
    ) and not NEGATOR.search(text[:end])
    return negated(text, start, end) or bool(allowed and forbidden)


def _strictly(question: Question, form: str, forms: Sequence[str], asked: str, text: str) -> bool:
    """Whether a text asserts one form of the gold, whole, never denies it, and claims nothing else."""
    spans = places_of(text, form)
    if any(_denied(text, *span, asked, form) or _wrong_title(text, span[0], form, forms) for span in spans):
        return False
    if not spans:
        return _in_order(text, form)
    if any(_company(text, *span, asked) or _other_claim(text, span[0], form) for span in spans):
        return False
    meant = [span for span in spans if not _only_refers(question, text, *span, asked, form)]
    return any(len(words_of(clean(form))) > 3 or not _part_of_longer(text, *span, asked) for span in meant)


NEGATOR = re.compile(
    r"\b(?:not|never|no|cannot|without|none|neither|unable|impossible|forbidden|prohibited|barred|banned)\b"
)


def _in_order(text: str, form: str) -> bool:
    """For longer golds: all content words in one sentence, in order, and as many negations as the gold has."""
    plain = clean(form)
    wanted = [word for word in words_of(plain) if word not in FUNCTION_WORDS]
    if len(wanted) < 4:
        return False
    for sentence in text.split("\n"):
        words = iter(words_of(sentence))
        if all(word in words for word in wanted) and not re.search(r"\bor\b", sentence.replace(plain, "")):
            return len(NEGATOR.findall(sentence)) == len(NEGATOR.findall(plain))
    return False


def _root(word: str) -> str:
    """A word without its ending, for the lenient reading only: "silenced" and "silences" are one."""
    return re.sub(r"(?<=\w{4})(?:ing|ed|es|e|s)$", "", word)


_INSTITUTIONS = listed("guild company house order society college union league")


def _loosely(question: Question, text: str, form: str) -> bool:
    """Whether one sentence has the words of the form in any order, and is negated exactly where the form is.

    A title, a word of a name that the question has, and the kind of an institution ("the Saltmasters") may be
    missing; another kind is another name. Where the question asks
    what may not be done, the bare words are enough.
    """
    plain, asked = clean(form), clean(question.text())
    needed = [word for word in words_of(plain) if word not in FUNCTION_WORDS]
    if question.answer_type == "name":
        kinds = {word for word in words_of(text) if word in _INSTITUTIONS}
        if kinds - set(needed):
            return False
        needed = [word for word in needed if word not in TITLES and word not in words_of(asked)]
        needed = [word for word in needed if word not in _INSTITUTIONS or word in kinds]
    root = _root if question.answer_type == "text" else str
    wanted = {root(word) for word in needed}
    return bool(wanted) and any(
        wanted <= {root(word) for word in words_of(sentence)} and _as_negated(wanted, plain, asked, sentence)
        for sentence in text.split("\n")
    )


_EVERY = re.compile(r"\b(?:every|everybody|everyone|all|each|any|none|no)\b")


def _as_negated(wanted: set[str], plain: str, asked: str, sentence: str) -> bool:
    """Whether a sentence with the wanted words denies what the form denies, and offers no choice."""
    if _EVERY.search(plain) and not _EVERY.search(sentence):
        return False
    if "or" in sentence.split() and "or" not in plain.split():
        return False
    if "but" in sentence.split() and "but" not in plain.split():
        return False
    denied, wanted_denied = bool(NEGATOR.search(sentence)), bool(NEGATOR.search(plain))
    bare = (
        bool(NEGATOR.search(asked))
        and len(set(words_of(sentence)) - FUNCTION_WORDS) == len(wanted)
        and not CLAUSE.search(sentence)
    )
    return denied == wanted_denied or bare
