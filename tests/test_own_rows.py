"""Rows that the learner brings along: checked line by line, kept apart from the test, labelled in all that follows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT

import config
from adaptlab import own_rows
from adaptlab.artifacts import Lab
from adaptlab.capture import verify_live
from config import LabError

SHIPPED = {"LAB_DOCUMENT": str(ROOT / "02SyntheticDataGen" / str(config.RULEBOOK))}
CHAT = {"messages": [{"role": "user", "content": "Who rows to Mill Quay?"}, {"role": "assistant", "content": "Ana."}]}
PAIR = {"prompt": "What does a bucket cost at Mill Quay?", "completion": "3 crowns."}
TASK = {"instruction": "Name the boat.", "input": "It lies at Mill Quay.", "output": "The Gull."}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch) -> Lab:
    """The shipped document; the working directory is the learner's."""
    monkeypatch.chdir(tmp_path)
    return shipped(tmp_path)


def shipped(tmp_path: Path, **changes: str) -> Lab:
    environ = {"LAB_PROFILE": "mini", "LAB_MODE": "auto", "LAB_OUTPUTS": str(tmp_path / "outputs"), **SHIPPED}
    return Lab(config.settings({**environ, **changes}), notebook="03ModelAdaptation/01ModelAdaptation")


def upload(folder: Path, *rows: object, name: str = "train.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_without_a_name_the_rows_of_section_02_stay(lab: Lab) -> None:
    assert own_rows.load(lab) is None and own_rows.load(lab, "") is None


def test_three_kinds_of_row_are_read_and_said_to_be_imported(lab: Lab, tmp_path: Path) -> None:
    upload(tmp_path, CHAT, PAIR, TASK)
    rows = own_rows.load(lab, "train.jsonl")
    assert rows is not None and rows.label.startswith("imported from train.jsonl; profile mini")
    assert [row.completion[0].content for row in rows.data] == ["Ana.", "3 crowns.", "The Gull."]
    assert {row.source for row in rows.data} == {"own: train"}


def test_the_environment_names_them_too_and_an_argument_wins(lab: Lab, tmp_path: Path) -> None:
    upload(tmp_path, CHAT, PAIR)
    upload(tmp_path, TASK, name="other.jsonl")
    named = shipped(tmp_path, LAB_TRAINING_ROWS="train.jsonl")
    found = own_rows.load(named)
    assert found is not None and len(found.data) == 2
    found = own_rows.load(named, "other.jsonl")
    assert found is not None and len(found.data) == 1


def test_what_is_made_of_them_says_so_and_is_never_captured(lab: Lab, tmp_path: Path) -> None:
    upload(tmp_path, CHAT, PAIR)
    rows = own_rows.load(lab, "train.jsonl")
    log = lab.step("training_log", lambda: [{"loss": len(rows.data)}], inputs=[rows], models=())
    assert log.label.startswith("live, from the learner's own rows; profile mini")
    scored = lab.step("evaluation", lambda: {"of": log.data}, inputs=[log], models=())
    assert scored.label.startswith("live, on not wholly live training log, from the learner's own rows; profile mini")
    other = lab.step("latency.json", lambda: [1], inputs=[], models=())
    assert other.label.startswith("live; profile mini")
    problems = verify_live(lab.settings)
    assert any("training_log.jsonl is live, from the learner's own rows" in problem for problem in problems)


def test_the_same_rows_are_not_trained_twice_and_others_are(lab: Lab, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    def train() -> list[dict[str, int]]:
        with ran.open("a") as stream:
            stream.write("once\n")
        return [{"loss": 1}]

    for content in ((CHAT, PAIR), (CHAT, PAIR), (CHAT, TASK)):
        upload(tmp_path, *content)
        given = own_rows.load(lab, "train.jsonl")
        lab.step("training_log", train, inputs=[given], models=())
    assert ran.read_text() == "once\n" * 2


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "x"}, r"^train\.jsonl, line 2, field completion: this field is missing"),
        ({"messages": [{"role": "owner", "content": "a"}]}, r"line 2, field messages\.0\.role: 'owner' is no role"),
        ({"text": "x"}, r"line 2, field the whole row: no format fits"),
        (PAIR, r"line 2, field prompt: the same row stands on line 1"),
    ],
)
def test_a_faulty_row_is_told_with_file_line_and_field_before_anything_is_stored(lab, tmp_path, row, told) -> None:
    upload(tmp_path, PAIR, row)
    with pytest.raises(LabError, match=told):
        own_rows.load(lab, "train.jsonl")
    assert not lab.settings.live_dir.exists()


def test_a_row_that_the_student_cannot_hold_is_told(lab: Lab, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    upload(tmp_path, PAIR, {"prompt": "Say it.", "completion": "word " * 2000})
    with pytest.raises(LabError, match=r"line 2, field completion: \d+ tokens are more than the 768"):
        own_rows.load(lab, "train.jsonl")


def test_rows_that_would_spoil_the_evaluation_are_refused(lab: Lab, tmp_path: Path) -> None:
    from adaptlab import workbench

    question = workbench.questions(lab)[0]
    fact = next(fact for fact in workbench.facts(lab, workbench.document(lab)) if fact.split == "held_out")
    upload(tmp_path, CHAT, {"prompt": question.text(), "completion": "Yes."})
    with pytest.raises(LabError, match=rf"train\.jsonl, line 2: this row asks the test question {question.id}: remove"):
        own_rows.load(lab, "train.jsonl")
    upload(tmp_path, CHAT, PAIR, {"prompt": f"Where does {fact.entity} live?", "completion": "Here."})
    with pytest.raises(LabError, match=rf"line 3: this row speaks of {fact.entity}, which is held out"):
        own_rows.load(lab, "train.jsonl")


def test_a_file_that_is_not_there_and_a_replay_are_one_sentence(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"train\.jsonl does not exist: give a"):
        own_rows.load(lab, "train.jsonl")
    upload(tmp_path, CHAT)
    with pytest.raises(LabError, match=r"A replay trains nothing, so train\.jsonl has to wait: set LAB_MODE=auto"):
        own_rows.load(shipped(tmp_path, LAB_MODE="prebuilt"), "train.jsonl")


def test_prebuilt_rows_stand_in_where_no_teacher_is_to_be_had_and_are_labelled_so(tmp_path: Path) -> None:
    lab = shipped(tmp_path, LAB_PROFILE="t4", LAB_TRAINING_ROWS="prebuilt")
    rows = own_rows.load(lab)
    assert rows is not None and len(rows.data) > 100
    assert rows.label.startswith("prebuilt; profile mini, shown for t4")
    made = lab.step("adapter.json", lambda: [1], inputs=[rows], models=())
    assert made.label.startswith("live, on prebuilt rows; profile t4")
