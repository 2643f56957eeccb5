"""The number types of a training run: decided once, from the profile's precision and what the machine has.

Three rules, each of which stands for a way in which training went wrong: the frozen weights and the matrix products
are in the profile's type on a GPU and in float32 on a processor; what is trained is always in float32 (TRL casts the
adapter of a 4-bit base to bfloat16, which fp16's gradient scaler refuses); and bfloat16 is not asked of a card that
only emulates it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from config import LabError

ADAPTER = "float32"
TORCH_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Machine:
    """What decides: whether there is an NVIDIA GPU, and whether it computes in bfloat16 by itself (from Ampere on)."""

    gpu: bool
    bf16: bool = False


@dataclass(frozen=True)
class Precision:
    """What a run computes in. `compute` is torch's name for the type of frozen weights and matrix products."""

    compute: str
    gpu: bool
    bf16: bool = False
    fp16: bool = False
    adapter: str = ADAPTER

    @property
    def bytes(self) -> int:
        """Bytes of one number in `compute`."""
        return BYTES[self.compute]

    def arguments(self) -> dict[str, Any]:
        """The training arguments that follow; TRL's own default is bf16, everywhere."""
        on_gpu = {"gradient_checkpointing": self.gpu, "dataloader_pin_memory": self.gpu}
        return {"use_cpu": not self.gpu, "bf16": self.bf16, "fp16": self.fp16, **on_gpu}


def this_machine() -> Machine:
    """What torch finds here."""
    import torch

    if not torch.cuda.is_available():
        return Machine(gpu=False)
    return Machine(gpu=True, bf16=torch.cuda.is_bf16_supported(including_emulation=False))


def precision_for(name: str, machine: Machine | None = None) -> Precision:
    """What a profile of precision `name` (fp32, bf16, fp16) computes in; a LabError where the card cannot."""
    if name not in TORCH_NAMES:
        raise LabError(f"There is no precision {name!r}: choose one of {', '.join(TORCH_NAMES)}.")
    machine = machine or this_machine()
    if name == "fp32" or not machine.gpu:
        return Precision("float32", gpu=False)
    if name == "bf16" and not machine.bf16:
        raise LabError("This GPU has no bfloat16: choose a profile with fp16, such as LAB_PROFILE=t4.")
    return Precision(TORCH_NAMES[name], gpu=True, bf16=name == "bf16", fp16=name == "fp16")


def cuda_device() -> str:
    """This process's GPU by number: accelerate refuses a 4-bit model on a `cuda` without one."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def keep_adapter_in_float32(model: Any) -> int:
    """Cast whatever is trained to float32, after the trainer was built; returns how many tensors there are."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.float()
    return len(trained)
