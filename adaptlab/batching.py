"""The worker behind the server: one thread that owns the models and answers requests that arrive together at once."""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from adaptlab.generation import Completion, Request
from config import MODELS, LabError, ModelSpec

if TYPE_CHECKING:
    from adaptlab.generation import LocalGenerator

WINDOW_SECONDS = 0.015
LARGEST_BATCH = 512
CACHE_TOKENS = 32_768  # of a batch; about 10 kB each for the miniature teacher
STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Served:
    """A model name of the server: a model, or an adapter on one."""

    name: str
    spec: ModelSpec
    adapter: Path | None = None


@dataclass
class Job:
    """One request on its way; `answer` is what the web side waits for."""

    model: str
    request: Request
    answer: Future[list[Completion]] = field(default_factory=Future)


class Batcher:
    """Collects jobs for a moment, then runs each model's jobs as one batch; models are loaded when first asked for."""

    def __init__(self, served: list[Served], window_seconds: float = WINDOW_SECONDS) -> None:
        self.served = {item.name: item for item in served}
        self.window_seconds = window_seconds
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._generators: dict[str, LocalGenerator] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def break_off(self) -> None:
        """End the batch in work at its next step and take no more; does not wait, so a signal handler may call it."""
        self._stopping.set()

    def stop(self, patience: float = STOP_SECONDS) -> bool:
        """Break off the batch in work and wait for the thread; False if it does not end in time.

        Nothing waits for an answer any more. A thread that is still importing or loading cannot be broken off.
        """
        self.break_off()
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(patience)
        return not self._thread.is_alive()

    def submit(self, model: str, request: Request) -> Future[list[Completion]]:
        """Queue a request; cancelling the future drops it if it has not begun."""
        job = Job(model, request)
        if self._stopping.is_set():
            job.answer.set_exception(LabError("The server is stopping: start it again."))
        else:
            self._jobs.put(job)
        return job.answer

    def generator(self, name: str) -> LocalGenerator:
        """The generator of a served name; loads its model the first time. Only the worker's thread may call this."""
        if name not in self._generators:
            from adaptlab.generation import LocalGenerator
            from adaptlab.models import load

            item = self.served[name]
            loaded = load(item.spec, adapter=item.adapter)
            self._generators[name] = LocalGenerator(loaded, CACHE_TOKENS, should_stop=self._stopping.is_set)
        return self._generators[name]

    def _work(self) -> None:
        """Answer until told to stop."""
        _warm_up()
        while not self._stopping.is_set():
            jobs = self._collect()
            for name in dict.fromkeys(job.model for job in jobs):
                self._answer(name, [job for job in jobs if job.model == name])
        self._refuse_rest()

    def _collect(self) -> list[Job]:
        """The first job to come and all that come within the window after it."""
        first = self._jobs.get()
        if first is None:
            return []
        jobs = [first]
        until = time.monotonic() + self.window_seconds
        while len(jobs) < LARGEST_BATCH:
            try:
                job = self._jobs.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if job is None:
                break
            jobs.append(job)
        return jobs

    def _answer(self, name: str, jobs: list[Job]) -> None:
        """Run the jobs of one model; a failure is every unfinished job's failure, and the worker lives on."""
        jobs = [job for job in jobs if job.answer.set_running_or_notify_cancel()]
        if not jobs:
            return
        try:
            generator = self.generator(name)
            generator.run([job.request for job in jobs], lambda index, done: jobs[index].answer.set_result(done))
        except KeyboardInterrupt:
            _fail(jobs, LabError("The server is stopping: start it again."))
        except Exception as error:  # whatever it is, the next batch must still be answered
            if not isinstance(error, LabError):
                traceback.print_exc(file=sys.stderr)
            _fail(jobs, error)

    def _refuse_rest(self) -> None:
        """Nobody may wait for ever on a server that stops."""
        while not self._jobs.empty():
            job = self._jobs.get_nowait()
            if job is not None and job.answer.set_running_or_notify_cancel():
                _fail([job], LabError("The server is stopping: start it again."))


def served_models(models: list[str] | None, adapters: dict[str, Path]) -> list[Served]:
    """What a server offers: the models named (all shipped ones that are complete, if none) and every adapter."""
    from adaptlab.models import check_adapter, check_weights, find_spec, missing_files

    if models is None:
        specs = [spec for spec in MODELS.values() if spec.shipped and not missing_files(spec)]
        if not specs:
            check_weights(next(spec for spec in MODELS.values() if spec.shipped))
    else:
        specs = [find_spec(name) for name in models]
    for spec in specs:
        check_weights(spec)
    served = [Served(spec.name, spec) for spec in specs]
    for name, folder in adapters.items():
        if name in {item.name for item in served}:
            raise LabError(f"The adapter name {name!r} is taken by a model: choose another one.")
        base = base_of(check_adapter(folder).get("base_model_name_or_path"), specs)
        check_weights(base)
        served.append(Served(name, base, Path(folder)))
    return served


def base_of(named: str | None, specs: list[ModelSpec]) -> ModelSpec:
    """The model that an adapter was trained on, by the name, place or repository in its configuration."""
    wanted = str(named or "").rstrip("/")
    for spec in [*specs, *MODELS.values()]:
        if wanted and (wanted in (spec.location, spec.repository) or Path(wanted).name == spec.name):
            return spec
    raise LabError(
        f"The adapter was trained on {wanted or 'a model it does not name'!r}, which the lab does not know: "
        f"serve adapters of {', '.join(spec.name for spec in MODELS.values() if not spec.remote)}."
    )


def _fail(jobs: list[Job], error: Exception) -> None:
    """Give an error to every job that has no answer yet."""
    for job in jobs:
        if not job.answer.done():
            job.answer.set_exception(error)


def _warm_up() -> None:
    """Import what takes seconds before the first request needs it."""
    import adaptlab.decoding  # noqa: F401
