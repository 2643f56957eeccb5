"""The family's architectures. Granite's multipliers are not 1, so that whoever drops one fails a test."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GraniteConfig,
    Phi3Config,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
)

from adaptlab.miniature.tokenizer import VOCABULARY, WINDOW

WIDE: dict[str, Any] = {
    "hidden_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 480,
}
SMALL: dict[str, Any] = {**WIDE, "hidden_size": 192, "intermediate_size": 384}
EVERY_HEAD: dict[str, Any] = {**SMALL, "num_key_value_heads": 4, "intermediate_size": 352}
GRANITE: dict[str, Any] = {
    "embedding_multiplier": 6.0,
    "residual_multiplier": 0.6,
    "attention_multiplier": 0.1,
    "logits_scaling": 2.0,
}
FAMILY: dict[str, tuple[Any, dict[str, Any]]] = {
    "mini-granite": (GraniteConfig, {**GRANITE, **WIDE, "num_hidden_layers": 6}),
    "mini-teacher": (GraniteConfig, {**GRANITE, **WIDE, "num_hidden_layers": 10}),
    "mini-granite-s": (GraniteConfig, {**GRANITE, **SMALL, "num_hidden_layers": 4}),
    "mini-qwen2": (Qwen2Config, {**SMALL, "num_hidden_layers": 5}),
    "mini-phi3": (Phi3Config, {**EVERY_HEAD, "num_hidden_layers": 5}),
}
GROWN_AFTER = (1, 2, 3, 4)


def build(name: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A randomly initialised member of the family."""
    kind, own = FAMILY[name]
    config = kind(
        vocab_size=VOCABULARY,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        initializer_range=0.02,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        **own,
    )
    return AutoModelForCausalLM.from_config(config)


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
