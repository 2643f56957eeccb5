"""The guide takes its figures from the captured run, participants get no notes, and a rehearsal runs and records."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from conftest import ROOT, clean_environ
from fault_helpers import clone, write_notebook
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import config
from adaptlab import disappointing, guide, notebook, schedule
from adaptlab.artifacts import Lab
from adaptlab.sections import LONG, NOTEBOOKS, SERIES

SHIPPED = {
    "LAB_DOCUMENT": str(ROOT / "02SyntheticDataGen" / str(config.RULEBOOK)),
    "LAB_PREBUILT": str(ROOT / "prebuilt"),
}


def minutes(text: str) -> int:
    hours, rest = text.split(":")
    return int(hours) * 60 + int(rest)


# --------------------------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize("day", [schedule.HALF_DAY, schedule.FULL_DAY])
def test_a_day_is_filled_without_gaps_and_every_topic_has_its_time(day):
    topics = [schedule.Topic(f"0{n}", f"Topic {n}", talk, n, 1) for n, talk in enumerate((20, None, 30, 25, 25, 30))]
    slots = schedule.plan(day, topics, schedule.clock("09:30"))
    assert slots[0].begin == "09:30" and minutes(slots[-1].end) - minutes("09:30") == day.minutes
    assert all(earlier.end == later.begin for earlier, later in zip(slots, slots[1:], strict=False))
    assert [slot.number for slot in slots if slot.number] == [topic.number for topic in topics]
    assert len([slot for slot in slots if not slot.number]) == len(day.breaks) + 2
    by_number = {slot.number: slot.minutes for slot in slots}
    assert by_number["02"] > by_number["00"] >= 15


def test_shares_are_whole_fives_and_leave_nothing():
    dealt = schedule.shares([1, 2, 3.5, 0.1], 203)
    assert sum(dealt) == 203 and all(value % 5 == 0 for value in dealt[:-1]) and dealt[2] > dealt[1] > dealt[0]


@pytest.mark.parametrize("text", ["25:00", "9", "09:60", "nine"])
def test_a_time_that_is_none_is_told(text):
    with pytest.raises(config.LabError, match="give a time such as 09:00"):
        schedule.clock(text)


# ------------------------------------------------------------------------------------------------------- guide


def test_the_guide_has_every_note_and_the_figures_of_the_captured_run():
    settings = config.settings({"LAB_PROFILE": "mini", "LAB_MODE": "auto"})
    text = guide.markdown(settings)
    notes, manifest = guide.collect(settings)
    assert all(note.said and note.exercises and note.talk_minutes for note in notes)
    for note in notes:
        assert all(said in text for _, said in note.said)
        assert all(question in text for question, _ in note.knowledge) and len(note.knowledge) >= 3
        if note.run_minutes is not None:
            assert f"{manifest.notebooks[note.section.name] / 60:.1f} minutes of computing" in text
            assert sum(minutes for _, minutes in note.steps) <= note.run_minutes + 0.1
    ladder = json.loads((settings.prebuilt_dir / "evaluation.json").read_text())["ladder"]
    for row in ladder:
        assert f"{row['rung']}: {row['rate']:.0%} right, from {row['low']:.0%} to {row['high']:.0%} is on track" in text
    rows = (settings.prebuilt_dir / "training_data.jsonl").read_text().count("\n")
    assert f"training_data.jsonl {rows:,} records" in text and f"{rows:,} rows for training" in text
    assert "Nothing was captured for the profile" not in text and "When a result disappoints" in text


def test_every_section_has_values_to_compare_with_and_shows_only_what_a_room_has_seen_by_then():
    notes, _ = guide.collect(config.settings({"LAB_PROFILE": "mini", "LAB_MODE": "auto"}), NOTEBOOKS)
    values = {note.section.number: " ".join(note.values) for note in notes}
    assert all(values.values()) and all(len(note.said) >= 3 for note in notes)
    assert "adapter alone" not in values["03"] and "adapter alone" in values["04"] and "rows are kept" in values["02"]


def test_a_long_notebook_has_its_part_and_no_place_in_the_schedules():
    text = guide.markdown(config.settings({"LAB_PROFILE": "mini", "LAB_MODE": "auto"}))
    days = text.split("## Half day")[1].split("## Section")[0]
    assert "in depth" not in days and days.count("03 Model adaptation") == 2
    assert all(f"Not in the schedules: {name}, about" in text for name in LONG)
    assert text.count("by `make lab-full` alone") == len(LONG)


def test_what_disappoints_comes_with_words_and_what_is_as_it_should_be_is_told_apart():
    test = {"a": "base + retrieval", "b": "adapter + retrieval", "n": 40, "difference": -0.1, "detectable": 0.21}
    counts = {"both": 20, "only_a": 6, "only_b": 2, "neither": 12, "p": 0.3}
    guess = {"n": 40, "rate": 0.025, "guess": 0.02}
    data = {
        "ladder": [],
        "tests": [{**test, **counts, "verdict": "no detectable difference at this size"}],
        "guess": [
            {**guess, "arm": "base", "facts": "visible facts", "above_guess": False},
            {**guess, "arm": "adapter", "facts": "visible facts", "above_guess": False},
            {**guess, "arm": "adapter", "facts": "held-out facts", "above_guess": True},
        ],
        "skills": [{"skill": "reading", "base": 0.8, "adapter": 0.6, "verdict": "worse"}],
    }
    hard, expected = "\n".join(disappointing.lines(data)).split("as they should be")
    assert "40 questions show 21 points or more" in hard and "something leaked" in hard and "beyond guessing" in hard
    assert "reading" in hard and "never saw the document" in expected and expected.count("*Say:*") == 1


def test_a_profile_without_a_captured_run_gets_the_mini_figures_and_is_told_so():
    text = guide.markdown(config.settings({"LAB_PROFILE": "l40s", "LAB_MODE": "auto"}))
    assert "Nothing was captured for the profile l40s yet" in text and "of the profile mini" in text


def test_notes_stand_under_their_heading(tmp_path):
    cells = [
        new_markdown_cell("# 09 Title\n\nThe promise."),
        new_markdown_cell("## 9.1 Idea"),
        new_markdown_cell("About 7 minutes. Ask why.", metadata={"tags": ["facilitator"]}),
        new_code_cell("x = 1"),
        new_markdown_cell("About 5 minutes more.", metadata={"tags": ["facilitator"]}),
        new_markdown_cell("## 9.2 Your turn"),
    ]
    (tmp_path / "09X").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "09X" / "a.ipynb")
    settings = config.settings({"LAB_PROFILE": "mini", "LAB_MODE": "prebuilt"})
    _, manifest = guide.measured(settings)
    note = guide._notes(tmp_path, "09X/a.ipynb", Lab(settings), manifest)
    assert note.promise == "The promise." and note.talk_minutes == 12 and note.talk == {"9.1 Idea": 12}
    assert [heading for heading, _ in note.said] == ["9.1 Idea", "9.1 Idea"] and note.run_minutes is None


def test_the_command_writes_guide_page_and_notebooks_without_notes(adaptlab_command, tmp_path):
    folder = tmp_path / "p"
    done = adaptlab_command("guide", "--out", str(tmp_path), "--participants", str(folder), "--json", **SHIPPED)
    assert done.returncode == 0, done.stderr
    files = [Path(name) for name in json.loads(done.stdout)["files"]]
    assert [path.name for path in files[:2]] == ["guide.md", "guide.html"] and len(files) == 2 + len(SERIES)
    page = files[1].read_text()
    assert "<table>" in page and "<script" not in page and not re.search(r"(src|href)=.https?:", page)
    for name in SERIES:
        whole, given = nbformat.read(ROOT / name, 4), nbformat.read(folder / name, 4)
        nbformat.validate(given)
        kept = [cell.source for cell in whole.cells if "facilitator" not in cell.metadata.get("tags", [])]
        assert [cell.source for cell in given.cells] == kept and len(kept) < len(whole.cells)
    again = adaptlab_command("guide", "--out", str(tmp_path), "--participants", str(folder), **SHIPPED)
    assert again.returncode == 2 and "is there already" in again.stderr and again.stderr.count("\n") == 1


def test_the_labs_own_notebooks_are_never_written_over():
    with pytest.raises(config.LabError, match="name another folder"):
        guide.participants(ROOT, ROOT, force=True)


# --------------------------------------------------------------------------------------------------- rehearsal


def test_a_rehearsal_that_cannot_run_stops_at_the_doctor_and_leaves_a_record(adaptlab_command, tmp_path):
    done = adaptlab_command("rehearse", "--profile", "l40s", "--json", HF_HUB_OFFLINE="1", PATH="/nowhere", **SHIPPED)
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert [(stage["name"], stage["state"]) for stage in told["stages"]] == [("doctor", "failed")]
    assert "cannot run live" in told["stages"][0]["said"]
    assert json.loads((tmp_path / "outputs/l40s/the-sea-that-left/rehearsal.json").read_text()) == told


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(adaptlab_command, tmp_path):
    done = adaptlab_command("rehearse", "--dry-run", "--to", "00", "--json", HF_HUB_OFFLINE="1", **SHIPPED)
    assert done.returncode == 0, done.stderr
    told = {stage["name"]: (stage["state"], stage["said"]) for stage in json.loads(done.stdout)["stages"]}
    assert told["doctor"][0] == "done" and told["downloads"] == ("done", "nothing to download")
    assert told["series"] == ("left out", "would run live: 00_Recap_and_Evidence")
    assert not list(tmp_path.rglob("rehearsal.json"))


def test_a_wrong_section_is_told(adaptlab_command):
    done = adaptlab_command("rehearse", "--to", "7")
    assert done.returncode == 2 and "--to is '7': choose one of 00" in done.stderr


STEPS = """def answers():
    return [{"question_id": "q0"}]


