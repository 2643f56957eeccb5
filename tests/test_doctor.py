"""The doctor tells what a machine can run: environment, endpoint, models, and every notebook with its reason."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, clean_environ

import config
from adaptlab import checkpoint, doctor, pins, probes, runnable, sections
from adaptlab.capture import has_results
from adaptlab.provenance import read_sidecar

KEY = "the-key-of-this-test"
SHIPPED = {"LAB_DOCUMENT": str(ROOT / "02SyntheticDataGen" / str(config.RULEBOOK))}


class Chat(BaseHTTPRequestHandler):
    """An endpoint that answers with one token, whoever has the key; without it, it quotes the key that it got."""

    asked: list[dict[str, Any]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        given = self.headers.get("Authorization", "")
        if given != f"Bearer {KEY}":
            return self.reply(401, {"error": {"message": f"wrong key: {given.removeprefix('Bearer ')}"}})
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "length"}
        self.reply(200, {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    def reply(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    Chat.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes the connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def environ(tmp_path: Path, **changes: str) -> dict[str, str]:
    """The shipped document and results, outputs of this test's own, no network asked."""
    base = {"LAB_PROFILE": "mini", "LAB_MODE": "auto", "LAB_OUTPUTS": str(tmp_path / "outputs"), **SHIPPED}
    return {**base, **changes}


def examined(tmp_path: Path, seconds: float = 10.0, **changes: str) -> tuple[config.Settings, doctor.Report]:
    settings = config.settings(environ(tmp_path, **changes))
    return settings, doctor.examine(settings, seconds)


def states(report: doctor.Report) -> dict[str, str]:
    """The states by section, without the long notebooks."""
    long = {name.removesuffix(".ipynb") for name in sections.LONG}
    return {verdict.notebook[:2]: verdict.state for verdict in report.verdicts if verdict.notebook not in long}


def check(report: doctor.Report, name: str) -> doctor.Check:
    return next(found for found in report.checks if found.name == name)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


# ---------------------------------------------------------------------------------------------------- verdicts


def test_a_whole_machine_runs_every_notebook_live(tmp_path):
    settings, report = examined(tmp_path)
    assert set(states(report).values()) == {runnable.LIVE} and report.code == 0 and report.obstacles == []
    text = doctor.screen(settings, report)
    assert text.endswith("Every notebook can run.") and len(text.splitlines()) < 40
    assert "LAB_PROFILE names it" in text and "mini-granite: present" in text


def test_a_replay_is_a_replay_and_names_the_result_that_it_lacks(tmp_path):
    _, report = examined(tmp_path, LAB_MODE="prebuilt")
    assert set(states(report).values()) == {runnable.REPLAY} and report.code == 0
    _, report = examined(tmp_path, LAB_MODE="prebuilt", LAB_PREBUILT=str(tmp_path / "empty"))
    assert set(states(report).values()) == {runnable.CANNOT} and report.code == 1
    assert report.verdicts[0].because == "there is no prebuilt eval_results.json for the profile mini"


def test_without_a_gpu_a_gpu_profile_cannot_run_and_the_chain_of_reasons_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    _, report = examined(tmp_path, LAB_PROFILE="l40s")
    assert set(states(report).values()) == {runnable.CANNOT} and report.code == 1
    because = {verdict.notebook: verdict.because for verdict in report.verdicts}
    because = {name[:2]: because[name.removesuffix(".ipynb")] for name in sections.NOTEBOOKS}
    assert "needs one NVIDIA L40S with 48 GB" in because["00"]
    assert because["03"] == "it reads training_data.jsonl, which is not there and cannot be made here"
    assert "granite-3.2-8b-instruct is not downloaded" in check(report, "model").said
    assert any("LAB_ENDPOINT_URL and LAB_TEACHER_MODEL" in text for text in report.obstacles)


