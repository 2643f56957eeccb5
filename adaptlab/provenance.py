"""Where a result comes from: the sidecar that lies beside every artifact, and what it records of this machine."""

from __future__ import annotations

import functools
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adaptlab.environment import find_gpu
from adaptlab.files import read_text, sha256_bytes, sha256_path
from config import ROOT, LabError, ModelSpec, Settings

Origin = Literal["live", "prebuilt", "mixed", "imported"]
IMPORTED: Literal["imported"] = "imported"  # an earlier workshop day's result, put in the place of a step's own
OWN_ROWS = "own_rows.jsonl"  # training rows that the learner brought along
LIBRARIES = (
    "torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "sdg-hub", "rank-bm25", "pandas",
    "numpy", "scipy", "statsmodels", "pypdf", "mammoth", "markdownify",
)  # fmt: skip
WEIGHT_FILES = ("*.safetensors", "config.json", "generation_config.json", "tokenizer*", "chat_template*", "*.jinja")


class ModelRecord(BaseModel):
    """A model as it was used; `weights` is the hash of a shipped model's files."""

    model_config = ConfigDict(extra="forbid")
    name: str
    repository: str = ""
    revision: str
    precision: str
    weights: str | None = None


class InputRecord(BaseModel):
    """Something a step read, with the hash it had then and where it came from.

    `own_rows` is true for the learner's own rows and all that was made from them; it is written only where true.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    sha256: str
    origin: Origin | Literal["source"]
    own_rows: bool = Field(default=False, exclude_if=lambda stands_on_them: not stands_on_them)


class Provenance(BaseModel):
    """The sidecar. `parts` are the hashes that the key is made of, so that a mismatch can be named."""

    model_config = ConfigDict(extra="forbid")
    artifact: str
    kind: str
    key: str
    parts: dict[str, str]
    sha256: str
    bytes: int
    origin: Origin
    label: str
    profile: str
    document: str
    notebook: str
    inputs: list[InputRecord]
    settings: dict[str, Any]
    models: list[ModelRecord]
    libraries: dict[str, str]
    python: str
    device: str
    seeds: dict[str, int]
    wall_seconds: float = Field(ge=0)
    resumed: bool = False
    date: str
    revision: str | None
    columns: dict[str, str] = Field(default_factory=dict)


def sidecar_path(path: Path) -> Path:
    """Where the sidecar of the artifact at `path` lies."""
    return path.with_name(f"{path.name}.provenance.json")


def read_sidecar(path: Path) -> Provenance:
    """The sidecar of the artifact at `path`; one that does not parse is a LabError that names it."""
    beside = sidecar_path(path)
    try:
        return Provenance.model_validate_json(read_text(beside))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in fault["loc"]) or "the whole"
        raise LabError(f"{beside} was edited or damaged ({name}: {fault['msg']}): restore it or recompute.") from error


def today() -> str:
    """The date in UTC, as labels show it."""
    return datetime.now(UTC).date().isoformat()


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that results depend on, as far as they are installed; nothing is imported."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def device_text() -> str:
    """The processor or graphics card, in words and without a host's name."""
    gpu = find_gpu()
    if gpu is not None:
        return f"{gpu[0]}, {gpu[1]:.0f} GB"
    import os

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU ({platform.machine()}, {cores} {'core' if cores == 1 else 'cores'})"


@functools.cache
def code_revision() -> str | None:
    """The git revision of the lab, with `-dirty` where files differ from it; None outside a repository."""
    try:
        head = _git("rev-parse", "HEAD")
        return f"{head}-dirty" if _git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    """What git answers, run in the repository."""
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()


def model_record(spec: ModelSpec, root: Path = ROOT) -> ModelRecord:
    """How `spec` enters a sidecar and a key."""
    return ModelRecord(
        name=spec.name,
        repository=spec.repository,
        revision=spec.revision_text,
        precision=spec.precision,
        weights=weights_hash(root / spec.path) if spec.path else None,
    )


def weights_hash(folder: Path) -> str | None:
    """Hash of the files of a shipped model that decide what it says; its card and measurements do not count."""
    files = sorted({path for pattern in WEIGHT_FILES for path in folder.glob(pattern)})
    if not files:
        return None
    return sha256_bytes("".join(f"{path.name} {_file_hash(path)}\n" for path in files).encode("utf-8"))


def _file_hash(path: Path) -> str:
    """Hash of a file, computed once as long as the file stays as it is."""
    status = path.stat()
    return _cached_hash(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=256)
def _cached_hash(path: Path, _modified: int, _size: int) -> str:
    return sha256_path(path)


def seeds_of(settings: Settings) -> dict[str, int]:
    """The seeds of a run by room."""
    seeds = settings.seeds
    return {room: getattr(seeds, room) for room in ("base", "sampling", "synthesis", "training", "bootstrap")}
