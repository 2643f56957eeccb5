"""Answers from a neighbouring cell of a table are turned down, for every cell of the shipped and the real tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from adaptlab import dataset_card, documents, synthesis
from adaptlab.synthesis import tables
from adaptlab.synthesis.filters import OK, UNCHECKED, cell_asked_for
from adaptlab.synthesis.tables import OTHER_COLUMN, OTHER_ROW, Table, tables_of
from adaptlab.synthesis.wording import stands_in
from config import DOCUMENT_FOLDER, ROOT

SHIPPED = DOCUMENT_FOLDER / "The-Sea-That-Left.md"
WHERE = "../shared/data/basic-fantasy/Basic-Fantasy-RPG-Rules-r142.md"
WEAPON = """| Weapon | Price | Size | Weight | Dmg. |
|--------|-------|------|--------|------|
| Shortsword | 6 gp | S | 3 | 1d6 |
| Maul | 10 gp | L | 16 | 1d10 |"""
Pair = tuple[str, str, str]


def read_document(name: str) -> str:
    path = SHIPPED if name == "shipped" else ROOT / WHERE
    if not path.is_file():
        pytest.skip(f"The real document is not here: put it at {WHERE}, seen from the repository, to run this test.")
    return documents.load(path)


def table_texts(text: str) -> list[str]:
    """The tables of a document as they stand there."""
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.lstrip().startswith("|"):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return ["\n".join(lines) for lines in found if lines]


def pair(table: Table, row: int, column: int, value: str) -> Pair:
    name, head = table.rows[row][0], table.head[column]
    return f"{name}: {head}", f"What is the {head} of {name}?", f"The {head} of {name} is {value}."


def cases(text: str) -> Iterator[tuple[Table, str, int, int]]:
    """Cells of tables whose column names and row names are unlike each other, so that only one cell can be meant."""
    for part in table_texts(text):
        for table in tables_of(part):
            keys = [cells[0] for cells in table.rows]
            plain = all(len(cells) == len(table.head) for cells in table.rows) and len(set(keys)) == len(keys)
            if plain and all(table.head) and len(set(table.head)) == len(table.head) > 2:
                yield from ((table, part, at, column) for at, column in table.places() if column and keys[at])


@pytest.mark.parametrize("name", ["shipped", "real"])
def test_no_right_cell_of_any_table_is_turned_down(name: str) -> None:
    seen = 0
    for table, part, row, column in cases(read_document(name)):
        if table.cell((row, column)):
            seen += 1
            verdict = cell_asked_for(*pair(table, row, column, table.cell((row, column))), part)
            assert verdict in (OK, UNCHECKED), (verdict, pair(table, row, column, table.cell((row, column))))
    assert seen > 200


@pytest.mark.parametrize(("name", "least"), [("shipped", 0.97), ("real", 0.95)])
def test_the_cells_of_other_columns_and_rows_are_turned_down(name: str, least: float) -> None:
    found, asked = 0, 0
    for table, part, row, column in cases(read_document(name)):
        right = table.cell((row, column))
        across = [table.cell((row, other)) for other in range(1, len(table.head)) if other != column]
        along = [table.cell((other, column)) for other in range(len(table.rows)) if other != row]
        for value in {*across, *along}:
            if not right or not value or stands_in(right, value) or stands_in(value, right):
                continue
            asked += 1
            verdict = cell_asked_for(*pair(table, row, column, value), part)
            found += verdict == (OTHER_COLUMN if value in across else OTHER_ROW)
    assert asked > 500 and found / asked >= least, (found, asked)


@pytest.mark.parametrize(
    ("subject", "question", "answer", "verdict"),
    [
        ("Maul: Weight", "How heavy is the Maul?", "The Weight of the Maul is 16.", OK),
        ("Maul: Weight", "How heavy is the Maul?", "The Weight of the Maul is 1d10.", OTHER_COLUMN),
        ("Maul: Dmg", "What does the Maul do?", "The Dmg of the Maul is 1d6.", OTHER_ROW),
        ("Maul: Dmg", "What does the Maul do?", "The Dmg of the Maul is 3d8.", UNCHECKED),
        ("Maul: Dmg", "What does the Maul do?", "The passage does not say.", UNCHECKED),
        ("", "What is the weight of a maul?", "A maul weighs 16.", OK),
        ("", "What is the weight of a maul?", "It weighs 3 pounds.", OTHER_ROW),
        ("", "What is the weight of a maul?", "The Maul has a weight of 1d10.", OTHER_COLUMN),
        ("", "How heavy is the Maul?", "The Weight of the Maul is 10 gp.", OTHER_COLUMN),
        ("", "How heavy is the Maul?", "It is 16.", UNCHECKED),
        ("Crown: Weight", "How heavy is the Crown?", "The Weight of the Crown is 16.", UNCHECKED),
    ],
)
def test_a_question_may_name_row_and_column_in_its_own_way(
    subject: str, question: str, answer: str, verdict: str
) -> None:
    assert cell_asked_for(subject, question, answer, WEAPON) == verdict


def test_a_list_of_names_and_values_is_a_table_whose_first_line_counts() -> None:
    text = "| Armor Class: | 14 (11) |\n|---|---|\n| Hit Dice: | 1 |\n| Save As: | Fighter: 1 |"
    [table] = tables_of(text)
    assert table.rows[0] == ("armor class", "14 (11)") and len(table.rows) == 3
    wrong = ("Hit Dice: Armor", "What are the Hit Dice?", "The Armor of the Hit Dice is 14.")
    assert cell_asked_for(*wrong, text) == OTHER_ROW
    assert cell_asked_for("", "What is the Armor Class?", "The Armor Class is 14.", text) == OK


def test_what_another_table_of_the_passage_says_rightly_counts_first() -> None:
    other = "| Weapon | Weight | Notes |\n|---|---|---|\n| Maul | 1d10 | a riddle |"
    said = ("Maul: Weight", "How heavy is the Maul?", "The Weight of the Maul is 1d10.")
    assert cell_asked_for(*said, f"{WEAPON}\n\n{other}") == OK


def test_a_number_names_a_row_only_with_the_name_of_its_column() -> None:
    text = "| Level | Points | Trade |\n|---|---|---|\n| 1 | 0 | 3 |\n| 2 | 200 | 4 |"
    assert cell_asked_for("", "How many points does level 2 take?", "It takes 200 points.", text) == OK
    assert cell_asked_for("", "Which trade has level 2?", "The trade is 3.", text) == OTHER_ROW
    assert cell_asked_for("", "Which trade have 2 people?", "The trade is 3.", text) == UNCHECKED


def test_bars_inside_cells_and_short_lines_break_nothing() -> None:
    text = "| A | B | C |\n|---|---|---|\n| x \\| y | 1 |\n| z | 2 | 3 |"
    [table] = tables_of(text)
    assert [len(cells) for cells in table.rows] == [2, 3]
    assert cell_asked_for("z: C", "Which C has z?", "The C of z is 2.", text) == OTHER_COLUMN
    assert tables.other_cell("x y: C", "Which C has x y?", "The C of x y is 1.", text) is None


# ------------------------------------------------------------------------------------------------------ accounting


def rows_about(*pairs: Pair) -> pd.DataFrame:
    lines = [
        {
            "row_id": f"r{at}",
            "chunk_id": "c1",
            "title": "Weapons",
            "document": WEAPON,
            "seed": 0,
            "model": "m",
            "temperature": 0.7,
            "subject": subject,
            "question": question,
            "answer": answer,
            "problem": "",
            "raw": "",
        }
        for at, (subject, question, answer) in enumerate(pairs)
    ]
    return pd.DataFrame(lines)


RIGHT = ("Maul: Weight", "How heavy is the Maul?", "The Weight of the Maul is 16.")
SWAPPED = ("Maul: Weight", "What does the Maul weigh?", "The Weight of the Maul is 1d10.")


def test_a_swapped_cell_has_a_reason_and_a_count_of_its_own() -> None:
    rows = synthesis.apply_filters(rows_about(RIGHT, SWAPPED), reanswers=[RIGHT[2], SWAPPED[2]])
    assert list(rows["kept"]) == [True, False] and rows["reason"].iloc[1] == f"table: {OTHER_COLUMN}"
    assert synthesis.outcome_of(rows["reason"].iloc[1]) == "wrong cell"
    assert dict(synthesis.outcomes(rows).set_index("outcome").rows)["wrong cell"] == 1
    line = synthesis.funnel(rows).set_index("outcome").loc["wrong cell"]
    assert (line["reason"], line["rows"], line["left"]) == (OTHER_COLUMN, 1, 1)
    [told] = synthesis.rejected(rows).to_dict("records")
    assert (told["outcome"], told["answer"]) == ("wrong cell", SWAPPED[2])
    assert OTHER_COLUMN in dataset_card._table(synthesis.funnel(rows))


def test_a_teacher_that_errs_alike_twice_is_not_found_faithful() -> None:
    rows = synthesis.apply_filters(rows_about(RIGHT, SWAPPED), reanswers=[RIGHT[2], SWAPPED[2]])
    found = synthesis.faithfulness(rows).set_index("check")
    assert found.loc["answered alike again", "rate"] == 1
    assert found.loc["name, value, cell and second answer", "rate"] == 0.5
    before = synthesis.faithfulness(rows.drop(columns="verdict_table")).set_index("check")
    assert before.loc["name, value, cell and second answer", "rate"] == 1


def test_the_verdict_goes_with_the_training_row_and_through_the_file(tmp_path: Path) -> None:
    rows = synthesis.apply_filters(rows_about(RIGHT, SWAPPED))
    path = synthesis.write_training_jsonl(synthesis.to_training_rows(rows), tmp_path / "rows.jsonl")
    [row] = synthesis.read_training_jsonl(path)
    assert row.verdicts["table"] == OK
