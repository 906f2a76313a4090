"""Typed keys of the application and the request.

They are what handlers find there; a typo in one is a type error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from chatsvc.replies import Replies
from chatsvc.settings import Settings

Authorize = Callable[[web.Request], Awaitable[str | None]]
"""A function that names the user a request is from; None refuses it.

A user's replies are found by that user only.
"""

REPLIES = web.AppKey("replies", Replies)
"""The key of the application's replies, which are there while it runs."""

SETTINGS = web.AppKey("settings", Settings)
"""The key of the application's settings."""

AUTHORIZE: web.AppKey[Authorize | None] = web.AppKey("authorize")
"""The key of the function that authorizes requests; None where everybody may."""

PREFIX = web.AppKey("prefix", str)
"""The key of the path under which the application is mounted; empty at the top."""

SERVICE = web.RequestKey("service", web.Application)
"""The key of the chatsvc application that a request came to."""

USER = web.RequestKey("user", str)
"""The key of the name of a request's user, where requests are authorized."""


def service(request: web.Request) -> web.Application:
    """Return the chatsvc application that a request came to, which may be mounted in another."""
    found: web.Application | None = request.get(SERVICE)
    if found is not None:
        return found
    for app in reversed(request.match_info.apps):
        with suppress(KeyError):
            app[SETTINGS]
            return app
    return request.app


def prefix(app: web.Application) -> str:
    """Return the path under which an application is mounted; empty at the top."""
    return app.router["healthz"].url_for().path.removesuffix("/healthz")


def inner_path(request: web.Request) -> str:
    """Return the path of a request below the one under which the application is mounted."""
    return request.path.removeprefix(service(request)[PREFIX])
