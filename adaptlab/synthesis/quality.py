"""Quality tools over rows of question and answer, generated or brought, each from a kept library where one exists.

Each takes a table and gives it back with a column `verdict_*` (`ok`, `not checked`, or a reason, as in `filters`) and
with what proves the verdict. Nothing is dropped: `turn_down` turns verdicts into `kept` and `reason`. No column ever
holds a piece of personal data; it names the kind and the place.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptlab import benchmark, files, prompts, scoring, verify_data
from adaptlab.answers import clean, words_of
from adaptlab.schemas import Phrasing, Question
from adaptlab.synthesis import flows
from adaptlab.synthesis.cleaning import TEXTS, row_ids
from adaptlab.synthesis.filters import LONGEST_VALUE, OK, UNCHECKED
from adaptlab.synthesis.wording import YES_OR_NO, stands_in, value_of
from config import LabError

if TYPE_CHECKING:
    import pandas as pd

CHECKS = ("readable", "length", "language", "personal", "in_document", "benchmark", "near_duplicate")
SHINGLE = 4  # characters; Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.2
PERMUTATIONS = 128
LEAST_LETTERS = 20  # fewer letters tell no language
FOREIGN = 0.1  # below this probability of an expected language, another one is believed
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_TOKEN = re.compile(r"\b(?:sk|pk|rk|hf|ghp|gho|ghs|glpat|npm|pypi|xox[abprs])[-_][A-Za-z0-9_-]{16,}")
_NEGATIVE = frozenset({"not", "never", "no", "none", "cannot", "without"})


def turn_down(rows: pd.DataFrame, checks: Sequence[str] = CHECKS) -> pd.DataFrame:
    """The rows with `kept` and `reason` set by the first of `checks` that objects; earlier reasons stay."""
    reasons = [str(reason) for reason in rows["reason"]] if "reason" in rows.columns else [""] * len(rows)
    named = [check for check in checks if f"verdict_{check}" in rows.columns]
    for check in named:
        objections = [f"{check}: {v}" if v not in (OK, UNCHECKED) else "" for v in rows[f"verdict_{check}"]]
        reasons = [before or now for before, now in zip(reasons, objections, strict=True)]
    was = [bool(kept) for kept in rows["kept"]] if "kept" in rows.columns else [True] * len(rows)
    return rows.assign(kept=[k and not r for k, r in zip(was, reasons, strict=True)], reason=reasons)


def screen(
    rows: pd.DataFrame,
    *,
    questions: Sequence[Question] = (),
    names: Sequence[str] = (),
    few_shot: Mapping[str, str] | None = None,
    tokenizer: Any = None,
    longest: int,
    expected: Sequence[str] = ("en",),
) -> pd.DataFrame:
    """Every check of this module that needs no whole document, one after another, and what they turn down.

    `names` may stand in rows and questions alike; `longest` is in tokens with a `tokenizer`, else in words.
    """
    rows = lengths(readable(rows), tokenizer=tokenizer, longest=longest)
    rows = personal_data(languages(rows, expected=expected))
    rows = contaminated(rows, questions, names=names, few_shot=few_shot)
    return turn_down(near_duplicates(turn_down(rows), names=names))


def report(rows: pd.DataFrame, checks: Sequence[str] = CHECKS) -> pd.DataFrame:
    """How many rows got which verdict of which check (check, verdict, rows); each check's counts add up to all."""
    import pandas as pd

    counted = [
        (check, str(verdict), int(count))
        for check in checks
        if f"verdict_{check}" in rows.columns
        for verdict, count in rows[f"verdict_{check}"].value_counts().sort_index().items()
    ]
    return pd.DataFrame(counted, columns=["check", "verdict", "rows"])


# ----------------------------------------------------------------------------------------------------- duplicates


