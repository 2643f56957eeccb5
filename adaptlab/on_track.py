"""What a room that is on track sees at the end of a section: figures of the captured run, in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from adaptlab import brief
from adaptlab.artifacts import Lab
from adaptlab.capture import Manifest
from adaptlab.provenance import read_sidecar
from adaptlab.sections import Section


def values(section: Section, lab: Lab, manifest: Manifest) -> list[str]:
    """The figures to compare with, the most telling first; none for a section without captured results."""
    found = _rungs(section, lab, manifest)
    made = _made(section, lab, manifest)
    for name, words in TOLD.items():
        if name in made:
            found += words(lab.result(name).data)
    return found


def records(section: Section, lab: Lab, manifest: Manifest) -> list[str]:
    """How much each stored result of a section holds."""
    return [f"{name} {told}" for name in _made(section, lab, manifest) if (told := _count(lab, name))]


def _made(section: Section, lab: Lab, manifest: Manifest) -> list[str]:
    """The captured results that a section made."""
    places = {name: lab.settings.prebuilt_dir / name for name in manifest.artifacts}
    return [name for name, place in places.items() if read_sidecar(place).notebook == section.name]


def _rungs(section: Section, lab: Lab, manifest: Manifest) -> list[str]:
    """The rungs of the ladder whose answers a section shows, with the interval that counts as on track."""
    if "evaluation.json" not in manifest.artifacts:
        return []
    evaluated = read_sidecar(lab.settings.prebuilt_dir / "evaluation.json").notebook
    lines = []
    for row in lab.result("evaluation").data["ladder"]:
        asked_in = evaluated if "adapter" in row["rung"] else row.get("notebook")  # training answers no questions
        if asked_in == section.name:
            span = f"from {row['low']:.0%} to {row['high']:.0%} is on track"
            lines.append(f"{row['rung']}: {row['rate']:.0%} right, {span}")
    return lines


def _failures(data: Any) -> list[str]:
    return [f"{len(data)} questions are left that the weights do not hold"]


def _rows(data: Any) -> list[str]:
    kept = int(data["kept"].astype(bool).sum())
    return [f"{kept:,} of {len(data):,} generated rows are kept ({kept / len(data):.0%})"]


def _training_rows(data: Any) -> list[str]:
    return [f"{len(data):,} rows for training, the replay rows among them"]


def _log(data: Any) -> list[str]:
    first, last = data[0], data[-1]
    return [f"the loss falls from {first['loss']:.3f} to {last['loss']:.3f} in {last['step']:,} steps"]


def _adapter(data: Any) -> list[str]:
    cost = json.loads((data / "cost.json").read_text("utf-8"))
    return [f"training takes {cost['minutes']:.1f} minutes for {cost['trainable weights']:,} trained weights"]


def _evaluation(data: Any) -> list[str]:
    worse = [skill["skill"] for skill in data["skills"] if skill["verdict"] == "worse"]
    lost = f"skills that got worse: {', '.join(worse)}" if worse else "no skill is seen to get worse"
    return [brief.headline(data).rstrip("."), lost]


def _trials(data: Any) -> list[str]:
    return [f"{len({row['trial'] for row in data['rates']})} trainings are compared"]


def _brief(data: Any) -> list[str]:
    headline = next((line for line in str(data).splitlines() if line.startswith("**")), "")
    return [f"the brief says: {headline.strip('*').rstrip('.')}"] if headline else []


TOLD: dict[str, Callable[[Any], list[str]]] = {
    "knowledge_failures.json": _failures,
    "synthetic_qa_pairs.csv": _rows,
    "training_data.jsonl": _training_rows,
    "training_log.jsonl": _log,
    "adapter": _adapter,
    "adaptation_trials.json": _trials,
    "evaluation.json": _evaluation,
    "evidence_brief.md": _brief,
}


def _count(lab: Lab, name: str) -> str:
    """How much a result holds, in words; empty for what is not counted."""
    path = lab.settings.prebuilt_dir / name
    if path.is_dir():
        size = sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
        return f"{size / 1e6:.1f} MB"
    if read_sidecar(path).kind not in ("json", "jsonl", "csv"):
        return ""
    data = lab.result(name).data
    return "" if isinstance(data, dict) else f"{len(data):,} records"
