"""Whether a text commits itself to the gold number or dice: which of its values are meant, and with which unit."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adaptlab.answers import DIMENSION, FUNCTION_WORDS, UNITS, Value, clean, values, words_of
from adaptlab.claims import (
    asked_case,
    committed_values,
    has_rival_subject,
    negated,
    of_another_subject,
    only_in_a_case,
    special_case,
)
from adaptlab.retrieval import stem
from adaptlab.schemas import AnswerType, Question
from adaptlab.topics import (
    Topic,
    asked_topic,
    at_another_rate,
    of_another_label,
    of_another_thing,
    of_another_topic,
    own_shares,
    part_around,
    per_something,
    topic_of,
)


def _gold_values(question: Question, form: str) -> tuple[list[Value], frozenset[str]]:
    """The values of one gold form, with the unit words that stand behind its numbers."""
    plain = clean(form)
    tail = re.search(r"(?:\d|%)\s*[-\s]([a-z]+)(?:\s([a-z]+))?\s*$", plain)
    extra = (
        frozenset(stem(word) for word in tail.groups() if word and word not in FUNCTION_WORDS) if tail else frozenset()
    )
    return values(plain, question.answer_type, extra), extra


def value_right(question: Question, asked: str, text: str, strictly: bool) -> bool:
    """Whether the values that a text commits itself to are those of the gold.

    Strictly: with their unit, and without another value for a special case.
    """
    for form in (question.answer, *question.accepted):
        gold, extra = _gold_values(question, form)
        if not gold:
            if _in_words(text, form) and not values(text, question.answer_type):
                return True
            continue
        claimed = _claimed(question, form, gold, extra, asked, text)
        claimed = _at_asked_rate(claimed, asked, text, form)
        claimed = _asked_case(claimed, asked, text) if strictly else _plain_case(claimed, asked, text)
        claimed = [value for value in claimed if not of_another_label(text, value.start, question)]
        committed = committed_values(text, _about(question, claimed, gold, asked, text))
        if len({value.value for value in committed}) > 1:
            committed = own_shares(committed, clean(asked), text)
        committed = committed if strictly else _forgiven(committed, gold, asked, text)
        if any(_other_claim(text, value, asked, form) for value in committed):
            continue
        if strictly and _BRACKETED_CASE.search(text) and not _BRACKETED_CASE.search(clean(asked)):
            continue
        if committed and _same_values(committed, gold, asked, strictly):
            return not _wrong_sign(question, committed, text)
    return False


def _claimed(
    question: Question, form: str, gold: Sequence[Value], extra: frozenset[str], asked: str, text: str
) -> list[Value]:
    """The values of a text that are neither known from the question nor the gold in another accepted form."""
    known = {value.value for value in values(clean(asked), question.answer_type, extra)} - {v.value for v in gold}
    found = [value for value in _with_articles(text, gold, question.answer_type, extra) if value.value not in known]
    found = [value for value in found if not _repeats_measure(value, gold, asked)]
    found = [value for value in found if not _is_reference(value, f"{asked} {form}", text)]
    return [v for v in found if (v.value, v.unit) not in _same_in(question, form, gold)] or found


_PLACE = re.compile(r"\b(page|table|chapter|section|paragraph|line|figure|appendix|footnote|step)s? $")
_CHECK = re.compile(r"\s(?:to (?:save|hit|attack|resist)|for the (?:save|saving throw|attack roll))\b")


def _is_reference(value: Value, known: str, text: str) -> bool:
    """Whether a value only says where something stands ("table 4") or belongs to a check that is no answer."""
    place = _PLACE.search(text[: value.start])
    if place:
        return place[1] not in clean(known)
    return "d" in value.value and bool(_CHECK.match(text[value.end :])) and not _CHECK.search(f" {clean(known)}")


def _with_articles(text: str, gold: Sequence[Value], kind: AnswerType, extra: frozenset[str]) -> list[Value]:
    """The values of a text; "an hour" is one where the gold is one hour and the text has no value."""
    found = values(text, kind, extra)
    if found or not any(value.value == "1" and value.unit for value in gold):
        return found
    return values(re.sub(r"\b(?:an|a)(?= [a-z])", "1", text), kind, extra)


def _asked_case(found: Sequence[Value], asked: str, text: str) -> list[Value]:
    """The values for the case that was asked, where each has a case of its own: "2 by day and 4 by night"."""
    ours = [value for value in found if asked_case(text, value.start, value.end, asked)]
    cases = [value for value in found if special_case(text, value.start, value.end, asked)]
    return ours if ours and len(cases) == len(found) - len(ours) and not set(ours) & set(cases) else list(found)


def _plain_case(found: Sequence[Value], asked: str, text: str) -> list[Value]:
    """Without the values that are claimed for a special case only, where another is claimed for the plain one.

    Where every value has a case of its own, all of them stay: none of them is the answer.
    """
    found = _asked_case(found, asked, text)
    plain = [value for value in found if not special_case(text, value.start, value.end, asked)]
    return plain or list(found)


_BRACKETED_CASE = re.compile(
    r"\((?:but |or |only )?(?!1 )[+-]?\d[\w+-]*%?(?: [a-z]+)? (?:for|if|when|while|after|before|without"
    r"|unless|with|against) (?!each\b|every\b|all\b|an? (?:day|week|month|year|round|turn|hour|minute)\b)"
    r"|\bor (?:just |only )?(?:half|double|twice|nothing|none|no [a-z]+)\b[^.;\n]*"
    r"\b(?:on|if|when|with|in|at|for|against|by|after|while|unless)\b"
)
_CONCESSION = re.compile(
    r"\b(?:but|though|although|except)\b(?! (?:it|they|he|she|this|that|its|the|in|actually|really|rather|no|not)\b)"
)


def _forgiven(committed: Sequence[Value], gold: Sequence[Value], asked: str, text: str) -> list[Value]:
    """For the lenient reading: without a value for others behind a "but", and without an extra one joined by "and"."""
    concession = _CONCESSION.search(text)
    plain = [value for value in committed if concession and value.start < concession.start()]
    if plain and len(plain) < len(committed):
        return plain
    ours = [value for value in committed if value.value in {item.value for item in gold}]
    between = [text[one.end : two.start] for one, two in zip(committed, committed[1:], strict=False)]
    joined = bool(ours) and all(_JOINED.search(words) for words in between)
    cases = any(special_case(text, value.start, value.end, asked) for value in ours)
    return ours if joined and not cases and not _RANGE.search(text[: committed[0].start]) else list(committed)


_JOINED = re.compile(r"^[^.;,\n]*\b(?:and|plus|as well as)\b(?![^.;\n]*\b(?:or|not|but)\b)[^.;\n]*$")
_RANGE = re.compile(r"\b(?:between|from|either|average|mean|sum|product|difference)\b[^.;\n]*$")


def _at_asked_rate(found: Sequence[Value], asked: str, text: str, form: str) -> list[Value]:
    """Without the values of another rate, where one of the asked rate or of none stands beside them."""
    asked, form = clean(asked), clean(form)
    other = [v for v in found if at_another_rate(text, v, asked, form) or per_something(text, v, asked, form)]
    return [value for value in found if value not in other] or list(found)


def _in_words(text: str, form: str) -> bool:
    """Whether a form that holds no value ("percentile dice") stands in the text and is not denied."""
    at = text.find(clean(form))
    return at >= 0 and not negated(text, at, at + len(clean(form)))


def _same_in(question: Question, form: str, gold: Sequence[Value]) -> set[tuple[str, str]]:
    """What the other forms of the gold say, so that "10 minutes, that is 1 turn" holds one answer and not two."""
    said = {(value.value, value.unit) for value in gold}
    others = (_gold_values(question, other)[0] for other in (question.answer, *question.accepted) if other != form)
    return {(value.value, value.unit) for values_of in others for value in values_of if value.unit} - said


def _repeats_measure(value: Value, gold: Sequence[Value], asked: str) -> bool:
    """Whether a value only repeats the question's own measure: "in one round" where it asks "in a round"."""
    measures = re.findall(r"\b(?:an?|one|each|every|per|single) ([a-z]+)", asked.casefold())
    units = {UNITS.get(word, UNITS.get(stem(word), "")) for word in measures} - {""}
    return value.value == "1" and value.unit in units and all(item.value != "1" for item in gold)