def near_duplicates(
    rows: pd.DataFrame,
    *,
    names: Sequence[str] = (),
    threshold: float = 0.85,
    columns: Sequence[str] = TEXTS,
    seed: int = 1,
) -> pd.DataFrame:
    """The rows with `duplicate_of` (a row_id), `similarity` (Jaccard; 1: the same words), `verdict_near_duplicate`.

    MinHash with locality-sensitive hashing (Broder 1997) finds candidates, whose similarity is then computed exactly,
    so that none is turned down by chance; a pair just above `threshold` can be missed. Two texts with other numbers,
    another of the listed `names` or another count of negations are never duplicates, however alike they look.
    Of several, the one whose row_id sorts first stays, whatever the order of the rows. Where the table says which rows
    are `kept`, only those are compared.
    """
    datasketch = _library("datasketch")
    ids, records = row_ids(rows), rows.to_dict("records")
    pattern = _names_pattern(names)
    index = datasketch.MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, weights=(0.3, 0.7))
    prints: dict[int, tuple[frozenset[str], Any]] = {}
    alive = [bool(kept) for kept in rows["kept"]] if "kept" in rows.columns else [True] * len(ids)
    of, alike, verdicts = [""] * len(ids), [0.0] * len(ids), [OK] * len(ids)
    for at in sorted(range(len(ids)), key=lambda i: (ids[i], i)):
        text = " # ".join(str(records[at][name]) for name in columns)
        shingles, marks = _shingles(text), _marks(text, pattern)
        if not shingles or not alive[at]:
            verdicts[at] = UNCHECKED
            continue
        minhash = datasketch.MinHash(num_perm=PERMUTATIONS, seed=seed)
        minhash.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in sorted(shingles)])
        rivals = [(_jaccard(shingles, prints[i][0]), -i) for i in index.query(minhash) if prints[i][1] == marks]
        best, position = max(rivals, default=(0.0, 0))
        if best >= threshold:
            of[at], alike[at] = ids[-position], round(best, 4)
            verdicts[at] = "the same words as another row" if best == 1 else "nearly the same as another row"
            continue
        prints[at] = (shingles, marks)
        index.insert(at, minhash)
    return rows.assign(duplicate_of=of, similarity=alike, verdict_near_duplicate=verdicts)


def _shingles(text: str) -> frozenset[str]:
    plain = " ".join(re.findall(r"\w+", text.casefold()))
    return frozenset(plain[i : i + SHINGLE] for i in range(max(1, len(plain) - SHINGLE + 1))) if plain else frozenset()


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


def _marks(text: str, names: re.Pattern[str] | None) -> tuple[list[str], list[str], int]:
    """What two texts must share before they can be duplicates: numbers, names, and how often they say no."""
    words = re.findall(r"[\w']+", text.casefold().replace("’", "'"))
    negations = sum(word in _NEGATIVE or word.endswith("n't") for word in words)
    return sorted(re.findall(r"\d+", text)), sorted(names.findall(clean(text))) if names else [], negations


def _names_pattern(names: Sequence[str]) -> re.Pattern[str] | None:
    """One expression for all names, the longest first, over texts that `clean` has seen."""
    listed = sorted({clean(name) for name in names if name.strip()}, key=lambda name: (-len(name), name))
    return re.compile(r"\b(?:" + "|".join(map(re.escape, listed)) + r")\b") if listed else None


# -------------------------------------------------------------------------------------------------- contamination


def contaminated(
    rows: pd.DataFrame,
    questions: Sequence[Question],
    *,
    names: Sequence[str] = (),
    few_shot: Mapping[str, str] | None = None,
    columns: Sequence[str] = TEXTS,
) -> pd.DataFrame:
    """The rows with `verdict_benchmark`, the question met (`benchmark_id`), `shared` words and `excepted_names`.

    A row is turned down where one of its texts equals a benchmark question or holds one, shares a run of 13 words with
    it (entity names not counted; those that were met are listed row by row), or repeats one of the `few_shot` texts.
    """
    texts = [str(text) for name in columns for text in rows[name]]
    shots = [_as_question(name, text) for name, text in (few_shot or {}).items()]
    overlaps = benchmark.contamination([*questions, *shots], texts, names) if len(rows) else []
    kinds = {"equal": "equals", "contained": "holds", "shared run": f"shares {benchmark.RUN} words with"}
    found: dict[int, tuple[str, str, str]] = {}
    for overlap in overlaps:
        what = "a few-shot text" if overlap.question_id.startswith(_SHOT) else "a benchmark question"
        met = (f"{kinds[overlap.kind]} {what}", overlap.question_id.removeprefix(_SHOT), overlap.shared)
        found.setdefault(overlap.text_index % len(rows), met)
    unmet = (OK if questions or shots else UNCHECKED, "", "")
    verdicts = [found.get(at, unmet) for at in range(len(rows))]
    pattern = _names_pattern(names)
    excepted = [_met(pattern, [str(row[name]) for name in columns]) for row in rows.to_dict("records")]
    return rows.assign(
        verdict_benchmark=[verdict for verdict, _, _ in verdicts],
        benchmark_id=[identifier for _, identifier, _ in verdicts],
        shared=[shared for _, _, shared in verdicts],
        excepted_names=excepted,
    )


