"""The family's architectures. Granite's multipliers are not 1, so that whoever drops one fails a test."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
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
GRANITE: dict[str, Any] = {
    "embedding_multiplier": 6.0,
    "residual_multiplier": 0.6,
    "attention_multiplier": 0.1,
    "logits_scaling": 2.0,
}
FAMILY: dict[str, tuple[Any, dict[str, Any]]] = {
    "mini-granite": (GraniteConfig, {**GRANITE, **WIDE, "num_hidden_layers": 6}),
    "mini-teacher": (GraniteConfig, {**GRANITE, **WIDE, "num_hidden_layers": 10}),
    "mini-granite-s": (GraniteConfig, {**GRANITE, **WIDE, "num_hidden_layers": 2}),
    "mini-qwen2": (Qwen2Config, {**WIDE, "num_hidden_layers": 4}),
    "mini-phi3": (Phi3Config, {**WIDE, "num_hidden_layers": 3, "rms_norm_eps": 1e-6}),
}
# Which of the student's layers a smaller member starts with: those that lose least, by `adaptlab.miniature layers`.
KEPT: dict[str, tuple[int, ...]] = {
    "mini-granite-s": (1, 5),
    "mini-qwen2": (0, 3, 4, 5),
    "mini-phi3": (0, 4, 5),
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


def fitted(name: str, trunk: dict[str, Tensor], fresh: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the member `name` from the student's: grown for the teacher, shrunk for the smaller members."""
    return shrink(trunk, name, KEPT[name]) if name in KEPT else grow(trunk, fresh)


def shrink(trunk: dict[str, Tensor], name: str, layers: Sequence[int]) -> dict[str, Tensor]:
    """Weights for the member `name`, out of some `layers` of the student: a start that its own training goes on from.

    Whoever keeps all layers computes what the student does, in every architecture: Granite's multipliers, which the
    others do not have, go into the weights. The stream is divided by the embedding's multiplier, which a norm before
    each layer does not notice, so the embedding keeps its scale and can still be tied to the head. Dropping layers and
    training on is how Minitron makes smaller models (Muralidharan et al. 2024).
    """
    head_width = WIDE["hidden_size"] // WIDE["num_attention_heads"]
    granite = FAMILY[name][0] is GraniteConfig
    scales = {
        "self_attn.q_proj": GRANITE["attention_multiplier"] * math.sqrt(head_width),
        "self_attn.o_proj": GRANITE["residual_multiplier"] / GRANITE["embedding_multiplier"],
        "mlp.down_proj": GRANITE["residual_multiplier"] / GRANITE["embedding_multiplier"],
        "model.norm": 1 / GRANITE["logits_scaling"],
    }
    chosen = {}
    for key, weight in trunk.items():
        match = re.match(r"model\.layers\.(\d+)\.(.*)", key)
        scale = 1.0 if granite else next((scales[part] for part in scales if part in key), 1.0)
        if not match:
            chosen[key] = weight.float() * scale
        elif int(match[1]) in layers:
            chosen[f"model.layers.{list(layers).index(int(match[1]))}.{match[2]}"] = weight.float() * scale
    return {Qwen2Config: _with_biases, Phi3Config: _joined}.get(FAMILY[name][0], dict)(chosen)


def _with_biases(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Qwen2's query, key and value have a bias: none yet."""
    biased = [name for name in weights if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight"))]
    return weights | {
        name.removesuffix("weight") + "bias": weights[name].new_zeros(len(weights[name])) for name in biased
    }


def _joined(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Phi3 keeps query, key and value in one matrix, and gate and up in another."""
    joined = dict(weights)
    for parts, whole in ((("q_proj", "k_proj", "v_proj"), "qkv_proj"), (("gate_proj", "up_proj"), "gate_up_proj")):
        for name in [name for name in weights if name.endswith(f"{parts[0]}.weight")]:
            matrices = [joined.pop(name.replace(parts[0], part)) for part in parts]
            joined[name.replace(parts[0], whole)] = torch.cat(matrices)
    return joined
