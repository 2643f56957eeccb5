"""What a training step has to compute, and the most that a card can: both sides of model FLOP utilisation.

ACCOUNTING says what counts. It is narrower than `adaptlab.fit.training_flops`, which predicts time and therefore counts
what checkpointing computes a second time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adaptlab.fit import Architecture, adapter_parameters

ACCOUNTING = (
    "Useful FLOPs of a step, a multiplication and an addition each counted as one: for every token that is no padding "
    "2N forward and 2N backward through the activations, where N are the frozen weights of the linear layers inside "
    "the decoder, whose own gradient is not computed; 6A for the A weights of the adapter, which have one; for every "
    "pair of tokens that attend to each other 4 times the width of the heads forward and twice that backward, in every "
    "layer, within a row and under the causal mask only; and for every token that is trained on 2H forward and 2H "
    "backward, where H are the weights of the frozen head. Not counted: padding, what gradient checkpointing computes "
    "again, taking weights out of 4 bits, norms, the optimiser."
)


@dataclass(frozen=True)
class Work:
    """What some steps had to process.

    `slots` are tokens with padding, `real` those without; `trained` have a label; `answers` belong to a row's answer;
    `pairs` are pairs of tokens of which the later one attends to the earlier one, itself included.
    """

    steps: int = 0
    rows: int = 0
    slots: int = 0
    real: int = 0
    trained: int = 0
    answers: int = 0
    pairs: int = 0


def useful(shape: Architecture, rank: int, work: Work) -> float:
    """The useful FLOPs of `work`, as ACCOUNTING says."""
    frozen = sum(layer.weights for layer in shape.inner)
    adapter = adapter_parameters(shape.adapted, rank)
    attention = 3 * 4 * shape.layers * shape.heads * shape.head_dim * work.pairs
    head = 4 * shape.hidden * shape.vocabulary * work.trained
    return float(work.real * (4 * frozen + 6 * adapter) + attention + head)


@dataclass(frozen=True)
class Peak:
    """Dense half-precision FLOPs a second of the cards whose name matches `name`, by the vendor's data sheet."""

    name: str
    flops: float
    source: str


# The first match counts. Where a data sheet gives a figure with sparsity, half of it stands here.
PEAKS = (
    Peak(r"\bT4\b", 65e12, "T4 data sheet: 65 TFLOPS mixed precision (fp16)"),
    Peak(r"\bV100.*PCIE", 112e12, "V100 data sheet: 112 TFLOPS deep learning, PCIe (fp16)"),
    Peak(r"\bV100.*SXM", 125e12, "V100 data sheet: 125 TFLOPS deep learning, NVLink (fp16)"),
    Peak(r"\bA10\b", 125e12, "A10 data sheet: 125 TFLOPS bf16, 250 with sparsity"),
    Peak(r"\bA30\b", 165e12, "A30 data sheet: 165 TFLOPS bf16, 330 with sparsity"),
    Peak(r"\bA40\b", 149.7e12, "A40 data sheet: 149.7 TFLOPS bf16, 299.4 with sparsity"),
    Peak(r"\bA100\b", 312e12, "A100 data sheet: 312 TFLOPS bf16, 624 with sparsity"),
    Peak(r"\bL4\b", 121e12, "L4 data sheet: 242 TFLOPS bf16 with sparsity"),
    Peak(r"\bL40S\b", 362e12, "L40S data sheet: 362 TFLOPS bf16, 733 with sparsity"),
    Peak(r"\bL40\b", 181e12, "L40 data sheet: 181 TFLOPS bf16, 362 with sparsity"),
    Peak(r"\bH100\b.*PCIe", 756e12, "H100 PCIe data sheet: 1,513 TFLOPS bf16 with sparsity"),
    Peak(r"\bH100\b.*NVL", 835e12, "H100 NVL data sheet: 1,671 TFLOPS bf16 with sparsity"),
    Peak(r"\bH100\b.*HBM3", 989e12, "H100 SXM data sheet: 1,979 TFLOPS bf16 with sparsity"),
    Peak(r"\bH200\b.*NVL", 835e12, "H200 NVL data sheet: 1,671 TFLOPS bf16 with sparsity"),
    Peak(r"\bH200\b", 989e12, "H200 SXM data sheet: 1,979 TFLOPS bf16 with sparsity"),
)


def peak_of(card: str) -> Peak | None:
    """The peak of a card by the name that PyTorch gives it; None for one that is not in the table, or a part of one."""
    if re.search(r"\bMIG\b", card):
        return None
    return next((peak for peak in PEAKS if re.search(peak.name, card, re.IGNORECASE)), None)
