"""Drives an SDG Hub flow one document at a time, so that no document's failure costs another its result.

Each result is written at once to a file that is named by a hash of everything it depends on. A rerun reads these
files and calls the teacher only for documents that ended in an error.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from adaptlab import endpoint, files, pace
from adaptlab.synthesis.pairs import PARSER_VERSION
from config import LabError

if TYPE_CHECKING:
    import pandas as pd
    from sdg_hub import Flow

SEED_COLUMNS = ("chunk_id", "title", "document")
PIECE_COLUMNS = ("subject", "question", "answer", "problem", "raw")
HOPELESS = 12  # if this many documents end first and every one in an error, the teacher is not there
OnDone = Callable[[int, int, dict[str, Any]], None]


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
class Teacher:
    """The model that answers the flow's prompts, and how it is asked."""

    model: str
    api_base: str
    api_key: str | None
    temperature: float
    max_tokens: int
    timeout: float
    num_retries: int


def load_flow(
    flow_path: str | Path,
    *,
    model: str,
    api_base: str,
    api_key: str | None = None,
    temperature: float = 0.7,
    seed: int | None = None,
    max_tokens: int = 512,
    timeout: float = 300.0,
    num_retries: int = 2,
) -> Flow:
    """A flow from its YAML, its model configured; the lab's own blocks are registered first.

    `model` names a provider as LiteLLM does: "hosted_vllm/NAME" reaches any OpenAI-compatible endpoint without a key.
    """
    teacher = Teacher(model, api_base, api_key, temperature, max_tokens, timeout, num_retries)
    _checked(Path(flow_path), teacher)
    flow = _flow(Path(flow_path))
    _configure(flow, teacher, seed)
    return flow


def generate(
    flow_path: str | Path,
    seed_df: pd.DataFrame,
    *,
    model: str,
    api_base: str,
    api_key: str | None = None,
    temperature: float = 0.7,
    seeds: Sequence[int] = (0,),
    max_tokens: int = 512,
    out_dir: str | Path,
    on_done: OnDone | None = None,
    max_concurrency: int = 8,
    timeout: float = 300.0,
    num_retries: int = 2,
) -> Generated:
    """Run the flow on every document once for each seed; several seeds give several phrasings of each fact.

    A document ends as `ok` (at least one whole pair), `empty` (none) or `error`. `on_done(done, total, result)` is
    called in this thread as each ends. It works inside a running event loop, because the calls are made in threads.
    """
    path, folder = Path(flow_path), Path(out_dir)
    teacher = Teacher(model, api_base, api_key, temperature, max_tokens, timeout, num_retries)
    _checked(path, teacher)
    records = _records(seed_df)
    if max_concurrency < 1 or len(set(seeds)) < len(seeds) or not seeds:
        raise LabError("generate: max_concurrency must be 1 or more, and seeds a list of different numbers.")
    flow_hash = flow_fingerprint(path)
    jobs = [(record, seed, _key(flow_hash, teacher, seed, record)) for seed in seeds for record in records]
    results = {key: result for _, _, key in jobs if (result := _finished(folder / f"{key}.json"))}
    done = 0
    for done, (_, _, key) in enumerate([job for job in jobs if job[2] in results], 1):
        _tell(on_done, done, len(jobs), results[key])
    open_jobs = [job for job in jobs if job[2] not in results]
    for key, result in _run(path, teacher, open_jobs, folder, max_concurrency):
        results[key] = result
        done += 1
        _tell(on_done, done, len(jobs), result)
    return _collected([results[key] for _, _, key in jobs], teacher)


def flow_fingerprint(flow_path: Path) -> str:
    """A hash of what a flow says: its YAML and the prompt files that it names."""
    digest = hashlib.sha256(files.read_text(flow_path).encode())
    for block in _parsed(flow_path)["blocks"]:
        prompt = (block.get("block_config") or {}).get("prompt_config_path")
        if prompt:
            digest.update(files.read_text(flow_path.parent / prompt).encode())
    return digest.hexdigest()


def _parsed(flow_path: Path) -> dict[str, Any]:
    import yaml

    try:
        flow = yaml.safe_load(files.read_text(flow_path))
    except yaml.YAMLError as error:
        raise LabError(f"{flow_path} is no YAML: {' '.join(str(error).split())}: correct what was edited.") from error
    if not isinstance(flow, dict) or not isinstance(flow.get("blocks"), list):
        raise LabError(f"{flow_path} is no flow: it needs metadata and a list of blocks.")
    if not (flow.get("metadata") or {}).get("id"):
        raise LabError(f"{flow_path} has no id under metadata: give it one, or SDG Hub will rewrite the file.")
    return flow


