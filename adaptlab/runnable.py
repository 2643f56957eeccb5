"""Which notebooks a machine can run: live, as a replay, or not at all, decided step by step as `Lab.step` would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adaptlab.sections import LONG, SERIES, Section, Step, sections
from config import LabError, ModelSpec, Settings

if TYPE_CHECKING:
    from adaptlab.artifacts import Lab

LIVE, REPLAY, BOTH, CANNOT = "live", "replay", "live and replay", "cannot"
LEFT_OUT = "left out"  # of a run, which goes on without it: a long notebook that there is nothing to replay of
# What a section's live steps import beyond PyTorch and transformers, which the lab asks for itself before a step.
LIVE_PACKAGES = {
    "02": ("sdg-hub", "openai", "fastapi", "uvicorn"),
    "03": ("trl", "peft", "datasets", "accelerate"),
    "04": ("peft",),
}


@dataclass(frozen=True)
class Verdict:
    """What a notebook will do here, and why it will not run live where it does not.

    Of its `steps` results `stored_live` were computed here and `placed` copied here from the prebuilt ones.
    """

    notebook: str
    state: str
    because: str
    stored_live: int
    stored_prebuilt: int
    steps: int
    placed: int = 0


@dataclass(frozen=True)
class Findings:
    """What stands in the way, for the verdicts: packages by name, the endpoint's and the models' faults in words."""

    missing: frozenset[str] = frozenset()
    replay_missing: tuple[str, ...] = ()
    endpoint: str = ""
    models: dict[str, str] = field(default_factory=dict)
    lab: str = ""


def judge(settings: Settings, findings: Findings, names: Sequence[str] = SERIES, full: bool = False) -> list[Verdict]:
    """A verdict for each notebook, in order: a later one may read what an earlier one will have made.

    A long notebook is replayed or left out, as by `make lab`, unless `full` says that it is computed too.
    """
    lab = lab_of(settings)
    verdicts: list[Verdict] = []
    coming: set[str] = set()
    for section in sections(settings.root, names):
        verdict = _verdict(settings, lab, findings, section, coming, full)
        verdicts.append(verdict)
        if verdict.state not in (CANNOT, LEFT_OUT):
            coming |= {_file(step.artifact) for step in section.steps}
    return verdicts


def lab_of(settings: Settings) -> Lab | None:
    """The lab, or None in an environment in which it cannot be imported."""
    try:
        from adaptlab.artifacts import Lab

        return Lab(settings, notebook="doctor", say=lambda text: None)
    except ImportError:
        return None


def _verdict(
    settings: Settings, lab: Lab | None, findings: Findings, section: Section, coming: set[str], full: bool
) -> Verdict:
    """What one notebook will do."""
    here = [_stored(settings, step.artifact, live=True) for step in section.steps]
    placed = sum(_placed(settings, step.artifact) for step, found in zip(section.steps, here, strict=True) if found)
    prebuilt = sum(_stored(settings, step.artifact, live=False) for step in section.steps)
    computed = section.path not in LONG or (full and settings.mode != "prebuilt")
    state, because = _state(settings, lab, findings, section, coming, computed)
    if settings.mode == "auto" and state == LIVE and section.steps and placed == len(section.steps):
        state, because = REPLAY, "adaptlab checkpoint put its results here"
    return Verdict(section.name, state, because, sum(here) - placed, prebuilt, len(section.steps), placed)


def _long_state(settings: Settings, section: Section) -> tuple[str, str]:
    """What a run makes of a long notebook that it does not compute."""
    from adaptlab.capture import has_results

    if has_results(settings, section.name):
        return REPLAY, "" if settings.mode == "prebuilt" else "it is long; make lab-full computes it"
    return LEFT_OUT, "it is long and nothing of it is prebuilt yet; make lab-full computes it"


def _state(
    settings: Settings, lab: Lab | None, findings: Findings, section: Section, coming: set[str], computed: bool
) -> tuple[str, str]:
    """The state, with the first reason against a live run; without `make lab-full` a long one is not `computed`."""
    if findings.lab:
        return CANNOT, findings.lab
    if findings.replay_missing or lab is None:
        return CANNOT, f"{some(findings.replay_missing or sorted(findings.missing))} not installed"
    if not computed:
        return _long_state(settings, section)
    if "workbench.questions(" in section.code and (fault := _benchmark_fault(lab)):
        return CANNOT, fault
    for name in section.reads:
        if not (_stored(settings, name, live=True) or _stored(settings, name, live=False) or _file(name) in coming):
            return CANNOT, f"it reads {_file(name)}, which is not there and cannot be made here"
    return _steps_state(settings, lab, findings, section)


def _steps_state(settings: Settings, lab: Lab, findings: Findings, section: Section) -> tuple[str, str]:
    """The state of a notebook that can start: live, replay, both, or cannot, by its steps."""
    states: set[str] = set()
    because = ""
    for step in section.steps:
        state, why = _step_state(settings, lab, findings, section.number, step)
        if state == CANNOT:
            return CANNOT, why
        states.add(state)
        because = because or why
    if not states:
        return (REPLAY if settings.mode == "prebuilt" else LIVE), ""
    return (states.pop() if len(states) == 1 else BOTH), because


def _step_state(settings: Settings, lab: Lab, findings: Findings, number: str, step: Step) -> tuple[str, str]:
    """Whether one step is computed, replayed or impossible here, as `Lab.step` would decide it."""
    if settings.mode == "prebuilt":
        if _stored(settings, step.artifact, live=False):
            return REPLAY, ""
        return CANNOT, f"there is no prebuilt {_file(step.artifact)} for the profile {settings.profile.name}"
    specs = [settings.model(name) for name in step.models]
    needs = step.needs if step.needs is not None else (("torch", "transformers") if specs else ())
    obstacle = lab.obstacle(specs, needs)
    if obstacle is None:
        stop = _stop(settings, findings, number, specs)
        return (CANNOT, stop) if stop else (LIVE, "")
    if settings.mode == "auto" and _stored(settings, step.artifact, live=False):
        return REPLAY, obstacle
    return (
        CANNOT,
        f"{obstacle}, and there is no prebuilt {_file(step.artifact)}" if settings.mode == "auto" else obstacle,
    )


def _stop(settings: Settings, findings: Findings, number: str, specs: Sequence[ModelSpec]) -> str:
    """What would stop a step after it began: an endpoint that does not answer, weights or packages that are missing."""
    for spec in specs:
        if spec.remote and findings.endpoint:
            return findings.endpoint
        if spec.name in findings.models:
            return findings.models[spec.name]
    wanted = list(LIVE_PACKAGES.get(number, ())) if specs else []
    if number in ("03", "04") and specs and settings.profile.quantisation:
        wanted.append("bitsandbytes")
    missing = [name for name in wanted if name in findings.missing]
    return f"{some(missing)} not installed" if missing else ""


def _benchmark_fault(lab: Lab) -> str:
    """Why there are no questions to ask; empty if there are."""
    from adaptlab import workbench

    try:
        path = workbench.benchmark_path(lab)
    except LabError as error:
        return str(error).rstrip(".")
    return "" if path.is_file() else f"LAB_BENCHMARK names {path}, which does not exist"


def _file(name: str) -> str:
    """The file name of an artifact; the bare name where the registry cannot be imported."""
    try:
        from adaptlab.kinds import artifact_of

        return artifact_of(name).file
    except ImportError:
        return name


def _stored(settings: Settings, name: str, *, live: bool) -> bool:
    """Whether a result and its sidecar lie in the live or in the prebuilt folder."""
    if live and settings.mode == "prebuilt":
        return False
    path = (settings.live_dir if live else settings.prebuilt_dir) / _file(name)
    return path.exists() and path.with_name(f"{path.name}.provenance.json").exists()


def _placed(settings: Settings, name: str) -> bool:
    """Whether a result among this machine's own is a copy of a prebuilt one."""
    from adaptlab.provenance import read_sidecar

    try:
        return read_sidecar(settings.live_dir / _file(name)).origin == "prebuilt"
    except LabError:
        return False


def some(names: Sequence[str], most: int = 4) -> str:
    """The first few names and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
