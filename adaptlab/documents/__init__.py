"""Documents: read from several formats into one text, cut into sections and chunks with exact offsets, inspected."""

from adaptlab.documents.chunking import (
    HEADING,
    SENTENCE_END,
    SEPARATOR_ROW,
    chunks,
    header_of,
    running_heads,
    sections,
)
from adaptlab.documents.reading import CONVERTER, Reading, load, read, sources_hash

__all__ = [
    "CONVERTER",
    "HEADING",
    "SENTENCE_END",
    "SEPARATOR_ROW",
    "Reading",
    "chunks",
    "header_of",
    "load",
    "read",
    "running_heads",
    "sections",
    "sources_hash",
]
