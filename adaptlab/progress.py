"""Progress that never stays in a notebook's outputs.

Where it shows: in the file that LAB_PROGRESS names, as JSON lines (`adaptlab run` draws its bars from them); else on a
terminal, through tqdm; else in JupyterLab, as one line that is blank again at the end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from types import TracebackType
from typing import Any

from tqdm import tqdm

INTERVAL = 0.25
context = {"notebook": ""}


class Progress:
    """Counts to `total`; use it in a `with` statement and call `update`, or iterate over it."""

    def __init__(self, items: Iterable[Any] | None = None, *, total: int | None = None, desc: str = "") -> None:
        self.items = items
        self.total = len(items) if total is None and isinstance(items, Sized) else total
        self.desc = desc
        self.at_close: list[Callable[[], None]] = []  # what else shows this run, and goes with the bar
        self.n = 0
        self._started = self._shown = time.monotonic()
        self._sink = _sink(self)
        self._sink.show(done=False)

    def update(self, n: int = 1) -> None:
        """Count `n` more items."""
        self.n += n
        if time.monotonic() - self._shown >= INTERVAL:
            self._shown = time.monotonic()
            self._sink.show(done=False)

    def close(self) -> None:
        """Take the bar away."""
        self._sink.show(done=True)
        for close in self.at_close:
            close()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def __iter__(self) -> Iterator[Any]:
        with self:
            for item in self.items or ():
                yield item
                self.update()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def progress(items: Iterable[Any] | None = None, total: int | None = None, desc: str = "") -> Progress:
    """A bar with the time left: iterate over it, or use it in a `with` statement and call `update`."""
    return Progress(items, total=total, desc=desc)


class _Silent:
    """Shows nothing: there is nobody to look."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar

    def show(self, *, done: bool) -> None:
        """Show the bar as it stands; `done` takes it away."""


class _Lines(_Silent):
    """JSON lines in the file that LAB_PROGRESS names; a file that cannot be written stops no computation."""

    def show(self, *, done: bool) -> None:
        bar = self.bar
        line = {"time": round(time.time(), 3), "notebook": context["notebook"], "desc": bar.desc, "n": bar.n}
        line |= {"total": bar.total, "seconds": round(bar.seconds, 3), "done": done}
        try:
            with open(os.environ["LAB_PROGRESS"], "a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
        except (OSError, KeyError):
            return


class _Terminal(_Silent):
    """A tqdm bar on standard error, gone at the end."""

    def __init__(self, bar: Progress) -> None:
        super().__init__(bar)
        self.tqdm = tqdm(total=bar.total, desc=bar.desc, leave=False, file=sys.stderr, disable=False)

    def show(self, *, done: bool) -> None:
        self.tqdm.update(self.bar.n - self.tqdm.n)
        if done:
            self.tqdm.close()


class _Kernel(_Silent):
    """One line of a notebook's output that is overwritten, and blank at the end."""

    handle: Any = None

    def show(self, *, done: bool) -> None:
        from IPython.display import display

        bar = self.bar
        text = "" if done else tqdm.format_meter(bar.n, bar.total or None, bar.seconds, ncols=90, prefix=bar.desc)
        if self.handle is None and not done:
            self.handle = display({"text/plain": text}, raw=True, display_id=True)
        elif self.handle is not None:
            self.handle.update({"text/plain": text}, raw=True)


def _sink(bar: Progress) -> _Silent:
    """Where `bar` shows in this process."""
    if os.environ.get("LAB_PROGRESS"):
        return _Lines(bar)
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and hasattr(shell, "kernel"):
        return _Kernel(bar)
    return _Terminal(bar) if sys.stderr.isatty() else _Silent(bar)
