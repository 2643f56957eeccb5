"""Notebooks are run in order in real kernels; failures, Ctrl-C and replays end as they should."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import config
from adaptlab import capture, committed, kernel, report, run_bars, runner, sections
from adaptlab.artifacts import Lab
from adaptlab.sections import NOTEBOOKS
from config import LabError

LONG = sections.LONG[0]
FIRST, SECOND = NOTEBOOKS[:2]
SHOWS = (
    "import os, sys\nfrom pathlib import Path\n"
    "print(os.environ['LAB_MODE'], os.environ['LAB_PROFILE'], os.environ['LAB_DOCUMENT'])\n"
    "print(sys.executable)\nprint(Path.cwd())"
)
STYLED = (
    "import pandas as pd\nfrom IPython.display import HTML\n"
    "display(HTML('<script>document.title = 1</script><b>kept</b>'))\n"
    "pd.DataFrame({'rung': ['base'], 'score': [0.5]}).style.set_caption('Scores')"
)


def write(root: Path, name: str, *sources: str) -> Path:
    """A small notebook in the place of one of the lab's."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [new_markdown_cell("# A title"), *(new_code_cell(source) for source in sources)]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def environment(root: Path) -> dict[str, str]:
    """A document and an outputs folder of this test's own."""
    document = root / "rules.md"
    document.write_text("# Rules\n\nA torch burns for six turns.\n", encoding="utf-8")
    variables = {"LAB_DOCUMENT": str(document), "LAB_OUTPUTS": str(root / "live"), "LAB_PREBUILT": str(root / "kept")}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LAB_")}
    return {**inherited, **variables, "PYTHONPATH": str(config.ROOT)}


def command(root: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "adaptlab.runner", "--root", str(root), "--profile", "mini", *options]