def test_a_gpu_is_shown_with_its_free_memory(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA L40S, 46068, 45056, 570.1'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    _, report = examined(tmp_path)
    assert check(report, "GPU").said == "NVIDIA L40S, 44 of 45 GB free, driver 570.1"


def test_questions_that_are_missing_stop_the_notebooks_that_ask_them(tmp_path, document):
    _, report = examined(tmp_path, LAB_DOCUMENT=str(document))
    assert states(report)["00"] == runnable.CANNOT and "There are no questions about" in report.verdicts[0].because


def test_results_of_both_kinds_are_counted(tmp_path):
    settings = config.settings(environ(tmp_path))
    settings.live_dir.mkdir(parents=True)
    for name in ("eval_results.json", "eval_results.json.provenance.json"):
        (settings.live_dir / name).write_bytes((settings.prebuilt_dir / name).read_bytes())
    report = doctor.examine(settings)
    first = report.verdicts[0]
    assert (first.stored_live, report.verdicts[1].stored_live) == (1, 0)
    assert first.stored_prebuilt == first.steps
    words = f"results: 1 of {first.steps} computed here, {first.steps} of {first.steps} prebuilt"
    assert words in doctor.screen(settings, report)


def test_a_section_that_a_checkpoint_filled_will_replay(tmp_path):
    settings = config.settings(environ(tmp_path))
    checkpoint.put(settings, "01")
    report = doctor.examine(settings)
    assert states(report)["00"] == runnable.REPLAY and states(report)["01"] == runnable.LIVE
    assert (report.verdicts[0].stored_live, report.verdicts[0].placed) == (0, report.verdicts[0].steps)


def test_a_long_notebook_is_replayed_or_left_out_and_never_counts_as_one_that_cannot_run(tmp_path):
    name = sections.LONG[0].removesuffix(".ipynb")
    captured = has_results(config.settings(environ(tmp_path)), name)
    for mode in ("auto", "prebuilt"):
        settings, report = examined(tmp_path, LAB_MODE=mode)
        (found,) = [verdict for verdict in report.verdicts if verdict.notebook == name]
        assert found.state == (runnable.REPLAY if captured else runnable.LEFT_OUT) and report.code == 0
        assert captured or "make lab-full computes it" in doctor.screen(settings, report)
    computed = runnable.judge(config.settings(environ(tmp_path)), runnable.Findings(), full=True)
    assert [verdict.state for verdict in computed if verdict.notebook == name] == [runnable.LIVE]


def test_memory_is_the_containers_share_where_it_has_one(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 9000000 kB\n")
    assert probes.memory(tmp_path) == (9_216_000_000, 16_384_000_000)
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    for text, found in (("max", (9_216_000_000, 16_384_000_000)), ("8000000000", (5_000_000_000, 8_000_000_000))):
        (group / "memory.max").write_text(text)
        (group / "memory.current").write_text("3000000000")
        assert probes.memory(tmp_path) == found
    assert probes.memory(tmp_path / "nowhere") is None


def test_where_nothing_can_run_live_the_screen_says_what_works(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    settings, report = examined(tmp_path, LAB_PROFILE="l40s")
    assert doctor.screen(settings, report).endswith("LAB_MODE=prebuilt replays the results that come with the lab.")
    assert "teacher and judge: LAB_ENDPOINT_URL and LAB_TEACHER_MODEL name none yet" in doctor.screen(settings, report)


def test_missing_packages_are_named_and_stop_only_what_needs_them(tmp_path):
    settings = config.settings(environ(tmp_path))
    lacking = runnable.Findings(missing=frozenset({"trl", "bitsandbytes"}))
    without = runnable.judge(settings, lacking, sections.NOTEBOOKS)
    found = {verdict.notebook[:2]: (verdict.state, verdict.because) for verdict in without}
    assert found["02"][0] == runnable.LIVE and found["03"] == (runnable.CANNOT, "trl, bitsandbytes not installed")


# ---------------------------------------------------------------------------------------------------- endpoint


def test_a_good_endpoint_is_asked_for_one_token_with_the_configured_settings(tmp_path, endpoint):
    changes = {"LAB_ENDPOINT_URL": endpoint, "LAB_ENDPOINT_KEY": KEY, "LAB_TEACHER_MODEL": "big-teacher"}
    settings, report = examined(tmp_path, **changes)
    assert check(report, "endpoint").state == doctor.OK and report.code == 0
    assert [(body["model"], body["max_tokens"]) for body in Chat.asked] == [("big-teacher", 1)]
    assert "big-teacher answered one token in" in doctor.screen(settings, report)


def test_a_refused_key_is_a_wrong_setting_and_is_never_shown(adaptlab_command, tmp_path, endpoint):
    secret = "a-wrong-key-of-this-test"
    changes = {"LAB_ENDPOINT_URL": endpoint, "LAB_ENDPOINT_KEY": secret, "LAB_TEACHER_MODEL": "big-teacher"}
    for option in ([], ["--json"]):
        done = adaptlab_command("doctor", *option, HF_HUB_OFFLINE="1", **SHIPPED, **changes)
        assert done.returncode == 2 and "refused the key (401): check LAB_ENDPOINT_KEY" in done.stdout
        assert secret not in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_a_dead_endpoint_stops_what_needs_the_teacher_and_nothing_else(tmp_path):
    changes = {"LAB_ENDPOINT_URL": closed_port(), "LAB_TEACHER_MODEL": "big-teacher"}
    _, report = examined(tmp_path, **changes)
    assert check(report, "endpoint").state == doctor.FAULT and "cannot be reached" in check(report, "endpoint").said
    assert report.code == 1
    assert states(report)["00"] == runnable.LIVE and states(report)["02"] == runnable.CANNOT
    assert "cannot be reached" in report.verdicts[2].because


def test_an_endpoint_that_hangs_costs_no_more_than_its_time(tmp_path, silent):
    probes.gpus(), probes.hub_address()
    __import__("openai")
    began = time.monotonic()
    _, report = examined(tmp_path, 1.0, LAB_ENDPOINT_URL=silent, LAB_TEACHER_MODEL="big-teacher")
    assert time.monotonic() - began < 9
    assert check(report, "endpoint").state == doctor.FAULT and "did not answer" in check(report, "endpoint").said


def test_every_endpoint_is_asked_and_one_that_answers_is_enough(tmp_path, endpoint):
    dead = closed_port()
    changes = {"LAB_ENDPOINT_KEY": KEY, "LAB_TEACHER_MODEL": "big-teacher", "LAB_ENDPOINT_URL": f"{dead} {endpoint}"}
    _, report = examined(tmp_path, **changes)
    found = {item.state: item.said for item in report.checks if item.name == "endpoint"}
    assert dead in found[doctor.FAULT] and endpoint in found[doctor.OK] and len(Chat.asked) == 1
    assert states(report)["02"] == runnable.LIVE and report.code == 0


def test_a_url_without_a_model_is_told_and_not_asked(tmp_path, endpoint):
    _, report = examined(tmp_path, LAB_ENDPOINT_URL=endpoint)
    assert "LAB_TEACHER_MODEL is not set" in check(report, "endpoint").said and Chat.asked == []


# ------------------------------------------------------------------------------------------------- environment


def test_an_environment_with_nothing_in_it_is_told_what_it_lacks(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    command = [str(tmp_path / "bare" / "bin" / "python"), "-m", "adaptlab", "doctor", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=clean_environ(environ(tmp_path)), capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == "", done.stderr
    value = json.loads(done.stdout)
    packages = next(line for line in value["checks"] if line["name"] == "packages")
    assert packages["state"] == "fault" and packages["said"].startswith("0 of ") and "make lab" in packages["said"]
    assert {line["state"] for line in value["notebooks"]} == {"cannot"}
    assert "not installed" in value["notebooks"][0]["because"]


def test_another_version_than_the_pinned_one_is_seen_and_a_builds_suffix_is_not(tmp_path):
    here = pins.version("packaging")
    (tmp_path / "r.txt").write_text(
        f"packaging==0.0.1\npytest=={pins.version('pytest')}+local\nnone-of-ours==1\nother==2 ; python_version < '3'\n"
    )
    compared = pins.compare(pins.read(tmp_path / "r.txt"))
    assert compared.missing == ["none-of-ours"] and compared.other == [("packaging", "0.0.1", here)]


def test_this_environment_has_what_is_pinned():
    compared = pins.compare(pins.read(ROOT / "requirements-demo.txt"))
    assert compared.missing == [] and compared.total > 50


def test_late_answers_are_missing_and_errors_are_answers():
    def fail():
        raise ValueError("no")

    began = time.monotonic()
    jobs = {"late": (lambda: time.sleep(5), 0.2), "good": (lambda: 1, 5.0), "bad": (fail, 5.0)}
    found = probes.together(jobs)
    assert time.monotonic() - began < 3 and found["good"] == 1 and isinstance(found["bad"], ValueError)
    assert "late" not in found


# ---------------------------------------------------------------------------------------------------- sections


def test_the_steps_of_a_notebook_are_read_from_its_cells():
    found = {section.number: section for section in sections.sections(ROOT)}
    steps = {step.artifact: step for section in found.values() for step in section.steps}
    assert steps["sdg_run1_results"].models == ("teacher",) and steps["evidence_brief"].models == ()
    assert "its_hub" in (steps["its_hub_results.json"].needs or ())
    assert "training_data" in found["03"].reads and steps["adapter"].heading == "3.3 Train"
    folder = ROOT / "prebuilt/mini/the-sea-that-left"
    records = [read_sidecar(folder / name) for name in json.loads((folder / "manifest.json").read_text())["artifacts"]]
    long = [name.removesuffix(".ipynb") for name in sections.LONG]  # these name their artifacts in a loop
    listed = [record.artifact for record in records if record.notebook not in long]
    assert {name.split(".")[0] for name in listed} <= {name.split(".")[0] for name in steps}


def test_a_section_that_is_none_is_told(tmp_path):
    with pytest.raises(config.LabError, match="There is no section '9': choose one of 00, 01"):
        sections.before("9")
    assert [name[:2] for name in sections.before("2")] == ["00", "01"]
    (tmp_path / "00.ipynb").write_text("{}")
    with pytest.raises(config.LabError, match="no readable notebook"):
        sections.section(tmp_path, "00.ipynb")
