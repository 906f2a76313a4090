"""The choice of a stream by its codec, and the streams that show all parts of a reply."""

from __future__ import annotations

import asyncio

from chatsvc.replies import PartsReader, Reply
from chatsvc.ticker import NOW
from chatsvc.transports.codec import Codec, PartsCodec, StreamCodec
from chatsvc.transports.encoder import Encoder, make_encoder
from chatsvc.transports.framing import Framing
from chatsvc.transports.writing import (
    FULL_BYTES,
    Stream,
    WritingReader,
    write,
)

TURN_BYTES = 32 * 1024
"""Bytes after which a stream that has more lets the others have their turn."""


class PartsStream(WritingReader, PartsReader):
    """A reader that writes all parts of a reply to a connection when they are due.

    It begins behind the offset `after`. `codec` makes its events. `wrote` is when it last wrote (microseconds).
    """

    __slots__ = ("_framing", "_transport", "codec", "wrote")

    def __init__(
        self,
        reply: Reply,
        after: int,
        transport: asyncio.Transport,
        codec: PartsCodec,
        framing: Framing,
    ) -> None:
        super().__init__(reply.log, reply.ticker, reply.departure, after)
        self._transport = transport
        self.codec = codec
        self._framing = framing
        self.wrote = self.ticker.now

    def call(self) -> None:
        """Write what is out. See `Waiter.call`.

        `run` is resumed at the end, on an error, and when the connection is full.
        """
        transport = self._transport
        try:
            # Before anything is written, for other streams may have filled the connection.
            while transport.get_write_buffer_size() <= FULL_BYTES:
                items = self.take()
                if items is None:
                    break
                size = self.write(self.codec.events(items))
                if self.slot != NOW:  # there is no more now
                    return
                if size >= TURN_BYTES:
                    # There is much to catch up with: other streams get their turn in between.
                    self.slot = self.ticker.slot
                    return
            else:  # the connection is full
                self._resume_run(None)
            if self.over:
                self._resume_run(None)
        except Exception as error:  # noqa: BLE001
            self._resume_run(error)

    def write(self, events: list[bytes]) -> int:
        """Write some events at once; return how many bytes they are. Raises `ClientGone`."""
        data = self._framing.wrap(events)
        write(self._transport, data)
        self.wrote = self.ticker.now
        return len(data)


class TextFirstStream(Stream):
    """A `Stream` of a reply that may get more than text; it ends, and is `turned`, when it does.

    Most replies never do, and their text costs what it costs in any stream. `turn` returns the
    stream that goes on with all parts, made by `codec`.
    """

    __slots__ = ("_codec", "_framing", "turned")

    def __init__(
        self,
        reply: Reply,
        after: int,
        transport: asyncio.Transport,
        encoder: Encoder,
        codec: PartsCodec,
        framing: Framing,
    ) -> None:
        super().__init__(reply, after, transport, encoder)
        self.turned = False
        self._codec = codec
        self._framing = framing

    def call(self) -> None:
        """See `Stream.call`."""
        # The log wakes this stream when it gets its side units, which all stand behind what has been
        # taken. Nothing can come between this look and what `call` takes.
        if self._log.side is None:
            super().call()
        else:
            self.turned = self.over = True
            self._resume_run(None)

    def turn(self, reply: Reply) -> PartsStream:
        """Return the stream of all that comes behind what this one has written."""
        return PartsStream(
            reply, self.position, self._transport, self._codec, self._framing
        )


AnyStream = Stream | PartsStream
"""A stream of a reply: of its answer's text, or of all its parts."""


def make_stream(
    reply: Reply,
    after: int,
    transport: asyncio.Transport,
    codec: StreamCodec,
    framing: Framing,
) -> AnyStream:
    """Return the stream that writes a reply to a connection, as `codec` and `framing` have it.

    It begins behind `after`: a position (code points), or an offset if the codec is one of parts.
    """
    if isinstance(codec, PartsCodec):
        return PartsStream(reply, after, transport, codec, framing)
    assert isinstance(codec, Codec)
    parts_codec = codec.parts_codec()
    if parts_codec is None:
        return Stream(reply, after, transport, make_encoder(codec, framing))
    log = reply.log
    if log.side is not None:
        offset = log.offset_at(after)
        return PartsStream(reply, offset, transport, parts_codec, framing)
    encoder = make_encoder(codec, framing)
    return TextFirstStream(reply, after, transport, encoder, parts_codec, framing)
