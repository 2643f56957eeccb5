"""What this machine can run, on one screen: the environment, the endpoint, the models, and a verdict for each notebook.

Everything is asked at once and within seconds. Only the standard library is needed, so that an environment in which
nothing is installed yet is told what it lacks.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from adaptlab import pins, probes
from adaptlab.runnable import BOTH, CANNOT, LIVE, REPLAY, Findings, Verdict, judge, lab_of, some
from adaptlab.sections import SERIES
from config import Endpoint, LabError, ModelSpec, Settings

SECONDS = 10.0
STARTING = 10.0  # seconds that loading the endpoint client may take on a busy machine
OK, NOTE, FAULT, WRONG = "ok", "note", "fault", "wrong setting"


@dataclass(frozen=True)
class Check:
    """One line of the screen. `state` is ok, note (works, but know it), fault, or wrong setting."""

    name: str
    state: str
    said: str


@dataclass(frozen=True)
class Report:
    """Everything that the doctor found. `obstacles` are what keeps a live run from being whole, each once."""

    checks: list[Check]
    verdicts: list[Verdict]
    obstacles: list[str]

    @property
    def code(self) -> int:
        """0 if every notebook can run, 1 if one cannot, 2 if a setting is wrong."""
        if any(check.state == WRONG for check in self.checks):
            return 2
        return 1 if any(verdict.state == CANNOT for verdict in self.verdicts) else 0


# ---------------------------------------------------------------------------------------------------- the whole


def examine(settings: Settings, seconds: float = SECONDS, names: Sequence[str] = SERIES, full: bool = False) -> Report:
    """Ask everything at once, at most `seconds` for what lies beyond this process, and judge the notebooks.

    With `full` the long notebooks are judged like the others, else as `make lab` treats them.
    """
    specs = list(dict.fromkeys((settings.student, settings.teacher, settings.judge)))
    jobs: dict[str, Any] = {"gpus": (probes.gpus, probes.GPU_SECONDS + 1), "hub": (_hub, probes.HUB_SECONDS)}
    asks = settings.endpoint.configured and settings.endpoint.model and settings.mode != "prebuilt"
    endpoints = [replace(settings.endpoint, url=url, more_urls=()) for url in settings.endpoint.urls]
    if asks:
        for each in endpoints:
            jobs[f"endpoint {each.url}"] = (partial(probes.ask_endpoint, each, seconds), seconds + STARTING)
    found = probes.together(jobs)
    address, online = found["hub"] if isinstance(found.get("hub"), tuple) else (probes.hub_address(), False)
    weights = probes.together(
        {
            spec.name: (partial(probes.weights, spec, settings.root, online), probes.HUB_SECONDS + 1)
            for spec in specs
            if not spec.remote
        }
    )
    environment, findings = _environment(settings)
    answers = [
        _endpoint(settings, each, bool(asks), found.get(f"endpoint {each.url}"), seconds)
        for each in endpoints or [settings.endpoint]
    ]
    faults_said = [fault for _, fault in answers]
    said = faults_said[0] if all(faults_said) else ""  # one that answers is enough
    models, faults = _models(settings, specs, weights)
    needed = sum(w.size or 0 for w in weights.values() if isinstance(w, probes.Weights) and not w.here)
    checks = [
        *environment,
        _gpu(settings, found.get("gpus") or []),
        *_memory(),
        _disk(settings, needed),
        _network(settings, address, online, specs),
        *(answer for answer, _ in answers),
        *models,
    ]
    findings = Findings(findings.missing, findings.replay_missing, said, faults, findings.lab)
    verdicts = judge(settings, findings, names, full)
    return Report(checks, verdicts, _obstacles(settings, findings))


def as_json(settings: Settings, report: Report) -> dict[str, Any]:
    """The report for a program."""
    stored = sum(verdict.stored_prebuilt for verdict in report.verdicts)
    return {
        "profile": settings.profile.name,
        "why": settings.why,
        "mode": settings.mode,
        "document": settings.document.name,
        "python": platform.python_version(),
        "checks": [asdict(check) for check in report.checks],
        "notebooks": [asdict(verdict) for verdict in report.verdicts],
        "obstacles": report.obstacles,
        "prebuilt": stored > 0,
        "exit_code": report.code,
    }


def screen(settings: Settings, report: Report) -> str:
    """The report for a person."""
    marks = {OK: "ok", NOTE: "note", FAULT: "FAULT", WRONG: "WRONG"}
    wide = max(len(check.name) for check in report.checks)
    lines = [
        "Model Adaptation Lab: doctor",
        f"  profile {settings.profile.name} ({settings.why}), mode {settings.mode}, document {settings.document.name}",
        *(f"  {marks[check.state]:<5}  {check.name:<{wide}}  {check.said}" for check in report.checks),
        "",
    ]
    states = {LIVE: "will run live", REPLAY: "will replay", BOTH: "will run live and replay", CANNOT: "CANNOT"}
    for verdict in report.verdicts:
        state = states.get(verdict.state, verdict.state) + (f": {verdict.because}" if verdict.because else "")
        lines.append(f"  {verdict.notebook[:2]}  {_stem(verdict.notebook):<22}  {state} ({_stored(verdict)})")
    closing = {0: "Every notebook can run.", 1: "Not every notebook can run.", 2: "A setting is wrong."}
    return "\n".join([*lines, closing[report.code], *_way_out(settings, report)])


def _stem(notebook: str) -> str:
    """A notebook's name without its folder."""
    return notebook.rpartition("/")[2]