def contaminated_texts(
    texts: Mapping[str, str], questions: Sequence[Question], names: Sequence[str] = ()
) -> pd.DataFrame:
    """Where named texts (prompts, few-shot examples) hold benchmark questions: text, question_id, kind, shared."""
    import pandas as pd

    labels = list(texts)
    found = benchmark.contamination(questions, [texts[label] for label in labels], names)
    lines = [(labels[one.text_index], one.question_id, one.kind, one.shared) for one in found]
    return pd.DataFrame(lines, columns=["text", "question_id", "kind", "shared"])


def few_shot_texts(flow_path: str | Path) -> dict[str, str]:
    """Every turn of every prompt file beside a flow, by file and number: what a teacher sees besides a passage.

    A flow that demands an example in its seed data gets the one of `flows.EXAMPLE`, which counts too.
    """
    import yaml

    found = {name: text for name, text in flows.example_of(Path(flow_path)).items() if name.startswith("icl_")}
    for path in sorted(Path(flow_path).parent.rglob("*.y*ml")):
        if path == Path(flow_path):
            continue
        try:
            turns = yaml.safe_load(files.read_text(path))
        except yaml.YAMLError as error:
            raise LabError(f"{path} is no YAML: {' '.join(str(error).split())}: correct what was edited.") from error
        for number, turn in enumerate(turns if isinstance(turns, list) else [turns], 1):
            text = turn.get("content") if isinstance(turn, dict) else turn
            found |= {f"{path.name}, turn {number}": text} if isinstance(text, str) else {}
    return found


_SHOT = "few-shot: "


def _as_question(name: str, text: str) -> Question:
    """A few-shot text in the form that the contamination check takes."""
    phrasing = Phrasing(text=text, role="seen form")
    return Question(id=f"{_SHOT}{name}", category="explicit_rule", answer_type="text", phrasings=[phrasing], answer="")


def _met(pattern: re.Pattern[str] | None, texts: Sequence[str]) -> str:
    return ", ".join(sorted({name for text in texts for name in pattern.findall(clean(text))})) if pattern else ""


# ------------------------------------------------------------------------------------------------ the single row


def readable(rows: pd.DataFrame, columns: Sequence[str] = TEXTS) -> pd.DataFrame:
    """The rows with `verdict_readable`: empty texts, characters lost in a wrong encoding, control characters."""
    verdicts = []
    for row in rows.to_dict("records"):
        faults = [what for name in columns for what in verify_data.text_faults(row[name])]
        verdicts.append(faults[0].split(";")[0] if faults else OK)
    return rows.assign(verdict_readable=verdicts)


def lengths(
    rows: pd.DataFrame, *, tokenizer: Any = None, longest: int, shortest: int = 1, columns: Sequence[str] = TEXTS
) -> pd.DataFrame:
    """The rows with `tokens` and `verdict_length`: tokens of the chat with a tokenizer, else words of the texts."""
    counts = [_length(tokenizer, [str(row[name]) for name in columns]) for row in rows.to_dict("records")]
    verdicts = ["too long" if n > longest else "too short" if n < shortest else OK for n in counts]
    return rows.assign(tokens=counts, verdict_length=verdicts)


def _length(tokenizer: Any, texts: Sequence[str]) -> int:
    if tokenizer is None:
        return sum(len(text.split()) for text in texts)
    asked, answer = prompts.closed_book(texts[0]), "\n".join(texts[1:])
    chat = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return len(tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False))


def languages(rows: pd.DataFrame, *, expected: Sequence[str] = ("en",), columns: Sequence[str] = TEXTS) -> pd.DataFrame:
    """The rows with `language` (ISO 639 code) and `verdict_language`; a text of few letters is not checked.

    py3langid (Lui and Baldwin 2012), its model inside its wheel. Only a row in which none of the `expected` languages
    is at all likely is turned down: invented names confuse every identifier.
    """
    identifier = _identifier()
    unknown = sorted(set(expected) - set(identifier.labels))
    if unknown or not expected:
        raise LabError(f"The language {', '.join(unknown) or '(none)'} is not known: give codes such as en, de or fr.")
    found, verdicts = [], []
    for row in rows.to_dict("records"):
        text = " ".join(str(row[name]) for name in columns)
        if sum(letter.isalpha() for letter in text) < LEAST_LETTERS:
            found.append("")
            verdicts.append(UNCHECKED)
            continue
        ranked = identifier.rank(text)
        likely = sum(p for language, p in ranked if language in expected)
        found.append(ranked[0][0])
        foreign = ranked[0][0] not in expected and likely < FOREIGN
        verdicts.append(f"another language: {ranked[0][0]}" if foreign else OK)
    return rows.assign(language=found, verdict_language=verdicts)


