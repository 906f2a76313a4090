"""One client's WebSocket (PROTOCOL.md section 4; RFC 6455).

Frames come in, the streams of replies go out; `serving` decides what becomes of a frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing

from aiohttp import WSMessage, WSMsgType, web

from chatsvc.problems import (
    Draining,
    Overloaded,
    Problem,
    UnsupportedMediaType,
    without_tracebacks,
)
from chatsvc.replies import Reply, SentAway
from chatsvc.transports.encoder import Encoder
from chatsvc.transports.writing import ClientGone, Stream, transport_of, write

PING_INTERVAL_S = 20.0
"""Seconds between two pings; a client that has sent nothing since the last ping is dropped."""

MAX_STREAMS = 64
"""Replies that may be sent at once over one connection."""


class Connection:
    """A WebSocket after its upgrade.

    One task, that of the request, reads the client's frames by `receive`. Each reply has another
    task, which waits for the reply's end while the ticker has its characters written. `end` ends
    the tasks of the replies.
    """

    def __init__(self, request: web.Request, ws: web.WebSocketResponse) -> None:
        self.ws = ws
        self._transport = transport_of(request)
        self._streams: set[asyncio.Task[None]] = set()
        self._heard = True  # since the last ping
        self._closing = False
        self._away: Problem | None = None  # what the client is sent away with
        self._receive_timeout: asyncio.Timeout | None = None

    # ------------------------------------------------------------------ sending

    def begin(
        self,
        reply: Reply,
        after: int,
        encoder: Encoder,
        finish: Callable[[Reply], Awaitable[None]],
    ) -> None:
        """Begin to stream a reply from behind position `after` (code points), in a task of its own.

        When the reply has ended, that task awaits `finish(reply)`; it does not when this node sends
        its readers away. Raises `ClientGone`.
        """
        self._check_open()
        task = asyncio.create_task(self._stream(reply, after, encoder, finish))
        self._streams.add(task)
        task.add_done_callback(self._streamed)

    async def _stream(
        self,
        reply: Reply,
        after: int,
        encoder: Encoder,
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
        self._streams.remove(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ConnectionError):
            # The client would wait for ever otherwise. asyncio logs what a callback raises.
            self._transport.abort()
            raise error

    def send(self, data: bytes) -> None:
        """Write whole frames. Raises `ClientGone`."""
        self._check_open()
        write(self._transport, data)

    async def answer_frame(self, text: str) -> None:
        """Send a text frame that belongs to no stream, and wait while too much of it is unsent.

        Because the caller reads no other frame meanwhile, a client that sends frames and never
        reads the answers counts as silent in the end, and is dropped. Raises `ConnectionError`.
        """
        self._check_open()
        await self.ws.send_str(text)

    def _check_open(self) -> None:
        """Raise `ClientGone` after a close frame: no data may follow (RFC 6455 section 5.5.1)."""
        if self._closing:
            raise ClientGone

    def check_room(self) -> None:
        """Raise `Overloaded` when `MAX_STREAMS` replies are being sent."""
        if len(self._streams) >= MAX_STREAMS:
            raise Overloaded(f"{MAX_STREAMS} replies are running on this connection.")

    # ------------------------------------------------------------------ receiving

    async def receive(self) -> str | None:
        """Return the next text frame, or None when the connection is over.

        Raises `UnsupportedMediaType` for a binary frame, and the problem that `send_away` was given
        once it has been called.
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
            async with asyncio.timeout(None) as self._receive_timeout:
                return await self.ws.receive()
        except TimeoutError:
            if self._away is None:
                raise
            raise self._away from None
        finally:
            self._receive_timeout = None

    def send_away(self, problem: Problem) -> None:
        """Have `receive` raise a problem, so that the task that reads calls `close` with it.

        No other task can close the connection well. One has to wait for the client's close frame
        (RFC 6455 section 7.1.1), but while another task reads, aiohttp drops the connection at
        once, and a client that is just sending may then never see the close code.
        """
        if self._away is None:
            self._away = problem
            if self._receive_timeout is not None:
                self._receive_timeout.reschedule(0)

    async def keep_alive(self) -> None:
        """Ping every `PING_INTERVAL_S`, until cancelled; drop a client that stays silent."""
        while True:
            await asyncio.sleep(PING_INTERVAL_S)
            if not self._heard:
                self._transport.abort()
                return
            self._heard = False
            await self.ws.ping()

    async def close(self, problem: Problem) -> None:
        """Close with a problem's code, and its title as the reason (PROTOCOL.md section 6).

        Only the task that reads may call it: it waits for the peer's close frame.
        """
        self._closing = True
        # The problem is known to this connection, and its traceback holds frames that know it.
        without_tracebacks(problem)
        await self.end()
        await self.ws.close(code=problem.close_code, message=problem.title.encode())

    async def end(self) -> None:
        """End all streams, and return when their tasks have ended."""
        tasks = list(self._streams)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
