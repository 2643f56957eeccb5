"""The development questions: right, about what may be seen, and none of the benchmark's; the script that asks them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import config
from adaptlab import benchmark
from adaptlab.schemas import Fact
from benchmarks import development

FACTS = {fact.id: fact for _, fact in benchmark.read_records(config.DOCUMENT_FOLDER / "facts.jsonl", Fact)}
QUESTIONS = benchmark.load_questions(development.QUESTIONS)


def test_each_development_question_asks_for_one_fact_that_synthesis_may_see() -> None:
    assert len(QUESTIONS) == 200
    assert max(Counter(question.fact_ids[0] for question in QUESTIONS).values()) == 1
    for question in QUESTIONS:
        fact = FACTS[question.fact_ids[0]]
        assert (fact.split, fact.in_mini, fact.value) == ("visible", True, question.answer)
        assert fact.entity.lower() in question.text().lower() and fact.value.lower() not in question.text().lower()


def test_no_development_question_is_one_of_the_benchmark() -> None:
    tested = benchmark.load_questions(config.ROOT / "00Setup" / "benchmark.jsonl")
    names = {fact.entity for fact in FACTS.values()}
    assert not benchmark.contamination(tested, [question.text() for question in QUESTIONS], names)


def test_the_lines_of_an_arm_count_by_training_rows() -> None:
    rows = Counter({QUESTIONS[0].fact_ids[0]: 1, QUESTIONS[1].fact_ids[0]: 9})
    lines = development.lines_of("arm", QUESTIONS[:3], [True, False, True], rows)
    assert lines == [
        ("arm", "all", 2, 3),
        ("arm", "0 training rows", 1, 1),
        ("arm", "1 training rows", 1, 1),
        ("arm", "5 or more training rows", 0, 1),
    ]


def test_the_script_asks_the_prebuilt_adapter() -> None:
    command = [sys.executable, "benchmarks/development.py", "--limit", "6"]
    done = subprocess.run(command, cwd=config.ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    arms = ("base and retrieval", "adapter alone", "adapter and retrieval")
    assert all(f"{arm:22} all" in done.stdout for arm in arms)
    assert " / 6 " in done.stdout and "training rows" in done.stdout


def test_missing_rows_are_one_sentence(capsys) -> None:
    assert development.main(["--rows", "gone.jsonl"]) == 2
    assert capsys.readouterr().err == "gone.jsonl does not exist: give the path of a JSON Lines file.\n"
