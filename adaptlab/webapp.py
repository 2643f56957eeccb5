"""The web side of the server: routes, keys and errors. The work is done by `batching.Batcher`."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from adaptlab.batching import Batcher
from adaptlab.protocol import ApiError, ChatRequest, Head, chat_answer, error_body, field_sentence, to_request
from adaptlab.streaming import Answer

T = TypeVar("T")


def build_app(batcher: Batcher, key: str | None = None) -> FastAPI:
    """The web application; with a `key`, everything but `/health` asks for it as a bearer token."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await asyncio.to_thread(batcher.stop)

    app = FastAPI(title="Model Adaptation Lab", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.batcher = batcher
    app.state.key = key
    app.add_api_route("/health", health, methods=["GET"])
    app.include_router(api)
    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(RequestValidationError, on_malformed)
    app.add_exception_handler(HTTPException, on_http_error)
    return app


def authorise(call: Request) -> None:
    """Refuse a call without the server's key, if it has one."""
    key = call.app.state.key
    given = call.headers.get("authorization", "")
    if key and not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
        raise ApiError(401, "The key is missing or wrong: send the one in LAB_SERVE_KEY.", code="invalid_api_key")


api = APIRouter(prefix="/v1", dependencies=[Depends(authorise)])


async def health(call: Request) -> dict[str, Any]:
    """Whether the server is up, and the models it offers."""
    return {"status": "ok", "models": list(call.app.state.batcher.served)}


@api.get("/models")
async def models(call: Request) -> dict[str, Any]:
    """The models and adapters; `parent` is the model that an adapter sits on."""
    entries = [
        {
            "id": item.name,
            "object": "model",
            "created": 0,
            "owned_by": "lab",
            "parent": item.spec.name if item.adapter else None,
        }
        for item in call.app.state.batcher.served.values()
    ]
    return {"object": "list", "data": entries}


@api.post("/chat/completions", response_model=None)
async def chat(call: Request, body: ChatRequest) -> dict[str, Any] | StreamingResponse:
    """Answer a chat with `n` samples, whole or as a stream of events."""
    batcher: Batcher = call.app.state.batcher
    if body.model not in batcher.served:
        offered = ", ".join(batcher.served)
        raise ApiError(404, f"There is no model {body.model!r} here: use {offered}.", "model", "model_not_found")
    answer = Answer(batcher, body.model, to_request(body), live=bool(body.stream))
    try:
        await unless_gone(call, answer.begun())
    except BaseException:
        answer.drop()
        raise
    if not body.stream:
        return chat_answer(Head(body.model), answer.completions())
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(answer.events(with_usage), media_type="text/event-stream", headers=headers)


async def unless_gone(call: Request, waiting: Coroutine[Any, Any, None]) -> None:
    """What `waiting` gives; an ApiError that nobody reads where the client goes away before."""
    task, gone = asyncio.ensure_future(waiting), asyncio.ensure_future(_gone(call))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ApiError(499, "The client has gone away.")
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _gone(call: Request) -> None:
    """Wait until the client closes its connection."""
    while (await call.receive())["type"] != "http.disconnect":
        pass


async def on_api_error(_: Request, error: Exception) -> JSONResponse:
    """An error of ours, as the protocol wants it."""
    assert isinstance(error, ApiError)
    return JSONResponse(error_body(str(error), error.status, error.param, error.code), error.status)


async def on_malformed(_: Request, error: Exception) -> JSONResponse:
    """A body that does not fit the protocol."""
    assert isinstance(error, RequestValidationError)
    sentence, field = field_sentence(error.errors())
    return JSONResponse(error_body(sentence, 400, field), 400)


async def on_http_error(call: Request, error: Exception) -> JSONResponse:
    """An address or a method that is not served."""
    assert isinstance(error, HTTPException)
    sentence = f"{call.method} {call.url.path} is not served: use POST /v1/chat/completions or GET /v1/models."
    return JSONResponse(error_body(sentence, error.status_code), error.status_code)
