"""Steps and their results: finished work is found again, missing work is done, prebuilt work is shown as such."""

from __future__ import annotations

import importlib.util
import inspect
import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from adaptlab import fingerprint, kinds, progress, provenance
from adaptlab.documents import sources_hash
from adaptlab.environment import check_document, find_gpu
from adaptlab.files import (
    Partial,
    atomic_write_json,
    exclusive,
    needing_room,
    read_text,
    replace as replace_path,
    sha256_path,
    size_of,
)
from adaptlab.kinds import Artifact, artifact_of
from adaptlab.provenance import IMPORTED, OWN_ROWS, InputRecord, Origin, Provenance, sidecar_path
from config import LabError, ModelSpec, Settings, settings

MODEL_LIBRARIES = ("torch", "transformers")
UNEDITED = "of the unedited cell"
OWN_TEACHER = "the student's own base as teacher and judge"
REMEDY = "put that right, or choose a profile and document that have prebuilt results"


@dataclass(frozen=True)
class Result:
    """A finished step. `data` is always read back from the file, so that live and replayed cells see the same."""

    name: str
    path: Path
    origin: Origin
    label: str
    provenance: Provenance
    artifact: Artifact = field(repr=False)

    @cached_property
    def data(self) -> Any:
        """The content, read when it is first asked for."""
        return kinds.read(self.artifact, self.path, self.provenance.columns)

    @property
    def lab_key(self) -> str:
        """What stands for this result in the key of a step that uses it."""
        return self.provenance.sha256

    def __repr__(self) -> str:
        return f"{self.artifact.file} ({self.label})"


