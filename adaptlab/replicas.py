"""Several endpoints that serve the same model: work is shared out, and one that dies loses nothing."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from config import LabError

FAILURES = 3  # so many jobs in a row without an answer, and an endpoint rests
REST_SECONDS = 30.0


@dataclass
class _Replica:
    url: str
    active: int = 0
    failures: int = 0
    rests_until: float = 0.0


def endpoint_urls(text: str | Sequence[str]) -> tuple[str, ...]:
    """The URLs of a list, or of a text that separates them by commas or spaces; each only once."""
    parts = re.split(r"[\s,]+", text) if isinstance(text, str) else list(text)
    urls = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not urls:
        raise LabError("No endpoint is named: give at least one URL such as http://localhost:8000/v1.")
    return urls


class Replicas:
    """Hands out endpoints, at most `each` jobs (documents, questions) to one at a time, the idlest one first.

    An endpoint that fails on `FAILURES` jobs in a row rests for a while, as long as another one works.
    """

    def __init__(self, urls: Sequence[str], each: int, rest_seconds: float = REST_SECONDS) -> None:
        self.each, self.rest_seconds = each, rest_seconds
        self._replicas = {url: _Replica(url) for url in urls}
        self._free = threading.Condition()

    @property
    def places(self) -> int:
        """How many jobs may be in flight."""
        return self.each * len(self._replicas)

    def take(self, tried: Collection[str] = ()) -> str | None:
        """The endpoint to ask next, as soon as one has room; None if all were tried."""
        with self._free:
            while True:
                left = [replica for replica in self._replicas.values() if replica.url not in tried]
                if not left:
                    return None
                now = time.monotonic()
                awake = [replica for replica in left if replica.rests_until <= now] or left
                room = [replica for replica in awake if replica.active < self.each]
                if room:
                    chosen = min(room, key=lambda replica: (max(0.0, replica.rests_until - now), replica.active))
                    chosen.active += 1
                    return chosen.url
                self._free.wait(1.0)

    def give_back(self, url: str, answered: bool) -> None:
        """Say how it went, and make room for the next job."""
        with self._free:
            replica = self._replicas[url]
            replica.active -= 1
            replica.failures = 0 if answered else replica.failures + 1
            if answered:
                replica.rests_until = 0.0
            elif replica.failures >= FAILURES and len(self._replicas) > 1:
                replica.rests_until = time.monotonic() + self.rest_seconds
            self._free.notify_all()
