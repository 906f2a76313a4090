"""`GET /ws/chat`: opens a WebSocket and answers its frames with replies (PROTOCOL.md section 4)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

from aiohttp import web

from chatsvc.problems import Draining, InternalError, InvalidRequest, Problem
from chatsvc.requests import (
    BODY_FACTOR,
    Frame,
    check_key,
    digest,
    parse_chat,
    parse_frame,
    prompt,
)
from chatsvc.transports.websocket import (
    SUBPROTOCOL,
    Asked,
    Connection,
    serve_bare,
    serve_events,
)
from chatsvc.web.app_keys import REPLIES, SETTINGS, service
from chatsvc.web.metrics import METRICS
from chatsvc.web.routes import user

logger = logging.getLogger("chatsvc.web")

_Asked = TypeVar("_Asked")

SOCKETS: web.AppKey[set[Connection]] = web.AppKey("sockets", set)


async def websocket(request: web.Request) -> web.StreamResponse:
    """Upgrade, and serve the connection until either side is done with it."""
    app = service(request)
    limit = app[SETTINGS].max_message
    ws = web.WebSocketResponse(
        protocols=(SUBPROTOCOL,),
        compress=False,
        autoping=False,
        max_msg_size=limit * BODY_FACTOR,
        timeout=2.0,
    )
    if not ws.can_prepare(request).ok:
        raise InvalidRequest("This address speaks WebSocket; ask for an upgrade.")
    await ws.prepare(request)
    connection = Connection(request, ws)
    app[SOCKETS].add(connection)
    pinger = asyncio.create_task(connection.keep_alive())
    name = "websocket" if ws.ws_protocol is None else SUBPROTOCOL
    try:
        with app[METRICS].reading(name), suppress(ConnectionError):
            try:
                if ws.ws_protocol == SUBPROTOCOL:
                    await serve_events(
                        connection, lambda f: _told(_events(request, connection, f))
                    )
                else:
                    await serve_bare(connection, lambda f: _told(_bare(request, f)))
            except Problem as problem:
                await connection.close(problem)
    finally:
        pinger.cancel()
        app[SOCKETS].discard(connection)
        await connection.end()
    return ws


async def _told(asking: Awaitable[_Asked]) -> _Asked:
    """A mistake of ours as a problem: behind the upgrade no HTTP answer can tell of it."""
    try:
        return await asking
    except Problem:
        raise
    except Exception as error:
        logger.error("a frame failed", exc_info=error)
        raise InternalError from None


async def _bare(request: web.Request, text: str) -> Asked:
    app = service(request)
    asked = prompt(parse_chat(text), app[SETTINGS].max_message)
    reply = await app[REPLIES].start(
        asked, user=user(request), client=request.remote or ""
    )
    return Asked(reply)


async def _events(
    request: web.Request, connection: Connection, text: str
) -> Asked | None:
    app = service(request)
    frame = parse_frame(text)
    if frame.stop is not None:
        reply = await app[REPLIES].open(frame.stop, user=user(request))
        await app[REPLIES].stop(reply)
        return None
    connection.check_room()  # a stop needs none, and makes it
    if frame.read is not None:
        return await _read(request, frame, frame.read)
    asked = prompt(frame, app[SETTINGS].max_message)
    key = check_key(frame.key) if frame.key else ""
    reply = await app[REPLIES].start(
        asked,
        user=user(request),
        key=key,
        digest=digest(asked) if key else "",
        client=request.remote or "",
    )
    return Asked(reply, key=frame.key)


async def _read(request: web.Request, frame: Frame, reply_id: str) -> Asked:
    app = service(request)
    if frame.after < 0:
        raise InvalidRequest("after must be a position: a number of code points.")
    reply = await app[REPLIES].open(reply_id, user=user(request))
    await app[REPLIES].check(reply, frame.after)
    if frame.after:
        app[METRICS].resumes.labels(SUBPROTOCOL).inc()
    return Asked(reply, frame.after, frame.key)


async def close_sockets(app: web.Application) -> None:
    """Send the WebSockets away: the service is going down."""
    going = Draining("The service is going down.")
    for connection in app[SOCKETS]:
        connection.send_away(going)


def add_websocket(app: web.Application) -> None:
    """The WebSocket's route."""
    sockets: set[Connection] = set()
    app[SOCKETS] = sockets
    app.router.add_get("/ws/chat", websocket, allow_head=False)
