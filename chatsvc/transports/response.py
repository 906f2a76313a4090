"""What all streams over HTTP have in common: the head, what goes with it, the comments meanwhile, and the end."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11

from chatsvc.model import End
from chatsvc.replies import Reply, SentAway
from chatsvc.ticker import Waiter
from chatsvc.transports.writing import (
    ClientGone,
    ReaderScope,
    Stream,
    end_by_reset,
    ready_to_end,
    transport_of,
    write,
)

logger = logging.getLogger("chatsvc.web")

HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
"""Of every stream (PROTOCOL.md section 2)."""

PROBES = (500_000, 1_000_000)
"""Microseconds after the start at which comments show whether a proxy buffers."""

SILENCE = 15_000_000
"""Microseconds of silence after which a comment shows that the stream lives."""

FIRST = 64
"""Characters that go out with the head, if they are out by then; more of them take the way that has a deadline."""


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Encoder(ABC):
    """Makes bytes of a reply; one for each kind of stream. `chunked` tells whether they go in chunks."""

    __slots__ = ("_chunked",)

    marks_end: ClassVar[bool] = True
    """Whether its readers see by what it says that it has ended. If not, a body without chunks is cut by a reset."""

    def __init__(self, *, chunked: bool = True) -> None:
        self._chunked = chunked

    def framed(self, data: bytes) -> bytes:
        """`data` as it goes to the connection."""
        return chunk(data) if self._chunked else data

    def encode(self, position: int, run: Sequence[str]) -> bytes:
        """A run of characters that begins after `position`, as it goes to the connection."""
        return self.framed(self.plain(position, run))

    @abstractmethod
    def plain(self, position: int, run: Sequence[str]) -> bytes:
        """The same, bare."""

    @abstractmethod
    def end(self, end: End) -> bytes | None:
        """What stands behind the last character, bare; None: nothing, and the connection is broken."""

    @abstractmethod
    def sent_away(self) -> bytes | None:
        """What a reader is told who is sent away before the end; as `end`."""


def stamp() -> bytes:
    """A comment with the server's time: it shows life, and a buffering proxy."""
    return b": t=%d\n\n" % (time.time() * 1000)


class Heartbeat(Waiter):
    """Writes comments beside a stream, by the clock: at `probes` (microseconds after now) and in silence."""

    __slots__ = ("_begun", "_encoder", "_probes", "_stream", "_transport", "_wrote")

    def __init__(
        self,
        stream: Stream,
        transport: asyncio.Transport,
        encoder: Encoder,
        probes: tuple[int, ...] = PROBES,
    ) -> None:
        super().__init__(stream.ticker)
        self._stream = stream
        self._transport = transport
        self._encoder = encoder
        self._begun = self._wrote = self.ticker.refresh()  # behind the first stamp
        self._probes = probes  # those that are still to come
        self.until(self._due())
        self.ticker.enter(self)

    def call(self) -> None:
        """Write a comment if one is due."""
        now = self.ticker.now
        if now >= self._due():
            self._probes = self._probes[1:]
            try:
                write(self._transport, self._encoder.framed(stamp()))
            except ClientGone:
                return
            self._wrote = now
        self.until(self._due())

    def close(self) -> None:
        """Write no more. The ticker may keep this until the next one was due: it holds no stream."""
        super().close()
        del self._stream, self._transport, self._encoder

    def _due(self) -> int:
        """When the next one is, unless more is written before."""
        if self._probes:
            return self._begun + self._probes[0]
        return max(self._wrote, self._stream.wrote) + SILENCE


def is_chunked(request: web.Request) -> bool:
    """Whether the answer goes in chunks: not to a client of HTTP/1.0."""
    return request.version == HttpVersion11


class ReplyResponse(web.StreamResponse):
    """A reply as a stream. It streams when aiohttp prepares it, as `FileResponse` sends its file.

    By then the handler and all middlewares have returned, so a stream that runs holds none of their frames; who wants
    to do something afterwards awaits `prepare` in the handler. `held` is held as long as it lasts, `first` goes out at
    once. Comments show that it lives: at `probes` (microseconds after its start) and in silence; None: never. `broken`
    is whether it did not come to its end.
    """

    # The name is aiohttp's own. Without it the head goes out alone: a write more, and all else is the same.
    _send_headers_immediately = False

    def __init__(
        self,
        request: web.Request,
        reply: Reply,
        after: int,
        held: ReaderScope,
        encoder: Encoder,
        *,
        first: bytes = b"",
        probes: tuple[int, ...] | None = (),
        content_type: str = "text/event-stream",
        headers: Mapping[str, str] = HEADERS,
    ) -> None:
        super().__init__(headers={**headers, "X-Reply-Id": reply.id})
        self.content_type = content_type
        self.charset = "utf-8"
        if is_chunked(request):
            self.enable_chunked_encoding()
        else:
            self.force_close()  # nothing else tells where the body ends
        self.broken = True
        self._reply = reply
        self._after = after
        self._held = held
        self._encoder = encoder
        self._first = first
        self._probes = probes

    def enable_compression(
        self, force: object = None, strategy: int | None = None
    ) -> None:
        """Nothing: whatever a middleware would like, what is written round aiohttp goes as it is."""

    def prepare(
        self, request: web.BaseRequest
    ) -> Coroutine[Any, Any, AbstractStreamWriter | None]:
        """Stream to the end. Raises `ClientGone`, also when it had to be broken off."""
        return super().prepare(request) if self.prepared else self._stream(request)

    async def _stream(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        reply, held, encoder = self._reply, self._held, self._encoder
        # A connection that is kept open holds its last answer, for an hour if nobody asks for more.
        del self._reply, self._held, self._encoder
        with held, reply.reading():
            writer = await super().prepare(request)
            transport = transport_of(request)
            by_reset = not (self.chunked or encoder.marks_end)
            if by_reset:  # it must not look complete until it is
                end_by_reset(transport, True)
            stream, heartbeat = Stream(reply, self._after, transport, encoder), None
            try:
                await self._begin(stream, reply, encoder)
                if self._probes is not None:
                    heartbeat = Heartbeat(stream, transport, encoder, self._probes)
                await stream.run()
                last = None if reply.end is None else encoder.end(reply.end)
            except SentAway:
                last = encoder.sent_away()
            except ConnectionError:
                raise
            except Exception as error:
                logger.error("a stream failed", exc_info=error)
                last = None  # it has begun: nobody can be told in another way
            finally:
                stream.close()
                if heartbeat is not None:
                    heartbeat.close()
            if last is None:
                transport.abort()
                raise ClientGone
            await ready_to_end(transport, reply.ticker)
        if by_reset:
            end_by_reset(transport, False)
        await self.write_eof(last)
        self.broken = False
        return writer

    async def _begin(self, stream: Stream, reply: Reply, encoder: Encoder) -> None:
        """Send the head, with what goes first and what is out."""
        try:
            reply.ticker.refresh()  # `take` sees what is released by now
            if 0 < reply.released_now() - stream.position <= FIRST:
                taken = stream.take()
                if taken is not None:
                    self._first += encoder.plain(*taken)
        finally:
            await self.write(self._first)
        self._first = b""  # a stream lives long, and this is gone out
        self.headers.clear()
