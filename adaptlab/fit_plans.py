"""Will it fit, as plain records: predictions that a step stores, to be shown without PyTorch and held against a run.

A plan is a dictionary, so that a notebook can store it beside its other results: what is predicted before a weight is
loaded is read back after the training and compared with what was measured.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptlab import fit, fit_report, memory
from adaptlab.fit import Card
from adaptlab.quiet import quiet
from adaptlab.schemas import Row
from adaptlab.training_batches import of_epoch
from config import MODELS, PROFILES, ROOT, LabError, ModelSpec, Profile

if TYPE_CHECKING:
    import pandas as pd

CONFIGS = Path("03ModelAdaptation") / "configs"  # the sizes of students whose weights do not come with the lab
THIS_MACHINE = "this machine"
Plan = dict[str, Any]


def model_config(where: str | Path) -> Any:
    """A transformers config by folder, config.json or hub name; no weights are read."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(where))
    except (OSError, ValueError, KeyError) as error:
        why = " ".join(str(error).split())[:120]
        raise LabError(f"There is no config of {where} ({why}): name a folder, a config.json or a hub name.") from error


def student_config(spec: ModelSpec, root: Path = ROOT) -> Any:
    """A student's config: beside the weights that come with the lab, else its sizes kept in CONFIGS, else the hub's."""
    kept = root / CONFIGS / spec.name
    return model_config(kept if not spec.shipped and kept.is_dir() else spec.location)


def this_machine() -> Card | None:
    """This machine's memory in the place of a card's, for training on a processor; None where it is not told."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
    return Card(THIS_MACHINE, float(memory), 0.0, "physical memory, as the system tells it")


def at_rest() -> int:
    """Bytes that this process holds with the training libraries imported and no model: no prediction counts them."""
    with quiet():
        for library in ("torch", "bitsandbytes", "peft", "trl"):
            importlib.import_module(library)
    return memory.in_use()


def row_lengths(rows: Sequence[Row], spec: ModelSpec) -> list[int]:
    """Tokens of each training row, as the student's chat template makes them."""
    from transformers import AutoTokenizer

    from adaptlab.training import row_length

    tokenizer = AutoTokenizer.from_pretrained(spec.location, revision=spec.revision)
    return [row_length(tokenizer, row) for row in rows]


def plan(
    profile: Profile, spec: ModelSpec, *, rows: int = 1000, lengths: Sequence[int] | None = None, root: Path = ROOT
) -> Plan:
    """The prediction for `profile` on the student `spec`, as a record.

    Without `lengths` (tokens of each row) every row counts as long as the profile allows: memory is then that of the
    largest batch there can be, and time an upper bound.
    """
    found = student_config(spec, root)
    speed = None if profile.needs_gpu else fit_report.processor_speed(fit.architecture(found))
    card = fit.CARDS.get(profile.name) or this_machine()
    predicted = fit.predict(found, profile, card=card, lengths=lengths, rows=rows, flops_per_second=speed)
    return {"profile": profile.name, **record(predicted, spec.name), "exact rows": lengths is not None}


def record(predicted: fit.Fit, model: str) -> Plan:
    """A prediction as plain data."""
    card = predicted.card
    return {
        "model": model,
        "parameters": predicted.architecture.parameters,
        "trained": predicted.adapter_parameters,
        "card": card.name if card else None,
        "memory": card.memory if card else None,
        "source": card.source if card else None,
        "training": predicted.training,
        "generation": predicted.generation,
        "seconds": list(predicted.seconds) if predicted.seconds else None,
        "rows": predicted.load.rows,
        "tokens": predicted.load.tokens,
        "flops": predicted.flops,
        "verdict": fit_report.verdict(predicted),
    }


def plans(chosen: Profile, rows: Sequence[Row], root: Path = ROOT) -> list[Plan]:
    """A plan for the profile that is about to train, on its own rows, and for each GPU profile beside it."""
    student = MODELS[chosen.student]
    met = [rows[at] for at in of_epoch(rows, 0)]
    lengths = row_lengths(met, student) if student.shipped else None
    found = [plan(chosen, student, rows=len(met), lengths=lengths, root=root)]
    others = [profile for profile in PROFILES.values() if profile.name != chosen.name and profile.needs_gpu]
    return found + [plan(profile, MODELS[profile.student], rows=len(met), root=root) for profile in others]


def table(found: Sequence[Plan]) -> pd.DataFrame:
    """One line a plan: memory at the peak beside the card's, and time."""
    import pandas as pd

    lines = []
    for one in found:
        peak = max(sum(one[phase].values()) for phase in ("training", "generation"))
        share = f"{peak / one['memory']:.0%} of {one['card']}" if one["memory"] else ""
        times = " to ".join(fit_report.duration(seconds) for seconds in one["seconds"] or [])
        lines.append(
            {
                "profile": one["profile"],
                "student": one["model"],
                "weights": f"{one['parameters'] / 1e6:,.1f} M",
                "trained": f"{one['trained'] / 1e6:,.2f} M",
                "peak": fit_report.size(peak),
                "of the memory": share,
                "fits": "" if not one["memory"] else "yes" if peak <= one["memory"] else "no",
                "time": times,
                "rows": f"{one['rows']:,}" + ("" if one["exact rows"] else ", each as long as allowed"),
            }
        )
    return pd.DataFrame(lines)


def beside_measured(predicted: Plan, cost: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """What was predicted beside what was measured; a range where a prediction is one.

    `cost` is the adapter's cost.json, `log` the lines of training_log.jsonl. On a processor the peak is that of the
    whole process, so what it held before the base was loaded is taken off. The last column is against the middle of a
    range.
    """
    import pandas as pd

    seconds = float(log[-1]["seconds"])
    low, high = predicted["seconds"] or (float("nan"), float("nan"))
    resting = float(cost.get("memory before (GB)", 0.0))
    lines = [
        ("trained weights", predicted["trained"], predicted["trained"], cost["trainable weights"]),
        ("weights of the base", predicted["parameters"], predicted["parameters"], cost["weights"]),
        ("peak memory (GB)", *[sum(predicted["training"].values()) / 1e9] * 2, cost["peak memory (GB)"] - resting),
        ("minutes", low / 60, high / 60, seconds / 60),
        ("tokens per second", predicted["tokens"] / high, predicted["tokens"] / low, cost["tokens"] / seconds),
    ]
    frame = pd.DataFrame(lines, columns=["what", "predicted, from", "predicted, to", "measured"])
    middle = (frame["predicted, from"] + frame["predicted, to"]) / 2
    return frame.assign(**{"measured / predicted": frame["measured"] / middle})
