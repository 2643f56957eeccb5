"""From a live run to the prebuilt results, and back: copy a complete, verified run; verify what was copied."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adaptlab.files import atomic_write_json, exclusive, files_below, read_text, replace_folder, sha256_path, size_of
from adaptlab.kinds import REGISTRY, artifact_of
from adaptlab.provenance import Provenance, read_sidecar, sidecar_path, today
from adaptlab.sections import LONG
from config import ROOT, LabError, Settings

MANIFEST = "manifest.json"
TIMINGS = "timings.json"
SIDECAR_END = ".provenance.json"
LEAST_KEY = 8  # characters; a shorter key, such as "none", stands in many files
TEXT_ENDS = (".json", ".jsonl", ".csv", ".md", ".txt", ".yaml")


class Entry(BaseModel):
    """One artifact in a manifest."""

    model_config = ConfigDict(extra="forbid")
    sha256: str
    bytes: int
    sidecar_sha256: str
    wall_seconds: float


class Manifest(BaseModel):
    """What a captured run holds, and how long each notebook took."""

    model_config = ConfigDict(extra="forbid")
    profile: str
    document: str
    date: str
    device: str
    revision: str | None
    artifacts: dict[str, Entry]
    notebooks: dict[str, float]
    devices: dict[str, str] = Field(default_factory=dict)

    def device_of(self, notebook: str) -> str:
        """What computed a notebook's results."""
        return self.devices.get(notebook, self.device)


def capture(settings: Settings) -> Path:
    """Copy this machine's complete run into `prebuilt/`, whole or not at all; returns the folder."""
    problems = verify_live(settings)
    if problems:
        raise LabError(f"This run cannot be captured: {problems[0]}" + _and_more(problems))
    destination = settings.prebuilt_dir
    destination.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(settings.live_dir / ".work" / "capture.lock", "a capture"):
        staged = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", suffix=".tmp", dir=destination.parent))
        try:
            _copy(settings, staged)
            staged.chmod(0o755)
            problems = verify_folder(staged, settings)
            if problems:
                raise LabError(f"The run changed while it was copied: {problems[0]}" + _and_more(problems))
            replace_folder(staged, destination)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return destination


def verify_live(settings: Settings) -> list[str]:
    """What keeps this machine's run from being complete and consistent, a sentence each."""
    folder = settings.live_dir
    missing = [known for known in REGISTRY.values() if known.required and not _has(folder, known.file)]
    problems = [f"{item.file} is missing: run {item.notebook}.ipynb." for item in missing]
    records = _records(folder, problems)
    for record in records.values():
        if record.origin == "prebuilt":
            problems.append(f"{record.artifact} was put here by adaptlab checkpoint: compute it here first.")
        elif record.origin != "live":
            problems.append(f"{record.artifact} is {record.label}: compute its inputs here first.")
    return problems + _chain(records) + _private(folder, list(records), _keys(settings))


def verify_prebuilt(settings: Settings) -> list[str]:
    """What is wrong with the prebuilt results of this profile and document, a sentence each."""
    return verify_folder(settings.prebuilt_dir, settings)


def verify_folder(folder: Path, settings: Settings) -> list[str]:
    """Compare every file below `folder` with its sidecar and with the manifest."""
    if not (folder / MANIFEST).is_file():
        return [f"{folder / MANIFEST} is missing: restore it with git checkout, or run adaptlab capture."]
    try:
        manifest = Manifest.model_validate_json(read_text(folder / MANIFEST))
    except (ValidationError, LabError):
        return [f"{folder / MANIFEST} was edited or damaged: restore it with git checkout."]
    problems: list[str] = []
    if (manifest.profile, manifest.document) != (settings.profile.name, settings.slug):
        problems.append(f"{folder / MANIFEST} belongs to {manifest.profile}/{manifest.document}: restore it.")
    for name, entry in manifest.artifacts.items():
        problems += _entry_problems(folder / name, entry)
    listed = set(manifest.artifacts) | {sidecar_path(folder / name).name for name in manifest.artifacts} | {MANIFEST}
    strangers = sorted(path.name for path in folder.iterdir() if path.name not in listed)
    problems += [f"{folder / name} is not in the manifest: remove it, or capture again." for name in strangers]
    for known in REGISTRY.values():
        if known.required and known.file not in manifest.artifacts:
            problems.append(f"{folder / MANIFEST} lists no {known.file}: capture a complete run.")
    records = _records(folder, problems)
    return list(dict.fromkeys(problems + _chain(records) + _private(folder, list(records), _keys(settings))))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a prebuilt folder; None where there is none."""
    if not (folder / MANIFEST).is_file():
        return None
    try:
        return Manifest.model_validate_json(read_text(folder / MANIFEST))
    except ValidationError as error:
        raise LabError(f"{folder / MANIFEST} was edited or damaged: restore it with git checkout.") from error


def has_results(settings: Settings, notebook: str) -> bool:
    """Whether the prebuilt results of this profile and document hold any that `notebook` made."""
    try:
        manifest = read_manifest(settings.prebuilt_dir)
    except LabError:
        return True  # a damaged manifest is told by whoever reads it
    return manifest is not None and notebook in manifest.notebooks


def record_timing(settings: Settings, notebook: str, seconds: float) -> None:
    """Note how long a whole notebook took."""
    path = settings.live_dir / TIMINGS
    atomic_write_json(path, {**_timings(settings.live_dir), notebook: round(seconds, 3)})


def _timings(folder: Path) -> dict[str, float]:
    """Noted seconds by notebook; a damaged file counts as none."""
    try:
        noted: dict[str, Any] = json.loads((folder / TIMINGS).read_text("utf-8"))
        return {str(name): float(seconds) for name, seconds in noted.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _copy(settings: Settings, staged: Path) -> None:
    """Copy every artifact with its sidecar into `staged` and write the manifest."""
    source = settings.live_dir
    records = _records(source, [])
    carried = _carried(settings, records)
    records |= carried
    for name in records:
        place = (settings.prebuilt_dir if name in carried else source) / name
        shutil.copytree(place, staged / name) if place.is_dir() else shutil.copy2(place, staged / name)
        shutil.copy2(sidecar_path(place), sidecar_path(staged / name))
    entries = {name: _entry(staged / name, record) for name, record in records.items()}
    computed: dict[str, float] = {}
    for record in records.values():
        computed[record.notebook] = round(computed.get(record.notebook, 0) + record.wall_seconds, 3)
    for notebook, seconds in _timings(source).items():  # less than its steps: a run that found them done
        computed[notebook] = max(seconds, computed.get(notebook, 0))
    newest = max(records.values(), key=lambda record: record.date)
    used = Counter(record.device for record in records.values())
    devices = {
        notebook: " and ".join(sorted({record.device for record in records.values() if record.notebook == notebook}))
        for notebook in sorted({record.notebook for record in records.values()})
    }
    manifest = Manifest(
        profile=settings.profile.name,
        document=settings.slug,
        date=today(),
        device=used.most_common(1)[0][0],
        revision=newest.revision,
        artifacts=entries,
        notebooks=computed,
        devices=devices,
    )
    atomic_write_json(staged / MANIFEST, manifest)


def _carried(settings: Settings, records: dict[str, Provenance]) -> dict[str, Provenance]:
    """Long notebooks' prebuilt results that stay: this run made none of them, and they belong to what it made."""
    before = _records(settings.prebuilt_dir, []) if settings.prebuilt_dir.is_dir() else {}
    kept: dict[str, Provenance] = {}
    for notebook in (name.removesuffix(".ipynb") for name in LONG):
        mine = {name: record for name, record in before.items() if record.notebook == notebook and name not in records}
        made = any(record.notebook == notebook for record in records.values())
        if not made and not _chain({**records, **mine}):
            kept |= mine
    return kept


