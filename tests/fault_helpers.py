"""What the tests of faults share: a copy of the lab to hurt, hashes of a tree, endpoints that count, stall and fail."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import nbformat
from conftest import ROOT, clean_environ
from nbformat.v4 import new_code_cell, new_notebook

from adaptlab import sections

FIRST = "00Setup/00_Recap_and_Evidence.ipynb"
KEY = "a-key-of-this-test"
QUOTE = "A ferry across the Saltmarket costs 3 crowns."
SETUP = "from adaptlab import notebook\nlab = notebook.start('00Setup/00_Recap_and_Evidence')"
PINS = ("pyproject.toml", "requirements.in", "requirements.txt", "requirements-demo.txt")
NOTEBOOKS = tuple(name for name in sections.SERIES if name[:2] not in ("00", "02"))
SOURCES = ("config.py", "adaptlab", "00Setup", "02SyntheticDataGen", "prebuilt/models", *NOTEBOOKS, *PINS)


def clone(folder: Path) -> Path:
    """The part of the lab that section 00 needs, copied, so that a fault can do no harm to the checkout."""
    for name in SOURCES:
        source, place = ROOT / name, folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, place) if source.is_dir() else shutil.copy2(source, place)
    (folder / "rules.md").write_text(f"# The Saltmarket\n\n{QUOTE}\n\n## Dusk\n\nFerries rest at dusk.\n", "utf-8")
    (folder / "rules.questions.jsonl").write_text("".join(question(n) for n in range(3)), "utf-8")
    return folder


def question(number: int) -> str:
    """One line of a benchmark."""
    record = {"id": f"q{number}", "category": "explicit_rule", "answer_type": "number", "answer": "3 crowns"}
    record["phrasings"] = [{"text": f"Passenger {number}: what does a ferry cost?", "role": "unseen form"}]
    record["quotes"] = [{"text": QUOTE, "section": "The Saltmarket"}]
    return json.dumps(record) + "\n"


def write_notebook(path: Path, *sources: str) -> None:
    """A notebook of code cells, the setup cell first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in (SETUP, *sources)]), path)


