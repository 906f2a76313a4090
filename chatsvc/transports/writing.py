"""The writing of streams: every byte of a running stream goes to its connection through here.

After aiohttp has sent the head of a response, or has upgraded to a WebSocket, it writes each chunk
or frame whole and at once to `request.transport`. This module writes to the same transport, which
is a public attribute; since each writes whole chunks or frames, the two may take turns. Bypassing
`StreamResponse.write` and `WebSocketResponse.send_str` saves a coroutine, a header made anew and a
copy for each character.

Invariants:
- Nothing is written to a connection that is closing: `ClientGone` is raised instead.
- A client that does not read costs `FULL_BYTES` and one run of characters, however many streams its
  connection has. The streams wait, and look at the connection every `FULL_POLL_US`. After
  `STALLED_US` without progress it is aborted, and `SlowReader` is raised. The client can resume.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from chatsvc.replies import Reply, ReplyReader
from chatsvc.replies.log_reader import LogReader
from chatsvc.replies.reader import LONGEST_RUN, Run
from chatsvc.ticker import MUTED, NOW, Ticker, Waiter
from chatsvc.transports.encoder import Encoder

FULL_BYTES = 64 * 1024
"""Bytes that may wait to be sent on one connection before its streams wait."""

FULL_POLL_US = 50_000
"""Microseconds between two looks at a connection that is full."""

LAST_CHARACTERS = 64
"""The most characters that go out together with the end, for which aiohttp's write has no deadline.
"""

STALLED_US = 30_000_000
"""Microseconds after which a client that has taken nothing is dropped."""


class ClientGone(ConnectionResetError):
    """The error of writing to a connection that is closed or closing."""


class SlowReader(ClientGone):
    """The error of a client that took nothing for `STALLED_US` and was dropped."""


def transport_of(request: web.BaseRequest) -> asyncio.Transport:
    """Return the connection that a request came over. Raises `ClientGone` when it is closed."""
    if request.transport is None:
        raise ClientGone
    return request.transport


def write(transport: asyncio.Transport, data: bytes) -> None:
    """Write whole chunks or frames, without waiting even if the connection is full.

    So they must be short and rare. Raises `ClientGone`.
    """
    if transport.is_closing():
        raise ClientGone
    transport.write(data)


def set_reset_on_close(transport: asyncio.Transport, on: bool) -> None:
    """Have a connection reset when it is closed, by whatever; or, with `on` false, closed in order.

    A body without a length or chunks ends with its connection: only a reset tells one that was
    broken off from a whole one.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        linger = struct.pack("ii", on, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def drained(
    transport: asyncio.Transport, ticker: Ticker, most: int = FULL_BYTES // 2
) -> None:
    """Wait until at most `most` bytes wait to be sent. Raises `SlowReader` or `ClientGone`.

    It polls, because asyncio reports an emptied buffer only to the connection's one protocol, which
    is aiohttp's. That lets no more than one task wait, and without a deadline. Here several streams
    of one connection wait, and each has a deadline that moves with every byte that the client
    takes. Few clients are slow at a time, and a look costs a microsecond.
    """
    least = transport.get_write_buffer_size()
    if least <= most:
        return
    deadline = ticker.refresh() + STALLED_US
    waiter = Waiter(ticker)
    when = NOW  # first in the next turn, when the kernel may have taken more already
    while (waiting := transport.get_write_buffer_size()) > most:
        if transport.is_closing():
            raise ClientGone
        if waiting < least:
            least, deadline = waiting, ticker.now + STALLED_US
        elif ticker.now > deadline:
            transport.abort()
            raise SlowReader
        await waiter.until(when)
        when = ticker.now + FULL_POLL_US


async def drained_to_end(transport: asyncio.Transport, ticker: Ticker) -> None:
    """Wait until aiohttp can end the body at once: its own wait for the client has no deadline.

    Raises `SlowReader` or `ClientGone`.
    """
    low, _ = transport.get_write_buffer_limits()
    if transport.get_write_buffer_size() > low:
        await drained(transport, ticker, low)


class WritingReader(LogReader[Any]):
    """The base of readers that write what they take to a connection, when it is due.

    The ticker calls such a reader, and it writes at once. Reader and writer are one object, because
    with thousands of streams each object has to be fetched from memory for each event. `wrote` is
    when it last wrote (microseconds).
    """

    __slots__ = ()  # a subclass has those of a reader as well, which must come first
    _transport: asyncio.Transport
    wrote: int

    async def run(self) -> None:
        """Write to the end of the reply, but for the `rest` of a `Stream`.

        Raises `SentAway`, `SlowReader` or `ClientGone`.
        """
        ticker = self.ticker
        loop = asyncio.get_running_loop()
        try:
            while not self.over:
                self.future = loop.create_future()
                ticker.refresh()
                self.call()
                ticker.enter(self)
                await self.future
                await drained(self._transport, ticker)
        finally:
            self.slot = MUTED
            # It may hold an error whose traceback holds this stream: a cycle.
            self.future = None

    def write_rest(self) -> None:
        """Write what `run` has left to its caller. Raises `ClientGone`."""

    def _resume_run(self, error: Exception | None) -> None:
        self.slot = MUTED
        future = self.future
        if future is None or future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


class Stream(WritingReader, ReplyReader):
    """A reader that writes a reply's characters to a connection when they are due.

    It begins behind position `after` (code points). `wrote` is when it last wrote (microseconds).
    `rest` is the last run, if it is left to the caller of `run` to write together with the end,
    else None.
    """

    __slots__ = ("_encoder", "_transport", "rest", "wrote")

    def __init__(
        self, reply: Reply, after: int, transport: asyncio.Transport, encoder: Encoder
    ) -> None:
        super().__init__(reply.log, reply.ticker, reply.departure, after)
        self._transport = transport
        self._encoder = encoder
        self.rest: Run | None = None
        self.wrote = self.ticker.now

    @property
    def at_text(self) -> bool:
        """Whether the next thing to write is text, as it always is here."""
        return True

    def call(self) -> None:
        """Write what is released. See `Waiter.call`.

        `run` is resumed at the end, on an error, and when the connection is full.
        """
        transport = self._transport
        try:
            # Before anything is written, for other streams may have filled the connection.
            if transport.get_write_buffer_size() > FULL_BYTES:
                self._resume_run(None)
                return
            taken = self.take()
            if taken is None or self.slot == NOW:
                self._write_on(taken)
                return
            # Nearly every call ends here: there is no more now.
            position, run = taken
            data = self._encoder.encode(position, run)
            if transport.is_closing():
                raise ClientGone
            transport.write(data)
            self.wrote = self.ticker.now
        except Exception as error:  # noqa: BLE001
            self._resume_run(error)

    def _write_on(self, taken: Run | None) -> None:
        """Write what was `taken` and what follows it, until nothing more is out now.

        Raises `ClientGone` and what `take` raises.
        """
        ticker, transport = self.ticker, self._transport
        while taken is not None:
            position, run = taken
            if self.slot == NOW and self._is_rest(run):
                self.rest = taken
            else:
                write(transport, self._encoder.encode(position, run))
                self.wrote = ticker.now
                if self.slot != NOW:  # there is no more now
                    return
                if len(run) == LONGEST_RUN:
                    # There is much to catch up with: other streams get their turn in between.
                    self.slot = ticker.slot
                    return
                if transport.get_write_buffer_size() > FULL_BYTES:
                    break
            taken = self.take()
        if self.over or taken is not None:  # all is written, or the connection is full
            self._resume_run(None)

    def write_rest(self) -> None:
        """See `WritingReader.write_rest`."""
        if self.rest is not None:
            write(self._transport, self._encoder.encode(*self.rest))

    def _is_rest(self, run: Sequence[str]) -> bool:
        """Return whether a run that was taken is the last one, and short."""
        log = self._log
        ended = log.end is not None and self.position == log.position
        return ended and len(run) <= LAST_CHARACTERS
