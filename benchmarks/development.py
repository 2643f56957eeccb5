"""How well an adapter answers 200 questions written without sight of the benchmark: for trying recipes.

`python benchmarks/development.py` asks the prebuilt adapter of the mini profile; `--base`, `--adapter` and `--rows`
name others. Whoever chooses a recipe, or wordings for the student's training, by the benchmark makes it measure the
choice: choose by these questions, and look at the benchmark once.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from adaptlab.schemas import Question

QUESTIONS = Path(__file__).with_name("development_questions.jsonl")
MANY = 5  # facts with as many training rows or more are counted together
Line = tuple[str, str, int, int]  # arm, which questions, right answers, questions


def rows_for_each_fact(path: Path) -> Counter[str]:
    """How many training rows state each fact, without copies and those over pages."""
    from adaptlab import benchmark
    from adaptlab.schemas import Row
    from adaptlab.synthesis import mixing

    rows = mixing.distinct([row for _, row in benchmark.read_records(path, Row)])
    return Counter(fact for row in rows for fact in row.fact_ids)


def lines_of(arm: str, questions: Sequence[Question], right: Sequence[bool], rows: Counter[str] | None) -> list[Line]:
    """The table's lines for one arm: all questions, and where `rows` counts them, by the fact's training rows."""
    lines = [(arm, "all", sum(right), len(right))]
    if rows is None:
        return lines
    groups: dict[int, list[bool]] = {}
    for question, is_right in zip(questions, right, strict=True):
        groups.setdefault(min(rows[question.fact_ids[0]], MANY), []).append(is_right)
    for count, found in sorted(groups.items()):
        some = f"{count}{' or more' * (count == MANY)} training rows"
        lines.append((arm, some, sum(found), len(found)))
    return lines


def ask(base: str, adapter: Path, rows: Path, questions: Sequence[Question]) -> list[Line]:
    """Base with retrieval, then the adapter alone, greedily, by the strict scorer."""
    import config
    from adaptlab import arms, generation, models, retrieval, scoring
    from adaptlab.schemas import Arm

    profile = config.MINI
    text = (config.DOCUMENT_FOLDER / str(config.RULEBOOK)).read_text("utf-8")
    index = retrieval.build(text, profile.chunk_chars, profile.chunk_overlap)
    counted = rows_for_each_fact(rows)
    lines = []
    for name, context, folder, by_rows in (
        ("base and retrieval", "retrieved", None, None),
        ("adapter alone", "none", adapter, counted),
        ("adapter and retrieval", "retrieved", adapter, None),
    ):
        arm = Arm(name=name, model=base, context=context)
        model = generation.LocalGenerator(models.load(base, adapter=folder))
        said = arms.run_arm(arm, questions, model, index, text, k=profile.retrieval_k)
        right = [scoring.strict(question, each.text) for question, each in zip(questions, said, strict=True)]
        lines += lines_of(name, questions, right, by_rows)
    return lines


def main(argv: list[str] | None = None) -> int:
    """Ask and print the table; 0 when it was printed, 2 with one sentence where something is missing."""
    import config
    from adaptlab import benchmark, stats

    made = config.ROOT / "prebuilt" / "mini" / "the-sea-that-left"
    parser = argparse.ArgumentParser(description="Ask an adapter the development questions.")
    parser.add_argument("--base", default=config.MINI.student, help="a model's name or folder (mini-granite)")
    parser.add_argument("--adapter", type=Path, default=made / "adapter", help="its adapter (the prebuilt one)")
    parser.add_argument("--rows", type=Path, default=made / "training_data.jsonl", help="what the adapter learned from")
    parser.add_argument("--limit", type=int, help="ask the first N questions only")
    options = parser.parse_args(argv)
    questions = benchmark.load_questions(QUESTIONS)[: options.limit]
    try:
        lines = ask(options.base, options.adapter, options.rows, questions)
    except config.LabError as problem:
        print(problem, file=sys.stderr)
        return 2
    print(f"{'arm':22} {'questions':24} {'right':>9}  95 % interval")
    for arm, which, k, n in lines:
        found = stats.wilson(k, n)
        print(f"{arm:22} {which:24} {k:4} / {n:<3}  {found.low:.0%} to {found.high:.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
