"""HTTP requests into the values of `chatsvc.requests`, each request once.

Headers, query, path and body are read here and nowhere else. Whatever is wrong with them is raised
as a `Problem`, before a reply is started or looked for.
"""

from __future__ import annotations

import math

import msgspec
from aiohttp import hdrs, web

from chatsvc.cursor import parse_cursor, parse_place
from chatsvc.model import Message, Prompt
from chatsvc.problems import (
    BadCursor,
    BadText,
    InvalidRequest,
    NotAcceptable,
)
from chatsvc.requests.chat import check_rendering, make_start, read_prompt
from chatsvc.requests.conversation import check_body, check_structure, check_text
from chatsvc.requests.openai import Completion, parse_completion
from chatsvc.requests.ui import Turn, parse_turn
from chatsvc.requests.values import (
    EVENT_STREAM,
    LONGEST_WAIT_S,
    Caller,
    Read,
    Start,
    Stop,
    View,
)
from chatsvc.tracing import TRACE_HEADERS, TRACING
from chatsvc.transports.table import PARTS_MEDIA_TYPES, STREAM_MEDIA_TYPES
from chatsvc.web.app_keys import CONTEXT_HEADERS, LIMITS, identity_of, service
from chatsvc.web.bodies import JSON, read_body
from chatsvc.web.identification import account_of
from chatsvc.web.negotiation import negotiate
from chatsvc.web.origin import ORIGINS
from chatsvc.web.proxies import PROXIES
from chatsvc.web.use import USE

HTML = "text/html"
"""The media type of a reply whose Markdown is rendered."""

MEDIA_TYPES = tuple(
    dict.fromkeys((EVENT_STREAM, "text/plain", JSON, *STREAM_MEDIA_TYPES))
)
"""The media types in which a reply can be had at every address; a reply's own also has `HTML`.

Of those that a wildcard in `Accept` covers, it stands for the first.
"""


def caller_of(request: web.Request) -> Caller:
    """Return the user and the address that a request is from, and its `--context-headers`."""
    app = service(request)
    names, proxies = app[CONTEXT_HEADERS], app[PROXIES]
    identity, client = identity_of(request), proxies.client_address(request)
    if proxies.user_header:
        names = tuple(name for name in names if not proxies.hides(name, request))
    return Caller(
        user=identity.user,
        client=client,
        account=account_of(identity, client),
        limits=app[USE].limits_of(identity.limits),
        ticket=identity.ticket,
        reply=identity.reply,
        headers=_headers(request, names) if names else {},
        trace={} if app[TRACING] is None else _headers(request, TRACE_HEADERS),
    )


def _headers(request: web.Request, names: tuple[str, ...]) -> dict[str, str]:
    """Return the headers of some names that a request has, in valid Unicode.

    [RFC 9110, 5.3] Several lines of a header are one list.
    """
    found = {name: ", ".join(request.headers.getall(name, ())) for name in names}
    return {
        name: value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for name, value in found.items()
        if value or name in request.headers
    }


# ---------------------------------------------------------------------- chatsvc's own API


async def read_post_chat(request: web.Request) -> Start | Read:
    """Return what a `POST /api/chat` asks for: a new reply, or that of `Last-Event-ID`.

    Raises a `Problem`.
    """
    view = _view(request, _representation(request, MEDIA_TYPES))
    if request.headers.get("Last-Event-ID"):
        return _read(request, view)
    limits = service(request)[LIMITS]
    body = await read_body(request, limits.body)
    return keyed_start(request, read_prompt(body, limits), view)


def read_get_chat(request: web.Request) -> Start | Read:
    """Return what a `GET /api/chat` asks for: a reply to `message`, or that of `Last-Event-ID`.

    Raises a `Problem`.
    """
    app = service(request)
    message = request.query.get("message")
    reads = bool(request.headers.get("Last-Event-ID"))
    if message is not None and not reads:
        app[ORIGINS].check_start_by_get(request, MEDIA_TYPES)
    view = _view(request, _representation(request, MEDIA_TYPES))
    if reads:
        return _read(request, view)
    if message is None:
        raise InvalidRequest("The query must have message=….")
    # What is not UTF-8 has been decoded to U+FFFD, which a message may also hold.
    if "\ufffd" in message and "%EF%BF%BD" not in request.raw_path.upper():
        raise BadText("The query is not UTF-8.")
    check_text(message, app[LIMITS].message)
    prompt = Prompt((Message("user", message),))
    view = msgspec.structs.replace(view, announced=True)
    return make_start(prompt, caller_of(request), view=view)


def read_get_reply(request: web.Request) -> Read:
    """Return what a `GET /api/chat/{reply}` asks for. Raises a `Problem`."""
    return _read_named(request, request.match_info["reply"])


