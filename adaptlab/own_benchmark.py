"""Bring your own benchmark: questions and answers in CSV or JSON Lines become questions with proving quotes.

What is not given is guessed from the answer and said; quotes are looked for in the document, where BM25 finds the
question and its answer, and proposed with their section; what no quote proves is listed and left out unless kept.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from adaptlab import documents
from adaptlab.answers import Value, clean, values, words_of
from adaptlab.benchmark import load_questions
from adaptlab.files import write_jsonl
from adaptlab.refusals import is_refusal
from adaptlab.retrieval import STOP_WORDS, Index, terms
from adaptlab.schemas import CATEGORIES, AnswerType, Category, Phrasing, Question, Quote
from config import LabError, slugify

QUESTION = ("question", "prompt", "query", "q")
ANSWER = ("answer", "gold", "expected_answer", "reference", "output", "a")
ACCEPTED = ("accepted", "accepted_answers", "alternatives")
KNOWN = (*QUESTION, *ANSWER, *ACCEPTED, "id", "category", "answer_type", "quote", "quotes", "section")
SEARCHED = 12  # chunks in which a proof is looked for
CHUNK = 700
LEAST = 0.1  # of what the question tells: a proof and its chunk share more than that with it


@dataclass(frozen=True)
class Given:
    """A row of the file; `line` counts from 1."""

    line: int
    question: str
    answer: str
    fields: dict[str, Any]


@dataclass
class Made:
    """The benchmark and everything that was said about it."""

    questions: list[Question] = field(default_factory=list)
    guessed: list[str] = field(default_factory=list)
    proposed: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# ----------------------------------------------------------------------------------------------------- reading


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a CSV or JSON Lines file with their lines; an unreadable file is a LabError."""
    if not path.is_file():
        raise LabError(f"{path} does not exist: give a CSV or JSON Lines file of questions and answers.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabError(f"{path.name} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from error
    if path.suffix.lower() == ".csv":
        yield from _csv(path.name, text)
        return
    if path.suffix.lower() not in (".jsonl", ".json"):
        raise LabError(f"{path.name} has an unknown extension: give a .csv or a .jsonl file.")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise LabError(
                f"{path.name}, line {number}: not JSON ({error.msg}): put one object on each line."
            ) from error
        if not isinstance(row, dict):
            raise LabError(f"{path.name}, line {number}: an object belongs here: put one object on each line.")
        yield number, row


def _csv(name: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """CSV rows; commas, semicolons or tabs, whatever the header uses."""
    head = text.split("\n", 1)[0]
    mark = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        columns = [column.strip().lower() for column in next(reader, [])]
        start = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) > len(columns):
                    raise LabError(f"{name}, line {start}: more cells than the header has: put quotes around commas.")
                yield start, dict(zip(columns, cells, strict=False))
            start = reader.line_num + 1
    except csv.Error as error:
        raise LabError(f"{name}, line {reader.line_num}: not CSV ({error}): correct it.") from error


def _first(row: dict[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "", [])), None)


def given(path: Path, made: Made) -> list[Given]:
    """The rows with a question and an answer; the others, and duplicates, are listed as faults with their line."""
    found: list[Given] = []
    asked: dict[str, int] = {}
    strange: set[str] = set()
    for line, row in _rows(path):
        if isinstance(row.get("phrasings"), list) and row["phrasings"] and isinstance(row["phrasings"][0], dict):
            row = {**row, "question": row["phrasings"][0].get("text")}
        question, answer = _first(row, QUESTION), _first(row, ANSWER)
        answer = str(answer) if isinstance(answer, (int, float)) and not isinstance(answer, bool) else answer
        answer = {True: "Yes", False: "No"}[answer] if isinstance(answer, bool) else answer
        absent = [n for n, v in (("question", question), ("answer", answer)) if not isinstance(v, str) or not v.strip()]
        if absent:
            made.faults.append(f"{path.name}, line {line}, field {absent[0]}: missing or empty; this row is left out.")
            continue
        key = " ".join(words_of(clean(question)))
        if key in asked:
            made.faults.append(
                f"{path.name}, line {line}, field question: the same question stands on line {asked[key]}; left out."
            )
            continue
        asked[key] = line
        strange |= {str(name) for name in row if name not in (*KNOWN, *Question.model_fields)}
        found.append(Given(line, question.strip(), answer.strip(), row))
    if strange:
        made.notes.append(f"Fields that are not read: {', '.join(sorted(strange))}.")
    if not found:
        raise LabError(f"{path.name} has no row with a question and an answer: name the columns question and answer.")
    return found


# ---------------------------------------------------------------------------------------------------- guessing


