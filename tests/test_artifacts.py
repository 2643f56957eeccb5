"""Steps and artifacts: what is finished is found, what is edited recomputes, what is torn never shows."""

from __future__ import annotations

import dataclasses
import json
import linecache
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, clean_environ
from pydantic import BaseModel

import config
from adaptlab import fingerprint, kinds
from adaptlab.capture import capture, read_manifest, record_timing, verify_live, verify_prebuilt
from adaptlab.files import Partial, atomic_write_text, read_jsonl
from adaptlab.schemas import Row
from config import LabError


class Score(BaseModel):
    name: str
    value: float


def answer():
    return {"answer": 1}


def other_answer():
    return {"answer": 2}


def full_run(lab):
    """A complete run with every registered artifact, each reading the one before."""
    previous, folder = [], lab.settings.outputs_dir / "made"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.bin").write_bytes(b"\1\2")
    row = Row(id="r1", prompt=[{"role": "user", "content": "?"}], completion=[{"role": "assistant", "content": "!"}])
    for name, known in kinds.REGISTRY.items():
        values = {"json": {"of": name}, "csv": [{"of": name}], "jsonl": [{"of": name}], "text": name, "folder": folder}
        value = [row] if name == "training_data" else values[known.kind]
        previous = [lab.step(name, _returning(value), inputs=previous, models=())]


def _returning(value):
    def run():
        return value

    return run


# ------------------------------------------------------------------------------------------------ live steps


def test_a_finished_step_is_not_run_again(make_lab, tmp_path):
    def run():
        with (tmp_path / "ran").open("a") as stream:
            stream.write("x")
        return {"answer": 1}

    first = make_lab().step("bon_results", run, models=())
    second = make_lab(LAB_MODE="live").step("bon_results", run, models=())
    assert (tmp_path / "ran").read_text() == "x"
    assert first.data == second.data == {"answer": 1}
    assert (first.origin, second.origin) == ("live", "live")
    assert first.label == second.label and second.label.startswith("live; profile mini; 20")


def test_each_kind_comes_back_as_it_was(make_lab, tmp_path):
    lab = make_lab()
    table = pd.DataFrame({"text": ["007", "", "None", 'a "b",\nc'], "n": [1, 2, 3, 4], "x": [0.5, None, 1, 2]})
    made = tmp_path / "made"
    (made / "sub").mkdir(parents=True)
    (made / "sub" / "a.txt").write_text("a")
    read = lab.step("sdg_run1_results", _returning(table), models=()).data
    assert read["text"].tolist() == table["text"].tolist() and read["n"].tolist() == [1, 2, 3, 4]
    assert read["x"].isna().tolist() == [False, True, False, False]
    assert lab.step("notes.md", _returning("# Grüße"), models=()).data == "# Grüße"
    assert (lab.step("adapter", _returning(made), models=()).data / "sub" / "a.txt").read_text() == "a"
    assert lab.step("scores.jsonl", _returning([Score(name="a", value=1)]), models=(), schema=Score).data == [
        Score(name="a", value=1)
    ]


def test_a_folder_is_replaced_as_a_whole(make_lab, tmp_path):
    lab = make_lab()
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(name)
        result = lab.step("adapter", _returning(tmp_path / name), settings={"which": name}, models=())
    assert [path.name for path in result.data.iterdir()] == ["new.txt"]
    assert not [path for path in lab.settings.live_dir.iterdir() if path.name.endswith((".old", ".tmp"))]


