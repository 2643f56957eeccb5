"""Blocks of our own for SDG Hub. Importing this module registers them, so that a flow's YAML can name them.

`TaggedPairsBlock` is the example of how SDG Hub is extended. The others stand in for two of the library's blocks when
the driver loads a flow (`strict`): they do the same, but no row leaves a flow without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from pydantic import Field, PrivateAttr
from sdg_hub.core.blocks.base import BaseBlock
from sdg_hub.core.blocks.filtering.column_value_filter import ColumnValueFilterBlock
from sdg_hub.core.blocks.llm.llm_chat_block import LLMChatBlock
from sdg_hub.core.blocks.parsing.tag_parser_block import TagParserBlock
from sdg_hub.core.blocks.registry import BlockRegistry

from adaptlab.synthesis.pairs import parse_pairs, split_tagged


@BlockRegistry.register(
    "TaggedPairsBlock", "parser", "Splits replies into subject, question and answer; malformed pieces stay as rows"
)
class TaggedPairsBlock(BaseBlock):
    """One row for each piece of a reply, in order. It never pairs tags by position, and never returns no row.

    Without `tags` a reply holds subject, question and answer and nothing else (for teachers that know only that form).
    With `tags` it holds these, each once a piece, and the output columns are the tags, then `problem` and `raw`.
    """

    block_type: str = "parser"
    tags: list[str] = Field(default_factory=list, description="names of the tags of a piece, in their order")

    def generate(self, samples: pd.DataFrame, **_: Any) -> pd.DataFrame:
        """Replace each row by the rows of its reply."""
        reply = list(self.input_cols or [])[0]
        rows = [
            {**sample, **piece}
            for sample in samples.to_dict("records")
            for text in _texts(sample[reply])
            for piece in self._pieces(text)
        ]
        return pd.DataFrame(rows)

    def _pieces(self, text: str | None) -> list[dict[str, str]]:
        if not self.tags:
            names = list(self.output_cols or [])
            return [{name: getattr(piece, name) for name in names} for piece in parse_pairs(text)]
        starts, ends = [f"<{tag}>" for tag in self.tags], [f"</{tag}>" for tag in self.tags]
        return [
            {
                **dict(zip(self.tags, piece.values or [""] * len(self.tags), strict=True)),
                "problem": piece.problem,
                "raw": piece.raw,
            }
            for piece in split_tagged(text, starts, ends)
        ]


def _texts(reply: Any) -> list[str | None]:
    """The texts of a chat reply, which is a list of messages (one for each requested sample)."""
    messages = reply if isinstance(reply, list) and reply else [reply]
    return [message.get("content") if isinstance(message, dict) else message for message in messages]


# --------------------------------------------------------------------------------- the library's blocks, made strict


class StrictTagParserBlock(TagParserBlock):
    """SDG Hub's tag parser, which would drop what it cannot read and pair unequal tags by position.

    Here each piece stands for itself, and what is no whole piece is put aside with its problem.
    """

    _aside: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    def generate(self, samples: pd.DataFrame, **_: Any) -> pd.DataFrame:
        """One row for each whole piece."""
        column, names = list(self.input_cols or [])[0], list(self.output_cols or [])
        rows = []
        for sample in samples.to_dict("records"):
            for text in _texts(sample[column]):
                for piece in split_tagged(text, self.start_tags, self.end_tags):
                    if piece.problem:
                        self._aside.append({**sample, "problem": f"{piece.problem}", "raw": piece.raw})
                    else:
                        found = [self._clean(value) for value in piece.values]
                        rows.append({**sample, **dict(zip(names, found, strict=True))})
        return pd.DataFrame(rows)


class StrictFilterBlock(ColumnValueFilterBlock):
    """SDG Hub's filter; the rows that it turns down are put aside, with what the column said."""

    _aside: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    def generate(self, samples: pd.DataFrame, **_: Any) -> pd.DataFrame:
        """The rows that pass."""
        passed = super().generate(samples)
        for row in samples.drop(index=passed.index).to_dict("records"):
            said = " ".join(str(row[self.column_name]).split())[:40]
            self._aside.append({**row, "problem": f"turned down by {self.block_name}: {said}", "raw": ""})
        return passed


STRICT: dict[type[BaseBlock], type[BaseBlock]] = {
    TagParserBlock: StrictTagParserBlock,
    ColumnValueFilterBlock: StrictFilterBlock,
}


def strict(blocks: Sequence[BaseBlock]) -> list[BaseBlock]:
    """A flow's blocks, the library's replaced where a strict one stands in; the settings stay the same."""
    return [_strict(block) for block in blocks]


def _strict(block: BaseBlock) -> BaseBlock:
    if type(block) is LLMChatBlock:  # in the thread that asks, so that its calls go through `calls.Paced`
        return LLMChatBlock(**{**block.model_dump(exclude_unset=True), "async_mode": False})
    replacement = STRICT.get(type(block))
    return replacement(**block.model_dump(exclude_unset=True)) if replacement else block


def put_aside(blocks: Sequence[BaseBlock]) -> list[dict[str, Any]]:
    """The rows that blocks have put aside since the last call, in the order of the blocks."""
    rows: list[dict[str, Any]] = []
    for block in blocks:
        aside = getattr(block, "_aside", None)
        if aside:
            rows += aside
            aside.clear()
    return rows