_BEYOND = re.compile(
    r"\b(?<!no )(?<!not )((?:more|less|fewer|greater|higher|lower) than|above|below|over|under|beyond|before)"
    r"\s(?:an? |the |level )?$"
)
_AFTER_YEAR = re.compile(r"\b(after|until|later than|no earlier than) (?:the year )?$")
_AT_LEAST = re.compile(r"\b(?:at least|no less than|no fewer than|a minimum of)\s(?:an? |the )?$")
_OR_MORE = re.compile(r"\+|(?:\s[a-z]+)? or (?:more|higher|above|better|over|greater|less|fewer|lower|below)\b")
_THRESHOLD = re.compile(
    r"\b(?:must|may|need\w*|have to|required?|lowest|least|most|minimum|maximum|reach|beat|takes?|equal|enough|when|"
    r"save\w*|limit)\b"
)
_AGE = re.compile(r"\s[a-z]+ (ago|old)\b")


def _other_claim(text: str, value: Value, asked: str, form: str) -> bool:
    """Whether a value is only a bound, an age or a rate that question and gold do not speak of."""
    head, tail, plain = text[: value.start], text[value.end :], clean(f"{asked} {form}")
    if _AT_LEAST.search(head) or _OR_MORE.match(tail):
        return not _THRESHOLD.search(plain)
    bound, age = _BEYOND.search(head), _AGE.match(tail)
    if not value.unit and re.fullmatch(r"\d{3,4}", value.value):
        bound = bound or _AFTER_YEAR.search(head)
    other_rate = at_another_rate(text, value, clean(asked), clean(form))
    other_rate = other_rate or only_in_a_case(text, value.end, plain)
    return other_rate or bool(bound and bound[1] not in plain) or bool(age and age[1] not in plain)


