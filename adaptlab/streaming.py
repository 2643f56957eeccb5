"""An answer on its way from the batcher's thread to the web: as a whole, or as events while it is being written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError, Future
from dataclasses import replace

from adaptlab.batching import Batcher
from adaptlab.generation import Completion, Request
from adaptlab.protocol import DONE, ApiError, Head, chunk, error_body, event, usage_chunk
from config import LabError


class Answer:
    """What becomes of one request. It belongs to the event loop it was made in; `drop` frees the work."""

    def __init__(self, batcher: Batcher, model: str, request: Request, live: bool) -> None:
        self.request, self.model = request, model
        self._loop = asyncio.get_running_loop()
        self._latest: dict[int, str] = {}  # each sample's whole text so far, if it has grown since last looked at
        self._news, self._over = asyncio.Event(), False
        self._unwanted = threading.Event()
        job = replace(request, on_text=self._tell if live else None, wanted=lambda: not self._unwanted.is_set())
        self._future: Future[list[Completion]] = batcher.submit(model, job)
        self._future.add_done_callback(lambda _: self._tell())

    def drop(self) -> None:
        """Nobody waits any more: what has not begun is not begun, what is being written breaks off."""
        self._unwanted.set()
        self._future.cancel()

    async def begun(self) -> None:
        """Wait for the first text of a live answer, else for the end; what cannot be answered is an ApiError here."""
        await self._news.wait()
        if self._future.done():
            self.completions()

    def completions(self) -> list[Completion]:
        """The batcher's answer, when it is done; what it raises becomes an error of the protocol."""
        try:
            completions = self._future.result(timeout=0)
        except LabError as problem:
            raise ApiError(503, str(problem)) from problem
        except CancelledError as error:
            raise ApiError(499, "The client has gone away.") from error
        except Exception as error:
            raise ApiError(500, "The model failed on this request: the server's log says why.") from error
        failed = next((item for item in completions if item.status == "error"), None)
        if failed is None:
            return completions
        if failed.finish_reason == "refused":
            raise ApiError(400, failed.error or "", "messages", "context_length_exceeded")
        raise ApiError(500, failed.error or "The model failed on this request.")

    async def events(self, with_usage: bool) -> AsyncIterator[str]:
        """The answer as OpenAI streams it, from the first piece on; an error in the middle is its last event."""
        head, samples = Head(self.model), range(self.request.n)
        sent = [Sent(self.request.stop) for _ in samples]
        try:
            for index in samples:
                yield chunk(head, with_usage, index, {"role": "assistant", "content": ""})
            async for sample, text in self._growths():
                for index in samples if self.request.greedy else (sample,):
                    piece = sent[index].next(text)
                    if piece:
                        yield chunk(head, with_usage, index, {"content": piece})
            completions = self.completions()
            for index, item in enumerate(completions):
                rest = sent[index].rest(item.text)
                if rest:
                    yield chunk(head, with_usage, index, {"content": rest})
                yield chunk(head, with_usage, index, {}, item.finish_reason)
            if with_usage:
                yield usage_chunk(head, completions)
            yield DONE
        except ApiError as error:
            yield event(error_body(str(error), error.status, error.param, error.code))
        finally:
            self.drop()

    async def _growths(self) -> AsyncIterator[tuple[int, str]]:
        """Samples with their whole text so far, until nothing more is written; a slow reader skips some."""
        while not self._over:
            await self._news.wait()
            self._news.clear()
            latest, self._latest = self._latest, {}
            for growth in latest.items():
                yield growth

    def _tell(self, sample: int | None = None, text: str = "") -> None:
        """Pass on to the event loop that a sample has grown, or that all is over; any thread may call this."""
        try:
            self._loop.call_soon_threadsafe(self._note, sample, text)
        except RuntimeError:  # the loop has ended, and everybody who listened with it
            self._unwanted.set()

    def _note(self, sample: int | None, text: str) -> None:
        if sample is None:
            self._over = True
        else:
            self._latest[sample] = text
        self._news.set()


class Sent:
    """What a client has of one sample's text, and which piece it may get next."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self.stops, self.text = stops, ""

    def next(self, text: str) -> str:
        """The piece that is new in `text` and cannot be the beginning of a stop string or half a character."""
        return self._up_to(settled(text, self.stops))

    def rest(self, text: str) -> str:
        """The piece that is missing when `text` is the whole answer."""
        return self._up_to(text)

    def _up_to(self, text: str) -> str:
        if not text.startswith(self.text):
            return ""
        piece, self.text = text[len(self.text) :], text
        return piece


def settled(text: str, stops: tuple[str, ...]) -> str:
    """`text` without an end that may change: half a character, or what a stop string may begin with."""
    whole = text.rstrip("\N{REPLACEMENT CHARACTER}")
    held = (size for stop in stops for size in range(len(stop) - 1, 0, -1) if whole.endswith(stop[:size]))
    return whole[: len(whole) - max(held, default=0)]
