"""Reading answers: one plain spelling of a text, its words and sentences, and the numbers and dice in it."""

from __future__ import annotations

import re
import unicodedata
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
_PART = re.compile(
    r"(?<![\w-])(?:an?|1) (" + "|".join(_PARTS) + r")\b(?=\s+(?:of|as|in|when|if)\b|\s*(?:[.,;:!?)\n]|$))"
)
_AND_PART = re.compile(r"\b(\d+) and (?:an?|1) (half|quarter)\b")
_ONES = "|".join(_SMALL[1:10])
_UNDER_100 = rf"(?:(?:{'|'.join(_TENS)})(?:[- ](?:{_ONES}))?|{'|'.join(sorted(_SMALL, key=len, reverse=True))})"
_NUMBER_WORD = re.compile(
    rf"(?<!\bno )(?<!\w)(?=[a-z])(?:({_UNDER_100}|a) thousand\b(?:,? and)? ?)?"
    rf"(?:({_UNDER_100}|a) hundred\b(?: and)? ?)?({_UNDER_100}\b)?(?<! )"
)
_PRONOUN_ONE = re.compile(r"\bone(?= (?:of|who|that|can|may|must|[a-z]+[^\W\dsui]s)\b)")  # "one costs", not "one hour"
_DIMENSIONS = {  # what units measure, and the names of each unit
    "length": "feet foot ft ', yard yd, inch, mile mi, league, step, pace, cubit, metre meter m,"
    " kilometre kilometer km",
    "weight": "pound lb, stone, ounce oz, kilogram kg, gram, ton tonne",
    "time": "second sec, minute min, hour hr, day, week wk, month, year yr, round, turn, segment",
    "money": "gold_piece gp, silver_piece sp, copper_piece cp, crown, coin, penny pennies pence p, shilling,"
    " dollar, euro",
    "share": "% percent",
    "life": "hit_point hp",
    "score": "point xp pt experience",
}
UNITS: dict[str, str] = {}
DIMENSION: dict[str, str] = {}
for _measured, _names in _DIMENSIONS.items():
    for _group in _names.split(","):
        _unit_name, *_others = (name.replace("_", " ") for name in _group.split())
        DIMENSION.setdefault(_unit_name, _measured)
        for _name in (_unit_name, *_others):
            UNITS.setdefault(_name, _unit_name)
            if _name.isalpha() and len(_name) > 1:
                UNITS.setdefault(f"{_name}s", _unit_name)
_NO_UNITS = {"mean", "make", "give", "apply", "count", "stand", "hold", "work", "hit", "come", "remain", "suffice"}
_NO_UNITS |= {"people", "person", "inhabitant", "resident", "citizen", "soul"}  # whoever is counted in a place
_COINS = {"gold", "silver", "copper", "electrum", "platinum"}
_SIGN = re.compile(r"([$£€])\s?(\d+(?:\.\d+)?)")
_CURRENCIES = {"$": "dollars", "£": "pounds sterling", "€": "euros"}
_PIECES = re.compile(r"\b(?:pieces?|coins?) of (" + "|".join(sorted(_COINS)) + r")\b")
_DICE = re.compile(r"(?<![\w.])(\d*)\s?d\s?(\d+|%)(?:\s?([+\-x*])\s?(\d+)(?!\s?d\s?\d))?(?!\w)")
_SIDED = re.compile(
    r"(?<!\w)(?:(\d+)\s|\ban?\s)?(\d+)[- ]sided(?: (?:hit )?(?:dice|die|ones?|1)\b|(?=\s*(?:[.,;:!?)\n]|$)))"
    r"(?: (plus|minus|[+\-]) (\d+))?"
)
_NUMBER = re.compile(
    r"(?<![\w.])(?P<value>[+-]?\d+(?:\.\d+)?)(?:\s?(?:-|\bto\b)\s?(?P<top>\d+)(?![\w]))?(?P<ordinal>st|nd|rd|th)?"
    r"(?![\d])(?:[\s-]?(?P<unit>%|'(?!\w)|[a-z]+))?(?:\s(?P<next>[a-z]+))?"
)