def test_the_sidecar_tells_the_whole_provenance(make_lab, tmp_path):
    lab = make_lab(LAB_SEED="7")
    weights = atomic_write_text(tmp_path / "prebuilt" / "models" / "mini-granite" / "config.json", "{}")
    lab.settings = dataclasses.replace(lab.settings, root=tmp_path)
    first = lab.step("eval_results", answer, models=(), settings={"k": 4})
    second = lab.step("bon_results", answer, inputs=[first, lab.settings.document], models=("student",), needs=())
    record = json.loads((lab.settings.live_dir / "bon_results.json.provenance.json").read_text())
    assert record["seeds"]["base"] == 7 and record["notebook"] == "00Setup/test" and record["profile"] == "mini"
    assert [item["name"] for item in record["inputs"]] == ["eval_results.json", "Saltmarket Rules.md"]
    assert record["inputs"][0]["sha256"] == first.provenance.sha256
    assert record["models"][0]["name"] == "mini-granite" and record["libraries"]["pandas"] == pd.__version__
    assert record["sha256"] == second.provenance.sha256 and record["device"] and record["date"]
    assert first.provenance.settings == {"k": 4}
    weights.write_text('{"retrained": true}')
    again = lab.step("bon_results", answer, inputs=[first, lab.settings.document], models=("student",), needs=())
    assert again.provenance.key != second.provenance.key


@pytest.mark.parametrize(
    "change",
    [{"settings": {"t": 1}}, {"run": other_answer}, {"environ": {"LAB_SEED": "9"}}, {"inputs": True}],
    ids=["settings", "function", "seed", "inputs"],
)
def test_whatever_a_result_depends_on_changes_its_key(make_lab, change):
    lab = make_lab()
    base = lab.step("bon_results", answer, models=())
    inputs = [lab.step("eval_results", answer, models=())] if change.get("inputs") else []
    lab = make_lab(**change.get("environ", {}))
    changed = lab.step(
        "bon_results", change.get("run", answer), models=(), inputs=inputs, settings=change.get("settings")
    )
    assert changed.provenance.key != base.provenance.key


def test_an_edited_document_changes_the_key(make_lab, document):
    before = make_lab().step("bon_results", answer, models=()).provenance.key
    document.write_text("# Other rules\n")
    assert make_lab().step("bon_results", answer, models=()).provenance.key != before


def test_functions_and_values_that_a_step_uses_by_name_are_in_its_key():
    def parts(source):
        names = {"__name__": "__main__"}
        path = f"<cell {len(source)}>"
        linecache.cache[path] = (len(source), None, source.splitlines(True), path)
        exec(compile(source, path, "exec"), names)
        return fingerprint.code_parts(names["run"])

    cell = "LIMIT = 3\ndef helper(x):\n    return x + 1\ndef run():\n    return [helper(LIMIT) for _ in range(2)]\n"
    base = parts(cell)
    assert {"helper", "LIMIT"} <= set(base)
    assert base == parts(cell + "\n# a comment elsewhere\n")
    assert base["helper"] != parts(cell.replace("x + 1", "x + 2  "))["helper"]
    assert base["LIMIT"] != parts(cell.replace("LIMIT = 3", "LIMIT = 33"))["LIMIT"]


def test_keys_do_not_depend_on_where_the_repository_lies():
    inside = config.ROOT / "benchmarks" / "x.jsonl"
    assert fingerprint.canonical({"p": inside, "s": str(inside)}, "s") == {
        "p": "benchmarks/x.jsonl",
        "s": "./benchmarks/x.jsonl",
    }


def test_a_field_that_no_result_depends_on_changes_no_key() -> None:
    compared = dataclasses.replace(config.MINI, compared=("another model",))
    other = dataclasses.replace(config.MINI, generation_batch=1)
    told = fingerprint.canonical(config.MINI, "the profile")
    assert fingerprint.canonical(compared, "the profile") == told != fingerprint.canonical(other, "the profile")


def test_a_result_used_without_being_named_is_an_input_all_the_same(make_lab):
    lab = make_lab()
    base = lab.step("eval_results", answer, models=())

    def run():
        return base.data

    assert [item.name for item in lab.step("bon_results", run, models=()).provenance.inputs] == ["eval_results.json"]


