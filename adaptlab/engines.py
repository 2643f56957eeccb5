"""Two engines for one configuration: plain TRL + PEFT + bitsandbytes everywhere, unsloth on NVIDIA GPUs.

The profile names the engine; unsloth stands in for the plain one only where it is installed and a GPU is there. Both
take the same LoraConfig and SFTConfig and leave the same PEFT adapter. `compare` measures one against the other.

unsloth has to be imported before transformers, which it rewrites, and it cannot be imported without a GPU.
Source: unsloth's `FastLanguageModel.from_pretrained` and `get_peft_model`, as its own notebooks call them.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptlab.precision import precision_for, this_machine
from config import ROOT, LabError, Profile

if TYPE_CHECKING:
    import pandas as pd
    from peft import LoraConfig

ENGINES = ("plain", "unsloth")
LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
MEASURED = ("tokens_per_second", "peak_memory_bytes", "seconds", "steps", "final_loss")


def choose(profile: Profile) -> tuple[str, str]:
    """The engine that a profile trains with on this machine, and why."""
    if profile.engine not in ENGINES:
        raise LabError(f"There is no engine {profile.engine!r}: choose one of {', '.join(ENGINES)}.")
    if profile.engine == "plain":
        return "plain", f"the profile {profile.name} names it"
    obstacle = unsloth_obstacle()
    return ("plain", obstacle) if obstacle else ("unsloth", "it is installed, and a GPU is there")


def unsloth_obstacle() -> str | None:
    """Why unsloth cannot be used in this process; None if it can."""
    if importlib.util.find_spec("unsloth") is None:
        return "unsloth is not installed (requirements-unsloth.txt)"
    if not this_machine().gpu:
        return "unsloth needs an NVIDIA GPU"
    if "transformers" in sys.modules and "unsloth" not in sys.modules:
        return "transformers was imported before unsloth, which has to come first"
    return None


def load_unsloth(profile: Profile, model_dir: str | Path) -> tuple[Any, Any]:
    """The base and its tokenizer as unsloth loads them, at the profile's precision and quantisation."""
    import torch
    from unsloth import FastLanguageModel

    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=str(model_dir),
        max_seq_length=profile.training.max_length,
        dtype=getattr(torch, precision_for(profile.precision).compute),
        load_in_4bit=profile.quantisation == "nf4",
    )
    model.lab_engine = "unsloth"
    return model, tokenizer


def layer_names(targets: str | Collection[str] | None, modules: Sequence[str]) -> list[str]:
    """The short names of the layers to adapt, which unsloth wants, from PEFT's `all-linear`, a pattern or names."""
    if not isinstance(targets, (str, type(None))):
        return sorted(targets)
    if targets in (None, "all-linear"):
        return list(LINEAR_LAYERS)
    hit = {name.rpartition(".")[2] for name in modules if re.fullmatch(targets, name)}
    return [name for name in LINEAR_LAYERS if name in hit]


def put_adapter_on(model: Any, lora: LoraConfig, seed: int) -> Any | None:
    """For a model of unsloth's: the model with its adapter on. None for any other, where TRL does that."""
    if getattr(model, "lab_engine", "plain") != "unsloth":
        return None
    from unsloth import FastLanguageModel

    return FastLanguageModel.get_peft_model(
        model,
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=layer_names(lora.target_modules, [name for name, _ in model.named_modules()]),
        bias="none",
        use_gradient_checkpointing="unsloth",
        random_state=seed,
    )


def compare(rows_path: Path, out_dir: Path, options: Sequence[str] = (), engines: Sequence[str] = ENGINES) -> Any:
    """Train the same rows with each engine, each in a process of its own, and return the table of what they took.

    `options` are further ones of `adaptlab train rows`. An engine that cannot run here is a row that says why.
    """
    import pandas as pd

    lines = []
    for name in engines:
        try:
            lines.append({"engine": name, **_measured(name, rows_path, out_dir / name, options), "note": ""})
        except LabError as error:
            lines.append({"engine": name, "note": str(error)})
    return pd.DataFrame(lines, columns=["engine", *MEASURED, "note"])


def ratios(table: pd.DataFrame) -> dict[str, float]:
    """What unsloth gains: its tokens a second and its peak memory, each divided by the plain engine's."""
    by_engine = table[table["note"] == ""].set_index("engine")
    if not set(ENGINES) <= set(by_engine.index):
        return {}
    fast, plain = by_engine.loc["unsloth"], by_engine.loc["plain"]
    return {name: float(fast[name] / plain[name]) for name in ("tokens_per_second", "peak_memory_bytes")}


def _measured(engine: str, rows_path: Path, out_dir: Path, options: Sequence[str]) -> dict[str, Any]:
    """One run of one engine in a fresh process, so that neither its memory nor its patches meet the other's."""
    command = [sys.executable, "-m", "adaptlab", "train", "rows", str(rows_path), "--out", str(out_dir)]
    command += ["--engine", engine, "--strict-engine", "--no-resume", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise LabError((done.stderr.strip().splitlines() or ["it ended without a word"])[-1].removeprefix("adaptlab: "))
    result = json.loads(done.stdout[done.stdout.index("{") :])
    return {name: result[name] for name in MEASURED}
