"""Bad input and faults: one sentence with what to do, an exit code, nothing touched, and the next run goes on."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import fault_helpers as lab_in
import pytest
from fault_helpers import end, sentences, start, torn, tree, until, write_notebook
from test_artifacts import full_run

from adaptlab.capture import capture
from adaptlab.files import files_below
from config import LabError

KEPT = "What was finished is kept; run again to go on from there."
GOES_ON = "what was finished is kept, and the next run goes on from there."
SECTION_00 = ("run", "--from", "00", "--to", "00")
QUESTIONS, PASSAGES = 16, 14


@pytest.fixture(scope="module")
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the lab in which section 00 has been run live on the real miniature, about three questions."""
    if any("stories" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("begun")  # they mostly wait, so they may as well do so now
    folder = lab_in.clone(tmp_path_factory.mktemp("lab") / "home")
    code, _, errors = end(start(folder, *SECTION_00))
    assert code == 0, errors
    return folder


# ------------------------------------------------------------------------------- faults before anything has started


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"LAB_PROFILE": "h100"}, "LAB_PROFILE is 'h100': choose one of mini, t4, l4, l40s."),
        ({"LAB_MODE": "fast"}, "LAB_MODE is 'fast': choose one of auto, live, prebuilt."),
        ({"LAB_DOCUMENT": "missing.md"}, "missing.md, which does not exist: name one Markdown or text file."),
        ({"LAB_DOCUMENT": "empty.md"}, "empty.md, which is empty: name a Markdown or text file with words in it."),
        ({"LAB_DOCUMENT": "binary.md"}, "binary.md, which is no text in UTF-8: convert it to plain text first."),
        ({"LAB_DOCUMENT": "none"}, "none: put a Markdown, text, HTML, PDF or DOCX file into it, or name one."),
        ({"LAB_ENDPOINT_URL": "here"}, "is 'here': give a URL such as http://localhost:8000/v1, or leave it unset."),
    ],
    ids=["profile", "mode", "missing", "empty", "binary", "folder", "url"],
)
def test_a_fault_at_the_start_is_one_sentence_exit_code_2_and_touches_nothing(home: Path, fault: dict, words: str):
    (home / "empty.md").write_text(" \n")
    (home / "none").mkdir(exist_ok=True)
    (home / "binary.md").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    before = tree(home)
    commands = {name: start(home, *name.split(), **fault) for name in ("run --to 00", "verify prebuilt")}
    for name, process in commands.items():
        code, output, errors = end(process)
        assert (code, output) == (2, ""), name
        assert errors.startswith("adaptlab: LAB_") and errors.endswith(f"{words}\n") and errors.count("\n") == 1
    assert tree(home) == before


def test_a_port_in_use_is_one_sentence_and_the_server_starts_once_it_is_free(home: Path) -> None:
    before = tree(home)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, output, errors = end(start(home, "serve", "--port", port))
    assert (code, output) == (2, "")
    assert errors == f"Port {port} is in use: stop what uses it, or choose another one with --port.\n"
    again = start(home, "serve", "--port", port)
    until(partial(lab_in.answers, f"http://127.0.0.1:{port}/health"), again)
    again.send_signal(signal.SIGINT)
    code, output, errors = end(again)
    assert (code, errors) == (0, "") and output.endswith(f" on http://127.0.0.1:{port}/v1\n")
    assert tree(home) == before


@pytest.mark.parametrize("command", [("serve", "--port", "0", "--model", "mini-granite"), ("doctor",)])
def test_missing_weights_are_named_by_every_command_that_needs_them(home: Path, command: tuple[str, ...]) -> None:
    folder = home / "prebuilt" / "models" / "mini-granite"
    folder.rename(home / "aside")
    try:
        before = tree(home)
        code, output, errors = end(start(home, *command))
        assert tree(home) == before
    finally:
        (home / "aside").rename(folder)
    if command[0] == "serve":
        assert (code, output) == (2, "") and errors.count("\n") == 1
        assert "prebuilt/models/mini-granite lacks config.json, model.safetensors, tokenizer.json; restore it" in errors
    else:
        assert (code, errors) == (1, "")
        assert "FAULT  model     mini-granite: prebuilt/models/mini-granite holds no model" in output


# ------------------------------------------------------------------------------- faults inside section 00, as it is


