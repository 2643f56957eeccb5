"""BM25 over chunks, and whether what was retrieved holds the quotes that prove an answer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import pandas as pd
from rank_bm25 import BM25Plus

from adaptlab.documents import header_of
from adaptlab.schemas import Chunk, Hit, PhrasingRole, Question, Quote
from adaptlab.stats import wilson


def listed(words: str) -> list[str]:
    """The words of a word list written as one string."""
    return words.split()


TITLE_WEIGHT = 2  # how often the words of a title count
NEAR_DUPLICATE = 0.85  # share of common three-word runs from which on two chunks count as one
STOP_WORDS = frozenset(
    listed(
        "a about also an and any are as at be been being but by can could did do does for from get give given had has"
        " have he her his how i if in into is it its many may me much must of on one or our s shall she should so some"
        " such t tell than that the their them then there these they this those to was we were what when where which"
        " while who whom whose why will with would you your"
    )
)
WORD = re.compile(r"[a-z0-9]+(?:'s\b)?")


def stem(word: str) -> str:
    """Take off a possessive and a plural, and write "armour" as "armor"; nothing more."""
    word = re.sub(r"(?<=\w{3})our(?=s?$)", "or", word.removesuffix("'s"))
    if len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("shes", "ches", "sses", "xes", "zes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") else word


def terms(text: str) -> list[str]:
    """The search terms of a text: lower case, without stop words, lightly stemmed."""
    plain = unicodedata.normalize("NFKD", text).casefold().replace("\u2019", "'")
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return [stem(word) for word in WORD.findall(plain) if word not in STOP_WORDS]


def _shingles(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    if len(words) < 3:
        return frozenset({tuple(words)})
    return frozenset(tuple(words[i : i + 3]) for i in range(len(words) - 2))


def _alike(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> bool:
    return len(one & other) >= NEAR_DUPLICATE * len(one | other)


class Index:
    """A BM25 index of chunks. Title words count twice; a piece of a table has the words of its head."""

    def __init__(self, chunks: Sequence[Chunk], document: str | None = None) -> None:
        self.chunks = list(chunks)
        heads = [header_of(chunk, document) if document else "" for chunk in self.chunks]
        bodies = [terms(chunk.text) for chunk in self.chunks]
        self._terms = [
            TITLE_WEIGHT * terms(chunk.title) + terms(head) + body
            for chunk, head, body in zip(self.chunks, heads, bodies, strict=True)
        ]
        self._sets = [frozenset(words) for words in self._terms]
        self._shingles = [_shingles(body) for body in bodies]
        self._bm25 = BM25Plus(self._terms) if any(self._terms) else None

    def search(self, query: str, k: int = 5) -> list[Hit]:
        """The best `k` chunks that share a term with `query`; ties go to the earlier one, without duplicates."""
        wanted = list(dict.fromkeys(terms(query)))
        if self._bm25 is None or not wanted:
            return []
        scores = np.asarray(self._bm25.get_scores(wanted))
        hits: list[Hit] = []
        taken: list[frozenset[tuple[str, ...]]] = []
        for at in sorted(range(len(self.chunks)), key=lambda i: (-round(float(scores[i]), 9), i)):
            if len(hits) == k:
                break
            if self._sets[at].isdisjoint(wanted) or any(_alike(self._shingles[at], other) for other in taken):
                continue
            taken.append(self._shingles[at])
            hits.append(as_hit(self.chunks[at], float(scores[at]), len(hits) + 1))
        return hits


def as_hit(chunk: Chunk, score: float, rank: int) -> Hit:
    """A chunk with its score and rank."""
    return Hit(
        chunk_id=chunk.id,
        title=chunk.title,
        text=chunk.text,
        start=chunk.start,
        end=chunk.end,
        score=round(score, 6),
        rank=rank,
    )


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def holds(passages: Sequence[Hit | Chunk], quote: Quote | str, document: str | None = None) -> bool:
    """Whether a proving quote stands in one passage or, given the document, in passages that adjoin."""
    text = quote if isinstance(quote, str) else quote.text
    if any(_squeeze(text) in _squeeze(passage.text) for passage in passages):
        return True
    at = document.find(text) if document else -1
    while document and at >= 0:
        if _covered(passages, at, at + len(text), document):
            return True
        at = document.find(text, at + 1)
    return False


def _covered(passages: Sequence[Hit | Chunk], start: int, end: int, document: str) -> bool:
    for passage in sorted(passages, key=lambda item: item.start):
        if passage.start <= start < passage.end or not document[start : max(start, passage.start)].strip():
            start = max(start, passage.end)
        if start >= end:
            return True
    return False


def proved(passages: Sequence[Hit | Chunk], question: Question, document: str | None = None) -> bool:
    """Whether every proving quote of a question is in the passages; never for a question without quotes."""
    return bool(question.quotes) and all(holds(passages, quote, document) for quote in question.quotes)


def recall_at_k(
    index: Index,
    questions: Sequence[Question],
    k: int = 5,
    role: PhrasingRole = "unseen form",
    document: str | None = None,
) -> float:
    """The share of the questions with quotes all of whose quotes are in the top `k`."""
    return float(recall_table(index, questions, (k,), role, document)["rate"].iloc[0])


def recall_table(
    index: Index,
    questions: Sequence[Question],
    ks: Sequence[int] = (1, 3, 5, 10),
    role: PhrasingRole = "unseen form",
    document: str | None = None,
) -> pd.DataFrame:
    """Recall of the proving quotes at several k, with Wilson intervals: k, found, n, rate, low, high."""
    asked = [question for question in questions if question.quotes]
    ranked = [index.search(question.text(role), max(ks)) for question in asked]
    rows = []
    for k in ks:
        found = sum(proved(hits[:k], question, document) for hits, question in zip(ranked, asked, strict=True))
        rows.append({"k": k, "found": found, "n": len(asked), **wilson(found, len(asked))._asdict()})
    return pd.DataFrame(rows)
