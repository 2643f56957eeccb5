"""Drives an SDG Hub flow one document at a time, so that no document's failure costs another its result.

Each result is written at once to a file that is named by a hash of everything it depends on. A rerun reads these
files and calls the teacher only for documents that ended in an error. Nothing but the documents in flight is in
memory while `stream` runs, so any number of documents can go through.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from adaptlab import files
from adaptlab.quiet import no_logs_below
from adaptlab.replicas import Replicas, endpoint_urls
from adaptlab.synthesis import flows
from adaptlab.synthesis.flows import SEED_COLUMNS, Teacher, find_flow, flow_fingerprint
from adaptlab.synthesis.pairs import PARSER_VERSION
from config import LabError

if TYPE_CHECKING:
    import pandas as pd
    from sdg_hub import Flow

__all__ = ["Generated", "Plan", "Teacher", "flow_fingerprint", "generate", "load_flow", "plan"]
PIECE_COLUMNS = ("subject", "question", "answer", "problem", "raw")
OTHER_NAMES = {"response": "answer"}  # what SDG Hub's flows call an answer
HOPELESS = 12  # if this many documents end first and every one in an error, the teacher is not there
OnDone = Callable[[int, int, dict[str, Any]], None]
Job = tuple[dict[str, str], int, str]  # record, seed, key


@dataclass(frozen=True)
class Generated:
    """What a run made: `documents` has one line for each document and seed, `rows` one for each piece of a reply."""

    documents: pd.DataFrame
    rows: pd.DataFrame

    def complete_rows(self) -> pd.DataFrame:
        """The rows, if every document was read; else a `LabError` that says how many were not, and why."""
        failed = self.documents[self.documents.status == "error"]
        if len(failed):
            first = failed.error.iloc[0]
            raise LabError(
                f"{len(failed)} of {len(self.documents)} documents ended in an error (the first: {first}). "
                "The others are kept: run this again to ask only for these."
            )
        return self.rows


@dataclass(frozen=True)
class Plan:
    """A flow, a teacher and a folder for results: everything that a document's result depends on but the document."""

    path: Path
    flow_hash: str
    teacher: Teacher
    folder: Path
    columns: tuple[str, ...]
    seeds: tuple[int, ...]
    max_concurrency: int

    def jobs(self, records: Iterable[Mapping[str, Any]]) -> Iterator[Job]:
        """Each record's jobs, one a seed, with the key of its result; records are read as they are needed."""
        seen: set[str] = set()
        for number, line in enumerate(records):
            record = self._record(line, number)
            if (name := _id(record)) in seen:
                raise LabError(f"The seed data has a {_id_column(record)} twice ({name}): build it with seed_rows.")
            seen.add(name)
            for seed in self.seeds:
                yield record, seed, self.key(record, seed)

    def key(self, record: Mapping[str, str], seed: int) -> str:
        """The name of a result."""
        sampling = [self.teacher.model, self.teacher.temperature, self.teacher.max_tokens, seed]
        basis = json.dumps([PARSER_VERSION, self.flow_hash, sampling, record], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(basis.encode()).hexdigest()[:32]

    def result(self, key: str) -> dict[str, Any] | None:
        """The whole stored result of that name, whatever its status; None if there is none."""
        try:
            result = json.loads((self.folder / f"{key}.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return result if isinstance(result, dict) and result.get("key") == key and "status" in result else None

    def finished(self, key: str) -> dict[str, Any] | None:
        """An earlier result that need not be asked for again; None for an error or a file that is not whole."""
        result = self.result(key)
        return {**result, "cached": True} if result and result["status"] in ("ok", "empty") else None

    def survey(self, records: Iterable[Mapping[str, Any]]) -> Counter[str]:
        """How many documents (each seed counts) are `ok`, `empty`, `error` or still `open`, and their `rows`."""
        counts: Counter[str] = Counter(ok=0, empty=0, error=0, open=0, rows=0)
        for _, _, key in self.jobs(records):
            result = self.result(key)
            counts[result["status"] if result else "open"] += 1
            counts["rows"] += sum(not row["problem"] for row in result["rows"]) if result else 0
        return counts

    def rows(self, records: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows of every stored result, in the order of the records, read one result at a time."""
        for _, _, key in self.jobs(records):
            if (result := self.result(key)) is not None:
                yield from _rows(result, self.teacher)

    def stream(self, records: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Run the flow on every record; yield a summary of each as it ends, the finished ones of earlier runs too."""
        for _, summary in self._run(self.jobs(records)):
            yield summary

    def _record(self, line: Mapping[str, Any], number: int) -> dict[str, str]:
        missing = [name for name in self.columns if name not in line]
        if missing:
            raise LabError(f"The seed data has no column {', '.join(missing)}: build it with seed_rows.")
        names = (*self.columns, "seed_id") if "seed_id" in line and "seed_id" not in self.columns else self.columns
        record = {name: str(line[name]) for name in names}
        if not record["document"].strip():
            raise LabError(f"Seed passage {_id(record) or number} has no text: leave it out.")
        return record

    def _run(self, jobs: Iterator[Job]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each job's key and summary as it ends; at most twice as many jobs as workers are waiting or in flight."""
        replicas = Replicas(self.teacher.api_bases, self.max_concurrency)
        local, ended, failures = threading.local(), 0, 0
        waiting: dict[Future[dict[str, Any]], str] = {}
        with ExitStack() as stack:
            pool: ThreadPoolExecutor | None = None  # nothing heavy is imported where everything is finished already
            for job in chain(jobs, [None]):
                if job is not None and (found := self.finished(job[2])) is not None:
                    yield job[2], _summary(found)
                    continue
                if job is not None:
                    pool = pool or stack.enter_context(_workers(replicas.places, self.teacher))
                    waiting[pool.submit(_document, local, self, replicas, *job)] = job[2]
                while len(waiting) >= (2 * replicas.places if job is not None else 1):
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        ended, failures = _counted(self.teacher, future.result(), ended, failures)
                        yield waiting.pop(future), future.result()


def plan(
    flow: str | Path,
    *,
    model: str,
    api_base: str | Sequence[str],
    api_key: str | None = None,
    temperature: float = 0.7,
    seeds: Sequence[int] = (0,),
    max_tokens: int = 512,
    out_dir: str | Path,
    max_concurrency: int = 8,
    timeout: float = 300.0,
    num_retries: int = 2,
) -> Plan:
    """Check the settings of a run; `stream` on what comes back starts it, `survey` says how far it is.

    `flow` is a path, a name or an id (`find_flow`). `model` names a provider as LiteLLM does: "hosted_vllm/NAME"
    reaches any OpenAI-compatible endpoint without a key. `api_base` may name several endpoints that serve the same
    model, as a list or in one text; each gets at most `max_concurrency` documents at once.
    """
    teacher = Teacher(model, endpoint_urls(api_base), api_key, temperature, max_tokens, timeout, num_retries)
    path = _checked(flow, teacher)
    if max_concurrency < 1 or len(set(seeds)) < len(seeds) or not seeds:
        raise LabError("generate: max_concurrency must be 1 or more, and seeds a list of different numbers.")
    columns = tuple(dict.fromkeys([*SEED_COLUMNS, *flows.required_columns(path)]))
    return Plan(path, flow_fingerprint(path), teacher, Path(out_dir), columns, tuple(seeds), max_concurrency)


def load_flow(
    flow_path: str | Path,
    *,
    model: str,
    api_base: str | Sequence[str],
    api_key: str | None = None,
    temperature: float = 0.7,
    seed: int | None = None,
    max_tokens: int = 512,
    timeout: float = 300.0,
    num_retries: int = 2,
) -> Flow:
    """A flow from its YAML, its model configured (at the first endpoint); the lab's own blocks are registered first."""
    teacher = Teacher(model, endpoint_urls(api_base), api_key, temperature, max_tokens, timeout, num_retries)
    path = _checked(flow_path, teacher)
    flow = flows.load(path)
    flows.configure(flow, flows.parsed(path)["blocks"], teacher, teacher.api_bases[0], seed)
    return flow


def generate(
    flow_path: str | Path, seed_df: pd.DataFrame, *, on_done: OnDone | None = None, **settings: Any
) -> Generated:
    """Run the flow on every document once for each seed; several seeds give several phrasings of each fact.

    The settings are those of `plan`. A document ends as `ok` (at least one whole pair), `empty` (none) or `error`.
    `on_done(done, total, result)` is called in this thread as each ends. It works inside a running event loop, because
    the calls are made in threads.
    """
    made = plan(flow_path, **settings)
    jobs = list(made.jobs(seed_df.to_dict("records")))
    if not jobs:
        raise LabError("The seed data is empty or has a chunk_id twice: build it with seed_rows.")
    ordered = sorted(jobs, key=lambda job: made.seeds.index(job[1]))  # the first pass over all documents comes first
    cached: dict[str, bool] = {}
    for done, (key, summary) in enumerate(made._run(iter(ordered)), 1):
        cached[key] = summary["cached"]
        if on_done is not None:
            on_done(done, len(jobs), summary)
    results = [{**(made.result(key) or {}), "cached": cached[key]} for _, _, key in ordered]
    return _collected(results, made.teacher)


# ----------------------------------------------------------------------------------------------------- one document


@contextmanager
def _workers(count: int, teacher: Teacher) -> Iterator[ThreadPoolExecutor]:
    """A pool whose queued work is cancelled on the way out; what is in flight ends and is written."""
    from adaptlab.synthesis.calls import at_pace

    with _quiet(), at_pace(teacher.timeout, teacher.num_retries):
        pool = ThreadPoolExecutor(count, "synthesis")
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _document(
    local: threading.local, made: Plan, replicas: Replicas, record: dict[str, str], seed: int, key: str
) -> dict[str, Any]:
    """Run the flow on one document and write what came of it; never raises for what the teacher did.

    What an endpoint failed on is asked of each other endpoint before the document ends in an error.
    """
    start, tried = perf_counter(), set[str]()
    result: dict[str, Any] = {"key": key, "chunk_id": record["chunk_id"], "seed": seed, "error": "", "rows": []}
    if "seed_id" in record:
        result["seed_id"] = record["seed_id"]
    while (url := replicas.take(tried)) is not None:
        answered = False
        try:
            result["rows"] = _pieces(local, made, url, record, seed)
            result["status"] = "ok" if any(not piece["problem"] for piece in result["rows"]) else "empty"
            result["error"], answered = "", True
        except Exception as error:  # SDG Hub wraps whatever went wrong; one document's fault stays its own
            result["status"], result["error"] = "error", _sentence(error, made.teacher)
            answered = _is_the_documents(error)
        finally:
            replicas.give_back(url, answered)
        if answered:
            break
        tried.add(url)
    result["seconds"] = round(perf_counter() - start, 3)
    files.atomic_write_json(made.folder / f"{key}.json", result)
    return _summary(result)


def _pieces(local: threading.local, made: Plan, url: str, record: dict[str, str], seed: int) -> list[dict[str, str]]:
    """The rows that the flow makes of a document, then those that its blocks put aside, each with its problem."""
    import pandas as pd
    from sdg_hub.core.utils.error_handling import EmptyDatasetError

    from adaptlab.synthesis.blocks import put_aside

    if not hasattr(local, "flow"):
        local.flow, local.blocks = flows.load(made.path), flows.parsed(made.path)["blocks"]
        local.asked = None  # flows keep state while they run, so each thread has its own
    if local.asked != (url, seed):
        teacher = replace(made.teacher, num_retries=0)  # see `calls`: LiteLLM's own retries know no rate limit
        flows.configure(local.flow, local.blocks, teacher, url, seed)
        local.asked = (url, seed)
    put_aside(local.flow.blocks)  # what a call that failed left
    try:
        whole = local.flow.generate(pd.DataFrame([record])).to_dict("records")
    except EmptyDatasetError:
        whole = []
    rows = [*whole, *put_aside(local.flow.blocks)]
    named = {*SEED_COLUMNS, *PIECE_COLUMNS, *OTHER_NAMES}
    extra = [name for name in local.flow.metadata.output_columns or [] if name not in named]
    kept = [_piece(record, row, extra) for row in rows]
    return kept or [_piece(record, {"problem": "the flow made no row of it"}, [])]


def _piece(record: dict[str, str], row: dict[str, Any], extra: Sequence[str]) -> dict[str, str]:
    """One stored row: the passage, what was asked and answered, and what else the flow tells of it."""
    passage = {name: record[name] for name in ("seed_id", *SEED_COLUMNS) if name in record}
    named = {OTHER_NAMES.get(name, name): value for name, value in row.items()}
    piece = {name: _text(named.get(name)) for name in PIECE_COLUMNS}
    if not piece["problem"] and not (piece["question"] and piece["answer"]):
        piece["problem"] = "empty reply"
    return {**passage, **piece, **{name: _text(named.get(name)) for name in extra}}


def _text(value: Any) -> str:
    """A cell as text that can be stored; a gap (None, or the NaN that pandas makes of it) is empty."""
    return "" if value is None or value != value else str(value).encode("utf-8", "replace").decode("utf-8")


def _is_the_documents(error: BaseException | None) -> bool:
    """Whether a call failed for what it asked (400, 413, 422), which no other endpoint would answer either."""
    while error is not None:
        if getattr(error, "status_code", None) in (400, 413, 422):
            return True
        error = error.__cause__
    return False


def _sentence(error: Exception, teacher: Teacher) -> str:
    """One line about an error, without the key."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return (text.replace(teacher.api_key, "***") if teacher.api_key else text)[:500]


def _counted(teacher: Teacher, result: dict[str, Any], ended: int, failures: int) -> tuple[int, int]:
    """Count a document that ended; the run stops if the first `HOPELESS` ones all ended in an error."""
    ended, failures = ended + 1, failures + (result["status"] == "error")
    if failures == ended == HOPELESS:
        raise LabError(
            f"The teacher {teacher.model} at {', '.join(teacher.api_bases)} failed on the first {ended} documents "
            f"({result['error']}): check that it is running and that its name is right."
        )
    return ended, failures


# ------------------------------------------------------------------------------------------------------ the details


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's own error lines while every error is kept with its document."""
    flows.sdg_hub()
    names = [n for n in logging.root.manager.loggerDict if n.startswith(("sdg_hub", "LiteLLM", "litellm"))]
    with no_logs_below(logging.CRITICAL, names):
        yield


def _checked(flow: str | Path, teacher: Teacher) -> Path:
    path = find_flow(flow)
    if "/" not in teacher.model:
        raise LabError(f"The teacher {teacher.model!r} names no provider: write hosted_vllm/{teacher.model}.")
    flows.parsed(path)
    return path


def _id_column(record: Mapping[str, str]) -> str:
    return "seed_id" if "seed_id" in record else "chunk_id"


def _id(record: Mapping[str, str]) -> str:
    return record[_id_column(record)]


def _summary(result: Mapping[str, Any]) -> dict[str, Any]:
    names = ("chunk_id", "seed", "status", "error", "seconds")
    pairs = sum(not row["problem"] for row in result["rows"])
    return {**{name: result[name] for name in names}, "pairs": pairs, "cached": result.get("cached", False)}


def _rows(result: Mapping[str, Any], teacher: Teacher) -> Iterator[dict[str, Any]]:
    """The rows of one result, each with its name and where it comes from."""
    name = result.get("seed_id", result["chunk_id"])
    for number, row in enumerate(result["rows"], 1):
        about = {"seed": result["seed"], "model": teacher.model, "temperature": teacher.temperature}
        yield {"row_id": f"{name}-s{result['seed']}-{number}", **about, **row}


def _collected(results: Sequence[Mapping[str, Any]], teacher: Teacher) -> Generated:
    import pandas as pd

    rows = [row for result in results for row in _rows(result, teacher)]
    columns = ["row_id", *SEED_COLUMNS, "seed", "model", "temperature", *PIECE_COLUMNS]
    extra = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in columns]
    return Generated(
        pd.DataFrame([_summary(result) for result in results]),
        pd.DataFrame(rows, columns=[*columns, *extra]).fillna(""),
    )
