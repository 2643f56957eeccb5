"""How fast an endpoint may be asked: a rate limit and ordered pauses, one for all that this process asks of a URL."""

from __future__ import annotations

import threading
import time

_shared: dict[str, Pace] = {}
_lock = threading.Lock()


class Pace:
    """Lets calls begin one after another, `per_minute` of them a minute at an even distance; None is no limit.

    Even distances never let more than the limit begin in any minute, which a bucket that fills up would.
    """

    def __init__(self, per_minute: float | None = None) -> None:
        self.per_minute = per_minute
        self._free_at = 0.0
        self._lock = threading.Lock()

    def hold(self, seconds: float) -> None:
        """Let no call begin for a while, because the endpoint asks for it (`Retry-After`)."""
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic() + seconds)

    def wait(self, stopped: threading.Event | None = None) -> None:
        """Return when the next call may begin, or at once when `stopped` is set."""
        stopped = stopped or threading.Event()
        while not stopped.is_set():
            with self._lock:
                now = time.monotonic()
                if now >= self._free_at:
                    self._free_at = now + (60 / self.per_minute if self.per_minute else 0.0)
                    return
                missing = self._free_at - now
            stopped.wait(missing)


def of(url: str, per_minute: float | None = None) -> Pace:
    """The pace of a URL, the same object for everybody in this process; a limit that is given replaces the old one."""
    with _lock:
        pace = _shared.setdefault(url.rstrip("/"), Pace())
        if per_minute is not None:
            pace.per_minute = per_minute
        return pace
