"""Results of an earlier workshop day take the place of the recap's own, after validation; what is missing is said.

Two formats are read, as JSON Lines, as a JSON list, or as a list under "results": the lab's own generations
(`schemas.Generation`), and older keyword-graded files with a question, an answer, keywords and a score in each record.
"""

from __future__ import annotations

import json
import platform
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaptlab import evaluation, kinds, prompts, provenance, workbench
from adaptlab.answers import clean
from adaptlab.artifacts import Lab
from adaptlab.files import atomic_write_json, read_text, sha256_path, size_of, validated
from adaptlab.kinds import Artifact
from adaptlab.provenance import IMPORTED, InputRecord, Provenance, sidecar_path
from adaptlab.schemas import Generation, Hit, Message, Question
from adaptlab.scoring import strict
from config import LabError

ARMS = {"eval_results": "base", "eval_with_context": "base + retrieval"}
ANSWER = ("answer", "response", "generated", "generated_answer", "model_answer", "output", "rag_answer")
CONTEXT = ("contexts", "context", "retrieved_contexts", "retrieved_context", "chunks", "passages")
SCORE = ("score", "correct", "passed", "is_correct", "keyword_score")
KEYWORDS = ("keywords", "expected_keywords", "expected")


@dataclass
class Imported:
    """What a file became: the generations by artifact, and in sentences what was mapped and what is missing."""

    generations: dict[str, list[Generation]]
    notes: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)


# ----------------------------------------------------------------------------------------------------- reading


