"""Several models under one protocol: found by a line of the profile, searched, trained and asked one at a time.

Whatever loads a model is a process of its own, so that its memory is measured alone and goes back as a whole. A model
that cannot be loaded, trained or asked is reported with its sentence, and the others go on.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptlab import child, files, memory, probes, training_trials, workbench
from adaptlab.arms import messages_for
from adaptlab.artifacts import MODEL_LIBRARIES, Lab, Result
from adaptlab.ask_process import ANSWERS, COST, JOB, PROMPTS, Prompt
from adaptlab.schemas import Generation, Message, Question, Row
from adaptlab.training_batches import split_by_wording, trained_on
from adaptlab.training_trials import Trial
from config import MODELS, LabError, ModelSpec

if TYPE_CHECKING:
    import pandas as pd

SUMMARY = "multi_model_eval"
NO_CONTEXT, RETRIEVED, SKILL = "no context", "retrieved", "skill"
HELD_OUT = 0.1  # share of the rows, by wording, that judge the learning rates
SLACK, SLACK_SHARE = 256 * 2**20, 0.1  # bytes, and share of a model's peak, that may be missing after it ended
SETTLING = 15.0  # seconds in which a card takes back what a dead process held


@dataclass(frozen=True)
class Asking:
    """What every model is asked: the questions alone and with the recap's `pages` (its stored answers), and skills.

    `skill_items` of each general skill; `alone` questions of each kind are also asked one at a time, for the wait.
    """

    questions: Sequence[Question]
    pages: Sequence[Any]
    skill_items: int = 25
    alone: int = 8


class ModelFailed(LabError):
    """One of several models could not be loaded, trained or asked; the others go on."""


# ----------------------------------------------------------------------------------------------- the models


def specs(lab: Lab, names: Sequence[str]) -> list[ModelSpec]:
    """The models behind `names`, each a name of MODELS, a folder with weights, or a repository of the hub (with a `/`).

    All compute in the profile's precision. Raises a LabError for a name that is none of these, or that comes twice.
    """
    found = [replace(_spec(lab, name), precision=lab.profile.precision) for name in names]
    slugs = [_slug(spec) for spec in found]
    twice = [spec.name for spec in found if slugs.count(_slug(spec)) > 1]
    if twice:
        raise LabError(f"Two models are called {twice[0]!r} (or nearly so): compare each once, under its own name.")
    return found


def _spec(lab: Lab, name: str) -> ModelSpec:
    """One model by whatever names it."""
    folder = lab.settings.root / name
    if name in MODELS:
        return lab.settings.model(name)
    if folder.is_dir():
        return ModelSpec(folder.resolve().name, path=str(name))
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return ModelSpec(name.rpartition("/")[2], repository=name)
    raise LabError(f"There is no model {name!r}: name one of {', '.join(MODELS)}, a folder, or owner/name on the hub.")


def _slug(spec: ModelSpec) -> str:
    return re.sub(r"[^a-z0-9]+", "_", spec.name.lower()).strip("_")


def file_of(spec: ModelSpec, part: str) -> str:
    """The artifact that holds one part of a model's results."""
    return f"compared_{_slug(spec)}_{part.replace(' ', '_')}.json"


