"""An OpenAI-compatible server for the lab's models and adapters, and how a notebook starts and stops one.

`adaptlab serve --port 8000 --adapter NAME=DIR` runs it; `running()` starts one on a free port for a `with` block, in
a process of its own that ends with the block, with the notebook, or with the death of either.
"""

from __future__ import annotations

import argparse
import atexit
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from adaptlab.batching import Batcher, served_models
from config import ROOT, LabError

READY = "Serving "
START_SECONDS = 300.0
IDLE_SECONDS = 60.0
KEY_VARIABLE = "LAB_SERVE_KEY"


# --------------------------------------------------------------------------------------------- the server process


def serve(
    port: int,
    adapters: dict[str, Path] | None = None,
    models: list[str] | None = None,
    host: str = "127.0.0.1",
    eager: bool = False,
    parent: int | None = None,
) -> int:
    """Serve until Ctrl-C (port 0 takes a free one); ends by itself when the process `parent` is gone.

    For a process of its own: it takes over the signals, and ends the process if its worker cannot be stopped.
    """
    served = served_models(models, adapters or {})
    listener = listen(host, port)
    import uvicorn

    from adaptlab.webapp import build_app

    batcher = Batcher(served)
    if eager:
        for item in served:
            batcher.generator(item.name)
    app = build_app(batcher, os.environ.get(KEY_VARIABLE) or None)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=3, lifespan="on")
    )
    _end_on_signals(server, batcher)
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent, server), daemon=True).start()
    print(f"{READY}{', '.join(batcher.served)} on {_url(listener)}", flush=True)
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()
        if not batcher.stop():
            sys.stdout.flush()
            os._exit(0)  # Python would wait for the thread, or crash under it
    return 0


