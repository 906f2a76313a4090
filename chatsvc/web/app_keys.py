"""The typed keys by which handlers find what the application and the request carry.

A mistyped name is an error of the type checker. Keys that belong to one module stand there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from chatsvc.replies import Replies
from chatsvc.requests.values import RequestLimits
from chatsvc.settings import Settings
from chatsvc.users.current_keys import CurrentKeys
from chatsvc.users.identity import STRANGER, Identity

Authorize = Callable[[web.Request], Awaitable[str | None]]
"""A coroutine function that returns the name of the user whose request it is; None refuses it.

Only that user finds the user's replies.
"""

REPLIES = web.AppKey("replies", Replies)
"""The key of the application's `Replies`, which exist while it runs."""

SETTINGS = web.AppKey("settings", Settings)
"""The key of the application's settings."""

LIMITS = web.AppKey("limits", RequestLimits)
"""The key of what a request may hold."""

CONTEXT_HEADERS: web.AppKey[tuple[str, ...]] = web.AppKey("context_headers")
"""The key of the names of the headers that backends may know."""

AUTHORIZE: web.AppKey[Authorize | None] = web.AppKey("authorize")
"""The key of the function that authorizes requests; its value is None if all are allowed."""

KEYS: web.AppKey[CurrentKeys | None] = web.AppKey("keys")
"""The key of the API keys that are good now; its value is None where the service has none."""

PUBLIC_METRICS = web.AppKey("public_metrics", bool)
"""The key of whether `/metrics` is for everybody who reaches it, or for the scope `admin` alone.

It matters only where the service has users.
"""

PROBE_PATHS = ("/healthz", "/readyz", "/metrics")
"""The paths that machines ask for by themselves, again and again, to see how the service is."""

PREFIX = web.AppKey("prefix", str)
"""The key of the path under which the application is mounted; empty if it is not mounted."""

SERVICE = web.RequestKey("service", web.Application)
"""The key of the chatsvc application that a request came to."""

CLIENT = web.RequestKey("client", str)
"""The key of the address of the client that a request is from."""

REPLY = web.RequestKey("reply", str)
"""The key of the beginning of the id of the reply that a request is about, for logs.

A WebSocket has those of its first replies, with commas between them.
"""

IDENTITY = web.RequestKey("identity", Identity)
"""The key of the identity of a request's sender; `STRANGER` where the service has no users."""


def identity_of(request: web.BaseRequest) -> Identity:
    """Return who a request is from: `STRANGER` where the service has no users, or does not know yet."""
    # `get` and `in` of a request cost three times as much.
    try:
        return request[IDENTITY]
    except KeyError:
        return STRANGER


def service(request: web.Request) -> web.Application:
    """Return the chatsvc application that a request came to, which may be mounted in another."""
    try:
        return request[SERVICE]
    except KeyError:  # it has not come to the middleware
        pass
    for app in reversed(request.match_info.apps):
        if SETTINGS in app:
            return app
    return request.app


def prefix(app: web.Application) -> str:
    """Return the path under which an application is mounted; empty if it is not mounted."""
    return app.router["healthz"].url_for().path.removesuffix("/healthz")


def inner_path(request: web.Request) -> str:
    """Return the path of a request below the one under which the application is mounted."""
    return request.path.removeprefix(service(request)[PREFIX])
