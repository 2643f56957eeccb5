"""The facilitator's guide: timing, what to ask, values to expect, two schedules; and notebooks for participants.

What to ask and to say comes from the cells tagged `facilitator`, exercises and their solutions from the cells tagged
so, every figure from the captured run. Long notebooks have their part of the guide, but no place in the schedules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adaptlab import disappointing, exercise_cells, on_track, sections
from adaptlab.artifacts import Lab
from adaptlab.capture import Manifest, read_manifest
from adaptlab.exercise_cells import Exercise
from adaptlab.files import atomic_write_text
from adaptlab.pages import page
from adaptlab.schedule import FULL_DAY, HALF_DAY, Slot, Topic, clock, plan
from adaptlab.sections import FACILITATOR, LONG, SERIES, Section
from config import LabError, Settings, settings as resolve

TALK = re.compile(r"\babout (\d+) minutes\b", re.IGNORECASE)


@dataclass(frozen=True)
class Notes:
    """What the guide says about one notebook; `said` are the facilitator cells with the heading above each.

    `run_minutes` is None where no run of it was captured.
    """

    section: Section
    promise: str
    said: list[tuple[str, str]]
    headings: list[str]
    run_minutes: float | None
    steps: list[tuple[str, float]] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    exercises: list[Exercise] = field(default_factory=list)
    knowledge: list[tuple[str, str]] = field(default_factory=list)

    @property
    def talk_minutes(self) -> float | None:
        """The minutes that the facilitator's cells name, together; None where they name none."""
        return float(sum(self.talk.values())) or None

    @property
    def talk(self) -> dict[str, int]:
        """The minutes that the facilitator's cells name, by the heading above them."""
        spent: dict[str, int] = {}
        for heading, text in self.said:
            for number in TALK.findall(text):
                spent[heading] = spent.get(heading, 0) + int(number)
        return spent

    @property
    def long(self) -> bool:
        """Whether it is computed by `make lab-full` alone."""
        return self.section.path in LONG


# --------------------------------------------------------------------------------------------------- collecting


def measured(settings: Settings) -> tuple[Settings, Manifest]:
    """The settings of the captured run that times and values come from: this profile's, else the mini profile's."""
    for candidate in (settings, resolve({"LAB_PROFILE": "mini", "LAB_MODE": "prebuilt"})):
        manifest = read_manifest(candidate.prebuilt_dir)
        if manifest is not None:
            return candidate, manifest
    raise LabError("There is no captured run to take times from: run make lab, then adaptlab capture.")


def collect(settings: Settings, names: Sequence[str] = SERIES) -> tuple[list[Notes], Manifest]:
    """The notes of every notebook, with times and values of the captured run."""
    source, manifest = measured(settings)
    lab = Lab(_replay(source), notebook="adaptlab guide")
    notes = [_notes(settings.root, name, lab, manifest) for name in names]
    return notes, manifest


def _replay(settings: Settings) -> Settings:
    """The same settings, in a replay."""
    return replace(settings, mode="prebuilt")


def _notes(root: Path, name: str, lab: Lab, manifest: Manifest) -> Notes:
    """One notebook's notes."""
    read = sections.section(root, name)
    heading, promise = "", ""
    headings: list[str] = []
    said: list[tuple[str, str]] = []
    for cell in sections.cells(root / name):
        source = cell["source"].strip()
        if cell.get("cell_type") != "markdown" or not source:
            continue
        if FACILITATOR in cell.get("metadata", {}).get("tags", []):
            said.append((heading, source))
            continue
        heading = sections.heading_of(source) or heading
        headings.append(heading)
        promise = promise or _first_paragraph(source)
    seconds = manifest.notebooks.get(read.name)
    return Notes(
        read,
        promise,
        said,
        list(dict.fromkeys(headings)),
        None if seconds is None else seconds / 60,
        _step_minutes(read, lab, manifest),
        on_track.values(read, lab, manifest),
        on_track.records(read, lab, manifest),
        exercise_cells.exercises(root / name),
        exercise_cells.knowledge(root / name),
    )


