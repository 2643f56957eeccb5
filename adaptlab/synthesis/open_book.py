"""Training rows over pages: a kept question before the pages that retrieval finds for it, with the answer it has.

A student that is asked with retrieval later has to go on reading. Rows without a page teach it to answer by heart, and
these teach it to look: RAFT (Zhang et al. 2024). Unlike RAFT no row is without the page that tells, because the prompt
asks to say so then.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from adaptlab import arms, scoring
from adaptlab.retrieval import Index
from adaptlab.schemas import Chunk, Hit, Message, Row
from adaptlab.synthesis.coverage import passage_chunk
from adaptlab.synthesis.filters import OK, UNCHECKED, name_everywhere, value_in_passage
from adaptlab.synthesis.mixing import OPEN_BOOK, distinct, token_count

if TYPE_CHECKING:
    import pandas as pd

FEWEST, MOST = 2, 4  # pages before a question where they fit, around the number that evaluation shows


def open_book(
    rows: Sequence[Row], pages: pd.DataFrame, *, tokenizer: Any = None, longest: int | None = None, seed: int = 0
) -> list[Row]:
    """Each distinct row once more, over two to four of the pages that BM25 finds for its question.

    `pages` are those of `seed_rows`, without the held-out entries. Where a row has more than `longest` tokens, its last
    pages are left out; short limits leave one. A row whose pages do not hold its answer, and one that declines, has no
    open-book row. Of a row that names no subject (`generator["subject"]`) only its own passage can hold the answer.
    """
    found = [
        Chunk(id=p.chunk_id, title=p.title, text=p.document, start=0, end=len(p.document)) for p in pages.itertuples()
    ]
    index = Index(found)
    fits = _fits(tokenizer, longest)
    made = (
        _over_pages(row, index, random.Random(f"{seed} {row.id}").randint(FEWEST, MOST), fits) for row in distinct(rows)
    )
    return [row for row in made if row is not None]


def _over_pages(row: Row, index: Index, most: int, fits: Callable[[Row], bool]) -> Row | None:
    """The row over as many of its best pages as fit, if one of them tells its answer."""
    asked = row.prompt[-1].content
    hits = index.search(asked, most)
    for count in range(len(hits), 0, -1):
        over = _row(row, arms.messages_for(asked, hits[:count]))
        if fits(over):
            return over if any(_tells(hit, row, asked) for hit in hits[:count]) else None
    return None


def _row(row: Row, prompt: list[Message]) -> Row:
    drawn = {**row.generator, "open_book_of": row.id}
    return row.model_copy(update={"id": f"{row.id}-open", "prompt": prompt, "source": OPEN_BOOK, "generator": drawn})


def _tells(hit: Hit, row: Row, asked: str) -> bool:
    """Whether a page holds the name and the value of a row, as the filters of generated rows look for them."""
    subject, answer = str(row.generator.get("subject", "")), row.completion[-1].content
    if scoring.is_refusal(answer):
        return False
    if not subject:
        return passage_chunk(row.chunk_id or "", [hit.chunk_id]) == hit.chunk_id
    page = f"{hit.title}\n{hit.text}"
    if name_everywhere(subject, asked, answer, page) not in (OK, UNCHECKED):
        return False
    return value_in_passage(subject, answer, page, asked) == OK


def _fits(tokenizer: Any, longest: int | None) -> Callable[[Row], bool]:
    if tokenizer is None or longest is None:
        return lambda row: True
    return lambda row: token_count(row, tokenizer) <= longest
