"""The yes or no of a text: the word itself, or the question turned into a statement that affirms or denies it."""

from __future__ import annotations

import re

from adaptlab.answers import FUNCTION_WORDS, any_of, clean, words_of
from adaptlab.text_match import NEGATOR

_HEAD = re.compile(
    r"(?:^|\n|[,;:] |\bso |\bbut |\bhence |\btherefore |\banswer(?: is|:)\s*|\bis an? )[\"']?"
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
    """The words that say something, without their endings: "taxed" and "tax" are one."""
    kept = (word for word in words_of(text) if (word not in FUNCTION_WORDS or word in _DEEDS) and word != "got")
    return [re.sub(r"(?<=\w{3})(?:ing|ed|es|e)$", "", word) for word in kept]


def _statement(clause: str, asked: str) -> str | None:
    """What a clause says if it is the question as a statement: most of its words, or a pronoun and no other words."""
    sentences = [part for part in re.split(r"(?<=[.!?])\s+", clean(asked)) if part.strip()]
    topic = set(_content(sentences[-1])) if sentences else set()
    known = set(_content(clean(asked)))
    said = set(_content(clause))
    numbers = {word for word in topic if word.lstrip("+-").isdigit()} - {"1"}  # "one guard" is "a guard"
    if _reversed(clause, asked) or _foreign_only(clause, topic) or _is_exempt(clause, asked):
        return None
    if "1" in topic:
        topic, said = topic - {"1"}, said - {"1"}
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


_THAN = re.compile(r"\b(more|less|fewer|[a-z]+er)\b[^.;,]*? than (?:an? |the )?([a-z'-]+)")
_LESS = frozenset(
    "less fewer lower smaller shorter slower weaker lighter cheaper younger nearer worse narrower".split()
)


def _reversed(clause: str, asked: str) -> bool:
    """Whether a comparison is turned round: its two sides exchanged, or "less" where "more" was asked."""
    said, wanted = _THAN.search(clause), _THAN.search(clean(asked))
    if not (said and wanted):
        return False
    exchanged = said[2] != wanted[2] and said[2] in clean(asked).split()
    return exchanged != ((said[1] in _LESS) != (wanted[1] in _LESS))


_ONLY_WHO = re.compile(
    r"^(?:only|just|none but|nobody but|no one but) (?:an? |the )?((?:[a-z'-]+ )?[a-z'-]+?) (?=[a-z]+\b)"
)


def _foreign_only(clause: str, topic: set[str]) -> bool:
    """Whether a claim is for others only: "only fighters may wear it" where it was asked about a cleric."""
    match = _ONLY_WHO.search(clause)
    return match is not None and not set(_content(match[1])) & topic


_EXCLUSIVE = re.compile(
    r"\b(?:only|(?:limited|restricted|confined|reserved) (?:to|for)|exclusively|choice (?:between|of)|choose between"
    r"|none but|nothing but)\b|\b(?:may|can) (?:become|be|choose|use|wear)\b(?=[^.;\n]*, [^.;\n]*\b(?:or|and)\b)"
)


def _by_exclusion(text: str, asked: str) -> str | None:
    """What "only A" or "limited to A, B and C" says about what was asked: no if that is none of them."""
    for sentence in text.split("\n"):
        match = _EXCLUSIVE.search(sentence)
        topic = set(_content(clean(asked)))
        if match is None or NEGATOR.search(sentence[: match.end()]) or not topic & set(_content(sentence)):
            continue
        named = re.split(r"[,;:] (?:and|but|so|since|because|which)\b", sentence[match.end() :])[0]
        subject = _ONLY_WHO.search(sentence[match.start() :])
        meant = set(_content(subject[1] if subject and not sentence[: match.start()].strip() else named))
        return "yes" if meant & (topic - set(_content(sentence[: match.start()]))) else "no"
    return None


_LIMIT_UP = re.compile(
    r"\b(?:maximum|max|at most|(?:up|limited) to|no more than|limit|capped|not exceed|only(?= \d))\b[^\d.;]*(\d+)"
)
_LIMIT_DOWN = re.compile(r"\b(?:minimum|at least|no less than|starts? (?:at|from))\b[^\d.;]*(\d+)")


def _by_limit(text: str, asked: str) -> str | None:
    """What a limit says about the one number of the question: 18 is beyond "a maximum of 17"."""
    numbers = {int(word) for word in words_of(clean(asked)) if word.isdigit()} - {1}
    up, down = _LIMIT_UP.search(text), _LIMIT_DOWN.search(text)
    if len(numbers) != 1 or not (up or down):
        return None
    wanted = numbers.pop()
    beyond = (up and wanted > int(up[1])) or (down and wanted < int(down[1]))
    return "no" if beyond else "yes"


_EXEMPT = re.compile(r"\b(?:exempt|immune|unaffected|off[- ]limits|free (?:of|from)|[a-z]+-free)\b")


def _is_exempt(text: str, asked: str) -> bool:
    return bool(_EXEMPT.search(text)) and not _EXEMPT.search(clean(asked))


def _by_other_words(text: str, asked: str) -> str | None:
    """No where the subject is exempt from what was asked, has the opposite quality, or is said to be something else."""
    known = set(_content(clean(asked)))
    if _is_exempt(text, asked) and known & set(_content(text)):
        return "no"
    opposite = [match[1] for match in re.finditer(r"\b(?:un|non-?)([a-z]{3,})", text)]
    denied = [match[1] for match in re.finditer(r"\bnot (?:an? |the )?([a-z]+)", text)]
    return "no" if any(set(_content(word)) & known for word in (*opposite, *denied)) else None


_LOOSE_NO = re.compile(
    any_of(
        r"\bnever\b|\bnot at all\b|\b(?:certainly|maybe|probably|definitely|of course) not\b|\bby no means\b"
        r"|\bagainst the (?:rules?|law)\b",
        r"\b(?:impossible|forbidden|prohibited|barred|banned|unable)\b",
        r"^(?:it|they|he|she|you) (?:[a-z]+ (?:not|no|without)|cannot)\b",
        r"^i (?:do not (?:think|believe) so|doubt (?:it|that|so)|think not)\b",
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
    if said is None and not _BOTH.search(text):
        said = _by_limit(text, asked) or _by_exclusion(text, asked)
    if said is None and not re.search(r"\b(?:yes|no|or)\b", text):
        if _other_value(text, asked) or _LOOSE_NO.search(text):
            return "no"
        said = _by_other_words(text, asked)
    if said is None and not re.search(r"\b(?:yes|no)\b", text):
        numbers = {word for word in words_of(clean(asked)) if word.isdigit()}
        same = not numbers or {word for word in words_of(text) if word.isdigit()} <= numbers
        whole = {verdict for sentence in text.split("\n") if (verdict := _statement(sentence.strip(" ."), asked))}
        said = "yes" if same and not re.search(r"\bor\b", text) and _LOOSE_YES.search(text) else said
        said = whole.pop() if said is None and len(whole) == 1 else said
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
    numbers, said = {word for word in topic if word.isdigit()}, set(_content(text.split("\n")[0]))
    same_subject = bool(numbers) and topic - numbers <= said
    return same_subject and not numbers & said and any(word.isdigit() for word in said)