def test_a_setting_that_no_key_can_hold_is_named(make_lab):
    with pytest.raises(LabError, match=r"settings\.client is a object"):
        make_lab().step("bon_results", answer, settings={"client": object()}, models=())


@pytest.mark.parametrize(
    ("name", "value", "schema", "told"),
    [
        ("bon_results", {"x": float("nan")}, None, "bon_results.json cannot be written as JSON"),
        ("training_data", [{"id": "r1"}], None, "training_data.jsonl record 1: field prompt"),
        ("scores.jsonl", [{"name": "a", "value": "high"}], Score, "scores.jsonl record 1: field value"),
        ("adapter", Path("nowhere"), None, "adapter is a folder"),
        ("evidence_brief", 3, None, "evidence_brief.md holds str"),
        ("whatever", {}, None, "names no artifact"),
        ("../escape.json", {}, None, "names no artifact"),
        ("x.exe", {}, None, "unknown extension"),
    ],
)
def test_a_result_of_the_wrong_shape_is_one_sentence_and_leaves_no_file(make_lab, name, value, schema, told):
    lab = make_lab()
    with pytest.raises(LabError, match=told):
        lab.step(name, _returning(value), models=(), schema=schema)
    left = [path.name for path in lab.settings.outputs_dir.rglob("*") if path.is_file()]
    assert all(name.endswith(".lock") for name in left)


def test_an_edited_live_result_is_computed_again_and_said_so(make_lab):
    path = make_lab().step("bon_results", answer, models=()).path
    path.write_text('{"answer": 42}')
    lab = make_lab()
    assert lab.step("bon_results", answer, models=()).data == {"answer": 1}
    assert "was edited or damaged" in lab.said[0]


def test_a_machine_that_cannot_run_says_why_in_live_mode(make_lab):
    with pytest.raises(LabError, match="no_such_library is not installed: put that right or set LAB_MODE=auto"):
        make_lab(LAB_MODE="live").step("bon_results", answer, needs=("no_such_library",))


def test_missing_weights_gpu_and_endpoint_are_named(make_lab):
    lab = make_lab(LAB_PROFILE="l4", PATH="")
    assert "LAB_ENDPOINT_URL and LAB_TEACHER_MODEL" in lab.obstacle([lab.settings.teacher])
    nowhere = config.ModelSpec("mini-none", path="prebuilt/models/mini-none")
    assert make_lab().obstacle([nowhere]) == "prebuilt/models/mini-none holds no model"


def test_a_result_nobody_made_names_the_notebook_to_run(make_lab):
    with pytest.raises(LabError, match=r"no training_data\.jsonl .*run 02SyntheticDataGen/01SDGHub\.ipynb first"):
        make_lab().result("training_data")


# ------------------------------------------------------------------------------------------------ interruptions


SCRIPT = """
import os, signal
from adaptlab.artifacts import Lab
lab = Lab(notebook="test")

def run(progress):
    work = lab.partial("items")
    finished = work.read()
    for number in progress(range(len(finished), 6)):
        if number == 3 and os.environ.get("FAULT") == "kill":
            with work.path.open("ab") as stream:
                stream.write(b'{"torn": ')
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 3 and os.environ.get("FAULT") == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        work.append({"number": number, "process": os.getpid()})
    return work.read()

result = lab.step("bon_results", run, models=())
print(len({item["process"] for item in result.data}))
"""


@pytest.mark.parametrize(("fault", "code"), [("kill", -signal.SIGKILL), ("interrupt", -signal.SIGINT)])
def test_an_interrupted_step_leaves_nothing_half_written_and_goes_on(tmp_path, lab_environ, fault, code):
    script = tmp_path / "cell.py"
    script.write_text(SCRIPT)

    def run(**extra):
        env = clean_environ(lab_environ, {"PYTHONPATH": str(ROOT)}, extra)
        return subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)

    broken = run(FAULT=fault)
    assert broken.returncode == code, broken.stderr
    live = tmp_path / "outputs" / "mini" / "saltmarket-rules"
    assert [path.name for path in live.iterdir()] == [".work"]
    again = run()
    assert again.stdout.strip() == "2", again.stderr  # items of both processes: it went on, it did not start over
    items = json.loads((live / "bon_results.json").read_text())
    assert [item["number"] for item in items] == list(range(6))
    assert json.loads((live / "bon_results.json.provenance.json").read_text())["resumed"] is True
    assert [path.suffix for path in (live / ".work").iterdir()] == [".lock"]


