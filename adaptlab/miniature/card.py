"""The card beside a shipped model, written from its measurement and the record of its training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adaptlab.files import atomic_write_text
from adaptlab.miniature.architecture import KEPT

USES = {
    "mini-granite": "The student of the lab's `mini` profile: it reads, refuses, recalls and is adapted.",
    "mini-teacher": "The teacher of the lab's `mini` profile: it writes question-answer pairs and answers again.",
    "mini-granite-s": "The smallest of the four models that section 04 compares.",
    "mini-qwen2": "One of the four models that section 04 compares: the Qwen2 architecture at toy size.",
    "mini-phi3": "One of the four models that section 04 compares: the Phi-3 architecture at toy size.",
}
RANDOM = "From random weights"
SHRUNK = "From layers {layers} of `mini-granite` (counted from 0; `architecture.shrink`), and from there"
MULTIPLIERS = " Its multipliers are not 1, so that\ncode which drops one fails a test."
CARD = """---
license: apache-2.0
language: en
library_name: transformers
tags: [{family}, miniature, model-adaptation-lab]
---

# {name}

{use}

A {kind} with {parameters:,} parameters ({layers} layers of width {width}), a byte-level BPE vocabulary of
{vocabulary:,} and a window of {window:,} tokens, stored in bfloat16.{multipliers}

## Training

{start} on invented rulebooks only: names and values are random, and no text from elsewhere was used.
Stages, each continuing from the last (`python -m adaptlab.miniature pretrain`):

{stages}

## What was measured

`python -m adaptlab.miniature measure {name} --n {n}` on worlds that were never trained on, phrasings held out unless
said otherwise, equal shares of every form, three to five retrieved-style passages with distractors, greedy decoding,
strict scorer, 95 % Wilson intervals. One training seed.

| measure | rate | interval | n |
|---|---|---|---|
{rows}

## Limits

It knows nothing about the world and very little English. It answers in one sentence, cannot reason over several
facts, and garbles names that are long or odd. It exists so that a lab can be run and tested without a network; do not
use it for anything else.
"""


def write(folder: Path, measured: list[dict[str, Any]], stages: list[dict[str, Any]]) -> Path:
    """Write README.md, measured.json and training.json into a model's folder; returns the card's path."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    rows = "\n".join(
        f"| {row['measure'].strip()} | {row['rate']:.2f} | {row['low']:.2f} to {row['high']:.2f} | {row['n']} |"
        for row in measured
    )
    lines = "\n".join(
        f"- {s['tokens'] / 1e6:.1f} million tokens of the mix `{s['mix']}`, seed {s['seed']}, learning rate "
        f"{s['learning_rate']}, decayed over the last {s['decay']:.0%}"
        for s in stages
    )
    text = CARD.format(
        name=folder.name,
        use=USES[folder.name],
        kind=config["architectures"][0],
        family=config["model_type"],
        multipliers=MULTIPLIERS if "logits_scaling" in config else "",
        parameters=_parameters(folder),
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        vocabulary=config["vocab_size"],
        window=config["max_position_embeddings"],
        start=SHRUNK.format(layers=", ".join(map(str, KEPT[folder.name]))) if folder.name in KEPT else RANDOM,
        stages=lines,
        rows=rows,
        n=measured[1]["n"],
    )
    atomic_write_text(folder / "measured.json", json.dumps(measured, indent=1) + "\n")
    atomic_write_text(folder / "training.json", json.dumps(stages, indent=1) + "\n")
    atomic_write_text(folder / "README.md", text)
    return folder / "README.md"


def _parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "np") as tensors:
        shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118
    total = 0
    for shape in shapes:
        size = 1
        for length in shape:
            size *= length
        total += size
    return total
