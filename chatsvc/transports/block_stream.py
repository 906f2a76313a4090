"""The stream of all parts of a reply with the rendered blocks of its answer (PROTOCOL.md section 4)."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from chatsvc.rendering.block_messages import Block
from chatsvc.replies import PartItem, Reply
from chatsvc.ticker import IDLE, MUTED
from chatsvc.transports.block_json import block_json
from chatsvc.transports.codec import PartsCodec, StreamCodec
from chatsvc.transports.framing import Framing
from chatsvc.transports.rendered_reply import RenderedReplies
from chatsvc.transports.streams import AnyStream, PartsStream, make_stream
from chatsvc.transports.writing import FULL_BYTES


class Rendering(NamedTuple):
    """What a stream needs to have the blocks of a reply rendered.

    `client` is in whose turn it is rendered. `after` is where the block begins that the client has
    already and that may go on (code points), or 0. `shown_id` is what the ids in the HTML call the reply.
    """

    replies: RenderedReplies
    client: str
    after: int
    shown_id: str


class BlockStream(PartsStream):
    """A stream of all parts of a reply, and of the rendered blocks of its answer between them.

    A block is written when its text has been. The stream is over when all blocks of the reply's whole
    text have been written, too.
    """

    __slots__ = ("_changed", "_joined", "_last", "_rendered", "_rendering", "_reply")

    def __init__(
        self,
        reply: Reply,
        after: int,
        transport: asyncio.Transport,
        codec: PartsCodec,
        framing: Framing,
        rendering: Rendering,
    ) -> None:
        super().__init__(reply, after, transport, codec, framing)
        self._reply = reply
        self._rendering = rendering
        self._rendered = rendering.replies.join(reply, rendering.client, self)
        self._joined = False  # whether the client has its first block
        self._changed = 0  # the index of the first block that the client does not have
        self._last: Block | None = None  # what it was sent last

    def changed(self, first: int) -> None:
        """See `chatsvc.transports.rendered_reply.BlockReader`."""
        self._changed = min(self._changed, first)
        self.ticker.wake(self)

    def call(self) -> None:
        """Write what is out, and the blocks of it that are rendered. See `Waiter.call`."""
        try:
            if not self._write_blocks():
                return
        except Exception as error:  # noqa: BLE001
            self._resume_run(error)
            return
        super().call()
        if self.slot == MUTED:
            return
        try:
            self._write_blocks()
        except Exception as error:  # noqa: BLE001
            self._resume_run(error)

    def take_others(self) -> list[PartItem] | None:
        """See `PartsReader.take_others`."""
        items = super().take_others()
        self._rendered.advance(self._log.position_at(self.offset))
        if self.over and not self._has_all():
            self.over = False
            self.slot = IDLE  # the blocks wake it
        return items

    def close(self) -> None:
        """Write nothing any more, and leave the blocks."""
        super().close()
        self._rendering.replies.leave(self._reply, self)

    def _has_all(self) -> bool:
        rendered = self._rendered.text
        return rendered.settled and self._changed >= len(rendered.blocks)

    def _write_blocks(self) -> bool:
        """Write the blocks whose text was written; return whether the connection has room for more."""
        position = self._log.position_at(self.offset)
        self._rendered.advance(position)
        blocks = self._rendered.text.blocks
        if not self._joined and blocks:
            self._joined = True
            self._changed = self._first(blocks)
        while self._changed < len(blocks):
            block = blocks[self._changed]
            if block.end > position:
                break
            if self._transport.get_write_buffer_size() > FULL_BYTES:
                self._resume_run(None)
                return False
            data = block_json(block, self._last, self._rendering.shown_id)
            self.write([self.codec.block_event(data)])
            self._last = block
            self._changed += 1
        return True

    def _first(self, blocks: list[Block]) -> int:
        """Return the index of the first block that the client has to get."""
        after = self._rendering.after
        if not after or self._rendered.text.defines:
            return 0
        return max(
            (i for i, block in enumerate(blocks) if block.start <= after), default=0
        )


def open_stream(
    reply: Reply,
    after: int,
    transport: asyncio.Transport,
    codec: StreamCodec,
    framing: Framing,
    rendering: Rendering | None,
) -> AnyStream:
    """Return the stream of `make_stream`, with rendered blocks if there is a `rendering`."""
    if rendering is None or not isinstance(codec, PartsCodec):
        return make_stream(reply, after, transport, codec, framing)
    return BlockStream(reply, after, transport, codec, framing, rendering)
