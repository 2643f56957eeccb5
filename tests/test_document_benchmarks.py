"""The benchmarks about documents: what they count is counted right, on real runs of their scripts."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from config import DOCUMENT_FOLDER, ROOT, RULEBOOK

sys.path.insert(0, str(ROOT / "benchmarks"))
import document_funnel  # noqa: E402

PASSAGE = "| Weapon | Price | Dmg. |\n|---|---|---|\n| **Maul** | 10 gp | 1d10 |"


def test_a_book_becomes_seed_rows_within_the_budget() -> None:
    command = [sys.executable, "benchmarks/documents.py", str(DOCUMENT_FOLDER / str(RULEBOOK)), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"]) == (0, "within") and told["chunks"] == 336
    assert told["seed_rows"] > told["chunks"] and 0 < told["seconds"] < 20 and 50 < told["peak_megabytes"] < 1000


def test_a_missing_document_is_one_sentence() -> None:
    command = [sys.executable, "benchmarks/documents.py", "gone.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "gone.md does not exist" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("subject", "answer", "verdict"),
    [
        ("Maul: Price", "The Price of the Maul is 10 gp.", "right"),
        ("Maul: Dmg", "The Dmg of the Maul is 1d10.", "right"),
        ("Maul: Price", "The Price of the Maul is 1d10.", "wrong"),
        ("Maul: Weight", "The Weight of the Maul is 10 gp.", "no table"),
        ("Bell: Price", "The Price of the Bell is 10 gp.", "no table"),
    ],
)
def test_a_row_states_the_cell_under_the_column_that_it_names(subject: str, answer: str, verdict: str) -> None:
    row = {"document": PASSAGE, "subject": subject, "question": "?", "answer": answer}
    assert document_funnel.column_of(row) == verdict


def test_chunks_are_spread_over_the_whole_document() -> None:
    assert document_funnel.spread(list(range(100)), 4) == [12, 37, 62, 87]
    assert document_funnel.spread([1, 2], 25) == [1, 2]
