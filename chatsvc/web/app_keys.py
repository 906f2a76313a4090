"""What the handlers find in the application: typed keys, so that a typo is a type error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from chatsvc.replies import Replies
from chatsvc.settings import Settings

Authorize = Callable[[web.Request], Awaitable[str | None]]
"""Tells whose request this is; None refuses it. A user's replies are found by that user only."""

REPLIES = web.AppKey("replies", Replies)
SETTINGS = web.AppKey("settings", Settings)
AUTHORIZE: web.AppKey[Authorize | None] = web.AppKey("authorize")

PREFIX = web.AppKey("prefix", str)
"""The path under which chatsvc is mounted; empty at the top."""

SERVICE = web.RequestKey("service", web.Application)
"""The key of a request that has the chatsvc application it came to."""

USER = web.RequestKey("user", str)
"""The key of a request that has its user's name."""


def service(request: web.Request) -> web.Application:
    """The chatsvc application that a request came to, also where it is mounted in another."""
    found: web.Application | None = request.get(SERVICE)
    if found is not None:
        return found
    for app in reversed(request.match_info.apps):
        with suppress(KeyError):
            app[SETTINGS]
            return app
    return request.app


def prefix(app: web.Application) -> str:
    """The path under which chatsvc is mounted; empty at the top."""
    return app.router["healthz"].url_for().path.removesuffix("/healthz")


def inner_path(request: web.Request) -> str:
    """The path of a request as chatsvc knows it, wherever it is mounted."""
    return request.path.removeprefix(service(request)[PREFIX])
