"""A disk without room: a step stops with one sentence, nothing finished is lost, and the next run goes on."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, clean_environ
from fault_helpers import ChatServer, question, teaching, torn

from adaptlab import files
from config import LabError

COUNT = 80
ASK = """
import sys
from adaptlab import workbench
from adaptlab.artifacts import Lab
from adaptlab.schemas import Arm
from config import LabError

lab = Lab(notebook="00Setup/test", say=print)
questions = workbench.questions(lab)


def ask(progress):
    return workbench.ask(lab, Arm(name="teacher", model="teacher"), questions, progress)


try:
    print("answered", len(lab.step("eval_results", ask, models=("teacher",), needs=()).data))
except LabError as problem:
    sys.exit(f"LabError: {problem}")
"""
SMALL = 20_000  # bytes: a good part of the answers have room, all of them do not


def environment(tmp_path: Path, server: ChatServer) -> dict[str, str]:
    """A lab in a temporary folder whose teacher is the server."""
    document = tmp_path / "rules.md"
    document.write_text("# The Saltmarket\n\nA ferry across the Saltmarket costs 3 crowns.\n", "utf-8")
    document.with_suffix(".questions.jsonl").write_text("".join(question(n) for n in range(COUNT)), "utf-8")
    known = {"LAB_ENDPOINT_URL": server.url, "LAB_TEACHER_MODEL": "teacher", "LAB_ENDPOINT_CONCURRENCY": "2"}
    places = {"LAB_DOCUMENT": str(document), "LAB_OUTPUTS": str(tmp_path / "disk"), "PYTHONPATH": str(ROOT)}
    return clean_environ({"LAB_PROFILE": "mini", "LAB_MODE": "live"}, known, places)


def no_file_larger_than(size: int) -> Callable[[], None]:
    """For `preexec_fn`: the system refuses larger files, as it does for a user with a quota."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def python(script: str, env: dict[str, str], limit: int | None = None) -> subprocess.CompletedProcess[str]:
    prepare = no_file_larger_than(limit) if limit else None
    command = [sys.executable, "-B", "-c", script]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, preexec_fn=prepare)


def mounted(folder: Path, *lines: str) -> list[str]:
    """A command that runs shell lines where `folder` is a small disk of its own."""
    mount = f"mount -t tmpfs -o size={SMALL} none {folder}"
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", "\n".join(["set -e", mount, *lines])]


def asked(server: ChatServer) -> Counter[str]:
    return Counter(request["messages"][-1]["content"] for request in server.requests)


def test_a_quota_stops_a_step_with_one_sentence_and_the_next_run_asks_only_the_rest(tmp_path: Path) -> None:
    with teaching(lambda prompt, request: "3 crowns") as server:
        env = environment(tmp_path, server)
        stopped = python(ASK, env, limit=SMALL)
        [kept] = (tmp_path / "disk").glob("mini/rules/.work/*/teacher.jsonl")
        finished = kept.read_bytes()
        first = asked(server)
        server.requests.clear()
        done = python(ASK, env)
    assert stopped.returncode == 1 and stopped.stdout == ""
    assert stopped.stderr == f"LabError: {kept} cannot be written (File too large): make room on its disk.\n"
    assert finished.endswith(b"\n") and 0 < finished.count(b"\n") < COUNT
    assert set(first.values()) == {1}
    assert (done.returncode, done.stdout, done.stderr) == (0, f"answered {COUNT}\n", "")
    assert len(server.requests) == COUNT - finished.count(b"\n")
    assert torn(tmp_path / "disk") == []


