"""The HTTP endpoints of a reply (PROTOCOL.md section 2), each a few lines over `Replies` and a transport."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from aiohttp import StreamReader, hdrs, web

from chatsvc.cursor import parse_cursor
from chatsvc.model import Message, Prompt
from chatsvc.problems import (
    BadCursor,
    BadRequest,
    BadText,
    InvalidRequest,
    NotAcceptable,
    TooLarge,
    UnsupportedMediaType,
)
from chatsvc.replies import Reply
from chatsvc.requests import (
    BODY_FACTOR,
    check_key,
    check_text,
    digest,
    parse_chat,
    prompt,
)
from chatsvc.transports import html, snapshot, sse, text
from chatsvc.web.app_keys import REPLIES, SETTINGS, USER, service
from chatsvc.web.metrics import METRICS
from chatsvc.web.origin import check_site
from chatsvc.web.readers import Reader

EVENTS, TEXT, JSON = "text/event-stream", "text/plain", "application/json"
HTML = "text/html"

READ_BODY = 30.0
"""Seconds in which a body must arrive."""


def representation(request: web.Request, *more: str) -> str:
    """The representation that `Accept` asks for; events if it doesn't care.

    There is `more` on some addresses. Raises `NotAcceptable`.
    """
    kinds = (EVENTS, TEXT, JSON, *more)
    accept = ",".join(request.headers.getall(hdrs.ACCEPT, ()))
    kind = best(accept, kinds) if accept else EVENTS
    if kind is None:
        raise NotAcceptable(f"There is {', '.join(kinds)}.")
    return kind


def best(accept: str, kinds: Sequence[str]) -> str | None:
    """Which of some media types is wanted most (RFC 9110 section 12.5.1); None if none is.

    Of two that are wanted alike it is the one that `accept` names first, else the first of `kinds`.
    """
    ranges: dict[str, tuple[float, int]] = {}  # quality, and how early it stands
    for place, item in enumerate(accept.split(",")):
        name, *parameters = (part.strip() for part in item.lower().split(";"))
        found = (_quality(parameters), -place)
        ranges[name] = max(found, ranges.get(name, found))

    def wish(kind: str) -> tuple[float, int]:
        # [RFC 9110] "the most specific reference has precedence"
        for name in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
            if name in ranges:
                return ranges[name]
        return 0.0, 0

    kind = max(kinds, key=wish)
    return kind if wish(kind)[0] else None


def _quality(parameters: Sequence[str]) -> float:
    """The weight among a range's parameters, from 0 to 1; 0 for one that can't be read."""
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                quality = float(parameter[2:])
            except ValueError:
                return 0.0
            return min(quality, 1.0) if quality > 0 else 0.0
    return 1.0


def wait_seconds(request: web.Request) -> float | None:
    """The query's `wait`, in seconds; None when there is none. Raises `InvalidRequest`."""
    given = request.query.get("wait")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= snapshot.LONGEST_WAIT:
        raise InvalidRequest(
            f"wait must be a number of seconds from 0 to {snapshot.LONGEST_WAIT}."
        )
    return seconds


def user(request: web.Request) -> str:
    """Whose request this is; empty where nobody asks."""
    name: str = request.get(USER, "")
    return name


async def read_body(request: web.Request, most: int) -> bytes:
    """The JSON body, at most `most` bytes of it.

    Raises `UnsupportedMediaType`, `TooLarge`, and `BadRequest` for one that has not arrived in `READ_BODY` seconds.
    """
    if request.content_type != JSON:
        raise UnsupportedMediaType(
            f"The body must be JSON, with Content-Type: {JSON}, not {request.content_type}."
        )
    charset = (request.charset or "utf-8").lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType(f"The body must be UTF-8, not {charset}.")
    if (request.content_length or 0) > most:
        raise TooLarge(f"A body may have {most} bytes.")
    if request.content.is_eof():  # it came with the head, as most do
        body = request.content.read_nowait()
    else:
        body = await _arriving(request.content, most)
    if len(body) > most:
        raise TooLarge(f"A body may have {most} bytes.")
    return body


async def _arriving(content: StreamReader, most: int) -> bytes:
    """What comes of a body, until it is whole or has more than `most` bytes."""
    body = bytearray()
    try:
        async with asyncio.timeout(READ_BODY):
            async for piece in content.iter_any():
                body += piece
                if len(body) > most:
                    break
    except TimeoutError:
        raise BadRequest(
            f"The body did not arrive in {READ_BODY:g} s.", status=408
        ) from None
    return bytes(body)


def cursor(request: web.Request, reply_id: str | None = None) -> tuple[str, int | None]:
    """The reply and the position that a request names: the header wins over `after`. None is the end.

    Raises `BadCursor`.
    """
    last = request.headers.get("Last-Event-ID")
    if last:
        named, position = parse_cursor(last)
        if reply_id is not None and named != reply_id:
            raise BadCursor("The cursor belongs to another reply than the URL.")
        return named, position
    after = request.query.get("after", "0")
    if not (after.isascii() and after.isdigit() and len(after) <= 9):
        raise BadCursor("after must be a position: a number of code points.")
    return reply_id or "", int(after)