def _leave(_number: int, _frame: Any) -> None:
    """Ctrl-C while the server starts: there is nothing to put in order, and half an import must not say so."""
    os._exit(130)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, or a LabError with the reason."""
    if not 0 <= port <= 65535:
        raise LabError(f"There is no port {port}: choose one from 1024 to 65535.")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise LabError(f"Port {port} is in use: stop what uses it, or choose another one with --port.") from error
        if error.errno == errno.EACCES:
            raise LabError(f"Port {port} is reserved for the system: choose one from 1024 on with --port.") from error
        said = error.strerror or error
        raise LabError(f"The server cannot listen on {host}:{port} ({said}): check --host.") from error
    return listener


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of `adaptlab serve`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="adaptlab serve",
        description="Serve models behind an OpenAI-compatible API, with streaming and stop sequences.",
        epilog=f"With {KEY_VARIABLE} in the environment, clients have to send it as their API key.",
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free port (default: 8000)")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: this machine only)")
    parser.add_argument("--model", action="append", help="a model to serve; repeat it for more (default: all shipped)")
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME=DIR", help="a LoRA adapter, as a model")
    parser.add_argument("--eager", action="store_true", help="load all models at once, not when first asked for")
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    before = signal.signal(signal.SIGINT, _leave)
    try:
        adapters = adapter_folders(options.adapter)
        return serve(options.port, adapters, options.model, options.host, options.eager, options.parent)
    except LabError as problem:
        print(problem, file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGINT, before)


def adapter_folders(texts: Sequence[str]) -> dict[str, Path]:
    """`NAME=DIR` texts as a dictionary, or a LabError."""
    folders: dict[str, Path] = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise LabError(f"--adapter {text!r} is not NAME=DIR: give the name to serve it under and its folder.")
        if name in folders:
            raise LabError(f"--adapter {name!r} is given twice: give every adapter its own name.")
        folders[name] = Path(folder)
    return folders


def _url(listener: socket.socket) -> str:
    """The base URL that clients use."""
    host, port = listener.getsockname()[:2]
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/v1"


def _end_on_signals(server: Any, batcher: Batcher) -> None:
    """Let Ctrl-C and its like end the server from now on, and break off the batch in work, for which nobody waits.

    Uvicorn itself only listens once its event loop runs; a signal before that would cancel its start in the middle.
    """
    as_before = server.handle_exit

    def handle_exit(number: int, frame: Any) -> None:
        batcher.break_off()
        logging.getLogger("uvicorn.error").disabled = True  # a second Ctrl-C cancels the shutdown, with a traceback
        as_before(number, frame)

    server.handle_exit = handle_exit
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle_exit)


def _end_with(parent: int, server: Any) -> None:
    """Stop the server when the process that started it is gone, however that came about."""
    while os.getppid() == parent:
        time.sleep(0.5)
    server.should_exit = True
    time.sleep(5)
    os._exit(0)


# ---------------------------------------------------------------------------------------------- for the notebooks


class Server:
    """A server in a process of its own; `url` is what clients take as base URL."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        atexit.register(self.stop)

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End the process; harmless if it has ended."""
        atexit.unregister(self.stop)
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def start(models: list[str] | None = None, adapters: dict[str, Path] | None = None, eager: bool = False) -> Server:
    """Start a server on a free port of this machine and wait until it answers."""
    command = [sys.executable, "-m", "adaptlab.serving", "--port", "0", "--parent", str(os.getpid())]
    command += [part for name in models or [] for part in ("--model", name)]
    for name, folder in (adapters or {}).items():
        command += ["--adapter", f"{name}={Path(folder).resolve()}"]
    command += ["--eager"] if eager else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.getenv("PYTHONPATH")]))}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(  # a new session: Ctrl-C in the notebook is for the notebook
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            return Server(process, _wait_until_ready(process, log))
        except BaseException:
            process.kill()
            process.wait()
            raise


@contextmanager
def running(models: list[str] | None = None, adapters: dict[str, Path] | None = None) -> Iterator[str]:
    """The base URL of a server that runs for the length of a `with` block."""
    server = start(models, adapters)
    try:
        yield server.url
    finally:
        server.stop()


@contextmanager
def lent(models: Sequence[str], idle_seconds: float = IDLE_SECONDS) -> Iterator[str]:
    """The base URL of a server that outlives its `with` block for a while, so that the next block finds it ready.

    Steps of a notebook that ask the same models one after another share one start. A server that nobody borrows for
    `idle_seconds` ends, as it does with this process or when a block is broken off; one that has died, or whose models'
    files changed since, is not lent.
    """
    from adaptlab.models import find_spec
    from adaptlab.provenance import model_record

    key = tuple((name, model_record(find_spec(name), ROOT).weights) for name in models)
    with _LENDING:
        kept = _KEPT.get(key)
        if kept is None or not kept.server.alive:
            kept = _KEPT[key] = _Kept(start(list(models)))
        kept.lend()
    try:
        yield kept.server.url
    except BaseException:
        kept.server.stop()
        raise
    finally:
        with _LENDING:
            kept.take_back(idle_seconds)


class _Kept:
    """A server and how many blocks use it; without any, it ends after a while."""

    def __init__(self, server: Server) -> None:
        self.server, self.users = server, 0
        self._timer: threading.Timer | None = None

    def lend(self) -> None:
        """One more block uses it."""
        self.users += 1
        if self._timer is not None:
            self._timer.cancel()

    def take_back(self, idle_seconds: float) -> None:
        """One block less; after the last, the time runs."""
        self.users -= 1
        if not self.users:
            self._timer = threading.Timer(idle_seconds, self._end_unused)
            self._timer.daemon = True
            self._timer.start()

    def _end_unused(self) -> None:
        with _LENDING:
            if not self.users:
                self.server.stop()


_KEPT: dict[tuple[tuple[str, str | None], ...], _Kept] = {}
_LENDING = threading.Lock()


def client_key() -> str:
    """The key for a server that this process started; any text will do where none is set."""
    return os.environ.get(KEY_VARIABLE) or "none"


def _read_line(pipe: IO[str], into: list[str]) -> None:
    """Read one line; meant for a thread, because a pipe cannot be read with a time limit."""
    into.append(pipe.readline())


def _wait_until_ready(process: subprocess.Popen[str], log: Any) -> str:
    """The URL that a new server announces, once it answers there."""
    announced: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=_read_line, args=(process.stdout, announced), daemon=True)
    reader.start()
    reader.join(START_SECONDS)
    line = announced[0].strip() if announced else ""
    if not line.startswith(READY):
        process.kill()
        process.wait()
        log.seek(0)
        said = [text for text in log.read().splitlines() if text.strip()]
        raise LabError(said[-1] if said else "The local server did not start: run `adaptlab serve` to see why.")
    url = line.rpartition(" on ")[2]
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(url.removesuffix("/v1") + "/health", timeout=5):
                return url
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise LabError("The local server started but does not answer: run `adaptlab serve` to see why.")


if __name__ == "__main__":
    sys.exit(main())