def test_a_full_disk_stops_a_step_with_one_sentence_and_the_next_run_asks_only_the_rest(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(mounted(disk, "true"), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this system lets nobody mount a small disk: {error}")
    script = tmp_path / "ask.py"
    script.write_text(ASK, "utf-8")
    run = f"{sys.executable} -B {script}"
    with teaching(lambda prompt, request: "3 crowns") as server:
        env = environment(tmp_path, server)
        lines = [f"{run} || echo code $?", f"cat {disk}/mini/rules/.work/*/teacher.jsonl | wc -l"]
        lines += [f"mount -o remount,size=8m {disk}", run, f"cp -r {disk} {tmp_path}/copy"]
        done = subprocess.run(mounted(disk, *lines), cwd=ROOT, env=env, capture_output=True, text=True)
    code, kept, answered = done.stdout.splitlines()
    assert (done.returncode, code, answered) == (0, "code 1", f"answered {COUNT}")
    assert done.stderr.startswith(f"LabError: {disk}/mini/rules/.work/") and done.stderr.count("\n") == 1
    assert done.stderr.endswith("teacher.jsonl cannot be written (No space left on device): make room on its disk.\n")
    assert 0 < int(kept) < COUNT
    assert len(asked(server)) == COUNT
    once = sum(times == 1 for times in asked(server).values())
    assert once >= int(kept)  # only what was on its way when the disk was full is asked twice
    assert max(asked(server).values()) <= 2
    assert torn(tmp_path / "copy") == []


PUBLISH = """
import sys
from adaptlab.artifacts import Lab
from config import LabError

lab = Lab(notebook="00Setup/test", say=print)


def fill(kind, size):
    if kind == "folder":
        from adaptlab.files import atomic_write_text
        atomic_write_text(lab.work_dir("made") / "words.txt", "x" * size)
        return lab.work_dir("made")
    if kind == "tensors":
        import torch
        from safetensors.torch import save_file
        save_file({"w": torch.zeros(size)}, lab.work_dir("made") / "w.safetensors")
        return lab.work_dir("made")
    if kind == "torch":
        import torch
        torch.save(torch.zeros(size), lab.work_dir("made") / "w.pt")
        return lab.work_dir("made")
    return ["x"] * size


kind, size = sys.argv[1], int(sys.argv[2])


def small():
    return fill(kind, 10)


def large():
    return fill(kind, size)


name = "numbers.json" if kind == "json" else "numbers/"
lab.step(name, small, models=())
kept = lab.result(name).provenance.sha256
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
try:
    lab.step(name, large, models=())
except LabError as problem:
    print(problem)
print(lab.result(name).provenance.sha256 == kept)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(lab.step(name, large, models=()).provenance.sha256 == kept)
"""


@pytest.mark.parametrize("kind", ["json", "folder", "tensors", "torch"])
def test_a_result_without_room_leaves_the_one_that_was_there(tmp_path: Path, kind: str) -> None:
    size = 20_000 if kind != "folder" else 20_001
    script = PUBLISH.replace("(size, resource.RLIM_INFINITY)", "(min(size, 20000), resource.RLIM_INFINITY)")
    with teaching(lambda prompt, request: "never asked") as server:
        env = environment(tmp_path, server)
    (tmp_path / "publish.py").write_text(script, "utf-8")
    command = [sys.executable, "-B", str(tmp_path / "publish.py"), kind, str(size)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    said, old_is_there, new_is_old = done.stdout.splitlines()
    assert "cannot be written (" in said and said.endswith("): make room on its disk.")
    assert (old_is_there, new_is_old) == ("True", "False")
    assert torn(tmp_path / "disk") == []


def test_the_device_that_is_always_full_is_one_sentence() -> None:
    with pytest.raises(LabError, match=r"^/dev/full cannot be written \(No space left on device\): make room"):
        files.append_jsonl(Path("/dev/full"), {"a": 1})


def test_a_line_without_room_is_taken_back_whole(tmp_path: Path) -> None:
    script = "from pathlib import Path\nfrom adaptlab import files\nfor n in range(999):\n"
    script += f"    files.append_jsonl(Path({str(tmp_path / 'kept.jsonl')!r}), {{'number': n, 'text': 'x' * 90}})\n"
    done = python(script, clean_environ({"PYTHONPATH": str(ROOT)}), limit=5000)
    lines = (tmp_path / "kept.jsonl").read_text().split("\n")
    assert done.returncode == 1 and "kept.jsonl cannot be written (File too large)" in done.stderr
    assert lines[-1] == "" and [json.loads(line)["number"] for line in lines[:-1]] == list(range(len(lines) - 1))
    assert 5000 - 200 < sum(len(line) + 1 for line in lines[:-1]) <= 5000


def test_other_faults_of_writing_are_not_called_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError) as caught:
        files.append_jsonl(tmp_path / "file" / "below.jsonl", {"a": 1})
    assert not isinstance(caught.value, LabError)