class Compared:
    """What came of each model: the results of those that went through, and a sentence for each that did not."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.searches: dict[str, Result] = {}
        self.runs: dict[str, list[Result]] = {}
        self.failed: dict[str, str] = {}

    @contextmanager
    def reporting(self, spec: ModelSpec) -> Iterator[list[Result]]:
        """A list for one model's results, its search first; a model that fails leaves a sentence and no result."""
        made: list[Result] = []
        try:
            yield made
        except ModelFailed as error:
            said = str(error).replace(spec.location, spec.name).replace(f"{self.lab.settings.root}/", "")
            self.failed[spec.name] = said
            self.lab.say(f"{spec.name} is left out. {said}")
            return
        self.searches[spec.name], *self.runs[spec.name] = made

    def check(self, spec: ModelSpec, file: str) -> None:
        """Raise ModelFailed where `file` can neither be computed here nor be replayed."""
        settings, obstacle = self.lab.settings, None
        if settings.mode != "prebuilt":
            obstacle = self.lab.obstacle([spec], MODEL_LIBRARIES)
            if obstacle is None:
                return
        replayed = settings.mode != "live" and (settings.prebuilt_dir / file).is_file()
        if spec.name in self._stored_failures:
            raise ModelFailed(self._stored_failures[spec.name])
        if not replayed and obstacle is not None:
            raise ModelFailed(f"{spec.name} cannot be loaded here: {obstacle}.")
        if not replayed and (settings.prebuilt_dir / f"{SUMMARY}.json").is_file():
            raise ModelFailed(f"{spec.name} is no part of the stored comparison: set LAB_MODE=auto to compute it.")

    @cached_property
    def _stored_failures(self) -> dict[str, str]:
        """The sentences of the models that failed in the stored comparison; none for a run that computes."""
        path = self.lab.settings.prebuilt_dir / f"{SUMMARY}.json"
        if self.lab.settings.mode == "live" or not path.is_file():
            return {}
        return {line["model"]: line["reason"] for line in json.loads(files.read_text(path))["failed"]}

    @property
    def results(self) -> list[Result]:
        """Every result of the models that went through; a LabError where none did."""
        if not self.runs:
            reasons = "; ".join(said.rstrip(".") for said in self.failed.values()) or "there is none"
            raise LabError(f"None of the models could be compared ({reasons}): put one of these right.")
        return [result for name, runs in self.runs.items() for result in (self.searches[name], *runs)]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The record of every run: each model's base first, then its adapters in the order of their seeds."""
        return [result.data for runs in self.runs.values() for result in runs]


def plan(
    lab: Lab,
    chosen: Sequence[ModelSpec],
    rows: Sequence[Row],
    rates: Sequence[float],
    search_epochs: float,
    seeds: Sequence[int],
    epochs: float,
) -> pd.DataFrame:
    """What is done with each model, before anything runs; each gets the same."""
    import pandas as pd

    training = lab.profile.training
    kept, held = split_by_wording(rows, HELD_OUT, lab.settings.seeds.training)
    short = workbench.training_steps(kept, replace(training, epochs=search_epochs))
    whole = workbench.training_steps(rows, replace(training, epochs=epochs))
    line = {
        "rates tried": ", ".join(f"{rate:g}" for rate in rates),
        "epochs each": search_epochs,
        "on rows": len(trained_on(kept, search_epochs)),
        "judged on rows": len(held),
        "seeds": len(seeds),
        "epochs": epochs,
        "rows": len(trained_on(rows, epochs)),
        "steps in all": len(rates) * short + len(seeds) * whole,
    }
    where = [spec.repository or "a folder with weights" for spec in chosen]
    return pd.DataFrame([{"model": spec.name, "from": w, **line} for spec, w in zip(chosen, where, strict=True)])


# ------------------------------------------------------------------------------------------------ searching, training


def search(
    lab: Lab, spec: ModelSpec, rows: Sequence[Row], rates: Sequence[float], epochs: float, progress: Any
) -> dict[str, Any]:
    """Try each learning rate in a short training, inside a step: its loss on wordings that were held back."""
    seed = lab.settings.seeds.training
    kept, held = split_by_wording(rows, HELD_OUT, seed)
    tried = []
    for rate in rates:
        trial = _trial(lab, spec, f"rate {rate:g}", epochs, rate)
        cost, taken = _train(lab, spec, trial, kept, lab.work_dir(f"rate-{rate:g}"), progress, seed, held)
        tried.append({"rate": rate, **cost, "memory": taken})
    return {"model": spec.name, "tried": tried}


