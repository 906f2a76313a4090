"""The two ways in which a WebSocket serves replies (PROTOCOL.md section 4).

Without a subprotocol they come one after the other; with `chatsvc.v1` and `chatsvc.v2` several run at
once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from chatsvc.model import End
from chatsvc.problem import Problem
from chatsvc.problems import (
    BackendFailed,
    Overloaded,
    UnsupportedMediaType,
    every_problem,
)
from chatsvc.replies import Reply
from chatsvc.transports.codec import StreamCodec
from chatsvc.transports.connection import Connection, Delivery
from chatsvc.transports.framing import WEBSOCKET

MAX_QUEUED = 64
"""Requests that may wait for their turn where replies are served one after the other."""

MAX_QUEUED_CODE_POINTS = 1 << 20
"""Code points that the waiting requests may have in all; a single one may have more."""


async def serve_in_turn(
    connection: Connection, start: Callable[[str], Awaitable[Delivery]]
) -> None:
    """Serve one reply after the other, until the connection is over.

    `start(frame)` starts the reply that a frame asks for. A frame that comes while a reply is sent
    waits for its turn. A failure closes the connection, because no bare frame could say it. Raises
    the `Problem` to close the connection with.
    """
    turns = _Turns(connection, start)
    while (text := await connection.receive()) is not None:
        taking = turns.take(text)
        del text  # it may be large, and the next one may come much later
        await taking


class _Turns:
    """The requests of one connection that wait for their turn.

    Two functions that call each other would do as well, but they are a cycle: it would keep the
    connection, its request and its reply until the garbage collector runs, which is seldom.
    """

    def __init__(
        self, connection: Connection, start: Callable[[str], Awaitable[Delivery]]
    ) -> None:
        self._connection = connection
        self._start = start
        self._waiting: deque[str] = deque()
        # True from the moment at which a request is taken: starting its reply takes time.
        self._busy = False

    async def take(self, text: str) -> None:
        """Start the reply that a frame asks for, or put the frame behind those that wait.

        Raises `Overloaded` when too many wait.
        """
        if not self._busy:
            self._busy = True
            await self._deliver(text)
            return
        self._waiting.append(text)
        count, size = len(self._waiting), sum(map(len, self._waiting))
        if count > MAX_QUEUED or (count > 1 and size > MAX_QUEUED_CODE_POINTS):
            raise Overloaded("Too many requests are waiting on this connection.")

    async def _deliver(self, text: str) -> None:
        try:
            delivery = await self._start(text)
        except Problem as problem:
            self._connection.send_away(problem)
            return
        finish = partial(self._finish, delivery.codec)
        self._connection.begin(delivery, finish)

    async def _finish(self, codec: StreamCodec, reply: Reply) -> None:
        end = reply.end or End("done", "stop")
        last = codec.end(end)
        if last is None:
            self._connection.send_away(problem_of(end))
            return
        self._connection.send(WEBSOCKET.wrap(last))
        if self._waiting:
            await self._deliver(self._waiting.popleft())
        else:
            self._busy = False


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
        finally:
            del text  # it may be large, and the next one may come much later
        if delivery is None:
            continue

        async def finish(reply: Reply, codec: StreamCodec = delivery.codec) -> None:
            if reply.end is not None:
                connection.send(WEBSOCKET.wrap(codec.end(reply.end) or []))

        connection.begin(delivery, finish)


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
