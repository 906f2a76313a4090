"""Framings: how the bytes of events are wrapped for a connection.

Three constants: `BARE` (an HTTP/1.0 body), `CHUNKED` (RFC 9112 section 7.1) and `WEBSOCKET` (RFC
6455 section 5.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

TABLE_BYTES = 1024
"""The size of the table of heads that are made in advance; nearly all events are shorter."""


class Framing:
    """A way to wrap events: a head with the size, the payload, and a trailer.

    `head(size)` makes the head of a payload of so many bytes. With `one_each` every event has a
    frame of its own; otherwise events that go together share one. `heads[size]` is the head where
    payload *and trailer* have `size` bytes, less than `TABLE_BYTES`: what the encoder caches of an
    event ends with the trailer.
    """

    __slots__ = ("_head", "heads", "one_each", "trailer")

    def __init__(
        self,
        head: Callable[[int], bytes],
        trailer: bytes = b"",
        *,
        one_each: bool = False,
    ) -> None:
        self._head = head
        self.one_each = one_each
        self.trailer = trailer
        sizes = range(-len(trailer), TABLE_BYTES - len(trailer))
        self.heads = [head(max(0, size)) for size in sizes]

    def wrap(self, events: Sequence[bytes]) -> bytes:
        """Return whole events as they go to the connection.

        If events share a frame and have no bytes together, there is no frame: an empty chunk would
        end a body.
        """
        if len(events) == 1:
            return self.wrap_one(events[0])
        if self.one_each:
            return b"".join([self._head(len(event)) + event for event in events])
        return self.wrap_one(b"".join(events))

    def wrap_one(self, data: bytes) -> bytes:
        """Return one event, or the bytes of several that share a frame, as `wrap` does."""
        if self.one_each:
            return self._head(len(data)) + data
        if not data:
            return b""
        size = len(data) + len(self.trailer)
        head = self.heads[size] if size < TABLE_BYTES else self._head(len(data))
        return head + data + self.trailer


def _chunk_head(size: int) -> bytes:
    return b"%x\r\n" % size


def _text_frame_head(size: int) -> bytes:
    """Return the head of a final, unmasked text frame."""
    if size < 126:
        return b"\x81%c" % size
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


BARE = Framing(lambda size: b"")
"""No framing: the body ends with the connection, as HTTP/1.0 has it."""

CHUNKED = Framing(_chunk_head, b"\r\n")
"""Chunks of an HTTP/1.1 body (RFC 9112 section 7.1): events that go together share one."""

WEBSOCKET = Framing(_text_frame_head, one_each=True)
"""Text frames of a server (RFC 6455 section 5.2), one for each event."""
