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

from chatsvc.problems import (
    Draining,
    InternalError,
    InvalidRequest,
    Problem,
)
from chatsvc.requests.chat import read_frame, read_message
from chatsvc.requests.values import (
    PARTS_SUBPROTOCOL,
    SUBPROTOCOL,
    Caller,
    Start,
    Stop,
)
from chatsvc.transports.connection import Connection
from chatsvc.transports.serving import Delivery, serve_at_once, serve_in_turn
from chatsvc.transports.table import make_codec
from chatsvc.web.access import beginning, open_reply, start_reply
from chatsvc.web.app_keys import LIMITS, REPLIES, service
from chatsvc.web.disconnects import CLIENTS, UPGRADED
from chatsvc.web.identification import identity_of
from chatsvc.web.metrics import METRICS
from chatsvc.web.parsing import caller_of

logger = logging.getLogger("chatsvc.web")

Result = TypeVar("Result")

SOCKETS: web.AppKey[dict[Connection, str]] = web.AppKey("sockets", dict)
"""The key of the application's open WebSockets, with the API key (by its digest) that each rests on.
"""

CLOSE_DEADLINE_S = 2.0
"""Seconds that a client has to answer a close frame."""


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
            await _serve(app, connection, caller)
    finally:
        pinger.cancel()
        del app[SOCKETS][connection]
        app[CLIENTS].watch_sending(request)
        await connection.end()
    return ws


async def _serve(app: web.Application, connection: Connection, caller: Caller) -> None:
    """Serve a connection by its subprotocol, and close it with the problem that this raises."""
    try:
        if subprotocol := connection.ws.ws_protocol:
            answer = partial(_answer_frame, app, connection, caller, subprotocol)
            await serve_at_once(connection, lambda text: _guarded(answer(text)))
        else:
            start = partial(_answer_message, app, caller)
            await serve_in_turn(connection, lambda text: _guarded(start(text)))
    except Problem as problem:
        await connection.close(problem)


async def _guarded(answer: Awaitable[Result]) -> Result:
    """Return the result of `answer`.

    Raises its `Problem`; logs any other error of it and raises `InternalError` in its place. After
    the upgrade the middleware can't do that, for there is no HTTP answer any more.
    """
    try:
        return await answer
    except Problem:
        raise
    except Exception as error:
        logger.error("a frame failed", exc_info=error)
        raise InternalError from None


async def _answer_message(app: web.Application, caller: Caller, text: str) -> Delivery:
    """Start the reply that a frame without a subprotocol asks for. Raises a `Problem`."""
    asked = read_message(text, caller, app[LIMITS])
    reply = await start_reply(app, asked)
    return Delivery(reply, 0, make_codec(reply.id, asked.view))


async def _answer_frame(
    app: web.Application,
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
        reply, after = await start_reply(app, asked), 0
    else:
        reply = await open_reply(app, asked)
        after = beginning(reply, asked)
        if after:
            app[METRICS].resumes.labels(subprotocol).inc()
    return Delivery(reply, after, make_codec(reply.id, asked.view))


async def close_sockets(app: web.Application) -> None:
    """Send the clients of all WebSockets away with `draining`: the service is going down."""
    going = Draining("The service is going down.")
    for connection in app[SOCKETS]:
        connection.send_away(going)


def add_websocket(app: web.Application) -> None:
    """Add the endpoint to an application."""
    sockets: dict[Connection, str] = {}
    app[SOCKETS] = sockets
    app.router.add_get("/ws/chat", websocket, allow_head=False)
