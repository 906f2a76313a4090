"""The same replies over a WebSocket (PROTOCOL.md section 4; RFC 6455): bare characters, or events as JSON.

One loop a connection reads frames; each reply that it asked for is written by the ticker beside it. Both end together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from typing import Any

import msgspec
from aiohttp import WSMessage, WSMsgType, web

from chatsvc.cursor import END
from chatsvc.model import End
from chatsvc.problems import (
    BackendFailed,
    Draining,
    Overloaded,
    Problem,
    UnsupportedMediaType,
    drop_tracebacks,
    every_problem,
)
from chatsvc.replies import Reply, SentAway
from chatsvc.transports.sse import told_stop
from chatsvc.transports.writing import (
    DIGITS,
    ClientGone,
    Encodes,
    Encodings,
    Stream,
    transport_of,
    write,
)

SUBPROTOCOL = "chatsvc.v1"
"""The subprotocol of events as JSON."""

PING_EVERY = 20.0
"""Seconds between two pings; a peer from which nothing came since the last one is dropped."""

MOST_QUEUED = 64
"""Requests that may wait for their turn on a bare connection, and replies at once on one of `chatsvc.v1`."""

MOST_WAITING = 1 << 20
"""Code points that the requests which wait on a bare connection may have in all, if they are more than one."""


def frame(payload: bytes) -> bytes:
    """A whole unmasked text frame (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 65536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), payload)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), payload)


class _Bare(Encodings):
    def encode(self, character: str) -> bytes:
        return frame(character.encode())


class _JsonTails(Encodings):
    def encode(self, character: str) -> bytes:
        return b'","data":%b}' % msgspec.json.encode(character)


_bare = _Bare()
_HEADERS = [b"\x81%c" % size for size in range(126)]
_tails = _JsonTails()


class BareFrames:
    """Encodes a reply's characters as frames that hold just them."""

    __slots__ = ()

    def encode(self, _: int, run: Sequence[str]) -> bytes:
        """A frame a character."""
        if len(run) == 1:
            return _bare[run[0]]
        return b"".join([_bare[character] for character in run])


class JsonFrames:
    """Encodes a reply's characters as frames of `chatsvc.v1`. `key` is echoed in the first one."""

    __slots__ = ("_key", "_prefix")

    def __init__(self, reply_id: str, key: str = "") -> None:
        self._prefix = f'{{"id":"{reply_id}:'.encode()
        self._key = key

    def encode(self, position: int, run: Sequence[str]) -> bytes:
        """The frames of a run of characters that begins after `position`."""
        if len(run) == 1 and not self._key:
            character = run[0]
            prefix, tail = self._prefix, _tails[character]
            number = DIGITS[position + len(character)]
            size = len(prefix) + len(number) + len(tail)
            if size < 126:
                return b"".join((_HEADERS[size], prefix, number, tail))
        parts = []
        for character in run:
            position += len(character)
            payload = self._prefix + DIGITS[position] + _tails[character]
            parts.append(frame(self._with_key(payload)))
        return b"".join(parts)

    def _with_key(self, payload: bytes) -> bytes:
        if not self._key:
            return payload
        key, self._key = self._key, ""
        return payload[:-1] + b',"key":%b}' % msgspec.json.encode(key)

    def end(self, reply: Reply, end: End) -> bytes:
        """What stands behind the last character."""
        frames = b""
        if end.state != "done":
            event = {
                "event": end.state,
                "id": f"{reply.id}:{END}",
                "data": end.problem or told_stop(end),
            }
            frames = frame(self._with_key(msgspec.json.encode(event)))
        done = b'%b%b","data":"[DONE]"}' % (self._prefix, END.encode())
        return frames + frame(self._with_key(done))