def _entry(path: Path, record: Provenance) -> Entry:
    """The line of the manifest for one artifact."""
    return Entry(
        sha256=sha256_path(path),
        bytes=size_of(path),
        sidecar_sha256=sha256_path(sidecar_path(path)),
        wall_seconds=record.wall_seconds,
    )


def _entry_problems(path: Path, entry: Entry) -> list[str]:
    """What is wrong with one artifact that the manifest lists."""
    if not _has(path.parent, path.name):
        return [f"{path} or its sidecar is missing: restore it with git checkout."]
    wrong = []
    if sha256_path(path) != entry.sha256 or size_of(path) != entry.bytes:
        wrong.append(f"{path} was edited or damaged after it was captured: restore it with git checkout.")
    if sha256_path(sidecar_path(path)) != entry.sidecar_sha256:
        wrong.append(f"{sidecar_path(path)} was edited or damaged after it was captured: restore it with git checkout.")
    return wrong


def _records(folder: Path, problems: list[str]) -> dict[str, Provenance]:
    """The readable sidecars of a folder by artifact; what is wrong with the others is added to `problems`."""
    records = {}
    for beside in sorted(folder.glob(f"*{SIDECAR_END}")):
        path = folder / beside.name.removesuffix(SIDECAR_END)
        try:
            record = read_sidecar(path)
            artifact_of(record.artifact if path.suffix else f"{record.artifact}/")
        except LabError as error:
            problems.append(str(error))
            continue
        if not path.exists():
            problems.append(f"{path} is missing, but its sidecar is there: run its step again.")
        elif record.artifact != path.name or sha256_path(path) != record.sha256:
            problems.append(f"{path} was edited or damaged after it was computed: run its step again, or restore it.")
        else:
            records[path.name] = record
    return records


def _chain(records: dict[str, Provenance]) -> list[str]:
    """Artifacts that were computed from another state of their inputs than the one beside them."""
    return [
        f"{record.artifact} was computed from another {item.name}: run {record.notebook or 'its step'} again."
        for record in records.values()
        for item in record.inputs
        if item.name in records and records[item.name].sha256 != item.sha256
    ]


def _private(folder: Path, names: list[str], keys: Sequence[str]) -> list[str]:
    """Files that hold one of the `keys`, and text files that mention a folder of this machine."""
    places = {ROOT, Path.home(), Path(tempfile.gettempdir())} - {Path(os.sep)}
    private = [f"{place}{os.sep}".encode() for place in places]
    secrets = [key.encode() for key in keys if len(key) >= LEAST_KEY]
    problems = []
    for name in names:
        place = folder / name
        inside = [place / item for item in files_below(place)] if place.is_dir() else [place]
        for path in [*inside, sidecar_path(place)]:
            data = path.read_bytes()
            if any(secret in data for secret in secrets):
                problems.append(f"{path.name} of {name} holds a key: remove it there and have the key replaced.")
            elif path.suffix in TEXT_ENDS and any(needle in data for needle in private):
                problems.append(f"{path.name} of {name} names a folder of this machine: keep such paths out.")
    return problems


def _keys(settings: Settings) -> list[str]:
    """The secrets that this process was given: no result may hold one."""
    given = [settings.endpoint.key, *map(os.environ.get, ("LAB_SERVE_KEY", "HF_TOKEN"))]
    return [key for key in given if key]


def _has(folder: Path, name: str) -> bool:
    """True if the artifact and its sidecar are both there."""
    return (folder / name).exists() and sidecar_path(folder / name).exists()


def _and_more(problems: list[str]) -> str:
    """How many problems were not told."""
    return f" ({len(problems) - 1} more: adaptlab verify live lists them)" if len(problems) > 1 else ""
