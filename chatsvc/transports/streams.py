"""The choice of a stream by its codec, and the streams of all parts of a reply."""

from __future__ import annotations

import asyncio

from chatsvc.replies import PartsReader, Reply
from chatsvc.replies.parts_reader import next_units
from chatsvc.ticker import NOW
from chatsvc.transports.codec import Codec, MixedCodec, PartsCodec, StreamCodec
from chatsvc.transports.encoder import make_encoder
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

    It begins behind the offset `after`. `codec` makes its events. `wrote` is when it last wrote
    (microseconds).
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
                if (text := self.take_text()) is not None:
                    # So it is with nearly every token.
                    size = self.write([self.codec.text_event(self.offset, text)])
                elif (items := self.take_others()) is not None:
                    size = self.write(self.codec.events(items))
                else:
                    break
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


class MixedStream(Stream):
    """A stream of a reply's text from its beginning, and of what stands beside that.

    `codec` makes the events of all but text. A reply of text alone costs what it costs as a `Stream`,
    and so does the text behind all side units that there are so far.
    """

    __slots__ = ("_expected", "_framing", "_seen", "_side", "codec")

    def __init__(
        self,
        reply: Reply,
        transport: asyncio.Transport,
        codec: MixedCodec,
        framing: Framing,
    ) -> None:
        super().__init__(reply, 0, transport, make_encoder(codec, framing))
        self.codec = codec
        self._framing = framing
        self._side = reply.log.sides()
        self._side.waiters.add(self)
        self._seen = 0  # the side units that were written
        # How many side units there are while text alone can follow: -1 if `codec` holds something.
        # Nearly every call needs only this comparison more than a `Stream`.
        self._expected = 0

    @property
    def at_text(self) -> bool:
        """See `Stream.at_text`."""
        return self._side.count == self._expected

    def call(self) -> None:
        """Write what is out. See `Stream.call`."""
        if self._side.count == self._expected:
            Stream.call(self)
            return
        try:
            if self._write_units():
                Stream.call(self)
        except Exception as error:  # noqa: BLE001
            self._resume_run(error)

    def _write_units(self) -> bool:
        """Write units as long as some are out; return whether text alone is left, or nothing."""
        transport, codec = self._transport, self.codec
        size = 0
        while not self.at_text:
            if transport.get_write_buffer_size() > FULL_BYTES:
                self._resume_run(None)
                return False
            if size >= TURN_BYTES:
                # There is much to catch up with: other streams get their turn in between.
                self.slot = self.ticker.slot
                return False
            items = next_units(self, self.position + self._seen)
            if not items:
                return True
            prefix = codec.prefix
            events = codec.part_events(items)
            if codec.prefix is not prefix:
                self._encoder = make_encoder(codec, self._framing)
            offset = items[-1].offset
            self.position = self._log.position_at(offset)
            self._seen = offset - self.position
            self._expected = -1 if codec.holds else self._seen
            self.stale = True  # it may stand in another segment
            if events:
                data = self._framing.wrap(events)
                write(transport, data)
                self.wrote = self.ticker.now
                size += len(data)
            if self.slot != NOW:  # there is no more now
                return False
        return True

    def close(self) -> None:
        """Write nothing any more, and leave the log's waiters."""
        super().close()
        self._side.waiters.discard(self)


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

    It begins behind `after`: a position (code points), or an offset if the codec is one of parts; 0
    for a mixed one.
    """
    if isinstance(codec, PartsCodec):
        return PartsStream(reply, after, transport, codec, framing)
    if isinstance(codec, MixedCodec):
        assert not after
        return MixedStream(reply, transport, codec, framing)
    assert isinstance(codec, Codec)
    return Stream(reply, after, transport, make_encoder(codec, framing))
