"""The body of a response of aiohttp's client, unpacked and read in turns of the event loop.

A body that has arrived faster than it is worked off, or that unpacks to more than it weighs, would
hold the loop for as long as there is some of it: aiohttp's reader gives what it has without
waiting. Here the loop gets a turn in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp

from chatsvc.backends.inflate import Inflater, inflater

TURN_BYTES = 4 * 1024
"""The bytes of a body after which the event loop gets a turn, and the most that are fed to a
receiver at once. The worst there are, comments and events of some bytes each, are 2 ms of work."""

LEAST_STEP_BYTES = 1024
"""What a step of unpacking counts that gave less: an empty piece is work as well."""


def work_of(piece: bytes) -> int:
    """Return how many bytes a step of unpacking counts that gave `piece`, for `TURN_BYTES`."""
    return max(len(piece), LEAST_STEP_BYTES)


class ResponseBody:
    """The reader of one response's body.

    The response's session must have been made with `auto_decompress=False`. The constructor raises
    `BackendFailed` when the body's `Content-Encoding` can't be undone.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        self._inflater = inflater(response.headers.get("Content-Encoding", ""))
        self._pieces: Iterator[bytes] = iter(())  # of the data that was read last
        self._work = 0  # since the loop had its turn

    async def read(self) -> bytes:
        """Return the next bytes of the body, unpacked, as soon as there are some; b"" at its end.

        Raises `BackendFailed` when they can't be unpacked, and what aiohttp raises for a connection
        that broke: `aiohttp.ClientError` or `OSError`, of which `TimeoutError` is one.
        """
        while True:
            if self._work >= TURN_BYTES:
                self._work = 0
                await asyncio.sleep(0)
            piece = next(self._pieces, None)
            if piece is not None:
                self._work += work_of(piece)
                if piece:
                    return piece
                continue
            data = await self._content.readany()
            if not data:
                return b""
            self._pieces = _steps(self._inflater, data)


def _steps(decoder: Inflater | None, data: bytes) -> Iterator[bytes]:
    """Yield `data`, unpacked, in the pieces of steps, of which none has more than `TURN_BYTES`.

    It is no method of `ResponseBody`, for a body that is not read to its end would then hold this
    generator, and this generator the body.
    """
    for piece in iter((data,)) if decoder is None else decoder.feed(data):
        yield piece[:TURN_BYTES]
        for begin in range(TURN_BYTES, len(piece), TURN_BYTES):
            yield piece[begin : begin + TURN_BYTES]