def _first_paragraph(source: str) -> str:
    """The first paragraph of a cell that is no heading and no badge."""
    paragraphs = [text.strip() for text in source.split("\n\n")]
    return next((text for text in paragraphs if text and not text.startswith(("#", "[!["))), "")


def _step_minutes(section: Section, lab: Lab, manifest: Manifest) -> list[tuple[str, float]]:
    """Minutes of computing under each heading of a notebook, from the sidecars of its results."""
    spent: dict[str, float] = {}
    for step in section.steps:
        entry = manifest.artifacts.get(_stored_name(step.artifact, manifest))
        if entry is not None:
            spent[step.heading] = spent.get(step.heading, 0.0) + entry.wall_seconds / 60
    return list(spent.items())


def _stored_name(name: str, manifest: Manifest) -> str:
    """The name under which a step's result stands in a manifest."""
    bare = name.rstrip("/")
    return next((file for file in manifest.artifacts if bare in (file, Path(file).stem)), bare)


# ----------------------------------------------------------------------------------------------------- writing


def markdown(settings: Settings, start: str = "09:00", names: Sequence[str] = SERIES) -> str:
    """The whole guide."""
    notes, manifest = collect(settings, names)
    origin = f"profile {manifest.profile}, {manifest.device}, {manifest.date}"
    lines = [
        "# Facilitator's guide",
        "",
        f"Times and values: captured run, {origin}.",
        *_foreign(settings, manifest),
        "",
        "## Before the day",
        "",
        "- `adaptlab doctor` on the machine that participants use; every notebook has to be able to run.",
        "- `adaptlab rehearse` once on the real hardware, unattended: it runs the series live and checks the results.",
        "  With `--dry-run` it only says what it would do.",
        "- `adaptlab guide --participants FOLDER` for notebooks without these notes.",
        "- A room that is behind: `adaptlab checkpoint 03` puts a workbench at the start of section 03. Results that",
        "  participants computed stay; what was filled in is labelled prebuilt in every table. In a cell of a notebook",
        "  the same is `!adaptlab checkpoint 03`.",
        *_outside(notes),
        "",
        *_day(notes, HALF_DAY.name, plan(HALF_DAY, _topics(notes), clock(start))),
        *_day(notes, FULL_DAY.name, plan(FULL_DAY, _topics(notes), clock(start))),
        *(line for note in notes for line in _pages(note)),
        *_disappointing(settings),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _foreign(settings: Settings, manifest: Manifest) -> list[str]:
    """A line where the figures are another profile's."""
    wanted = settings.shown_for or settings.profile.name
    if manifest.profile == wanted:
        return []
    return [
        "",
        f"**Nothing was captured for the profile {wanted} yet: every time and value below is of the "
        f"profile {manifest.profile}. Run `adaptlab rehearse --profile {wanted}` once on the real "
        "GPU.**",
    ]


def _outside(notes: Sequence[Notes]) -> list[str]:
    """A line for each long notebook, which no schedule has room for."""
    return [
        f"- Not in the schedules: {note.section.path}, about {note.talk_minutes or 0:.0f} minutes as a replay, for a "
        "room that has the time, or to take home."
        for note in notes
        if note.long
    ]


def _topics(notes: Sequence[Notes]) -> list[Topic]:
    """What the schedules are made of."""
    return [
        Topic(note.section.number, note.section.title, note.talk_minutes, note.run_minutes or 0.0, len(note.exercises))
        for note in notes
        if not note.long
    ]


def _day(notes: Sequence[Notes], name: str, slots: Sequence[Slot]) -> list[str]:
    """One schedule as a table; where computing does not fit, what to do."""
    lines = [f"## {name}", "", "| time | what | computing | on track at the end of it |", "|---|---|---|---|"]
    values = {note.section.number: note.values for note in notes if not note.long}
    for slot in slots:
        computing = f"{slot.run_minutes:.1f} min" if slot.number else ""
        track = "; ".join(values.get(slot.number, [])[:3])
        lines.append(f"| {slot.begin}\u00a0to\u00a0{slot.end} | {slot.title} | {computing} | {track} |")
    late = [slot for slot in slots if slot.number and slot.run_minutes > slot.minutes]
    lines += [
        f"\nSection {slot.number} computes longer than its time: start it before, or use `adaptlab checkpoint`."
        for slot in late
    ]
    return [*lines, ""]


def _pages(note: Notes) -> list[str]:
    """The part of the guide about one notebook."""
    talk = f"about {note.talk_minutes:.0f} minutes of talk, " if note.talk_minutes else ""
    run = "computing not measured yet" if note.run_minutes is None else f"{note.run_minutes:.1f} minutes of computing"
    lines = [f"## Section {note.section.title}", "", note.promise, ""]
    lines += [f"*Time:* {talk}{run}{', by `make lab-full` alone' if note.long else ''}.", "", *_times(note)]
    for heading, text in note.said:
        lines += [f"### At {heading}" if heading else "### At the start", "", text, ""]
    for exercise in note.exercises:
        lines += [f"### {exercise.title}", "", f"*Hint:* {exercise.hint}", ""]
        lines += ["*Solution:*", "", "```python", exercise.solution, "```", ""]
    if note.knowledge:
        lines += ["### Check your understanding", ""]
        lines += [f"- **{question}** {' '.join(answer.split())}" for question, answer in note.knowledge]
        lines.append("")
    if note.values:
        lines += ["### Are you on track?", "", *(f"- {value}" for value in note.values)]
        lines += [f"- stored: {'; '.join(note.records)}"] if note.records else []
        lines.append("")
    return lines


def _times(note: Notes) -> list[str]:
    """Minutes of talk and of computing under each heading that has any, in the order of the notebook."""
    computing = dict(note.steps)
    headings = [heading for heading in note.headings if heading in note.talk or heading in computing]
    if not headings:
        return []
    lines = ["| under | talk | computing |", "|---|---|---|"]
    for heading in headings:
        talk = f"{note.talk[heading]} min" if heading in note.talk else ""
        run = f"{computing[heading]:.1f} min" if heading in computing else ""
        lines.append(f"| {heading} | {talk} | {run} |")
    return [*lines, ""]


def _disappointing(settings: Settings) -> list[str]:
    """What this run has to say to a room that expected something else."""
    source, manifest = measured(settings)
    if "evaluation.json" not in manifest.artifacts:
        return []
    return disappointing.lines(Lab(_replay(source), notebook="adaptlab guide").result("evaluation").data)


def export(settings: Settings, folder: Path, start: str = "09:00") -> list[Path]:
    """Write `guide.md` and `guide.html` into `folder`."""
    text = markdown(settings, start)
    return [
        atomic_write_text(folder / "guide.md", text),
        atomic_write_text(folder / "guide.html", page(text, "Facilitator's guide")),
    ]


# ------------------------------------------------------------------------------------------------- participants


def participants(root: Path, folder: Path, force: bool = False, names: Sequence[str] = SERIES) -> list[Path]:
    """Write the notebooks without the facilitator's cells below `folder`, all or none of them.

    Raises a LabError where a file is there already (a participant may have worked in it) and `force` is not given,
    and for a folder that would put them over the lab's own notebooks.
    """
    places = [folder / name for name in names]
    for name, place in zip(names, places, strict=True):
        if place.resolve() == (root / name).resolve():
            raise LabError(f"{folder} holds the lab's own notebooks: name another folder for the participants'.")
        if place.exists() and not force:
            raise LabError(f"{place} is there already: name another folder, or add --force to write over it.")
    texts = [_without_notes(root / name) for name in names]
    return [atomic_write_text(place, text) for place, text in zip(places, texts, strict=True)]


def _without_notes(path: Path) -> str:
    """A notebook's text without the cells that are tagged for the facilitator."""
    sections.cells(path)  # a sentence for what is no notebook
    notebook: dict[str, Any] = json.loads(path.read_text("utf-8"))
    notebook["cells"] = sections.for_participants(notebook["cells"])
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"