_PLUS = re.compile(r"(?:\+\s?|\bplus |\badds? |\bbonus of (?:an? )?)$")
_MINUS = re.compile(r"(?:-\s?|\bminus |\bpenalty of (?:an? )?|\bsubtract )$")


def _wrong_sign(question: Question, committed: Sequence[Value], text: str) -> bool:
    """Whether a plus is written before a value whose gold is negative, or a minus before a bonus."""
    forms = clean(" ".join((question.answer, *question.accepted)))
    negative = any(value.value.startswith("-") for value in values(forms, question.answer_type))
    negative = negative or bool(_PENALTY.search(clean(question.text())))
    heads = [text[: value.start] + text[value.start : value.end].rstrip("0123456789") for value in committed]
    wrong = _PLUS if negative else _MINUS
    return (negative or "+" in forms) and any(wrong.search(head) for head in heads)


_LABEL = re.compile(r"(\band |, )?\b(?:an?|its|the) ((?:[a-z]+ ){1,3})(?:of|is|at) $")
_ONLY_VALUES = re.compile(r"\b(?!or\b)[a-z]{2,}")


def _about(question: Question, found: Sequence[Value], gold: Sequence[Value], asked: str, text: str) -> list[Value]:
    """The values that can be meant as the answer: not another thing's, not those of another quantity."""
    wanted = asked_topic(question)
    found = [value for value in found if not of_another_subject(text, value.start, clean(asked))]
    found = [value for value in found if not of_another_topic(text, value, found, wanted)]
    found = _unlabelled(found, gold, wanted, text)
    found = _counted(found, clean(asked), text)
    found = [value for value in found if not of_another_thing(text, value.start, clean(asked), question)]
    if len(_ONLY_VALUES.findall(text)) <= len(found):  # nothing but values: every one of them is an answer
        return list(found)
    words = set(words_of(clean(asked)))
    labels = {value: _LABEL.search(text[: value.start]) for value in found}
    ours = any(label and words & set(words_of(label[2])) for label in labels.values())
    plain = [v for v, label in labels.items() if not label or words & set(words_of(label[2])) or not (ours or label[1])]
    plain = [value for value in plain if _may_answer(value, gold, words, text)]
    own = [value for value in plain if not has_rival_subject(text, value.start, clean(asked))]
    own = [value for value in own if not _of_another_deed(value, clean(asked), text)]
    return own or plain


