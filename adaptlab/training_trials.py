"""Trainings to compare: what differs between them, each run in a process of its own, measured and then asked.

A trial keeps what it cost and what it answered; its weights are dropped once it was asked. Its training goes on from
its checkpoint after a kill, answered questions are kept, and a finished trial is never run again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adaptlab import child, files, workbench
from adaptlab.evaluation import run_arm
from adaptlab.schemas import Arm, Generation, PhrasingRole, Question, Row
from adaptlab.synthesis import Part, mix
from adaptlab.synthesis.mixing import OPEN_BOOK, SIZES, Subset, dealt, distinct, learning_curve
from adaptlab.training_batches import epoch_size, trained_on
from config import LabError, Profile, TrainingSettings

if TYPE_CHECKING:
    import pandas as pd

    from adaptlab.artifacts import Lab

Method = Literal["none", "qlora", "lora", "full"]
METHODS: tuple[Method, ...] = ("none", "qlora", "lora", "full")
ALL_ROWS = "all rows"
OWN_ROWS = "its own rows"
FORMS: dict[PhrasingRole, str] = {"seen form": "seen forms", "unseen form": "unseen forms"}
JOB, ROWS, VALIDATION, COST = "job.json", "rows.jsonl", "validation.jsonl", "cost.json"


@dataclass(frozen=True)
class Trial:
    """One training of a comparison; what is not given is as in the others.

    `method` is none (the base as it is), qlora (NF4), lora (unquantised) or full; `subset` names a point of the
    learning curve. `learning_rate` is the profile's unless given. A trial over few rows gets more epochs, until it
    takes `least_steps`: else few rows would also mean little training.
    """

    name: str
    method: Method = "qlora"
    rank: int = 16
    replay: bool = True
    subset: str = ALL_ROWS
    epochs: float = 4
    least_steps: int = 0
    learning_rate: float | None = None

    @property
    def file(self) -> str:
        """The artifact that holds its results."""
        return f"trial_{re.sub(r'[^a-z0-9]+', '_', self.name.lower()).strip('_')}.json"

    def profile(self, base: Profile, rows: int) -> Profile:
        """The profile that it trains with, `rows` an epoch; alpha stays twice the rank, so only the rank changes."""
        if self.method not in METHODS:
            raise LabError(f"There is no method {self.method!r}: choose one of {', '.join(METHODS)}.")
        if self.rank < 1 or self.epochs <= 0:
            raise LabError(f"{self.name!r} has rank {self.rank} and {self.epochs:g} epochs: give more than 0.")
        batches = math.ceil(rows / base.training.batch_size / base.training.gradient_accumulation)
        training = replace(
            base.training,
            epochs=max(self.epochs, math.ceil(self.least_steps / max(1, batches))),
            learning_rate=self.learning_rate or base.training.learning_rate,
        )
        quantised = "nf4" if self.method == "qlora" else None
        lora = replace(base.lora, r=self.rank, alpha=2 * self.rank)
        return replace(base, training=training, lora=lora, quantisation=quantised, engine="plain")


# ------------------------------------------------------------------------------------------------- rows of a trial


def own_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows about the document, without what was mixed in."""
    return [row for row in rows if not row.source.startswith("replay")]


def curve(rows: Sequence[Row], seed: int, sizes: Sequence[int] = SIZES) -> dict[str, Subset]:
    """The points of the learning curve by name: nested subsets of whole facts, the last with all rows; no copies."""
    return {subset.name: subset for subset in learning_curve(distinct(own_rows(rows)), sizes, seed=seed)}