class Connection:
    """One client's WebSocket: its frames in, its replies out."""

    def __init__(self, request: web.Request, ws: web.WebSocketResponse) -> None:
        self.ws = ws
        self._transport = transport_of(request)
        self._streams: dict[asyncio.Task[None], Reply] = {}
        self._heard = True
        self._closing = False
        self._away: Problem | None = None  # what it is to be closed with
        self._reading: asyncio.Timeout | None = None

    # ------------------------------------------------------------------ sending

    def begin(
        self,
        reply: Reply,
        after: int,
        encoder: Encodes,
        finish: Callable[[Reply], Awaitable[None]],
    ) -> None:
        """Stream a reply beside whatever else goes on; then await `finish`. Raises `ClientGone`."""
        self._check_open()
        task = asyncio.create_task(self._stream(reply, after, encoder, finish))
        self._streams[task] = reply
        task.add_done_callback(self._streamed)

    async def _stream(
        self,
        reply: Reply,
        after: int,
        encoder: Encodes,
        finish: Callable[[Reply], Awaitable[None]],
    ) -> None:
        try:
            stream = Stream(reply, after, self._transport, encoder)
            with reply.reading(), closing(stream):
                await stream.run()
        except SentAway:
            self.send_away(Draining())
            return
        await finish(reply)

    def _streamed(self, task: asyncio.Task[None]) -> None:
        del self._streams[task]
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self._transport.abort()  # or the client would wait for ever
            raise error

    def send(self, data: bytes) -> None:
        """Write whole frames. Raises `ClientGone`."""
        self._check_open()
        write(self._transport, data)

    async def answer(self, text: str) -> None:
        """Send a frame that belongs to no stream, and wait while the client is behind. Raises `ConnectionError`.

        The next frame is read only then, so a client that asks and never reads is soon silent, and is dropped.
        """
        self._check_open()
        await self.ws.send_str(text)

    def _check_open(self) -> None:
        """Behind a close frame there may be none with data (RFC 6455 section 5.5.1)."""
        if self._closing:
            raise ClientGone

    def check_room(self) -> None:
        """Raises `Overloaded` when as many replies are being sent as may be."""
        if len(self._streams) >= MOST_QUEUED:
            raise Overloaded(f"{MOST_QUEUED} replies are running on this connection.")

    # ------------------------------------------------------------------ receiving

    async def receive(self) -> str | None:
        """The next text frame; None when the connection is over.

        Raises `UnsupportedMediaType` for a binary one, and the problem that the client is sent away with.
        """
        while True:
            message = await self._message()
            self._heard = True
            if message.type is WSMsgType.TEXT:
                return str(message.data)
            if message.type is WSMsgType.PING:
                await self.ws.pong(message.data)
            elif message.type is WSMsgType.BINARY:
                raise UnsupportedMediaType("Frames must be text.")
            elif message.type is not WSMsgType.PONG:
                return None

    async def _message(self) -> WSMessage:
        if self._away is not None:
            raise self._away
        try:
            async with asyncio.timeout(None) as self._reading:
                return await self.ws.receive()
        except TimeoutError:
            if self._away is None:
                raise
            raise self._away from None
        finally:
            self._reading = None

    def send_away(self, problem: Problem) -> None:
        """Have `receive` raise a problem, so that who reads closes the connection with it.

        [RFC 6455, 7.1.1] The peer's close frame is waited for. Whoever closes beside the reader can't: aiohttp drops
        the connection then, and what the peer was sending may cost it the code.
        """
        if self._away is None:
            self._away = problem
            if self._reading is not None:
                self._reading.reschedule(0)

    async def keep_alive(self) -> None:
        """Ping now and then; drop a peer that is silent past the next ping."""
        while True:
            await asyncio.sleep(PING_EVERY)
            if not self._heard:
                self._transport.abort()
                return
            self._heard = False
            await self.ws.ping()

    async def close(self, problem: Problem) -> None:
        """Close with a problem's code, and its title as the reason (PROTOCOL.md section 6); for who reads."""
        self._closing = True
        drop_tracebacks(
            problem
        )  # this connection's frames are in it, and it in `_away`
        await self.end()
        await self.ws.close(code=problem.close_code, message=problem.title.encode())

    async def end(self) -> None:
        """End all streams: the connection is over."""
        tasks = list(self._streams)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