def read_get_shared(request: web.Request) -> Read:
    """Return what a `GET /api/shared/{token}` asks for. Raises a `Problem`."""
    asked = _read_named(request, request.match_info["token"])
    return msgspec.structs.replace(asked, shared=True)


def _read_named(request: web.Request, reply_id: str) -> Read:
    """Return the request to read the reply that the URL names."""
    representation = _representation(request, (*MEDIA_TYPES, HTML))
    if representation == HTML and not _is_of_parts(
        request, HTML
    ):  # all that is released, whatever the query says
        return Read(reply_id, 0, caller_of(request), View(HTML))
    return _read(request, _view(request, representation), reply_id)


def read_stop(request: web.Request) -> Stop:
    """Return what a `POST` to a reply's `stop`, `share` or `unshare` asks for."""
    return Stop(request.match_info["reply"], caller_of(request))


def keyed_start(
    request: web.Request, prompt: Prompt, view: View | None = None
) -> Start:
    """Return the request to start a reply under the `Idempotency-Key` of the headers, if any.

    Raises `InvalidRequest` for a malformed key.
    """
    key = request.headers.get("Idempotency-Key")
    return make_start(prompt, caller_of(request), key=key, view=view)


def _read(request: web.Request, view: View, reply_id: str = "") -> Read:
    """Return the request to read the reply that a request names, from its cursor on.

    `Last-Event-ID` wins over `after`; each may name a position or an offset. Raises `BadCursor`.
    """
    last = request.headers.get("Last-Event-ID")
    if last:
        named, place = parse_cursor(last)
        if reply_id and named != reply_id:
            raise BadCursor("The cursor belongs to another reply than the URL.")
        return Read(named, place, caller_of(request), view)
    after = parse_place(request.query.get("after", "0"))
    return Read(reply_id, after, caller_of(request), view)


def _view(request: web.Request, representation: str) -> View:
    """Return the view that the query asks for. Raises `InvalidRequest`."""
    ids = request.query.get("ids") != "0"
    parts = _is_of_parts(request, representation)
    if parts and not ids:
        raise InvalidRequest("view=parts needs its ids: leave out ids=0.")
    render, rendered = _rendering(request, representation, parts=parts)
    return View(
        representation,
        parts=parts,
        wait=_wait(request),
        ids=ids,
        render=render,
        rendered=rendered,
    )


def _rendering(
    request: web.Request, representation: str, *, parts: bool
) -> tuple[bool, int]:
    """Return whether the query asks for rendered blocks, and its `rendered`.

    Raises `InvalidRequest`.
    """
    render, rendered = (request.query.get(name) for name in ("render", "rendered"))
    if render is None:
        return False, 0
    return True, check_rendering(
        render, rendered or "0", parts=parts and representation != JSON
    )


def _is_of_parts(request: web.Request, representation: str) -> bool:
    """Return whether the query asks for all parts of the reply.

    Raises `InvalidRequest` for another `view`, and for a representation that shows only text.
    """
    view = request.query.get("view")
    if view is None:
        return False
    if view != "parts":
        raise InvalidRequest(
            "view must be parts; without it, the answer's text is given."
        )
    if representation not in (JSON, *PARTS_MEDIA_TYPES):
        raise InvalidRequest(
            f"view=parts can't be {representation}, which is text alone."
        )
    return True


def _representation(request: web.Request, media_types: tuple[str, ...]) -> str:
    """Return which of some media types `Accept` wants; without that header, `EVENT_STREAM`.

    Raises `NotAcceptable`.
    """
    # [RFC 9110, 5.3] Several lines of a header are one list.
    accept = ",".join(request.headers.getall(hdrs.ACCEPT, ()))
    chosen = negotiate(accept, media_types) if accept else EVENT_STREAM
    if chosen is None:
        raise NotAcceptable(f"There is {', '.join(media_types)}.")
    return chosen


def _wait(request: web.Request) -> float | None:
    """Return the query's `wait` (seconds), or None when there is none. Raises `InvalidRequest`."""
    given = request.query.get("wait")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_WAIT_S:
        raise InvalidRequest(
            f"wait must be a number of seconds from 0 to {LONGEST_WAIT_S}."
        )
    return seconds


# ---------------------------------------------------------------------- other clients' APIs


async def read_completion(request: web.Request) -> Completion:
    """Return what a `POST /v1/chat/completions` asks for. Raises a `Problem`."""
    limits = service(request)[LIMITS]
    body = await read_body(request, limits.body)
    check_structure(body, limits)
    asked = parse_completion(body, limits)
    check_body(body, asked.prompt, limits)
    return asked


async def read_turn(request: web.Request) -> Turn:
    """Return what a `POST /api/ui` asks for. Raises a `Problem`."""
    limits = service(request)[LIMITS]
    body = await read_body(request, limits.body)
    check_structure(body, limits)
    turn = parse_turn(body, limits)
    check_body(body, turn.prompt, limits)
    return turn
