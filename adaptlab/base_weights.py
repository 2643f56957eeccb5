"""Which weights an adapter was trained beside: noted in its folder, and made again to answer or merge with them.

QLoRA (Dettmers et al. 2023) computes with the base as it comes back out of 4 bits, and the adapter learns beside that
rounding. Servers put it on the published weights. These are more exact, but not the ones it learned beside; which of
the two is better has to be measured (`03ModelAdaptation/02_LoRA_QLoRA_Full.ipynb` does).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from adaptlab import files
from adaptlab.quiet import no_logs_below

if TYPE_CHECKING:
    import torch

FILE = "base_weights.json"


class FourBits(BaseModel, frozen=True):
    """How a base was rounded: the 4-bit type, whether its constants were rounded as well, the layers left whole."""

    type: Literal["nf4", "fp4"] = "nf4"
    double: bool = True
    whole: tuple[str, ...] = ()

    def config(self, dtype: torch.dtype) -> Any:
        """The BitsAndBytesConfig that loads a base so, computing in `dtype`."""
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=self.type,
            bnb_4bit_use_double_quant=self.double,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=list(self.whole) or None,  # its name says 8 bits; it holds for 4 bits too
        )


def note(model: Any, folder: Path) -> None:
    """Write into an adapter's folder how the base of `model` is rounded; nothing for a base in whole weights."""
    if not getattr(model, "is_loaded_in_4bit", False):
        return
    found = model.config.quantization_config
    stated = found if isinstance(found, dict) else found.to_dict()
    rounding = FourBits(
        type=stated["bnb_4bit_quant_type"],
        double=stated["bnb_4bit_use_double_quant"],
        whole=tuple(stated.get("llm_int8_skip_modules") or ()),
    )
    files.atomic_write_json(folder / FILE, rounding.model_dump(mode="json"))


def noted(adapter: str | Path) -> FourBits | None:
    """How the base was rounded that an adapter was trained beside; None for whole weights, or where nothing is noted.

    Raises a LabError for a note that cannot be read.
    """
    path = Path(adapter) / FILE
    if not path.is_file():
        return None
    found: FourBits = files.parse_record(files.read_text(path), f"{path.parent.name}/{FILE}", FourBits)
    return found


def out_of_four_bits(model: Any) -> Any:
    """The same model with whole weights that hold the rounded values."""
    with no_logs_below(logging.ERROR, ["transformers.integrations.bitsandbytes"]):  # it warns of what is meant here
        return model.dequantize(dtype=model.dtype)
