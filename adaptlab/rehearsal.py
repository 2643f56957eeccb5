"""One unattended run of everything on the real hardware: doctor, downloads, the series live, verify, capture.

What was done is written to `rehearsal.json` after every stage, so that a run that dies has its record too.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from adaptlab import capture as captures, doctor, probes, provenance, runner
from adaptlab.files import atomic_write_json
from adaptlab.kinds import REGISTRY
from adaptlab.runnable import BOTH, LIVE
from adaptlab.sections import NOTEBOOKS, SERIES
from config import LabError, ModelSpec, Settings

RECORD = "rehearsal.json"
DOWNLOADED = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")


class Stage(BaseModel):
    """One stage: `state` is done, failed or left out; `said` is a sentence."""

    model_config = ConfigDict(extra="forbid")
    name: str
    state: str
    said: str
    seconds: float


class Rehearsal(BaseModel):
    """The record of a rehearsal."""

    model_config = ConfigDict(extra="forbid")
    profile: str
    document: str
    device: str
    date: str
    sections: list[str]
    stages: list[Stage]
    exit_code: int


class StageFailed(Exception):
    """A stage stopped the rehearsal; `code` is what the command ends with."""

    def __init__(self, said: str, code: int = 1) -> None:
        super().__init__(said)
        self.code = code


def rehearse(
    settings: Settings,
    first: str | None = None,
    last: str | None = None,
    capture: bool = True,
    full: bool = False,
    dry: bool = False,
) -> Rehearsal:
    """Run the stages one after another; the first that fails ends it. Returns the record, also of a failure.

    `full` computes the long notebooks too. `dry` asks the doctor and says what the rest would do; it writes no record.
    """
    live = replace(settings, mode="live")
    names = runner.selected(first, last, SERIES if full else NOTEBOOKS)
    whole = set(NOTEBOOKS) <= set(names)
    stages: list[tuple[str, Callable[[], str]]] = [
        ("doctor", lambda: _doctor(live, names)),
        ("downloads", lambda: _planned_downloads(live) if dry else _downloads(live)),
    ]
    if not dry:
        stages += [("series", lambda: _series(live, first, last, full)), ("verify", lambda: _verify(live, names))]
    if capture and whole and not dry:
        stages.append(("capture", lambda: f"captured into {captures.capture(live)}"))
    done = _record(live, names, [], 0)
    for name, stage in stages:
        done = _run(live, done, name, stage, kept=not dry)
        if done.exit_code:
            return done
    left = {"series": f"would run live: {', '.join(Path(name).stem for name in names)}"} if dry else {}
    if not (capture and whole):
        left["capture"] = "--no-capture was given" if whole else "not all notebooks were chosen"
    done.stages.extend(Stage(name=name, state="left out", said=said, seconds=0.0) for name, said in left.items())
    if not dry:
        atomic_write_json(live.live_dir / RECORD, done)
    return done


def words(done: Rehearsal) -> str:
    """The record for a person."""
    lines = [f"Rehearsal, profile {done.profile}, {done.device}, {done.date}"]
    lines += [
        f"  {stage.name:<10} {stage.state:<9} {stage.seconds / 60:6.1f} min  {stage.said}" for stage in done.stages
    ]
    return "\n".join(lines)


def _record(settings: Settings, names: Sequence[str], stages: list[Stage], code: int) -> Rehearsal:
    return Rehearsal(
        profile=settings.profile.name,
        document=settings.slug,
        device=provenance.device_text(),
        date=provenance.today(),
        sections=[name[:2] for name in names],
        stages=stages,
        exit_code=code,
    )


def _run(settings: Settings, done: Rehearsal, name: str, stage: Callable[[], str], kept: bool) -> Rehearsal:
    """One stage more; where the record is `kept`, its outcome is on the disk before the next begins."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    state, code = "done", 0
    try:
        said = stage()
    except StageFailed as error:
        state, said, code = "failed", str(error), error.code
    except LabError as error:
        state, said, code = "failed", str(error), 1
    now = Stage(name=name, state=state, said=said, seconds=round(time.monotonic() - began, 3))
    done = done.model_copy(update={"stages": [*done.stages, now], "exit_code": code})
    if kept:
        atomic_write_json(settings.live_dir / RECORD, done)
    return done


# ------------------------------------------------------------------------------------------------------- stages


def _doctor(settings: Settings, names: Sequence[str]) -> str:
    """Every selected notebook has to be able to run live, weights that are still to be downloaded included."""
    report = doctor.examine(settings, names=names, full=True)
    if report.code == 2:
        wrong = next(check.said for check in report.checks if check.state == doctor.WRONG)
        raise StageFailed(wrong, 2)
    for verdict in report.verdicts:
        if verdict.state not in (LIVE, BOTH):
            raise StageFailed(f"{verdict.notebook} cannot run live: {verdict.because}.")
    return f"{len(names)} notebooks can run live"


def _downloads(settings: Settings) -> str:
    """Fetch the weights that are not here yet, from the hub that the installed client uses."""
    fetched = [f"{spec.name}, {_download(spec) / probes.GB:.1f} GB" for spec in _absent(settings)]
    return f"fetched {'; '.join(fetched)}" if fetched else "nothing to download"


def _planned_downloads(settings: Settings) -> str:
    """What would be fetched, with its size."""
    sizes = {spec.name: probes.weights(spec, settings.root, online=True).size for spec in _absent(settings)}
    told = [f"{name}, {size / probes.GB:.1f} GB" if size else name for name, size in sizes.items()]
    return f"would fetch {'; '.join(told)}" if told else "nothing to download"


def _absent(settings: Settings) -> list[ModelSpec]:
    """The models of this profile whose weights are to be downloaded."""
    specs = dict.fromkeys((settings.student, settings.teacher, settings.judge))
    return [spec for spec in specs if not (spec.remote or probes.weights(spec, settings.root, online=False).here)]


def _download(spec: ModelSpec) -> int:
    """Download a hub model; returns its bytes on this disk."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(spec.repository, revision=spec.revision, allow_patterns=list(DOWNLOADED))
    except Exception as error:  # the hub's own words: not reachable, gated, disk full
        raise StageFailed(f"{spec.name} cannot be downloaded: {' '.join(str(error).split())[:200]}") from error
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def _series(settings: Settings, first: str | None, last: str | None, full: bool) -> str:
    """Run the notebooks live; the runner's own table goes to standard error."""
    options = ["--profile", settings.profile.name, "--mode", "live"]
    options += ["--from", first] if first else []
    options += ["--to", last] if last else []
    options += ["--full"] if full else []
    with contextlib.redirect_stdout(sys.stderr):
        code = runner.main(options)
    if code:
        raise StageFailed("the series stopped: see the last lines above; run it again to go on from there.", code)
    return f"the report is {settings.live_dir / 'report' / 'index.html'}"


def _verify(settings: Settings, names: Sequence[str]) -> str:
    """What the selected notebooks made has to be whole; of a whole series, nothing may be missing."""
    run = {name.removesuffix(".ipynb") for name in names}
    later = {
        f"{known.file} is missing: run {known.notebook}.ipynb."
        for known in REGISTRY.values()
        if known.notebook not in run
    }
    problems = [problem for problem in captures.verify_live(settings) if problem not in later]
    if problems:
        raise StageFailed(problems[0] + (f" ({len(problems) - 1} more)" if len(problems) > 1 else ""))
    stored = len(list(settings.live_dir.glob(f"*{captures.SIDECAR_END}")))
    return f"{stored} results are whole"