def answer_type_of(answer: str) -> AnswerType:
    """The answer type that an answer's form tells."""
    plain = clean(answer).strip(" .")
    words = words_of(plain)
    if is_refusal(answer):
        return "refusal"
    if re.fullmatch(r"(?:yes|no)\b.{0,60}", plain):
        return "yes_no"
    if values(plain, "dice") and len(words) <= 4:
        return "dice"
    if values(plain, "number") and len(words) <= 5:
        return "number"
    items = [item for item in re.split(r",|;|\band\b", plain) if item.strip()]
    if len(items) > 1 and all(len(item.split()) <= 5 for item in items):
        return "list"
    return "name" if len(words) <= 3 and answer[:1].isupper() else "text"


def category_of(answer_type: AnswerType, quotes: Sequence[Quote]) -> Category:
    """The category that an answer and its proof tell; reasoning cannot be told from them."""
    if answer_type == "refusal":
        return "unanswerable"
    if len(quotes) > 1:
        return "multi_step_rule"
    if quotes and quotes[0].text.lstrip().startswith("|"):
        return "table_lookup"
    return "implicit_reasoning" if answer_type == "yes_no" else "explicit_rule"


# ------------------------------------------------------------------------------------------------- the proof


@dataclass(frozen=True)
class Span:
    """A stretch of the document and where it starts."""

    text: str
    start: int


@dataclass(frozen=True)
class _Unit:
    """A sentence or a table row of the document, verbatim, with its words and those of its surroundings."""

    text: str
    start: int
    words: frozenset[str]
    around: frozenset[str]


def _units(index: Index, query: str) -> list[_Unit]:
    """Sentences and table rows of the chunks that BM25 finds for `query`."""
    units = []
    for hit in index.search(query, SEARCHED):
        around = frozenset(terms(f"{hit.title} {hit.text}"))
        for start, end in _pieces(hit.text):
            text = hit.text[start:end].strip()
            if text and not documents.SEPARATOR_ROW.match(text) and not documents.HEADING.match(text):
                units.append(_Unit(text, hit.start + start, frozenset(terms(text)), around))
    return units


def _pieces(text: str) -> list[tuple[int, int]]:
    """Where the sentences and table rows of a chunk stand; a sentence may go over several lines."""
    rows = {match.start() for match in re.finditer(r"^\s*[|#].*$", text, re.M)}
    rows |= {text.find("\n", start) + 1 or len(text) for start in rows}
    cuts = rows | {match.end() for match in documents.SENTENCE_END.finditer(text)}
    cuts |= {match.end() for match in re.finditer(r"\n\s*\n", text)}
    places = sorted(cuts | {0, len(text)})
    return list(zip(places, places[1:], strict=False))


def _holds(unit: _Unit, form: str, kind: AnswerType) -> bool:
    """Whether a unit holds an answer: its values with no other unit, or all its words that mean something."""
    if kind in ("number", "dice"):
        there = values(clean(unit.text), kind)
        wanted = values(clean(form), kind)
        return bool(wanted) and all(any(_same(one, other) for other in there) for one in wanted)
    wanted_words = set(terms(form)) - STOP_WORDS
    if not wanted_words:
        return False
    share = len(wanted_words & unit.words) / len(wanted_words)
    return share == 1.0 if len(wanted_words) < 4 else share >= 0.75


def _same(one: Value, other: Value) -> bool:
    """Whether two values are one, a missing unit forgiven."""
    return one.value.lstrip("+") == other.value.lstrip("+") and (
        not one.unit or not other.unit or one.unit == other.unit
    )


def propose(index: Index, question: str, answer: str, accepted: Sequence[str], kind: AnswerType) -> Span | None:
    """The sentence or table row that holds the answer and, with its chunk, has most in common with the question.

    A yes or no is nowhere written: for those the answer is not looked for. None where nothing fits.
    """
    asked = frozenset(terms(question))
    rarity = _rarity(index, asked)
    units = {
        (unit.start, unit.text): unit for query in _queries(question, answer, kind) for unit in _units(index, query)
    }

    def score(unit: _Unit) -> float:
        return sum(rarity[word] for word in asked & unit.words) + sum(rarity[word] for word in asked & unit.around)

    fitting = [
        unit
        for unit in units.values()
        if score(unit) > LEAST * sum(rarity.values())
        and (kind == "yes_no" or any(_holds(unit, form, kind) for form in (answer, *accepted)))
    ]
    if not fitting:
        return None
    best = max(fitting, key=score)
    return Span(best.text, best.start)


def _queries(question: str, answer: str, kind: AnswerType) -> list[str]:
    """What BM25 is asked: the question, and with its answer where that says something."""
    return [question] if kind == "yes_no" else [f"{question} {answer}", question]


def _rarity(index: Index, words: frozenset[str]) -> dict[str, float]:
    """How much a word tells: the fewer chunks have it, the more; a word that none has tells nothing."""
    sets = [frozenset(terms(f"{chunk.title} {chunk.text}")) for chunk in index.chunks]
    counts = {word: sum(word in words_of_chunk for words_of_chunk in sets) for word in words}
    return {word: math.log(1 + len(sets) / count) if count else 0.0 for word, count in counts.items()}


