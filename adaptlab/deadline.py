"""HTTP calls that end: a limit for the whole of a call, beside the usual limits between two bytes.

A server that sends one byte every few seconds never trips a read timeout. So the call runs in an event loop of its own,
where it can be given up at any point: while connecting, between headers, or in the middle of a body.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import TimeoutError as Late
from functools import lru_cache

import httpx


class Whole(httpx.BaseTransport):
    """A transport for synchronous clients that gives a call up after `seconds`, with an `httpx.ReadTimeout`.

    Proxies of the environment are used as httpx does. Replies are read whole, so this is not for streaming.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._inner: httpx.AsyncClient | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The whole reply, or an httpx exception."""
        request.read()
        running = asyncio.run_coroutine_threadsafe(self._ask(request), _loop())
        try:
            return running.result(self.seconds)
        except Late:
            running.cancel()
            said = f"no whole reply after {self.seconds:g} seconds"
            raise httpx.ReadTimeout(said, request=request) from None

    def close(self) -> None:
        """Close the connections that are kept."""
        if self._inner is not None:
            asyncio.run_coroutine_threadsafe(self._inner.aclose(), _loop())

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        if self._inner is None:
            # No connection is kept: a server may close an idle one just as the next call begins on it.
            self._inner = httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0))
        own = httpx.Request(
            request.method, request.url, headers=request.headers, content=request.content, extensions=request.extensions
        )
        reply = await self._inner.send(own, stream=True)
        try:
            body = b"".join([part async for part in reply.aiter_raw()])  # decoded by the client that asked
        finally:
            await reply.aclose()
        return httpx.Response(reply.status_code, headers=reply.headers, stream=httpx.ByteStream(body))


def client(seconds: float, timeout: httpx.Timeout | float) -> httpx.Client:
    """A client whose calls take at most `seconds` altogether; `timeout` limits connecting and every silence."""
    return httpx.Client(transport=Whole(seconds), timeout=timeout, follow_redirects=True)


@lru_cache(maxsize=1)
def _loop() -> asyncio.AbstractEventLoop:
    """An event loop that runs in a thread until the process ends."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="http", daemon=True).start()
    return loop
