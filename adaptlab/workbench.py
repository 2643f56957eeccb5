"""What every notebook needs before its idea: the document, its chunks and index, the benchmark, and asking an arm."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from adaptlab import benchmark, documents, evaluation, fingerprint, provenance
from adaptlab.artifacts import Lab, Result
from adaptlab.retrieval import Index, Searches
from adaptlab.schemas import Arm, Chunk, Fact, Generation, Message, Question, Section
from adaptlab.skill_checks import ask_skills as ask_skills, skill_scores as skill_scores
from adaptlab.stats import detectable_words, wilson as wilson
from adaptlab.training_records import training_steps as training_steps, with_cost as with_cost
from config import Endpoint, LabError

FACTS = "facts.jsonl"
BENCHMARK = "benchmark.jsonl"
DOCUMENT_TEXT = "document.md"  # what a document in other formats, or of several files, was converted to
KNOCK = "Are you there?"


def document(lab: Lab) -> str:
    """The whole text of the document that `LAB_DOCUMENT` names, or of the shipped rulebook."""
    if not lab.settings.converted:
        return documents.load(lab.settings.document)
    return str(converted(lab).data)


def converted(lab: Lab) -> Result:
    """The text of a document that is not one text file, made once and stored: all quotes and offsets refer to it."""

    def convert() -> str:
        reading = documents.read(lab.settings.sources)
        for note in reading.notes:
            lab.say(note)
        return reading.text

    return lab.step(DOCUMENT_TEXT, convert, settings={"converter": documents.CONVERTER}, models=())


def benchmark_path(lab: Lab) -> Path:
    """The questions' file: LAB_BENCHMARK's, else the shipped one, else `<document>.questions.jsonl` beside it."""
    if lab.settings.benchmark:
        return lab.settings.benchmark
    if lab.settings.shipped_document:
        return lab.settings.root / "00Setup" / BENCHMARK
    path = lab.settings.document.with_suffix(".questions.jsonl")
    if not path.is_file():
        raise LabError(
            f"There are no questions about {lab.settings.document.name}: name their file in LAB_BENCHMARK, "
            "one JSON object a line as in 00Setup/benchmark.jsonl."
        )
    return path


def questions(lab: Lab) -> list[Question]:
    """The benchmark's questions."""
    return benchmark.load_questions(benchmark_path(lab))


def facts(lab: Lab, text: str) -> list[Fact]:
    """The document's registry of facts; empty for a document without one (a chunk then stands in for its facts)."""
    path = lab.settings.document.with_name(FACTS)
    return benchmark.load_facts(path, text) if lab.settings.shipped_document and path.is_file() else []


def chunks(lab: Lab, text: str, keep_furniture: bool = False) -> list[Chunk]:
    """The document's chunks at the profile's size; contents and running heads only where they are to be kept."""
    size, overlap = lab.profile.chunk_chars, lab.profile.chunk_overlap
    return documents.chunks(text, size, overlap, keep_furniture=keep_furniture or lab.settings.keep_furniture)


def index(lab: Lab, text: str) -> Index:
    """The search index over the whole document."""
    return Index(chunks(lab, text), text)


def part(lab: Lab, text: str, title: str | None = None) -> list[Chunk]:
    """The chunks under the heading that starts with `title`; for None, the part that the profile synthesises from."""
    wanted = title or lab.settings.part_title
    if wanted:
        section = _section(documents.sections(text), wanted, lab.settings.document.name)
        return [chunk for chunk in chunks(lab, text) if section.start <= chunk.start < section.end]
    whole, limit = chunks(lab, text), lab.profile.part_chars
    return whole if limit is None else richest_part(whole, limit)


def _section(sections: Sequence[Section], title: str, name: str) -> Section:
    """The section named so, its end moved to the next heading of the same or a higher level."""
    for position, section in enumerate(sections):
        if section.title.lower().startswith(title.lower()):
            later = (s.start for s in sections[position + 1 :] if s.level <= section.level)
            return section.model_copy(update={"end": next(later, sections[-1].end)})
    known = ", ".join(s.title for s in sections if s.level == 1)[:200]
    raise LabError(
        f"LAB_PART names {title!r}, but {name} has no such heading: choose one of its headings, such as {known}."
    )


def richest_part(whole: Sequence[Chunk], limit: int) -> list[Chunk]:
    """The run of chunks of at most `limit` characters with the most digits: where rules and tables stand."""
    digits = [len(re.findall(r"\d", chunk.text)) for chunk in whole]
    best, best_score, start, size, score = (0, 0), -1, 0, 0, 0
    for end, chunk in enumerate(whole):
        size, score = size + len(chunk.text), score + digits[end]
        while size > limit and start < end:
            size, score, start = size - len(whole[start].text), score - digits[start], start + 1
        if score > best_score:
            best, best_score = (start, end + 1), score
    return list(whole[best[0] : best[1]])


