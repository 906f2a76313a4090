"""The way out: every byte of a running stream goes through here.

After aiohttp has sent the head of a response, or has upgraded to a WebSocket, it writes each chunk or frame whole and
at once to `request.transport`, and so does this: both are public, and whole chunks and frames may take turns. Going
round `StreamResponse.write` and `send_str` saves a coroutine, a header made anew and a copy for each character.

Rules
- Nothing is written to a connection that is closing: `ClientGone` is raised instead.
- A reader that does not read costs `FULL` bytes and one run of characters, however many streams its connection has. They
  wait, looking again every `LOOK_AGAIN`; after `DEADLINE` without progress the connection is aborted and `SlowReader`
  raised. It can resume.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from aiohttp import web

from chatsvc.replies import Reply, ReplyReader
from chatsvc.replies.reader import LONGEST_RUN
from chatsvc.ticker import MUTED, NOW, Ticker, Waiter

FULL = 64 * 1024
"""Bytes that may wait to be sent to one reader."""

LOOK_AGAIN = 50_000
"""Microseconds between two looks at a reader that is behind."""

DEADLINE = 30_000_000
"""Microseconds after which a reader that has taken nothing is dropped."""

ReaderScope = AbstractContextManager[None]
"""ReaderScope as long as a reader is given something: that counts it, and watches its connection."""


class Encodes(Protocol):
    """Makes bytes of a run of characters that begins after a position."""

    def encode(self, position: int, run: Sequence[str], /) -> bytes:
        """The bytes, as they go to the connection."""


class ClientGone(ConnectionResetError):
    """The connection is closed; nobody is there to be told."""


class SlowReader(ClientGone):
    """The reader took nothing for too long and was dropped."""


def transport_of(request: web.BaseRequest) -> asyncio.Transport:
    """The connection that a request came over. Raises `ClientGone`."""
    if request.transport is None:
        raise ClientGone
    return request.transport


def write(transport: asyncio.Transport, data: bytes) -> None:
    """Send what is short and seldom, whole. Raises `ClientGone`."""
    if transport.is_closing():
        raise ClientGone
    transport.write(data)


def end_by_reset(transport: asyncio.Transport, on: bool) -> None:
    """Whether a connection that is closed, by whatever, is reset: for bodies whose end nothing else tells."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        linger = struct.pack("ii", on, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def drained(
    transport: asyncio.Transport, ticker: Ticker, most: int = FULL // 2
) -> None:
    """Wait until the reader is at most so many bytes behind. Raises `SlowReader` or `ClientGone`."""
    now = ticker.refresh()
    least, deadline = transport.get_write_buffer_size(), now + DEADLINE
    waiter = Waiter(ticker)
    when = NOW  # first in the next turn, when the kernel has had its chance
    while (waiting := transport.get_write_buffer_size()) > most:
        if transport.is_closing():
            raise ClientGone
        if waiting < least:
            least, deadline = waiting, ticker.now + DEADLINE
        elif ticker.now > deadline:
            transport.abort()
            raise SlowReader
        await waiter.until(when)
        when = ticker.now + LOOK_AGAIN


async def ready_to_end(transport: asyncio.Transport, ticker: Ticker) -> None:
    """Wait until aiohttp can end the body without waiting for the reader: that would have no deadline."""
    low, _ = transport.get_write_buffer_limits()
    if transport.get_write_buffer_size() > low:
        await drained(transport, ticker, low)


class Stream(ReplyReader):
    """A reply's characters behind position `after`, on their way to a connection: written as they are due.

    The ticker calls it, and it writes at once. It is one object: in a crowd of streams each object is fetched from
    memory anew for each event. `wrote` is when it last wrote (microseconds).
    """

    __slots__ = ("_encoder", "_transport", "wrote")

    def __init__(
        self, reply: Reply, after: int, transport: asyncio.Transport, encoder: Encodes
    ) -> None:
        super().__init__(reply.log, reply.ticker, reply.departure, after)
        self._transport = transport
        self._encoder = encoder
        self.wrote = self.ticker.now

    async def run(self) -> None:
        """Write to the end. Raises `SentAway`, `SlowReader` or `ClientGone`."""
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

    def call(self) -> None:
        """Write what is out. `run` goes on at the end, on a mistake, and when the reader is behind."""
        ticker, transport, encoder = self.ticker, self._transport, self._encoder
        try:
            # First, for other streams may have filled the connection.
            while transport.get_write_buffer_size() <= FULL:
                taken = self.take()
                if taken is None:
                    break
                position, run = taken
                data = encoder.encode(position, run)
                if transport.is_closing():
                    raise ClientGone
                transport.write(data)
                self.wrote = ticker.now
                if self.slot > ticker.slot:
                    return
                if (
                    len(run) == LONGEST_RUN
                ):  # much to catch up with: the others come between
                    self.slot = ticker.slot
                    return
            else:  # the reader is behind
                self._halt(None)
            if self.over:
                self._halt(None)
        except Exception as error:  # noqa: BLE001
            self._halt(error)

    def _halt(self, error: Exception | None) -> None:
        self.slot = MUTED
        future = self.future
        if future is None or future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


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
"""Positions in decimal."""
