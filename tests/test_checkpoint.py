"""A checkpoint fills the gaps before a section with prebuilt results that say so, and never takes a learner's own."""

from __future__ import annotations

import json
import shutil

import pytest
from test_artifacts import _returning

import config
from adaptlab import checkpoint
from adaptlab.artifacts import Lab
from adaptlab.capture import capture, verify_live
from adaptlab.kinds import REGISTRY
from adaptlab.provenance import read_sidecar
from adaptlab.schemas import Row


def rows():
    return {"mine": 1}


@pytest.fixture
def captured(make_lab):
    """A captured run whose results belong to their own notebooks, and a fresh workbench."""
    settings = make_lab().settings
    folder = settings.outputs_dir / "made"
    folder.mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"\1\2")
    row = Row(id="r1", prompt=[{"role": "user", "content": "?"}], completion=[{"role": "assistant", "content": "!"}])
    previous = []
    for name, known in REGISTRY.items():
        values = {"json": {"of": name}, "csv": [{"of": name}], "jsonl": [{"of": name}], "text": name, "folder": folder}
        value = [row] if name == "training_data" else values[known.kind]
        previous = [Lab(settings, notebook=known.notebook).step(name, _returning(value), inputs=previous, models=())]
    capture(settings)
    shutil.rmtree(settings.outputs_dir)
    return make_lab


def test_earlier_results_are_there_and_later_ones_are_not(captured):
    settings = captured().settings
    placed = checkpoint.put(settings, "03")
    assert {item.section for item in placed} == {"00", "01", "02"} and {item.state for item in placed} == {"placed"}
    files = {known.file for known in REGISTRY.values() if known.notebook[:2] < "03" and known.required}
    assert files <= {item.artifact for item in placed}
    assert not (settings.live_dir / "adapter").exists() and (settings.live_dir / "training_data.jsonl").exists()
    assert {item.state for item in checkpoint.put(settings, "3")} == {"there already"}


def test_a_live_step_on_top_says_on_what_it_stands(captured):
    lab = captured(LAB_MODE="live")
    checkpoint.put(lab.settings, "03")
    training = lab.result("training_data")
    assert training.origin == "prebuilt" and training.label.startswith("prebuilt; profile mini")
    assert training.path.parent == lab.settings.live_dir
    adapted = lab.step("hardest.json", rows, inputs=[training], models=())
    assert adapted.label.startswith("live, on prebuilt rows;") and adapted.origin == "mixed"
    told = verify_live(lab.settings)
    assert any("training_data.jsonl was put here by adaptlab checkpoint" in line for line in told)
    assert any(line.startswith("hardest.json is live, on prebuilt rows") for line in told)


def test_the_learners_own_result_stays_unless_force_is_given(captured):
    lab = captured()
    mine = lab.step("bon_results", rows, models=())
    placed = {item.artifact: item for item in checkpoint.put(lab.settings, "02")}
    assert placed["bon_results.json"].state == "kept" and placed["bon_results.json"].label == mine.label
    assert json.loads(mine.path.read_text()) == {"mine": 1}
    forced = {item.artifact: item.state for item in checkpoint.put(lab.settings, "02", force=True)}
    assert forced["bon_results.json"] == "placed" and json.loads(mine.path.read_text()) != {"mine": 1}
    assert read_sidecar(mine.path).origin == "prebuilt"


def test_a_step_in_mode_live_computes_what_a_checkpoint_put_there(captured):
    lab = captured()
    checkpoint.put(lab.settings, "02")
    copied = lab.step("eval_results", lambda: {"of": "other"}, models=())  # another key: computed
    assert copied.origin == "live"

    def made():
        return {"x": 1}

    first = lab.step("note.json", made, models=())
    path = first.path
    record = read_sidecar(path).model_copy(update={"origin": "prebuilt", "label": "prebuilt; profile mini"})
    path.with_name(f"{path.name}.provenance.json").write_text(record.model_dump_json())
    assert captured().step("note.json", made, models=()).origin == "prebuilt"
    assert captured(LAB_MODE="live").step("note.json", made, models=()).origin == "live"


def test_a_damaged_prebuilt_result_stops_before_anything_is_copied(captured):
    settings = captured().settings
    (settings.prebuilt_dir / "training_data.jsonl").write_text("{}\n")
    with pytest.raises(config.LabError, match="training_data.jsonl was edited or damaged"):
        checkpoint.put(settings, "03")
    assert not settings.live_dir.exists() or not list(settings.live_dir.glob("*.json*"))


def test_another_document_under_the_same_name_is_refused(captured, document):
    document.write_text(document.read_text() + "\nA new rule.\n", "utf-8")
    with pytest.raises(config.LabError, match="was made with another Saltmarket Rules.md"):
        checkpoint.put(captured().settings, "02")


def test_the_command_says_what_it_did_and_what_stays(captured, adaptlab_command):
    captured().step("training_log", lambda: [{"step": 1}], models=())
    done = adaptlab_command("checkpoint", "03")
    assert done.returncode == 0, done.stderr
    assert "ready for section 03" in done.stdout and "training_log.jsonl" in done.stdout
    assert adaptlab_command("checkpoint", "9").returncode == 2
    refused = adaptlab_command("checkpoint", "03", LAB_MODE="prebuilt")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    nothing = adaptlab_command("checkpoint", "03", LAB_PROFILE="l40s")
    assert nothing.returncode == 2 and "no prebuilt results for the profile l40s" in nothing.stderr
