"""The lab's normalised exact match, and what lm-eval needs to compute the same one.

`adaptlab benchmark export` copies this file as it stands beside the task's YAML, so it needs the standard library
only (and lm-eval's own `datasets`). A text matches where it, or what stands behind its first "is", "are" or colon,
equals the gold answer or an accepted form after normalising: Unicode compatibility form, lower case, plain quotes and
dashes, no articles, no thousands separators, no marks at either end, single spaces.
"""

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

QUESTIONS = "questions.jsonl"
_MARKS = " \t\n.,;:!?\"'`*_()[]"
_VERB = re.compile(r"\b(?:is|are)\b|:")


def normalised(text: str) -> str:
    """The spelling in which texts are compared."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = re.sub("[\u2018\u2019\u2032]", "'", plain)
    plain = re.sub("[\u201c\u201d\u2033]", '"', plain)
    plain = re.sub("[\u2010-\u2015\u2212]", "-", plain)
    plain = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain)
    plain = re.sub(r"\b(?:a|an|the)\b(?!-)", " ", plain)
    return " ".join(plain.split()).strip(_MARKS)


def exact_match(answer: str, accepted: list[str], text: str) -> bool:
    """Whether `text`, or what it says behind its first verb or colon, is the answer or an accepted form."""
    forms = {normalised(form) for form in (answer, *accepted)} - {""}
    verb = _VERB.search(text.casefold())
    said = {normalised(text), normalised(text.casefold()[verb.end() :]) if verb else ""}
    return bool(forms & said)


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """lm-eval's hook: the metric of one answered question, 1.0 or 0.0."""
    return {"exact_match": float(exact_match(doc["answer"], list(doc["accepted"]), results[0] or ""))}


def dataset(**_: Any) -> dict[str, Any]:
    """lm-eval's hook: the questions that lie beside this file, wherever the folder is moved to."""
    import datasets

    lines = (Path(__file__).resolve().parent / QUESTIONS).read_text("utf-8").split("\n")
    return {"test": datasets.Dataset.from_list([json.loads(line) for line in lines if line.strip()])}
