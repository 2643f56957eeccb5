"""Trying another retriever: an index with a learner's settings, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptlab import documents
from adaptlab.retrieval import DenseIndex, Index, build
from config import LabError

RETRIEVERS = ("bm25", "embeddings")


def retriever(text: str, size: int, overlap: int = 0, kind: str = "bm25") -> Index | DenseIndex:
    """An index over the document cut anew. `embeddings` are those computed from the document itself (LSA)."""
    if kind not in RETRIEVERS:
        raise LabError(f"There is no retriever {kind!r}: choose one of {', '.join(RETRIEVERS)}.")
    if kind == "bm25":
        return build(text, size, overlap)
    from adaptlab.embeddings import lsa

    return build(text, size, overlap, lsa([chunk.text for chunk in documents.chunks(text, size, overlap)]))


def retriever_words(settings: Mapping[str, Any]) -> str:
    """A retriever's settings in words, from what a step stored: a result is named by what made it, never by a cell."""
    words = f"{settings['retriever']}, {settings['size']} characters"
    return words + (f", overlap {settings['overlap']}" if settings["overlap"] else "") + f", k = {settings['k']}"
