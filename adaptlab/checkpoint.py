"""Puts a workbench into the state at the start of a section: earlier results come from the prebuilt run, and say so."""

from __future__ import annotations

from dataclasses import dataclass, replace

from adaptlab.artifacts import Lab
from adaptlab.capture import SIDECAR_END, read_manifest
from adaptlab.provenance import Provenance, read_sidecar, sidecar_path
from adaptlab.sections import SERIES, before
from config import LabError, Settings


@dataclass(frozen=True)
class Placed:
    """One result of an earlier section. `state` is placed, kept (this machine's own) or there already."""

    section: str
    artifact: str
    state: str
    label: str


def put(settings: Settings, number: str, force: bool = False) -> list[Placed]:
    """Fill the gaps before section `number` with prebuilt results; `force` also replaces this machine's own.

    All are checked before the first is copied. Raises a LabError where there is none, or one is damaged.
    """
    if settings.mode == "prebuilt":
        raise LabError(
            "LAB_MODE=prebuilt reads prebuilt results in any case: use checkpoint with LAB_MODE=auto or live."
        )
    earlier = {name.removesuffix(".ipynb") for name in before(number)}
    lab = Lab(settings, notebook="adaptlab checkpoint")
    records = [record for record in _prebuilt(settings) if record.notebook in earlier]
    files = [record.artifact if _suffixed(record) else f"{record.artifact}/" for record in records]
    for name in files:
        Lab(_replay(settings)).result(name)
    placed = []
    for record, name in zip(records, files, strict=True):
        was = _origin(settings, record.artifact)
        result = lab.adopt(name, force)
        state = "kept" if result.origin != "prebuilt" else "there already" if was == "prebuilt" else "placed"
        placed.append(Placed(record.notebook[:2], record.artifact, state, result.label))
    return sorted(placed, key=lambda item: (item.section, item.artifact))


def later(settings: Settings, number: str) -> list[str]:
    """This machine's results of section `number` and after it: they stay, and steps find them."""
    earlier = {name.removesuffix(".ipynb") for name in before(number)}
    names = [path.name.removesuffix(SIDECAR_END) for path in sorted(settings.live_dir.glob(f"*{SIDECAR_END}"))]
    return [name for name in names if read_sidecar(settings.live_dir / name).notebook not in earlier]


def _prebuilt(settings: Settings) -> list[Provenance]:
    """The sidecars of the prebuilt run, in the order of the notebooks."""
    manifest = read_manifest(settings.prebuilt_dir)
    if manifest is None:
        raise LabError(
            f"There are no prebuilt results for the profile {settings.profile.name} and the document {settings.slug}: "
            "choose a profile and document that have them, or capture a run first."
        )
    order = {name.removesuffix(".ipynb"): number for number, name in enumerate(SERIES)}
    records = [read_sidecar(settings.prebuilt_dir / name) for name in manifest.artifacts]
    return sorted(records, key=lambda record: (order.get(record.notebook, len(order)), record.artifact))


def _replay(settings: Settings) -> Settings:
    """The same settings, in a replay."""
    return replace(settings, mode="prebuilt")


def _suffixed(record: Provenance) -> bool:
    """Whether an artifact is a file with an extension."""
    return "." in record.artifact


def _origin(settings: Settings, artifact: str) -> str:
    """Where this machine's result comes from now; empty where there is none, or none that can be read."""
    path = settings.live_dir / artifact
    if not path.exists() or not sidecar_path(path).exists():
        return ""
    try:
        return read_sidecar(path).origin
    except LabError:
        return ""