class Lab:
    """The results of one profile and document, as one notebook sees them."""

    def __init__(
        self, resolved: Settings | None = None, notebook: str = "", say: Callable[[str], None] = print
    ) -> None:
        self.settings = resolved if resolved is not None else settings()
        self.notebook = notebook
        self.say = say
        self.profile = self.settings.profile
        self.progress = progress.progress
        self._work: Path | None = None

    # ------------------------------------------------------------------------------------------- asking

    def step(
        self,
        name: str,
        run: Callable[..., Any],
        inputs: Sequence[Result | str | Path] = (),
        settings: Mapping[str, Any] | None = None,
        models: Sequence[str | ModelSpec] = ("student",),
        needs: Sequence[str] | None = None,
        schema: type[BaseModel] | None = None,
    ) -> Result:
        """The result `name`: this machine's if its key holds, else computed by `run`, else the prebuilt one."""
        artifact = artifact_of(name, schema)
        specs = [model if isinstance(model, ModelSpec) else self.settings.model(model) for model in models]
        read = self._inputs(inputs, run)
        parts = self._parts(artifact, run, read, dict(settings or {}), specs)
        key = fingerprint.digest(parts)
        if self.settings.mode == "prebuilt":
            return self._replayed(artifact, parts, strict=True)
        finished = self._finished(artifact, key, parts)
        if finished is not None:
            return finished
        libraries = MODEL_LIBRARIES if needs is None and specs else tuple(needs or ())
        obstacle = self.obstacle(specs, libraries)
        if obstacle is None:
            record = self._record(artifact, key, parts, read, dict(settings or {}), specs)
            if self.settings.own_teacher and {"teacher", "judge"} & {*map(str, models)}:
                record.label = record.label.replace(";", f", {OWN_TEACHER};", 1)
            return self._computed(artifact, run, record)
        if self.settings.mode == "live":
            raise LabError(f"{artifact.file} cannot be computed here: {obstacle}: put that right or set LAB_MODE=auto.")
        return self._replayed(artifact, parts, strict=False, obstacle=obstacle)

    def result(self, name: str, schema: type[BaseModel] | None = None) -> Result:
        """The result of an earlier notebook: this machine's, else the prebuilt one."""
        artifact = artifact_of(name, schema)
        places = [self.settings.prebuilt_dir]
        if self.settings.mode != "prebuilt":
            places.insert(0, self.settings.live_dir)
        for folder in places:
            if (folder / artifact.file).exists() and sidecar_path(folder / artifact.file).exists():
                return self._load(artifact, folder)
        where = f"run {artifact.notebook}.ipynb first" if artifact.notebook else "run the step that makes it first"
        raise LabError(f"There is no {artifact.file} for {self._place()}: {where}{self._mode_hint()}.")

    def adopt(self, name: str, force: bool = False) -> Result:
        """Put a copy of the prebuilt result among this machine's, labelled prebuilt; returns what lies there now.

        A result that this machine computed or imported stays, unless `force` says that it may be replaced. A step
        that finds the copy under its own key takes it for finished, but in mode live computes it.
        """
        artifact = artifact_of(name)
        found = self._load(artifact, self.settings.prebuilt_dir)
        if found.provenance.parts.get("the document") != self.document_hash:
            raise LabError(
                f"The prebuilt {artifact.file} was made with another {self.settings.document.name}: {REMEDY}."
            )
        path = self.settings.live_dir / artifact.file
        work = self.settings.live_dir / ".work" / "checkpoint"
        with exclusive(work.with_suffix(".lock"), artifact.file):
            if path.exists() and sidecar_path(path).exists() and not force:
                own = self._load(artifact, self.settings.live_dir)
                if own.origin != "prebuilt" or own.provenance.sha256 == found.provenance.sha256:
                    return own
            with needing_room(path):
                made = work / artifact.file
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir(parents=True)
                shutil.copytree(found.path, made) if found.path.is_dir() else shutil.copy2(found.path, made)
                record = found.provenance.model_copy(update={"origin": "prebuilt", "label": found.label})
                atomic_write_json(sidecar_path(made), record)
            _publish(made, path)
            shutil.rmtree(work, ignore_errors=True)
        return self._load(artifact, self.settings.live_dir)

    def obstacle(self, specs: Sequence[ModelSpec] = (), libraries: Sequence[str] = ()) -> str | None:
        """Why this machine cannot run a step with these models and libraries; None if it can."""
        for library in libraries:
            if importlib.util.find_spec(library) is None:
                return f"{library} is not installed"
        for spec in specs:
            if spec.path and provenance.weights_hash(self.settings.root / spec.path) is None:
                return f"{spec.path} holds no model"
            if spec.remote and not (self.settings.endpoint.configured and self.settings.endpoint.model):
                return "LAB_ENDPOINT_URL and LAB_TEACHER_MODEL are not both set"
        if self.profile.needs_gpu and any(not spec.remote for spec in specs) and find_gpu() is None:
            return f"the profile {self.profile.name} needs {self.profile.hardware}"
        return None

    def partial(self, name: str) -> Partial:
        """The finished items of the step that is running, kept until it is done."""
        return Partial(self._work_folder() / f"{name}.jsonl")

    def work_dir(self, name: str) -> Path:
        """A folder for the step that is running, kept until it is done."""
        folder = self._work_folder() / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    # ------------------------------------------------------------------------------------------- keys

    def _inputs(self, inputs: Sequence[Result | str | Path], run: Callable[..., Any]) -> dict[str, InputRecord]:
        """Everything the step reads: what it names, and the results that its function uses unnamed."""
        unnamed = [item for item in fingerprint.used_values(run).values() if isinstance(item, Result)]
        records = [self._input(item) for item in (*inputs, *unnamed)]
        return {record.name: record for record in records}

    def _input(self, item: Result | str | Path) -> InputRecord:
        """One input with its hash and origin."""
        if isinstance(item, Path):
            if not item.exists():
                raise LabError(f"The step reads {item}, which does not exist: restore the file or correct the path.")
            return InputRecord(name=item.name, sha256=sha256_path(item), origin="source")
        result = self.result(item) if isinstance(item, str) else item
        record = result.provenance
        own = result.artifact.file == OWN_ROWS or any(read.own_rows for read in record.inputs)
        return InputRecord(name=result.artifact.file, sha256=record.sha256, origin=result.origin, own_rows=own)

    def _parts(
        self,
        artifact: Artifact,
        run: Callable[..., Any],
        inputs: dict[str, InputRecord],
        step_settings: dict[str, Any],
        specs: list[ModelSpec],
    ) -> dict[str, str]:
        """What the key is made of, by words that a sentence can use."""
        plain = fingerprint.canonical(step_settings, "settings")
        parts = {"the artifact": artifact.file, "the profile": self.profile.name, "the seed": str(self._seed)}
        parts["the document"] = self.document_hash
        parts |= {f"setting {name}": fingerprint.digest(value) for name, value in plain.items()}
        parts |= {f"input {name}": record.sha256 for name, record in inputs.items()}
        records = [provenance.model_record(spec, self.settings.root) for spec in specs]
        parts |= {f"model {record.name}": fingerprint.digest(record.model_dump()) for record in records}
        parts |= {f"code: {name}": value for name, value in fingerprint.code_parts(run).items()}
        return parts

    @property
    def _seed(self) -> int:
        return self.settings.seeds.base

    @cached_property
    def document_hash(self) -> str:
        """What stands for the document in keys: its sources' hash, and whether page furniture is kept."""
        for source in self.settings.sources:
            check_document(source, "the document")
        found = sources_hash(self.settings.sources)
        return f"{found} with page furniture" if self.settings.keep_furniture else found

    # ------------------------------------------------------------------------------------------- results

    def _finished(self, artifact: Artifact, key: str, parts: dict[str, str]) -> Result | None:
        """This machine's result, if it is whole and its key holds; an imported one, if what it belongs to does."""
        path = self.settings.live_dir / artifact.file
        if not path.exists() or not sidecar_path(path).exists():
            return None
        try:
            record = provenance.read_sidecar(path)
            if record.origin == IMPORTED:
                return self._imported(artifact, record, parts)
            if record.key != key or (record.origin == "prebuilt" and self.settings.mode == "live"):
                return None
            return self._load(artifact, self.settings.live_dir)
        except LabError as error:
            self.say(f"{error} It is computed again now.")
            return None

    def _imported(self, artifact: Artifact, record: Provenance, parts: dict[str, str]) -> Result | None:
        """A result of an earlier workshop day; one of another document or benchmark is told, and computed here."""
        others = [name.removeprefix("input ") for name, value in record.parts.items() if parts.get(name) != value]
        if others:
            self.say(f"The imported {artifact.file} was made with another {', '.join(others)}: it is computed now.")
            return None
        return self._load(artifact, self.settings.live_dir)

    def _computed(self, artifact: Artifact, run: Callable[..., Any], record: Provenance) -> Result:
        """Run the step and publish what it returns, with its sidecar, last.

        Both are written beside the step's finished items first, so that a full disk costs no result that was there.
        """
        work = self.settings.live_dir / ".work" / record.key[:16]
        path, made = self.settings.live_dir / artifact.file, work / "result" / artifact.file
        with exclusive(work.with_suffix(".lock"), artifact.file):
            resumed = work.exists()
            work.mkdir(parents=True, exist_ok=True)
            outer, self._work = self._work, work
            started = time.monotonic()
            try:
                with needing_room(path):
                    value = run(self.progress) if inspect.signature(run).parameters else run()
            finally:
                self._work = outer
            seconds = time.monotonic() - started
            with needing_room(path):
                columns = kinds.write(artifact, value, made)
                done = {"sha256": sha256_path(made), "bytes": size_of(made), "columns": columns}
                done |= {"wall_seconds": round(seconds, 3), "resumed": resumed, "date": provenance.today()}
                atomic_write_json(sidecar_path(made), record.model_copy(update=done))
            _publish(made, path)
            shutil.rmtree(work, ignore_errors=True)
        return self._load(artifact, self.settings.live_dir)

    def _record(
        self,
        artifact: Artifact,
        key: str,
        parts: dict[str, str],
        inputs: dict[str, InputRecord],
        step_settings: dict[str, Any],
        specs: list[ModelSpec],
    ) -> Provenance:
        """The sidecar of a step that is about to run; its hash, size and time come when it is done."""
        borrowed = [record for record in inputs.values() if record.origin in ("prebuilt", "mixed", IMPORTED)]
        words = _origin_words([record for record in borrowed if record.name != OWN_ROWS])
        words += ", from the learner's own rows" if any(record.own_rows for record in borrowed) else ""
        return Provenance(
            artifact=artifact.file,
            kind=artifact.kind,
            key=key,
            parts=parts,
            sha256="",
            bytes=0,
            origin="mixed" if borrowed else "live",
            label=f"{words}; profile {self.profile.name}; {provenance.today()}",
            profile=self.profile.name,
            document=self.settings.slug,
            notebook=self.notebook,
            inputs=list(inputs.values()),
            settings=fingerprint.canonical(step_settings, "settings"),
            models=[provenance.model_record(spec, self.settings.root) for spec in specs],
            libraries=provenance.library_versions(),
            python=platform.python_version(),
            device=provenance.device_text(),
            seeds=provenance.seeds_of(self.settings),
            wall_seconds=0,
            date=provenance.today(),
            revision=provenance.code_revision(),
        )

    def _replayed(self, artifact: Artifact, parts: dict[str, str], strict: bool, obstacle: str = "") -> Result:
        """The prebuilt result; a cell that it does not belong to is told so, and under `strict` gets none."""
        path = self.settings.prebuilt_dir / artifact.file
        if not path.exists() or not sidecar_path(path).exists():
            because = f", and it cannot be computed here: {obstacle}" if obstacle else ""
            hint = f": {REMEDY}" if obstacle else self._mode_hint() or f": {REMEDY}"
            raise LabError(f"There is no prebuilt {artifact.file} for {self._place()}{because}{hint}.")
        found = self._load(artifact, self.settings.prebuilt_dir)
        if found.provenance.key == fingerprint.digest(parts):
            return found
        changes = _changes(found.provenance.parts, parts)
        if strict:
            raise LabError(
                f"This cell is not the one that made the prebuilt {artifact.file} ({changes}), and a replay cannot "
                "compute it again: undo the change, or set LAB_MODE=live to compute it."
            )
        self.say(
            f"This cell is not the one that made the prebuilt {artifact.file} ({changes}), and this machine cannot "
            f"compute it again ({obstacle}): what you see is the prebuilt result {UNEDITED}."
        )
        words = found.label.replace("prebuilt", f"prebuilt, {UNEDITED}", 1)
        return replace(found, label=words)

    def _load(self, artifact: Artifact, folder: Path) -> Result:
        """The artifact in `folder`, after its hash has been compared with its sidecar's."""
        path = folder / artifact.file
        prebuilt = folder == self.settings.prebuilt_dir
        restore = "restore it with git checkout" if prebuilt else "delete it, or run its step again"
        listed = manifest_entry(folder, artifact.file) if prebuilt else None
        if listed is not None and listed != sha256_path(sidecar_path(path)):
            raise LabError(f"{sidecar_path(path)} was edited or damaged after it was captured: {restore}.")
        record = provenance.read_sidecar(path)
        if record.artifact != artifact.file or sha256_path(path) != record.sha256:
            raise LabError(f"{path} was edited or damaged after it was computed: {restore}.")
        shown_for = f", shown for {self.settings.shown_for}" if self.settings.shown_for else ""
        label = f"prebuilt; profile {record.profile}{shown_for}; {record.date}" if prebuilt else record.label
        origin: Origin = "prebuilt" if prebuilt else record.origin
        return Result(Path(artifact.file).stem, path, origin, label, record, artifact)

    # ------------------------------------------------------------------------------------------- words

    def _work_folder(self) -> Path:
        if self._work is None:
            raise LabError("lab.partial and lab.work_dir belong to a running step: call them inside its function.")
        return self._work

    def _place(self) -> str:
        return f"the profile {self.profile.name} and the document {self.settings.slug}"

    def _mode_hint(self) -> str:
        return ", or set LAB_MODE=auto" if self.settings.mode == "prebuilt" else ""


