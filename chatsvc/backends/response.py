"""One response of a model server: the interface of its reader, and the limits in which it ends.

`UpstreamClient` gets the response and `ResponseBody` its bytes; what they mean is the business of a
`ResponseReader`. Between them stands `read_response`, which no server can keep waiting for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

import aiohttp

from chatsvc.backends.body import ResponseBody
from chatsvc.backends.errors import TOO_MUCH, TransientFailure
from chatsvc.model import Finish
from chatsvc.problems import BackendFailed, without_tracebacks

MOST_SILENT_TIMEOUTS = 5
"""Timeouts after which a response fails that brings bytes, but nothing of an answer: comments that
keep a connection open would otherwise keep a reply waiting for ever."""

QUIET_LIMIT_BYTES = 2 << 20
"""The most bytes, unpacked, between two that bring something of an answer: more fail the response.
It is twice the largest event and the largest completion in one piece that a reader takes."""

RESPONSE_LIMIT_BYTES = 128 << 20
"""The most bytes, unpacked, that a response may have: 400,000 tokens, each in its own event."""

Piece = str
"""The type of what a reader makes of a body: text of the answer. Side parts will be further ones."""


class ResponseReader(Protocol):
    """The pure reader of one response of status 200: it never awaits and knows no connection.

    `UpstreamClient` feeds it the bytes of the body as they arrive, unpacked and at most
    `chatsvc.backends.body.TURN_BYTES` at once, and makes a new one for each attempt. The event loop
    waits while it works on them. `feed` and `end` raise nothing: a failure is told by `failure`, so
    that the pieces before it are not lost.
    """

    @property
    def complete(self) -> bool:
        """Whether the answer is complete, so that nothing more of the body need be read."""

    @property
    def progress(self) -> int:
        """A count that grows with each `feed` that brought something of an answer.

        Whatever only keeps the connection open, as a comment or an empty event does, does not
        count: what brings no progress is limited in time and in bytes.
        """

    @property
    def failure(self) -> BackendFailed | None:
        """The failure that the last `feed` or `end` met, or None.

        It is the reply's failure, once the pieces that came with it and `rest` are passed on.
        Nothing more is fed then. A `TransientFailure` may be asked again.
        """

    @property
    def finish(self) -> Finish | None:
        """How the answer finished, once the server has said so; its usage may still follow.

        It is None again when more of the answer has followed: the server has said it too early.
        """

    @property
    def linger_s(self) -> float:
        """The seconds in which something may follow a `finish`, from the last progress on.

        Then the answer counts as complete.
        """

    def feed(self, data: bytes) -> list[Piece]:
        """Return what the next bytes of the body complete, as few pieces as hold it in order."""

    def end(self) -> list[Piece]:
        """Return what a clean end of the body completes; call it once.

        If `finish` and `failure` are None afterwards, the server broke off.
        """

    def rest(self) -> list[Piece]:
        """Return, once, what was held back for a continuation: none will come.

        It belongs to the reply even if the connection broke, and is always valid Unicode.
        """


async def read_response(
    response: aiohttp.ClientResponse, reader: ResponseReader, timeout: float
) -> AsyncGenerator[str | Finish, None]:
    """Yield the text that `reader` makes of a response of status 200, then its `Finish`.

    `timeout` is the longest silence in seconds. Text that had arrived before a failure, or was held
    back for a continuation, is yielded first. Raises `BackendFailed` when the server falls silent,
    brings no progress for `MOST_SILENT_TIMEOUTS` timeouts or `QUIET_LIMIT_BYTES`, sends more than
    `RESPONSE_LIMIT_BYTES` or what can't be unpacked; `TransientFailure` when it breaks off; and
    the `failure` of `reader`. After a finish nothing fails any more but `reader`: at the next limit,
    and after the reader's `linger_s` without progress, the answer counts as complete.

    The response stays open; closing it is the caller's part.
    """
    body = ResponseBody(response)
    clock = asyncio.get_running_loop().time
    heard, progress = clock(), reader.progress
    size = quiet = 0
    while not reader.complete:
        finished = reader.finish is not None
        if finished:
            deadline = heard + min(timeout, reader.linger_s)
        else:
            silent = heard + MOST_SILENT_TIMEOUTS * timeout
            deadline = min(silent, clock() + timeout)
        try:
            async with asyncio.timeout_at(deadline):
                data = await body.read()
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is one
            without_tracebacks(error)
            if finished:
                break  # only the usage is missing
            for piece in reader.rest():
                yield piece
            if isinstance(error, TimeoutError):
                raise BackendFailed("The model's server fell silent.") from error
            raise TransientFailure("The model's server broke off.") from error
        for piece in reader.feed(data) if data else reader.end():
            yield piece
        if reader.failure is not None or not data:
            break
        size, quiet = size + len(data), quiet + len(data)
        if reader.progress != progress:
            heard, progress, quiet = clock(), reader.progress, 0
        if quiet > QUIET_LIMIT_BYTES or size > RESPONSE_LIMIT_BYTES:
            if reader.finish is not None:
                break
            raise BackendFailed(TOO_MUCH)
    for piece in reader.rest():
        yield piece
    failure = reader.failure
    if failure is not None:
        # Its traceback would hold this frame, and the frame the failure and its reader: a cycle.
        del reader
        try:
            raise failure
        finally:
            del failure
    if reader.finish is None:
        raise TransientFailure("The model's server broke off.")
    yield reader.finish
