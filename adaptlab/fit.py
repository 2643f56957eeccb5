"""Will it fit, and how long will it take? Memory and time of a training run from the architecture's config alone.

The weights are counted on PyTorch's meta device, where a model has shapes and no memory, so they are exact for any
architecture that transformers can build. What a step needs besides is counted from the shapes of a decoder layer, with
the tensors that autograd keeps; every formula stands beside its source below. What cannot be known beforehand (how much
of a card's speed is reached) is a stated range and no number.

Sources: Dettmers et al. 2023 (QLoRA: NF4 in blocks of 64, constants quantised again in blocks of 256); Korthikanti et
al. 2022 (activations of a layer, checkpointing); Kaplan et al. 2020 (2 FLOPs a weight and token in the forward pass);
the code of transformers, peft and bitsandbytes for what is kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adaptlab.precision import Machine, Precision, precision_for
from config import LabError, Profile

BLOCK, NESTED_BLOCK = 64, 256  # weights with one constant, constants with one constant of their own
HEAD_TILE = (4096, 32768)  # tokens and words of the tile of logits that TRL's fused head allocates
ADAM_BLOCK, ADAM_LEAST = 256, 4096  # bitsandbytes' 8-bit Adam: numbers with one constant, smallest tensor it takes
OPTIMIZERS = {"adamw_torch": 8, "adamw_torch_fused": 8, "adamw_8bit": 2, "paged_adamw_8bit": 2, "paged_adamw_32bit": 8}
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")


@dataclass(frozen=True)
class Linear:
    """One linear layer: its name and sizes; `inner` ones are quantised, the head is not; `adapted` ones get LoRA."""

    name: str
    inputs: int
    outputs: int
    inner: bool
    adapted: bool

    @property
    def weights(self) -> int:
        """Its weights, without a bias."""
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Architecture:
    """What the formulas need of a decoder: exact counts, and the sizes of one layer."""

    name: str
    parameters: int
    linears: tuple[Linear, ...]
    other: int  # parameters outside the linear layers that are quantised: embeddings, norms, biases, the head
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocabulary: int

    @property
    def inner(self) -> list[Linear]:
        """The linear layers that are quantised."""
        return [layer for layer in self.linears if layer.inner]

    @property
    def adapted(self) -> list[Linear]:
        """The linear layers that LoRA adapts."""
        return [layer for layer in self.linears if layer.adapted]


@dataclass(frozen=True)
class Card:
    """A graphics card: bytes of memory and dense half-precision FLOPs a second, from its data sheet."""

    name: str
    memory: float
    flops: float
    source: str


GIB = 1024**3
CARDS = {
    "t4": Card("NVIDIA T4", 16 * GIB, 65e12, "NVIDIA T4 data sheet: 65 TFLOPS mixed precision, 16 GB"),
    "l4": Card(
        "NVIDIA L4", 24 * GIB, 121e12, "NVIDIA L4 data sheet: 242 TFLOPS bf16 with sparsity, half without, 24 GB"
    ),
    "l40s": Card("NVIDIA L40S", 48 * GIB, 362e12, "NVIDIA L40S data sheet: 362 TFLOPS bf16 dense, 48 GB"),
}
REACHED = (0.2, 0.4)  # the share of a card's peak that a run is assumed to reach; `make gpu-check` measures it


@dataclass(frozen=True)
class Load:
    """What a run puts into a step: the padded tokens of its largest batch, and all tokens of the run."""

    rows: int
    longest: int
    tokens_in_batch: int
    tokens: int


@dataclass(frozen=True)
class Fit:
    """The prediction: bytes by part for training and for generation, FLOPs and seconds."""

    architecture: Architecture
    training: dict[str, float]
    generation: dict[str, float]
    adapter_parameters: int
    flops: float
    seconds: tuple[float, float] | None
    card: Card | None
    load: Load

    @property
    def peak(self) -> float:
        """Bytes at the highest point of the run."""
        return max(sum(self.training.values()), sum(self.generation.values()))

    @property
    def fits(self) -> bool | None:
        """Whether the peak is below the card's memory; None without a card."""
        return None if self.card is None else self.peak <= self.card.memory