def run(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(root, *options), env=environment(root), cwd=root, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Two small notebooks, run live."""
    root = tmp_path_factory.mktemp("finished")
    write(root, FIRST, SHOWS)
    write(root, SECOND, STYLED)
    return root, run(root, "--mode", "live", "--to", "01")


def test_a_run_ends_with_a_table_and_the_path_of_its_report(finished):
    root, done = finished
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.endswith(tuple("0123456789")) and ".ipynb" in line] == [
        FIRST,
        SECOND,
    ]
    index = Path(lines[-1].removeprefix("report: "))
    assert index == root / "live" / "mini" / "rules" / "report" / "index.html"
    links = re.findall(r'href="([^"]+)"', index.read_text("utf-8"))
    assert len(links) == 2 and all((index.parent / link).is_file() for link in links)


def test_a_notebook_runs_with_this_interpreter_profile_mode_and_document_in_a_scratch_folder(finished):
    root, _ = finished
    executed = nbformat.read(root / "live/mini/rules/report/00Setup_00_Recap_and_Evidence.ipynb", as_version=4)
    settings, interpreter, folder = executed.cells[1].outputs[0].text.splitlines()
    assert settings == f"live mini {root / 'rules.md'}"
    assert interpreter == sys.executable
    assert Path(folder).is_relative_to(root) and not Path(folder).exists()


MEETS = (  # fails where nobody else replays meanwhile
    "import os, time\nfrom pathlib import Path\n"
    "here = Path(os.environ['LAB_OUTPUTS'])\nhere.mkdir(exist_ok=True)\n(here / '{mine}').touch()\n"
    "until = time.monotonic() + 60\n"
    "while not (here / '{other}').exists():\n    assert time.monotonic() < until\n    time.sleep(0.05)"
)


def test_replays_run_side_by_side_and_are_told_in_order(tmp_path):
    write(tmp_path, FIRST, MEETS.format(mine="first", other="second"))
    write(tmp_path, SECOND, MEETS.format(mine="second", other="first"))
    done = run(tmp_path, "--mode", "prebuilt", "--to", "01", "--json")
    assert done.returncode == 0, done.stderr
    told = [(page["name"], page["state"]) for page in json.loads(done.stdout)["notebooks"]]
    assert told == [(FIRST, "done"), (SECOND, "done")]


def test_a_replay_that_fails_ends_the_run_and_those_after_it_count_as_not_run(tmp_path):
    write(tmp_path, FIRST, "raise ValueError('broken here')")
    write(tmp_path, SECOND, "print('fine')")
    done = run(tmp_path, "--mode", "prebuilt", "--to", "01")
    assert done.returncode == 1 and "broken here" in done.stderr
    page = (tmp_path / "live/mini/rules/replay/index.html").read_text("utf-8")
    assert ">failed<" in page and page.count(">not run<") == 1


def test_relative_paths_in_the_settings_mean_the_same_in_the_kernels(tmp_path):
    names = ("LAB_DOCUMENT", "LAB_BENCHMARK", "LAB_OUTPUTS", "LAB_PREBUILT")
    write(tmp_path, FIRST, f"import os\nfor name in {names}:\n    print(os.environ[name])")
    (tmp_path / "rules.md").write_text("# Rules\n\nA torch burns for six turns.\n", encoding="utf-8")
    (tmp_path / "asked.jsonl").write_text("", encoding="utf-8")
    relative = dict(zip(names, ("rules.md", "asked.jsonl", "live", "kept"), strict=True))
    done = subprocess.run(
        command(tmp_path, "--mode", "live", "--to", "00"),
        env={**environment(tmp_path), **relative},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    page = tmp_path / "live/mini/rules/report/00Setup_00_Recap_and_Evidence.ipynb"
    said = nbformat.read(page, as_version=4).cells[1].outputs[0].text.split()
    assert said == [str(tmp_path / name) for name in relative.values()]


def test_the_notebooks_in_the_repository_stay_as_they_are(finished):
    root, _ = finished
    assert nbformat.read(root / FIRST, as_version=4).cells[1].outputs == []


def test_pages_hold_tables_but_no_script_and_nothing_from_a_network(finished):
    root, _ = finished
    page = (root / "live/mini/rules/report/01Inference_Time_Scaling_01_BestOfN.html").read_text("utf-8")
    assert "<b>kept</b>" in page and "Scores" in page
    assert not re.search(r"<script\b|<link\b|<iframe\b", page, re.IGNORECASE)
    assert not re.search(r"""(src|href)=["']?https?:|@import|url\(["']?https?:""", page)
    assert "default-src 'none'" in page


def test_the_time_of_a_live_notebook_is_noted_for_the_capture(finished):
    root, _ = finished
    noted = json.loads((root / "live/mini/rules/timings.json").read_text("utf-8"))
    assert set(noted) == {FIRST.removesuffix(".ipynb"), SECOND.removesuffix(".ipynb")}
    assert all(seconds > 0 for seconds in noted.values())


def test_a_failing_cell_is_one_sentence_and_what_ran_before_stays(tmp_path):
    write(tmp_path, FIRST, "print('before')")
    write(tmp_path, SECOND, "print(1)", "raise ValueError('the dice are loaded\\nsecond line')", "print('never')")
    done = run(tmp_path, "--mode", "live", "--to", "01")
    assert done.returncode == 1
    assert f"adaptlab run: {SECOND}, cell 3: ValueError: the dice are loaded. What was finished is kept" in done.stderr
    assert "second line" not in done.stderr
    folder = tmp_path / "live/mini/rules/report"
    index = (folder / "index.html").read_text("utf-8")
    assert ">done<" in index and ">failed<" in index
    assert "before" in (folder / "00Setup_00_Recap_and_Evidence.html").read_text("utf-8")
    stopped = nbformat.read(folder / "01Inference_Time_Scaling_01_BestOfN.ipynb", as_version=4)
    assert stopped.cells[2].outputs[0].ename == "ValueError" and stopped.cells[3].outputs == []


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_stops_the_kernel_and_says_one_sentence(tmp_path, sent, code):
    pid_file = tmp_path / "pid"
    wait = f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(300)"
    write(tmp_path, FIRST, wait)
    arguments = command(tmp_path, "--mode", "live", "--to", "00")
    with subprocess.Popen(arguments, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as process:
        _until(lambda: pid_file.exists() and pid_file.read_text() != "", 120)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.splitlines()[-1].endswith("what was finished is kept, and the next run goes on from there.")
    assert "Traceback" not in errors
    _until(lambda: not Path(f"/proc/{pid_file.read_text()}").exists(), 10)
    assert list((tmp_path / "outputs").iterdir()) == []


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_stops_every_replay_that_runs(tmp_path, sent, code):
    pids = [tmp_path / "first-pid", tmp_path / "second-pid"]
    for name, file in zip((FIRST, SECOND), pids, strict=True):
        write(tmp_path, name, f"import os, time\nopen({str(file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(300)")
    arguments = command(tmp_path, "--mode", "prebuilt", "--to", "01")
    with subprocess.Popen(arguments, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as process:
        _until(lambda: all(file.exists() and file.read_text() for file in pids), 120)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in errors
    _until(lambda: not any(Path(f"/proc/{file.read_text()}").exists() for file in pids), 10)
    assert list((tmp_path / "outputs").iterdir()) == []


def _until(holds, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_a_replay_is_stored_without_volatile_parts_and_a_changed_output_is_found(tmp_path):
    path = write(tmp_path, FIRST, "print('always')", STYLED)
    stored = run(tmp_path, "--mode", "prebuilt", "--to", "00", "--write-outputs")
    assert stored.returncode == 0, stored.stderr
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[1].outputs[0].text == "always\n"
    assert notebook.metadata.language_info == {"name": "python"}
    assert all(not cell.metadata for cell in notebook.cells)
    assert not (tmp_path / "live/mini/rules/timings.json").exists()

    again = run(tmp_path, "--mode", "prebuilt", "--to", "00", "--check")
    assert again.returncode == 0, again.stderr
    notebook.cells[1].outputs[0].text = "never\n"
    nbformat.write(notebook, path)
    changed = run(tmp_path, "--mode", "prebuilt", "--to", "00", "--check")
    assert changed.returncode == 1
    assert f"{FIRST}, cell 2: stdout differs: committed 'never', now 'always'." in changed.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--profile", "huge"], "LAB_PROFILE is 'huge': choose one of mini, t4, l4, l40s."),
        (["--mode", "fast"], "LAB_MODE is 'fast': choose one of auto, live, prebuilt."),
        (["--from", "07"], "--from is '07': choose one of 00, 01, 02, 03, 04, 05."),
        (["--from", "03", "--to", "02"], "--from 03 comes after --to 02: swap them."),
        (["--only", "LoRA", "--from", "03"], "--only names one notebook: leave --from and --to away."),
        (["--mode", "live", "--write-outputs"], "--write-outputs and --check compare replays: add --mode prebuilt."),
        (["--from", "01", "--to", "01"], "01_BestOfN.ipynb is missing: restore it with git checkout."),
        (["--to", "00"], "00_Recap_and_Evidence.ipynb is no readable notebook: restore it with git checkout."),
    ],
)
def test_bad_input_is_one_sentence_and_touches_nothing(tmp_path, monkeypatch, capsys, options, words):
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LAB_PROFILE", "mini")
    monkeypatch.setenv("LAB_MODE", "auto")
    (tmp_path / "00Setup").mkdir()
    (tmp_path / FIRST).write_text("{torn", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    assert runner.main(["--root", str(tmp_path), *options]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("adaptlab run: ") and errors.endswith(words + "\n") and errors.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_sections_are_selected_by_number():
    assert [name[:2] for name in runner.selected("02", "04", NOTEBOOKS)] == ["02", "03", "04"]
    assert runner.selected(None, None) == list(runner.SERIES) and set(NOTEBOOKS) < set(runner.SERIES)
    assert runner.selected("3", "3")[0] == NOTEBOOKS[3] and set(runner.selected("3", "3")) > set(NOTEBOOKS[3:4])
    assert runner.selected("5", None) == [NOTEBOOKS[5]]
    assert runner.named("lora_qlora") == [LONG]


# ------------------------------------------------------------------------------------------- long notebooks


STEP = """from adaptlab import notebook
lab = notebook.start({name!r})


def made():
    return {{"x": 1}}


print("mode", lab.step("trial.json", made, models=()).label.split(";")[0])"""


@pytest.fixture(scope="module")
def long_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Section 03 with a short and a long notebook, and nothing captured."""
    root = tmp_path_factory.mktemp("long")
    write(root, NOTEBOOKS[3], "print('short')")
    write(root, LONG, STEP.format(name=LONG.removesuffix(".ipynb")))
    return root


def states(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {page["name"]: page["state"] for page in json.loads(done.stdout)["notebooks"]}


SECTION = ("--from", "03", "--to", "03", "--json")


@pytest.mark.parametrize("mode", ["live", "prebuilt"])
def test_a_long_notebook_without_prebuilt_results_is_left_out_with_a_sentence(long_root, mode):
    done = run(long_root, "--mode", mode, *SECTION)
    assert done.returncode == 0, done.stderr
    assert f"{LONG}: no results of it are in prebuilt/ yet; `make lab-full` computes them." in done.stderr
    assert states(done) == {NOTEBOOKS[3]: "done", LONG: "left out: no prebuilt results yet"}
    assert not (long_root / "live/mini/rules/trial.json").exists()


def test_a_long_notebook_runs_live_when_asked_and_is_replayed_from_its_capture_otherwise(long_root):
    full = run(long_root, "--mode", "live", "--full", *SECTION)
    assert full.returncode == 0, full.stderr
    assert states(full) == {NOTEBOOKS[3]: "done", LONG: "done"}
    page = "report/03ModelAdaptation_02_LoRA_QLoRA_Full.html"
    made, kept = long_root / "live/mini/rules", long_root / "kept/mini/rules"
    assert "mode live" in (made / page).read_text("utf-8")
    assert LONG.removesuffix(".ipynb") in json.loads((made / "timings.json").read_text("utf-8"))

    settings = config.settings({**environment(long_root), "LAB_PROFILE": "mini", "LAB_MODE": "live"})
    kept.mkdir(parents=True)
    capture._copy(settings, kept)
    noted = (made / "timings.json").read_text("utf-8")
    replayed = run(long_root, "--mode", "live", *SECTION)
    assert replayed.returncode == 0, replayed.stderr
    assert states(replayed) == {NOTEBOOKS[3]: "done", LONG: "replayed from the prebuilt results"}
    assert "mode prebuilt" in (made / page).read_text("utf-8")
    after = json.loads((made / "timings.json").read_text("utf-8"))
    assert after[LONG.removesuffix(".ipynb")] == json.loads(noted)[LONG.removesuffix(".ipynb")]

    changed = write(long_root, LONG, STEP.format(name=LONG.removesuffix(".ipynb")).replace('"x": 1', '"x": 2'))
    assert changed.is_file()
    other = run(long_root, "--mode", "live", *SECTION)
    assert other.returncode == 0, other.stderr
    assert states(other)[LONG] == "left out: the prebuilt results are of other settings"
    assert "This cell is not the one that made the prebuilt trial.json" in other.stderr
    strict = run(long_root, "--mode", "prebuilt", "--only", "02_LoRA")
    assert strict.returncode == 1 and "This cell is not the one that made the prebuilt trial.json" in strict.stderr


def test_progress_is_read_line_by_line_and_a_torn_line_waits(tmp_path):
    path = tmp_path / "progress.jsonl"
    feed = run_bars.Feed(path)
    assert feed.newest() is None
    line = json.dumps({"desc": "Sampling", "n": 3, "total": 8, "seconds": 1.5, "done": False}) + "\n"
    path.write_text(line + line.replace("3", "4")[:20], encoding="utf-8")
    assert feed.newest() == {"desc": "Sampling", "n": 3, "total": 8, "seconds": 1.5}
    path.write_text(line + line.replace("3", "4"), encoding="utf-8")
    newest = feed.newest()
    assert newest is not None and newest["n"] == 4 and "4/8" in run_bars.words(newest)
    with path.open("a") as stream:
        stream.write("no json\n")
    assert feed.newest() is None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("LabError", "LAB_MODE is 'x': choose one.", "LAB_MODE is 'x': choose one."),
        ("KeyError", "'rung'", "KeyError: 'rung'."),
        ("ValueError", "", "ValueError: no message."),
    ],
)
def test_an_error_is_one_sentence(name, text, expected):
    assert kernel.sentence(name, text) == expected


# ------------------------------------------------------------------------------------------- committed outputs


def _cell(*outputs):
    cell = new_code_cell("show()")
    cell.outputs = list(outputs)
    return cell


def _notebook(*outputs):
    return new_notebook(cells=[_cell(*outputs)])


def _stream(text: str, name: str = "stdout"):
    return new_output("stream", text=text, name=name)


def _data(**kinds: str):
    return new_output("display_data", data={kind.replace("_", "/"): value for kind, value in kinds.items()})


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ([_stream("a\nb\n")], [_stream("a\n"), _stream("b\n")]),
        ([_data(text_html="<table id='T_1a2b3c'>1</table>")], [_data(text_html="<table id='T_ffee01'>1</table>")]),
        ([_data(text_plain="<Figure>", image_png="AAAA")], [_data(text_plain="<Figure>", image_png="BBBB")]),
        ([_data(text_plain="<f at 0x7f0000001>")], [_data(text_plain="<f at 0x7f0000002>")]),
    ],
)
def test_outputs_that_say_the_same_are_equal(was, now):
    assert committed.differences(_notebook(*was), _notebook(*now)) == []


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ([_stream("61 %\n")], [_stream("62 %\n")], "stdout differs: committed '61 %', now '62 %'."),
        ([_data(text_html="<td>1</td>")], [_data(text_html="<td>2</td>")], "text/html differs"),
        ([_data(image_png="AAAA")], [], "1 outputs are committed and the replay made 0."),
        ([_stream("x")], [_stream("x", "stderr")], "stderr differs"),
    ],
)
def test_outputs_that_say_something_else_are_found(was, now, words):
    found = committed.differences(_notebook(*was), _notebook(*now))
    assert len(found) == 1 and found[0].startswith("cell 1: ") and words in found[0]


def test_a_changed_source_is_found():
    was, now = _notebook(_stream("1\n")), _notebook(_stream("1\n"))
    now.cells[0].source = "show(2)"
    assert committed.differences(was, now) == ["cell 1: its source was changed and not replayed."]


# ------------------------------------------------------------------------------------------- the ladder


RUNGS = [
    {"rung": "base <b>alone</b>", "rate": 0.1, "low": 0.05, "high": 0.2, "notebook": "00Setup/00_Recap_and_Evidence"},
    {"rung": "adapter", "rate": 0.7, "low": 0.6, "high": 0.8, "notebook": "03ModelAdaptation/01ModelAdaptation"},
]


@pytest.fixture
def settings(tmp_path):
    return config.settings({**environment(tmp_path), "LAB_PROFILE": "mini", "LAB_MODE": "live"})


def _evaluated(settings: config.Settings, rows: list) -> None:
    """A finished evaluation with these rungs."""

    def evaluate():
        return {"ladder": rows}

    Lab(settings, notebook="04Evaluation/01_Evaluation").step("evaluation", evaluate, models=())


def test_there_is_no_ladder_before_the_evaluation(settings):
    assert report.ladder(settings) is None


def test_the_ladder_shows_scores_intervals_minutes_and_origin(settings, monkeypatch):
    from adaptlab import evaluation

    monkeypatch.delattr(evaluation, "ladder_rows", raising=False)
    _evaluated(settings, RUNGS)
    runner.record_timing(settings, "03ModelAdaptation/01ModelAdaptation", 120.0)
    found = report.ladder(settings)
    assert found is not None and found.label.startswith("live; profile mini; ")
    text = report.closing_table(found, [])
    assert re.search(r"adapter +70 % \(60 % to 80 %\) +2\.0$", text, re.MULTILINE)
    assert text.endswith("all notebooks together: 2.0 minutes")
    page = report.index_page("live run", [], found)
    assert "base &lt;b&gt;alone&lt;/b&gt;" in page and "<b>" not in page
    assert found.label in page and "data:image/png;base64," in page


def test_a_ladder_row_without_a_score_is_a_sentence(settings, monkeypatch):
    from adaptlab import evaluation

    monkeypatch.delattr(evaluation, "ladder_rows", raising=False)
    _evaluated(settings, [{"rung": "base", "low": 0.0, "high": 1.0}])
    with pytest.raises(LabError, match=r"^evaluation\.json ladder row 1: field rate: .*run the evaluation notebook"):
        report.ladder(settings)


def test_names_in_the_index_are_escaped():
    page = report.index_page("<i>run</i>", [report.Page("<script>x</script>", "a.html", "done", 1.0)], None)
    assert "<script>" not in page and "<i>" not in page and "There is no ladder yet" in page
