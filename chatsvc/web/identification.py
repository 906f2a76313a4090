"""The step from a request to the identity of its sender, and to what its use is counted by."""

from __future__ import annotations

from aiohttp import hdrs, web

from chatsvc.host_names import client_network
from chatsvc.problems import Forbidden, Unauthorized
from chatsvc.users.current_keys import CurrentKeys
from chatsvc.users.identity import ADMIN, CHAT, STRANGER, Identity
from chatsvc.web.app_keys import (
    AUTHORIZE,
    IDENTITY,
    KEYS,
    PUBLIC_METRICS,
    Authorize,
    identity_of,
)
from chatsvc.web.authorization import authorized_user
from chatsvc.web.proxies import PROXIES
from chatsvc.web.sessions import login_address, session_of, wants_login
from chatsvc.web.tickets import holder_of, ticket_of

PUBLIC_PATHS = ("/healthz", "/readyz", "/static/", "/login", "/logout", "/api/shared/")
"""The beginnings of the paths that need no authorization. Of the last a token decides."""

METRICS_PATH = "/metrics"
"""The beginning of the path that needs none where the metrics are public, and else `ADMIN`."""


async def identify(request: web.Request, app: web.Application, path: str) -> None:
    """Keep the identity of a request's sender with the request, under `IDENTITY`.

    `path` is that of the request below the prefix of the application. Without users, and for what
    is public, everybody is a stranger.

    Raises `Unauthorized` when a user is wanted and the request names none, `Forbidden` when the
    user lacks the scope for the path, `BadRequest` when what a proxy names is no user's name, and
    what `holder_of` and `session_of` raise. A browser that asks for a page gets a redirect to the
    form for signing in, `HTTPSeeOther`.
    """
    request[IDENTITY] = STRANGER
    if not has_users(app):
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


def has_users(app: web.Application) -> bool:
    """Return whether an application wants to know who a request is from."""
    return bool(
        app[KEYS] is not None or app[AUTHORIZE] is not None or app[PROXIES].user_header
    )


async def _identity(request: web.Request, app: web.Application, path: str) -> Identity:
    """Return who a request is from: by the first that it has of an API key, a ticket and a session.

    Without any of these the operator's own function says it, else the header that a trusted proxy
    writes. Raises as `identify` does.
    """
    keys, authorize, proxies = app[KEYS], app[AUTHORIZE], app[PROXIES]
    token = None if keys is None else bearer_token(request)
    if keys is not None and token:
        key = keys.ring.find(token)
        if key is not None:
            return key.identity()
    if keys is not None and token is None:
        identity = await _of_browser(request, app, keys, path)
        if identity is not None:
            return identity
    if authorize is not None:
        return Identity(await _authorized(request, app, authorize))
    if proxies.user_header and (keys is None or proxies.sent(request)):
        return Identity(proxies.user_of(request))
    if token is not None:
        raise Unauthorized("The key is none that this service knows.", refused=True)
    if wants_login(request, path):
        raise web.HTTPSeeOther(login_address(request, app, path))
    raise Unauthorized(
        "This service wants a key: send it as Authorization: Bearer KEY."
    )


async def _authorized(
    request: web.Request, app: web.Application, authorize: Authorize
) -> str:
    """Return the name that the operator's own function gives a request's user."""
    seen = app[PROXIES].without_hidden(request)
    user = await authorized_user(seen, authorize)
    if seen is not request:
        request.update(seen)  # what the function keeps with the request
    return user


async def _of_browser(
    request: web.Request, app: web.Application, keys: CurrentKeys, path: str
) -> Identity | None:
    """Return the identity of a request's ticket, else of its session, or None if it has neither."""
    ticket = ticket_of(request, path)
    if ticket is not None:
        return await holder_of(app, keys, ticket)
    return session_of(request, app, keys.ring)


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


def account_of_request(request: web.Request, app: web.Application) -> str:
    """Return what the use of the service by a request's sender is counted by (`account_of`)."""
    return account_of(identity_of(request), app[PROXIES].client_address(request))


def account_of(identity: Identity, address: str) -> str:
    """Return what the use of the service is counted by: the user's name, else the client's address.

    Of an IPv6 address it is the network that one client has. A user and an address never coincide.
    """
    if identity.user:
        return f"user:{identity.user}"
    return f"address:{client_network(address)}"