# ----------------------------------------------------------------------------------------------------- one document


def _run(
    path: Path, teacher: Teacher, jobs: Sequence[tuple[dict[str, str], int, str]], folder: Path, workers: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each job's key and result as it ends; what is queued is cancelled when the caller stops early."""
    if not jobs:
        return
    _sdg_hub()
    with _quiet(), _in_time(teacher), _cancelling(ThreadPoolExecutor(min(workers, len(jobs)), "synthesis")) as pool:
        local, failures = threading.local(), 0
        futures = {pool.submit(_document, local, path, teacher, *job, folder): job[2] for job in jobs}
        for number, future in enumerate(as_completed(futures), 1):
            result = future.result()
            failures += result["status"] == "error"
            if failures == number == HOPELESS:
                raise LabError(
                    f"The teacher {teacher.model} at {teacher.api_base} failed on the first {number} documents "
                    f"({result['error']}): check that it is running and that its name is right."
                )
            yield futures[future], result


@contextmanager
def _cancelling(pool: ThreadPoolExecutor) -> Iterator[ThreadPoolExecutor]:
    """A pool whose queued work is cancelled on the way out; what is in flight ends and is written."""
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _document(
    local: threading.local,
    path: Path,
    teacher: Teacher,
    record: dict[str, str],
    seed: int,
    key: str,
    folder: Path,
) -> dict[str, Any]:
    """Run the flow on one document and write what came of it; never raises for what the teacher did."""
    start = perf_counter()
    result: dict[str, Any] = {"key": key, "chunk_id": record["chunk_id"], "seed": seed, "error": "", "rows": []}
    try:
        if not hasattr(local, "flow"):
            local.flow = _flow(path)  # flows keep state while they run, so each thread has its own
        _configure(local.flow, teacher, seed)
        frame = _answered(local.flow, record, teacher)
        pieces = [{**record, **{c: str(row[c]) for c in PIECE_COLUMNS}} for row in frame.to_dict("records")]
        result["rows"] = pieces
        result["status"] = "ok" if any(not piece["problem"] for piece in pieces) else "empty"
    except Exception as error:  # SDG Hub wraps whatever went wrong; one document's fault stays its own
        result["status"], result["error"] = "error", _sentence(error, teacher)
    result["seconds"] = round(perf_counter() - start, 3)
    files.atomic_write_json(folder / f"{key}.json", result)
    return result


def _answered(flow: Flow, record: dict[str, str], teacher: Teacher) -> pd.DataFrame:
    """What the flow makes of one document; every try is one call, which waits for the endpoint's rate limit.

    LiteLLM's own retries are off (`_configure`): they would go past the limit and know no Retry-After of the others.
    """
    import pandas as pd
    import tenacity

    limit = pace.of(teacher.api_base)

    def attempt() -> pd.DataFrame:
        limit.wait()
        try:
            return flow.generate(pd.DataFrame([record]))
        except Exception as error:
            failure = _failure(error)
            limit.hold(failure.pause or 0.0)
            raise failure from error

    repeat = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, endpoint.Failure) and error.passing),
        stop=tenacity.stop_after_attempt(teacher.num_retries + 1),
        wait=endpoint.pause_before(endpoint.FIRST_PAUSE),
        reraise=True,
    )
    return repeat(attempt)


def _failure(error: BaseException) -> endpoint.Failure:
    """What went wrong in a flow, whether another try may help, and the pause that the endpoint ordered."""
    words = f"{type(error).__name__}: {error}"
    cause: BaseException | None = error
    while cause is not None and not isinstance(getattr(cause, "status_code", None), int):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return endpoint.Failure("", words, passing=False)
    pause = endpoint.ordered_pause(getattr(cause, "litellm_response_headers", None) or {})  # its `response` has none
    passing = endpoint.passes(int(cause.status_code)) and (pause or 0) <= endpoint.LONGEST_ORDERED_PAUSE  # type: ignore[attr-defined]
    return endpoint.Failure("", words, passing, pause if passing else None)


def _sentence(error: Exception, teacher: Teacher) -> str:
    """One line about an error, without the key."""
    said = error.sentence if isinstance(error, endpoint.Failure) else f"{type(error).__name__}: {error}"
    text = " ".join(said.split())
    return (text.replace(teacher.api_key, "***") if teacher.api_key else text)[:500]


def _finished(path: Path) -> dict[str, Any] | None:
    """An earlier result that need not be asked for again; None for an error or a file that is not whole."""
    try:
        result = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(result, dict) and result.get("status") in ("ok", "empty") and result.get("key") == path.stem
    return {**result, "cached": True} if whole else None


