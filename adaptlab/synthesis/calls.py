"""How a flow's calls reach an endpoint: at its pace, each try within a deadline, and again where that may help.

SDG Hub leaves the calls to LiteLLM, whose own retries know neither the rate limit nor what the endpoint ordered the
others to wait. They are off (`flows.configure`), and this transport stands under LiteLLM instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import tenacity

from adaptlab import endpoint, pace
from adaptlab.deadline import Whole

CHAT = "/chat/completions"


class Paced(httpx.BaseTransport):
    """A transport whose every try counts against the endpoint's rate limit; at most `tries` of them for a call.

    A call that could not be delivered, or was answered with a passing status (429, 5xx and such), is tried again after
    a growing pause, or after the one that `Retry-After` orders, which then holds for all callers of the endpoint. After
    the last try the reply, or the exception, goes to the caller as it is.
    """

    def __init__(self, inner: httpx.BaseTransport, tries: int) -> None:
        self.inner, self.tries = inner, tries

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The reply to the first try that was answered for good, else to the last one."""
        request.read()
        limit = pace.of(str(request.url).removesuffix(CHAT))

        def attempt() -> httpx.Response:
            limit.wait()
            reply = self.inner.handle_request(request)
            limit.hold(_ordered(reply) or 0.0)
            return reply

        repeat = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(httpx.TransportError) | tenacity.retry_if_result(_passes),
            stop=tenacity.stop_after_attempt(self.tries),
            wait=_rest,
            retry_error_callback=_outcome,
        )
        return repeat(attempt)

    def close(self) -> None:
        """Close the connections that are kept."""
        self.inner.close()


@contextmanager
def at_pace(timeout: float, retries: int) -> Iterator[None]:
    """Let LiteLLM's calls to OpenAI-compatible endpoints go through `Paced`; `timeout` is in seconds without a byte."""
    import litellm

    transport = Paced(Whole(endpoint.DEADLINE * timeout), retries + 1)
    before = litellm.client_session
    litellm.client_session = httpx.Client(transport=transport, timeout=timeout, follow_redirects=True)
    try:
        yield
    finally:
        litellm.client_session = before


def _ordered(reply: httpx.Response) -> float | None:
    """The pause that a reply orders, if it is one that a call can sit out."""
    if not endpoint.passes(reply.status_code):
        return None
    pause = endpoint.ordered_pause(reply.headers)
    return pause if pause is not None and pause <= endpoint.LONGEST_ORDERED_PAUSE else None


def _passes(reply: httpx.Response) -> bool:
    """Whether another try may fare better than one with this reply."""
    too_long = (endpoint.ordered_pause(reply.headers) or 0) > endpoint.LONGEST_ORDERED_PAUSE
    return endpoint.passes(reply.status_code) and not too_long


def _rest(state: tenacity.RetryCallState) -> float:
    """Seconds before the next try: twice the last pause and a little by chance, and not less than was ordered."""
    first = endpoint.FIRST_PAUSE
    grown = tenacity.wait_exponential_jitter(initial=first, max=16 * first, jitter=first)(state)
    outcome = state.outcome
    ordered = _ordered(outcome.result()) if outcome is not None and not outcome.failed else None
    return grown if ordered is None else ordered


def _outcome(state: tenacity.RetryCallState) -> httpx.Response:
    """The last reply, or the last exception raised."""
    assert state.outcome is not None
    reply: httpx.Response = state.outcome.result()
    return reply
