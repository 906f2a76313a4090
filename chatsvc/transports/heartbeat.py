"""Comments beside an event stream (PROTOCOL.md section 3).

They show that the stream lives, and whether a proxy buffers it.
"""

from __future__ import annotations

import asyncio
import time

from chatsvc.ticker import Waiter
from chatsvc.transports.framing import Framing
from chatsvc.transports.writing import ClientGone, WritingReader, write

PROBE_TIMES_US = (500_000, 1_000_000)
"""Microseconds after the start at which comments show whether a proxy buffers."""

SILENCE_US = 15_000_000
"""Microseconds of silence after which a comment shows that the stream lives."""

GRAIN_US = 50_000
"""Microseconds by which a comment may be late: the ticker then looks at many streams in one turn,
and need not be woken once for each, even for those that have ended."""


def stamp() -> bytes:
    """Return a comment with the server's time (Unix milliseconds)."""
    return b": t=%d\n\n" % (time.time() * 1000)


class Heartbeat(Waiter):
    """A waiter that writes comments beside a stream.

    They come at `probe_times_us` (microseconds from now), then whenever the stream has written
    nothing for `SILENCE_US`. It enters itself in the ticker. Close it with the stream.
    """

    __slots__ = ("_framing", "_probes", "_started", "_stream", "_transport", "_wrote")

    def __init__(
        self,
        stream: WritingReader,
        transport: asyncio.Transport,
        framing: Framing,
        probe_times_us: tuple[int, ...] = PROBE_TIMES_US,
    ) -> None:
        super().__init__(stream.ticker)
        self._stream = stream
        self._transport = transport
        self._framing = framing
        # The first stamp has just been written; `_wrote` is when the last one was (microseconds).
        self._started = self._wrote = self.ticker.now
        self._probes = probe_times_us  # those that are still to come
        self._wait()
        self.ticker.enter(self)

    def call(self) -> None:
        """Write a comment if one is due. See `Waiter.call`."""
        now = self.ticker.now
        if now >= self._due():
            self._probes = self._probes[1:]
            try:
                write(self._transport, self._framing.wrap([stamp()]))
            except ClientGone:
                return
            self._wrote = now
        self._wait()

    def close(self) -> None:
        """Write no more.

        The ticker may keep this object until the next comment would have been due; it lets go of
        the stream at once.
        """
        super().close()
        del self._stream, self._transport, self._framing

    def _wait(self) -> None:
        """Name the slot in which the next comment may be due."""
        self.until(-(-self._due() // GRAIN_US) * GRAIN_US)

    def _due(self) -> int:
        """Return when the next comment is due unless the stream writes before (microseconds)."""
        if self._probes:
            return self._started + self._probes[0]
        return max(self._wrote, self._stream.wrote) + SILENCE_US
