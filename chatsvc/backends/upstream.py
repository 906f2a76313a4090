"""The client of one model server: connections, attempts, timeouts, refusals and redaction.

It knows HTTP and nothing of what a server says in a response of status 200: that is a
`ResponseReader`'s business. A backend for another kind of server hands it the URL, a request body
and a reader (`chatsvc.backends.openai` shows how).
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Protocol

import aiohttp

from chatsvc.backends.errors import ServerError, error_words
from chatsvc.model import Finish
from chatsvc.problems import BackendFailed, drop_tracebacks
from chatsvc.retry_after import retry_after

ATTEMPTS = 3
"""How often a request is sent in all, as long as nothing of an answer has come."""

FIRST_BACKOFF_S = 0.5
"""The pause before the second attempt; before each further one it is twice as long."""

LONGEST_RETRY_AFTER_S = 20.0
"""The longest `Retry-After` that is waited for; a user would not wait longer."""

CONNECT_TIMEOUT_S = 10.0
"""The time in which a connection must be there, however long the server may be silent after it."""

MOST_SILENT_TIMEOUTS = 5
"""Timeouts after which a response fails that brings bytes, but nothing of an answer: comments that
keep a connection open would otherwise keep a reply waiting for ever."""

AFTER_FINISH_S = 2.0
"""The time in which the rest of a response, such as the usage, may follow its finish."""

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""The statuses of refusals that another attempt may mend."""

REFUSAL_LIMIT_BYTES = 64 * 1024
"""How much of a refusal's body is read."""

LONGEST_QUOTE = 500
"""Characters of the server's words that are passed on."""