def best_rate(found: Mapping[str, Any]) -> float:
    """The learning rate with the least loss on the validation rows; the benchmark has no say in it."""
    sound = [line for line in found["tried"] if line["validation_loss"] is not None]
    if not sound:
        raise ModelFailed(f"{found['model']} did not train at any of the learning rates: try smaller ones.")
    return float(min(sound, key=lambda line: line["validation_loss"])["rate"])


def adapt(
    lab: Lab, spec: ModelSpec, rows: Sequence[Row], rate: float, epochs: float, seed: int, asking: Asking, progress: Any
) -> dict[str, Any]:
    """Train an adapter at `rate` from `seed` and ask it everything, inside a step; its weights are dropped after."""
    folder = lab.work_dir("training")
    trial = _trial(lab, spec, f"seed {seed}", epochs, rate)
    cost, taken = _train(lab, spec, trial, rows, folder, progress, seed)
    record = ask(lab, spec, asking, progress, folder / "adapter")
    return {**record, "seed": seed, "rate": rate, "training": cost, "memory": [taken, *record["memory"]]}


def _trial(lab: Lab, spec: ModelSpec, what: str, epochs: float, rate: float) -> Trial:
    """The training of one model; its method follows the profile's quantisation."""
    method: training_trials.Method = "qlora" if lab.profile.quantisation else "lora"
    return Trial(f"{spec.name}, {what}", method, lab.profile.lora.r, epochs=epochs, learning_rate=rate)


