"""The check that the frames of a WebSocket's client are masked (RFC 6455 section 5.1).

aiohttp unmasks the frames that say they are masked, and takes the others as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class MaskCheck(asyncio.Protocol):
    """A protocol between a connection and aiohttp's: it passes on frames that are masked.

    At a frame that is not, `refuse()` is called, and nothing that is received goes on any more. A
    block is passed on whole or not at all, so aiohttp may miss frames that came together with the
    bad one. `received` are the bytes that were received; who reads the messages sets it back.
    """

    __slots__ = ("_head", "_inner", "_left", "_refuse", "received")

    def __init__(self, inner: asyncio.Protocol, refuse: Callable[[], None]) -> None:
        self._inner = inner
        self._refuse: Callable[[], None] | None = refuse
        self._head = b""  # a frame's head that is not whole
        self.received = 0
        self._left = 0  # bytes of the frame's payload that are still to come

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._refuse is None:
            return
        self.received += len(data)
        if self._is_masked(data):
            self._inner.data_received(data)
        else:
            refuse, self._refuse = self._refuse, None
            refuse()

    def _is_masked(self, data: bytes) -> bool:
        """Follow the frames through a block; return whether all heads in it say "masked"."""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            had = len(self._head)
            head = self._head + data[at : at + 14 - had]
            if len(head) >= 2 and not head[1] & 0x80:
                return False
            extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0) if len(head) > 1 else 0
            size = 2 + extended + 4  # [RFC 6455, 5.2] with the mask
            if len(head) < size:
                self._head = head
                return True
            self._head = b""
            self._left = (
                int.from_bytes(head[2 : 2 + extended], "big")
                if extended
                else head[1] & 0x7F
            )
            at += size - had
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._refuse = None
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """See `asyncio.Protocol`."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._inner.resume_writing()
