"""Work in a process of its own, because a process's peak memory is its own and goes back as a whole when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adaptlab import files
from config import ROOT, LabError

POLL_SECONDS = 0.5


def run(module: str, folder: Path, what: str, reached: Callable[[], int], bar: Any) -> None:
    """Run `python -m MODULE FOLDER` to its end, moving `bar` to what is `reached`; it ends with this process.

    Raises a LabError with the last line that it said, if it failed. `what` names the work in that sentence.
    """
    command = [sys.executable, "-m", module, str(folder)]
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
    said = folder / "stderr.txt"
    with said.open("w", encoding="utf-8") as errors:
        environment = {**os.environ, "PYTHONPATH": path}
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=errors, stderr=errors)
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                bar.update(max(0, reached() - bar.n))
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        last = (files.read_text(said).strip().splitlines() or ["it ended without a word"])[-1]
        raise LabError(f"{what} stopped: {last.rstrip('.')}. Run again to go on from what is finished.")


def end_with_parent() -> None:
    """Leave at once when the other end of standard input is closed: whoever started this process is gone."""

    def watch() -> None:
        sys.stdin.read()
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()


def main(argv: list[str], work: Callable[[Path], dict[str, Any]], result: str) -> int:
    """The main of such a process: do the work of the folder and write its result last, as the sign that it is done."""
    folder = Path(argv[0])
    end_with_parent()
    try:
        files.atomic_write_json(folder / result, work(folder))
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
