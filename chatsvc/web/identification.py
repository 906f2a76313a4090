"""The step from a request to the identity of its sender, and to what its use is counted by."""

from __future__ import annotations

from aiohttp import hdrs, web

from chatsvc.problems import Forbidden, Unauthorized
from chatsvc.users.identity import ADMIN, CHAT, STRANGER, Identity
from chatsvc.users.keys import KeyRing
from chatsvc.web.app_keys import AUTHORIZE, IDENTITY, KEYS, PUBLIC_METRICS
from chatsvc.web.sessions import login_address, session_of, wants_login
from chatsvc.web.tickets import holder_of, ticket_of

PUBLIC_PATHS = ("/healthz", "/readyz", "/static/", "/login", "/logout")
"""The beginnings of the paths that need no authorization."""

METRICS_PATH = "/metrics"
"""The beginning of the path that needs none where the metrics are public, and else `ADMIN`."""


async def identify(request: web.Request, app: web.Application, path: str) -> None:
    """Keep the identity of a request's sender with the request, under `IDENTITY`.

    `path` is that of the request below the prefix of the application. Without users, and for what
    is public, everybody is a stranger.

    Raises `Unauthorized` when a user is wanted and the request names none, `Forbidden` when the user
    lacks the scope for the path, and what `holder_of` and `session_of` raise. A browser that asks
    for a page gets a redirect to the form for signing in, `HTTPSeeOther`.
    """
    if app[KEYS] is None and app[AUTHORIZE] is None:
        return
    needed = CHAT
    if path.startswith(METRICS_PATH):
        if app.get(PUBLIC_METRICS, True):
            return
        needed = ADMIN
    elif path.startswith(PUBLIC_PATHS):
        return
    identity = await _identity(request, app, path)
    if needed not in identity.scopes:
        raise Forbidden(f"This key lacks the scope {needed}.", scope=needed)
    request[IDENTITY] = identity


async def _identity(request: web.Request, app: web.Application, path: str) -> Identity:
    """Return who a request is from: by its API key, its ticket or its session, the first that it has.

    Without any of these the application's own function says it. Raises as `identify` does.
    """
    keys = app[KEYS]
    token = bearer_token(request)
    if keys is not None and token:
        key = keys.ring.find(token)
        if key is not None:
            return key.identity()
    if keys is not None and token is None:
        identity = await _of_browser(request, app, keys.ring, path)
        if identity is not None:
            return identity
    if app[AUTHORIZE] is not None:
        return Identity(await _authorized(request, app))
    if token is not None:
        raise Unauthorized("The key is none that this service knows.", refused=True)
    if wants_login(request, path):
        raise web.HTTPSeeOther(login_address(path))
    raise Unauthorized(
        "This service wants a key: send it as Authorization: Bearer KEY."
    )


async def _of_browser(
    request: web.Request, app: web.Application, ring: KeyRing, path: str
) -> Identity | None:
    """Return the identity of a request's ticket, else of its session, or None if it has neither."""
    ticket = ticket_of(request, path)
    if ticket is not None:
        return await holder_of(app, ring, ticket)
    return session_of(request, app, ring)


def bearer_token(request: web.Request) -> str | None:
    """Return the token of a request's `Authorization: Bearer` (RFC 6750 section 2.1).

    Return None for a request that has no `Authorization`, and "" for one of another scheme, without
    a token, or with several lines of that header, which nobody can say the meaning of.
    """
    lines = request.headers.getall(hdrs.AUTHORIZATION, ())
    if not lines:
        return None
    scheme, _, token = lines[0].partition(" ")
    if len(lines) > 1 or scheme.lower() != "bearer":
        return ""
    return token.strip(" ")


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
