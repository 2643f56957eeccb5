"""Reading answers: plain spelling, number words, units, dice, refusals, and the values a text commits itself to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from adaptlab.retrieval import listed, stem
from adaptlab.schemas import AnswerType

_SMALL = listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen"
)
_TENS = {word: 10 * i for i, word in enumerate(listed("twenty thirty forty fifty sixty seventy eighty ninety"), 2)}
_WORDS = {**{w: i for i, w in enumerate(_SMALL)}, **_TENS}
_RANKS = listed(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth"
    " sixteenth seventeenth eighteenth nineteenth"
)
_ORDINALS = {word: rank for rank, word in enumerate(_RANKS, 1)}
_ORDINALS |= {f"{ten[:-1]}ieth": value for ten, value in _TENS.items()}
_ORDINALS |= {f"{10 * (i + 2)}-{word}": 10 * (i + 2) + n for i in range(8) for n, word in enumerate(_RANKS[:9], 1)}
_PARTS = {"half": 2, "quarter": 4} | {word: rank for word, rank in _ORDINALS.items() if rank > 2 and "-" not in word}
_PART = re.compile(r"(?<![\w-])(?:an?|1) (" + "|".join(_PARTS) + r")\b(?=\s+(?:of|as)\b|\s*(?:[.,;:!?)\n]|$))")
_AND_PART = re.compile(r"\b(\d+) and (?:an?|1) (half|quarter)\b")
_ONES = "|".join(_SMALL[1:10])
_UNDER_100 = rf"(?:(?:{'|'.join(_TENS)})(?:[- ](?:{_ONES}))?|{'|'.join(sorted(_SMALL, key=len, reverse=True))})"
_NUMBER_WORD = re.compile(
    rf"(?<!\bno )(?<!\w)(?=[a-z])(?:({_UNDER_100}|a) thousand\b(?:,? and)? ?)?"
    rf"(?:({_UNDER_100}|a) hundred\b(?: and)? ?)?({_UNDER_100}\b(?! (?:of|who|that|can|may|must)\b))?(?<! )"
)
_UNIT_NAMES = {
    "feet": "ft foot feet '",
    "gold piece": "gp",
    "silver piece": "sp",
    "copper piece": "cp",
    "point": "xp experience point pt",
    "pound": "lb lbs pound",
    "hour": "hr hour",
    "minute": "min minute",
    "yard": "yd yard",
    "%": "percent %",
}
_PLAIN_UNITS = listed("round turn day week month year second inch mile stone crown coin league segment step pace cubit")
UNITS = {name: unit for unit, names in _UNIT_NAMES.items() for name in names.split()} | {u: u for u in _PLAIN_UNITS}
_NO_UNITS = {"mean", "make", "give", "apply", "count", "stand", "hold", "work", "hit", "come", "remain", "suffice"}
_COINS = {"gold", "silver", "copper", "electrum", "platinum"}
_PIECES = re.compile(r"\b(?:pieces?|coins?) of (" + "|".join(sorted(_COINS)) + r")\b")
_DICE = re.compile(r"(?<![\w.])(\d*)\s?d\s?(\d+|%)(?:\s?([+\-x*])\s?(\d+)(?!\s?d\s?\d))?(?!\w)")
_SIDED = re.compile(r"(?<!\w)(?:(\d+)\s|\ban?\s)?(\d+)[- ]sided (?:dice|die)(?: (plus|minus|[+\-]) (\d+))?")
_NUMBER = re.compile(
    r"(?<![\w.])(?P<value>[+-]?\d+(?:\.\d+)?)(?:\s?(?:-|\bto\b)\s?(?P<top>\d+)(?![\w]))?(?P<ordinal>st|nd|rd|th)?"
    r"(?![\d])(?:[\s-]?(?P<unit>%|'(?!\w)|[a-z]+))?(?:\s(?P<next>[a-z]+))?"
)


def _any(*options: str) -> str:
    return "(?:" + "|".join(options) + ")"


HEDGE = re.compile(
    r"\b(either|maybe|perhaps|possibly|probably|presumably|supposedly|apparently|might be|may be|could be"
    r"|not (?:\w+ )?(?:sure|certain)|unsure|uncertain|my guess|i guess|i would guess|i think|i believe|i suppose"
    r"|if i (?:remember|recall)|as far as i (?:know|can tell)|(?:seems|appears) to be|(?:most |very )?likely"
    r"|(?:some|others|people|many) (?:say|think|believe)|rumou?r\w*|hard to say"
    r"|one of (?:these|those|the following)|(?:nearly|almost)(?= \d))\b"
)
_NOT = _any(
    "not|never|neither|nor|cannot",
    r"(?:is|was|are|were|does|do|did|wo|ca|has|have)n't",
    "rather than|instead of|other than|(?:any|every)(?:thing|one) but|(?<!nothing )(?<!no one )except",
    "(?:false|untrue|incorrect|wrong) that",
)
_NO_BEFORE = re.compile(r"\b(?:but |and )?no (?!(?:more|less|fewer|longer|other|doubt|one|matter)\b)(?:\w+ )?$")
_NEGATED_BEFORE = re.compile(
    rf"\b{_NOT}\b(?!\s(?:only|just|(?:more|less|fewer) than)\b)(?:(?!\b(?:but|rather|instead)\b)[^.;:!?\n,]){{0,60}}$"
)
_NEGATED_AFTER = re.compile(
    r"^[\w\s']{0,20}?\b(?:is not|isn't|was not|wasn't|is wrong|is incorrect|is false|would be wrong|is untrue)\b"
    r"(?!\s(?:only|just))"
)
_CONCLUSION = re.compile(
    _any(
        r"\b(?:final )?answer(?: is)?:?\s",
        r"\b(?:makes|comes to|adds up to|amounts to)\b",
        r"\b(?:therefore|thus|hence|in total|in all)\b,?",
        r"\bso\b,?(?= (?:the|it|its|that|this|he|she|they|you|a|an)\b)",
        r"\btotal(?:s|ling| is| of)\b",
        r"\bwhich (?:makes|gives|leaves)\b|\bmaking\b|=",
    )
)
_ASIDE = re.compile(
    _any(
        r";\s(?:at|with|without|for|if|when|in|on)\b.*",
        r"[,;(\s]\s*(?:because|since|which|instead of|not|rather than|unlike|compared|while|whereas|but not|up from"
        r"|down from|after|plus|including|as the|as its|made up of|counting)\b.*",
        r"\(.*?\)|\bthat is\b,?.*",
    )
)
_SOURCE = _any(
    "passages?|texts?|rule ?books?|rules|context|documents?|information|excerpts?|source|entry|description|book",
    "it|they|i",
)
_TEXT = _any("passages?|texts?|rule ?books?|rules|context|documents?|excerpts?|source|entry|description|book")
_TELLS_NONE = "say|says|said|state|states|mention|mentions|give|gives|list|lists|contain|contains|provide|provides"
_SILENT = _any(
    "say|state|mention|specify|give|contain|include|provide|list|describe|tell|indicate|reveal|address|define|cover",
    "discuss|explain|name|have (?:any |enough |that |this )?(?:information|details?)",
)
_TOLD = _any(
    "stated|specified|mentioned|given|provided|listed|included|described|said|defined|covered|indicated|available",
    "in the (?:passages?|text|rules|rulebook|context|document)",
)
REFUSALS = re.compile(
    _any(
        rf"\b{_SOURCE}\b[^.!?\n]{{0,60}}?\b(?:(?:do(?:es)?|did)(?: not|n't)|never) (?:\w+ )?{_SILENT}\b",
        rf"\b(?:is|are|was|were)(?: not|n't| never| nowhere) (?:\w+ )?{_TOLD}\b",
        rf"\b{_TEXT}\b[^.!?\n]{{0,40}}?\b(?:{_TELLS_NONE}) (?:\w+ )?(?:no|nothing)\b",
        r"\b(?:nothing|nowhere)\b[^.!?\n]{0,40}?\b(?:about|said|says?|stated|states|written|mentioned|mentions|given|answers)\b",
        r"\b(?:it|this|that|which)(?: is|'s| remains) (?:not clear|unclear)\b|\bnot told\b|\bno answer\b|^n/a\b",
        r"\b(?:have|has) no (?:idea|clue|way of (?:knowing|telling))\b|\b(?:nobody|no one) (?:knows|says)\b",
        r"\b(?:(?:do|does|could)(?: not|n't)|cannot|can't) (?:\w+ )?(?:know|answer|determine|tell|find|say)\b",
        r"\b(?:cannot|can't|can not|could not) be (?:\w+ )?(?:determined|answered|found|known|inferred|established)\b",
        r"\b(?:unable|not able|impossible) to (?:\w+ )?(?:answer|determine|find|say|tell)\b",
        r"\b(?:no|not enough|insufficient) (?:\w+ )?(?:information|mention|details?|evidence|data|context|statement)\b",
        r"\b(?:answer|it|this|that|which|value) is (?:unknown|unspecified|unstated)\b",
        rf"\bno [\w\s]{{1,40}}? (?:is|are|was|were) {_TOLD}\b|\b(?:is|are) silent (?:on|about)\b",
        r"^(?:unknown|unanswerable)\b|^not (?:stated|specified|mentioned|given)\b",
    )
)
_CONTRAST = re.compile(r"\b(?:but|however|although|though|nevertheless|nonetheless|still|yet|that said)\b,?")
_TELLS = "say|mention|describe|list|discuss|state|cover|give|refer"
_POINTER = re.compile(rf"\b(?:(?:{_TELLS})(?:e?s)?|check|consult|ask)\b")
_GUESS = re.compile(r"\b(?:likely|probably|would|must be|assume|guess|typically|usually|generally)\b")
_ABBREVIATION = re.compile(r"\b(vs\.(?=\s)|(?:ft|lbs?|gp|sp|cp|hp|approx|dr|mr|mrs|st)\.(?=\s+[\da-z]))")
_FRACTION = re.compile(r"(?<![\d/.])(?:(\d+) )?(\d+)/([1-9]\d*)(?![\d/])")
_CITATION = re.compile(r"\[\d+(?:, ?\d+)*\]|\(?\bpassages? \d+(?: and \d+)?\)?")
_ARTICLES = frozenset(("a", "an", "the"))
FUNCTION_WORDS = _ARTICLES | frozenset(
    listed(
        "is are was were be been being of by to with from in on at for as and or it its this that these those their"
        " his her he she they you your one only any all called named than then when if while until unless also about"
        " against per have has had do does did can may must will would should shall which who whose there here into"
        " onto over under use need require take fear carry wield pay make get gain become include want choose hate"
        " cost mean say give let not just exactly always usually both each every no so but because since versus vs v"
        " made name answer equals except"
    )
)
_IRREGULAR = {
    **{
        word + "ves": word + ("fe" if word in ("kni", "li", "wi") else "f")
        for word in listed("el dwar hal loa wol thie shel scar kni li wi")
    },
    "feet": "foot",
    "vs": "versus",
    "v": "versus",
    "men": "man",
    "women": "woman",
}
TITLES = frozenset(
    listed("lady lord sir dame captain master mistress mother father brother sister king queen old saint dr mr mrs")
)


# ------------------------------------------------------------------------------------------------ reading a text


@lru_cache(maxsize=20_000)
def clean(text: str) -> str:
    """One plain spelling: ASCII quotes and dashes, no emphasis marks, number words as digits, lower case."""
    text = unicodedata.normalize(
        "NFKC", text.replace("½", " 1/2").replace("¼", " 1/4").replace("¾", " 3/4").replace("×", "x")
    )
    text = re.sub(r"[\u2018\u2019\u2032]", "'", text)
    text = re.sub(r"[\u201c\u201d\u2033]", '"', text)
    text = re.sub(r"[\u2010-\u2015\u2212]", "-", text)
    text = _ABBREVIATION.sub(lambda match: match[1][:-1], text.casefold())
    text = re.sub(r"\bcan't\b", "cannot", text)
    text = re.sub(r"(?<=[a-z])n't\b", " not", text.replace("won't", "will not"))
    text = re.sub(r"\*\*|__|`|(?<!\d)\*(?!\d)", "", text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = _NUMBER_WORD.sub(_digits, text)
    text = _AND_PART.sub(lambda match: f"{match[1]} 1/{_PARTS[match[2]]}", text)
    text = _PART.sub(lambda match: f"1/{_PARTS[match[1]]}", text)
    text = _FRACTION.sub(_fraction, text.replace("\u2044", "/"))
    text = _PIECES.sub(r"\1 piece", text)
    text = re.sub(r"\bper cent\b", "percent", text.replace("°", " degrees "))
    text = re.sub(r"\b(\d+) \(\1\)", r"\1", text)
    text = _SIDED.sub(_sided, text)
    text = re.sub(r"(d\d+)(?: plus|,? and (?:then )?add) (\d+)", r"\1+\2", text)
    return re.sub(r"[ \t]+", " ", text).strip()


def _digits(match: re.Match[str]) -> str:
    """A number in words as digits; an empty match stays empty."""
    if not any(match.groups()):
        return match[0]
    thousands, hundreds, rest = (
        sum(_WORDS[word] for word in re.split("[- ]", part)) if part and part != "a" else int(part == "a")
        for part in match.groups()
    )
    return str(1000 * thousands + 100 * hundreds + rest)


def _fraction(match: re.Match[str]) -> str:
    whole, top, bottom = match.groups()
    return f"{int(whole or 0) + int(top) / int(bottom):g}"


def _sided(match: re.Match[str]) -> str:
    count, sides, sign, bonus = match.groups()
    tail = ("-" if sign in ("minus", "-") else "+") + bonus if bonus else ""
    return f"{count or ''}d{sides}{tail}"


def words_of(text: str) -> list[str]:
    """Comparable words: cleaned, without articles, lightly stemmed, numbers kept."""
    found = re.findall(r"[+-]?\d+(?:\.\d+)?|\d*d\d+(?:[+-]\d+)?|[^\W\d_]+(?:'s\b)?|%", _spell_dice(text))
    return [_IRREGULAR.get(word, _IRREGULAR.get(stem(word), stem(word))) for word in found if word not in _ARTICLES]


def _spell_dice(text: str) -> str:
    return _DICE.sub(lambda match: " " + _dice_value(match) + " ", text).replace("-foot", " foot")


def sentences_of(text: str) -> list[str]:
    """The sentences and lines of a cleaned text."""
    parts = re.split(r"(?<=[.!?;])\s+|\n+", text)
    return [part.strip() for part in parts if part.strip(" .-*")]


def asserted(question: str, text: str) -> str:
    """The text without what is only asked: question sentences, and a repetition of the question at its head."""
    plain, asked = _CITATION.sub("", clean(text)), clean(question)
    if plain.startswith(asked.rstrip(" ?.")):
        plain = plain[len(asked.rstrip(" ?.")) :].lstrip(" ?.:-\n")
    kept = [sentence for sentence in sentences_of(plain) if not sentence.endswith("?")]
    kept = [sentence for sentence in kept if words_of(sentence) != words_of(asked)]
    return "\n".join(kept)


# ------------------------------------------------------------------------------------------------------ refusals


def mentions_refusal(text: str) -> bool:
    """Whether the text says anywhere that it does not know or that the source does not say."""
    return bool(REFUSALS.search(clean(text)))


def is_refusal(text: str) -> bool:
    """Whether the text, as a whole, declines: it says early that the answer is not there, and then offers none."""
    sentences = sentences_of(clean(text))
    at = next((i for i, sentence in enumerate(sentences[:2]) if REFUSALS.search(sentence)), None)
    if at is None or (at == 1 and re.search(r"\d|^(?:yes|no)\b", sentences[0])):
        return False
    match = list(REFUSALS.finditer(sentences[at]))[-1]
    if _answered_first(sentences[at][: match.start()]):
        return False
    rest = [sentences[at][match.end() :], *sentences[at + 1 :]]
    return not any(_offers(part, first=i == 0) for i, part in enumerate(rest))


def _answered_first(head: str) -> bool:
    """Whether a value or a yes or no stands before the refusal in its own sentence: "14, though it does not say so"."""
    claim = _CONTRAST.split(head)[0] if _CONTRAST.search(head) else ""
    return bool(re.search(r"^(?:yes|no)\b|\d", claim)) and not _POINTER.search(claim)


def _offers(part: str, first: bool) -> bool:
    """Whether what follows a refusal still offers an answer."""
    if REFUSALS.search(part):
        return False
    contrast = _CONTRAST.search(part)
    if first and not contrast:
        return False
    claim = part[contrast.end() :] if contrast else part
    if _GUESS.search(claim):
        return True
    return bool(re.search(r"\b(?:is|are|answer)\b|\d", claim)) and not _POINTER.search(claim)


# ------------------------------------------------------------------------------------------- numbers and dice


@dataclass(frozen=True)
class Value:
    """A number, range or dice expression as it stands in a text."""

    value: str
    unit: str
    start: int
    end: int
    ordinal: bool = False


def _dice_value(match: re.Match[str]) -> str:
    count, sides, sign, bonus = match.groups()
    sides = "100" if sides == "%" else sides
    tail = f"{'x' if sign == '*' else sign}{int(bonus)}" if bonus and int(bonus) else ""
    return f"{int(count) if count else 1}d{int(sides)}{tail}"


def _unit(word: str | None, following: str | None = None) -> str:
    """The unit a word names: "ft" and "foot" are one; a coin's metal belongs to it; a word of no unit is none."""
    if not word or word in FUNCTION_WORDS:
        return ""
    single = stem(word)
    if single in _COINS:
        coin = stem(following) if following and _unit(following) else "piece"
        return f"{single} {'piece' if coin == 'coin' else coin}"
    return UNITS.get(word, UNITS.get(single, ""))


