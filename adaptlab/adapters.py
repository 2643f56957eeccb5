"""After training: an adapter merged into 16-bit weights and checked, and published only when asked to.

An adapter is merged into 16-bit weights: merging into NF4 would quantise the result again. These are the published
ones, or those that the adapter was trained beside (`base_weights`). For GGUF, merge first and convert the merged folder
(docs/after-training.md).
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptlab import base_weights, files
from adaptlab.models import check_adapter
from config import LabError

if TYPE_CHECKING:
    import torch

MOST = 0.1  # of what the adapter changes, so much may a merge miss
PROBES = ("What is the Armour Class of the first creature?", "Name one rule, in a sentence.", "How much does it cost?")
UPLOADED = ("*.safetensors", "*.json", "*.md", "*.jinja", "*.txt", "*.model")


@dataclass(frozen=True)
class MergeReport:
    """A merge against the unmerged model, on the logits of some probes: root mean squares and the first choices.

    `error` is merged less unmerged, `effect` what the adapter changes (unmerged less base), both in logits.
    """

    error: float
    effect: float
    same_choice: float
    tokens: int
    dtype: str

    @property
    def share(self) -> float:
        """How much of the adapter's effect the merge misses."""
        return self.error / max(self.effect, 1e-12)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "share": self.share}

    def __str__(self) -> str:
        return (
            f"Merged into {self.dtype}: logits differ by {self.error:.2g} from the unmerged model's, {self.share:.1%} "
            f"of what the adapter changes; {self.same_choice:.1%} of {self.tokens} next tokens are the same."
        )


def merge(
    base_dir: str | Path,
    adapter_dir: str | Path,
    out_dir: str | Path,
    *,
    dtype: str = "bfloat16",
    probes: Sequence[str] = PROBES,
    as_trained: bool = False,
) -> MergeReport:
    """Write base and adapter as one model in `dtype` (safetensors), once its logits were found to be right.

    `as_trained` merges into the base as it comes back out of 4 bits; an adapter that does not say that it was trained
    beside one is a LabError.

    Raises a LabError, and writes nothing, where the merged model misses more than a tenth of what the adapter changes:
    in few bits small changes of large weights are rounded away.
    """
    from peft import PeftModel

    check_adapter(Path(adapter_dir))
    rounding = base_weights.noted(adapter_dir) if as_trained else None
    if as_trained and rounding is None:
        raise LabError(
            f"{Path(adapter_dir).name} has no {base_weights.FILE}: it was trained beside whole weights, or before "
            "this was noted. Leave --as-trained away."
        )
    base, tokenizer = _base(base_dir, rounding, dtype)
    chats = [[{"role": "user", "content": text}] for text in probes]
    try:
        model: Any = PeftModel.from_pretrained(base, str(adapter_dir)).eval()
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        why = " ".join(str(error).split())[:160]
        raise LabError(f"The adapter in {adapter_dir} does not fit {base_dir} ({why}): name its base.") from error
    unmerged = _logits(model, tokenizer, chats)
    with model.disable_adapter():
        before = _logits(model, tokenizer, chats)
    merged_model = model.merge_and_unload(safe_merge=True)
    report = _report(_logits(merged_model, tokenizer, chats), unmerged, before, dtype)
    if report.share > MOST:
        raise LabError(f"{report} That is too much: merge with --dtype float32, or keep the adapter apart.")
    _save(merged_model, tokenizer, Path(adapter_dir), Path(out_dir), report)
    return report


def push(folder: str | Path, repository: str, token: str, *, private: bool = True) -> str:
    """Upload a folder to a hub and return its address. Nothing in the lab calls this by itself; a token is required."""
    if not token.strip():
        raise LabError("Uploading needs a token that may write: set HF_TOKEN and call push again.")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise LabError(f"{repository!r} is no repository: give owner/name.")
    path = Path(folder)
    if not any(path.glob("*.safetensors")):
        raise LabError(f"{folder} holds no safetensors: name an adapter's or a merged model's folder.")
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    hub = HfApi(token=token)
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=path, allow_patterns=list(UPLOADED))
    except (HfHubHTTPError, OfflineModeIsEnabled, httpx.HTTPError, OSError) as error:
        why = " ".join(str(error).split()).replace(token, "***")[:160]
        raise LabError(f"{repository} could not be uploaded ({why}): check the token and the network.") from None
    return f"{hub.endpoint}/{repository}"


def _base(base_dir: str | Path, rounding: base_weights.FourBits | None, dtype: str) -> tuple[Any, Any]:
    """The base in `dtype`, as it was published or as it comes back out of 4 bits."""
    import torch

    from adaptlab.training import load_base

    if rounding is None:
        return load_base(base_dir, dtype=dtype)
    model, tokenizer = load_base(base_dir, dtype=dtype, quantization_config=rounding.config(getattr(torch, dtype)))
    return base_weights.out_of_four_bits(model), tokenizer


def _logits(model: Any, tokenizer: Any, chats: Sequence[Any]) -> torch.Tensor:
    """The logits at every position of every probe, in float32, one under the other."""
    import torch

    found = []
    for chat in chats:
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            found.append(model(input_ids=ids["input_ids"].to(model.device)).logits[0].float().cpu())
    return torch.cat(found)


def _report(merged: torch.Tensor, unmerged: torch.Tensor, before: torch.Tensor, dtype: str) -> MergeReport:
    return MergeReport(
        error=float((merged - unmerged).pow(2).mean().sqrt()),
        effect=float((unmerged - before).pow(2).mean().sqrt()),
        same_choice=float((merged.argmax(-1) == unmerged.argmax(-1)).float().mean()),
        tokens=len(merged),
        dtype=dtype,
    )


def _save(model: Any, tokenizer: Any, adapter: Path, out: Path, report: MergeReport) -> None:
    """Publish the merged folder in one move, with the adapter's card and the check's outcome."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        where = folder / "config.json"
        where.write_text(re.sub(r'\n  "_name_or_path": .*', "", where.read_text("utf-8")), "utf-8")
        card = adapter / "README.md"
        told = card.read_text("utf-8") if card.is_file() else f"# {out.name}\n"
        files.atomic_write_text(folder / "README.md", f"{told}\n## Merged\n\n{report}\n")
        files.atomic_write_json(folder / "merge.json", report.as_dict())
        os.chmod(folder, 0o755)
        files.replace_folder(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
