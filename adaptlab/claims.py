"""The standing of what a text names: asserted, denied, put aside, claimed for a special case, or one of several.

All functions take a cleaned text (`answers.clean`) and offsets in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from adaptlab.answers import FUNCTION_WORDS, Value, any_of, clean, words_of

HEDGE = re.compile(
    r"\b(either|maybe|perhaps|possibly|probably|presumably|supposedly|allegedly|apparently"
    r"|(?:mostly|mainly|partly)(?! (?:at|in|on|during|when|while|because|by|for|to|after|before)\b)"
    r"|(?:might|may|could) be(?! (?:up to|at most|no more|within|\w+ed|used|done|made|worn|cast|taken|thrown|found)\b)"
    r"|(?:not|cannot) (?:be )?(?:\w+ )?(?:sure|certain)|unsure|uncertain|(?:fairly|pretty|quite) (?:sure"
    r"|certain)|(?:my|a|an? \w+|best) guess|i guess"
    r"|i(?: would|'d) (?:guess|say)|i (?:should |would )?think|i (?:would )?imagine|i assume|i gather|i believe"
    r"|unless i|if i am not|double-check|(?:could|may|might) be wrong|no guarantees?"
    r"|if memory serves|from memory|off the top of my head|as i (?:recall|remember)"
    r"|i do not (?:think|believe)|i doubt|i suppose|if i (?:remember|recall)|as far as i (?:know|can tell)"
    r"|(?:seems|appears) to be|(?:most |very )?likely|give or take"
    r"|(?:some|others|people|many)(?: sources| texts| readers)? (?:say|think|believe)"
    r"|rumou?r\w*|hard to say|or so|it would seem"
    r"|one of (?:these|those|the following)|(?:nearly|almost)(?= \d))\b"
)

# ---------------------------------------------------------------------------------------------------------- denials

_NOT = any_of(
    "not|never|neither|nor|cannot",
    "rather than|instead of|(?<!none )(?<!nobody )(?<!no one )(?<!nothing )other than|all but|"
    "(?:any|every)(?:thing|one|body|where) but|(?<!nothing )(?<!no one )except",
    "(?:false|untrue|incorrect|wrong) that",
)
# who cannot bear a thing is hurt by it
_AVERSION = "(?:stand|bear|abide|tolerate|endure|resist|withstand|survive|cross|face|approach)"
_NOT_DENIED = rf"(?!\s(?:only|just|{_AVERSION}|(?:more|less|fewer) than)\b)"
_DENIED_BEFORE = any_of(
    rf"\b{_NOT}\b{_NOT_DENIED}(?:(?!\b(?:but|rather|instead)\b)[^.;:!?\n,]){{0,60}}$",
    r"\b(?:but |and )?no (?!(?:more|less|fewer|longer|other|doubt|one|matter)\b)(?:\w+ )?$",
)
_AUXILIARY = any_of("is|was|are|were|do|does|did|can|could|may|will|would|has|have")
_DENIED_AFTER = any_of(
    r"[\w\s']{0,20}?\b(?:is|are|was) (?:not|optional|unnecessary|superfluous|wrong|incorrect|false"
    r"|untrue)\b(?!\s(?:only|just))",
    r"[\w\s']{0,20}?\bwould be wrong\b",
    rf"\s(?:(?:{_AUXILIARY} )?(?:not|never)|cannot|(?:has|have) (?:none|no effect))\b(?!\s(?:only|just)\b)",
)
_BEFORE, _AFTER = re.compile(_DENIED_BEFORE), re.compile(_DENIED_AFTER)


def negated(text: str, start: int, end: int) -> bool:
    """Whether what stands at these offsets is denied."""
    return bool(_BEFORE.search(text[:start]) or _AFTER.match(text[end:]))


# ------------------------------------------------------------------------------------- main clauses and conclusions

_CONCLUSION = re.compile(
    any_of(
        r"\b(?:final )?answer(?: is)?:?\s",
        r"\d(?: [a-z]+)? (?:is|are|equals|gives)\s(?=\d)|\b(?:makes|comes to|adds up to|amounts to)\b",
        r"\b(?:doubled|halved|trebled|tripled|raised|increased|reduced|rounded|brought)\b[^.;\n]*? to (?=\d)",
        r"\b(?:brings?|bringing|raises|increases|reduces|rounds)\b[^.;\n]*? to (?=\d)",
        r"\b(?:gives|giving|yields|leaves|leaving|results? in)\s(?=\d)",
        r"\b(?:therefore|thus|hence|correction)\b[,:]?",
        r"\b(?:no,? wait|wait,? no|scratch that|i mean|make that|or rather|i misread|on second thoughts?"
        r"|actually)\b[,:]?",
        r"\b(?:in total|in all|altogether),\s",
        r"\bso\b,?(?= (?:the|it|its|that|this|there|he|she|they|you|a|an|half|double|[+-]?\d+)\b)",
        r"\b(?:total|sum|result|altogether|overall)(?: [a-z]+){0,2}?\s?[:=]\s",
        r"\bnow\b|\btotal(?:s|ling)?(?: [a-z]+){0,2}?(?: is| of)\b|\bmakes?(?= \d)|\b(?:half|double)(?: of that)? is\b",
        r"\bwhich (?:makes|gives|leaves|is)\b|\bmaking\b|=",
    )
)
_RESULT = re.compile(r"\d[^.!?\n]*(?<!answer): (?=[+-]?\d+(?:\.\d+)?(?: (?!an?\b|per\b|each\b)[a-z]+){0,2}[^\w\n]*$)")
_TOTAL = re.compile(r"(?:\s[a-z]+){0,2}? (?:in all|in total|altogether|together|total|combined|overall)\b")
_ASIDE = re.compile(
    any_of(
        r";\s(?:at|with|without|for|if|when|in|on)\b.*|\b(?:normally|usually|ordinarily|otherwise|elsewhere)\b.*",
        r"[,;(\s]\s*(?:because|since|which|instead of|not|rather than|unlike|compared|while|whereas|but not"
        r"|up from|reduced from|lowered from|raised from"
        r"|down from|after|plus|including|as the|as its|made up of|counting|of (?:which|whom))\b.*",
        r",(?: and)? then\b.*|[,;(]\s*\d+ times (?:the|what|as|that)\b.*",
        r"[:;,.(]\s?(?:so |thus |say,? )?an? (?:roll|result|throw|total)(?: of| that shows)? \d.*"
        r"|\b(?:for (?:example|instance)|e\.?g\b|such as)\b.*",
        r"\(.*?\)|\bthat is\b,?.*|\bi\.?e\b\.?.*",
    )
)
_SPELT_OUT = re.compile(r"(?<=[a-z\d])(?<!answer): (?=[+-]?\d).*")  # "5 Ink: 4 for the spell and 1 for the Slope"
_OFFSET = re.compile(
    r"\s?(?:[a-z]+ ){1,2}?(?:before|after|earlier|later|ago|since|(?:more|less|fewer|higher|lower|older|younger|longer|"
    r"shorter|as \w+) (?:than|as))\b|\stimes (?:what|as|the|that|more)\b"
)


def _is_offset(text: str, value: Value) -> bool:
    """Whether a value only says how far something lies from something else: "forty years after the harbour"."""
    return bool(_OFFSET.match(text[value.end :]))


_REST = re.compile(r"\b(?:the|an)? ?(?:other|remaining|rest,) $")
_PAST = re.compile(r"\b(?:used to|once|formerly|previously|originally|no longer)\b[^.,;\d\n]*$")


def committed_values(text: str, found: Sequence[Value]) -> list[Value]:
    """The values a text commits itself to: all it asserts, else those of its conclusion, else of its main clause."""
    stated = [value for value in found if not negated(text, value.start, value.end)]
    stated = [value for value in stated if not _is_offset(text, value)] or stated
    stated = [value for value in stated if not _REST.search(text[: value.start])] or stated
    stated = [value for value in stated if not _PAST.search(text[: value.start])] or stated
    if any(not value.ordinal for value in stated):
        stated = [value for value in stated if not value.ordinal]
    totals = [value for value in stated if _TOTAL.match(text[value.end :])]
    if totals:
        return totals
    if len({(value.value, value.unit) for value in stated}) <= 1:
        return stated
    for conclusion in (*_RESULT.finditer(text), *reversed(list(_CONCLUSION.finditer(text)))):
        after = [value for value in stated if value.start >= conclusion.end() - 1]
        if after:
            return after
    asides = [match.span() for pattern in (_ASIDE, _SPELT_OUT) for match in pattern.finditer(text)]
    main = [value for value in stated if not any(a <= value.start < b for a, b in asides)]
    return main or stated


# ------------------------------------------------------------------------------------------------------ special cases

_SEGMENT = re.compile(r"[,;:(\n]|[.!?](?=\s|$)|\b(?:and|or|but|while|whereas|otherwise)\b")
_CASE = re.compile(r"\b(?:when|if|while|unless|during|with|without|for|at|in|on|by|against|under) ([^#]*)")


_ONLY_IN = re.compile(
    r"[^.;\n]{0,60}?\bonly (?:if|when|while|for|during|in|on|at|with|by|under|against|after|before|where)\b([^.;,\n]*)"
)


def only_in_a_case(text: str, end: int, known: str) -> bool:
    """Whether what stands before `end` is claimed for a case only that question and gold do not speak of."""
    match = _ONLY_IN.match(text[end:])
    own = set(words_of(match[1])) - FUNCTION_WORDS if match else set()
    return 2 * len(own & set(words_of(known))) < len(own)


def special_case(text: str, start: int, end: int, asked: str) -> bool:
    """Whether something is claimed under a condition that the question has not: "80 feet when running"."""
    return bool(_case_words(text, start, end) - set(words_of(clean(asked))))


def asked_case(text: str, start: int, end: int, asked: str) -> bool:
    """Whether something is claimed under a condition of the question: "4 coins by night" for "the night ferry"."""
    return bool(_case_words(text, start, end) & set(words_of(clean(asked))))


def _case_words(text: str, start: int, end: int) -> set[str]:
    """The words of the conditions that stand in the same part of a sentence as something."""
    cuts = [0, *(match.end() for match in _SEGMENT.finditer(text, 0, start))]
    stop = _SEGMENT.search(text, end)
    segment = text[cuts[-1] : start] + " # " + text[end : stop.start() if stop else len(text)]
    return (
        {word for case in _CASE.finditer(segment) for word in words_of(case[1])}
        - FUNCTION_WORDS
        - {"truth", "fact", "reality"}
    )


# ------------------------------------------------------------------------------------------------------- other things

_CLAUSE_START = r"(?:^|[.;,:\n]\s?|\b(?:and|but|while|whereas)\s)"
_SUBJECT = re.compile(
    _CLAUSE_START
    + r"(an?|the) ((?:[a-z'-]+ ){1,2}?)(?!of\b|for\b|in\b|at\b|on\b|with\b|to\b|by\b)([a-z]+)(?=\s(?!(?:of|is"
    r"|are|was|were)\b))"
)
_SIZE = re.compile(r"[^.;,\n]{0,12}?\b(?:tall|high|wide|broad|long|deep|thick|heavy|old)\b")
_GAPPED = re.compile(r"(?:\b(?:and|but|while|whereas)|[;,\n])\s?(?:an?|the) ((?:[a-z'-]+ ){0,1}[a-z'-]+),? $")
_ANY_THING = frozenset(
    "animal beast creature thing item object weapon spell person place whole one answer total".split()
)


def of_another_subject(text: str, start: int, asked: str) -> bool:
    """Whether a claim is plainly about another thing: "a horse costs 30" where the price of a mule was asked.

    The subject must be a plain noun that does what the question asks about, or has a size: names may be garbled.
    """
    wanted = set(words_of(asked))
    gapped = _GAPPED.search(text[:start])
    if gapped and set(words_of(gapped[1])) <= wanted - FUNCTION_WORDS:
        return False
    last = None
    for match in _SUBJECT.finditer(text, 0, start):
        verb = set(words_of(match[3]))
        plain = verb & (wanted - FUNCTION_WORDS) or (match[1] != "the" and verb & wanted)
        if plain or (verb & {"is", "wa"} and _SIZE.match(text[start:])):
            last = match
    own = set(words_of(last[2])) if last else set()
    return bool(own) and not own & (wanted | _ANY_THING)


def has_rival_subject(text: str, start: int, asked: str) -> bool:
    """Whether a later clause has the verb of the question with another subject: "8 feet; the gaff reaches 12"."""
    wanted = set(words_of(asked))
    clauses = re.split(r"[.;,\n]|\b(?:and|but|while|whereas)\b", text[:start])
    said = words_of(clauses[-1])
    verb = next((i for i, word in enumerate(said) if word.isalpha() and word in wanted - FUNCTION_WORDS), 0)
    return len(clauses) > 1 and verb > 0 and not set(said[:verb]) & FUNCTION_WORDS
