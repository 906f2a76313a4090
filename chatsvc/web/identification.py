"""The step from a request to the identity of its sender, and to what its use is counted by."""

from __future__ import annotations

from aiohttp import web

from chatsvc.problems import Unauthorized
from chatsvc.users.identity import STRANGER, Identity
from chatsvc.web.app_keys import AUTHORIZE, IDENTITY

PUBLIC_PATHS = ("/healthz", "/readyz", "/metrics", "/static/")
"""The beginnings of the paths that need no authorization."""


async def identify(request: web.Request, app: web.Application, path: str) -> None:
    """Keep the identity of a request's sender with the request, under `IDENTITY`.

    `path` is that of the request below the prefix of the application. Without users, and for
    `PUBLIC_PATHS`, everybody is a stranger.

    Raises `Unauthorized` when a user is wanted and the request names none.
    """
    if app[AUTHORIZE] is None or path.startswith(PUBLIC_PATHS):
        return
    request[IDENTITY] = Identity(await _authorized(request, app))


async def _authorized(request: web.Request, app: web.Application) -> str:
    """Return the name that the application's own function gives a request's user."""
    authorize = app[AUTHORIZE]
    name = None if authorize is None else await authorize(request)
    if name is None:
        raise Unauthorized("This service wants to know who asks.")
    if not isinstance(name, str) or not name:
        # Its value stays out of the log: it may be a secret.
        found = "an empty str" if name == "" else type(name).__name__
        raise TypeError(f"authorize must return a non-empty str or None, not {found}")
    return name


def identity_of(request: web.Request) -> Identity:
    """Return who a request is from: `STRANGER` where the service has no users."""
    identity: Identity = request.get(IDENTITY, STRANGER)
    return identity


def account_of(identity: Identity, address: str) -> str:
    """Return what the use of the service is counted by: the user's name, else the client's address.

    The two never coincide.
    """
    return f"user:{identity.user}" if identity.user else f"address:{address}"
