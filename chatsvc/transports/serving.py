"""The two ways in which a WebSocket serves replies (PROTOCOL.md section 4).

Without a subprotocol they come one after the other; with `chatsvc.v1` several run at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec

from chatsvc.model import End
from chatsvc.problems import (
    BackendFailed,
    Overloaded,
    Problem,
    UnsupportedMediaType,
    every_problem,
)
from chatsvc.replies import Reply
from chatsvc.transports.codec import Codec
from chatsvc.transports.connection import Connection
from chatsvc.transports.encoder import make_encoder
from chatsvc.transports.framing import WEBSOCKET

MAX_QUEUED = 64
"""Requests that may wait for their turn where replies are served one after the other."""

MAX_QUEUED_CODE_POINTS = 1 << 20
"""Code points that the waiting requests may have in all; a single one may have more."""


class Delivery(msgspec.Struct):
    """A reply that is to be sent from behind position `after` (code points), by a codec."""

    reply: Reply
    after: int
    codec: Codec


async def serve_in_turn(
    connection: Connection, start: Callable[[str], Awaitable[Delivery]]
) -> None:
    """Serve one reply after the other, until the connection is over.

    `start(frame)` starts the reply that a frame asks for. A frame that comes while a reply is sent
    waits for its turn. A failure closes the connection, because no bare frame could say it. Raises
    the `Problem` to close the connection with.
    """
    waiting: deque[str] = deque()
    busy = False  # true from the moment at which a request is taken: starting its reply takes time

    async def deliver(text: str) -> None:
        try:
            delivery = await start(text)
        except Problem as problem:
            connection.send_away(problem)
            return
        codec = delivery.codec

        async def finish(reply: Reply) -> None:
            nonlocal busy
            end = reply.end or End("done", "stop")
            last = codec.end(end)
            if last is None:
                connection.send_away(problem_of(end))
                return
            connection.send(WEBSOCKET.wrap(last))
            if waiting:
                await deliver(waiting.popleft())
            else:
                busy = False

        encoder = make_encoder(codec, WEBSOCKET)
        connection.begin(delivery.reply, delivery.after, encoder, finish)

    while (text := await connection.receive()) is not None:
        if not busy:
            busy = True
            await deliver(text)
            continue
        waiting.append(text)
        size = sum(map(len, waiting))
        if len(waiting) > MAX_QUEUED or (
            len(waiting) > 1 and size > MAX_QUEUED_CODE_POINTS
        ):
            raise Overloaded("Too many requests are waiting on this connection.")


def problem_of(end: End) -> Problem:
    """Return the problem of a reply that failed as an exception, which has a close code."""
    problem_type = (end.problem or {}).get("type")
    for kind in every_problem():
        if problem_type == f"/problems/{kind.code}":
            return kind()
    return BackendFailed()


async def serve_at_once(
    connection: Connection, answer: Callable[[str], Awaitable[Delivery | None]]
) -> None:
    """Serve several replies at once, until the connection is over.

    Each event says by its id which reply it belongs to. `answer(frame)` starts or finds the reply
    that a frame asks for; it returns None when there is nothing to send. A frame for which it
    raises a `Problem` gets a `failed` event, and the connection stays open. Raises the `Problem` to
    close the connection with.
    """
    while (text := await _next_text(connection)) is not None:
        try:
            delivery = await answer(text)
        except Problem as problem:
            await connection.answer_frame(failed_event(problem, text))
            continue
        if delivery is None:
            continue

        async def finish(reply: Reply, codec: Codec = delivery.codec) -> None:
            if reply.end is not None:
                connection.send(WEBSOCKET.wrap(codec.end(reply.end) or []))

        encoder = make_encoder(delivery.codec, WEBSOCKET)
        connection.begin(delivery.reply, delivery.after, encoder, finish)


async def _next_text(connection: Connection) -> str | None:
    """Return the next text frame, or None at the end; refuse binary ones by `failed` events."""
    while True:
        try:
            return await connection.receive()
        except UnsupportedMediaType as problem:
            await connection.answer_frame(failed_event(problem, ""))


def failed_event(problem: Problem, text: str) -> str:
    """Return the event that answers a frame for which `problem` was raised.

    It has the frame's key, and names the frame's reply, if they can be read in `text`.
    """
    event: dict[str, Any] = {"event": "failed", "id": None, "data": problem.as_dict()}
    with suppress(msgspec.DecodeError, RecursionError):
        frame = msgspec.json.decode(text)
        if isinstance(frame, dict):
            event["id"] = frame.get("read") or frame.get("stop")
            if "key" in frame:
                event["key"] = frame["key"]
    return msgspec.json.encode(event).decode()