_ADDED = re.compile(
    r"(d\d+)(?:,? plus|,? and (?:then )?add|,? (?:with|and) an? (?:bonus of )?(?=\+?\d+ bonus\b|\+\d)"
    r"|,? adding) ?\+?(\d+)"
    r"(?: bonus\b| to (?:it|the (?:total|result|sum|roll))\b)?"
)


def any_of(*options: str) -> str:
    """One pattern for several."""
    return "(?:" + "|".join(options) + ")"


_ABBREVIATION = re.compile(
    r"\b(vs\.(?=\s)|(?:ft|lbs?|hrs?|mins?|secs?|yrs?|yds?|gp|sp|cp|hp|approx|i\.e|e\.g|dr|mr|mrs|st)\.(?=\s+[\da-z]))"
)
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
    "does": "do",
    "lenses": "len",
    "vs": "versus",
    "v": "versus",
    "st": "saint",
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
    text = re.sub(r"\b(it|that|there|here|what|who|he|she)'s\b", r"\1 is", text)
    text = re.sub(r"\bcan(?:'t| not)\b", "cannot", re.sub(r"\b(they|we|you)'re\b", r"\1 are", text))
    text = re.sub(r"(?<=[a-z])n't\b", " not", text.replace("won't", "will not"))
    text = re.sub(r"\*\*|__|`|(?<!\d)\*(?!\d)", "", text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"\bmph\b", "miles per hour", re.sub(r"\btwice\b", "2 times", text))
    text = _NUMBER_WORD.sub(_digits, _PRONOUN_ONE.sub("_one", text)).replace("_one", "one")
    text = re.sub(r"\ba dozen\b", "12", re.sub(r"\bhalf a dozen\b", "6", text))
    text = re.sub(r"\b(\d+) dozen\b", lambda match: str(12 * int(match[1])), text)
    text = _AND_PART.sub(lambda match: f"{match[1]} 1/{_PARTS[match[2]]}", text)
    text = _PART.sub(lambda match: f"1/{_PARTS[match[1]]}", text)
    text = _FRACTION.sub(_fraction, text.replace("\u2044", "/"))
    text = _PIECES.sub(r"\1 piece", text)
    text = re.sub(r"\bper cent\b", "percent", text.replace("°", " degrees "))
    text = re.sub(r"\b(\d+) \(\1\)", r"\1", text)
    text = _SIGN.sub(lambda match: f"{match[2]} {_CURRENCIES[match[1]]}", text)
    text = re.sub(r"\b(\d+) ?x ?(d\d+)\b", r"\1\2", text)
    text = _SIDED.sub(_sided, text)
    text = _ADDED.sub(r"\1+\2", text)
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
    return list(_words_of(text))


@lru_cache(maxsize=100_000)  # the same few words come again and again
def _words_of(text: str) -> tuple[str, ...]:
    found = re.findall(r"\d*d\d+(?:[+-]\d+)?|[+-]?\d+(?:\.\d+)?|[^\W\d_]+(?:'s\b)?|%", _spell_dice(text))
    kept = (word for word in found if word not in _ARTICLES)
    return tuple(_IRREGULAR.get(word, _IRREGULAR.get(stem(word), stem(word))) for word in kept)


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
        unit = _named_unit(number["unit"], number["next"], extra_units) or _unknown_unit(masked[stop:], value)
        unit = "hit point" if re.match(r"\shit points?\b", masked[stop:]) else unit
        unit = "" if number["ordinal"] else unit
        found.append(Value(value, unit, number.start("value"), stop, bool(number["ordinal"])))
        at = stop
    return found


def _named_unit(word: str | None, following: str | None, extra: frozenset[str]) -> str:
    if word in ("square", "cubic", "sq", "cu") and _unit(following):
        return f"{word[:2]} {_unit(following)}"
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
    plural = word.endswith("s") and not word.endswith("wards") and stem(word) != word and stem(word) not in _NO_UNITS
    return stem(word) if plural or (word and value == "1") else ""
