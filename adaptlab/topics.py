"""What a value in a text is said of: which quantity, which part of a thing, at which rate, for whom.

All functions take cleaned texts (`answers.clean`). A word of no list says nothing, so that an unknown word never
turns an answer into one on another matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from adaptlab.answers import FUNCTION_WORDS, UNITS, Value, clean, words_of
from adaptlab.schemas import Question

_QUANTITIES = {  # what the words of questions and answers measure; a word of several meanings has them all
    "long": "length duration range casting notice reset",
    "length": "length",
    "wide|width|broad|breadth|across": "width",
    "high|height|tall": "height",
    "deep|depth": "depth",
    "thick|thickness": "thickness",
    "weigh|weighs|weight|heavy": "weight",
    "prices?": "price",
    "costs?|costing|pays?|paid|worth|owes?|charges?|charged": "price wage toll treasure experience charges",
    "wages?": "wage",
    "tolls?|fees?": "toll",
    "treasure|hoard|loot": "treasure",
    "moves?|moving|movement|speed|fast": "speed",
    "range|reach|reaches|away": "range",
    "far|distance": "range speed area length notice",
    "area": "area",
    "radius": "area range",
    "circle|level": "level area",
    "hardness": "hardness",
    "harm": "hardness damage",
    "damage": "damage",
    "morale|nerve": "morale",
    "loyalty": "loyalty",
    "hit (?:dice|die)|hd": "hit-dice",
    "armou?r class|ac": "armour",
    "number appearing": "appearing",
    "spotting number": "spotting",
    "target number": "target",
    "lasts?|lasting|duration": "duration",
    "casting time": "casting",
    "reset time|resets?": "reset",
    "notice|warning": "notice",
    "penalty|bonus|modifier": "modifier",
    "population|inhabitants": "population",
    "experience|xp": "experience",
    "founded|founding|built|opened": "beginning",
    "rebuilt|restored|destroyed|burnt|burned": "later",
}
_KINDS = {  # what is no quantity; only the label before a claim is held against these
    "lair|den|nest|home|habitat|hideout|sleeps?|dwells?": "lair",
    "remedy|remedies|cures?|cured|antidote|treatment": "remedy",
    "reagents?|ingredients?|components?": "reagent",
    "materials?|made (?:out )?of": "material",
    "weakness|weaknesses|vulnerability|vulnerable": "weakness",
    "tools?|gear": "tool",
    "weapons?|arms": "weapon",
    "maker|workshop|manufacturer|makes?|made(?! (?:out )?of)": "maker",
    "guilds?|dues": "guild",
    "rulers?|ruled by|in charge": "ruler",
    "triggers?|causes?|caused": "trigger",
    "effects?": "effect",
    "exports?|goods": "export",
    "feasts?|festivals?": "feast",
    "ability|abilities": "ability",
    "saving throws?": "save",
    "limit": "limit",
    "age": "age",
}
_PARTS = {
    "bites?|teeth|fangs?|jaws?": "mouth",
    "claws?|talons?": "claws",
    "tails?": "tail",
    "horns?|antlers?|gores?": "horns",
    "hoof|hooves|kicks?": "hooves",
    "stings?|stingers?": "sting",
    "tentacles?": "tentacles",
    "wings?": "wings",
    "beaks?": "beak",
}
_EXTREMES = {
    "medium": "middle",
    "maximum|at (?:the )?most|long range|greatest|longest|highest|heaviest|farthest|furthest": "most",
    "minimum|at (?:the )?least|short range|smallest|shortest|lowest|nearest": "least",
}
Lexicon = dict[re.Pattern[str], frozenset[str]]


def _lexicon(words: dict[str, str]) -> Lexicon:
    return {re.compile(rf"\b(?:{names})\b"): frozenset(meanings.split()) for names, meanings in words.items()}


_LEXICONS = tuple(_lexicon(words) for words in (_QUANTITIES, _PARTS, _EXTREMES))
_LABELS = _lexicon(_QUANTITIES | _KINDS)
_SIZES = frozenset("length width height depth thickness weight speed".split())  # dice are rolled for none of these
_KIND_NAMES = frozenset(_KINDS.values())
Topic = tuple[frozenset[str], ...]  # the quantities, the parts of a body, the extremes


@lru_cache(maxsize=20_000)
def topic_of(text: str) -> Topic:
    """The quantities and the parts of a body that the words of a cleaned text name."""
    return tuple(
        frozenset().union(*(meanings for pattern, meanings in lexicon.items() if pattern.search(text)))
        for lexicon in _LEXICONS
    )


def is_other(said: Topic, wanted: Topic) -> bool:
    """Whether two topics are both known and have nothing in common."""
    return any(one and other and not one & other for one, other in zip(said, wanted, strict=True))


_CUT = re.compile(r"\s/\s|[,;()\n|]|[.!?](?=\s|$)|\b(?:and|but|while|whereas|although|though|plus)\b")


_MOTION = re.compile(
    r"\b(?:go|goes|moves?|moving|movement|walk|run|swim|climb|fly|flies|march|travel|cover|speed|fast|sail|ride|get)\b"
    r"|\b(?:in|per|each|every|a|an|1) (?:round|turn|minute|hour|day|watch|second)\b"
)


def asked_topic(question: Question) -> Topic:
    """What a question asks for: by its phrasings, its gold forms, and the words before the gold in its quotes."""
    quantities, *others = _asked_topic(_told(question))
    return (quantities - _SIZES if question.answer_type == "dice" else quantities, *others)


def _told(question: Question) -> str:
    """The phrasings and gold forms of a question, and what stands before the gold in its quotes, a line each."""
    return _told_by(
        tuple(phrasing.text for phrasing in question.phrasings),
        (question.answer, *question.accepted),
        tuple(quote.text for quote in question.quotes),
    )


@lru_cache(maxsize=4_000)
def _told_by(phrasings: tuple[str, ...], forms: tuple[str, ...], quotes: tuple[str, ...]) -> str:
    golds = [clean(form) for form in forms]
    said = [*(clean(phrasing) for phrasing in phrasings), *golds]
    for quote in map(clean, quotes):
        for form in golds:
            for match in re.finditer(rf"(?<!\w){re.escape(form)}(?!\w)", quote):
                said.append(_CUT.split(quote[: match.start()])[-1])
    return "\n".join(said)


@lru_cache(maxsize=4_000)
def _asked_topic(told: str) -> Topic:
    """The topic of a question; "how far" asks for a speed only where something moves."""
    quantities, *others = topic_of(told)
    return (quantities if _MOTION.search(told) else quantities - {"speed"}, *others)


_IN_BRACKETS = re.compile(r"\((?:[a-z]+ ?){1,2}\)")  # "the greatest (long) range"


def part_around(text: str, value: Value, others: Sequence[Value]) -> tuple[str, str]:
    """What stands before and behind a value in its part of a sentence, up to the next value on either side."""
    text = _IN_BRACKETS.sub(lambda match: " " * len(match[0]), text)
    begin = max((other.end for other in others if other.end <= value.start), default=0)
    stop = min((other.start for other in others if other.start >= value.end), default=len(text))
    return _CUT.split(text[begin : value.start])[-1], _CUT.split(text[value.end : stop])[0]


_SIZE = re.compile(r"\s[a-z]+ (?:in )?(long|wide|broad|high|tall|deep|thick|across|length|width|height|depth)\b")
_ASIDE = re.compile(r"\s(?:to|for|on|against|from|if|when|in|per|because|at|with|than|by)\b")


def of_another_topic(text: str, value: Value, others: Sequence[Value], wanted: Topic) -> bool:
    """Whether a value is said to be of another quantity, or of another part of a body, than what is wanted."""
    head, tail = part_around(text, value, others)
    size, aside = _SIZE.match(tail), _ASIDE.search(tail)
    head = "" if size else head
    behind = topic_of(size[1] if size else tail[: aside.start()] if aside else tail)
    said = tuple(before or after for before, after in zip(topic_of(head), behind, strict=True))
    return is_other(said, wanted)


# ------------------------------------------------------------------------------------------------------- labels

_LABEL = re.compile(
    r"(?:^|[.;,\n]\s?)(?:the |its |their |his |her |an? )?((?:[a-z]+ ){0,2}[a-z]+)(?: (?:of|for) [^.;,:\n]*?)?"
    r"(?: (?:is|are|was|were)|\s?[:=])\s(?:an? |the )?$"
)


@lru_cache(maxsize=20_000)
def _meanings(text: str) -> frozenset[str]:
    """What a label means: of a word of several meanings all of them."""
    return frozenset().union(*(meanings for pattern, meanings in _LABELS.items() if pattern.search(text)))


@lru_cache(maxsize=4_000)
def _plain_meanings(told: str) -> frozenset[str]:
    """What is asked, by the words of one meaning if there are any, else by all."""
    found = [meanings for pattern, meanings in _LABELS.items() if pattern.search(told)]
    return frozenset().union(*([each for each in found if len(each) == 1] or found))


def of_another_label(text: str, start: int, question: Question) -> bool:
    """Whether a claim is labelled as something else: "the Lair of the Heron is ..." where its weakness was asked."""
    match = _LABEL.search(text[:start])
    said = _meanings(match[1]) if match else frozenset()
    if not said:
        return False
    wanted = _plain_meanings(_told(question))
    if question.answer_type in ("name", "text"):
        wanted &= _KIND_NAMES
    return bool(wanted) and not said & wanted


_FIELD = re.compile(r"^[\W_]*([a-z][a-z' -]{1,30}?)\s?:\s+\S")
_VERDICT_LABELS = frozenset("answer result total sum conclusion".split())


def own_fields(text: str, asked: str) -> str:
    """The text without the fields of other labels, where it is a sheet of them: "Ability: Wits; Die: d8"."""
    lines = text.split("\n")
    labels = [match[1] if (match := _FIELD.match(line)) else "" for line in lines]
    if sum(map(bool, labels)) < 2:
        return text
    ours = [bool(label) and _is_asked(label, asked) for label in labels]
    kept = [line for line, label, own in zip(lines, labels, ours, strict=True) if own or not label]
    return "\n".join(kept) if any(ours) else text


def _is_asked(label: str, asked: str) -> bool:
    """Whether a label has a word or a meaning of the question."""
    words, wanted = set(words_of(label)), set(words_of(asked)) - FUNCTION_WORDS
    if words & (_VERDICT_LABELS | wanted) or _meanings(label) & _meanings(asked):
        return True
    return any(
        len(min(one, two, key=len)) > 2 and (one.startswith(two) or two.startswith(one))
        for one in words
        for two in wanted
    )


_MODIFIED = re.compile(r"\b([a-z]{3,}) (?=([a-z]{3,})\b)")


def of_another_sort(text: str, start: int, end: int, asked: str) -> bool:
    """Whether a claim is about another sort of the thing than a clause beside it has: "and the summer market in Alder".

    Only where the text also speaks of the sort that was asked for.
    """
    pairs = {(match[1], match[2]) for match in _MODIFIED.finditer(asked) if match[1] not in FUNCTION_WORDS}
    cuts = [match.span() for match in _CLAUSE_CUT.finditer(text)]
    begin = max((stop for _, stop in cuts if stop <= start), default=0)
    stop = min((at for at, _ in cuts if at >= end), default=len(text))
    clause, rest = text[begin:start] + " # " + text[end:stop], text[:begin] + " # " + text[stop:]
    said = {(match[1], match[2]) for match in _MODIFIED.finditer(clause)}
    known = FUNCTION_WORDS | set(re.findall(r"[a-z]+", asked))
    return any(
        modifier not in known and (own, noun) not in said and f"{own} {noun}" in rest
        for own, noun in pairs
        for modifier, other in said
        if other == noun
    )


_CLAUSE_CUT = re.compile(r"[.;\n]|,? \b(?:and|but|while|whereas|although|though)\b")


@lru_cache(maxsize=64)
def _plain_names(things: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(clean, things))


def of_another_thing(text: str, start: int, asked: str, question: Question) -> bool:
    """Whether a claim names another known thing, where the question asks about one: "the Drowsel has an AC of 19".

    A name that nobody knows is a garbled one and stands for the one that was asked.
    """
    names = _plain_names(question.things)
    if not any(name in asked for name in names):
        return False
    claim = _CUT.split(text[:start])[-1]
    named = [name for name in names if re.search(rf"\b{re.escape(name)}(?:'?s)?\b", claim)]
    return bool(named) and not any(name in asked for name in named)


# -------------------------------------------------------------------------------------------------- rates and shares

_EACH = "(?:per|an?|each|every|any|single|1|one)"
_UNIT_NAMES = "(" + "|".join(sorted(set(UNITS) - {"'", "%"}, key=len, reverse=True)) + r")\b"
_ASKED_RATE = re.compile(rf"\b(?:in |for )?{_EACH} {_UNIT_NAMES}")
_RATE = re.compile(rf"(?:\s[a-z]+)? (?:(?:in |for )?{_EACH}|in (?P<count>\d+)) {_UNIT_NAMES}")
_RATE_BEFORE = re.compile(rf"\bin (?P<count>(?!1\b)\d+) {_UNIT_NAMES} $")
_TOGETHER = re.compile(r"\b(?:all together|altogether|in total|in all|total|combined)\b")
_APIECE = re.compile(r"(?:\s[a-z]+)? (?:each|apiece|per (?:head|person|man|member))\b")


_PER = re.compile(r"(?:\s[a-z]+)? (?:per|for (?:each|every)) (?:\d+ )?([a-z]+)")
_ANY_RATE = re.compile(r"\b(?:per|each|every|apiece|rate|an? (?:day|week|month|year|round|turn|hour|minute|head))\b")


def at_another_rate(text: str, value: Value, asked: str, form: str) -> bool:
    """Whether a value is said of another time than question or gold: "55 feet a turn", "8 terns each" of a total."""
    tail = text[value.end :]
    if _APIECE.match(tail) and _TOGETHER.search(asked):
        return True
    said = _RATE.match(tail) or _RATE_BEFORE.search(text[: value.start])
    wanted = {UNITS[match[1]] for match in _ASKED_RATE.finditer(f"{asked}\n{form}")}
    return said is not None and bool(wanted) and (said["count"] is not None or UNITS[said[2]] not in wanted)


def per_something(text: str, value: Value, asked: str, form: str) -> bool:
    """Whether a value is said per piece of what neither question nor gold counts by: "1d6 per 10 feet"."""
    rate = _PER.match(text[value.end :])
    return rate is not None and not _ANY_RATE.search(f"{asked}\n{form}") and rate[1] not in words_of(asked)


_SHARE_BEFORE = re.compile(r"^\s*(?:[a-z]+ )?(?:each|every|an?|the|for|per|in|on|to|at)\b")
_SHARE_BEHIND = re.compile(r"^%?(?:\s[a-z]+)??\s(?:for|to|per|each|every|an?|in|on|of|at|against|by|with|when|if)\b")
_LABELLED = re.compile(r"^\s*(?:[a-z]+ ){1,4}?(?:is|are|costs?)\s$")
_NO_SHARE = frozenset(words_of("truth fact reality all total most least first last best once question answer case"))


def question_in(asked: str) -> str:
    """The last sentence of a question that asks: what stands before it only sets the scene."""
    sentences = [part for part in re.split(r"(?<=[.!?\n])\s+", asked) if part.strip()]
    return next((part for part in reversed(sentences) if part.endswith("?")), asked)


def own_shares(found: Sequence[Value], asked: str, text: str) -> list[Value]:
    """The values for what was asked, where each of the others is plainly for something else.

    "120 points to each Kin, 60 to each retainer" where the share of the Kin was asked.
    """
    focus = set(words_of(question_in(asked))) - FUNCTION_WORDS
    ours: list[Value] = []
    theirs: list[Value] = []
    for value in found:
        head, tail = part_around(text, value, found)
        words: set[str] = set()
        behind = _SHARE_BEHIND.search(tail)
        if _SHARE_BEFORE.search(head) or _LABELLED.search(head):
            words |= set(words_of(head)) - FUNCTION_WORDS
        if behind:
            words |= set(words_of(tail[behind.end() :])) - FUNCTION_WORDS
        (ours if words & focus else theirs if words and not words & _NO_SHARE else []).append(value)
    return ours if ours and len(ours) + len(theirs) == len(found) else list(found)
