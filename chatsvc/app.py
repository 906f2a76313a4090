"""Puts everything together: the only place that knows all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from aiohttp import web

from chatsvc.backends import Backend, make_backend
from chatsvc.backends.function import Function, FunctionBackend
from chatsvc.replies import Replies
from chatsvc.settings import BadSetting, Settings
from chatsvc.stores import Store, make_store
from chatsvc.ticker import Ticker
from chatsvc.web.app_keys import (
    AUTHORIZE,
    PREFIX,
    REPLIES,
    SETTINGS,
    Authorize,
    prefix,
)
from chatsvc.web.disconnects import CLIENTS, Clients
from chatsvc.web.health import add_health
from chatsvc.web.logs import EventLog
from chatsvc.web.metrics import METRICS, Metrics
from chatsvc.web.middleware import finish_head, guard
from chatsvc.web.openai import add_openai
from chatsvc.web.pages import setup_pages
from chatsvc.web.routes import add_routes
from chatsvc.web.sockets import add_websocket, close_sockets
from chatsvc.web.ui import add_ui


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
    within a second. When it ends, running replies get `settings.drain` seconds. The access log of a runner's own counts
    no bytes of a stream but the first, for the others are written straight to the connection, and finds no headers of
    its answer: they are let go once they are sent.
    """
    settings = settings or Settings()
    if backend is None:
        answering: Backend = make_backend(settings)
    elif callable(backend):
        answering = FunctionBackend(backend)
    else:
        answering = backend
    app = web.Application(middlewares=[guard])
    app[SETTINGS] = settings
    app[AUTHORIZE] = authorize
    app[METRICS] = Metrics()
    app[CLIENTS] = Clients()
    try:
        keeping = store if store is not None else make_store(settings)
    except ValueError as error:
        raise BadSetting(f"--store: {error}") from None
    app.cleanup_ctx.append(lambda app: _running(app, answering, keeping))
    app.on_response_prepare.append(finish_head)
    app.on_shutdown.append(_drain)
    app.on_shutdown.append(close_sockets)
    add_routes(app)
    add_websocket(app)
    add_openai(app)
    add_ui(app)
    add_health(app)
    setup_pages(app, max_message=settings.max_message)
    return app


async def _drain(app: web.Application) -> None:
    """Before aiohttp waits for the streams, for a minute and longer, see that they come to their end.

    `chatsvc serve` has done so by now, while it still listened.
    """
    replies = app[REPLIES]
    if not replies.admission.draining:
        await replies.drain(app[SETTINGS].drain)


async def _running(
    app: web.Application, backend: Backend, store: Store
) -> AsyncIterator[None]:
    """Everything that has a beginning and an end, in that order and back."""
    settings = app[SETTINGS]
    app[PREFIX] = prefix(app)
    ticker = Ticker(store.clock)
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
            max_seconds=settings.max_seconds,
            max_running=settings.max_replies,
            max_per_client=settings.max_per_client,
            observers=(app[METRICS], EventLog()),
        )
        stack.push_async_callback(replies.close)
        looking = asyncio.create_task(app[CLIENTS].look())
        stack.callback(looking.cancel)
        yield
