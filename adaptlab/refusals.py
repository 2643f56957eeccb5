"""Refusals: what says that an answer is not there, and what offers one all the same."""

from __future__ import annotations

import re
from functools import lru_cache

from adaptlab.answers import FUNCTION_WORDS, any_of, clean, sentences_of, words_of
from adaptlab.claims import HEDGE
from adaptlab.topics import is_other, question_in, topic_of

_TEXT = any_of(
    "passages?|texts?|rule ?books?|rules|context|documents?|information|excerpts?|source|entry|description|book"
)
_SOURCE = any_of(_TEXT, "it|they|i")
_SAY = any_of(
    "say|state|mention|specify|give|contain|include|provide|list|describe|tell|indicate|reveal|address",
    "specifie|define|cover|discuss|explain|name|record|answer",
    "have (?:any |enough |that |this )?(?:information|details?)",
)
_SAY_MORE = any_of(  # what only a text can decline to do
    r"note|spell (?:\w+ )?out|set (?:\w+ )?(?:out|down)|lay (?:\w+ )?(?:out|down)|settle|go into",
    "touch on|speak of|talk about|deal with|report|offer|supply|show|identify|clarify",
    "disclose|detail|elaborate|assign|put|refer to|comment|have|know",
)
_TOLD = any_of(
    "stated|specified|mentioned|given|provided|listed|included|described|said|named|defined|covered|indicated|told",
    "recorded|explained|discussed|answered|available|known",
    rf"(?:to be found )?in (?:the|these|this|any) (?:given |provided )?{_TEXT}",
)
_NOT = "(?:not|never|nowhere)"
_FIND_OUT = any_of("know|answer|determine|tell|find|say|establish|infer")
_FOUND_OUT = any_of("determined|answered|found|known|inferred|established|told|said")
_FACTS = any_of("information|mention|details?|evidence|data|context|statement|indication|answer|way of knowing")
_OTHER_CLAUSE = r"\b(?:but|though|although|however)\b(?! (?:it |they )?(?:never|do|does|did)\b)"
_DO_NOT = "(?:(?:do|does|did) not|never)"
_NOTHING = "(?:nothing(?! else| more| but)|nowhere|not (?:something|anything))"
_PLACE = any_of(_TEXT, "lists?|tables?|stat block|index|chapter|section|page|notes?|records?|bestiary|game|system")
_IN_THE_TEXT = rf"in (?:the|these|this) (?:given |provided )?{_TEXT}"
REFUSALS = re.compile(
    any_of(
        # the source, or who read it, does not say
        rf"\b{_SOURCE}\b(?:(?!{_OTHER_CLAUSE})[^.!?\n]){{0,60}}?\b{_DO_NOT} (?:\w+ )?{_SAY}(?:e?s)?\b",
        rf"\b{_TEXT}\b[^.!?\n]{{0,40}}?\b{_SAY}(?:s|d|ed)? (?:\w+ )?(?:no|nothing)\b",
        rf"\b(?:{_SAY}(?:e?s)?|is {_TOLD}|are {_TOLD})\b[^.!?\n]*\bbut (?:not\b|(?:\w+ ){{1,4}}(?:is|are) not[.!]?$)",
        rf"\b{_NOTHING}\b[^.,!?\n]{{0,40}}?\b(?:about|written|{_SAY}(?:e?s)?|{_TOLD})\b",
        r"\b(?:nobody|no one) (?:knows|says)\b|\b(?:is|are) silent (?:on|about)\b",
        # the source has it not
        rf"\b(?:is|are|was|were) (?:not|nowhere) (?:\w+ ){{0,2}}?(?:in|on|among|part of|found in) (?:the|these"
        rf"|this|any)"
        rf" (?:[\w-]+ ){{0,2}}?{_PLACE}\b",
        r"\bnowhere to be (?:found|seen)\b|\b(?:is|are|was|were) (?:missing|absent|omitted) from\b",
        rf"\b{_PLACE}\b[^.!?\n]{{0,60}}?\bleaves? [^.!?\n,;]{{0,40}}?\b(?:out|open|unsaid|blank)\b",
        rf"\b{_PLACE}\b[^.!?\n]{{0,40}}?\b(?:omits?|lacks?|fails? to|neglects? to)\b",
        rf"\b{_PLACE} (?:(?:do|does) not (?:\w+ )?(?:{_SAY}|{_SAY_MORE})\b|(?:has|have|knows?|contains?|lists?) no\b)",
        rf"\b{_PLACE} never (?!allow|permit|let|fail)[a-z]+",
        r"\bno (?:word|record|entry|mention)s? (?:on|of|about|for|as to|that|in)\b|\bnot a (?:single )?word\b",
        r"\b(?:do|does|did) not (?:\w+ )?(?:come up|turn up)\b",
        rf"\b(?:but|yet) (?:it |they )?{_SAY}(?:e?s)? no\b",
        r"\b(?:found|find|finds|see|saw) no\b|\b(?:would )?need\b[^.!?\n]* to (?:answer|say|tell|know)\b",
        r"\b(?:we|you|i) never (?:learn|find out|hear|read|see)\b|\bnever told\b",
        r"\b(?:gives?|lists?|names?|mentions?|shows?|has|have|includes?|contains?|covers?|see|find"
        r"|told)\b[^.!?\n]*\b(?:but|yet) no (?:[a-z]+ ?){1,4}[.!]?$",
        rf"\b(?:is|are) not an? (?:[a-z]+ ){{1,3}}(?:in|of) (?:this|the|these) {_PLACE}\b",
        rf"\b(?:is|are) not (?:among|one of) the [^.!?\n]*\b(?:here|{_TOLD})\b",
        r"\b(?:goes|go|went|remains?) un(?:mentioned|stated|said|named|specified|explained|described|recorded"
        r"|answered)\b",
        rf": not {_TOLD}\b|\b(?:need|require) (?:more|further|additional) (?:\w+ )?{_FACTS}\b",
        r"\b(?:a mystery|any(?:one|body)'s guess|any 1's guess)\b",
        # it is not said
        rf"\b(?:is|are|was|were) {_NOT} (?:\w+ )?{_TOLD}\b",
        rf"\bno [\w\s]{{1,40}}?\b(?:is|are|was|were) {_TOLD}\b",
        rf"\bno\b[^.!?\n]{{1,60}}?\b{_IN_THE_TEXT}\b",
        r"\b(?:do|does) not (?:appear|occur|exist|feature|figure) (?:anywhere )?(?:in|here)\b",
        rf"\b(?:no|not enough|insufficient) (?:\w+ )?{_FACTS}\b|\bnot told\b",
        r"\b(?:it|this|that|which|answer|value)(?: is| remains) (?:not clear|unclear|unknown|unspecified|unstated)\b",
        r"\b(?:is|are|remains?|left) (?:left )?(?:unknown|unspecified|unstated|undefined|unsaid)\b",
        rf"\bthere (?:is|are) (?:no|not an?y?) [^.!?\n]{{1,60}}?\b{_TOLD}\b",
        rf"^(?:unknown|unclear|unanswerable|n/a|no (?:idea|clue))\b|\bnone (?:is|are|was|were) {_TOLD}\b|^not {_TOLD}",
        # nobody can tell
        rf"\b(?:(?:do|does|could) not|cannot) (?:\w+ )?{_FIND_OUT}\b",
        rf"\b(?:cannot|could not) be (?:\w+ )?{_FOUND_OUT}\b",
        rf"\b(?:unable|not able|impossible|not possible) to (?:\w+ )?{_FIND_OUT}\b",
        r"\b(?:have|has) no (?:idea|clue|way of (?:knowing|telling))\b",
    )
)
CONTRAST = re.compile(r"\b(?:but|however|although|though|nevertheless|nonetheless|still|yet|that said)\b(?! not\b),?")
_POINTER = re.compile(
    r"\b(?:(?:say|mention|describe|list|discuss|state|cover|give|refer)(?:e?s)?|check|consult|ask|called|described)\b"
)
_OTHER_THING = re.compile(r"^(?:an?|other|another|some|most|similar) (?!guess\b)")
_GUESS = re.compile(
    r"\b(?:should (?:be|have)|suspect|expect|estimate|reckon|i(?: would|'d) (?:say|use|go|put|roll|pick|take|choose"
    r"|call|suggest|recommend|set)|likely|probably"
    r"|perhaps|maybe|would|must be|assume|guess|typically|usually|generally)\b"
)
_VERDICT = re.compile(r"^(?:yes|no)\s?[-.,:;!]")