def values(text: str, kind: AnswerType, extra_units: frozenset[str] = frozenset()) -> list[Value]:
    """Every value of a kind in a cleaned text. `extra_units` are unit words that the gold answer brings along."""
    found: list[Value] = []
    if kind == "dice":
        for match in _DICE.finditer(text):
            after = re.match(r"\s([a-z]+)(?:\s([a-z]+))?", text[match.end() :])
            unit = _named_unit(after[1] if after else None, after[2] if after else None, extra_units)
            found.append(Value(_dice_value(match), unit, match.start(), match.end()))
        return found
    masked = _DICE.sub(lambda match: "#" * len(match[0]), text)
    masked = re.sub(r"\b(?:" + "|".join(_ORDINALS) + r")\b", lambda m: f"{_ORDINALS[m[0]]}th".ljust(len(m[0])), masked)
    at = 0
    while number := _NUMBER.search(masked, at):
        stop = max(number.end(part) for part in ("value", "top", "ordinal"))
        value = f"{float(number['value']):g}" + (f"-{int(number['top'])}" if number["top"] else "")
        unit = _named_unit(number["unit"], number["next"], extra_units)
        unit = unit or _unknown_unit(masked[stop:], value)
        found.append(Value(value, unit, number.start("value"), stop, bool(number["ordinal"])))
        at = stop
    return found


