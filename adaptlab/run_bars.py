"""The bars of a run: one for the notebook's cells, one for the step inside it, fed by the kernel's progress file."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from adaptlab import kernel

QUIET_SECONDS = 15.0  # between two lines of progress where there is no terminal


class Bars:
    """The bar of a notebook and the bar of the step inside it; plain lines now and then where nobody watches."""

    def __init__(self, title: str, total: int, feed: Path) -> None:
        self.title = title
        self.total = total
        self.live = sys.stderr.isatty()
        self.outer = tqdm(total=total, desc=title, unit="cell", disable=not self.live, file=sys.stderr)
        self.inner: tqdm[Any] | None = None
        self._feed = Feed(feed)
        self._spoke = time.monotonic()

    def __call__(self, cells: kernel.Cells) -> None:
        """Show where the run is."""
        self.outer.update(cells.done - self.outer.n)
        step = self._feed.newest()
        if self.live:
            self.outer.refresh()
            self._show(step)
        elif time.monotonic() - self._spoke >= QUIET_SECONDS:
            self._spoke = time.monotonic()
            print(f"  cell {cells.done} of {cells.total} of {self.title}{words(step)}", file=sys.stderr, flush=True)

    def _show(self, step: dict[str, Any] | None) -> None:
        """The inner bar: made, moved or taken away."""
        if self.inner is not None and (step is None or step["desc"] != self.inner.desc.removesuffix(": ")):
            self.inner.close()
            self.inner = None
        if step is None:
            return
        if self.inner is None:
            self.inner = tqdm(total=step["total"], desc=step["desc"], leave=False, file=sys.stderr)
            self.inner.start_t = time.time() - step["seconds"]
        self.inner.update(step["n"] - self.inner.n)

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.inner is not None:
            self.inner.close()
        self.outer.close()


class Feed:
    """The lines that the running notebook appends to its progress file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self._step: dict[str, Any] | None = None

    def newest(self) -> dict[str, Any] | None:
        """The step that is running, None between steps; a line that is half written is read next time."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._read)
                data = stream.read()
        except OSError:
            return self._step
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._step = _step(line)
        return self._step


def _step(line: bytes) -> dict[str, Any] | None:
    """One line of progress; None for the end of a step and for what is no such line."""
    try:
        value = json.loads(line)
        total = value.get("total")
        step = {"desc": str(value["desc"]), "n": int(value["n"]), "seconds": float(value.get("seconds", 0))}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return None if value.get("done") is True else {**step, "total": int(total) if total else None}


def words(step: dict[str, Any] | None) -> str:
    """A step's progress with its time left, as text."""
    if step is None:
        return ""
    return "; " + tqdm.format_meter(step["n"], step["total"], step["seconds"], ncols=80, prefix=step["desc"])