class Asked(msgspec.Struct):
    """A reply, and the position after which it is to be sent."""

    reply: Reply
    after: int = 0
    key: str = ""


async def serve_bare(
    connection: Connection, start: Callable[[str], Awaitable[Asked]]
) -> None:
    """Bare characters: one reply after the other, each closed by `[DONE]`; a failure closes the connection."""
    turns = _Turns(connection, start)
    while (text := await connection.receive()) is not None:
        await turns.take(text)


class _Turns:
    """The requests of one connection, each of which waits for its turn.

    It is no pair of functions that call each other: they would be a cycle, which keeps the
    connection and its request until the garbage collector runs.
    """

    def __init__(
        self, connection: Connection, start: Callable[[str], Awaitable[Asked]]
    ) -> None:
        self._connection = connection
        self._start = start
        self._waiting: deque[str] = deque()
        self._busy = (
            False  # from the moment a request is taken: beginning its reply takes time
        )

    async def take(self, text: str) -> None:
        """Begin the reply that a frame asks for, or put it behind the others. Raises `Overloaded`."""
        if not self._busy:
            self._busy = True
            await self._begin(text)
            return
        self._waiting.append(text)
        count, size = len(self._waiting), sum(map(len, self._waiting))
        if count > MOST_QUEUED or (count > 1 and size > MOST_WAITING):
            raise Overloaded("Too many requests are waiting on this connection.")

    async def _begin(self, text: str) -> None:
        try:
            asked = await self._start(text)
        except Problem as problem:
            self._connection.send_away(problem)
            return
        self._connection.begin(asked.reply, asked.after, BareFrames(), self._finish)

    async def _finish(self, reply: Reply) -> None:
        if reply.end is not None and reply.end.state == "failed":
            self._connection.send_away(_problem_of(reply.end))
            return
        self._connection.send(frame(b"[DONE]"))
        if self._waiting:
            await self._begin(self._waiting.popleft())
        else:
            self._busy = False


def _problem_of(end: End) -> Problem:
    """The problem that an end tells of, as an exception that knows its close code."""
    told = end.problem or {}
    for kind in every_problem():
        if told.get("type") == f"/problems/{kind.code}":
            return kind()
    return BackendFailed()


async def serve_events(
    connection: Connection,
    start: Callable[[str], Awaitable[Asked | None]],
) -> None:
    """`chatsvc.v1`: several replies at once, events as JSON; a bad frame gets a `failed` event."""
    while (text := await _text(connection)) is not None:
        try:
            asked = await start(text)
        except Problem as problem:
            await connection.answer(refusal(problem, text))
            continue
        if asked is None:
            continue
        frames = JsonFrames(asked.reply.id, asked.key)

        async def finish(reply: Reply, frames: JsonFrames = frames) -> None:
            if reply.end is not None:
                connection.send(frames.end(reply, reply.end))

        connection.begin(asked.reply, asked.after, frames, finish)


async def _text(connection: Connection) -> str | None:
    while True:
        try:
            return await connection.receive()
        except UnsupportedMediaType as problem:
            await connection.answer(refusal(problem, ""))


def refusal(problem: Problem, text: str) -> str:
    """What tells of a frame that led to nothing; with its key, if it had one that can be read."""
    event: dict[str, Any] = {"event": "failed", "id": None, "data": problem.as_dict()}
    with suppress(msgspec.DecodeError, RecursionError):
        asked = msgspec.json.decode(text)
        if isinstance(asked, dict):
            event["id"] = asked.get("read") or asked.get("stop")
            if "key" in asked:
                event["key"] = asked["key"]
    return msgspec.json.encode(event).decode()