def _train(
    lab: Lab,
    spec: ModelSpec,
    trial: Trial,
    rows: Sequence[Row],
    folder: Path,
    progress: Any,
    seed: int,
    held: Sequence[Row] = (),
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One training in its process: what it cost, and the memory before, in it and after."""
    with _measured(f"{trial.name}: training") as taken:
        with _failing(spec):
            cost = training_trials.trained(lab, trial, rows, folder, progress, spec.location, seed, held)
        taken["peak"] = max(0, cost["peak_bytes"] - cost["libraries_bytes"])
    return cost, taken


# ------------------------------------------------------------------------------------------------------------ asking


def ask(lab: Lab, spec: ModelSpec, asking: Asking, progress: Any, adapter: Path | None = None) -> dict[str, Any]:
    """Ask one model everything, inside a step: its raw answers, its skills, and what answering took."""
    from adaptlab.miniature.skills import is_right, skill_items

    items = skill_items(asking.skill_items, "forgetting") if asking.skill_items else []
    asked = prompts(asking.questions, asking.pages)
    asked += [_prompt(str(n), SKILL, item.messages) for n, item in enumerate(items)]
    folder = lab.work_dir("asking")
    with _measured(f"{spec.name}, {'adapter' if adapter else 'base'}: answers") as taken:
        with _failing(spec):
            cost = _answered(lab, spec, asked, asking.alone, folder, progress, adapter)
        taken |= {"peak": cost["peak_bytes"], "left": cost["left_bytes"]}
    lines = files.read_jsonl(folder / ANSWERS)
    about = [line for line in lines if line["kind"] != SKILL]
    said = {line["id"]: line["text"] for line in lines if line["kind"] == SKILL}
    return {
        "model": spec.name,
        "seed": None,
        "rate": None,
        "answers": [{"question_id": line["id"], "context": line["kind"], "text": line["text"]} for line in about],
        "skills": [
            {"skill": item.skill, "item": n, "text": said[str(n)], "right": is_right(item, said[str(n)])}
            for n, item in enumerate(items)
        ],
        "asked": [_spent(kind, lines, cost) for kind in (NO_CONTEXT, RETRIEVED)],
        "loaded": {name: cost[name] for name in ("load_seconds", "loaded_bytes")},
        "training": None,
        "memory": [taken],
    }


def prompts(questions: Sequence[Question], pages: Sequence[Any]) -> list[Prompt]:
    """Each question without context, then each with the passages that the recap retrieved for it."""
    stored = {page.question_id: page for page in map(Generation.model_validate, pages) if page.messages}
    lost = [q.id for q in questions if q.id not in stored or stored[q.id].phrasing != q.text()]
    if lost:
        raise LabError(
            f"eval_with_context.json holds no passages for {len(lost)} of {len(questions)} questions, such as "
            f"{lost[0]}: run 00Setup/00_Recap_and_Evidence.ipynb first."
        )
    closed = [_prompt(q.id, NO_CONTEXT, messages_for(q.text(), [])) for q in questions]
    return closed + [_prompt(q.id, RETRIEVED, stored[q.id].messages) for q in questions]


def _prompt(name: str, kind: str, messages: Sequence[Message]) -> Prompt:
    return {"id": name, "kind": kind, "messages": [message.model_dump() for message in messages]}


def _answered(
    lab: Lab, spec: ModelSpec, asked: Sequence[Prompt], alone: int, folder: Path, progress: Any, adapter: Path | None
) -> dict[str, Any]:
    """Have the prompts answered in a process of its own; what is answered in `folder` is kept."""
    if not (folder / COST).is_file():
        job = {
            "model": {**asdict(spec), "path": spec.location if spec.shipped else None},
            "adapter": str(adapter) if adapter else None,
            "max_tokens": lab.profile.sampling.max_new_tokens,
            "seed": lab.settings.seeds.sampling,
            "alone": dict.fromkeys((NO_CONTEXT, RETRIEVED), alone),
        }
        files.atomic_write_json(folder / JOB, job)
        files.write_jsonl(folder / PROMPTS, asked)

        def reached() -> int:
            kept = folder / ANSWERS
            return kept.read_bytes().count(b"\n") if kept.exists() else 0

        words = f"{spec.name}, {'adapter' if adapter else 'base'}: answers"
        with progress(total=len(asked), desc=words) as bar:
            child.run("adaptlab.ask_process", folder, "Answering", reached, bar)
    return dict(files.parse_record(files.read_text(folder / COST), COST))


def _spent(kind: str, lines: Sequence[Mapping[str, Any]], cost: Mapping[str, Any]) -> dict[str, Any]:
    """What the answers of one kind took: seconds in batches and alone, and tokens, over all questions."""
    mine = [line for line in lines if line["kind"] == kind]
    sums = {name: sum(line[name] for line in mine) for name in ("seconds", "read", "written", "refused")}
    return {"context": kind, "questions": len(mine), **sums, "alone": cost["alone"][kind]}


# ------------------------------------------------------------------------------------------------------------ memory


def level() -> int:
    """Bytes in use before a model comes: on the first GPU, by whatever process, else by this process."""
    cards = probes.gpus()
    return round((cards[0].total - cards[0].free) * 2**30) if cards else memory.in_use()


@contextmanager
def _measured(what: str) -> Iterator[dict[str, Any]]:
    """The memory before a model's process and after it; a LabError if what it took is not given back."""
    taken: dict[str, Any] = {"what": what, "before": level(), "peak": 0}
    yield taken
    slack = max(SLACK, SLACK_SHARE * taken["peak"])
    ended = time.monotonic()
    while (left := level()) > taken["before"] + slack and time.monotonic() - ended < SETTLING:
        time.sleep(1.0)
    taken["after"] = left
    if left > taken["before"] + slack:
        raise LabError(
            f"{(left - taken['before']) / 1e9:.1f} GB more are in use after {what} than before: end what holds them "
            "(nvidia-smi lists what uses a GPU) and run again; what is finished is kept."
        )


@contextmanager
def _failing(spec: ModelSpec) -> Iterator[None]:
    """Turn what stops one model into a ModelFailed that names it."""
    try:
        yield
    except LabError as error:
        raise ModelFailed(f"{spec.name}: {error}") from error
