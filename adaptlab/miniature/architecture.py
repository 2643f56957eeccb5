"""The family's architectures. Granite's multipliers are not 1, so that whoever drops one fails a test."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor
from transformers import GraniteConfig, GraniteForCausalLM, PreTrainedTokenizerBase

from adaptlab.miniature.tokenizer import VOCABULARY, WINDOW

WIDTH: dict[str, Any] = {
    "hidden_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 480,
}
LAYERS = {"mini-granite": 6, "mini-teacher": 10}
GROWN_AFTER = (1, 2, 3, 4)


def build(name: str, tokenizer: PreTrainedTokenizerBase) -> GraniteForCausalLM:
    """A randomly initialised member of the family."""
    config = GraniteConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        embedding_multiplier=6.0,
        residual_multiplier=0.6,
        attention_multiplier=0.1,
        logits_scaling=2.0,
        initializer_range=0.02,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        num_hidden_layers=LAYERS[name],
        **WIDTH,
    )
    return GraniteForCausalLM(config)


def grow(trunk: dict[str, Tensor], fresh: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a deeper model that computes exactly what the `trunk` does.

    Extra layers are put in after each of `GROWN_AFTER`; their output projections are zero, so that they add nothing
    until they have learnt something (function-preserving growth: Chen et al. 2016, Net2Net). `fresh` is the deeper
    model's random initialisation.
    """
    places, position = {}, 0
    depth = 1 + max(int(match[1]) for name in trunk if (match := re.match(r"model\.layers\.(\d+)\.", name)))
    for layer in range(depth):
        places[position] = layer
        position += 2 if layer in GROWN_AFTER else 1
    grown = {}
    for name, weight in fresh.items():
        match = re.match(r"model\.layers\.(\d+)\.(.*)", name)
        if not match:
            grown[name] = trunk[name].clone()
        elif int(match[1]) in places:
            grown[name] = trunk[f"model.layers.{places[int(match[1])]}.{match[2]}"].clone()
        else:
            is_output = name.endswith(("o_proj.weight", "down_proj.weight"))
            grown[name] = weight.clone().zero_() if is_output else weight.clone()
    return grown
