"""The command line and what a notebook shows: one sentence for a fault, labelled tables, silent progress."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import matplotlib
import pandas as pd
import pytest
from conftest import ROOT, clean_environ
from test_artifacts import full_run

from adaptlab import kinds, notebook
from adaptlab.capture import capture
from adaptlab.progress import progress


@pytest.mark.parametrize(
    ("arguments", "changes", "told"),
    [
        (["doctor", "--profile", "h100"], {}, "LAB_PROFILE is 'h100': choose one of mini, t4, l4, l40s"),
        (["doctor", "--mode", "fast"], {}, "LAB_MODE is 'fast': choose one of auto, live, prebuilt"),
        (["verify", "prebuilt"], {"LAB_DOCUMENT": "/nowhere.md"}, "/nowhere.md, which does not exist"),
        (["capture"], {}, "This run cannot be captured: eval_results.json is missing: run 00Setup"),
        (["models", "list", "--colour"], {}, "unknown argument --colour"),
    ],
)
def test_a_fault_is_one_sentence_and_exit_code_2(adaptlab_command, tmp_path, arguments, changes, told):
    done = adaptlab_command(*arguments, **changes)
    assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr and done.stdout == ""
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".md", ".lock")]
    assert left == []


def test_a_port_that_is_none_is_refused(adaptlab_command):
    done = adaptlab_command("serve", "--port", "99999")
    assert done.returncode == 2 and "'99999' is no port" in done.stderr


def test_ctrl_c_is_one_sentence_and_exit_code_130(tmp_path, lab_environ):
    slow = tmp_path / "nvidia-smi"
    slow.write_text('#!/bin/sh\ntouch "$(dirname $0)/asked"\nexec sleep 8\n')
    slow.chmod(0o755)
    env = clean_environ(lab_environ, {"LAB_PROFILE": ""})
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    command = [sys.executable, "-m", "adaptlab", "doctor"]
    process = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for _ in range(300):
        if (tmp_path / "asked").exists():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and errors.startswith("adaptlab: stopped;") and errors.count("\n") == 1


def test_doctor_names_what_is_missing(adaptlab_command):
    done = adaptlab_command("doctor", "--profile", "l4", "--json")
    value = json.loads(done.stdout)
    assert done.returncode == 1 and value["profile"] == "l4"
    assert "LAB_ENDPOINT_URL and LAB_TEACHER_MODEL are not both set" in value["obstacles"]


def test_models_list_gives_every_model_with_its_revision(adaptlab_command):
    done = adaptlab_command("models", "list", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 0 and rows["mini-granite"]["revision"] == "shipped with the lab"
    assert rows["granite-3.2-8b-instruct"]["revision"] == "unpinned"


def test_capture_and_verify_work_from_the_command_line(adaptlab_command, make_lab):
    full_run(make_lab())
    assert adaptlab_command("verify", "live").returncode == 0
    assert f"Captured {len(kinds.REGISTRY)} artifacts" in adaptlab_command("capture").stdout
    assert json.loads(adaptlab_command("verify", "prebuilt", "--json").stdout) == {"problems": []}
    edited = make_lab().settings.prebuilt_dir / "bon_results.json"
    edited.write_text("{}")
    done = adaptlab_command("verify", "prebuilt")
    assert done.returncode == 1 and "bon_results.json was edited" in done.stdout


def test_the_command_line_starts_without_heavy_libraries():
    heavy = ("torch", "pandas", "transformers")
    code = f"import sys; import adaptlab.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_replays_banner_is_the_captured_machines_and_torch_stays_out(make_lab, lab_environ):
    lab = make_lab()
    full_run(lab)
    capture(lab.settings)
    code = (
        "import sys; from adaptlab import notebook; lab = notebook.start('00Setup/x'); lab.result('bon_results').data; "
        "print('torch' in sys.modules)"
    )
    env = clean_environ(lab_environ, {"LAB_MODE": "prebuilt"})
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n") and done.stderr == ""
    device = lab.result("bon_results").provenance.device
    assert f"{device}, as captured on" in done.stdout and "missing" not in done.stdout
    again = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert again.stdout == done.stdout


def test_the_live_banner_says_what_is_missing_and_what_that_means(make_lab):
    text = notebook.banner(make_lab(LAB_PROFILE="l4", LAB_MODE="live"))
    assert "LAB_ENDPOINT_URL and LAB_TEACHER_MODEL are not both set: steps that need it stop" in text
    assert "granite-3.2-8b-instruct, ibm-granite/granite-3.2-8b-instruct (unpinned, bf16)" in text


def test_tables_are_escaped_labelled_and_the_same_every_time(make_lab):
    result = make_lab().step("bon_results", lambda: 1, models=())
    frame = pd.DataFrame({"<b>head</b>": ["<script>alert(1)</script>", "& more"], "score": [0.123, None]})
    shown = notebook.table(frame, "Scores <i>", result, index=True)
    page = shown._repr_html_()
    assert "<script" not in page and "<b>" not in page and "<i>" not in page and "0.12" in page
    assert result.label in page and result.label in repr(shown) and "object at 0x" not in repr(shown)
    assert page == notebook.table(frame, "Scores <i>", result, index=True)._repr_html_()


def test_figures_are_stamped_with_their_origin(make_lab):
    matplotlib.use("agg")
    from matplotlib import pyplot

    result = make_lab().step("bon_results", lambda: 1, models=())
    figure = notebook.stamp(pyplot.figure(), result, result)
    assert [text.get_text() for text in figure.texts] == [result.label]
    pyplot.close(figure)


def test_measured_times_come_from_the_manifests(make_lab):
    lab = make_lab()
    assert notebook.measured_times(lab).empty
    full_run(lab)
    capture(lab.settings)
    rows = notebook.measured_times(lab).to_dict("records")
    assert [(row["profile"], row["notebook"]) for row in rows] == [("mini", "00Setup/test")]


def test_progress_writes_lines_to_lab_progress_and_nothing_to_the_outputs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAB_PROGRESS", str(tmp_path / "progress.jsonl"))
    assert list(progress([1, 2, 3], desc="Counting")) == [1, 2, 3]
    with pytest.raises(RuntimeError), progress(total=5, desc="Failing") as bar:
        bar.update(2)
        raise RuntimeError
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    ends = [(line["desc"], line["n"], line["total"]) for line in lines if line["done"]]
    assert ends == [("Counting", 3, 3), ("Failing", 2, 5)]
    assert capsys.readouterr() == ("", "")


def test_progress_survives_a_file_it_cannot_write(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_PROGRESS", str(tmp_path))
    assert list(progress([1, 2])) == [1, 2]


def test_a_notebook_kernel_hashes_cells_and_stores_no_progress(tmp_path, lab_environ):
    """In a real kernel: an edited helper cell changes the key, and no progress text stays."""
    import nbformat
    from nbclient import NotebookClient

    setup = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom adaptlab import notebook\n"
    setup += "lab = notebook.start('00Setup/x')"
    cells = [setup, "class Grader:\n    def grade(self, x):\n        return x + 1\nSHIFT = {'by': 1}"]
    cells += ["def helper(x):\n    return Grader().grade(x) + SHIFT['by']"]
    step = "def run(progress):\n    return [helper(x) for x in progress(range(3))]\n"
    cells += [step + "lab.step('bon_results', run, models=()).data"]
    for line in ("class Grader:\n    def grade(self, x):\n        return x + 2", "SHIFT = {'by': 3}", "1"):
        cells += [line, "lab.step('bon_results', run, models=()).data"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    variables = clean_environ(lab_environ)
    NotebookClient(book, timeout=120).execute(cwd=tmp_path, env=variables)
    outputs = [
        [item for item in cell.outputs if item.output_type == "execute_result"][0].data["text/plain"]
        for cell in book.cells
        if "lab.step" in cell.source
    ]
    assert outputs == ["[2, 3, 4]", "[3, 4, 5]", "[5, 6, 7]", "[5, 6, 7]"]
    stored = [item for cell in book.cells for item in cell.outputs]
    assert {item.data["text/plain"] for item in stored if item.output_type == "display_data"} <= {""}
    assert not [item for item in stored if item.get("name") == "stderr"]