# ---------------------------------------------------------------------------------------------------- making


def make(path: Path, document: Path, keep_unproven: bool = False) -> Made:
    """The benchmark of a file of questions and answers about a document."""
    made = Made()
    rows = given(path, made)
    text = documents.load(document)
    index, sections = Index(documents.chunks(text, size=CHUNK), text), documents.sections(text)
    used: set[str] = set()
    for row in rows:
        where = f"{path.name}, line {row.line}"
        accepted = _accepted(row.fields)
        kind = _kind(row, where, made)
        if kind is None:
            continue
        quotes = _given_quotes(row, text, where, made)
        if not quotes and kind != "refusal":
            found = propose(index, row.question, row.answer, accepted, kind)
            if found:
                section = next((s.title for s in reversed(sections) if s.start <= found.start), "")
                quotes = [Quote(text=found.text, section=section)]
                made.proposed.append(f"{where}: {section or 'no section'}: {found.text}")
        category = _category(row, kind, quotes, where, made)
        if category is None:
            continue
        if not quotes and category != "unanswerable":
            fate = "kept without a quote" if keep_unproven else "left out"
            made.unproven.append(f"{where}: {row.question} ({row.answer}): no quote proves it; {fate}.")
            if not keep_unproven:
                continue
        identity = _identity(row, used)
        made.questions.append(
            Question(
                id=identity,
                category=category,
                answer_type=kind,
                phrasings=[Phrasing(text=row.question, role="unseen form")],
                answer=row.answer,
                accepted=accepted,
                quotes=quotes,
                unproven=not quotes and category != "unanswerable",
            )
        )
    return made


def _accepted(fields: dict[str, Any]) -> list[str]:
    value = _first(fields, ACCEPTED)
    forms = re.split(r"[|;]", value) if isinstance(value, str) else value
    return [str(form).strip() for form in forms or [] if str(form).strip()] if isinstance(forms, list) else []


def _kind(row: Given, where: str, made: Made) -> AnswerType | None:
    """The answer type that is given, else the guessed one; None for one that does not exist."""
    stated = row.fields.get("answer_type")
    if stated in (None, ""):
        kind = "refusal" if row.fields.get("category") == "unanswerable" else answer_type_of(row.answer)
        made.guessed.append(f"{where}: answer type {kind}")
        return kind
    if stated not in get_args(AnswerType):
        choices = ", ".join(get_args(AnswerType))
        made.faults.append(f"{where}, field answer_type: {stated!r} is not one of {choices}; this row is left out.")
        return None
    return stated


def _category(row: Given, kind: AnswerType, quotes: Sequence[Quote], where: str, made: Made) -> Category | None:
    """The category that is given, else the guessed one; None where it does not exist or contradicts the answer."""
    stated = row.fields.get("category")
    if stated in (None, ""):
        category = category_of(kind, quotes)
        made.guessed.append(f"{where}: category {category}")
        return category
    if stated not in CATEGORIES:
        choices = ", ".join(CATEGORIES)
        made.faults.append(f"{where}, field category: {stated!r} is not one of {choices}; this row is left out.")
        return None
    if (stated == "unanswerable") != (kind == "refusal"):
        made.faults.append(
            f"{where}, field category: unanswerable questions, and only they, have an answer that declines "
            "(answer type refusal); this row is left out."
        )
        return None
    return stated


def _given_quotes(row: Given, text: str, where: str, made: Made) -> list[Quote]:
    """The quotes that a row brings along, as far as they stand in the document."""
    value = _first(row.fields, ("quotes", "quote"))
    listed = value if isinstance(value, list) else [value] if value else []
    found = []
    for one in listed:
        said = one.get("text", "") if isinstance(one, dict) else str(one)
        section = str(one.get("section", "")) if isinstance(one, dict) else str(row.fields.get("section") or "")
        if said.strip() and said.strip() in text:
            found.append(Quote(text=said.strip(), section=section))
        else:
            made.faults.append(f"{where}, field quotes: {said[:60]!r} does not stand in the document; it is not used.")
    return found


def _identity(row: Given, used: set[str]) -> str:
    """The row's own id, else one made of its words; never one that is taken."""
    base = str(row.fields.get("id") or "").strip() or "-".join(slugify(row.question).split("-")[:7])
    name, number = base, 2
    while name in used:
        name, number = f"{base}-{number}", number + 1
    used.add(name)
    return name


def write(made: Made, out: Path) -> Path:
    """Write the questions, and read them back as every command and notebook will."""
    if not made.questions:
        raise LabError("No question is left: every one is faulty or unproven (--keep-unproven keeps the unproven).")
    write_jsonl(out, made.questions)
    load_questions(out)
    return out