def calls_dir(lab: Lab) -> Path:
    """Where the teacher's finished calls lie, so that no step asks for one twice; other weights, another folder."""
    spec, endpoint = lab.settings.teacher, lab.settings.endpoint
    weights = provenance.model_record(spec, lab.settings.root).weights
    where = None if weights and not endpoint.url else endpoint.url
    return lab.settings.live_dir / ".calls" / fingerprint.digest([spec.name, weights, where])[:16]


def tokenizer(lab: Lab) -> Any:
    """The student's tokenizer, to count what a row takes; None where the student lives behind an endpoint."""
    from transformers import AutoTokenizer

    spec = lab.settings.student
    origin: dict[str, Any] = {"local_files_only": True} if spec.shipped else {"revision": spec.revision}
    return None if spec.remote else AutoTokenizer.from_pretrained(spec.location, **origin)


def generator(lab: Lab, model: str, adapter: Path | None = None) -> Any:
    """A local generator for a role or model name, or one that asks the endpoint(s) if that is where it lives."""
    from adaptlab import generation, models

    spec = lab.settings.model(model)
    if spec.remote:
        endpoint = lab.settings.endpoint
        if not endpoint.url:
            raise LabError(f"{spec.name} is reached through an endpoint: set LAB_ENDPOINT_URL (and LAB_ENDPOINT_KEY).")
        if endpoint.more_urls:
            from adaptlab.sharing import SharedGenerator

            return SharedGenerator.of(endpoint, spec.name)
        return generation.EndpointGenerator.of(endpoint, spec.name)
    return generation.LocalGenerator(models.load(spec, lab.settings, adapter))


def answered_again(lab: Lab, rows: pd.DataFrame) -> list[str]:
    """What the judge answers to each row's question over its own passage; empty where a row asks nothing."""
    from adaptlab.synthesis import reanswer_prompts

    asked = reanswer_prompts(rows)
    unique = sorted({prompt for prompt in asked if prompt})
    with lab.progress(total=len(unique), desc="Answering again") as bar:
        replies = generator(lab, "judge").generate(
            [[{"role": "user", "content": prompt}] for prompt in unique],
            max_tokens=lab.profile.sampling.max_new_tokens,
            seeds=0,
            on_item=lambda at, completions: bar.update(1),
        )
    said = {prompt: reply[0].text for prompt, reply in zip(unique, replies, strict=True)}
    return [said.get(prompt, "") for prompt in asked]


@contextmanager
def teacher_endpoint(lab: Lab) -> Iterator[dict[str, Any]]:
    """Where the teacher answers, as SDG Hub wants to be told: the configured endpoint, else a server of our own."""
    endpoint, name = lab.settings.endpoint, lab.settings.teacher.name
    if endpoint.url:
        model = endpoint.model or name
        yield {"model": f"openai/{model}", "api_base": _awake(endpoint, model), "api_key": endpoint.key or "none"}
        return
    from adaptlab import serving

    with serving.lent([name]) as url:
        yield {"model": f"hosted_vllm/{name}", "api_base": url, "api_key": serving.client_key()}


def _awake(endpoint: Endpoint, model: str) -> str | list[str]:
    """The URL of the endpoint, or of several those that answer; if none does, the first one's `LabError`."""
    urls, failed = list(endpoint.urls), []
    for url in urls:
        try:
            _knock(replace(endpoint, url=url), model)
        except LabError as error:
            failed.append((url, error))
    if len(failed) == len(urls):
        raise failed[0][1]
    left = [url for url in urls if url not in dict(failed)]
    return left if endpoint.more_urls else left[0]


def _knock(endpoint: Endpoint, model: str) -> None:
    """One short call, so that a missing key, a dead server or a wrong name is told before a whole run is lost."""
    from adaptlab.generation import EndpointGenerator

    asking = EndpointGenerator.of(endpoint, model)
    [[reply]] = asking.generate([[{"role": "user", "content": KNOCK}]], max_tokens=1, seeds=0)
    if reply.status == "error" and reply.finish_reason != "refused":
        raise LabError(reply.error)


