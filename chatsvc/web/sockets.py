"""The endpoint `GET /ws/chat` (PROTOCOL.md section 4).

It opens a WebSocket and answers its frames with replies.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from aiohttp import web
from msgspec.structs import replace

from chatsvc.problem import Problem
from chatsvc.problems import Draining, InternalError, InvalidRequest
from chatsvc.replies import Reply
from chatsvc.requests.chat import read_frame, read_message
from chatsvc.requests.values import (
    PARTS_SUBPROTOCOL,
    SUBPROTOCOL,
    Caller,
    Start,
    Stop,
)
from chatsvc.transports.connection import Connection, Delivery
from chatsvc.transports.serving import serve_at_once, serve_in_turn
from chatsvc.transports.table import make_codec
from chatsvc.web.access import beginning, open_reply, start_reply, trace_reading
from chatsvc.web.app_keys import LIMITS, REPLIES, REPLY, identity_of, service
from chatsvc.web.chat import rendering_of
from chatsvc.web.disconnects import CLIENTS, UPGRADED
from chatsvc.web.memory import MEMORY
from chatsvc.web.metrics import METRICS
from chatsvc.web.parsing import caller_of
from chatsvc.web.problems import PROBLEM
from chatsvc.web.use import USE

logger = logging.getLogger("chatsvc.web")

Result = TypeVar("Result")

SOCKETS: web.AppKey[dict[Connection, str]] = web.AppKey("sockets", dict)
"""The key of the application's open WebSockets, each with the API key (its digest) it rests on."""

SPARED_BYTES = 64 * 1024
"""Bytes of unfinished frames that a connection may have when memory is short."""

LOGGED_REPLIES = 8
"""The replies of a connection that its line in the log names; there may be many more."""

CLOSE_DEADLINE_S = 2.0
"""Seconds that a client has to answer a close frame."""

LAST_FRAMES_S = 2.0
"""Seconds in which the streams of a service that goes down can have their last frames written."""


async def websocket(request: web.Request) -> web.StreamResponse:
    """Answer `GET /ws/chat`: upgrade, and serve the connection until either side ends it.

    Raises `InvalidRequest` for a request that asks for no upgrade.
    """
    app = service(request)
    ws = web.WebSocketResponse(
        protocols=(PARTS_SUBPROTOCOL, SUBPROTOCOL),
        compress=False,
        autoping=False,
        autoclose=False,
        max_msg_size=app[LIMITS].body,
        timeout=CLOSE_DEADLINE_S,
    )
    if not ws.can_prepare(request).ok:
        raise InvalidRequest("This address speaks WebSocket; ask for an upgrade.")
    await ws.prepare(request)
    request[UPGRADED] = True
    connection = Connection(request, ws)
    caller = replace(caller_of(request), connection=secrets.token_urlsafe(16))
    app[SOCKETS][connection] = identity_of(request).key
    pinger = asyncio.create_task(connection.keep_alive())
    try:
        with (
            app[METRICS].reading(ws.ws_protocol or "websocket"),
            suppress(ConnectionError),
        ):
            await _serve(app, request, connection, caller)
    finally:
        pinger.cancel()
        del app[SOCKETS][connection]
        app[CLIENTS].watch_sending(request)
        await connection.end()
    return ws


async def _serve(
    app: web.Application, request: web.Request, connection: Connection, caller: Caller
) -> None:
    """Serve a connection by its subprotocol, and close it with the problem that this raises."""
    try:
        if subprotocol := connection.ws.ws_protocol:
            answer = partial(
                _answer_frame, app, request, connection, caller, subprotocol
            )
            await serve_at_once(connection, lambda text: _guarded(app, answer(text)))
        else:
            start = partial(_answer_message, app, request, caller)
            await serve_in_turn(connection, lambda text: _guarded(app, start(text)))
    except Problem as problem:
        request[PROBLEM] = problem.code
        await connection.close(problem)


async def _guarded(app: web.Application, answer: Awaitable[Result]) -> Result:
    """Return the result of `answer`.

    Raises its `Problem`, which is counted if it is of a limit; logs any other error of it and
    raises `InternalError` in its place. After the upgrade the middleware can't do that, for there
    is no HTTP answer any more.
    """
    try:
        return await answer
    except Problem as problem:
        app[METRICS].limit_reached(problem)
        raise
    except Exception as error:
        logger.error("a frame failed", exc_info=error)
        raise InternalError from None


async def _answer_message(
    app: web.Application, request: web.Request, caller: Caller, text: str
) -> Delivery:
    """Start the reply that a frame without a subprotocol asks for. Raises a `Problem`."""
    asked = read_message(text, caller, app[LIMITS])
    reply, place = await start_reply(app, asked)
    _note_reply(request, reply)
    return Delivery(reply, 0, make_codec(reply.id, asked.view), place.leave)


async def _answer_frame(
    app: web.Application,
    request: web.Request,
    connection: Connection,
    caller: Caller,
    subprotocol: str,
    text: str,
) -> Delivery | None:
    """Return the delivery that a frame of a subprotocol asks for, or stop a reply and return None.

    Raises a `Problem`.
    """
    asked = read_frame(text, caller, app[LIMITS], subprotocol)
    if isinstance(asked, Stop):
        await app[REPLIES].stop(await open_reply(app, asked))
        return None
    # Behind the stops, which need no room for another reply and make some.
    connection.check_room()
    if isinstance(asked, Start):
        (reply, place), after = await start_reply(app, asked), 0
    else:
        reply = await open_reply(app, asked)
        after = beginning(reply, asked)
        place = app[USE].take_place(caller)
        if after:
            app[METRICS].resumes.labels(subprotocol).inc()
        trace_reading(app, reply, caller, place, subprotocol, after)
    _note_reply(request, reply)
    codec = make_codec(reply.id, asked.view)
    rendering = rendering_of(app, asked, reply.id)
    return Delivery(reply, after, codec, place.leave, rendering)


def _note_reply(request: web.Request, reply: Reply) -> None:
    """Keep the beginning of a reply's id for the log, if there are not `LOGGED_REPLIES` already."""
    noted = request.get(REPLY)
    if noted is None:
        request[REPLY] = reply.id[:6]
    elif len(noted) < 7 * LOGGED_REPLIES - 1:
        request[REPLY] = f"{noted},{reply.id[:6]}"


def _end_unfinished(app: web.Application) -> None:
    """Send away the clients of which much is here that is no whole frame: memory is short."""
    for connection in app[SOCKETS]:
        if connection.unfinished_bytes > SPARED_BYTES:
            connection.send_away(app[MEMORY].budget.overloaded())


async def close_sockets(app: web.Application) -> None:
    """Send the clients of all WebSockets away with `draining`: the service is going down.

    All replies have ended. What the last rendered blocks of one still need to be written is waited
    for, `LAST_FRAMES_S` at most.
    """
    running = [task for connection in app[SOCKETS] for task in connection.streams]
    if running:
        await asyncio.wait(running, timeout=LAST_FRAMES_S)
    going = Draining("The service is going down.")
    for connection in app[SOCKETS]:
        connection.send_away(going)


def add_websocket(app: web.Application) -> None:
    """Add the endpoint to an application."""
    sockets: dict[Connection, str] = {}
    app[SOCKETS] = sockets
    app[MEMORY].connections.append(lambda: sockets)
    app[MEMORY].when_full.append(lambda: _end_unfinished(app))
    app.router.add_get("/ws/chat", websocket, allow_head=False)
