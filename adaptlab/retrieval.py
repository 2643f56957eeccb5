"""Search over chunks (BM25, or any embedding), and whether what was found holds the quotes that prove an answer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import pandas as pd
from rank_bm25 import BM25Plus

from adaptlab.documents import chunks as cut, header_of
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
_OUR = re.compile(r"(?<=\w{3})our(?=s?$)")


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Take off a possessive and a plural, and write "armour" as "armor"; nothing more."""
    word = _OUR.sub("or", word.removesuffix("'s"))
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
    if not plain.isascii():
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return [stem(word) for word in WORD.findall(plain) if word not in STOP_WORDS]


def _shingles(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    if len(words) < 3:
        return frozenset({tuple(words)})
    return frozenset(tuple(words[i : i + 3]) for i in range(len(words) - 2))


def _alike(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> bool:
    return len(one & other) >= NEAR_DUPLICATE * len(one | other)


Embed = Callable[[Sequence[str]], np.ndarray]


class Searches(Protocol):
    """What the lab needs of a retriever."""

    chunks: list[Chunk]

    def search(self, query: str, k: int = 5) -> list[Hit]:
        """The best `k` chunks, without near-duplicates."""


def _best(
    chunks: Sequence[Chunk],
    scores: np.ndarray,
    shingles: Sequence[frozenset[tuple[str, ...]]],
    k: int,
    allowed: Callable[[int], bool] = lambda at: True,
) -> list[Hit]:
    """The `k` chunks with the highest scores; ties go to the earlier one, near-duplicates of a better one drop out."""
    hits: list[Hit] = []
    taken: list[frozenset[tuple[str, ...]]] = []
    for at in np.argsort(-np.round(scores, 9), kind="stable"):
        if len(hits) == k:
            break
        if not allowed(int(at)) or any(_alike(shingles[at], other) for other in taken):
            continue
        taken.append(shingles[at])
        hits.append(as_hit(chunks[at], float(scores[at]), len(hits) + 1))
    return hits


class Index:
    """A BM25 index of chunks. Title words count twice; a piece of a table has the words of its head."""

    def __init__(self, chunks: Sequence[Chunk], document: str | None = None) -> None:
        self.chunks = list(chunks)
        bodies = [terms(chunk.text) for chunk in self.chunks]
        self._terms = [
            TITLE_WEIGHT * terms(chunk.title) + terms(head) + body
            for chunk, head, body in zip(self.chunks, _heads(self.chunks, document), bodies, strict=True)
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
        return _best(self.chunks, scores, self._shingles, k, lambda at: not self._sets[at].isdisjoint(wanted))


class DenseIndex:
    """Chunks ranked by the cosine of an embedding; `embed` turns texts into one row each (`embeddings` has some)."""

    def __init__(self, chunks: Sequence[Chunk], embed: Embed, document: str | None = None) -> None:
        self.chunks = list(chunks)
        texts = [
            f"{chunk.title}\n{head}\n{chunk.text}"
            for chunk, head in zip(self.chunks, _heads(self.chunks, document), strict=True)
        ]
        self._shingles = [_shingles(terms(chunk.text)) for chunk in self.chunks]
        self._embed = embed
        self._vectors = _unit(embed(texts)) if texts else np.zeros((0, 1))

    def search(self, query: str, k: int = 5) -> list[Hit]:
        """The `k` chunks nearest to `query`, without duplicates; none if nothing of the query is known."""
        vector = _unit(self._embed([query]))[0] if self.chunks else np.zeros(1)
        if not vector.any():
            return []
        return _best(self.chunks, self._vectors @ vector, self._shingles, k)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors, dtype=float), where=lengths > 0)


def _heads(chunks: Sequence[Chunk], document: str | None) -> list[str]:
    """The table head that each chunk continues, where there is one."""
    return [header_of(chunk, document) if document else "" for chunk in chunks]


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


def touched(passages: Sequence[Hit | Chunk], question: Question, document: str | None = None) -> bool:
    """Whether a chunk's border cut the proof: each quote is there, whole or in part, and one only in part.

    A part is at least one word of the quote at its place in the document, so without the document nothing is.
    """
    missing = [quote for quote in question.quotes if not holds(passages, quote, document)]
    return bool(missing) and document is not None and all(_partly(passages, quote, document) for quote in missing)


def _partly(passages: Sequence[Hit | Chunk], quote: Quote, document: str) -> bool:
    at = document.find(quote.text)
    while at >= 0:
        end = at + len(quote.text)
        shared = ((max(at, passage.start), min(end, passage.end)) for passage in passages)
        if any(start < stop and WORD.search(document[start:stop].casefold()) for start, stop in shared):
            return True
        at = document.find(quote.text, at + 1)
    return False


def proved(passages: Sequence[Hit | Chunk], question: Question, document: str | None = None) -> bool:
    """Whether every proving quote of a question is in the passages; never for a question without quotes."""
    return bool(question.quotes) and all(holds(passages, quote, document) for quote in question.quotes)


def recall_at_k(
    index: Searches,
    questions: Sequence[Question],
    k: int = 5,
    role: PhrasingRole = "unseen form",
    document: str | None = None,
) -> float:
    """The share of the questions with quotes all of whose quotes are in the top `k`."""
    return float(recall_table(index, questions, (k,), role, document)["rate"].iloc[0])


def recall_table(
    index: Searches,
    questions: Sequence[Question],
    ks: Sequence[int] = (1, 3, 5, 10),
    role: PhrasingRole = "unseen form",
    document: str | None = None,
) -> pd.DataFrame:
    """Recall of the proving quotes at several k, with Wilson intervals: k, found, n, rate, low, high, characters.

    `characters` is the mean length of what the k chunks put before a question: what recall costs in the window.
    """
    asked = [question for question in questions if question.quotes]
    needed: list[float] = []
    shown = dict.fromkeys(ks, 0)
    for question in asked:
        hits = index.search(question.text(role), max(ks))
        enough = (k for k in sorted(ks) if proved(hits[:k], question, document))
        needed.append(next(enough, np.inf))
        for k in ks:
            shown[k] += sum(len(hit.text) for hit in hits[:k])
    rows = []
    for k in ks:
        found = sum(need <= k for need in needed)
        row = {"k": k, "found": found, "n": len(asked), **wilson(found, len(asked))._asdict()}
        rows.append({**row, "characters": shown[k] / max(1, len(asked))})
    return pd.DataFrame(rows)


def recall_grid(
    document: str,
    questions: Sequence[Question],
    sizes: Sequence[int],
    ks: Sequence[int],
    overlap: int = 0,
    embed: Embed | None = None,
    role: PhrasingRole = "unseen form",
) -> pd.DataFrame:
    """`recall_table` for several chunk sizes (in characters), with `size`, `chunks` and `series` (a name) in front."""
    tables = []
    for size in sizes:
        index = build(document, size, overlap, embed)
        table = recall_table(index, questions, ks, role, document)
        table.insert(0, "series", f"{size} characters a chunk")
        table.insert(0, "chunks", len(index.chunks))
        table.insert(0, "size", size)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def build(document: str, size: int, overlap: int = 0, embed: Embed | None = None) -> Index | DenseIndex:
    """An index over the document cut anew: BM25, or by cosine where an embedding is given."""
    made = cut(document, size=size, overlap=overlap)
    return Index(made, document) if embed is None else DenseIndex(made, embed, document)
