"""The response of every stream over HTTP.

It sends the head with the first events, then the other events with comments between them, and the
end.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11

from chatsvc.replies import Reply, SentAway
from chatsvc.transports.block_stream import Rendering, open_stream
from chatsvc.transports.codec import Codec, StreamCodec
from chatsvc.transports.framing import BARE, CHUNKED
from chatsvc.transports.heartbeat import Heartbeat
from chatsvc.transports.streams import AnyStream, PartsStream
from chatsvc.transports.writing import (
    ClientGone,
    Stream,
    drained,
    drained_to_end,
    set_reset_on_close,
    transport_of,
    write,
)

logger = logging.getLogger("chatsvc.web")

REPLY_HEADERS = {
    "Cache-Control": "private, no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
"""The headers of every answer about a reply (PROTOCOL.md section 2)."""

STREAM_HEADERS = {
    **REPLY_HEADERS,
    # `no-transform` forbids a proxy to compress what it passes on, and so to hold it back.
    "Cache-Control": "private, no-store, no-cache, no-transform",
}
"""The headers of every stream (PROTOCOL.md section 2)."""

FIRST_CHARACTERS = 64
"""The most characters that go with the head, if they are released by then.

More of them go through `Stream` alone, which has a deadline for a slow client; aiohttp's write of
the head has none.
"""

FIRST_BYTES = 4096
"""The most bytes of marks and texts of parts that go with the head, for the same reason."""


class ReplyResponse(web.StreamResponse):
    """A reply as a stream: the events of `codec` behind `after`.

    That is a position (code points), or an offset if the codec is one of parts. `shown_id` is what
    the headers call the reply: its id, or the token of a share link.

    It streams while aiohttp prepares it, as `FileResponse` sends its file. By then the handler and
    all middlewares have returned, so a stream that runs keeps none of their frames in memory; a
    handler with something to do afterwards awaits `prepare` itself. `scope` is entered for as long
    as the stream runs. `broken` is true until the stream has come to its end. `delivered` is awaited
    when the reply's end has been written, and before the body's end is, unless the connection broke.
    `rendering` is None unless the answer's blocks are to be rendered.
    """

    # A private name of aiohttp's: without it the head goes out in a write of its own, and all else
    # is the same. `test_a_head_that_goes_alone_makes_no_difference` checks that, and
    # `test_what_is_out_goes_with_the_head_in_one_write` fails when the name has another meaning.
    _send_headers_immediately = False

    def __init__(
        self,
        request: web.Request,
        reply: Reply,
        shown_id: str,
        after: int,
        scope: AbstractContextManager[None],
        codec: StreamCodec,
        delivered: Callable[[], Awaitable[None]] | None = None,
        rendering: Rendering | None = None,
    ) -> None:
        headers = {
            **STREAM_HEADERS,
            **codec.headers,
            "X-Reply-Id": shown_id,
            # Set here, since aiohttp's attributes for it make the header anew for each of the two.
            hdrs.CONTENT_TYPE: codec.media_type
            if codec.charset is None
            else f"{codec.media_type}; charset={codec.charset}",
        }
        super().__init__(headers=headers)
        if request.version == HttpVersion11:
            self.enable_chunked_encoding()
        else:
            self.force_close()  # nothing else shows where the body ends
        self.broken = True
        self._reply = reply
        self._after = after
        self._scope = scope
        self._codec = codec
        self._delivered = delivered
        self._rendering = rendering

    def enable_compression(
        self, force: object = None, strategy: int | None = None
    ) -> None:
        """Do nothing, even if a middleware asks: aiohttp can't compress what is written past it."""

    def prepare(
        self, request: web.BaseRequest
    ) -> Coroutine[Any, Any, AbstractStreamWriter | None]:
        """Stream to the end. Raises `ClientGone`, also when the stream had to be broken off."""
        return super().prepare(request) if self.prepared else self._stream(request)

    async def _stream(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        reply, scope, codec = self._reply, self._scope, self._codec
        delivered, rendering = self._delivered, self._rendering
        # aiohttp keeps the last response of a connection that stays open, for an hour if no other
        # request comes.
        del self._reply, self._scope, self._codec, self._delivered, self._rendering
        with scope, reply.reading():
            writer = await super().prepare(request)
            transport = transport_of(request)
            ends_by_reset = not (self.chunked or codec.marks_end)
            if ends_by_reset:  # the body must not look complete until it is
                set_reset_on_close(transport, True)
            framing = CHUNKED if self.chunked else BARE
            past = codec.past()
            if past:  # before the stream is made, for that writes when it is woken
                await self.write(b"".join(codec.first()))
                for event in past:
                    await drained(transport, reply.ticker)
                    write(transport, framing.wrap([event]))
            stream = open_stream(
                reply, self._after, transport, codec, framing, rendering
            )
            heartbeat = None
            rest: list[bytes] = []
            try:
                if not past:
                    await self._begin(stream, reply, codec)
                # A stream lives long, and its headers are out.
                self.headers.clear()
                if codec.probe_times_us is not None:
                    heartbeat = Heartbeat(
                        stream, transport, framing, codec.probe_times_us
                    )
                await stream.run()
                if (
                    isinstance(stream, Stream)
                    and isinstance(codec, Codec)
                    and stream.rest is not None
                ):
                    rest = codec.events(*stream.rest)
                last = None if reply.end is None else codec.end(reply.end)
            except SentAway:
                last = codec.sent_away()
            except ConnectionError:
                raise
            except Exception as error:
                logger.error("a stream failed", exc_info=error)
                last = None  # the head is out, so no status can say it
            finally:
                stream.close()
                if heartbeat is not None:
                    heartbeat.close()
            if last is None:
                write(transport, framing.wrap(rest))
                transport.abort()
                raise ClientGone
            await drained_to_end(transport, reply.ticker)
            if delivered is not None:
                await self.write(b"".join([*rest, *last]))
                rest = last = []
                await drained(transport, reply.ticker, 0)
                if transport.is_closing():
                    raise ClientGone
                await delivered()
        if ends_by_reset:
            set_reset_on_close(transport, False)
        await self.write_eof(b"".join([*rest, *last]))
        self.broken = False
        return writer

    async def _begin(self, stream: AnyStream, reply: Reply, codec: StreamCodec) -> None:
        """Send the head, with the codec's first events and what is out, if that is little."""
        first: list[bytes] = codec.first()
        others: list[bytes] = []
        try:
            reply.ticker.refresh()  # `take` sees what is released by now
            if isinstance(stream, PartsStream):
                others = stream.codec.events(stream.take() or [])
                if sum(map(len, others)) <= FIRST_BYTES:
                    first, others = first + others, []
            elif (
                stream.at_text
                and 0
                < reply.log.released(reply.ticker.horizon) - stream.position
                <= FIRST_CHARACTERS
            ):
                taken = stream.take()
                if taken is not None and isinstance(codec, Codec):
                    first += codec.events(*taken)
        finally:
            await self.write(b"".join(first))
        if isinstance(stream, PartsStream):
            stream.write(others)