def _named_unit(word: str | None, following: str | None, extra: frozenset[str]) -> str:
    known = _unit(word, following)
    if known:
        return known
    for candidate in (word, following):
        if candidate and stem(candidate) in extra:
            return stem(candidate)
    return ""


_COUNTED = re.compile(r"[\s-]([a-z]{3,})(?=\s*(?:[.,;:!?)\n]|$)|\s(?:" + "|".join(sorted(FUNCTION_WORDS)) + r")\b)")


def _unknown_unit(tail: str, value: str) -> str:
    """A plural noun right behind a number and at the end of its phrase is its unit, even if nobody listed it."""
    match = _COUNTED.match(tail)
    word = match[1] if match and match[1] not in FUNCTION_WORDS else ""
    plural = word.endswith("s") and stem(word) != word and stem(word) not in _NO_UNITS
    return stem(word) if plural or (word and value == "1") else ""


def negated(text: str, start: int, end: int) -> bool:
    """Whether what stands at these offsets of a cleaned text is denied."""
    before, after = text[:start], text[end:]
    return bool(_NEGATED_BEFORE.search(before) or _NO_BEFORE.search(before) or _NEGATED_AFTER.match(after))


def committed_values(text: str, found: Sequence[Value]) -> list[Value]:
    """The values a text commits itself to: all it asserts, else those of its conclusion, else of its main clause."""
    stated = [value for value in found if not negated(text, value.start, value.end)]
    if any(not value.ordinal for value in stated):
        stated = [value for value in stated if not value.ordinal]
    if len({(value.value) for value in stated}) <= 1:
        return stated
    conclusions = list(_CONCLUSION.finditer(text))
    if conclusions:
        after = [value for value in stated if value.start >= conclusions[-1].end() - 1]
        if after:
            return after
    asides = [match.span() for match in _ASIDE.finditer(text)]
    main = [value for value in stated if not any(a <= value.start < b for a, b in asides)]
    return main or stated
