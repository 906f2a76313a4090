"""The application: puts the store, the backend, the replies and the endpoints together.

It alone knows them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from chatsvc.backends import Backend, make_backend
from chatsvc.backends.base import abilities, chosen_models
from chatsvc.backends.function import Function, FunctionBackend
from chatsvc.machine_memory import usable_memory
from chatsvc.memory_budget import MemoryBudget
from chatsvc.replies import Observer, Replies
from chatsvc.requests.content import request_limits
from chatsvc.setting_formats import each_name
from chatsvc.settings import BadSetting, Settings
from chatsvc.stores import Store, make_store
from chatsvc.ticker import Ticker
from chatsvc.tracing import TRACER_PROVIDER, TRACING, tracing_of
from chatsvc.users.current_keys import CurrentKeys, has_keys, read_keys
from chatsvc.users.keys import KeyRing
from chatsvc.web.app_keys import (
    AUTHORIZE,
    CONTEXT_HEADERS,
    KEYS,
    LIMITS,
    PREFIX,
    REPLIES,
    SETTINGS,
    Authorize,
    prefix,
)
from chatsvc.web.authorization import load_authorize
from chatsvc.web.chat import add_chat
from chatsvc.web.descriptors import DESCRIPTORS, Descriptors, descriptor_limit
from chatsvc.web.disconnects import CLIENTS, Clients
from chatsvc.web.health import add_health, add_metrics
from chatsvc.web.hosts import HOSTS, Hosts
from chatsvc.web.login import add_login
from chatsvc.web.logs import EventLog
from chatsvc.web.memory import MEMORY, MemoryWatch
from chatsvc.web.metrics import METRICS, Metrics
from chatsvc.web.middleware import complete_headers, middleware
from chatsvc.web.openai import add_openai
from chatsvc.web.origin import ORIGINS, Origins
from chatsvc.web.pages import add_pages
from chatsvc.web.proxies import PROXIES, TrustedProxies
from chatsvc.web.sockets import add_websocket, close_sockets
from chatsvc.web.stalls import StallWatch
from chatsvc.web.tickets import add_tickets
from chatsvc.web.ui import add_ui
from chatsvc.web.use import USE, Use
from chatsvc.web.withdrawal import end_withdrawn

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


def create_app(
    settings: Settings | None = None,
    *,
    backend: Backend | Function | None = None,
    store: Store | None = None,
    authorize: Authorize | None = None,
    tracer_provider: TracerProvider | None = None,
) -> web.Application:
    """Return chatsvc as an aiohttp application, to run or to mount.

    Mount it with `app.add_subapp("/chat/", create_app())`.

    `settings` are those of the command line; None stands for their defaults. The host that a
    request names is checked only where `settings.allow_host` has any: the server around a mounted
    application may know its own names. `backend` writes the
    replies. It is a `Backend`, or an async generator function that is called with the messages, as
    the flag `--backend package.module:function` names one. None stands for the backend that
    `settings.backend` names. `store` keeps the replies; None stands for the one that
    `settings.store` names.

    Where the settings name API keys (`api_keys`, `api_keys_file`), only requests with one of them
    are let in, and `/metrics` is for keys with the scope `admin`. `authorize` is then asked for
    requests without a key that is known.

    `authorize(request)` is awaited for every request but those for health, metrics and the page's
    files. It returns the name of the user that the request is from, or None to refuse it with 401;
    or it raises an `aiohttp.web.HTTPException`, such as a redirect to a login. A user's replies are
    found by that user alone. None stands for the function that `settings.authorize` names; without
    one, the header `settings.user_header` of a trusted proxy says who a request is from. Without
    users, knowing a reply's id is the right to read it.

    The application does not know who reaches it. Where other machines do, let it know users, and
    keep `/metrics`, which stands below the same prefix, from those whom it does not concern.

    Each reply is a span of OpenTelemetry (the extra `otel`) where the process has set a tracer
    provider for all when the application starts up, or `tracer_provider` is one.

    Raises `BadSetting` or another `ValueError` for settings that can't be used. The store is
    connected and the backend opened only when the application starts up, so their
    `StoreUnavailable`, `StoreMisconfigured` and `BackendFailed` are raised from its start.

    Run the application with `AppRunner(app, handler_cancellation=True, auto_decompress=False,
    keepalive_timeout=75, lingering_time=1)`: a client that leaves is then noticed at once and not
    within a second, no request body is inflated, no connection is idle for an hour, and what is
    left of a refused body is read for a second at most. At shutdown, running replies get
    `settings.drain` seconds; then their readers are sent away to resume elsewhere. An access log
    that the runner itself writes counts only the first bytes of a stream, because the others are
    written to the connection directly, and has no response headers, because they are dropped once
    they are sent.
    """
    app = build_app(
        settings or Settings(),
        Metrics(),
        backend=backend,
        store=store,
        authorize=authorize,
        tracer_provider=tracer_provider,
    )
    add_metrics(app, public=app[KEYS] is None)
    return app


def build_app(
    settings: Settings,
    metrics: Metrics,
    *,
    backend: Backend | Function | None = None,
    store: Store | None = None,
    authorize: Authorize | None = None,
    keys: KeyRing | None = None,
    tracer_provider: TracerProvider | None = None,
) -> web.Application:
    """Return the application of `create_app` without `/metrics`; what happens is in `metrics`.

    `keys` are the API keys, if they have been read from what the settings name. The other arguments
    are those of `create_app`, which also says what is raised.
    """
    app = web.Application(middlewares=[middleware])
    app[SETTINGS] = settings
    app[CONTEXT_HEADERS] = each_name(settings.context_headers)
    app[PROXIES] = TrustedProxies(settings.trusted_proxy, settings.user_header)
    app[KEYS] = None
    if has_keys(settings):
        app[KEYS] = CurrentKeys(read_keys(settings) if keys is None else keys)
    app[HOSTS] = Hosts(settings.allow_host) if settings.allow_host else None
    app[ORIGINS] = Origins(settings, app[PROXIES])
    app[METRICS] = metrics
    app[TRACER_PROVIDER] = tracer_provider
    app[CLIENTS] = Clients()
    app[USE] = Use(settings)
    app[MEMORY] = MemoryWatch(
        MemoryBudget(memory_limit(settings)), app[CLIENTS], metrics
    )
    app[DESCRIPTORS] = Descriptors(descriptor_limit(), app[METRICS].without_descriptor)
    try:
        chosen_store = store if store is not None else make_store(settings)
    except BadSetting:
        raise
    except ValueError as error:
        raise BadSetting(f"--store: {error}") from None
    app.on_response_prepare.append(complete_headers)
    app.on_shutdown.append(_drain)
    app.on_shutdown.append(close_sockets)
    add_chat(app)
    add_websocket(app)
    add_openai(app)
    add_ui(app)
    add_health(app)
    add_pages(app, settings)
    add_login(app)
    add_tickets(app)
    # Last: from here on the operator's folder is the first in which modules are looked for, and one
    # of its own named as one of Python's would be taken for that.
    if backend is None:
        chosen_backend: Backend = make_backend(settings)
    elif callable(backend):
        chosen_backend = FunctionBackend(backend)
    else:
        chosen_backend = backend
    if authorize is None and settings.authorize:
        authorize = load_authorize(settings.authorize, settings.app_dir)
    app[AUTHORIZE] = authorize
    app.cleanup_ctx.append(lambda app: _run(app, chosen_backend, chosen_store))
    return app


def memory_limit(settings: Settings) -> int | None:
    """Return the bytes that each process may hold, or None where the system can't say what it has.

    The workers share what `settings.max_memory` allows in equal parts.
    """
    most = settings.max_memory
    if most is None and (usable := usable_memory()) is not None:
        most = usable // 2
    return None if most is None else most // settings.workers


def build_admin_app(app: web.Application) -> web.Application:
    """Return the application of the admin port, which has `/metrics` of `app` and no more.

    It shares the state of `app`, a chatsvc application: requests to it are limited, logged and
    counted in the same way. `app` must run for as long as it does.
    """
    admin = web.Application(middlewares=[middleware])
    for key in app:
        admin[key] = app[key]
    admin[PREFIX] = ""
    # Whoever reaches the port may read the figures, and there is nothing else.
    admin[KEYS] = admin[AUTHORIZE] = None
    admin.on_response_prepare.append(complete_headers)
    add_metrics(admin, public=True)
    return admin


async def _drain(app: web.Application) -> None:
    """End all replies before aiohttp waits for their streams, which may take a minute and longer.

    Do nothing under `chatsvc serve`: that has drained already, while it still listened.
    """
    replies = app[REPLIES]
    if not replies.admission.draining:
        await replies.drain(app[SETTINGS].drain)


def _has_ended(app: web.Application, user: str) -> bool:
    """Return whether a user's last key has been withdrawn.

    Where something else names users as well, that is not known: it may name the same one.
    """
    keys = app[KEYS]
    if keys is None or app[AUTHORIZE] is not None or app[PROXIES].user_header:
        return False
    return user in keys.ended_users


async def _run(
    app: web.Application, backend: Backend, store: Store
) -> AsyncIterator[None]:
    """Open the store and the backend, make `Replies`, and close all in the reverse order.

    It is a cleanup context of aiohttp: the part behind `yield` runs when the application ends.
    """
    settings = app[SETTINGS]
    app[PREFIX] = prefix(app)
    ticker = Ticker(store.clock)
    async with AsyncExitStack() as stack:
        store.on_failure(app[METRICS].store_failed)
        await store.open()
        stack.push_async_callback(store.close)
        await backend.open()
        stack.push_async_callback(backend.close)
        # Some backends know only now what they take.
        app[LIMITS] = request_limits(
            settings.max_message,
            settings.max_files,
            takes=abilities(backend),
            models=chosen_models(backend),
        )
        keys = app[KEYS]
        budget = app[MEMORY].budget
        tracing = app[TRACING] = tracing_of(backend, app[TRACER_PROVIDER])
        observers: tuple[Observer, ...] = (
            app[METRICS],
            EventLog(store.cluster.node),
        )
        replies = app[REPLIES] = Replies(
            store,
            backend,
            ticker,
            pace=settings.pace,
            grace=settings.grace,
            max_reply=settings.max_reply,
            max_parts=settings.max_parts,
            max_seconds=settings.max_seconds,
            max_running=app[USE].max_replies,
            observers=observers if tracing is None else (*observers, tracing),
            tracer=tracing,
            has_ended=partial(_has_ended, app),
            budget=budget,
        )
        if keys is not None:
            keys.on_withdrawal(partial(end_withdrawn, app))
        stack.push_async_callback(replies.close)
        watching = asyncio.create_task(app[CLIENTS].watch())
        stack.callback(watching.cancel)
        memory = asyncio.create_task(app[MEMORY].watch(replies.memory))
        stack.callback(memory.cancel)
        stalls = StallWatch(app[METRICS].stalls, app[METRICS].longest_stall)
        stalls.start()
        stack.callback(stalls.stop)
        yield