_DEED = re.compile(
    r"[,;.\n]\s?(?:and )?(?:it|they|he|she) (?:also )?([a-z]+)\s[^,;.\n]*$|\band (?:also )?([a-z]+[^\W\dsui]s) $"
)
_NO_DEED = {
    "is",
    "are",
    "was",
    "were",
    "has",
    "have",
    "had",
    "does",
    "do",
    "get",
    "gets",
    "makes",
    "must",
    "can",
    "may",
}


_HOW_MANY = re.compile(r"\bhow many (?!times\b)((?:[a-z]+ ?){1,2})")


def _counted(found: Sequence[Value], asked: str, text: str) -> list[Value]:
    """Without the values with another unit or quantity, where one counts what was asked: "10 torches, 12 pounds"."""
    match = _HOW_MANY.search(asked)
    things = set(words_of(match[1])) - FUNCTION_WORDS if match else set()
    ours = [value for value in found if things & set(words_of(text[value.end :][:40])[:2])]
    if not ours:
        return list(found)
    others = [value for value in found if value not in ours]
    bare = [v for v in others if not (v.unit or any(topic_of(part_around(text, v, found)[0])))]
    return [value for value in found if value in ours or value in bare]


def _unlabelled(found: Sequence[Value], gold: Sequence[Value], wanted: Topic, text: str) -> list[Value]:
    """Where no quantity was asked by name: the values of none, if there are any: "24 sailors, with 3d8 hit dice"."""
    plain = [value for value in found if not any(topic_of(" ".join(part_around(text, value, found))))]
    known = any(wanted) or not {item.value for item in gold} <= {value.value for value in plain}
    return list(found) if known else plain


def _of_another_deed(value: Value, asked: str, text: str) -> bool:
    """Whether a later clause has the value with a verb of its own: "18 charges; it regains 1 each night"."""
    match = _DEED.search(text[: value.start])
    deed = (match[1] or match[2]) if match else ""
    return bool(deed) and deed not in _NO_DEED and stem(deed) not in words_of(asked)


def _may_answer(value: Value, gold: Sequence[Value], words: set[str], text: str) -> bool:
    """Whether a value has the gold's unit, a rival unit of the same kind, the gold's number, or stands as an option."""
    units = {item.unit for item in gold if item.unit}
    if value.value in {item.value for item in gold} or re.search(r"\bor $|/\s?$", text[: value.start]):
        return True
    if not units:
        return not value.unit or value.unit in {UNITS.get(word, word) for word in words}
    if not value.unit:
        return value.value != "1" and not re.match(r" of (?:them|these|those)\b", text[value.end :])
    return DIMENSION.get(value.unit, value.unit) in {DIMENSION.get(unit, unit) for unit in units}


def _same_values(committed: Sequence[Value], gold: Sequence[Value], asked: str, strictly: bool) -> bool:
    if {_magnitude(value.value, asked) for value in committed} != {_magnitude(value.value, asked) for value in gold}:
        return False
    wanted = {value.unit for value in gold if value.unit}
    given = {value.unit for value in committed if value.unit}
    in_question = {UNITS.get(word, word) for word in words_of(clean(asked))}
    if re.search(r"\bhit points?\b", asked.casefold()):
        in_question.add("hit point")
    if wanted:
        missing = not given and not (wanted & in_question)
        return (given <= wanted) and not (missing and strictly)
    foreign = given - in_question - {"point"}
    counted = _HOW_MANY.search(asked.casefold())
    things = set(words_of(counted[1])) - FUNCTION_WORDS - {"i", "we"} if counted else set()
    if things and not given <= {"point", *things} | (in_question & {"hit point"}):
        return False
    if re.search(r"\bhow (?:many times|often)\b", asked.casefold()):
        foreign -= {"time", "charge", "use", "shot"}
    return not (foreign if strictly else foreign & set(UNITS.values()))


_PENALTY = re.compile(r"penalt|minus|reduc|lose|subtract|taken off|comes off|worse")


def _magnitude(value: str, asked: str) -> str:
    """A plus sign says nothing; a minus sign says nothing where the question speaks of a penalty."""
    return value.lstrip("-") if _PENALTY.search(asked.casefold()) else value