@dataclass(frozen=True)
class Fault:
    """A fault that a notebook meets: what to change, and what is then said."""

    words: str
    environ: dict[str, str] = field(default_factory=dict)
    lose: str = ""
    spoil: str = ""


FAULTS = {
    "no GPU": Fault(
        "eval_results.json cannot be computed here: the profile l4 needs one NVIDIA L4 with 24 GB: put that right or "
        "set LAB_MODE=auto.",
        {"LAB_PROFILE": "l4"},
    ),
    "document without questions": Fault(
        "There are no questions about rules.md: name their file in LAB_BENCHMARK, one JSON object a line as in "
        "00Setup/benchmark.jsonl.",
        lose="rules.questions.jsonl",
    ),
    "benchmark with a broken line": Fault(
        "broken.jsonl, line 2: not valid JSON (Expecting property name enclosed in double quotes, column 2): correct "
        "this line.",
        {"LAB_BENCHMARK": "broken.jsonl"},
        spoil="broken.jsonl",
    ),
    "no weights": Fault(
        "The model mini-granite is not complete: prebuilt/models/mini-granite lacks model.safetensors; restore it "
        "with `git checkout -- prebuilt/models/mini-granite`, or train it with `python -m adaptlab.miniature`.",
        lose="prebuilt/models/mini-granite/model.safetensors",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_notebook_is_one_sentence_and_leaves_results_as_they_were(home: Path, name: str) -> None:
    fault, lost = FAULTS[name], home / FAULTS[name].lose
    environ = dict(fault.environ)
    if fault.spoil:
        (home / fault.spoil).write_text(lab_in.question(1) + "{broken\n" + lab_in.question(2), "utf-8")
        environ["LAB_BENCHMARK"] = str(home / fault.spoil)
    if fault.lose:
        lost.rename(home / "aside")
    try:
        before = tree(home, "/report/", ".lock")
        code, output, errors = end(start(home, *SECTION_00, **environ))
        assert tree(home, "/report/", ".lock") == before
    finally:
        if fault.lose:
            (home / "aside").rename(lost)
    assert (code, output) == (1, "")
    [told] = sentences(errors)
    assert told.startswith(f"adaptlab run: {lab_in.FIRST}, cell ") and told.endswith(f": {fault.words} {KEPT}")
    assert torn(home / "outputs") == [] and not list((home / "outputs").glob(".scratch*"))
    [index] = home.glob(f"outputs/{environ.get('LAB_PROFILE', 'mini')}/rules/report/index.html")
    assert ">failed<" in index.read_text("utf-8") and index.read_text("utf-8").rstrip().endswith("</html>")


def test_after_all_these_faults_the_next_run_finds_its_finished_steps(home: Path) -> None:
    before = tree(home, "/report/", ".lock", "timings.json")
    code, output, errors = end(start(home, *SECTION_00))
    assert code == 0 and "report: " in output and sentences(errors) == []
    assert tree(home, "/report/", ".lock", "timings.json") == before
    [result] = home.glob("outputs/mini/rules/eval_results.json")
    assert len(json.loads(result.read_text("utf-8"))) == 3


# ------------------------------------------------------------------------------- an edited prebuilt file


def test_an_edited_prebuilt_file_is_named_left_alone_and_can_be_restored(home: Path, make_lab, tmp_path: Path) -> None:
    lab = make_lab(LAB_DOCUMENT=str(home / "rules.md"))
    full_run(lab)
    prebuilt, root = capture(lab.settings), tmp_path / "root"
    write_notebook(root / lab_in.FIRST, "print(lab.result('bon_results').data)")
    environ = {"LAB_MODE": "prebuilt", "LAB_PREBUILT": str(prebuilt.parents[1]), "LAB_OUTPUTS": str(root / "live")}
    for victim in ("bon_results.json", "bon_results.json.provenance.json"):
        whole = (prebuilt / victim).read_bytes()
        (prebuilt / victim).write_bytes(whole.replace(b"bon", b"bun"))
        before = tree(prebuilt)
        replay = start(home, *SECTION_00, "--root", str(root), **environ)
        code, listed, _ = end(start(home, "verify", "prebuilt", **environ))
        assert code == 1 and f"{victim} was edited or damaged" in listed and "restore it with git checkout" in listed
        code, _, errors = end(replay)
        [told] = sentences(errors)
        assert code == 1 and f"{victim} was edited or damaged after it was" in told
        assert told.endswith(f": restore it with git checkout. {KEPT}")
        assert tree(prebuilt) == before
        (prebuilt / victim).write_bytes(whole)
    assert end(start(home, *SECTION_00, "--root", str(root), **environ))[0] == 0
    assert {part.split("/")[2] for part in files_below(root / "live")} == {"replay"}


# ------------------------------------------------------------------------------- long steps, stopped and gone on with

ASK = """
from adaptlab import synthesis, workbench
from adaptlab.schemas import Arm

questions = workbench.questions(lab)


def ask(progress):
    return workbench.ask(lab, Arm(name="teacher", model="teacher"), questions, progress)


asked = lab.step("eval_results", ask, inputs=[workbench.benchmark_path(lab)], models=("teacher",), needs=())
"""
WRITE = f"""
def write(progress):
    import pandas as pd

    names = [f"Passage {{chr(65 + number)}}" for number in range({PASSAGES})]
    texts = [f"The Number of {{name}} is 7." for name in names]
    seeds = pd.DataFrame({{"chunk_id": names, "title": names, "document": texts}})
    with workbench.teacher_endpoint(lab) as teacher:
        made = synthesis.generate(
            synthesis.SHORT_FLOW, seeds, **teacher, out_dir=lab.work_dir("written"), max_concurrency=4, num_retries=0
        )
    return made.rows


lab.step("sdg_run1_results", write, models=("teacher",), needs=())
"""
TRAIN = """
from dataclasses import replace


def train(progress):
    import os
    import time
    from pathlib import Path

    from adaptlab import training, workbench
    from adaptlab.schemas import Message, Row

    def wait_at(line):
        while line["step"] >= int(os.environ["STOP_AT"]):
            Path(os.environ["REACHED"]).touch()
            time.sleep(0.05)

    def row(number):
        asked = [Message(role="user", content=f"What does berth {number} cost?")]
        answer = [Message(role="assistant", content=f"{number + 3} crowns.")]
        return Row(id=str(number), prompt=asked, completion=answer)

    plan = replace(lab.profile.training, epochs=4, batch_size=4, gradient_accumulation=1)
    short = replace(lab.profile, training=plan)
    folder = lab.work_dir("training")
    result = training.train_qlora(
        [row(number) for number in range(16)], lab.settings.student.location, folder, short, wait_at
    )
    (result.adapter_dir / "gone-on-from.txt").write_text(str(result.resumed_from))
    return workbench.with_cost(result)


lab.step("adapter", train, models=("student",))
"""
KINDS = ("asking", "synthesis", "training")
STOPS = (("Ctrl-C", signal.SIGINT, 5), ("kill -9", signal.SIGKILL, 4))


@dataclass(frozen=True)
class Stopped:
    """How a run ended, and what it left: half-written files, the result itself, and how many finished items."""

    code: int
    errors: str
    torn: list[str]
    published: bool
    kept: int


@dataclass
class Story:
    """What became of one kind of long step: stopped by Ctrl-C, then killed, then finished."""

    stops: dict[str, Stopped] = field(default_factory=dict)
    last_asked: list[str] = field(default_factory=list)
    finished: tuple[int, str] = (-1, "")
    result: Path = Path()
    scratch: list[str] = field(default_factory=list)


class Stage:
    """A small notebook in a root of its own, run by the command line of the copied lab."""

    def __init__(self, home: Path, root: Path, *cells: str) -> None:
        self.home, self.root, self.live = home, root, root / "live" / "mini" / "rules"
        write_notebook(root / lab_in.FIRST, *cells)
        (root / "rules.md").write_text((home / "rules.md").read_text("utf-8"), "utf-8")
        lines = "".join(lab_in.question(number) for number in range(QUESTIONS))
        (root / "rules.questions.jsonl").write_text(lines, "utf-8")

    def start(self, **changes: str):
        """Start the run."""
        own = {"LAB_DOCUMENT": str(self.root / "rules.md"), "LAB_OUTPUTS": str(self.root / "live")}
        return start(self.home, *SECTION_00, "--root", str(self.root), **own, **changes)

    def interrupted(self, sent: signal.Signals, reached, artifact: str, kept, **changes: str) -> Stopped:
        """Start, wait until `reached()`, send the signal, and see what is left."""
        process = self.start(**changes)
        until(reached, process)
        code, errors = lab_in.stop(process, sent, self.live)
        return Stopped(code, errors, torn(self.live), (self.live / artifact).exists(), kept())


def _reached(count, goal: int) -> bool:
    return count() >= goal


def lines_in(folder: Path, pattern: str) -> int:
    """Whole lines in the files that fit."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob(pattern))


def tell_of_the_endpoint(home: Path, root: Path) -> dict[str, Story]:
    """An arm is asked and rows are written through an endpoint: no key, no network, Ctrl-C, kill, and finished."""
    stage, endpoint, asking, synthesis = Stage(home, root, ASK, WRITE), lab_in.Endpoint(), Story(), Story()
    known = {"LAB_ENDPOINT_URL": endpoint.url, "LAB_TEACHER_MODEL": "teacher", "LAB_ENDPOINT_KEY": lab_in.KEY}
    answered = lambda: lines_in(stage.live, ".work/*/teacher.jsonl")  # noqa: E731
    written = lambda: len(list(stage.live.glob(".work/*/written/*.json")))  # noqa: E731
    try:
        for name, change in (
            ("no key", {"LAB_ENDPOINT_KEY": ""}),
            ("no network", {"LAB_ENDPOINT_URL": f"http://127.0.0.1:{lab_in.free_port()}/v1"}),
        ):
            code, _, errors = end(stage.start(**{**known, **change}))
            exists = (stage.live / "eval_results.json").exists()
            asking.stops[name] = Stopped(code, errors, torn(stage.live), exists, answered())
        for story, artifact, count in (
            (asking, "eval_results.json", answered),
            (synthesis, "sdg_run1_results.csv", written),
        ):
            for name, sent, more in STOPS:
                first_asked = QUESTIONS - answered() if story is synthesis and not synthesis.stops else 0
                goal = count() + more
                endpoint.allow(first_asked + more)
                reached = partial(_reached, count, goal)
                story.stops[name] = stage.interrupted(sent, reached, artifact, count, **known)
                if first_asked:
                    asking.last_asked = [prompt for prompt in endpoint.asked if "Passenger" in prompt]
        endpoint.allow(1000)
        code, _, errors = end(stage.start(**known))
        synthesis.last_asked = list(endpoint.asked)
        for story, artifact in ((asking, "eval_results.json"), (synthesis, "sdg_run1_results.csv")):
            story.finished, story.result = (code, errors), stage.live / artifact
            story.scratch = [path.name for path in (stage.root / "outputs").iterdir()]
    finally:
        endpoint.close()
    return {"asking": asking, "synthesis": synthesis}


def tell_of_the_training(home: Path, root: Path) -> dict[str, Story]:
    """The real miniature is trained for 16 steps with a checkpoint every 4: Ctrl-C after 5, kill after 10, finished."""
    stage, story = Stage(home, root, TRAIN), Story()
    logged = lambda: lines_in(stage.live, ".work/*/training/training_log.jsonl")  # noqa: E731
    for name, sent, step in (("Ctrl-C", signal.SIGINT, 5), ("kill -9", signal.SIGKILL, 10)):
        reached = root / f"reached-{step}"
        changes = {"STOP_AT": str(step), "REACHED": str(reached)}
        story.stops[name] = stage.interrupted(sent, reached.exists, "adapter", logged, **changes)
    code, _, errors = end(stage.start(STOP_AT="1000", REACHED=str(root / "never")))
    story.finished, story.result = (code, errors), stage.live / "adapter"
    story.scratch = [path.name for path in (stage.root / "outputs").iterdir()]
    return {"training": story}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Future[dict[str, Story]]]]:
    """Both stories, on their way."""
    folder = tmp_path_factory.mktemp("stories")
    copy = lab_in.clone(folder / "home")
    with ThreadPoolExecutor(2) as pool:
        yield [
            pool.submit(tell_of_the_endpoint, copy, folder / "endpoint"),
            pool.submit(tell_of_the_training, copy, folder / "training"),
        ]


@pytest.fixture(scope="module")
def stories(begun: list[Future[dict[str, Story]]]) -> dict[str, Story]:
    """Both stories, told to the end."""
    return {kind: story for future in begun for kind, story in future.result().items()}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no key", "refused the key (401): check LAB_ENDPOINT_KEY."),
        ("no network", "cannot be reached: check LAB_ENDPOINT_URL and that the server runs."),
    ],
)
def test_an_endpoint_that_does_not_answer_is_one_sentence_and_no_wrong_answer(stories, fault: str, words: str) -> None:
    stopped = stories["asking"].stops[fault]
    [told] = sentences(stopped.errors)
    assert stopped.code == 1 and told.startswith(
        f"adaptlab run: {lab_in.FIRST}, cell 2: The endpoint http://127.0.0.1:"
    )
    assert told.endswith(f" {words} {KEPT}")
    assert (stopped.torn, stopped.published, stopped.kept) == ([], False, 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["Ctrl-C", "kill -9"])
def test_a_stopped_long_step_publishes_nothing_half_done(stories, kind: str, name: str) -> None:
    stopped = stories[kind].stops[name]
    said = [f"adaptlab run: stopped; {GOES_ON}"] if name == "Ctrl-C" else []
    assert (stopped.code, sentences(stopped.errors)) == (130 if said else -signal.SIGKILL, said)
    assert (stopped.torn, stopped.published) == ([], False)
    finished = {"asking": (5, 9), "synthesis": (5, 9), "training": (2, 4)}[kind]  # training: lines of the log
    assert stopped.kept == finished[name == "kill -9"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_run_asks_only_for_what_is_missing_and_finishes(stories, kind: str) -> None:
    story = stories[kind]
    assert (story.finished[0], sentences(story.finished[1]), story.scratch) == (0, [], [])
    record = json.loads(story.result.with_name(f"{story.result.name}.provenance.json").read_text("utf-8"))
    assert record["resumed"] is True and record["origin"] == "live" and torn(story.result.parent) == []
    assert [path.suffix for path in (story.result.parent / ".work").iterdir() if path.suffix != ".lock"] == []
    if kind == "training":
        assert (story.result / "gone-on-from.txt").read_text() == "8"
        log = [json.loads(line)["step"] for line in (story.result / "training_log.jsonl").read_text().splitlines()]
        assert log == sorted(set(log)) and log[-1] == 16
        return
    total = QUESTIONS if kind == "asking" else PASSAGES
    assert len(story.last_asked) == len(set(story.last_asked)) == total - story.stops["kill -9"].kept
    if kind == "asking":
        assert [item["question_id"] for item in json.loads(story.result.read_text())] == [f"q{n}" for n in range(total)]
    else:
        assert story.result.read_text("utf-8").count("The Number of Passage") >= total


def test_an_endpoint_that_fails_in_the_middle_loses_no_answer_and_its_faults_are_no_answers(make_lab, tmp_path) -> None:
    from adaptlab import workbench
    from adaptlab.schemas import Arm, Question

    endpoint = lab_in.Endpoint()
    asked = [Question.model_validate_json(lab_in.question(number)) for number in range(12)]
    ways = {"LAB_ENDPOINT_URL": endpoint.url, "LAB_TEACHER_MODEL": "teacher", "LAB_ENDPOINT_KEY": lab_in.KEY}
    lab = make_lab(**ways)

    def run(progress):
        return workbench.ask(lab, Arm(name="teacher", model="teacher"), asked, progress)

    try:
        endpoint.refuse_after(10)
        with pytest.raises(LabError, match=r"^2 of 12 questions got no answer \(The endpoint .* refused the key"):
            lab.step("eval_results", run, models=("teacher",), needs=())
        assert not (lab.settings.live_dir / "eval_results.json").exists()
        endpoint.allow(1000)
        result = lab.step("eval_results", run, models=("teacher",), needs=())
    finally:
        endpoint.close()
    assert len(endpoint.asked) == 2
    assert [item["status"] for item in result.data] == ["ok"] * 12


@pytest.mark.parametrize("fault", ["no key", "no network"])
def test_synthesis_knocks_before_it_writes(make_lab, fault: str) -> None:
    from adaptlab import workbench

    endpoint = lab_in.Endpoint()
    try:
        closed = f"http://127.0.0.1:{lab_in.free_port()}/v1"
        url, words = (endpoint.url, "LAB_ENDPOINT_KEY") if fault == "no key" else (closed, "LAB_ENDPOINT_URL")
        lab = make_lab(LAB_ENDPOINT_URL=url, LAB_TEACHER_MODEL="teacher")
        with pytest.raises(LabError, match=f"check {words}"), workbench.teacher_endpoint(lab):
            raise AssertionError("the teacher was taken for present")
    finally:
        endpoint.close()
