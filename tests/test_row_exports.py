"""Exported rows read back as the same chats, pass `adaptlab verify data`, and their card is true to the results."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

from adaptlab import dataset_card, exports, synthesis, verify_data
from adaptlab.files import sha256_path, write_jsonl
from adaptlab.prompts import with_passages
from adaptlab.schemas import Message, Row
from config import DOCUMENT_FOLDER, LabError

PREBUILT = ROOT / "prebuilt" / "mini" / "the-sea-that-left"
HOSTILE = [
    "🦀 costs 3 crowns",
    "مرحبا \u202bبالعالم\u202c",
    '=HYPERLINK("http://example.invalid";"x")',
    "+2",
    "-1d6",
    "@SUM(A1)",
    'He said "no, never", twice',
    "a,b;c\td",
    "one\ntwo\n\nthree",
    "row " * 40_000,
    "<script>alert(1)</script> | `x` [y](z)",
    "None",
    "007",
    "nan",
    "  leading and trailing  ",
    "\u2028 a line separator",
    "\\u0041 \\n {{ jinja }} ${x}",
]


def row(name: str, asked: str, answer: str = "Ana.", **more: object) -> Row:
    chat = {"prompt": [Message(role="user", content=asked)], "completion": [Message(role="assistant", content=answer)]}
    return Row(id=name, **{**chat, **more})


def hostile_rows() -> list[Row]:
    rows = [row(f"h{number}", text, f"{text} {number}") for number, text in enumerate(HOSTILE)]
    rows.append(row("facts", "Who?", fact_ids=["a.b", "c d"], chunk_id="c1", generator={"seed": 3, "t": 0.7, "n": None},
                    verdicts={"name": "ok"}))  # fmt: skip
    rows.append(row("passages", with_passages("Who?", [("The Gull", "Ana rows.")])))
    system = [Message(role="system", content="Be brief."), Message(role="user", content="Who rows?")]
    return [*rows, row("system", "x", prompt=system)]


def chats(rows: list[Row]) -> list[list[dict[str, str]]]:
    return [exports.as_messages(item)["messages"] for item in rows]


def read(path) -> list[list[dict[str, str]]]:
    return [verify_data.as_chat(found) for _, found in verify_data.read_rows(path)]


@pytest.fixture(scope="module")
def real() -> list[Row]:
    return exports.fitting(synthesis.read_training_jsonl(PREBUILT / "training_data.jsonl"))[0]


@pytest.mark.parametrize("which", ["hostile", "real"])
def test_every_format_reads_back_as_the_same_chats_and_passes_the_check(tmp_path, real, which):
    rows = hostile_rows() if which == "hostile" else real
    made = exports.export_rows({"train": rows}, tmp_path)
    assert [one.file for one in made] == ["training_data.jsonl", "messages.jsonl", "alpaca.jsonl", "data/train.parquet"]
    for one in made:
        path = tmp_path / one.file
        found = verify_data.check_file(path)
        marked = one.format in ("prompt-completion", "parquet")  # the others have no place for a copy's mark
        kept = chats(rows) if marked else [json.loads(text) for text in dict.fromkeys(map(json.dumps, chats(rows)))]
        assert not found.faults and found.rows == one.rows == len(kept) and one.left_out == len(rows) - len(kept)
        assert read(path) == kept and one.sha256 == sha256_path(path)
    assert synthesis.read_training_jsonl(tmp_path / "training_data.jsonl") == rows
    table = [found for _, found in verify_data.read_rows(tmp_path / "data" / "train.parquet")]
    assert [exports.from_parquet_row(found) for found in table] == rows


def test_the_exported_files_load_with_the_datasets_library(tmp_path, real):
    datasets = pytest.importorskip("datasets")
    exports.export_rows({"train": real[:50], "test": real[50:60]}, tmp_path)
    names = {"train": str(tmp_path / "data" / "train.parquet"), "test": str(tmp_path / "data" / "test.parquet")}
    loaded = datasets.load_dataset("parquet", data_files=names, cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in loaded.items()} == {"train": 50, "test": 10}
    assert loaded["train"][0]["prompt"] == [message.model_dump() for message in real[0].prompt]
    lines = datasets.load_dataset(
        "json", data_files=str(tmp_path / "messages.test.jsonl"), cache_dir=str(tmp_path / "c")
    )
    assert [item["messages"] for item in lines["train"]] == chats(real[50:60])


def test_alpaca_puts_passages_into_its_input_and_openai_rows_have_messages_only():
    alpaca = exports.as_alpaca(row("p", with_passages("Who?", [("The Gull", "Ana rows.")])))
    assert alpaca["instruction"].startswith("Answer from the passages.") and alpaca["input"].startswith("[1] The Gull")
    assert exports.as_alpaca(row("c", "Who?")) == {"instruction": "Who?", "input": "", "output": "Ana."}
    assert list(exports.as_messages(row("c", "Who?"))) == ["messages"]
    turns = [Message(role=role, content="x") for role in ("user", "assistant", "user")]
    with pytest.raises(LabError, match="Row many is a chat of several turns"):
        exports.as_alpaca(row("many", "x", prompt=turns))


def test_rows_that_say_the_same_are_left_out_and_marked_copies_stay_where_their_mark_can(tmp_path):
    rows = [row("a", "Who?"), row("b", "Who? "), row("c", "And?"), row("c-copy2", "And?", generator={"copy_of": "c"})]
    made = {one.format: one for one in exports.export_rows({"train": rows}, tmp_path)}
    assert {name: (one.rows, one.left_out) for name, one in made.items()} == {
        "prompt-completion": (3, 1), "parquet": (3, 1), "messages": (2, 2), "alpaca": (2, 2)}  # fmt: skip
    for one in made.values():
        assert verify_data.check_file(tmp_path / one.file).faults == [], one.file
    plain = {"prompt": "a", "completion": "b"}
    (tmp_path / "same.jsonl").write_text(f"{json.dumps(plain)}\n{json.dumps(plain | {'generator': 'no JSON'})}\n")
    assert any("the same row stands" in fault.what for fault in verify_data.check_file(tmp_path / "same.jsonl").faults)


def test_a_copy_may_stand_before_its_row_and_what_is_no_copy_of_each_other_is_still_a_fault(tmp_path):
    copy = row("c-copy2", "And?", generator={"copy_of": "c"})
    first = {"prompt-completion": [copy, row("c", "And?")], "other": [copy, row("d", "And?")]}
    made = exports.export_rows({"train": first["prompt-completion"]}, tmp_path, ["prompt-completion"])
    assert (made[0].rows, made[0].left_out) == (2, 0)
    assert verify_data.check_file(tmp_path / made[0].file).faults == []
    for rows in (first["other"], [*first["prompt-completion"], row("d", "And?")]):
        kept, left = exports.fitting(rows)
        assert "d" not in {one.id for one in kept} and left == {"the same as an earlier row": 1}
        path = write_jsonl(tmp_path / "rows.jsonl", rows)
        [fault] = verify_data.check_file(path).faults
        assert (fault.line, fault.what) == (len(rows), "the same row stands on line 1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\x00b", "control character"),
        ("\ud800", "half of a character pair"),
        ("caf\ufffd", "U\\+FFFD"),
        (" ", "empty"),
    ],
)
def test_a_row_that_no_file_can_hold_is_named_and_nothing_is_written(tmp_path, text, told):
    with pytest.raises(LabError, match=f"Row bad, field completion.0.content: .*{told}"):
        exports.export_rows({"train": [row("good", "Who?"), row("bad", "Who?", text)]}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_unknown_formats_empty_splits_and_a_file_in_the_way_are_refused(tmp_path):
    with pytest.raises(LabError, match="'xml' is not known"):
        exports.export_rows({"train": [row("a", "Who?")]}, tmp_path, ["xml"])
    with pytest.raises(LabError, match="no rows in the split test"):
        exports.export_rows({"train": [row("a", "Who?")], "test": []}, tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(LabError, match="file is a file"):
        exports.export_rows({"train": [row("a", "Who?")]}, tmp_path / "file")


# ------------------------------------------------------------------------------------------------ the pairs' table


def pairs_of(texts: list[str]) -> pd.DataFrame:
    same = {"subject": "Gull: Rower", "raw": "\x00", "problem": "", "seed": 3, "temperature": 0.7}
    verdict = {"kept": True, "reason": ""}
    lines = [
        {"row_id": f"r{n}", "question": text, "answer": f"{text}!", **same, **verdict} for n, text in enumerate(texts)
    ]
    return pd.DataFrame([*lines, {**lines[0], "row_id": "no", "question": "", "kept": False, "reason": "name: no"}])


def test_the_table_of_pairs_reads_back_and_holds_kept_rows_only(tmp_path):
    rows = pairs_of(HOSTILE)
    made = exports.export_pairs(rows, tmp_path)
    assert made.rows == len(HOSTILE) and not verify_data.check_file(tmp_path / made.file).faults
    back = synthesis.read_pairs_csv(tmp_path / made.file)
    pd.testing.assert_frame_equal(back, exports.pairs_table(rows), check_dtype=False)
    assert [chat[0]["content"] for chat in read(tmp_path / made.file)] == HOSTILE
    with pytest.raises(LabError, match="Row r0, column answer: a control character"):
        exports.export_pairs(rows.assign(answer="a\x07"), tmp_path)
    with pytest.raises(LabError, match="No row was kept"):
        exports.export_pairs(rows.assign(kept=False), tmp_path)


def test_a_guarded_table_holds_no_cell_that_a_spreadsheet_would_run(tmp_path):
    exports.export_pairs(pairs_of([*HOSTILE, " =1+1"]), tmp_path, guard_formulas=True)
    back = synthesis.read_pairs_csv(tmp_path / exports.PAIRS_FILE)
    assert not back.map(exports.is_formula).any(axis=None)
    assert back.question.str.startswith("'").sum() == 5 and back.question[0] == HOSTILE[0]


def test_the_lab_s_own_table_with_its_rejected_rows_passes_the_check():
    found = verify_data.check_file(PREBUILT / "synthetic_qa_pairs.csv")
    kept = synthesis.read_pairs_csv(PREBUILT / "synthetic_qa_pairs.csv").kept.sum()
    assert found.rows == kept and not found.faults and "marked as not kept" in found.notes[0]


# ------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def exported(adaptlab_command, tmp_path):
    def run(*arguments: str, **changes: str):
        document = str(DOCUMENT_FOLDER / "The-Sea-That-Left.md")
        places = {"LAB_DOCUMENT": document, "LAB_PREBUILT": str(ROOT / "prebuilt"), "LAB_MODE": "prebuilt"}
        return adaptlab_command("sdg", "export", "--out", str(tmp_path / "out"), *arguments, **places, **changes)

    return run


def test_the_command_writes_every_format_with_a_card_that_tells_the_truth(exported, adaptlab_command, tmp_path):
    faq = tmp_path / "faq.csv"
    faq.write_text("question,answer\n=1+1?,-2\nmail ana@example.org?,Yes.\n", "utf-8")
    done = exported("--split", "--own", str(faq), "--json")
    assert done.returncode == 0, done.stderr
    out, said = tmp_path / "out", json.loads(done.stdout)
    files = [str(out / one["file"]) for one in said["files"]]
    checked = adaptlab_command("verify", "data", *files)
    assert checked.returncode == 0 and checked.stdout.count(" 0 faults") == len(files) == 13
    card = (out / "README.md").read_text("utf-8")
    huggingface_hub = pytest.importorskip("huggingface_hub")
    front = huggingface_hub.DatasetCard(card).data.to_dict()
    assert front["license"] == "cc-by-4.0" and front["language"] == ["en"] and front["size_categories"] == ["1K<n<10K"]
    parquet = [one for one in said["files"] if one["format"] == "parquet"]
    assert front["configs"][0]["data_files"] == [{"split": one["split"], "path": one["file"]} for one in parquet]
    assert sum(one["num_examples"] for one in front["dataset_info"]["splits"]) == sum(one["rows"] for one in parquet)
    table = synthesis.read_pairs_csv(PREBUILT / "synthetic_qa_pairs.csv")
    for line in synthesis.funnel(table).itertuples():
        assert f"| {line.stage} | {line.reason} | {line.outcome} | {line.rows} | {line.left} |" in card
    sidecar = json.loads((PREBUILT / "sdg_run2_results.csv.provenance.json").read_text("utf-8"))
    weights, part = sidecar["models"][0]["weights"], "Part Four: The Low Almanac"
    for value in (sidecar["sha256"], weights, "question-answer-pairs", part):
        assert value in card
    assert "Rows of `own: faq`: 2" in card and str(ROOT) not in card and str(tmp_path) not in card
    assert "ana@example.org" not in card
    rows = [found for path in files if path.endswith(".parquet") for _, found in verify_data.read_rows(Path(path))]
    assert {"own-faq-2", "own-faq-3"} <= {found["id"] for found in rows}


def test_the_command_cleans_when_asked_and_says_so(exported, tmp_path):
    done = exported("--clean", "--formats", "messages,pairs", "--licence", "mit")
    assert done.returncode == 0 and re.search(r"\d+ rows were cleaned", done.stdout)
    assert sorted(os.listdir(tmp_path / "out")) == ["README.md", "messages.jsonl", "synthetic_qa_pairs.csv"]
    assert "license: mit" in (tmp_path / "out" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--formats", "xml"), "'xml' names no format: choose of pairs, prompt-completion"),
        (("--own", "/nowhere/faq.csv"), "faq.csv does not exist: give a JSON, JSON Lines, CSV or Parquet file"),
    ],
)
def test_a_fault_of_the_command_is_one_sentence(exported, tmp_path, arguments, told):
    done = exported(*arguments)
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_rows_the_command_says_which_notebook_makes_them(adaptlab_command, tmp_path):
    done = adaptlab_command("sdg", "export", "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and "run 02SyntheticDataGen/01SDGHub.ipynb first" in done.stderr


def test_cells_of_the_card_are_neither_markdown_nor_html():
    hostile = pd.DataFrame([{"reason": "a | b\n# c <b>`x`</b> [l](u) **y**", "share": 0.25, "rows": 0.5}])
    assert dataset_card._table(hostile).splitlines()[2] == (
        "| a &#124; b # c &lt;b&gt;&#96;x&#96;&lt;/b&gt; &#91;l&#93;(u) &#42;&#42;y&#42;&#42; | 25.0% | 0.5 |"
    )
