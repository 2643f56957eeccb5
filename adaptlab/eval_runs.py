"""Evaluation runs as files: ask an endpoint a stratified sample, score it, keep it as a baseline, show a table."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field

from adaptlab import provenance, workbench
from adaptlab.artifacts import Lab
from adaptlab.files import Partial, atomic_write_json, read_text, sha256_bytes, sha256_path
from adaptlab.inert import inert
from adaptlab.replicas import endpoint_urls
from adaptlab.schemas import CATEGORIES, Arm, Category, Context, Generation, GenerationStatus, Question, Record
from adaptlab.scoring import SCORER_VERSION, canonical, lenient, strict
from adaptlab.stats import wilson
from config import Endpoint, LabError

FORMAT = "adaptlab-eval-1"
Timing = Literal["whole requests", "shares of batches", "not recorded"]


class Score(Record):
    """What became of one question. `question` is the hash of its text and gold, so that only equals are compared."""

    question_id: str
    question: str
    category: Category
    strict: bool
    lenient: bool
    valid: bool
    status: GenerationStatus
    seconds: float = Field(ge=0)


class EvalRun(Record):
    """A scored run with its provenance; a baseline is the same without the answers."""

    format: Literal["adaptlab-eval-1"] = "adaptlab-eval-1"
    kind: Literal["run", "baseline"]
    name: str
    model: str
    endpoint: str | None = None
    context: Context
    profile: str
    document: str
    document_sha256: str
    benchmark: str
    benchmark_sha256: str
    sample: int
    sample_seed: int | None
    scorer: str
    timing: Timing
    origin: str
    date: str
    revision: str | None
    libraries: dict[str, str]
    source_sha256: str | None = None
    scores: list[Score] = Field(min_length=1)
    generations: list[Generation] = Field(default_factory=list)


# --------------------------------------------------------------------------------------------------- sampling


def stratified(questions: Sequence[Question], size: int | None, seed: int) -> list[Question]:
    """`size` questions, shared out over the categories by largest remainder; the same for the same seed.

    Every category keeps at least one question where `size` allows it. None, or a size of all, takes all of them.
    """
    if size is not None and size < 1:
        raise LabError(f"--sample is {size}: give a number from 1 on, or all.")
    if size is None or size >= len(questions):
        return list(questions)
    strata = {name: [q for q in questions if q.category == name] for name in CATEGORIES}
    strata = {name: members for name, members in strata.items() if members}
    exact = {name: size * len(members) / len(questions) for name, members in strata.items()}
    least = 1 if size >= len(strata) else 0
    counts = {name: max(least, math.floor(share)) for name, share in exact.items()}
    while sum(counts.values()) < size:
        counts[max(exact, key=lambda name: exact[name] - counts[name])] += 1
    while sum(counts.values()) > size:
        counts[max((n for n in counts if counts[n] > least), key=lambda name: counts[name] - exact[name])] -= 1
    drawn: set[str] = set()
    for name, members in strata.items():
        ids = sorted(question.id for question in members)
        drawn |= set(random.Random(f"{seed}:{name}").sample(ids, counts[name]))
    return [question for question in questions if question.id in drawn]


# ---------------------------------------------------------------------------------------------------- scoring


def fingerprint(question: Question) -> str:
    """A hash of what is asked and what counts as right."""
    parts = [question.text(), question.category, question.answer_type, question.answer, *sorted(question.accepted)]
    return sha256_bytes("\0".join(parts).encode("utf-8"))[:16]


def is_valid(question: Question, generation: Generation) -> bool:
    """Whether an answer came at all and can be read as an answer of its type."""
    return generation.status == "ok" and canonical(question, generation.text) is not None


def scored(generations: Sequence[Generation], questions: Sequence[Question]) -> list[Score]:
    """The scores of one arm's first answers, for every question that it was asked."""
    first = {item.question_id: item for item in generations if item.sample == 0}
    return [
        Score(
            question_id=question.id,
            question=fingerprint(question),
            category=question.category,
            strict=strict(question, first[question.id].text),
            lenient=lenient(question, first[question.id].text),
            valid=is_valid(question, first[question.id]),
            status=first[question.id].status,
            seconds=first[question.id].seconds,
        )
        for question in questions
        if question.id in first
    ]