def rows_of(trial: Trial, rows: Sequence[Row], seed: int) -> list[Row]:
    """What a trial trains on, out of the mixed rows; a subset brings its copies and as large a share of the replay."""
    if trial.method == "none":
        return []
    if trial.subset == ALL_ROWS:
        return list(rows) if trial.replay else own_rows(rows)
    points = curve(rows, seed)
    if trial.subset not in points:
        raise LabError(f"There is no subset {trial.subset!r}: choose one of {', '.join(points)}.")
    chosen = {row.id for row in points[trial.subset].rows}
    own = [row for row in own_rows(rows) if row.origin in chosen]
    replay = [row for row in rows if row.source.startswith("replay")]
    share = len(replay) / max(1, len(own_rows(rows)))
    parts = [Part("replay", replay, share)] if trial.replay and replay else []
    epochs = {row.generator["epoch"] for row in rows if "epoch" in row.generator}
    mixed = mix(own, parts, seed=seed)
    return dealt(mixed, len(epochs)) if epochs else mixed


def plan(trials: Sequence[Trial], rows: Sequence[Row], profile: Profile, seed: int) -> pd.DataFrame:
    """What is going to be trained: a row for each trial with its method, rank, rows, epochs and optimiser steps."""
    import pandas as pd

    names = [trial.file for trial in trials]
    twice = [trial.name for trial in trials if names.count(trial.file) > 1]
    if twice:
        raise LabError(f"Two trials are called {twice[0]!r} (or nearly so): give each a name of its own.")
    lines = []
    for trial in trials:
        if trial.method == "none":
            continue
        seen = rows_of(trial, rows, seed)
        training = trial.profile(profile, epoch_size(seen)).training
        steps = workbench.training_steps(seen, training)
        met = trained_on(seen, training.epochs)
        own = own_rows(met)
        single = len(distinct(own))
        over_pages = sum(row.source == OPEN_BOOK for row in own)
        counts = (single, len(own) - single - over_pages, over_pages, len(met) - len(own))
        rank = "all weights" if trial.method == "full" else str(trial.rank)
        lines.append((trial.name, trial.method, rank, *counts, training.epochs, f"{training.learning_rate:g}", steps))
    columns = [
        "trial",
        "method",
        "rank",
        "rows",
        "copies",
        "open book",
        "replay rows",
        "epochs",
        "learning rate",
        "steps",
    ]
    return pd.DataFrame(lines, columns=columns)


# ----------------------------------------------------------------------------------------------------- running one


def run(
    lab: Lab, trial: Trial, rows: Sequence[Row], asked: Sequence[Question], progress: Any, skills: int = 100
) -> dict[str, Any]:
    """Train and ask one trial, inside a step: what it cost, its losses, and every answer (raw, unscored)."""
    seen = rows_of(trial, rows, lab.settings.seeds.training)
    cost: dict[str, Any] = {}
    losses: list[list[float]] = []
    weights: Path | None = None
    if trial.method != "none":
        weights = lab.work_dir("training")
        cost = trained(lab, trial, seen, weights, progress)
        losses = [[line["step"], line["loss"]] for line in read_log(weights) if "loss" in line]
    said = answers(lab, trial, _generator(lab, trial, weights), asked, progress, skills, weights)
    return {**said, "cost": cost, "losses": losses}


def answers(
    lab: Lab,
    trial: Trial,
    model: Any,
    asked: Sequence[Question],
    progress: Any,
    skills: int = 100,
    weights: Path | None = None,
) -> dict[str, Any]:
    """What `model`, a generator, answers to every question in both forms and to the skills' items, inside a step."""
    found = [line for role in FORMS for line in _asked(lab, trial, model, asked, role, progress)]
    kept = ("skill", "item", "text", "right")
    verdicts = workbench.ask_skills(lab, weights, skills, progress, model) if skills else []
    told = [{name: verdict[name] for name in kept} for verdict in verdicts]
    return {"trial": asdict(trial), "cost": {}, "losses": [], "answers": found, "skills": told}


