"""The sessions of browsers: cookies that stand for an API key (PROTOCOL.md section 9).

A session is a signed token and no more: nothing is kept for it, every process that knows the API
key knows the session, and it ends with the key, when it expires, or when the browser forgets it.
"""

from __future__ import annotations

from functools import lru_cache
from time import time
from typing import NamedTuple
from urllib.parse import urlencode

from aiohttp import hdrs, web

from chatsvc.host_names import host_of, is_loopback_host
from chatsvc.problems import ForbiddenOrigin
from chatsvc.settings import flag
from chatsvc.users.identity import CHAT, Identity
from chatsvc.users.keys import ApiKey, KeyRing
from chatsvc.users.signatures import Purpose
from chatsvc.web.app_keys import PREFIX
from chatsvc.web.hosts import KNOWN_HOSTS
from chatsvc.web.negotiation import cookie
from chatsvc.web.origin import ORIGINS
from chatsvc.web.proxies import PROXIES

SESSION_S = 30 * 24 * 3600
"""The seconds for which a browser stays signed in."""


class SessionCookie(NamedTuple):
    """The cookie that holds a session: its name, its path, and whether it is for https alone."""

    name: str
    path: str
    secure: bool


def session_cookie(request: web.Request, app: web.Application) -> SessionCookie | None:
    """Return the cookie that holds a session where a request came from, or None if none may.

    Over TLS its name makes browsers take it from this very host alone, and, at the root, for all of
    it (RFC 6265bis section 4.1.3). Plain http is for the browser's own machine alone: whoever is on
    the network could read the cookie, and the key before it.
    """
    prefix = app[PROXIES].path_prefix(request) + app[PREFIX]
    if app[PROXIES].came_by_tls(request):
        name = "__Secure-chatsvc" if prefix else "__Host-chatsvc"
        return SessionCookie(name, f"{prefix}/", secure=True)
    if _is_loopback(request.host):
        return SessionCookie("chatsvc", f"{prefix}/", secure=False)
    return None


def session_of(
    request: web.Request, app: web.Application, ring: KeyRing
) -> Identity | None:
    """Return the identity that a request's session cookie stands for, or None.

    Raises `ForbiddenOrigin` when a page of another origin sends a session and may not: SameSite
    keeps it from the pages of other sites, but not from those of other hosts of the same site.
    """
    header = request.headers.get(hdrs.COOKIE)
    if header is None:
        return None
    kind = session_cookie(request, app)
    token = None if kind is None else cookie(header, kind.name)
    if not token:
        return None
    session = ring.signer.verify(Purpose.SESSION, token)
    if session is None or session.expires_s <= time():
        return None
    key = ring.by_digest(session.key)
    if key is None or CHAT not in key.scopes:
        return None
    if not app[ORIGINS].may_send_cookies(request):
        raise ForbiddenOrigin(
            "A page of another origin may not use this browser's session; "
            f"{flag('allow_credentials')} would let it."
        )
    return key.identity()


def wants_login(request: web.Request, path: str) -> bool:
    """Return whether a request without a user is to be led to the form for signing in.

    It is if it asks for the chat page, or if a person has a browser show something of the service;
    a page's script wants to know that it was refused. `path` is that of the request below the
    prefix of the application.
    """
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return False
    return path == "/" or request.headers.get("Sec-Fetch-Mode") == "navigate"


def login_address(request: web.Request, app: web.Application, path: str) -> str:
    """Return the address of the form that leads back to a path, relative to a request's URL.

    `path` is that of the request below the prefix of the application.
    """
    # To a browser a `%2F` in its URL is no slash; in `path` it is one.
    slashes = request.rel_url.raw_path.count("/") - app[PREFIX].count("/")
    up, place = "../" * (slashes - 1), path.removeprefix("/")
    return f"{up}login?{urlencode({'next': place})}" if place else "login"


def begin_session(
    response: web.Response, kind: SessionCookie, ring: KeyRing, key: ApiKey
) -> None:
    """Let a browser that gets a response be signed in with an API key from now on."""
    now = int(time())
    token = ring.signer.sign(
        Purpose.SESSION, key.digest, issued_s=now, expires_s=now + SESSION_S
    )
    response.set_cookie(
        kind.name,
        token,
        max_age=SESSION_S,
        path=kind.path,
        secure=kind.secure,
        httponly=True,
        samesite="Strict",
    )


def end_session(response: web.Response, kind: SessionCookie) -> None:
    """Let a browser that gets a response forget its session."""
    response.del_cookie(
        kind.name,
        path=kind.path,
        secure=kind.secure,
        httponly=True,
        samesite="Strict",
    )


@lru_cache(KNOWN_HOSTS)
def _is_loopback(authority: str) -> bool:
    """Return whether a host, with its port or without, is the browser's own machine."""
    try:
        return is_loopback_host(host_of(authority))
    except ValueError:
        return False
