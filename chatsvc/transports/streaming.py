"""What all streams over HTTP have in common: the head, what goes with it, the comments meanwhile, and the end."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing

from aiohttp import web
from aiohttp.http import HttpVersion11

from ..replies import Moved, Reply
from ..stores.log import End
from ..ticker import Ticker, Waiter
from .outlet import ClientGone, Counted, Stream, ready_to_end, transport_of, write

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
    def moved(self) -> bytes | None:
        """What a reader is told who is sent away before the end; as `end`."""


def stamp() -> bytes:
    """A comment with the server's time: it shows life, and a buffering proxy."""
    return b": t=%d\n\n" % (time.time() * 1000)


class Heartbeat(Waiter):
    """Writes comments beside a stream, by the clock: at `probes` (microseconds after now) and in silence."""

    __slots__ = ("_encoder", "_probes", "_stream", "_transport", "_wrote")

    def __init__(
        self,
        stream: Stream,
        transport: asyncio.Transport,
        encoder: Encoder,
        probes: Sequence[int] = PROBES,
    ) -> None:
        super().__init__(stream.ticker)
        self._stream = stream
        self._transport = transport
        self._encoder = encoder
        now = self._wrote = self.ticker.refresh()  # behind the first stamp
        self._probes = [now + probe for probe in reversed(probes)]
        self._next()
        self.ticker.enter(self)

    def call(self) -> None:
        """Write a comment if one is due."""
        now = self.ticker.now
        probing = bool(self._probes) and now >= self._probes[-1]
        if probing:
            self._probes.pop()
        if probing or now - self._last() >= SILENCE:
            try:
                write(self._transport, self._encoder.framed(stamp()))
            except ClientGone:
                return
            self._wrote = now
        self._next()

    def _last(self) -> int:
        """When anything was last written."""
        return max(self._wrote, self._stream.wrote)

    def _next(self) -> None:
        self.until(self._probes[-1] if self._probes else self._last() + SILENCE)


def is_chunked(request: web.Request) -> bool:
    """Whether the answer goes in chunks: not to a client of HTTP/1.0."""
    return request.version == HttpVersion11


class Answer(web.StreamResponse):
    """A response whose head goes out with the first chunk, in one write."""

    # The name is aiohttp's own. Without it the head goes out alone: a write more, and all else is the same.
    _send_headers_immediately = False


async def send(
    request: web.Request,
    reply: Reply,
    after: int,
    ticker: Ticker,
    counted: Counted,
    encoder: Encoder,
    *,
    first: bytes = b"",
    probes: Sequence[int] | None = (),
    content_type: str = "text/event-stream",
    headers: Mapping[str, str] = HEADERS,
) -> web.StreamResponse:
    """Answer with a reply as a stream. `first` goes out at once; `counted` is held as long as it lasts.

    Comments show that the stream lives: at `probes` (microseconds after its start) and in silence; None: never.
    """
    response = Answer(headers={**headers, "X-Reply-Id": reply.id})
    response.content_type = content_type
    response.charset = "utf-8"
    if is_chunked(request):
        response.enable_chunked_encoding()
    else:
        response.force_close()  # nothing else tells where the body ends
    with counted, reply.reading():
        await response.prepare(request)
        transport = transport_of(request)
        heartbeat = None
        with closing(Stream(reply, after, transport, encoder)) as stream:
            try:
                try:
                    if 0 < reply.out() - after <= FIRST:
                        first += encoder.plain(*(stream.take() or (after, "")))
                finally:
                    await response.write(first)
                response.headers.clear()  # gone out, and a kilobyte in each stream
                if probes is not None:
                    heartbeat = Heartbeat(stream, transport, encoder, probes)
                await stream.run()
                last = None if reply.end is None else encoder.end(reply.end)
            except Moved:
                last = encoder.moved()
            finally:
                if heartbeat is not None:
                    heartbeat.close()
        if last is None:
            transport.abort()
            return response
        await ready_to_end(transport, ticker)
    await response.write_eof(last)
    return response
