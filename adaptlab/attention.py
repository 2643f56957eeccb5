"""A cache that is allocated once and an attention that does not copy it, for fast decoding on a CPU.

Both stand where transformers has its own: a cache that grows by copying, and keys repeated for every head.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface

from config import LabError

GROUPED = "lab_grouped"


def slot_cache(model: Any, capacity: int) -> DynamicCache:
    """A cache for `capacity` tokens of each row; a LabError for models whose layers keep something else than those."""
    cache = DynamicCache(config=model.config)
    if any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers):
        raise LabError("This model's attention cannot be decoded in batches here: serve it with vLLM instead.")
    cache.layers = [SlotLayer(capacity) for _ in cache.layers]
    return cache


def slot_layers(cache: DynamicCache) -> list[SlotLayer]:
    """The layers of a cache that `slot_cache` made."""
    return [layer for layer in cache.layers if isinstance(layer, SlotLayer)]


class SlotLayer(DynamicLayer):
    """A layer of the cache that is allocated once: a growing one copies all of itself at every token."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0
        self.slots = torch.empty(0)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> Any:
        """Write the new keys and values into their slots; returns all that are filled."""
        rows, heads, new, width = key_states.shape
        if not self.is_initialized:
            self.allocate(key_states, rows, heads, width)
        end = self.length + new
        self.slots[0, :, :, self.length : end] = key_states
        self.slots[1, :, :, self.length : end] = value_states
        return self.fill(end)

    def allocate(self, like: torch.Tensor, rows: int, heads: int, width: int) -> None:
        """Make room for `capacity` tokens of every row."""
        self.is_initialized, self.dtype, self.device = True, like.dtype, like.device
        self.slots = like.new_empty(2, rows, heads, self.capacity, width)

    def fill(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Count the first `length` slots as filled."""
        self.length = length
        self.keys, self.values = self.slots[0, :, :, :length], self.slots[1, :, :, :length]
        return self.keys, self.values

    def take(self, other: SlotLayer, rows: torch.Tensor, at: int, total: int, end: int) -> None:
        """Copy rows of another layer in, as the rows from `at` on of `total`, so that they end at slot `end`."""
        if not self.is_initialized:
            self.allocate(other.slots, total, other.slots.shape[2], other.slots.shape[4])
        place = slice(at, at + len(rows))
        self.slots[:, place, :, : end - other.length] = 0  # never seen, but what is not a number would spread
        self.slots[:, place, :, end - other.length : end] = other.slots[:, rows, :, : other.length]
        self.fill(end)

    def lead(self, head: SlotLayer, pads: list[int]) -> None:
        """Begin every row with the tokens of `head`'s only row, behind its padding; the rest is still to be read."""
        self.allocate(head.slots, len(pads), head.slots.shape[2], head.slots.shape[4])
        for row, pad in enumerate(pads):
            self.slots[:, row, :, :pad] = 0
            kept = max(0, head.length - pad)
            self.slots[:, row, :, pad : pad + kept] = head.slots[:, 0, :, :kept]
        self.fill(head.length)

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but these."""
        kept = self.slots.new_empty(2, len(rows), *self.slots.shape[2:])
        kept[:, :, :, : self.length] = self.slots[:, rows, :, : self.length]
        self.slots = kept
        self.fill(self.length)


def grouped_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    """`sdpa`, but a single new token attends without a copy of the keys for each of the heads that share them."""
    rows, heads, new, width = query.shape
    shared = key.shape[1]
    plain = new == 1 and heads != shared and value.shape[-1] == width and options.get("position_bias") is None
    if not plain or (attention_mask is not None and attention_mask.shape[1] != 1):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    folded = query.reshape(rows, shared, heads // shared, width)
    mixed = F.scaled_dot_product_attention(
        folded, key, value, attn_mask=attention_mask, scale=options.get("scaling"), is_causal=False
    )
    return mixed.reshape(rows, 1, heads, width), None


AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
