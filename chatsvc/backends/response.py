"""One response of a model server: the interface of its reader, and the limits in which it ends.

`UpstreamClient` gets the response and `ResponseBody` its bytes; what they mean is the business of a
`ResponseReader`. Between them stands `read_response`, which no server can keep waiting for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
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

AFTER_FINISH_S = 2.0
"""The time in which the rest of a response, such as the usage, may follow its finish, in all."""


class ResponseReader(Protocol):
    """The pure reader of one response of status 200: it never awaits and knows no connection.

    `UpstreamClient` feeds it the bytes of the body as they arrive, unpacked and at most
    `chatsvc.backends.body.TURN_BYTES` at once, and makes a new one for each attempt. The event loop
    waits while it works on them.
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
    def finish(self) -> Finish | None:
        """How the answer finished, once the server has said so; its usage may still follow."""

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the text that the next bytes of the body complete, in pieces of any size.

        Iterate to the end before the next call. Raises, from the iteration, `ServerError` for an
        error that the server reports and `BackendFailed` for what can't be read or is too much.
        """

    def end(self) -> str:
        """Return the text that the end of the body completes; call it once, when the body is whole.

        Raises as `feed` does. If `finish` is None afterwards, the server broke off.
        """

    def rest(self) -> str:
        """Return, once, the text held back for a continuation: none will come.

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
    what `reader` raises. After the finish nothing fails any more but `reader`: at the next limit,
    and after `AFTER_FINISH_S` at the latest, the answer counts as complete.

    The response stays open; closing it is the caller's part.
    """
    body = ResponseBody(response)
    clock = asyncio.get_running_loop().time
    heard, progress = clock(), reader.progress
    size = quiet = 0
    finish_by: float | None = None
    while not reader.complete:
        if finish_by is None and reader.finish is not None:
            finish_by = clock() + min(timeout, AFTER_FINISH_S)
        deadline = finish_by
        if deadline is None:
            silent = heard + MOST_SILENT_TIMEOUTS * timeout
            deadline = min(silent, clock() + timeout)
        try:
            async with asyncio.timeout_at(deadline):
                data = await body.read()
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is one
            without_tracebacks(error)
            if finish_by is not None:
                break  # only the usage is missing
            if rest := reader.rest():
                yield rest
            if isinstance(error, TimeoutError):
                raise BackendFailed("The model's server fell silent.") from error
            raise TransientFailure("The model's server broke off.") from error
        if not data:
            if text := reader.end():
                yield text
            break
        for text in reader.feed(data):
            yield text
        size, quiet = size + len(data), quiet + len(data)
        if reader.progress != progress:
            heard, progress, quiet = clock(), reader.progress, 0
        if quiet > QUIET_LIMIT_BYTES or size > RESPONSE_LIMIT_BYTES:
            if finish_by is not None:
                break
            raise BackendFailed(TOO_MUCH)
    if rest := reader.rest():
        yield rest
    if reader.finish is None:
        raise TransientFailure("The model's server broke off.")
    yield reader.finish
