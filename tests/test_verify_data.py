"""Training rows are checked in three formats and three kinds of file; every fault is named with line and field."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from conftest import ROOT

from adaptlab.commands_eval import data_files
from adaptlab.verify_data import check_file, tokenizer_at_hand
from config import LabError

SOUND = [
    {"messages": [{"role": "user", "content": "Who rows?"}, {"role": "assistant", "content": "Ana."}]},
    {"prompt": "What does it cost?", "completion": "3 crowns."},
    {"prompt": [{"role": "user", "content": "And back?"}], "completion": [{"role": "assistant", "content": "Free."}]},
    {"instruction": "Name the ferry.", "input": "", "output": "The Gull."},
]


def written(path: Path, rows: list) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def told(path: Path, **options) -> list[tuple[int, str]]:
    return [(fault.line, fault.field) for fault in check_file(path, **options).faults]


def test_sound_rows_of_every_format_pass_in_every_kind_of_file(tmp_path):
    assert told(written(tmp_path / "rows.jsonl", SOUND)) == []
    pretty = tmp_path / "rows.json"
    pretty.write_text(json.dumps(SOUND, indent=1), "utf-8")
    assert told(pretty) == [] and check_file(pretty).formats["prompt and completion"] == 2
    table = tmp_path / "rows.csv"
    table.write_text('instruction,input,output\nName it.,,"The Gull, a ferry"\n"Two\nlines",x,y\n', "utf-8")
    assert told(table) == [] and check_file(table).rows == 2


def test_every_fault_is_named_with_line_and_field(tmp_path):
    rows = [
        {"prompt": "", "completion": 3},
        {"messages": [{"role": "assistant", "content": "Hi"}, {"role": "owner", "content": " "}]},
        {"instruction": "a", "output": "b", "colour": "red"},
        {"prompt": "x"},
        {"text": "no format"},
        {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
        {"messages": []},
        {"prompt": "x", "completion": [{"role": "assistant", "content": "y"}]},
        {"instruction": "a", "output": "b"},
        {"instruction": "a", "input": "", "output": "b"},
        {"instruction": "caf\ufffd", "output": "b\u0007"},
        {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "s"}]},
        ["a list"],
    ]
    assert told(written(tmp_path / "bad.jsonl", rows)) == [
        (1, "prompt"),
        (1, "completion"),
        (2, "messages.1.role"),
        (2, "messages.1.content"),
        (2, "messages.0.role"),
        (3, "colour"),
        (4, "completion"),
        (5, "the whole row"),
        (6, "messages.1.role"),
        (6, "messages.1.role"),
        (7, "messages"),
        (8, "completion"),
        (10, "instruction"),
        (11, "instruction"),
        (11, "output"),
        (12, "messages.1.role"),
        (12, "messages.0.role"),
        (13, "the whole row"),
    ]


def test_lines_count_in_pretty_json_and_in_csv_with_line_breaks(tmp_path):
    pretty = tmp_path / "rows.json"
    pretty.write_text('[\n {"prompt": "a",\n  "completion": "b"},\n\n {"prompt": "a", "completion": ""}\n]\n', "utf-8")
    assert told(pretty) == [(5, "completion")]
    table = tmp_path / "rows.csv"
    table.write_text('prompt,completion\n"a\nb",c\nd,\ne,f,g\n', "utf-8")
    assert told(table) == [(4, "completion"), (5, "the whole line")]


def test_broken_lines_and_wrong_encoding_do_not_hide_the_other_faults(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"prompt": "a", "completion": "b"}\n{broken\n{"prompt": "caf\xe9", "completion": ""}\n'
    )
    found = check_file(path)
    faults = [(fault.line, fault.field) for fault in found.faults]
    assert faults == [(2, "the whole line"), (3, "the whole line"), (3, "prompt"), (3, "completion")]
    assert "byte order mark" in found.notes[0]


def test_rows_over_the_sequence_length_are_faults_where_a_tokenizer_is_at_hand(tmp_path):
    tokenizer = tokenizer_at_hand(str(ROOT / "prebuilt" / "models" / "mini-granite"))
    assert tokenizer is not None and tokenizer_at_hand(str(tmp_path)) is None
    rows = [SOUND[1], {"prompt": "long " * 60, "completion": "x"}]
    path = written(tmp_path / "rows.jsonl", rows)
    assert told(path, tokenizer=tokenizer, longest=40) == [(2, "completion")]
    assert told(path) == []


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("rows.txt", b"x", "unknown extension"),
        ("rows.jsonl", b"", "is empty"),
        ("rows.jsonl", b"a\x00b", "is a binary file"),
        ("rows.json", b'{"prompt": "a"}', "holds no list"),
        ("rows.json", b"[{]", "line 1: not JSON"),
        ("rows.json", b"[]", "has no rows"),
        ("rows.csv", b'a,b\n"open', "not CSV"),
        ("rows.csv", b"a,a\n1,2", "same name"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, name, data, what):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(LabError, match=what):
        check_file(path)


def test_exit_codes_are_0_sound_1_faults_2_unreadable(tmp_path, adaptlab_command):
    shipped = {"LAB_DOCUMENT": "", "LAB_PREBUILT": ""}
    done = adaptlab_command("verify", "data", "prebuilt", "--json", **shipped)
    [report] = json.loads(done.stdout)
    rows = (ROOT / "prebuilt/mini/the-sea-that-left/training_data.jsonl").read_text("utf-8").splitlines()
    assert (done.returncode, report["faults"], report["rows"]) == (0, [], len(rows)) and report["lengths_checked"]
    assert [note.partition(" ")[2] for note in report["notes"]] == [
        "rows of general skills say the same as an earlier one."
    ]
    bad = written(tmp_path / "bad.jsonl", [{"prompt": "a", "completion": ""}, {"prompt": 1, "completion": "b"}])
    done = adaptlab_command("verify", "data", str(bad))
    assert done.returncode == 1 and done.stderr == ""
    assert "bad.jsonl, line 1, field completion: the text is empty." in done.stdout
    assert "bad.jsonl, line 2, field prompt: a text or a list of messages belongs here, not int." in done.stdout
    gone = adaptlab_command("verify", "data", str(tmp_path / "gone.csv"))
    assert gone.returncode == 2 and gone.stderr.count("\n") == 1 and "does not exist" in gone.stderr


def test_all_means_the_rows_that_were_shipped_and_those_of_this_machine(lab_environ, tmp_path, monkeypatch):
    for name, value in lab_environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LabError, match="no training rows for all: run 02SyntheticDataGen/01SDGHub.ipynb first"):
        data_files(["all"])
    made = []
    for folder in ("prebuilt", "outputs"):
        path = tmp_path / folder / "mini" / "saltmarket-rules" / "training_data.jsonl"
        path.parent.mkdir(parents=True)
        made.append(written(path, [{"prompt": "a", "completion": "b"}]))
    assert data_files(["all"]) == made and data_files(["live"]) == made[1:]
    assert data_files(["prebuilt", str(made[1])]) == made


def test_one_file_s_long_cells_leave_the_csv_limit_of_the_process_as_it_was_or_higher(tmp_path):
    before = csv.field_size_limit()
    short, long = tmp_path / "short.csv", tmp_path / "long.csv"
    short.write_text("question,answer\na,b\n", "utf-8")
    long.write_text(f"question,answer\na,{'row ' * before}\n", "utf-8")
    assert told(short) == [] and csv.field_size_limit() == before
    assert told(long) == [] and csv.field_size_limit() > before


def test_questions_and_answers_pass_in_csv_and_json_lines_and_strange_fields_are_named(tmp_path):
    assert told(written(tmp_path / "a.jsonl", [{"question": "Who?", "answer": "Ana."}])) == []
    faults = told(written(tmp_path / "b.jsonl", [{"question": "Who?", "anser": "Ana."}]))
    assert faults == [(1, "answer"), (1, "anser")]


def test_parquet_without_its_columns_or_with_gaps_is_told_by_row(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"prompt": ["Who?", None], "completion": ["Ana.", "Bo."]})
    parquet.write_table(table, tmp_path / "gaps.parquet")
    assert told(tmp_path / "gaps.parquet") == [(2, "prompt")]
    parquet.write_table(pyarrow.table({"text": ["x"]}), tmp_path / "none.parquet")
    assert told(tmp_path / "none.parquet") == [(1, "the whole row")]
    (tmp_path / "not.parquet").write_bytes(b"\x00PAR")
    with pytest.raises(LabError, match="not.parquet is not Parquet"):
        check_file(tmp_path / "not.parquet")