def environment(home: Path, **changes: str) -> dict[str, str]:
    """A machine without a GPU, whose lab lies in `home`."""
    tools = home.parent / f"{home.name}-tools"
    tools.mkdir(exist_ok=True)  # the only folder on the PATH: no nvidia-smi in it
    own = {"LAB_DOCUMENT": str(home / "rules.md"), "LAB_MODE": "live", "LAB_PROFILE": "mini", "PATH": str(tools)}
    own |= {"PYTHONPATH": str(home), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return clean_environ(own, changes)


def start(home: Path, *arguments: str, **changes: str) -> subprocess.Popen[str]:
    """The command line of the lab in `home`, started."""
    command = [sys.executable, "-m", "adaptlab", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=home, env=environment(home, **changes), text=True, **pipes)


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a process that ends by itself."""
    output, errors = process.communicate(timeout=500)
    assert "Traceback" not in errors and "Traceback" not in output
    return process.returncode, output, errors


def sentences(errors: str) -> list[str]:
    """What a run says on standard error, without the lines that only tell how far it is."""
    telling = ("1/1 ", "  done in", "  cell ")
    return [line for line in errors.splitlines() if line.strip() and not line.startswith(telling)]


def tree(folder: Path, *without: str) -> dict[str, str]:
    """Hashes of all files below `folder`, but for caches and for paths that contain one of `without`."""
    ignored = ("__pycache__", *without)
    paths = [path for path in folder.rglob("*") if path.is_file() and not any(part in str(path) for part in ignored)]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def torn(folder: Path) -> list[str]:
    """Files of results that are half there: temporary ones, and artifacts without sidecar or the other way round."""
    live = [path for path in folder.rglob("*") if ".work" not in path.parts and "report" not in path.parts]
    names = {str(path) for path in live}
    temporary = [name for name in names if name.endswith((".tmp", ".part", ".old"))]
    beside = [name for name in names if name.endswith(".provenance.json")]
    return temporary + [name for name in beside if name.removesuffix(".provenance.json") not in names]


def until(holds: Callable[[], bool], process: subprocess.Popen[str] | None = None, seconds: float = 400) -> None:
    """Wait until something holds; a process that ends before says why."""
    deadline = time.monotonic() + seconds
    while not holds():
        if process is not None and process.poll() is not None:
            raise AssertionError(f"ended too early with {process.returncode}: {process.communicate()}")
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """True if a server of this machine answers there."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5):
            return True
    except OSError:
        return False


def locks_are_free(folder: Path) -> bool:
    """True once no process computes in `folder` any more, the kernel of a killed run included."""
    import fcntl

    for path in folder.rglob("*.lock"):
        with path.open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    return True


def stop(process: subprocess.Popen[str], sent: signal.Signals, work: Path) -> tuple[int, str]:
    """Send a signal to the run alone, as a person or the system would; its exit code and what it said."""
    process.send_signal(sent)
    _, errors = process.communicate(timeout=500)
    until(lambda: locks_are_free(work))
    return process.returncode, errors


@dataclass(frozen=True)
class Reply:
    """What a server sends; `cut` sends half of it and closes the connection, `trickle` is seconds between two bytes."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    trickle: float = 0.0


class ChatServer:
    """A real HTTP endpoint. `answer(prompt, request)` gives a text (or None) for a completion, an int for an HTTP
    error, bytes for a body, a whole `Reply`, or `SILENT` to say nothing until the client or the server gives up."""

    SILENT = object()

    def __init__(self, answer: Callable[[str, dict], Any] | None = None) -> None:
        self.answer, self.requests, self.active, self.peak, self.left = answer, [], 0, 0, 0
        self.lock, self.closed = threading.Lock(), threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.requests.append(request)
                    outer.active += 1
                    outer.peak = max(outer.peak, outer.active)
                try:
                    said = outer.reply(request["messages"][-1]["content"], request, self.headers)
                finally:
                    with outer.lock:
                        outer.active -= 1
                if said is not ChatServer.SILENT:
                    self.send(said if isinstance(said, Reply) else as_reply(said, request))

            def send(self, reply: Reply) -> None:
                self.send_response(reply.status)
                headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body)), **reply.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if reply.trickle:
                    self.drip(reply)
                    return
                self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)

            def drip(self, reply: Reply) -> None:
                """One byte after another, until the client goes or the server is closed."""
                for byte in reply.body:
                    if outer.closed.wait(reply.trickle):
                        return
                    try:
                        self.wfile.write(bytes([byte]))
                    except OSError:
                        with outer.lock:
                            outer.left += 1
                        return

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def reply(self, prompt: str, request: dict, headers: Any) -> Any:
        """What to say to one call."""
        said = self.answer(prompt, request)
        if said is ChatServer.SILENT:
            self.closed.wait()
        return said

    def close(self) -> None:
        """Stop serving."""
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def teaching(answer: Callable[[str, dict], Any]) -> Iterator[ChatServer]:
    """A `ChatServer` for the length of a `with` block."""
    server = ChatServer(answer)
    try:
        yield server
    finally:
        server.close()


def as_reply(said: Any, request: dict) -> Reply:
    """A text, an HTTP status or a body as a whole reply."""
    if isinstance(said, int):
        return Reply(said, b'{"error": {"message": "no"}}')
    return Reply(body=said if isinstance(said, bytes) else completion([said] * request.get("n", 1)))


def completion(texts: list[str | None]) -> bytes:
    """A chat completion with a choice for each text, of 5 prompt tokens and 7 tokens altogether."""
    choices = [
        {"index": number, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for number, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}
    return json.dumps(answer).encode()


class Endpoint(ChatServer):
    """Wants a key, keeps the prompts it was asked, answers `limit` of them and holds the rest."""

    def __init__(self) -> None:
        self.asked, self.limit, self.then = [], 0, 0
        self.released = threading.Event()
        super().__init__()

    def allow(self, limit: int, then: int = 0) -> None:
        """From now on answer `limit` prompts and hold the rest; whoever still waits from before gets nothing."""
        with self.lock:
            self.released.set()
            self.asked, self.limit, self.then, self.released = [], limit, then, threading.Event()

    def refuse_after(self, limit: int) -> None:
        """From now on answer `limit` prompts and turn the others away."""
        self.allow(limit, then=401)

    def close(self) -> None:
        """Stop serving."""
        self.released.set()
        super().close()

    def reply(self, prompt: str, request: dict, headers: Any) -> Any:
        """An answer, an error, or nothing after a wait."""
        if headers["Authorization"] != f"Bearer {KEY}":
            return 401
        if prompt == "Are you there?":
            return "Yes."
        with self.lock:
            self.asked.append(prompt)
            number, released, then = len(self.asked), self.released, self.then
        if number > self.limit and not then:
            released.wait()
            return self.SILENT
        return then if number > self.limit else _pair_or_price(prompt)


def _pair_or_price(prompt: str) -> str:
    """What the lab's notebooks in these tests hope for."""
    passage = prompt.split("\n")[2] if prompt.count("\n") > 2 else ""
    text = f"<subject>{passage}: Number</subject>\n<question>Which number has {passage}?</question>\n"
    text += f"<answer>The Number of {passage} is 7.</answer>"
    return text if passage else "3 crowns"


class Unreliable(ChatServer):
    """Fails a share of its calls, with each of six faults alike; seeded, so that a prompt's n-th call always fares
    the same. `log` holds what each prompt met, in order, `ok` or the name of a fault."""

    BODY = completion(["as it should be"])
    REPLIES: dict[str, Any] = {
        "rate limit": Reply(429, b'{"error": {"message": "slow down"}}', {"Retry-After": "0.05"}),
        "server error": Reply(500, b'{"error": {"message": "out of order"}}'),
        "timeout": ChatServer.SILENT,
        "connection lost": Reply(body=BODY, cut=True),
        "malformed reply": Reply(body=BODY[:-20]),
        "no choices": Reply(body=completion([])),
    }

    def __init__(self, share: float, seed: int) -> None:
        self.share, self.seed, self.log = share, seed, {}
        super().__init__(self.fare)

    def fare(self, prompt: str, request: dict) -> Any:
        """An answer or a fault."""
        with self.lock:
            met = self.log.setdefault(prompt, [])
            chance = random.Random(f"{self.seed} {prompt} {len(met)}")
            met.append(chance.choice(list(self.REPLIES)) if chance.random() < self.share else "ok")
            return self.REPLIES.get(met[-1], f"answer to {prompt}")

    @property
    def faults(self) -> Counter[str]:
        """How many calls met each fault."""
        return Counter(name for met in self.log.values() for name in met if name != "ok")
