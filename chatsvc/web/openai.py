"""`POST /v1/chat/completions` and `GET /v1/models`, for OpenAI's clients (PROTOCOL.md section 5)."""

from __future__ import annotations

import time

import msgspec
from aiohttp import web

from chatsvc.backends.base import model_name
from chatsvc.problems import NotFound
from chatsvc.requests import BODY_FACTOR
from chatsvc.transports.openai import (
    Chunks,
    completion,
    error_object,
    parse_completion,
)
from chatsvc.transports.response import ReplyResponse, is_chunked
from chatsvc.transports.snapshot import json_response, until_end
from chatsvc.web.app_keys import REPLIES, SETTINGS, service
from chatsvc.web.metrics import METRICS
from chatsvc.web.readers import Reader
from chatsvc.web.routes import read_body, user

STARTED = int(time.time())
"""When a model is said to have been made: there is nothing better to tell (Unix seconds)."""


async def post_completion(request: web.Request) -> web.StreamResponse:
    """`POST /v1/chat/completions`: here a reply lives no longer than the connection that asked for it."""
    app = service(request)
    replies = app[REPLIES]
    limit = app[SETTINGS].max_message
    asked = parse_completion(await read_body(request, limit * BODY_FACTOR), limit)
    reply = await replies.start(
        asked.prompt, user=user(request), client=request.remote or ""
    )
    model = model_name(replies.backend)
    try:
        if asked.stream:
            chunks = Chunks(
                reply, model, usage=asked.usage, chunked=is_chunked(request)
            )
            reader = Reader(request, "openai")
            stream = ReplyResponse(
                request, reply, 0, reader, chunks, first=chunks.first()
            )
            await stream.prepare(request)
            return stream
        with app[METRICS].reading("openai"):
            end = await until_end(reply)
            if end.state == "failed":
                problem = end.problem or {}
                status = int(problem.get("status", 502))
                return json_response(reply, error_object(problem), status)
            return json_response(reply, completion(reply, model))
    finally:
        if reply.end is None:
            await replies.stop(reply)


def _model(request: web.Request) -> dict[str, object]:
    return {
        "id": model_name(service(request)[REPLIES].backend),
        "object": "model",
        "created": STARTED,
        "owned_by": "chatsvc",
    }


async def get_models(request: web.Request) -> web.Response:
    """`GET /v1/models`: the one that answers."""
    return _json({"object": "list", "data": [_model(request)]})


async def get_model(request: web.Request) -> web.Response:
    """`GET /v1/models/{model}`."""
    model = _model(request)
    if request.match_info["model"] != model["id"]:
        raise NotFound("There is no such model; /v1/models lists the one there is.")
    return _json(model)


def _json(body: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def add_openai(app: web.Application) -> None:
    """The endpoints of OpenAI's clients."""
    app.router.add_post("/v1/chat/completions", post_completion)
    app.router.add_get("/v1/models", get_models)
    app.router.add_get("/v1/models/{model:.+}", get_model)