# ------------------------------------------------------------------------------------------------------ the details


def _sdg_hub() -> Any:
    """SDG Hub, imported with quiet logs and without asking the network for a price list."""
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm
    import sdg_hub

    import adaptlab.synthesis.blocks  # noqa: F401 (registers the block)

    litellm.suppress_debug_info = True
    return sdg_hub


def _flow(path: Path) -> Flow:
    try:
        return _sdg_hub().Flow.from_yaml(str(path))
    except Exception as error:
        raise LabError(f"The flow {path} cannot be loaded: {' '.join(str(error).split())}") from error


def _configure(flow: Flow, teacher: Teacher, seed: int | None) -> None:
    extra: dict[str, Any] = {} if seed is None else {"seed": seed}
    flow.set_model_config(
        model=teacher.model,
        api_base=teacher.api_base,
        api_key=teacher.api_key,
        temperature=teacher.temperature,
        max_tokens=teacher.max_tokens,
        timeout=teacher.timeout,
        num_retries=0,  # see `_answered`
        **extra,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's own error lines while every error is kept with its document."""
    names = [n for n in logging.root.manager.loggerDict if n.startswith(("sdg_hub", "LiteLLM", "litellm"))]
    loggers = {name: logging.getLogger(name) for name in names}
    before = {name: logger.level for name, logger in loggers.items()}
    try:
        for logger in loggers.values():
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(before[name])


@contextmanager
def _in_time(teacher: Teacher) -> Iterator[None]:
    """Give LiteLLM's calls to an OpenAI-compatible endpoint a deadline for the whole of a call."""
    import litellm

    from adaptlab.deadline import client

    before = litellm.client_session
    litellm.client_session = client(endpoint.DEADLINE * teacher.timeout, teacher.timeout)
    try:
        yield
    finally:
        litellm.client_session = before


def _checked(path: Path, teacher: Teacher) -> None:
    if not path.is_file():
        raise LabError(f"There is no flow at {path}: name the flow.yaml of a folder in 02SyntheticDataGen/flows.")
    if "/" not in teacher.model:
        raise LabError(f"The teacher {teacher.model!r} names no provider: write hosted_vllm/{teacher.model}.")
    _parsed(path)


def _records(seed_df: pd.DataFrame) -> list[dict[str, str]]:
    missing = [name for name in SEED_COLUMNS if name not in seed_df.columns]
    if missing:
        raise LabError(f"The seed data has no column {', '.join(missing)}: build it with seed_rows.")
    records = [{name: str(row[name]) for name in SEED_COLUMNS} for row in seed_df.to_dict("records")]
    ids = [record["chunk_id"] for record in records]
    if not records or len(set(ids)) < len(ids):
        raise LabError("The seed data is empty or has a chunk_id twice: build it with seed_rows.")
    blank = next((record["chunk_id"] for record in records if not record["document"].strip()), None)
    if blank:
        raise LabError(f"Seed passage {blank} has no text: leave it out.")
    return records


def _key(flow_hash: str, teacher: Teacher, seed: int, record: dict[str, str]) -> str:
    sampling = [teacher.model, teacher.temperature, teacher.max_tokens, seed]
    basis = json.dumps([PARSER_VERSION, flow_hash, sampling, record], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(basis.encode()).hexdigest()[:32]


def _tell(on_done: OnDone | None, done: int, total: int, result: dict[str, Any]) -> None:
    if on_done is not None:
        on_done(done, total, _summary(result))


def _summary(result: dict[str, Any]) -> dict[str, Any]:
    names = ("chunk_id", "seed", "status", "error", "seconds")
    pairs = sum(not row["problem"] for row in result["rows"])
    return {**{name: result[name] for name in names}, "pairs": pairs, "cached": result.get("cached", False)}


def _collected(results: Sequence[dict[str, Any]], teacher: Teacher) -> Generated:
    import pandas as pd

    summaries = ["chunk_id", "seed", "status", "error", "seconds", "pairs", "cached"]
    columns = ["row_id", *SEED_COLUMNS, "seed", "model", "temperature", *PIECE_COLUMNS]
    rows = [
        {
            "row_id": f"{result['chunk_id']}-s{result['seed']}-{number}",
            "seed": result["seed"],
            "model": teacher.model,
            "temperature": teacher.temperature,
            **row,
        }
        for result in results
        for number, row in enumerate(result["rows"], 1)
    ]
    return Generated(
        pd.DataFrame([_summary(result) for result in results], columns=summaries), pd.DataFrame(rows, columns=columns)
    )