def _publish(made: Path, path: Path) -> None:
    """Move a finished result to its place, its sidecar last: without one, nobody takes it for whole."""
    sidecar_path(path).unlink(missing_ok=True)
    replace_path(made, path)
    replace_path(sidecar_path(made), sidecar_path(path))


def manifest_entry(folder: Path, file: str) -> str | None:
    """The hash of a sidecar as the manifest of a prebuilt folder lists it; None without a manifest."""
    path = folder / "manifest.json"
    if not path.exists():
        return None
    try:
        return str(json.loads(read_text(path))["artifacts"][file]["sidecar_sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"{path} was edited or damaged, or misses {file}: restore it with git checkout.") from error


def _origin_words(borrowed: list[InputRecord]) -> str:
    """`live`, with what it stands on if that was not computed here."""
    if not borrowed:
        return "live"
    words = {"prebuilt": "prebuilt", IMPORTED: "imported", "mixed": "not wholly live"}
    named = [origin for origin in words if origin != "mixed" and any(r.origin == origin for r in borrowed)] or ["mixed"]
    said = []
    for origin in named:
        nouns = dict.fromkeys(artifact_of(record.name).noun for record in borrowed if record.origin == origin)
        said.append(f"{words[origin]} {' and '.join(nouns)}")
    return f"live, on {' and '.join(said)}"


def _changes(stored: dict[str, str], now: dict[str, str]) -> str:
    """What differs between two keys, in words, the first three of it."""
    names = [name for name in {**stored, **now} if stored.get(name) != now.get(name)]
    words = [name.removeprefix("code: ") for name in names] or ["its key"]
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return f"changed: {', '.join(words[:3])}{more}"