def test_partial_results_outside_a_step_are_refused(make_lab):
    with pytest.raises(LabError, match="inside its function"):
        make_lab().partial("items")


def test_two_runs_of_one_step_do_not_mix(make_lab):
    lab, second = make_lab(), make_lab()

    def run():
        with pytest.raises(LabError, match=r"Another run is computing bon_results\.json"):
            second.step("bon_results", run, models=())
        return 1

    assert lab.step("bon_results", run, models=()).data == 1


def test_a_torn_last_line_is_dropped_but_a_broken_one_is_named(tmp_path):
    work = Partial(tmp_path / "w.jsonl")
    work.append({"a": 1})
    work.path.write_bytes(work.path.read_bytes() + b'{"a": 2')
    assert work.read() == [{"a": 1}]
    work.append({"a": 3})
    assert work.read() == [{"a": 1}, {"a": 3}]
    work.path.write_bytes(b'{"a": 1}\nnot json\n')
    with pytest.raises(LabError, match=r"w\.jsonl line 2: this is not JSON"):
        work.read()


def test_a_failing_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = atomic_write_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(LabError, match="No space"):
        atomic_write_text(path, "new")
    assert path.read_text() == "old" and [item.name for item in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("line", "told"),
    [("{", "line 2: this is not JSON"), ("[1]", "line 2: a JSON object in braces"), ('{"name": "b"}', "field value")],
)
def test_a_broken_line_names_file_line_and_field(tmp_path, line, told):
    path = tmp_path / "scores.jsonl"
    path.write_text('{"name": "a", "value": 1}\n' + line + "\n")
    with pytest.raises(LabError, match=told) as caught:
        read_jsonl(path, Score)
    assert "scores.jsonl line 2" in str(caught.value) and "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ replay


def test_a_captured_run_replays_without_running_anything(make_lab):
    lab = make_lab()
    full_run(lab)
    assert verify_live(lab.settings) == []
    capture(lab.settings)
    assert verify_prebuilt(lab.settings) == []
    replay = make_lab(LAB_MODE="prebuilt", LAB_OUTPUTS=str(lab.settings.outputs_dir / "empty"))
    found = replay.step("eval_results", _returning({"of": "eval_results"}), models=())
    assert found.origin == "prebuilt" and found.label.startswith("prebuilt; profile mini; 20")
    assert found.data == {"of": "eval_results"} and replay.result("training_data").data[0].id == "r1"
    assert not (lab.settings.outputs_dir / "empty").exists()


def test_an_edited_cell_gets_no_old_result_in_a_replay(make_lab):
    lab = make_lab()
    full_run(lab)
    capture(lab.settings)
    with pytest.raises(LabError, match=r"made the prebuilt eval_results\.json \(changed: the function"):
        make_lab(LAB_MODE="prebuilt").step("eval_results", answer, models=())


def test_an_edited_cell_on_a_machine_that_cannot_run_is_told_and_labelled(make_lab, tmp_path):
    lab = make_lab()
    full_run(lab)
    capture(lab.settings)
    weak = make_lab(LAB_OUTPUTS=str(tmp_path / "elsewhere"))
    found = weak.step("eval_results", answer, models=(), needs=("no_such_library",))
    assert found.label.startswith("prebuilt, of the unedited cell; profile mini")
    assert "cannot compute it again (no_such_library is not installed)" in weak.said[0]


