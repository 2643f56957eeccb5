"""A block of our own for SDG Hub. Importing this module registers it, so that a flow's YAML can name it."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sdg_hub.core.blocks.base import BaseBlock
from sdg_hub.core.blocks.registry import BlockRegistry

from adaptlab.synthesis.pairs import parse_pairs


@BlockRegistry.register(
    "TaggedPairsBlock", "parser", "Splits replies into subject, question and answer; malformed pieces stay as rows"
)
class TaggedPairsBlock(BaseBlock):
    """One row for each piece of a reply, in order. It never pairs tags by position, and never returns no row."""

    block_type: str = "parser"

    def generate(self, samples: pd.DataFrame, **_: Any) -> pd.DataFrame:
        """Replace each row by the rows of its reply."""
        reply = list(self.input_cols or [])[0]
        rows = [
            {**sample, **{name: getattr(piece, name) for name in self.output_cols or []}}
            for sample in samples.to_dict("records")
            for text in _texts(sample[reply])
            for piece in parse_pairs(text)
        ]
        return pd.DataFrame(rows)


def _texts(reply: Any) -> list[str | None]:
    """The texts of a chat reply, which is a list of messages (one for each requested sample)."""
    messages = reply if isinstance(reply, list) and reply else [reply]
    return [message.get("content") if isinstance(message, dict) else message for message in messages]
