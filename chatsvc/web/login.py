"""The endpoints by which a person signs in and out: `/login` and `/logout` (PROTOCOL.md section 9).

All works without JavaScript. Every address that is sent to a browser is relative to the one that it
asked for, so the pages work under any prefix, also one that a proxy takes away.
"""

from __future__ import annotations

import re
from time import monotonic
from urllib.parse import parse_qsl, unquote, urlencode

from aiohttp import hdrs, web

from chatsvc.problems import (
    BadRequest,
    Forbidden,
    NotFound,
    TooManyRequests,
    Unauthorized,
)
from chatsvc.users.attempts import WrongKeys
from chatsvc.users.identity import CHAT
from chatsvc.users.keys import KeyRing
from chatsvc.web.app_keys import KEYS, service
from chatsvc.web.bodies import read_form
from chatsvc.web.identification import account_of_request
from chatsvc.web.metrics import METRICS
from chatsvc.web.origin import ORIGINS
from chatsvc.web.pages import render_page
from chatsvc.web.problems import PROBLEM
from chatsvc.web.sessions import (
    begin_session,
    end_session,
    session_cookie,
    session_of,
)

MAX_FORM_BYTES = 16 * 1024
"""The bytes that a form may have."""

MAX_FIELDS = 16
"""The fields that a form may have."""

WRONG_KEYS = web.AppKey("wrong_keys", WrongKeys)
"""The key of the counts of wrong keys."""

# The codes of the problems by which troubles are logged and counted.
_CODES = {
    "wrong": Unauthorized.code,
    "slow": TooManyRequests.code,
    "forbidden": Forbidden.code,
}
_PLACE = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_~./=&?%@-]{0,499}", re.ASCII)


async def get_login(request: web.Request) -> web.Response:
    """Answer `GET /login`: the page with the form, or the way back for who is signed in already."""
    app, ring = service(request), _ring(request)
    place = _place(request.query.get("next", ""))
    kind = session_cookie(request, app)
    if kind is None:
        return _page(request, place, "insecure", 403)
    if session_of(request, app, ring) is not None:
        return _see(place)
    # The browser keeps its session back while it follows a link of another site. The page loads
    # itself again, which is then its own wish, and has the session sent if there is one.
    from_elsewhere = request.headers.get("Sec-Fetch-Site") == "cross-site"
    return _page(request, place, reload=from_elsewhere)


async def post_login(request: web.Request) -> web.Response:
    """Answer `POST /login`: sign in with the form's `key`, and lead to the place `next`."""
    app, ring = service(request), _ring(request)
    app[ORIGINS].check_own_form(request)
    form = await _form(request)
    place = _place(form.get("next", ""))
    kind = session_cookie(request, app)
    if kind is None:
        return _page(request, place, "insecure", 403)
    address, now = account_of_request(request, app), monotonic()
    wait_s = app[WRONG_KEYS].wait(address, now)
    if wait_s:
        response = _page(request, place, "slow", 429)
        response.headers[hdrs.RETRY_AFTER] = str(wait_s)
        return response
    key = ring.find(form.get("key", "").strip())
    if key is None:
        app[WRONG_KEYS].add(address, now)
        response = _page(request, place, "wrong", 401)
        response.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer error="invalid_token"'
        return response
    if CHAT not in key.scopes:
        return _page(request, place, "forbidden", 403)
    response = _see(place)
    begin_session(response, kind, ring, key)
    return response


async def post_logout(request: web.Request) -> web.Response:
    """Answer `POST /logout`: let the browser forget its session, and lead to the form."""
    app = service(request)
    _ring(request)  # where there are no keys, there is nothing here
    app[ORIGINS].check_own_form(request)
    response = web.Response(status=303, headers={hdrs.LOCATION: "login"})
    kind = session_cookie(request, app)
    if kind is not None:
        end_session(response, kind)
    return response


def _ring(request: web.Request) -> KeyRing:
    """Return the API keys of the service. Raises `NotFound` where it has none."""
    keys = service(request)[KEYS]
    if keys is None:
        raise NotFound("There is nothing at this address.")
    return keys.ring


async def _form(request: web.Request) -> dict[str, str]:
    """Return the fields of a form by name. Raises a `Problem`."""
    body = await read_form(request, MAX_FORM_BYTES)
    try:
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=MAX_FIELDS))
    except ValueError:
        raise BadRequest("The form can't be read.") from None


def _place(text: str) -> str:
    """Return the place to go back to, relative to the chat page; "", that page, for other texts.

    It is a path below the chat page, so nobody is led to another site, or to what else a site has.
    """
    path = text.partition("?")[0]
    # Browsers take `%2e` for a dot, and go up by it [WHATWG URL].
    if not _PLACE.fullmatch(text) or ".." in unquote(path).split("/"):
        return ""
    return text


def _see(place: str) -> web.Response:
    """Return the response that leads a browser to a place."""
    return web.Response(status=303, headers={hdrs.LOCATION: f"./{place}"})


def _page(
    request: web.Request,
    place: str,
    trouble: str = "",
    status: int = 200,
    *,
    reload: bool = False,
) -> web.Response:
    """Return the page with the form; `trouble` is why nobody has signed in by it, "" for nothing.

    It is `wrong` for an unknown key, `slow` after too many of them, `forbidden` for a key that may
    not chat, or `insecure` where a key would be seen on the network: then there is no form. With
    `reload` the page loads itself again at once.
    """
    address = f"login?{urlencode({'next': place})}" if place else "login"
    context = {"next": place, "trouble": trouble, "reload": address if reload else ""}
    response = render_page(request, "login.html", context)
    response.set_status(status)
    if trouble in _CODES:
        request[PROBLEM] = _CODES[trouble]
        service(request)[METRICS].refusals.labels(_CODES[trouble]).inc()
    return response


def add_login(app: web.Application) -> None:
    """Add the endpoints to an application, behind `add_pages`."""
    app[WRONG_KEYS] = WrongKeys()
    app.router.add_get("/login", get_login)
    app.router.add_post("/login", post_login)
    app.router.add_post("/logout", post_logout)
