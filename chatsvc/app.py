"""Puts everything together: the only place that knows all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from .backends import Backend, make_backend
from .backends.function import Function, FunctionBackend
from .problems import Unauthorized
from .replies import Replies
from .settings import BadSetting, Settings
from .stores import Store, make_store
from .ticker import Ticker
from .web import origin
from .web.health import add_health
from .web.keys import (
    AUTHORIZE,
    REPLIES,
    SETTINGS,
    TICKER,
    USER,
    Authorize,
    inner_path,
    service,
)
from .web.leaving import CLIENTS, Clients
from .web.logs import EventLog
from .web.metrics import METRICS, Metrics
from .web.openai import add_openai
from .web.pages import setup_pages
from .web.problems import BEGUN, PROBLEM, SECURITY_HEADERS, problems
from .web.routes import add_routes
from .web.sockets import add_websocket, close_sockets
from .web.ui import add_ui

OPEN_TO_ALL = ("/healthz", "/readyz", "/metrics", "/static/")


def create_app(
    settings: Settings | None = None,
    *,
    backend: Backend | Function | None = None,
    store: Store | None = None,
    authorize: Authorize | None = None,
) -> web.Application:
    """chatsvc as an aiohttp application, to run or to mount: `app.add_subapp("/chat/", create_app())`.

    `backend` is a backend, or a function as `package.module:function` names one; `settings.backend` otherwise.
    `authorize(request)` gives the name of the user a request is from, or None to refuse it with 401; a user's replies
    are then found by that user only. Raises `ValueError` for settings that can't be.

    Run it with `AppRunner(app, handler_cancellation=True)`, so that a client that leaves is noticed at once and not
    within a second.
    """
    settings = settings or Settings()
    if backend is None:
        answering: Backend = make_backend(settings)
    elif callable(backend):
        answering = FunctionBackend(backend)
    else:
        answering = backend
    app = web.Application(middlewares=[_counted, problems, _checked, _watched])
    app[SETTINGS] = settings
    app[AUTHORIZE] = authorize
    app[METRICS] = Metrics()
    app[CLIENTS] = Clients()
    try:
        keeping = store if store is not None else make_store(settings)
    except ValueError as error:
        raise BadSetting(f"--store: {error}") from None
    app.cleanup_ctx.append(lambda app: _running(app, answering, keeping))
    app.on_response_prepare.append(_headers)
    app.on_shutdown.append(close_sockets)
    add_routes(app)
    add_websocket(app)
    add_openai(app)
    add_ui(app)
    add_health(app)
    setup_pages(app, max_message=settings.max_message)
    return app


async def _running(
    app: web.Application, backend: Backend, store: Store
) -> AsyncIterator[None]:
    """Everything that has a beginning and an end, in that order and back."""
    settings = app[SETTINGS]
    ticker = app[TICKER] = Ticker(store.clock)
    async with AsyncExitStack() as stack:
        await store.open()
        stack.push_async_callback(store.close)
        await backend.open()
        stack.push_async_callback(backend.close)
        replies = app[REPLIES] = Replies(
            store,
            backend,
            ticker,
            pace=settings.pace,
            grace=settings.grace,
            max_reply=settings.max_reply,
            max_running=settings.max_replies,
            max_per_client=settings.max_per_client,
            observers=(app[METRICS], EventLog()),
        )
        stack.push_async_callback(replies.close)
        looking = asyncio.create_task(app[CLIENTS].look())
        stack.callback(looking.cancel)
        yield


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    allowed = service(request)[SETTINGS].allow_origin
    varies = response.headers.get(hdrs.VARY)
    response.headers.update(origin.cors_headers(request, allowed))
    if varies is not None and response.headers[hdrs.VARY] != varies:
        response.headers[hdrs.VARY] += f", {varies}"
    request[BEGUN] = True


@web.middleware
async def _counted(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    if PROBLEM in request:
        service(request)[METRICS].refusals.labels(request[PROBLEM]).inc()
    return response


@web.middleware
async def _checked(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Who is asking, and from where."""
    app = service(request)
    allowed = app[SETTINGS].allow_origin
    path = inner_path(request)
    if path.startswith(("/api/", "/v1/", "/ws/")):
        if request.method == hdrs.METH_OPTIONS and hdrs.ORIGIN in request.headers:
            origin.check_origin(request, allowed)
            return web.Response(status=204, headers=origin.PREFLIGHT)
        origin.check_origin(request, allowed)
    authorize = app[AUTHORIZE]
    if authorize is not None and not path.startswith(OPEN_TO_ALL):
        name = await authorize(request)
        if name is None:
            raise Unauthorized("This service wants to know who asks.")
        request[USER] = name
    return await handler(request)


@web.middleware
async def _watched(request: web.Request, handler: Handler) -> web.StreamResponse:
    with service(request)[CLIENTS].watched(request):
        return await handler(request)