async def start(request: web.Request) -> Reply:
    """Begin the reply that a POST asks for."""
    limit = service(request)[SETTINGS].max_message
    asked = prompt(parse_chat(await read_body(request, limit * BODY_FACTOR)), limit)
    return await begin(request, asked)


async def begin(request: web.Request, asked: Prompt) -> Reply:
    """Begin a reply, or find the one that was begun under the request's `Idempotency-Key`."""
    key = request.headers.get("Idempotency-Key")
    return await service(request)[REPLIES].start(
        asked,
        user=user(request),
        key="" if key is None else check_key(key),
        digest="" if key is None else digest(asked),
        client=request.remote or "",
    )


async def post_chat(request: web.Request) -> web.StreamResponse:
    """`POST /api/chat`: start a reply and give it; with `Last-Event-ID`, give a known one."""
    kind, wait = representation(request), wait_seconds(request)
    if request.headers.get("Last-Event-ID"):
        return await resume(request)
    reply = await start(request)
    return await give(request, reply, kind, wait)


async def get_chat(request: web.Request) -> web.StreamResponse:
    """`GET /api/chat?message=…` for a native EventSource; reconnecting resumes."""
    kind, wait = representation(request), wait_seconds(request)
    if request.headers.get("Last-Event-ID"):
        return await resume(request)
    message = request.query.get("message")
    if message is None:
        raise InvalidRequest("The query must have message=….")
    if "\ufffd" in message and "%EF%BF%BD" not in request.raw_path.upper():
        raise BadText("The query is not UTF-8.")
    app = service(request)
    check_site(request, app[SETTINGS].allow_origin)
    check_text(message, app[SETTINGS].max_message)
    reply = await app[REPLIES].start(
        Prompt((Message("user", message),)),
        user=user(request),
        client=request.remote or "",
    )
    # An id without data is remembered and not dispatched: from here on, a reconnect resumes.
    first = f"id: {reply.id}:0\n\n".encode()
    return await give(request, reply, kind, wait, first)


async def give(
    request: web.Request,
    reply: Reply,
    kind: str,
    wait: float | None,
    first: bytes = b"",
) -> web.StreamResponse:
    """A reply that was begun with this request: as a stream, or as JSON when it has ended or `wait` seconds are over."""
    if kind != JSON:
        return stream(request, reply, 0, kind, first)
    with service(request)[METRICS].reading("json"):
        if wait is not None:
            return await snapshot.poll(reply, 0, wait, begun=True)
        return await snapshot.whole(reply)


async def get_reply(request: web.Request) -> web.StreamResponse:
    """`GET /api/chat/{reply}`: read it again, from the start, from a cursor, as a snapshot, or rendered."""
    reply_id = request.match_info["reply"]
    if representation(request, HTML) == HTML:
        app = service(request)
        reply = await app[REPLIES].open(reply_id, user=user(request))
        with app[METRICS].reading("html"), reply.reading():
            return await html.html(reply)
    return await resume(request, reply_id)


async def resume(
    request: web.Request, reply_id: str | None = None
) -> web.StreamResponse:
    """Give a known reply from where the request says."""
    kind, wait = representation(request), wait_seconds(request)
    named, after = cursor(request, reply_id)
    reply = await service(request)[REPLIES].open(named, user=user(request))
    if after is None:  # nothing is left: an EventSource stops reconnecting
        return web.Response(status=204, headers={"X-Reply-Id": reply.id})
    await service(request)[REPLIES].check(reply, after)
    if kind == JSON:
        with service(request)[METRICS].reading("poll"):
            return await snapshot.poll(reply, after, wait or 0)
    return stream(request, reply, after, kind)


def stream(
    request: web.Request, reply: Reply, after: int, kind: str, first: bytes = b""
) -> web.StreamResponse:
    """A reply as a stream of events or of bare text."""
    if kind == TEXT:
        return text.stream(request, reply, after, Reader(request, "text", after))
    ids = request.query.get("ids") != "0"
    if not ids:
        first = b""
    reader = Reader(request, "sse", after)
    return sse.stream(request, reply, after, reader, ids=ids, first=first)


async def stop_reply(request: web.Request) -> web.Response:
    """`POST /api/chat/{reply}/stop`: stop it; stopping twice is no error."""
    replies = service(request)[REPLIES]
    reply = await replies.open(request.match_info["reply"], user=user(request))
    await replies.stop(reply)
    ended = await replies.stopped(reply)
    body = {"reply": reply.id, "state": reply.state, "next": reply.released_now()}
    return snapshot.json_response(reply, body, 200 if ended else 202)


def add_routes(app: web.Application) -> None:
    """The endpoints of replies."""
    app.router.add_post("/api/chat", post_chat)
    app.router.add_get("/api/chat", get_chat, allow_head=False)
    app.router.add_get("/api/chat/{reply}", get_reply, allow_head=False)
    app.router.add_post("/api/chat/{reply}/stop", stop_reply)