def read_records(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The records of a JSON or JSON Lines file, each with the words that say where it stands."""
    text = read_text(path)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if "\n" not in text.strip():
            raise LabError(f"{path.name}, line {error.lineno}: not JSON ({error.msg}): correct it.") from error
        return [_line(path, at, line) for at, line in enumerate(text.split("\n"), 1) if line.strip()]
    if isinstance(value, dict) and isinstance(value.get("results"), list):
        value = value["results"]
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise LabError(f"{path.name} holds no list of records: give JSON Lines, a JSON list, or one under 'results'.")
    found = [(f"{path.name}, record {at}", item) for at, item in enumerate(value, 1)]
    for where, item in found:
        if not isinstance(item, dict):
            raise LabError(f"{where}: an object in braces belongs here, not {type(item).__name__}: correct it.")
    if not found:
        raise LabError(f"{path.name} holds no records: give a file with results.")
    return found


def _line(path: Path, at: int, line: str) -> tuple[str, dict[str, Any]]:
    where = f"{path.name}, line {at}"
    try:
        item = json.loads(line)
    except json.JSONDecodeError as error:
        raise LabError(f"{where}: not JSON ({error.msg}, column {error.colno}): correct this line.") from error
    if not isinstance(item, dict):
        raise LabError(f"{where}: an object in braces belongs here, not {type(item).__name__}: correct it.")
    return where, item


def _first(item: dict[str, Any], names: Sequence[str]) -> tuple[str, Any]:
    """The first of some fields that a record has, with its name."""
    return next(((name, item[name]) for name in names if item.get(name) not in (None, "", [])), ("", None))


def read(lab: Lab, path: Path, target: str | None = None) -> Imported:
    """The validated content of `path`, for `target` or for the artifact that each arm's contexts tell."""
    if target is not None and target not in ARMS:
        raise LabError(f"--as {target!r} is not known: choose one of {', '.join(ARMS)}.")
    records = read_records(path)
    questions, text = workbench.questions(lab), workbench.document(lab)
    ours = [("question_id" in item and "text" in item) for _, item in records]
    if all(ours):
        return _own(records, questions, text, target)
    older = [(where, item) for (where, item), own in zip(records, ours, strict=True) if not own]
    where, item = older[0]
    if any(ours) or not item.get("question") or not _first(item, ANSWER)[0]:
        raise LabError(
            f"{where}: it has neither question_id and text (our format) nor question and answer (an older one): "
            "see docs/commands.md for both formats."
        )
    return _keyword_graded(records, questions, text, target)


# ------------------------------------------------------------------------------------------------- our format


def _own(
    records: Sequence[tuple[str, dict[str, Any]]], questions: Sequence[Question], text: str, target: str | None
) -> Imported:
    """Our own generations, every record checked against the benchmark and the document."""
    known = {question.id: question for question in questions}
    arms: dict[str, list[Generation]] = defaultdict(list)
    seen: set[tuple[str, str, int]] = set()
    for where, item in records:
        generation = validated(item, where, Generation)
        problem = _problem(generation, known, text)
        mark = (generation.arm, generation.question_id, generation.sample)
        if mark in seen:
            problem = "field sample: this arm, question and sample stand here a second time; keep one of them"
        if problem:
            raise LabError(f"{where}: {problem}.")
        seen.add(mark)
        arms[generation.arm].append(generation)
    result = Imported({})
    for arm, items in arms.items():
        place = target or ("eval_with_context" if any(item.hits for item in items) else "eval_results")
        _put(result, place, arm, items, questions)
    return result


def _problem(generation: Generation, known: dict[str, Question], text: str) -> str:
    """What is wrong with a generation beyond its types; empty if nothing is."""
    if generation.question_id not in known:
        return f"field question_id: the benchmark has no question {generation.question_id!r}; import its own results"
    if generation.sample == 0 and not generation.messages:
        return "field messages: the first sample holds the prompt as it was asked; add it"
    for rank, hit in enumerate(generation.hits, 1):
        if text[hit.start : hit.end] != hit.text:
            return f"field hits.{rank - 1}: the document has other text at {hit.start} to {hit.end}; use the same one"
    return ""


def _put(result: Imported, place: str, arm: str, items: list[Generation], questions: Sequence[Question]) -> None:
    """Take one arm's answers over under the name that the notebooks use."""
    if place in result.generations:
        raise LabError(f"Two arms of this file would become {place}: keep one of them ({arm!r} is the second).")
    if place == "eval_with_context" and not any(item.hits for item in items):
        raise LabError("Answers with context need the contexts that were retrieved: without hits none can be sorted.")
    answered = {item.question_id for item in items if item.sample == 0}
    if not answered:
        raise LabError(f"The arm {arm!r} has no sample 0, which is the one that counts: number samples from 0.")
    result.generations[place] = [item.model_copy(update={"arm": ARMS[place]}) for item in items]
    result.notes.append(f"{place}: {len(answered)} questions of {len(questions)} are answered (arm {arm!r}).")
    left = [question.id for question in questions if question.id not in answered]
    if left:
        result.notes.append(f"{place}: no answer to {len(left)} questions ({_some(left)}); figures leave them out.")


def _some(names: Sequence[str]) -> str:
    """The first three names."""
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")


# ---------------------------------------------------------------------------------------------- older formats


def _keyword_graded(
    records: Sequence[tuple[str, dict[str, Any]]], questions: Sequence[Question], text: str, target: str | None
) -> Imported:
    """Older keyword-graded records on our schema; a question is found by its words, whatever their case and marks."""
    by_text = {clean(p.text).strip(" ?.!"): question for question in questions for p in question.phrasings}
    arms: dict[str, list[Generation]] = defaultdict(list)
    strangers: list[str] = []
    absent: Counter[str] = Counter()
    graded: list[tuple[bool, bool]] = []
    models: list[str] = []
    for where, item in records:
        _, answer = _first(item, ANSWER)
        asked = item.get("question")
        if not isinstance(asked, str) or not asked.strip():
            raise LabError(f"{where}, field question: a text belongs here: write the question down.")
        if not isinstance(answer, str):
            raise LabError(f"{where}, field answer: a text belongs here: write the model's answer down.")
        question = by_text.get(clean(asked).strip(" ?.!"))
        if question is None:
            strangers.append(asked)
            continue
        hits, lost = _hits(item, text, where)
        absent["contexts that do not stand in the document"] += lost
        _count_absent(item, absent)
        arm = str(item.get("model") or item.get("arm") or "the file's only arm")
        models += [arm] if item.get("model") and arm not in models else []
        arms[arm].append(_generation(question, asked, answer, arm, hits, item))
        _, score = _first(item, SCORE)
        if isinstance(score, (bool, int, float)):
            graded.append((bool(score >= 0.5), strict(question, answer)))
    if not arms:
        raise LabError(
            f"None of the {len(strangers)} questions is in the benchmark ({_some(strangers)}): make a benchmark of "
            "them first with adaptlab benchmark make, or name theirs in LAB_BENCHMARK."
        )
    result = Imported({}, models=models)
    for arm, items in arms.items():
        twice = [name for name, count in Counter(item.question_id for item in items).items() if count > 1]
        if twice:
            raise LabError(f"The question {twice[0]} is answered twice by {arm}: keep one answer, or name the models.")
        place = target or ("eval_with_context" if any(item.hits for item in items) else "eval_results")
        _put(result, place, arm, items, questions)
    if strangers:
        result.notes.append(
            f"{len(strangers)} questions are not in the benchmark and are left out: {_some(strangers)}."
        )
    result.notes += [
        f"Missing: {what}, in {count} of {len(records)} records." for what, count in absent.items() if count
    ]
    if graded:
        was, now = sum(before for before, _ in graded), sum(after for _, after in graded)
        other = sum(before != after for before, after in graded)
        result.notes.append(
            f"The file's own grading called {was} of {len(graded)} right, the strict scorer {now}; "
            f"they differ on {other}. Only the strict scorer counts here."
        )
    return result


def _count_absent(item: dict[str, Any], absent: Counter[str]) -> None:
    """Note what a keyword-graded record does not say."""
    absent["the prompt as it was sent"] += 1
    absent["tokens and finish reason"] += 1
    absent["seconds"] += not isinstance(item.get("seconds"), (int, float))
    absent["the model's name"] += not item.get("model")
    absent["keywords"] += not _first(item, KEYWORDS)[0]
    contexts = _first(item, CONTEXT)[1]
    scored = isinstance(contexts, list) and all(isinstance(one, dict) and "score" in one for one in contexts)
    absent["the retrieved contexts"] += contexts is None
    absent["the retriever's scores"] += contexts is not None and not scored
    absent["the older score"] += not _first(item, SCORE)[0]


def _hits(item: dict[str, Any], text: str, where: str) -> tuple[list[Hit], int]:
    """The record's contexts where they stand in the document, and how many do not."""
    name, value = _first(item, CONTEXT)
    listed = [value] if isinstance(value, (str, dict)) else value or []
    if not isinstance(listed, list):
        raise LabError(f"{where}, field {name}: a text or a list of texts belongs here: correct it.")
    hits: list[Hit] = []
    for one in listed:
        passage = (one.get("text") or one.get("content") or "") if isinstance(one, dict) else one
        passage = passage.strip() if isinstance(passage, str) else ""
        at = text.find(passage) if passage else -1
        if at < 0:
            continue
        end = at + len(passage)
        score = one.get("score", 0.0) if isinstance(one, dict) else 0.0
        score = float(score) if isinstance(score, (int, float)) else 0.0
        rank = len(hits) + 1
        hits.append(Hit(chunk_id=f"c{at}-{end}", title="", text=passage, start=at, end=end, score=score, rank=rank))
    return hits, len(listed) - len(hits)


def _generation(
    question: Question, asked: str, answer: str, arm: str, hits: list[Hit], item: dict[str, Any]
) -> Generation:
    """One record as a generation; the prompt holds what is known of it: the question over its contexts."""
    passages = [(hit.title, hit.text) for hit in hits]
    content = prompts.with_passages(asked, passages) if passages else prompts.closed_book(asked)
    seconds = item.get("seconds")
    return Generation(
        question_id=question.id,
        phrasing=asked,
        arm=arm,
        sample=0,
        messages=[Message(role="user", content=content)],
        hits=hits,
        text=answer,
        seconds=float(seconds) if isinstance(seconds, (int, float)) and seconds >= 0 else 0.0,
        status="ok" if answer.strip() else "empty",
    )


# ----------------------------------------------------------------------------------------------------- storing


def store(lab: Lab, path: Path, imported: Imported) -> list[Path]:
    """Put the generations where the recap's own results lie, each with a sidecar that says imported."""
    if lab.settings.mode == "prebuilt":
        raise LabError("LAB_MODE=prebuilt shows prebuilt results only: import with LAB_MODE=auto.")
    benchmark = workbench.benchmark_path(lab)
    source = InputRecord(name=benchmark.name, sha256=sha256_path(benchmark), origin="source")
    about = {"notes": imported.notes, "models": imported.models}
    return [
        put(lab, kinds.artifact_of(name), generations, path, "adaptlab eval import", [source], about)
        for name, generations in imported.generations.items()
    ]


def put(
    lab: Lab,
    artifact: Artifact,
    value: Any,
    path: Path,
    notebook: str,
    bound_to: Sequence[InputRecord] = (),
    about: dict[str, Any] | None = None,
) -> Path:
    """Write what the file at `path` became among this machine's results, with a sidecar that says imported.

    It belongs to the lab's profile and document, and to the files in `bound_to`.
    """
    place = lab.settings.live_dir / artifact.file
    sidecar_path(place).unlink(missing_ok=True)
    kinds.write(artifact, value, place)
    bound = {"the artifact": artifact.file, "the profile": lab.profile.name, "the document": lab.document_hash}
    record = Provenance(
        artifact=artifact.file,
        kind=artifact.kind,
        key=IMPORTED,
        parts=bound | {f"input {source.name}": source.sha256 for source in bound_to},
        sha256=sha256_path(place),
        bytes=size_of(place),
        origin=IMPORTED,
        label=f"imported from {path.name}; profile {lab.profile.name}; {provenance.today()}",
        profile=lab.profile.name,
        document=lab.settings.slug,
        notebook=notebook,
        inputs=[*bound_to, InputRecord(name=path.name, sha256=sha256_path(path), origin="source")],
        settings=about or {},
        models=[],
        libraries=provenance.library_versions(),
        python=platform.python_version(),
        device="not recorded",
        seeds={},
        wall_seconds=0,
        date=provenance.today(),
        revision=provenance.code_revision(),
    )
    atomic_write_json(sidecar_path(place), record)
    return place


def accuracy_note(generations: Sequence[Generation], questions: Sequence[Question]) -> str:
    """One line: what the strict scorer finds in the imported answers."""
    row = evaluation.score_table(generations, questions).iloc[0]
    return f"{row.arm}: {row.k} of {row.n} right under the strict scorer ({row.low:.0%} to {row.high:.0%})."