def _described(lab: Lab) -> dict[str, Any]:
    """What every run file says about where it was made."""
    path = workbench.benchmark_path(lab)
    return {
        "profile": lab.profile.name,
        "document": lab.settings.document_name,
        "document_sha256": lab.document_hash,
        "benchmark": path.name,
        "benchmark_sha256": sha256_path(path),
        "scorer": SCORER_VERSION,
        "date": provenance.today(),
        "revision": provenance.code_revision(),
        "libraries": provenance.library_versions(),
    }


# ---------------------------------------------------------------------------------------------------- running


class _Keeping(Lab):
    """A lab whose finished answers lie beside the file that is being made."""

    def __init__(self, lab: Lab, endpoint: Endpoint, kept: Path) -> None:
        super().__init__(replace(lab.settings, endpoint=endpoint), lab.notebook, lab.say)
        self.kept = Partial(kept)

    def partial(self, name: str) -> Partial:
        """The finished answers of the arm that is asked."""
        return self.kept


def checked_url(url: str) -> str:
    """An endpoint's URL; a key in it is refused, because it would be stored."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LabError(f"--endpoint {url!r} is no URL: give one such as http://127.0.0.1:8000/v1.")
    if parts.username or parts.password or parts.query:
        raise LabError("--endpoint holds a name, a key or a query: give the bare URL, and the key in LAB_ENDPOINT_KEY.")
    return url.rstrip("/")


def served_model(url: str, key: str | None) -> str:
    """The one model that an endpoint offers; a LabError where it offers several or does not say."""
    import openai

    try:
        client = openai.OpenAI(base_url=url, api_key=key or "none", timeout=20, max_retries=1)
        names = [str(item.id) for item in client.models.list()]
    except (openai.OpenAIError, ValueError, AttributeError, TypeError) as error:
        raise LabError(f"{url} does not list its models ({type(error).__name__}): name one with --model.") from error
    if len(names) != 1:
        raise LabError(f"{url} offers {', '.join(names) or 'no model'}: name one with --model.")
    return names[0]


def run_endpoint(
    lab: Lab,
    url: str | Sequence[str],
    out: Path,
    model: str | None = None,
    size: int | None = 50,
    context: Literal["none", "retrieved"] = "retrieved",
    seed: int | None = None,
) -> EvalRun:
    """Ask an endpoint a sample of the benchmark and write the scored run to `out`; a killed run goes on from there.

    Several endpoints that serve the same model, as a list or parted by commas, share the questions. The key
    is the one of LAB_ENDPOINT_KEY. A question that got no answer stops the run with a LabError.
    """
    if out.is_dir():
        raise LabError(f"--out names {out.name}, which is a folder: name a file.")
    urls, key = [checked_url(each) for each in endpoint_urls(url)], lab.settings.endpoint.key
    asked_model = model or served_model(urls[0], key)
    seed = lab.settings.seeds.base if seed is None else seed
    asked = stratified(workbench.questions(lab), size, seed)
    text = workbench.document(lab)
    index = workbench.index(lab, text) if context == "retrieved" else None
    about = _described(lab)
    hashes = [about["benchmark_sha256"], about["document_sha256"]]
    parts = [*urls, asked_model, context, *hashes, str(lab.profile.sampling)]
    kept = out.with_name(f".{out.name}.{sha256_bytes(repr(parts).encode())[:12]}.partial.jsonl")
    places = replace(lab.settings.endpoint, url=urls[0], more_urls=tuple(urls[1:]), model=asked_model)
    keeping = _Keeping(lab, places, kept)
    arm = Arm(name=f"{asked_model}, context: {context}", model="endpoint", context=context)
    made = workbench.ask(keeping, arm, asked, lab.progress, index, text)
    run = EvalRun(
        kind="run",
        name=arm.name,
        model=asked_model,
        endpoint=", ".join(urls),
        context=context,
        sample=len(asked),
        sample_seed=seed if len(asked) < len(workbench.questions(lab)) else None,
        timing="whole requests",
        origin="live",
        scores=scored(made, asked),
        generations=made,
        **about,
    )
    atomic_write_json(out, run)
    kept.unlink(missing_ok=True)
    return run


# --------------------------------------------------------------------------------------------------- baselines


def load(path: Path) -> EvalRun:
    """A run or a baseline; what is wrong with the file is one sentence."""
    from pydantic import ValidationError

    try:
        return EvalRun.model_validate_json(read_text(path))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in fault["loc"]) or "the whole"
        what = f"field {field}: {str(fault['msg']).lower()}"
        raise LabError(f"{path.name} is no file of adaptlab eval ({what}): make it with adaptlab eval run.") from error


def baseline_of(lab: Lab, source: str) -> EvalRun:
    """The baseline scores of a run file, or of a stored result such as eval_with_context."""
    path = Path(source)
    if path.is_file():
        run = load(path)
        stripped = {"kind": "baseline", "generations": [], "source_sha256": sha256_path(path)}
        return run.model_copy(update=stripped)
    if path.suffix == ".json" and len(path.parts) > 1:
        raise LabError(f"{source} does not exist: name a run file or a stored result such as eval_with_context.")
    result = lab.result(source)
    generations = workbench.generations(result) if isinstance(result.data, list) else []
    arms = sorted({item.arm for item in generations})
    if len(arms) != 1:
        raise LabError(f"{result.artifact.file} does not hold one arm's answers: take eval_results or the like.")
    questions = workbench.questions(lab)
    contexts = any(item.hits for item in generations)
    return EvalRun(
        kind="baseline",
        name=arms[0],
        model=", ".join(record.name for record in result.provenance.models) or "not recorded",
        context="retrieved" if contexts else "none",
        sample=len(scored(generations, questions)),
        sample_seed=None,
        timing="not recorded" if result.provenance.origin == "imported" else "shares of batches",
        origin=result.label,
        source_sha256=result.provenance.sha256,
        scores=scored(generations, questions),
        **_described(lab),
    )


# ---------------------------------------------------------------------------------------------------- reports


def latency(scores: Sequence[Score], quantile: float) -> float:
    """A quantile of the seconds an answer took."""
    return float(np.quantile([score.seconds for score in scores], quantile))


def _row(run: EvalRun, group: str, scores: Sequence[Score]) -> dict[str, Any]:
    right, n = sum(score.strict for score in scores), len(scores)
    timed = run.timing != "not recorded"
    return {
        "run": run.name,
        "questions": group,
        "right": right,
        "n": n,
        **wilson(right, n)._asdict(),
        "lenient": sum(score.lenient for score in scores) / n,
        "valid": sum(score.valid for score in scores) / n,
        "median seconds": latency(scores, 0.5) if timed else None,
        "p95 seconds": latency(scores, 0.95) if timed else None,
    }


def report_rows(runs: Sequence[EvalRun]) -> list[dict[str, Any]]:
    """A row for each run and for each of its categories, with Wilson's interval of the strict score."""
    rows = []
    for run in runs:
        groups: dict[str, list[Score]] = defaultdict(list)
        for score in run.scores:
            groups[score.category].append(score)
        rows.append(_row(run, "all", run.scores))
        rows += [_row(run, name, groups[name]) for name in CATEGORIES if name in groups]
    return rows


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Report rows as a Markdown table; names come from outside and are escaped."""
    head = ["run", "questions", "right", "of", "rate", "95 % interval", "lenient", "valid", "median s", "95th pct. s"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [
            _escaped(row["run"]),
            row["questions"],
            str(row["right"]),
            str(row["n"]),
            f"{row['rate']:.0%}",
            f"{row['low']:.0%} to {row['high']:.0%}",
            f"{row['lenient']:.0%}",
            f"{row['valid']:.0%}",
            *("" if row[name] is None else f"{row[name]:.3g}" for name in ("median seconds", "p95 seconds")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Text that stays text in a Markdown table."""
    import html

    return html.escape(inert(" ".join(text.split())), quote=False).replace("|", "\\|").replace("`", "'")


def origins(runs: Sequence[EvalRun]) -> str:
    """One line a run: where its figures come from."""
    return "\n".join(
        f"{_escaped(run.name)}: {run.origin}, {run.date}; {run.sample} questions of {run.benchmark} about "
        f"{run.document}; scorer {run.scorer}; seconds are {run.timing}"
        for run in runs
    )
