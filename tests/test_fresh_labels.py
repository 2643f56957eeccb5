"""The unseen labels: only their form is checked here, so that no scorer comes near them before they are committed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adaptlab.agreement import FRESH, LabelledAnswer, label_files, load_labels
from adaptlab.benchmark import load_questions, read_records
from config import ROOT


def answers(path: Path) -> list[LabelledAnswer]:
    """Every labelled answer of a file."""
    return [answer for _, answer in read_records(path, LabelledAnswer)]


OLDER = [path for path in label_files() if path != FRESH]


@pytest.fixture(scope="module")
def fresh() -> list[LabelledAnswer]:
    return answers(FRESH)


def test_every_line_follows_the_schema_and_names_a_known_question(fresh: list[LabelledAnswer]) -> None:
    assert len(load_labels(FRESH, half="unseen")) == len(fresh) >= 300
    assert [answer.id for answer in fresh if not (answer.text.strip() and answer.why)] == []


def test_ids_are_unique_over_all_files(fresh: list[LabelledAnswer]) -> None:
    ids = [answer.id for answer in [*fresh, *(answer for path in OLDER for answer in answers(path))]]
    assert len(ids) == len(set(ids))


def test_no_text_is_shared_with_the_older_labels(fresh: list[LabelledAnswer]) -> None:
    older = {answer.text.strip().casefold() for path in OLDER for answer in answers(path)}
    assert [answer.id for answer in fresh if answer.text.strip().casefold() in older] == []


def test_at_least_half_are_real_outputs_whose_origin_is_told(fresh: list[LabelledAnswer]) -> None:
    real = [answer for answer in fresh if answer.source == "model"]
    assert 2 * len(real) >= len(fresh)
    assert all(answer.origin for answer in real)


def test_both_verdicts_are_common_under_both_definitions(fresh: list[LabelledAnswer]) -> None:
    for right in ([a.label_strict for a in fresh], [a.label_lenient for a in fresh]):
        assert len(fresh) <= 3 * sum(right) <= 2 * len(fresh)


def test_embedded_questions_are_those_of_the_question_files(fresh: list[LabelledAnswer]) -> None:
    files = sorted((ROOT / "tests" / "data").glob("*.questions.jsonl"))
    known = [question for path in files for question in load_questions(path)]
    by_id = {json.dumps(question.model_dump(), sort_keys=True) for question in known}
    embedded = [answer.question for answer in fresh if not isinstance(answer.question, str)]
    assert all(json.dumps(question.model_dump(), sort_keys=True) in by_id for question in embedded)