alone = lab.step("eval_results", answers, models=())
retrieved = lab.step("eval_with_context", answers, inputs=[alone], models=())"""


def test_a_rehearsal_of_one_section_runs_live_and_is_verified(tmp_path):
    root = clone(tmp_path / "lab")
    for name in ("pyproject.toml", "requirements.in", "requirements.txt", "requirements-demo.txt"):
        shutil.copy2(ROOT / name, root / name)
    write_notebook(root / NOTEBOOKS[0], STEPS)
    settings = {"LAB_PROFILE": "mini", "LAB_DOCUMENT": str(root / "rules.md"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "adaptlab", "rehearse", "--to", "00", "--json"]
    env = clean_environ(settings, {"PYTHONPATH": str(root)})
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(stage["name"], stage["state"]) for stage in told["stages"]] == [
        ("doctor", "done"), ("downloads", "done"), ("series", "done"), ("verify", "done"), ("capture", "left out"),
    ]  # fmt: skip
    assert told["sections"] == ["00"] and told["stages"][1]["said"] == "nothing to download"
    made = root / "outputs/mini/rules"
    assert json.loads((made / "eval_results.json.provenance.json").read_text())["origin"] == "live"
    assert json.loads((made / "rehearsal.json").read_text()) == told
    (root / NOTEBOOKS[0]).unlink()
    write_notebook(root / NOTEBOOKS[0], "raise ValueError('no')")
    failed = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert failed.returncode == 1
    assert [stage["state"] for stage in json.loads(failed.stdout)["stages"]] == ["done", "done", "failed"]


# ------------------------------------------------------------------------- a profile that nobody has captured yet


def test_its_replay_shows_the_mini_results_and_says_so_on_every_table():
    settings = config.settings({"LAB_PROFILE": "l40s", "LAB_MODE": "prebuilt"})
    assert (settings.profile.name, settings.shown_for) == ("mini", "l40s")
    assert settings.why == "nothing was captured for l40s yet: the results are those of mini"
    result = Lab(settings, notebook="test").result("evaluation")
    assert re.fullmatch(r"prebuilt; profile mini, shown for l40s; \d{4}-\d\d-\d\d", result.label)
    shown = notebook.table(pd.DataFrame(result.data["ladder"]), "The ladder", result)
    assert "shown for l40s" in repr(shown) and "shown for l40s" in shown._repr_html_()


def test_live_runs_and_captured_profiles_stay_what_they_are(tmp_path):
    assert config.settings({"LAB_PROFILE": "l40s", "LAB_MODE": "auto"}).profile.name == "l40s"
    assert config.settings({"LAB_PROFILE": "mini", "LAB_MODE": "prebuilt"}).shown_for == ""
    (tmp_path / "l4" / "the-sea-that-left").mkdir(parents=True)
    own = config.settings({"LAB_PROFILE": "l4", "LAB_MODE": "prebuilt", "LAB_PREBUILT": str(tmp_path)})
    assert (own.profile.name, own.shown_for) == ("l4", "")
    none = config.settings({"LAB_PROFILE": "l4", "LAB_MODE": "prebuilt", "LAB_PREBUILT": str(tmp_path / "no")})
    assert none.profile.name == "l4"


def test_a_whole_notebook_replays_for_such_a_profile(tmp_path):
    command = [sys.executable, "-m", "adaptlab", "run", "--from", "05", "--profile", "l40s", "--mode", "prebuilt"]
    env = clean_environ({"LAB_OUTPUTS": str(tmp_path)})
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = "".join(path.read_text() for path in tmp_path.rglob("*.html"))
    assert "shown for l40s" in pages and "nothing was captured for l40s yet" in pages
