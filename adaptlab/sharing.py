"""Generation and evaluation over several endpoints that serve the same model, such as replicas of vLLM."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from adaptlab.endpoint import GIVE_UP_AFTER, Asking, EndpointGenerator
from adaptlab.generation import Completion, Request
from adaptlab.replicas import Replicas
from config import Endpoint

RETRIES = 4  # of one request, over all endpoints


class SharedGenerator(Asking):
    """Shares requests out to several endpoints, each asked as `EndpointGenerator` asks one.

    Every endpoint gets as many requests at once as its own `max_concurrency`; the next request goes to the one with
    the least to do. What an endpoint gave no answer to is asked of each other one, and its failed calls count in
    `attempts` and `faults`. One that fails again and again rests for a while (`Replicas`).
    """

    def __init__(self, members: Sequence[EndpointGenerator], give_up_after: int = GIVE_UP_AFTER) -> None:
        self.members = {member.url: member for member in members}
        self.replicas = Replicas(list(self.members), each=members[0].max_concurrency)
        self.max_concurrency, self.give_up_after = self.replicas.places, give_up_after

    @classmethod
    def of(cls, endpoint: Endpoint, model: str) -> SharedGenerator:
        """A generator for a model at all the endpoints that the settings name."""
        each = -(-RETRIES // len(endpoint.urls))
        places = [replace(endpoint, url=url, more_urls=()) for url in endpoint.urls]
        return cls([EndpointGenerator.of(place, model, max_retries=each) for place in places])

    def complete(self, request: Request, stopped: threading.Event) -> list[Completion]:
        """All samples of one request, from the first endpoint that answers."""
        made: list[Completion] = []
        tried, calls, faults = set[str](), 0, list[str]()
        while not stopped.is_set() and (url := self.replicas.take(tried)) is not None:
            calls += sum(item.attempts for item in made)
            faults += [fault for item in made for fault in item.faults]
            made, answered = [], False
            try:
                made = self.members[url].complete(request, stopped)
                answered = bool(made) and not any(map(_lost, made))
            finally:
                self.replicas.give_back(url, answered)
            if answered:
                break
            tried.add(url)
        if made:
            made[0].attempts, made[0].faults = made[0].attempts + calls, [*faults, *made[0].faults]
        return made


def _lost(item: Completion) -> bool:
    """Whether another endpoint could still answer; a request that was refused is refused everywhere."""
    return item.status == "error" and item.finish_reason != "refused"
