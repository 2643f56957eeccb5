"""A model of true size with random weights: built without memory, then filled and quantised one layer at a time.

Speed and memory do not depend on what the weights are, so a card can be measured where no hub is reached. The largest
thing that exists besides the finished model is one layer's weights before they are quantised.
"""

from __future__ import annotations

from typing import Any

import torch

from adaptlab import base_weights, memory, models
from adaptlab.quiet import quiet


def build(config: Any, *, dtype: str, device: str, quantised: bool, seed: int = 0) -> Any:
    """A causal language model of `config` on `device` (`cpu`, `cuda:0`), as `from_pretrained` would have left it.

    `dtype` is torch's name of a type; with `quantised` the linear layers inside the decoder are in NF4, with their
    constants quantised again on a GPU and not on a processor, as in `training.load_base_nf4`.
    """
    from transformers import AutoModelForCausalLM, GenerationConfig

    memory.keep_freed_blocks()
    torch.manual_seed(seed)
    kind = getattr(torch, dtype)
    with quiet(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=kind)
        model.generation_config = GenerationConfig.from_model_config(config)
    quantizer = _quantizer(model, kind, device) if quantised else None
    for module in list(model.modules()):
        _fill(model, module, kind, device)
    model.tie_weights()
    if quantizer is not None:
        model.hf_quantizer = quantizer
        quantizer.postprocess_model(model)
        if device == "cpu":
            models.keep_cpu_weights_trainable(model)
    return model.eval()


def _quantizer(model: Any, dtype: torch.dtype, device: str) -> Any:
    """transformers' own quantizer, after it has put its empty layers into `model`."""
    from transformers.quantizers import AutoHfQuantizer

    settings = base_weights.FourBits().config(dtype)
    settings.bnb_4bit_use_double_quant = device != "cpu"
    with quiet():
        quantizer = AutoHfQuantizer.from_config(settings, pre_quantized=False)
        quantizer.preprocess_model(model=model, device_map={"": device}, dtype=dtype)
    return quantizer


def _fill(model: Any, module: Any, dtype: torch.dtype, device: str) -> None:
    """Give one module its own weights and buffers; a layer for 4 bits is quantised at once."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    if not isinstance(module, Linear4bit):
        module.to_empty(device=device, recurse=False)
        model._init_weights(module)
        return
    empty = module.weight
    spread = getattr(model.config, "initializer_range", None) or 0.02
    weight = torch.empty(module.out_features, module.in_features, dtype=dtype, device=device).normal_(std=spread)
    module.weight = Params4bit(weight, requires_grad=False, **empty.__dict__).to(device)
    if module.bias is not None:
        module.bias = torch.nn.Parameter(torch.zeros(module.out_features, dtype=dtype, device=device), False)
