"""One client's WebSocket (PROTOCOL.md section 4; RFC 6455).

Frames come in, the streams of replies go out; `serving` decides what becomes of a frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing

import msgspec
from aiohttp import WSMessage, WSMsgType, web

from chatsvc.problem import Problem
from chatsvc.problems import Draining, Overloaded, UnsupportedMediaType
from chatsvc.replies import Reply, SentAway
from chatsvc.tracebacks import without_tracebacks
from chatsvc.transports.block_stream import Rendering, open_stream
from chatsvc.transports.codec import StreamCodec
from chatsvc.transports.framing import WEBSOCKET
from chatsvc.transports.masks import MaskCheck
from chatsvc.transports.writing import ClientGone, transport_of, write

PING_INTERVAL_S = 20.0
"""Seconds between two pings; a client that has sent nothing since the last ping is dropped."""

MAX_STREAMS = 64
"""Replies that may be sent at once over one connection."""

IDLE_S = 300.0
"""Seconds without a reply or a frame after which a connection is closed; pongs don't count.

It is looked at with every ping.
"""

NORMAL = 1000
"""The close code of a connection that has done what it was for (RFC 6455 section 7.4.1)."""

PROTOCOL_ERROR = 1002
"""The close code for a peer that breaks RFC 6455."""


class Delivery(msgspec.Struct):
    """A reply that is to be sent by a codec.

    It is sent from behind `after`: a position (code points), or an offset if the codec is one of
    parts. `rendering` is None unless the answer's blocks are to be rendered. `leave` is called when it has been sent, or is not sent any more; perhaps twice.
    """

    reply: Reply
    after: int
    codec: StreamCodec
    leave: Callable[[], None]
    rendering: Rendering | None = None


class _Farewell(Exception):
    """The end of a connection by this side, with a close code that is no problem's."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def may_be_sent(code: int) -> bool:
    """Return whether a close frame may have a code (RFC 6455 section 7.4); 0 stands for none.

    Of the others aiohttp itself refuses those below 3000, but lets 1006 pass, which stands for a
    connection that broke and is in no frame.
    """
    return code != 1006 and code < 5000


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
        self._loop = asyncio.get_running_loop()
        self._used = self._loop.time()  # when the last frame came or reply ended
        self._closing = False
        # What the client is sent away with.
        self._away: Problem | _Farewell | None = None
        self._receive_timeout: asyncio.Timeout | None = None
        self._frames = MaskCheck(request.protocol, self._refuse_unmasked)
        self._transport.set_protocol(self._frames)

    @property
    def unfinished_bytes(self) -> int:
        """The bytes that were received behind the last whole message."""
        return self._frames.received

    @property
    def streams(self) -> frozenset[asyncio.Task[None]]:
        """The tasks of the replies that are being sent; each is done when its last frame is written."""
        return frozenset(self._streams)

    # ------------------------------------------------------------------ sending

    def begin(
        self,
        delivery: Delivery,
        finish: Callable[[Reply], Awaitable[None]],
    ) -> None:
        """Begin to stream a reply, in a task of its own.

        When the reply has ended, that task leaves the delivery and awaits `finish(reply)`; it does
        not await that when this node sends its readers away. Raises `ClientGone`.
        """
        try:
            self._check_open()
        except ClientGone:
            delivery.leave()
            raise
        task = asyncio.create_task(self._stream(delivery, finish))
        self._streams.add(task)
        # Also a task that is cancelled before it has begun calls this.
        task.add_done_callback(lambda _: delivery.leave())
        task.add_done_callback(self._streamed)

    async def _stream(
        self,
        delivery: Delivery,
        finish: Callable[[Reply], Awaitable[None]],
    ) -> None:
        reply = delivery.reply
        try:
            stream = open_stream(
                reply,
                delivery.after,
                self._transport,
                delivery.codec,
                WEBSOCKET,
                delivery.rendering,
            )
            with reply.reading(), closing(stream):
                await stream.run()
                stream.write_rest()
        except SentAway:
            self.send_away(Draining())
            return
        finally:
            # The next reply of the connection may begin in `finish`.
            delivery.leave()
        await finish(reply)

    def _streamed(self, task: asyncio.Task[None]) -> None:
        self._streams.remove(task)
        self._used = self._loop.time()
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
            try:
                message = await self._message()
            except _Farewell as farewell:
                await self._close(farewell.code, farewell.reason)
                return None
            self._heard = True
            self._frames.received = 0
            if message.type is WSMsgType.PONG:
                continue
            self._used = self._loop.time()
            if message.type is WSMsgType.TEXT:
                return str(message.data)
            if message.type is WSMsgType.PING:
                await self.ws.pong(message.data)
            elif message.type is WSMsgType.BINARY:
                raise UnsupportedMediaType("Frames must be text.")
            else:
                if message.type is WSMsgType.CLOSE:
                    good = may_be_sent(message.data)
                    code = NORMAL if good else PROTOCOL_ERROR
                    await self._close(code, "", drain=False)
                return None

    async def _message(self) -> WSMessage:
        if self._away is not None:
            raise self._take_away()
        try:
            async with asyncio.timeout(None) as self._receive_timeout:
                return await self.ws.receive()
        except TimeoutError:
            if self._away is None:
                raise
            raise self._take_away() from None
        finally:
            self._receive_timeout = None

    def _take_away(self) -> Problem | _Farewell:
        """Return what is to be raised, and let go of it: its traceback will hold this object."""
        away, self._away = self._away, None
        assert away is not None
        return away

    def send_away(self, problem: Problem | _Farewell) -> None:
        """Have `receive` raise a problem, so that the task that reads closes the connection with it.

        No other task can close the connection well. One has to wait for the client's close frame
        (RFC 6455 section 7.1.1), but while another task reads, aiohttp drops the connection at
        once, and a client that is just sending may then never see the close code.
        """
        if self._away is None:
            self._away = problem
            if self._receive_timeout is not None:
                self._receive_timeout.reschedule(0)

    def dismiss(self, problem: Problem) -> None:
        """Send the client away as `send_away` does, and nothing more of any reply before.

        `receive` may be called only later: the frame before may have to wait for the store.
        """
        for task in self._streams:
            task.cancel()
        self.send_away(problem)

    async def keep_alive(self) -> None:
        """Ping every `PING_INTERVAL_S`, until cancelled.

        A client that stays silent is dropped. A connection that is not used for `IDLE_S` is closed.
        """
        while True:
            await asyncio.sleep(PING_INTERVAL_S)
            if not self._heard:
                self._transport.abort()
                return
            if self._is_idle():
                self.send_away(_Farewell(NORMAL, "Nothing was asked for long."))
            self._heard = False
            if not self._closing:
                await self.ws.ping()

    def _is_idle(self) -> bool:
        """Return whether nothing runs, and no frame came and no reply ended for `IDLE_S`."""
        waits = self._receive_timeout is not None and not self._streams
        return waits and self._loop.time() - self._used >= IDLE_S

    def _refuse_unmasked(self) -> None:
        self.send_away(_Farewell(PROTOCOL_ERROR, "Frames must be masked."))

    async def close(self, problem: Problem) -> None:
        """Close with a problem's code, and its title as the reason (PROTOCOL.md section 6).

        Only the task that reads may call it: it waits for the peer's close frame.
        """
        # The problem is known to this connection, and its traceback holds frames that know it.
        without_tracebacks(problem)
        await self._close(problem.close_code, problem.title)

    async def _close(self, code: int, reason: str, *, drain: bool = True) -> None:
        """Close with a code; with `drain`, wait until what was written before is sent."""
        self._closing = True
        await self.end()
        await self.ws.close(code=code, message=reason.encode(), drain=drain)

    async def end(self) -> None:
        """End all streams, and return when their tasks have ended."""
        tasks = list(self._streams)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