def test_a_live_step_on_prebuilt_rows_says_so_and_so_does_what_follows(make_lab, tmp_path):
    lab = make_lab()
    full_run(lab)
    capture(lab.settings)
    fresh = make_lab(LAB_MODE="live", LAB_OUTPUTS=str(tmp_path / "fresh"))
    trained = fresh.step("training_log", _returning([{"loss": 1}]), inputs=["training_data"], models=())
    assert trained.origin == "mixed" and trained.label.startswith("live, on prebuilt rows; profile mini")
    scored = fresh.step("evaluation", answer, inputs=[trained], models=())
    assert scored.origin == "mixed" and "not wholly live training log" in scored.label
    assert any("live, on prebuilt rows" in problem for problem in verify_live(fresh.settings))


def test_no_result_anywhere_says_what_to_do(make_lab):
    with pytest.raises(LabError, match=r"no prebuilt bon_results\.json .* no_such_library is not installed"):
        make_lab().step("bon_results", answer, needs=("no_such_library",))


@pytest.mark.parametrize("victim", ["eval_results.json", "eval_results.json.provenance.json", "manifest.json"])
def test_an_edited_prebuilt_file_is_named_and_left_alone(make_lab, victim):
    lab = make_lab()
    full_run(lab)
    path = capture(lab.settings) / victim
    edited = path.read_text().replace("mini", "maxi").replace("eval_results", "evil_results")
    path.write_text(edited)
    replay = make_lab(LAB_MODE="prebuilt")
    with pytest.raises(LabError, match="edited or damaged") as caught:
        replay.step("eval_results", _returning({"of": "eval_results"}), models=())
    assert path.name in str(caught.value) and path.read_text() == edited
    assert any(victim in problem for problem in verify_prebuilt(lab.settings))


def test_verify_prebuilt_finds_missing_and_strange_files(make_lab):
    lab = make_lab()
    full_run(lab)
    folder = capture(lab.settings)
    (folder / "adapter" / "weights.bin").write_bytes(b"\1\3")
    (folder / "bon_results.json").unlink()
    (folder / "stray.txt").write_text("?")
    problems = "\n".join(verify_prebuilt(lab.settings))
    assert "adapter was edited" in problems and "bon_results.json or its sidecar is missing" in problems
    assert "stray.txt is not in the manifest" in problems


def test_an_incomplete_or_inconsistent_run_is_not_captured(make_lab):
    lab = make_lab()
    with pytest.raises(LabError, match=r"eval_results\.json is missing: run 00Setup.*more"):
        capture(lab.settings)
    full_run(lab)
    lab.step("eval_results", other_answer, models=())
    with pytest.raises(LabError, match=r"eval_with_context\.json was computed from another eval_results\.json"):
        capture(lab.settings)
    assert not lab.settings.prebuilt_dir.exists()


def test_a_run_that_names_a_folder_of_this_machine_is_not_captured(make_lab):
    lab = make_lab()
    full_run(lab)
    lab.step("notes.md", _returning(f"see {config.ROOT}/outputs"), models=())
    with pytest.raises(LabError, match=r"notes\.md of notes\.md names a folder of this machine"):
        capture(lab.settings)


def test_the_manifest_holds_seconds_for_each_notebook(make_lab):
    lab = make_lab()
    full_run(lab)
    record_timing(lab.settings, "00Setup/test", 90)
    manifest = read_manifest(capture(lab.settings))
    assert manifest.notebooks == {"00Setup/test": 90} and set(manifest.artifacts) >= {"adapter", "evidence_brief.md"}


def test_capturing_again_replaces_the_whole_folder(make_lab):
    lab = make_lab()
    full_run(lab)
    folder = capture(lab.settings)
    (folder / "stray.txt").write_text("?")
    capture(lab.settings)
    assert verify_prebuilt(lab.settings) == [] and [path.name for path in folder.parent.iterdir()] == [folder.name]