_CONDITION = re.compile(r"\b(?:when|whenever|if|unless|where)\b[^.,;:\n]*$")


@lru_cache(maxsize=20_000)
def refusals_in(sentence: str) -> tuple[re.Match[str], ...]:
    """Where a cleaned sentence declines; not where it only names a condition: "60 feet if nothing is stated"."""
    return tuple(match for match in REFUSALS.finditer(sentence) if not _CONDITION.search(sentence[: match.start()]))


def mentions_refusal(text: str) -> bool:
    """Whether the text says anywhere that it does not know or that the source does not say."""
    return any(refusals_in(sentence) for sentence in sentences_of(clean(text)))


def is_refusal(text: str, asked: str = "") -> bool:
    """Whether the text, as a whole, declines: it says early that the answer is not there, and then offers none.

    With the question at hand, what follows offers an answer only if it speaks of what was asked.
    """
    sentences = sentences_of(clean(text))
    at = next((i for i, sentence in enumerate(sentences[:2]) if refusals_in(sentence)), None)
    if at is None or _VERDICT.search(sentences[0]) or (at == 1 and _may_answer(sentences[0], clean(asked))):
        return False
    match = refusals_in(sentences[at])[-1]
    if _answered_first(sentences[at][: match.start()], clean(asked)):
        return False
    rest = [sentences[at][match.end() :], *sentences[at + 1 :]]
    return not any(_offers(part, i == 0, clean(asked)) for i, part in enumerate(rest))