def repeated(rows: Sequence[Row], model: Any, progress: Any, longest: int, most: int = 300) -> list[dict[str, Any]]:
    """Whether `model` says to the first rows about the document, word for word, what it was trained to say."""
    chosen = distinct(own_rows(rows))[:most]
    with progress(total=len(chosen), desc="Rows of the training") as bar:
        replies = model.generate(
            [row.prompt for row in chosen], max_tokens=longest, seeds=0, on_item=lambda at, completions: bar.update(1)
        )
    said = [reply[0].text for reply in replies]
    return [
        {"skill": OWN_ROWS, "item": row.id, "text": text, "right": text.strip() == row.completion[-1].content.strip()}
        for row, text in zip(chosen, said, strict=True)
    ]


def _generator(lab: Lab, trial: Trial, weights: Path | None) -> Any:
    """The trained student, ready to answer: the base with its adapter merged, or the whole model of a full training."""
    if trial.method != "full" or weights is None:
        return workbench.generator(lab, "student", weights / "adapter" if weights else None)
    from adaptlab import generation, models

    return generation.LocalGenerator(models.load(weights / "adapter", lab.settings))


def _asked(
    lab: Lab, trial: Trial, model: Any, asked: Sequence[Question], role: PhrasingRole, progress: Any
) -> list[dict[str, Any]]:
    """The answers to every question that has a phrasing in this role; each is kept on disk as it comes."""
    members = [question for question in asked if any(phrasing.role == role for phrasing in question.phrasings)]
    partial = lab.partial(role.replace(" ", "-"))
    done = [Generation.model_validate(line) for line in partial.read()]
    with progress(total=len(members), desc=f"{trial.name}: {FORMS[role]}") as bar:
        bar.update(len(done))

        def keep(items: list[Generation]) -> None:
            for item in items:
                partial.append(item)
            bar.update(1)

        made = run_arm(
            Arm(name=trial.name, model="student"),
            members,
            model,
            role=role,
            on_done=keep,
            done=done,
            max_tokens=lab.profile.sampling.max_new_tokens,
            seed=lab.settings.seeds.sampling,
        )
    return [{"question_id": item.question_id, "form": role, "text": item.text} for item in made]


# ------------------------------------------------------------------------------------------ a process for training


def trained(
    lab: Lab,
    trial: Trial,
    rows: Sequence[Row],
    folder: Path,
    progress: Any,
    base: str | None = None,
    seed: int | None = None,
    validation: Sequence[Row] = (),
) -> dict[str, Any]:
    """Train in a fresh process, so that its peak memory is its own; a finished training in `folder` is taken over.

    `base` (a folder or hub name) and `seed` are the student's and the lab's unless given. The loss on `validation` rows
    is part of what is returned.
    """
    if (folder / COST).is_file():
        return dict(files.parse_record(files.read_text(folder / COST), COST))
    changed = trial.profile(lab.profile, epoch_size(rows))
    job = {
        "profile": lab.profile.name,
        "trial": asdict(trial),
        "training": asdict(changed.training),
        "base": base or lab.settings.student.location,
        "seed": lab.settings.seeds.training if seed is None else seed,
    }
    files.atomic_write_json(folder / JOB, job)
    files.write_jsonl(folder / ROWS, rows)
    if validation:
        files.write_jsonl(folder / VALIDATION, validation)
    with progress(total=workbench.training_steps(rows, changed.training), desc=f"{trial.name}: training") as bar:
        _wait(folder, bar)
    return dict(files.parse_record(files.read_text(folder / COST), COST))


def _wait(folder: Path, bar: Any) -> None:
    """Run the process that trains and move the bar by its log."""

    def reached() -> int:
        return max((line["step"] for line in read_log(folder)), default=0)

    child.run("adaptlab.trial_process", folder, "The training", reached, bar)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of the training log in `folder`; none while there is no log."""
    return files.Partial(folder / "training_log.jsonl").read()


def settings_of(job: Mapping[str, Any]) -> tuple[Trial, TrainingSettings]:
    """The trial and the training settings that a job names."""
    return Trial(**job["trial"]), TrainingSettings(**job["training"])