def _stored(verdict: Verdict) -> str:
    """How many of a notebook's results are there, by where they come from."""
    kinds = {"computed here": verdict.stored_live, "put here by checkpoint": verdict.placed}
    told = {**{words: count for words, count in kinds.items() if count}, "prebuilt": verdict.stored_prebuilt}
    return "results: " + ", ".join(f"{count} of {verdict.steps} {words}" for words, count in told.items())


def _way_out(settings: Settings, report: Report) -> list[str]:
    """What works all the same where a notebook cannot run as things are."""
    if report.code != 1 or settings.mode == "prebuilt":
        return []
    shown = settings.prebuilt_dir if settings.prebuilt_dir.is_dir() else settings.prebuilt_root / "mini" / settings.slug
    return ["LAB_MODE=prebuilt replays the results that come with the lab."] if shown.is_dir() else []


def _obstacles(settings: Settings, findings: Findings) -> list[str]:
    """What a live run would lack, in the lab's own words where it has them."""
    lab = lab_of(settings)
    found: list[str | None] = [findings.lab, findings.endpoint, *findings.models.values()]
    if lab is not None:
        found += [lab.obstacle([settings.student], ("torch", "transformers")), lab.obstacle([settings.teacher])]
    return [text for text in dict.fromkeys(found) if text]


# --------------------------------------------------------------------------------------------------- the checks


def _environment(settings: Settings) -> tuple[list[Check], Findings]:
    """Python and the packages against the pins, and what is missing for a replay and for a live run."""
    root = settings.root
    fits, wanted = pins.python_fits(root / "pyproject.toml")
    python = Check("Python", OK if fits else FAULT, f"{platform.python_version()}, the lab takes {wanted}")
    locked, direct = pins.read(root / "requirements.txt"), pins.read(root / "requirements.in")
    replay = pins.read(root / "requirements-demo.txt")
    everything = {**locked, "torch": direct.get("torch", "")}
    compared = pins.compare(everything)
    needed = tuple(pins.compare(replay).missing)
    lab = "" if fits else f"the lab needs Python {wanted}"
    findings = Findings(frozenset(compared.missing), needed, lab=lab)
    return [python, _packages(compared, needed), *_others(compared)], findings


def _packages(compared: pins.Installed, replay_missing: Sequence[str]) -> Check:
    """How many of the pinned packages are here."""
    there = compared.total - len(compared.missing)
    said = f"{there} of {compared.total} pinned packages are installed"
    if not compared.missing:
        return Check("packages", OK, said)
    said += f"; missing: {some(compared.missing)}"
    if not replay_missing:
        return Check("packages", NOTE, f"{said}; what a replay needs is whole")
    return Check("packages", FAULT, f"{said}; `make lab` installs them")


def _others(compared: pins.Installed) -> list[Check]:
    """A line about packages in another version than the pinned one, if there are any."""
    if not compared.other:
        return []
    told = [f"{name} {have} (pinned {wanted})" for name, wanted, have in compared.other]
    return [Check("versions", NOTE, f"{len(told)} differ from the pins: {some(told)}")]


def _gpu(settings: Settings, found: Sequence[probes.Gpu]) -> Check:
    """The GPUs with their free memory."""
    needs = settings.profile.needs_gpu and settings.mode != "prebuilt"
    if not found:
        said = f"none; the profile {settings.profile.name} "
        return Check("GPU", NOTE if needs else OK, said + ("needs one for live steps" if needs else "needs none"))
    told = [f"{gpu.name}, {gpu.free:.0f} of {gpu.total:.0f} GB free, driver {gpu.driver}" for gpu in found]
    return Check("GPU", OK, "; ".join(told))


