"""Loading the lab's models at the right precision, with or without an adapter, and freeing them for real."""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptlab import base_weights
from adaptlab.memory import keep_freed_blocks
from adaptlab.quiet import quiet_loading
from config import MODELS, MODELS_DIR, ROOT, LabError, ModelSpec, Settings

if TYPE_CHECKING:
    import torch

NEEDED_FILES = ("config.json", "model.safetensors", "tokenizer.json")


@dataclass
class Loaded:
    """A model ready to generate; `window` is the most tokens that prompt and answer may have together."""

    model: Any
    tokenizer: Any
    name: str
    window: int


def find_spec(spec_or_name: ModelSpec | str | Path, settings: Settings | None = None) -> ModelSpec:
    """The spec for a spec, a registry name, a role such as `student` (with settings), or a folder with weights."""
    if isinstance(spec_or_name, ModelSpec):
        return spec_or_name
    name = str(spec_or_name)
    if name in MODELS:
        return MODELS[name]
    if Path(name).is_dir():
        return ModelSpec(Path(name).resolve().name, path=str(Path(name).resolve()), precision="fp32")
    if settings is not None:
        return settings.model(name)
    raise LabError(f"There is no model {name!r}: choose one of {', '.join(MODELS)}, or name a folder with weights.")


def missing_files(spec: ModelSpec) -> list[str]:
    """The files that a shipped model should have and has not; always empty for a model of the hub."""
    if not spec.shipped:
        return []
    folder = Path(spec.location)
    return [name for name in NEEDED_FILES if not (folder / name).is_file()]


def check_weights(spec: ModelSpec) -> None:
    """Raise a LabError unless the model can be loaded here."""
    if spec.remote:
        raise LabError(f"{spec.name} has no weights of its own: it is only reached through LAB_ENDPOINT_URL.")
    missing = missing_files(spec)
    if not missing:
        return
    folder = _shown(Path(spec.location))
    how = "name another folder"
    if Path(spec.location).parent == MODELS_DIR:
        how = f"restore it with `git checkout -- {folder}`, or train it with `python -m adaptlab.miniature`"
    raise LabError(f"The model {spec.name} is not complete: {folder} lacks {', '.join(missing)}; {how}.")


def check_adapter(adapter: Path) -> dict[str, Any]:
    """The configuration of the PEFT adapter in the folder `adapter`, or a LabError."""
    file = Path(adapter) / "adapter_config.json"
    if not file.is_file():
        raise LabError(f"There is no adapter in {_shown(Path(adapter))}: {file.name} is missing; train one first.")
    try:
        settings = json.loads(file.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise LabError(f"{_shown(file)} cannot be read ({_line(error)}): train the adapter again.") from error
    if not isinstance(settings, dict):
        raise LabError(f"{_shown(file)} is no adapter configuration: train the adapter again.")
    return settings


def load(
    spec_or_name: ModelSpec | str | Path,
    settings: Settings | None = None,
    adapter: Path | None = None,
    quantised: bool = False,
    *,
    merge: bool = True,
    as_trained: bool = False,
) -> Loaded:
    """Load a model for inference: on the GPU, if there is one, in its spec's precision, else on the CPU in float32.

    `quantised` loads it in NF4. An adapter is put on the published weights, as servers do it, or with `as_trained` on
    those that it was trained beside (`base_weights`); it is merged into them for speed where they are not in 4 bits,
    unless `merge` is false.
    """
    spec = find_spec(spec_or_name, settings)
    check_weights(spec)
    rounding = None
    if adapter is not None:
        check_adapter(adapter)
        rounding = base_weights.noted(adapter) if as_trained else None
    keep_freed_blocks()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch_dtype(spec.precision, device)
    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": device}, "attn_implementation": "sdpa"}
    if quantised or rounding:
        options["quantization_config"] = (rounding or base_weights.FourBits()).config(dtype)
    origin: dict[str, Any] = {"local_files_only": True} if spec.shipped else {"revision": spec.revision}
    try:
        tokenizer = AutoTokenizer.from_pretrained(spec.location, padding_side="left", **origin)
        with quiet_loading():
            model = AutoModelForCausalLM.from_pretrained(spec.location, **options, **origin)
            if rounding and not quantised:
                model = base_weights.out_of_four_bits(model)
    except Exception as error:  # every library below has its own exceptions for a file that cannot be read
        raise LabError(_cannot_load(spec, error)) from error
    if quantised and device == "cpu":
        keep_cpu_weights_trainable(model)
    if adapter is not None:
        model = _with_adapter(model, Path(adapter), merge=merge and not quantised)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Loaded(model.eval(), tokenizer, spec.name, int(model.config.max_position_embeddings))


def torch_dtype(precision: str, device: str) -> torch.dtype:
    """The torch type for `fp32`, `fp16` or `bf16`; half precision of either kind is left to the GPU."""
    import torch

    if device == "cpu":
        return torch.float32
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def keep_cpu_weights_trainable(model: Any) -> int:
    """Stop bitsandbytes from repacking 4-bit weights for inference on CPUs with AVX512-BF16; returns how many layers.

    After such a repacking, which the first inference triggers, gradients through the layer are wrong.
    """
    from bitsandbytes.nn import Linear4bit

    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
    return len(layers)


def free(loaded: Loaded) -> None:
    """Drop the model and the tokenizer and give their memory back, on the GPU too."""
    import torch

    loaded.model = None
    loaded.tokenizer = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.ipc_collect()


def _with_adapter(model: Any, adapter: Path, merge: bool) -> Any:
    """`model` with the PEFT adapter of a folder on it, merged into its weights if `merge`."""
    from peft import PeftModel

    try:
        adapted = PeftModel.from_pretrained(model, str(adapter))
    except Exception as error:  # PEFT and safetensors raise many kinds for a folder that does not fit
        raise LabError(
            f"The adapter in {_shown(adapter)} does not fit the model or is broken ({_line(error)}): train it again."
        ) from error
    return adapted.merge_and_unload(safe_merge=True) if merge else adapted


def _cannot_load(spec: ModelSpec, error: Exception) -> str:
    """The sentence for weights that the libraries refuse."""
    if not spec.shipped:
        return (
            f"{spec.repository} could not be loaded ({_line(error)}): "
            "check the network, the free memory and, for a gated model, HF_TOKEN."
        )
    folder = _shown(Path(spec.location))
    return f"The weights in {folder} cannot be read ({_line(error)}): restore them with `git checkout -- {folder}`."


def _shown(path: Path) -> str:
    """A path as people see it: below the repository root where it is."""
    path = Path(path).resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _line(error: BaseException) -> str:
    """The first line of an error, without its full stop."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")[:160]