# ----------------------------------------------------------------------------------------------------- architecture


def architecture(config: Any, targets: str = "all-linear") -> Architecture:
    """The architecture of a transformers config, counted on the meta device; a LabError for what is not known.

    `targets` are the layers that LoRA adapts, as PEFT reads them: `all-linear`, or a pattern of whole names.
    """
    import torch
    from transformers import AutoModelForCausalLM

    text = config.get_text_config()
    if any((getattr(text, name, 0) or 0) > 1 for name in EXPERTS):
        raise LabError(
            f"{config.model_type} is a mixture of experts, which adaptlab.fit does not know: ask a dense one."
        )
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (ValueError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())[:120]
        raise LabError(f"No decoder can be built from this config ({why}): give a causal language model's.") from error
    head = model.get_output_embeddings()

    def hit(name: str, module: Any) -> bool:
        return module is not head and (targets == "all-linear" or re.fullmatch(targets, name) is not None)

    linears = tuple(
        Linear(name, module.in_features, module.out_features, inner=module is not head, adapted=hit(name, module))
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    heads = _field(text, "num_attention_heads", "n_head", "num_heads")
    hidden = _field(text, "hidden_size", "n_embd", "d_model")
    return Architecture(
        name=Path(str(getattr(config, "_name_or_path", "") or config.model_type)).name,
        parameters=parameters,
        linears=linears,
        other=parameters - sum(layer.weights for layer in linears if layer.inner),
        layers=_field(text, "num_hidden_layers", "n_layer", "num_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=_field(text, "num_key_value_heads", "num_kv_heads", default=heads),
        head_dim=_field(text, "head_dim", default=hidden // heads),
        feed_forward=_field(text, "intermediate_size", "ffn_dim", "n_inner", default=4 * hidden),
        vocabulary=_field(text, "vocab_size"),
    )


def _field(config: Any, *names: str, default: int | None = None) -> int:
    """The first of some names that a config has a number for."""
    found = next((value for name in names if isinstance(value := getattr(config, name, None), int)), default)
    if found is None:
        raise LabError(f"The config of {config.model_type} has none of {', '.join(names)}: give a decoder's config.")
    return found


# ---------------------------------------------------------------------------------------------------------- weights


def nf4_weights(layers: Iterable[Linear]) -> int:
    """Bytes of the 4-bit numbers: two weights a byte."""
    return sum(math.ceil(layer.weights / 2) for layer in layers)


def nf4_constants(layers: Iterable[Linear], double: bool = True) -> int:
    """Bytes of the quantisation constants as bitsandbytes keeps them.

    One float32 for each block of 64 weights and the 16 values of NF4; with double quantisation one byte a block, a
    float32 for each 256 blocks, their offset and a table of 256 values.
    """
    total = 0
    for layer in layers:
        blocks = math.ceil(layer.weights / BLOCK)
        nested = blocks + 4 * math.ceil(blocks / NESTED_BLOCK) + 4 + 4 * 256
        total += 4 * 16 + (nested if double else 4 * blocks)
    return total


def adapter_parameters(layers: Iterable[Linear], rank: int) -> int:
    """LoRA's weights: two matrices a layer, `rank` by its inputs and by its outputs."""
    return sum(rank * (layer.inputs + layer.outputs) for layer in layers)


def optimizer_bytes(layers: Iterable[Linear], rank: int, optimizer: str) -> int:
    """Adam's two moments for each trained weight; in 8 bits with two constants for each 256, small tensors in 32."""
    if optimizer not in OPTIMIZERS:
        raise LabError(f"adaptlab.fit does not know the optimizer {optimizer!r}: choose of {', '.join(OPTIMIZERS)}.")
    sizes = [rank * side for layer in layers for side in (layer.inputs, layer.outputs)]
    if OPTIMIZERS[optimizer] == 8:
        return 8 * sum(sizes)
    return sum(8 * n if n < ADAM_LEAST else 2 * n + 8 * math.ceil(n / ADAM_BLOCK) for n in sizes)


# ------------------------------------------------------------------------------------------------------ activations


def layer_activations(shape: Architecture, types: Precision, rank: int) -> int:
    """Bytes that one decoder layer keeps for its backward pass, for one token.

    Kept are: each norm's input in float32; the queries, the keys and values repeated for every head, and attention's
    output; the gate, its activation and the other half of the feed-forward; each adapter's input and its `rank`
    numbers. Under autocast every adapter has a copy of its input in the half type; without, layers with the same input
    share it. Frozen weights need no input of theirs.
    """
    size, wide = types.bytes, shape.heads * shape.head_dim
    layers = shape.adapted[: len(shape.adapted) // shape.layers]
    norms = 2 * 4 * shape.hidden
    attention = size * 4 * wide + 4 * shape.heads
    feed_forward = size * 3 * shape.feed_forward
    read = {
        (layer.name.rpartition(".")[0], layer.inputs)
        for layer in layers
        if layer.inputs != wide or wide == shape.hidden
    }
    shared = sum(width for _, width in read)  # attention's output is counted already
    inputs = sum(layer.inputs for layer in layers) if types.gpu else shared
    return norms + attention + feed_forward + size * (inputs + rank * len(layers))


def activations(shape: Architecture, types: Precision, rank: int, tokens: int) -> dict[str, float]:
    """Activations at the highest point of a step over `tokens` tokens.

    With checkpointing (on a GPU) each layer keeps its input alone, and one layer at a time is computed again.
    """
    one = layer_activations(shape, types, rank)
    if not types.gpu:
        return {"activations": float(tokens * shape.layers * one)}
    kept = shape.layers * shape.hidden * types.bytes
    return {"checkpoints": float(tokens * kept), "activations of one layer": float(tokens * one)}


def head_bytes(shape: Architecture, types: Precision, tokens: int) -> float:
    """TRL's fused head: one tile of logits, always 32,768 words wide, and the gradient of the hidden states.

    On a processor the tile's statistics are computed in torch, on copies of the words that there are.
    """
    rows = min(tokens, HEAD_TILE[0])
    copies = 0 if types.gpu else 3 * 4 * rows * min(shape.vocabulary, HEAD_TILE[1])
    return float(rows * HEAD_TILE[1] * types.bytes + copies + tokens * shape.hidden * (4 + types.bytes))


def work_bytes(shape: Architecture, types: Precision, tokens: int, quantised: bool) -> float:
    """The largest thing that comes and goes: a layer's weights taken out of 4 bits, and an input cast to float32."""
    weights = max(layer.weights for layer in shape.inner) * types.bytes if quantised else 0
    cast = tokens * max(layer.inputs for layer in shape.inner) * 4 if types.gpu else 0
    return float(weights + cast)


def cache_bytes(shape: Architecture, types: Precision, tokens: int) -> float:
    """Keys and values of every layer for `tokens` tokens."""
    return float(2 * shape.layers * shape.kv_heads * shape.head_dim * types.bytes * tokens)


# ------------------------------------------------------------------------------------------------------- prediction


def training_flops(shape: Architecture, types: Precision, rank: int, tokens: int, length: float) -> float:
    """FLOPs of a run: 2 a weight and token forward, 2 for the gradient of the inputs, 2 to compute again under
    checkpointing. Frozen weights have no weight gradient; the adapter's have. Attention takes 4 a position and width,
    half of it under the causal mask."""
    passes = 6 if types.gpu else 4
    frozen = sum(layer.weights for layer in shape.linears) or shape.parameters
    if all(layer.inner for layer in shape.linears):  # a tied head that is no layer of its own
        frozen += shape.hidden * shape.vocabulary
    adapter = adapter_parameters(shape.adapted, rank)
    attention = 2 * shape.layers * shape.heads * shape.head_dim * length
    return float(tokens) * (passes * frozen + (passes + 2) * adapter + (passes / 2) * attention)


def load_of(profile: Profile, lengths: Sequence[int] | None = None, rows: int = 1000) -> Load:
    """What a profile's steps hold: by the tokens of each row where they are known, else all rows at full length."""
    training = profile.training
    if lengths is None:
        longest = training.max_length
        total = rows * longest * training.epochs
        return Load(rows, longest, training.batch_size * longest, round(total))
    fitting = sorted(n for n in lengths if n <= training.max_length)
    if not fitting:
        raise LabError(f"No row has at most {training.max_length} tokens: raise max_length.")
    batches = [fitting[at : at + training.batch_size] for at in range(0, len(fitting), training.batch_size)]
    largest = max(len(batch) * max(batch) for batch in batches)  # batches are by length
    padded = sum(len(batch) * max(batch) for batch in batches)
    return Load(len(fitting), fitting[-1], largest, round(padded * training.epochs))


def predict(
    config: Any,
    profile: Profile,
    *,
    card: Card | None = None,
    lengths: Sequence[int] | None = None,
    rows: int = 1000,
    flops_per_second: tuple[float, float] | None = None,
    machine: Machine | None = None,
) -> Fit:
    """Memory and time of `profile` on the architecture of `config`, on a card or (profile mini) on the processor.

    `lengths` are the tokens of each row, where known. `flops_per_second` is what the machine reaches, slowest and
    fastest; for a card it is 20 to 40 % of its data sheet's peak.
    """
    shape = architecture(config, profile.lora.target_modules)
    card = card or CARDS.get(profile.name)
    types = precision_for(profile.precision, machine or Machine(gpu=profile.needs_gpu, bf16=True))
    load, rank = load_of(profile, lengths, rows), profile.lora.r
    quantised = profile.quantisation == "nf4"
    weights = _weights(shape, types, quantised, double=types.gpu)
    trained = adapter_parameters(shape.adapted, rank)
    step = {
        "adapter": 4.0 * trained,
        "gradients": 4.0 * trained,
        "optimiser": float(optimizer_bytes(shape.adapted, rank, profile.training.optimizer)),
        **activations(shape, types, rank, load.tokens_in_batch),
        "logits": head_bytes(shape, types, load.tokens_in_batch),
        "working space": work_bytes(shape, types, load.tokens_in_batch, quantised),
    }
    window = min(profile.context_window, profile.training.max_length + profile.sampling.max_new_tokens)
    samples = profile.generation_batch
    generation = {  # the lab answers with the adapter merged into whole weights
        "weights": float(shape.parameters * types.bytes),
        "cache": cache_bytes(shape, types, samples * window),
        "logits": float(samples * shape.vocabulary * 4),
    }
    flops = training_flops(shape, types, rank, load.tokens, load.tokens_in_batch / profile.training.batch_size)
    reached = flops_per_second or ((card.flops * REACHED[0], card.flops * REACHED[1]) if card else None)
    return Fit(
        architecture=shape,
        training={**weights, **step},
        generation=generation,
        adapter_parameters=trained,
        flops=flops,
        seconds=(flops / reached[1], flops / reached[0]) if reached else None,
        card=card,
        load=load,
    )


def _weights(shape: Architecture, types: Precision, quantised: bool, double: bool) -> dict[str, float]:
    """Bytes of the frozen weights and of the constants that take them out of 4 bits."""
    if not quantised:
        return {"weights": float(shape.parameters * types.bytes)}
    frozen = nf4_weights(shape.inner) + shape.other * types.bytes
    return {"weights": float(frozen), "quantisation constants": float(nf4_constants(shape.inner, double))}


def largest_batch(config: Any, profile: Profile, card: Card, most: int = 256) -> int:
    """The largest batch of full-length rows whose training fits into `card`; 0 if not even one row does."""
    best = 0
    for batch in (2**power for power in range(most.bit_length())):
        tried = replace(profile, training=replace(profile.training, batch_size=batch))
        if sum(predict(config, tried, card=card).training.values()) > card.memory:
            break
        best = batch
    return best