def _memory() -> list[Check]:
    """Free memory, where the system tells it."""
    found = probes.memory()
    if found is None:
        return []
    free, whole = (value / probes.GB for value in found)
    return [Check("memory", OK, f"{free:.1f} of {whole:.1f} GB free")]


def _disk(settings: Settings, needed: int) -> Check:
    """Free room where results go, against what has to be downloaded."""
    free = probes.disk_free(settings.outputs_dir)
    said = f"{free / probes.GB:.1f} GB free for results"
    if needed:
        said += f", {needed / probes.GB:.1f} GB of models are to be downloaded"
    return Check("disk", OK if free > needed else FAULT, said)


def _hub() -> tuple[str | None, bool]:
    """The hub's address, and whether it answers; a machine that is told to stay offline asks nothing."""
    address = probes.hub_address()
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
    return address, bool(address) and not offline and probes.reachable(str(address))


def _network(settings: Settings, address: str | None, online: bool, specs: Sequence[ModelSpec]) -> Check:
    """Whether the model hub answers, and whether that matters here."""
    matters = settings.mode != "prebuilt" and any(spec.repository for spec in specs)
    if online:
        return Check("network", OK, f"{address} answers" + ("" if matters else "; this profile does not need it"))
    said = f"{address} does not answer" if address else "the hub's client is not installed, so it was not asked"
    return Check("network", NOTE if matters else OK, said + ("" if matters else "; this profile does not need it"))


def _endpoint(settings: Settings, endpoint: Endpoint, asked: bool, answer: Any, seconds: float) -> tuple[Check, str]:
    """An endpoint's check, and its fault in words for the verdicts (empty if none)."""
    if not endpoint.configured:
        needs = settings.mode != "prebuilt" and (settings.teacher.remote or settings.judge.remote)
        local = "; the student's own base teaches and judges" if settings.own_teacher else "; the teacher here is local"
        said = "LAB_ENDPOINT_URL is not set" + ("" if needs else local)
        return Check("endpoint", NOTE if needs else OK, said), ""
    if not asked:
        why = "a replay asks nothing" if endpoint.model else "LAB_TEACHER_MODEL is not set, so it is not used"
        return Check("endpoint", NOTE, f"{_hidden(str(endpoint.url), endpoint.key)}: not asked, {why}"), ""
    if isinstance(answer, str):
        return Check("endpoint", OK, _hidden(f"{answer} at {endpoint.url}", endpoint.key)), ""
    said = str(answer) if answer is not None else f"The endpoint {endpoint.url} did not answer within {seconds:.0f} s."
    said = _hidden(said if isinstance(answer, LabError | None) else f"{type(answer).__name__}: {said}", endpoint.key)
    return Check("endpoint", WRONG if isinstance(answer, probes.TurnedAway) else FAULT, said), said.rstrip(".")


def _models(
    settings: Settings, specs: Sequence[ModelSpec], weights: dict[str, Any]
) -> tuple[list[Check], dict[str, str]]:
    """A line for each model, and the faults of those that cannot be had."""
    lines, faults = [], {}
    for spec in specs:
        if spec.remote:
            lines.append(_remote(settings, spec))
            continue
        found = weights.get(spec.name)
        if not isinstance(found, probes.Weights):
            found = probes.Weights(spec.name, False, None, f"{spec.name} could not be looked up in time")
        if found.fault:
            faults[spec.name] = found.fault
        size = f"{found.size / probes.GB:.2f} GB" if found.size else "size unknown"
        place = "" if spec.shipped else f", {spec.repository} ({spec.revision_text})"
        said = found.fault or ("present" if found.here else "to be downloaded")
        lines.append(Check("model", FAULT if found.fault else OK, f"{spec.name}{place}: {said}, {size}"))
    return lines, faults


def _remote(settings: Settings, spec: ModelSpec) -> Check:
    """A model behind the endpoint, or what has to be set before there is one."""
    roles = [role for role in ("teacher", "judge") if settings.model(role) == spec]
    who = " and ".join(roles)
    if settings.endpoint.configured and settings.endpoint.model:
        return Check("model", OK, f"{spec.name} ({who}): reached through the endpoint")
    said = f"{who}: LAB_ENDPOINT_URL and LAB_TEACHER_MODEL name none yet"
    return Check("model", OK if settings.mode == "prebuilt" else NOTE, said)


def _hidden(text: str, key: str | None) -> str:
    """`text` without the key, whoever quoted it."""
    return text.replace(key, "[key]") if key else text
