"""The way out: every byte of a running stream goes through `Outlet`.

After aiohttp has sent the head of a response, or has upgraded to a WebSocket, it writes each chunk or frame whole and
at once to `request.transport`, and so does this: both are public, and whole chunks and frames may take turns. Going
round `StreamResponse.write` and `send_str` saves a coroutine, a header made anew and a copy for each character.

Rules
- Nothing is written to a connection that is closing: `ClientGone` is raised instead.
- A reader that does not read costs `FULL` bytes and one run of characters. Its stream waits, looking again every
  `LOOK_AGAIN`; after `DEADLINE` without progress the connection is aborted and `SlowReader` raised. It can resume.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Sequence
from contextlib import AbstractContextManager

from aiohttp import web

from ..ticker import Ticker, Waiter

FULL = 64 * 1024
"""Bytes that may wait to be sent to one reader."""

LOOK_AGAIN = 50_000
"""Microseconds between two looks at a reader that is behind."""

DEADLINE = 30_000_000
"""Microseconds after which a reader that has taken nothing is dropped."""

Counted = AbstractContextManager[None]
"""Counts a reader for as long as it is held."""

Characters = AsyncIterable[tuple[int, Sequence[str]]]
"""What `Reply.characters` gives."""

Encode = Callable[[int, Sequence[str]], bytes]
"""Makes bytes of a run of characters that begins after a position."""


class ClientGone(ConnectionResetError):
    """The connection is closed; nobody is there to be told."""


class SlowReader(ClientGone):
    """The reader took nothing for too long and was dropped."""


class Outlet:
    """Writes to one connection. `wrote` is when it last did (microseconds), for heartbeats."""

    __slots__ = ("_ticker", "_transport", "wrote")

    def __init__(self, request: web.Request, ticker: Ticker) -> None:
        transport = request.transport
        if transport is None:
            raise ClientGone
        self._transport: asyncio.Transport = transport
        self._ticker = ticker
        self.wrote = ticker.now

    def write(self, data: bytes) -> bool:
        """Send bytes; False when the reader is behind, and `drained` is to be awaited before the next."""
        transport = self._transport
        if transport.is_closing():
            raise ClientGone
        transport.write(data)
        self.wrote = self._ticker.now
        return transport.get_write_buffer_size() <= FULL

    async def pump(self, characters: Characters, encode: Encode) -> None:
        """Write a reply's characters to the end: `write`, `drained`, and again, without a call for each event."""
        transport, ticker = self._transport, self._ticker
        async for position, run in characters:
            data = encode(position, run)
            if transport.is_closing():
                raise ClientGone
            transport.write(data)
            self.wrote = ticker.now
            if transport.get_write_buffer_size() > FULL:
                await self.drained()

    async def drained(self, most: int = FULL // 2) -> None:
        """Wait until the reader is at most so many bytes behind. Raises `SlowReader` or `ClientGone`."""
        ticker = self._ticker
        waiter = Waiter(ticker)
        pending = self._transport.get_write_buffer_size
        least, deadline = pending(), ticker.now + DEADLINE
        when = ticker.now  # first in the next turn, when the kernel has had its chance
        try:
            while (waiting := pending()) > most:
                if self._transport.is_closing():
                    raise ClientGone
                if waiting < least:
                    least, deadline = waiting, ticker.now + DEADLINE
                elif ticker.now > deadline:
                    self._transport.abort()
                    raise SlowReader
                await waiter.until(when)
                when = ticker.now + LOOK_AGAIN
        finally:
            waiter.close()

    async def ready_to_end(self) -> None:
        """Wait until aiohttp can end the body without waiting for the reader: that would have no deadline."""
        low, _ = self._transport.get_write_buffer_limits()
        if self._transport.get_write_buffer_size() > low:
            self._ticker.refresh()
            await self.drained(low)

    def abort(self) -> None:
        """Break the connection, so that what was sent can't look complete."""
        self._transport.abort()


class Encodings(dict[str, bytes]):
    """The encoded form of each character, made once; bounded, for there are more characters than memory."""

    MOST = 4096

    def __missing__(self, character: str) -> bytes:
        if len(self) >= self.MOST:
            self.clear()
        encoded = self.encode(character)
        if len(character) <= 16:
            self[character] = encoded
        return encoded

    def encode(self, character: str) -> bytes:
        """The bytes that stand for a character."""
        raise NotImplementedError


class _Digits(dict[int, bytes]):
    """Numbers in decimal; those that nearly every position is are made once."""

    def __missing__(self, number: int) -> bytes:
        return b"%d" % number


DIGITS = _Digits((n, b"%d" % n) for n in range(8192))
