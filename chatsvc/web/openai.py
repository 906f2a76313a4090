"""The endpoints of OpenAI's clients (PROTOCOL.md section 5)."""

from __future__ import annotations

import time

import msgspec
from aiohttp import web

from chatsvc.backends.base import listed_models, model_name
from chatsvc.kept_prompt import keep
from chatsvc.problems import NotFound
from chatsvc.requests.values import Start
from chatsvc.transports.completion import completion
from chatsvc.transports.deltas import tool_offer
from chatsvc.transports.openai import Chunks, error_object
from chatsvc.transports.snapshot import json_response, until_end
from chatsvc.web.access import start_reply
from chatsvc.web.app_keys import REPLIES, REPLY, service
from chatsvc.web.metrics import METRICS
from chatsvc.web.parsing import caller_of, read_completion
from chatsvc.web.readers import stream_response

_MODEL_CREATED = int(time.time())
"""The time at which the model is said to have been made (Unix seconds): this module's import.

No backend knows the true one.
"""


async def post_completion(request: web.Request) -> web.StreamResponse:
    """Answer `POST /v1/chat/completions`.

    The reply is stopped when the connection that asked for it is closed.
    """
    app = service(request)
    replies = app[REPLIES]
    asked = await read_completion(request)
    # What is needed of it for as long as the reply runs is little, and takes the place of the rest.
    options = asked.prompt.options
    model, offer = model_name(replies.backend, options), tool_offer(options)
    stream, usage = asked.stream, asked.usage
    start = Start(keep(asked.prompt), caller_of(request))
    del asked, options
    reply, place = await start_reply(app, start)
    try:
        if stream:
            codec = Chunks(reply, model, usage=usage, offer=offer)
            response = stream_response(request, reply, codec, place)
            # Awaited here, because the reply is stopped below once its stream is over.
            await response.prepare(request)
            return response
        request[REPLY] = reply.id[:6]
        with place, app[METRICS].reading(Chunks.transport):
            end = await until_end(reply)
            if end.state == "failed":
                problem = end.problem or {}
                status = int(problem.get("status", 502))
                return json_response(reply.id, error_object(problem), status)
            return json_response(reply.id, await completion(reply, model, offer))
    finally:
        if reply.end is None:
            await replies.stop(reply)


async def get_models(request: web.Request) -> web.Response:
    """Answer `GET /v1/models`: the list of the models that a request may name."""
    names = listed_models(service(request)[REPLIES].backend)
    return _json({"object": "list", "data": [_model(name) for name in names]})


async def get_model(request: web.Request) -> web.Response:
    """Answer `GET /v1/models/{model}`. Raises `NotFound` for any but those that are listed."""
    name = request.match_info["model"]
    if name not in listed_models(service(request)[REPLIES].backend):
        raise NotFound("There is no such model; /v1/models lists those that there are.")
    return _json(_model(name))


def _model(name: str) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": _MODEL_CREATED,
        "owned_by": "chatsvc",
    }


def _json(body: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def add_openai(app: web.Application) -> None:
    """Add the endpoints to an application."""
    app.router.add_post("/v1/chat/completions", post_completion)
    app.router.add_get("/v1/models", get_models)
    app.router.add_get("/v1/models/{model:.+}", get_model)