def without_refusals(text: str) -> str:
    """The cleaned text without the clauses that decline: what stands behind or before a "but" is kept."""
    kept = []
    for sentence in sentences_of(clean(text)):
        match = next(iter(reversed(refusals_in(sentence))), None)
        if match is None:
            kept.append(sentence)
        elif behind := CONTRAST.search(sentence, match.end()):
            kept.append(sentence[behind.end() :].strip())
        elif before := list(CONTRAST.finditer(sentence, 0, match.start())):
            kept.append(sentence[: before[-1].start()].strip(" ,"))
    return "\n".join(kept)


_WANTS_A_NAME = re.compile(r"^(?:[a-z]+ )?(?:who|whose|whom|where)\b")
_WANTS_A_NUMBER = re.compile(r"\bhow\b|\bwhen\b|\b(?:year|number|score|dice|die|date|sum|share|fraction|percentage)\b")


def _may_answer(claim: str, asked: str) -> bool:
    """Whether a clause holds a value that can be meant as the answer; a year is none where a name was asked."""
    asked = question_in(asked)
    wanted = topic_of(asked)
    other = (
        _WANTS_A_NAME.search(asked)
        or is_other(topic_of(claim), wanted)
        or not (any(wanted) or _WANTS_A_NUMBER.search(asked))
    )
    return bool(re.search(r"\d", claim)) and not (asked and other)


def _answered_first(head: str, asked: str) -> bool:
    """Whether a value or a yes or no stands before the refusal in its own sentence: "14, though it does not say so"."""
    claim = CONTRAST.split(head)[0] if CONTRAST.search(head) else ""
    if HEDGE.search(claim) or re.search(r"^(?:yes|no)\b", claim):
        return True
    return _may_answer(claim, asked) and not _POINTER.search(claim)


_SUBJECT = re.compile(r"^[\s,]*(?:[a-z]+ly,? )?((?:[a-z'-]+ ){1,4}?)(?:is|are|was|were|has|have|costs?|weighs?)\b")


def _about_else(claim: str, asked: str) -> bool:
    """Whether a clause has a subject that the question does not name: "its circle is 7" where a reagent was asked."""
    subject = _SUBJECT.search(claim)
    own = [word for word in words_of(subject[1]) if word not in FUNCTION_WORDS] if subject and asked else []
    return bool(own) and not set(own) & set(words_of(asked))


def _offers(part: str, first: bool, asked: str) -> bool:
    """Whether what follows a refusal still offers an answer: not what only points at something else."""
    if refusals_in(part) or _OTHER_THING.search(part):
        return False
    contrast = CONTRAST.search(part)
    claim = part[contrast.end() :] if contrast and part[contrast.end() :].strip(" .,!") else part
    if _GUESS.search(claim):
        return True
    if (first and not contrast) or _about_else(claim, asked):
        return False
    return bool(re.search(r"\b(?:is|are|answer)\b|\d", claim)) and not _POINTER.search(claim)