def ask(
    lab: Lab,
    arm: Arm,
    asked: Sequence[Question],
    progress: Any,
    search: Searches | None = None,
    text: str | None = None,
    adapter: Path | None = None,
    k: int | None = None,
    seed: int | None = None,
) -> list[Generation]:
    """Every candidate of one arm, each question kept on disk as it is answered; a killed run goes on from there.

    `k` and `seed` are the profile's and the lab's unless given. A context over the model's window is cut to fit.

    A question that an endpoint did not answer is not a wrong answer: what was answered is kept, and the step stops.
    The calls that were lost on it are kept too, and count among its `attempts` and `faults` once it is answered.
    """
    name = re.sub(r"\W+", "-", arm.name)
    partial, unanswered = lab.partial(name), lab.partial(f"{name}-unanswered")
    done = [Generation.model_validate(line) for line in partial.read()]
    before = [Generation.model_validate(line) for line in unanswered.read()]
    remote = lab.settings.model(arm.model).remote
    lost: list[str] = []
    with progress(total=len(asked), desc=arm.name) as bar:
        bar.update(len({item.question_id for item in done}))

        def keep(items: list[Generation]) -> None:
            problem = _unanswered(items) if remote else None
            if problem is not None:
                lost.append(problem)
                for item in items:
                    unanswered.append(item)
                return
            _count_earlier(items, before)
            for item in items:
                partial.append(item)
            bar.update(1)

        model = generator(lab, arm.model, adapter)
        made = evaluation.run_arm(
            arm,
            asked,
            model,
            search,
            text,
            k=lab.profile.retrieval_k if k is None else k,
            on_done=keep,
            done=done,
            max_tokens=lab.profile.sampling.max_new_tokens,
            seed=lab.settings.seeds.sampling if seed is None else seed,
            fits=_fits(model, lab.profile.sampling.max_new_tokens),
        )
    if lost:
        rest = "the others are kept, so run again to ask only these"
        raise LabError(f"{len(lost)} of {len(asked)} questions got no answer ({lost[0].rstrip('.')}): {rest}.")
    return made


def _count_earlier(items: Sequence[Generation], before: Sequence[Generation]) -> None:
    """Add the calls of earlier runs, which got the question no answer, to its first sample."""
    for earlier in before:
        if earlier.question_id == items[0].question_id:
            items[0].attempts += earlier.attempts
            items[0].faults = [*items[0].faults, *earlier.faults]


def _fits(model: Any, max_tokens: int) -> evaluation.Fits | None:
    """Whether a chat and its answer go into a local model's window; None for an endpoint, which alone knows its own."""
    from adaptlab.generation import LocalGenerator, Request

    if not isinstance(model, LocalGenerator):
        return None

    def fits(messages: Sequence[Message]) -> bool:
        try:
            model.prompt_ids(Request(messages, max_tokens=max_tokens))
        except LabError:
            return False
        return True

    return fits


def _unanswered(items: Sequence[Generation]) -> str | None:
    """Why a question got no answer at all; None if it did, or if it can never get one."""
    return next((i.error for i in items if i.status == "error" and i.finish_reason != "refused"), None)


def generations(*results: Result) -> list[Generation]:
    """The generations that steps have stored."""
    return [Generation.model_validate(item) for result in results for item in result.data]


def groups(asked: Sequence[Question]) -> dict[str, list[Question]]:
    """The benchmark's groups that every section shows: lookups by split, reasoning, and the unanswerable."""
    parts = {
        "lookup, facts that synthesis may see": benchmark.lookup(asked, split="visible"),
        "lookup, held-out facts": benchmark.lookup(asked, split="held_out"),
        "reasoning": [q for q in asked if q.category in ("multi_step_rule", "implicit_reasoning")],
        "unanswerable": [q for q in asked if q.category == "unanswerable"],
    }
    return {name: members for name, members in parts.items() if members}


def detectable(count: int) -> str:
    """In words: from which difference on a paired comparison of `count` questions finds it four times out of five."""
    return detectable_words(count)


def group_scores(stored: Sequence[Generation], asked: Sequence[Question], **options: Any) -> pd.DataFrame:
    """`evaluation.score_table` once for each of `groups`, with the group as a column."""
    parts = []
    for name, members in groups(asked).items():
        scores = evaluation.score_table(stored, members, **options)
        scores.insert(1, "questions", name)
        parts.append(scores)
    return pd.concat(parts, ignore_index=True)


RUNGS = {
    "base": ("base alone", "00Setup/00_Recap_and_Evidence"),
    "base + retrieval": ("retrieval", "00Setup/00_Recap_and_Evidence"),
    "base, majority": ("Best-of-N, majority, closed-book", "01Inference_Time_Scaling/01_BestOfN"),
    "base + retrieval, majority": ("retrieval and Best-of-N", "01Inference_Time_Scaling/01_BestOfN"),
    "adapter": ("adapter alone", "03ModelAdaptation/01ModelAdaptation"),
    "adapter + retrieval": ("adapter and retrieval", "04Evaluation/01_Evaluation"),
}


def rungs(scores: pd.DataFrame, guess: pd.Series) -> list[dict[str, Any]]:
    """The ladder's rows out of a score table by arm and the guess control of the closed-book arms."""
    rows = []
    for arm, (name, where) in RUNGS.items():
        score = scores.loc[arm]
        control = float(guess[arm]) if arm in guess.index else None
        rows.append(
            {
                "rung": name,
                "arm": arm,
                "n": int(score.n),
                "rate": float(score.rate),
                "low": float(score.low),
                "high": float(score.high),
                "guess": control,
                "notebook": where,
            }
        )
    return rows


def follow(bar: Any) -> Callable[[dict[str, Any]], None]:
    """A call-back for the trainer's log lines that moves a progress bar, and in JupyterLab draws the loss."""
    from adaptlab import training_live

    return training_live.follow(bar)