class ResponseReader(Protocol):
    """The pure reader of one response of status 200: it never awaits and knows no connection.

    `UpstreamClient` feeds it the bytes of the body as they arrive, and makes a new one for each
    attempt.
    """

    @property
    def complete(self) -> bool:
        """Whether the answer is complete, so that nothing more of the body need be read."""

    @property
    def progress(self) -> int:
        """A count that grows with each `feed` that brought something of an answer.

        Whatever only keeps the connection open, as a comment does, does not count.
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


class _Transient(BackendFailed):
    """A failure that another attempt may mend, after at least `wait_s` seconds."""

    def __init__(self, detail: str, *, wait_s: float = 0.0) -> None:
        super().__init__(detail)
        self.wait_s = wait_s


class UpstreamClient:
    """The client of the model server at `url`, to which every request is POSTed.

    `headers` go with each request, one of them usually with a key; `secret` is that key, or "".
    `accept` is the media type that is asked for. `timeout` is the longest silence in seconds,
    before the response and between two bytes of it. `first_backoff` is in seconds, too.

    Invariants:

    - The server's connection is closed when the generator of `stream` is, at whatever stage. Only
      a body that was read to its end gives its connection back for the next request.
    - Nothing is asked twice once a piece of the answer has been yielded.
    - The secret leaves in `headers` and nowhere else: the server's words are passed on without it.
    """

    def __init__(
        self,
        url: str,
        *,
        accept: str,
        headers: Mapping[str, str],
        secret: str,
        timeout: float,
        first_backoff: float = FIRST_BACKOFF_S,
    ) -> None:
        self._url = url
        self._headers = {
            "Content-Type": "application/json",
            "Accept": accept,
            # Compressed events arrive in lumps, if at all before the end.
            "Accept-Encoding": "identity",
            **headers,
        }
        self._secret = secret
        self._timeout = timeout
        self._first_backoff = first_backoff
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the pool of connections, unless there is one."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(
                total=None,
                sock_connect=min(CONNECT_TIMEOUT_S, self._timeout),
                sock_read=self._timeout,
            )
            # Replies are limited where they are admitted. Another limit here would let those
            # above it wait without a word to anybody.
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, trust_env=True
            )

    async def close(self) -> None:
        """Close all connections; requests that are still running fail."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def stream(
        self, body: bytes, new_reader: Callable[[], ResponseReader]
    ) -> AsyncGenerator[str | Finish, None]:
        """POST `body`, which is JSON; yield the answer's text as it comes, then its `Finish`.

        `new_reader` makes the reader of a response, one for each attempt. Opens the client if it
        is not open. Raises `BackendFailed` when the server can't be reached, refuses, falls silent,
        breaks off, or sends what can't be read: with the server's words where it has any, redacted.
        What had arrived before the failure has been yielded by then.
        """
        await self.open()
        answered = False
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = await self._post(body)
                try:
                    async with aclosing(self._read(response, new_reader())) as pieces:
                        async for piece in pieces:
                            answered = True
                            yield piece
                    return
                finally:
                    # Closes the connection, unless the body has been read to its end: aiohttp
                    # has put that one back into the pool already.
                    response.close()
            except ServerError as error:
                words = self._redact(error.words) or "The model failed."
                raise BackendFailed(words) from None
            except _Transient as error:
                too_long = error.wait_s > LONGEST_RETRY_AFTER_S
                if answered or too_long or attempt == ATTEMPTS:
                    raise BackendFailed(error.detail) from error
                wait_s = error.wait_s
                drop_tracebacks(error)  # of this attempt: nobody will see it
            # The jitter keeps replies that failed together from asking again together.
            backoff = self._first_backoff * 2.0 ** (attempt - 1)
            await asyncio.sleep(max(wait_s, backoff * random.uniform(0.5, 1.0)))

    async def _post(self, body: bytes) -> aiohttp.ClientResponse:
        """Send the request once and return the response, which has status 200."""
        if self._session is None:
            raise BackendFailed("The backend is closed.")
        try:
            # A redirect would carry the conversation, and perhaps the key, elsewhere.
            response = await self._session.post(
                self._url, data=body, headers=self._headers, allow_redirects=False
            )
        except TimeoutError as error:
            raise BackendFailed("The model's server did not answer in time.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Transient("The model's server can't be reached.") from error
        if response.status == 200:
            return response
        try:
            raise await self._refusal(response)
        finally:
            response.close()

    async def _read(
        self, response: aiohttp.ClientResponse, reader: ResponseReader
    ) -> AsyncGenerator[str | Finish, None]:
        """Yield what `reader` makes of the response's body, under every timeout there is."""
        clock = asyncio.get_running_loop().time
        heard, progress = clock(), reader.progress
        while not reader.complete:
            if reader.finish is not None:
                patience = min(self._timeout, AFTER_FINISH_S)
            else:
                silent = heard + MOST_SILENT_TIMEOUTS * self._timeout
                patience = min(self._timeout, silent - clock())
            try:
                async with asyncio.timeout(patience):
                    data = await response.content.readany()
            except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is one
                if reader.finish is not None:
                    break  # only the usage is missing
                if rest := reader.rest():
                    yield rest
                if isinstance(error, TimeoutError):
                    raise BackendFailed("The model's server fell silent.") from error
                raise _Transient("The model's server broke off.") from error
            if not data:
                if text := reader.end():
                    yield text
                break
            for text in reader.feed(data):
                yield text
            if reader.progress != progress:
                heard, progress = clock(), reader.progress
        if rest := reader.rest():
            yield rest
        if reader.finish is None:
            raise _Transient("The model's server broke off.")
        yield reader.finish

    async def _refusal(self, response: aiohttp.ClientResponse) -> BackendFailed:
        """Return the failure that a response of another status than 200 is."""
        raw = bytearray()
        try:
            while len(raw) < REFUSAL_LIMIT_BYTES and (
                data := await response.content.readany()
            ):
                raw += data
        except (aiohttp.ClientError, OSError):
            pass  # the status is enough
        text = raw[:REFUSAL_LIMIT_BYTES].decode("utf-8", "replace")
        try:
            words = error_words(json.loads(text))
        except (ValueError, RecursionError):
            # A page is of no use to the user, a line of text may be.
            words = "" if text.lstrip().startswith("<") else text
        refused = f"The model's server refused with {response.status}"
        line = self._redact(words)
        detail = f"{refused}: {line}" if line else f"{refused}."
        if response.status not in RETRIED_STATUSES:
            return BackendFailed(detail)
        wait_s = retry_after(response.headers.get("Retry-After"))
        return _Transient(detail, wait_s=wait_s or 0.0)

    def _redact(self, words: str) -> str:
        """Return the server's words in one line, cut to `LONGEST_QUOTE`, without the secret."""
        line = " ".join(words.split())
        if self._secret:
            line = line.replace(self._secret, "…")
        return line if len(line) <= LONGEST_QUOTE else line[:LONGEST_QUOTE] + "…"