@functools.cache
def _identifier() -> Any:
    """py3langid's identifier with probabilities."""
    langid = _library("py3langid.langid")
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


def in_document(rows: pd.DataFrame, document: str) -> pd.DataFrame:
    """The rows with `verdict_in_document`: whether what the answer says stands in the document, word for word.

    For rows that come without a passage; refusals, and answers that are sentences of their own, are not checked.
    """
    verdicts: list[str] = []
    told: dict[str, bool] = {}  # many rows state the same value
    for row in rows.to_dict("records"):
        answer = str(row["answer"])
        value = value_of(str(row.get("subject", "")), answer)
        beyond = scoring.is_refusal(answer) or YES_OR_NO.match(answer)
        if not value or beyond or len(words_of(clean(value))) > LONGEST_VALUE:
            verdicts.append(UNCHECKED)
            continue
        if value not in told:
            told[value] = stands_in(value, document)
        verdicts.append(OK if told[value] else "value not in the document")
    return rows.assign(verdict_in_document=verdicts)


# -------------------------------------------------------------------------------------------------- personal data


def personal_data(rows: pd.DataFrame, *, region: str | None = "US", columns: Sequence[str] = TEXTS) -> pd.DataFrame:
    """The rows with `verdict_personal` and `personal` ("answer: email"): which kinds stand where, never what they are.

    Phone numbers by Google's libphonenumber (those without a country code are read as of `region`), keys by the
    patterns of detect-secrets; nothing is asked of any network.
    """
    places, verdicts = [], []
    for row in rows.to_dict("records"):
        kinds = {name: sorted({kind for kind, _, _ in _personal(str(row[name]), region)}) for name in columns}
        places.append("; ".join(f"{name}: {', '.join(what)}" for name, what in kinds.items() if what))
        every = sorted({kind for what in kinds.values() for kind in what})
        verdicts.append(f"holds {', '.join(every)}" if every else OK)
    return rows.assign(personal=places, verdict_personal=verdicts)


def masked(text: str, region: str | None = "US") -> str:
    """A text that may be shown: each piece of personal data replaced by its kind in brackets."""
    for kind, start, end in sorted(_personal(text, region), key=lambda hit: -hit[1]):
        text = f"{text[:start]}[{kind}]{text[end:]}"
    return text


def _personal(text: str, region: str | None) -> list[tuple[str, int, int]]:
    """Kind, start and end of each piece; of overlapping ones the first."""
    found = sorted(_pieces(text, region), key=lambda hit: (hit[1], -hit[2]))
    clear: list[tuple[str, int, int]] = []
    for hit in found:
        if not clear or hit[1] >= clear[-1][2]:
            clear.append(hit)
    return clear


def _pieces(text: str, region: str | None) -> Iterator[tuple[str, int, int]]:
    yield from (("email", match.start(), match.end()) for match in _EMAIL.finditer(text))
    yield from (("key", match.start(), match.end()) for match in _TOKEN.finditer(text))
    for pattern in _key_patterns():
        yield from (("key", match.start(), match.end()) for match in pattern.finditer(text))
    phones = _library("phonenumbers")
    yield from (("phone number", match.start, match.end) for match in phones.PhoneNumberMatcher(text, region))


@functools.cache
def _key_patterns() -> tuple[re.Pattern[str], ...]:
    """The patterns of detect-secrets' detectors of one service each; its guesses from entropy are left out."""
    names = ("aws.AWSKeyDetector", "azure_storage_key.AzureStorageKeyDetector", "basic_auth.BasicAuthDetector",
             "github_token.GitHubTokenDetector", "gitlab_token.GitLabTokenDetector", "jwt.JwtTokenDetector",
             "openai.OpenAIDetector", "private_key.PrivateKeyDetector", "sendgrid.SendGridDetector",
             "slack.SlackDetector", "stripe.StripeDetector", "twilio.TwilioKeyDetector")  # fmt: skip
    found: list[re.Pattern[str]] = []
    for name in names:
        module, _, detector = name.partition(".")
        found += getattr(_library(f"detect_secrets.plugins.{module}"), detector)().denylist
    return tuple(found)


def _library(name: str) -> Any:
    """A library that the quality tools stand on."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise LabError(f"This check needs {name.partition('.')[0]}: install requirements.txt.") from error
