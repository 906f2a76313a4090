"""The client of one model server: connections, attempts, timeouts, refusals and redaction.

It knows HTTP and nothing of what a server says in a response of status 200: that is a
`ResponseReader`'s business. A backend for another kind of server hands it the URL, a request body
and a reader (`chatsvc.backends.openai` shows how).
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing

import aiohttp

from chatsvc.backends.body import ResponseBody
from chatsvc.backends.errors import (
    ServerError,
    TransientFailure,
    error_words,
)
from chatsvc.backends.response import ResponseReader, read_response
from chatsvc.model import Finish
from chatsvc.problems import BackendFailed, without_tracebacks
from chatsvc.retry_after import retry_after

ATTEMPTS = 3
"""How often a request is sent in all, as long as nothing of an answer has come."""

FIRST_BACKOFF_S = 0.5
"""The pause before the second attempt; before each further one it is twice as long."""

LONGEST_RETRY_AFTER_S = 20.0
"""The longest `Retry-After` that is waited for; a user would not wait longer."""

CONNECT_TIMEOUT_S = 10.0
"""The time in which a connection must be there, however long the server may be silent after it."""

REFUSAL_TIMEOUT_S = 5.0
"""The time in which a refusal's body must have come; without it the status has to do."""

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""The statuses of refusals that another attempt may mend."""

REFUSAL_LIMIT_BYTES = 64 * 1024
"""How much of a refusal's body is read, unpacked."""

RECEIVE_BUFFER_BYTES = 32 * 1024
"""The receive buffer of a connection, which the kernel may double: it bounds what aiohttp parses in
one turn of the event loop. 64 KiB of interim responses or chunks of one byte take it 25 ms, and
uvloop reads on for as long as there is something, a second and more. Through 100 ms of round-trip
time it lets 300 KB/s pass, a thousand tokens."""

READ_BUFFER_BYTES = 16 * 1024
"""aiohttp stops reading a connection at twice as many bytes that nobody has taken, or a sixteenth
as many chunks: with its own default, chunks of one byte take 50 ms at once."""

LONGEST_QUOTE = 500
"""Characters of the server's words that are passed on."""


class UpstreamClient:
    """The client of the model server at `url`, to which every request is POSTed.

    `headers` go with each request, one of them usually with a key; `secrets` are that key and
    whatever else the server may quote and nobody may read (empty ones count for nothing).
    `accept` is the media type that is asked for. `timeout` is the longest silence in seconds,
    before the response and between two bytes of it. `first_backoff` is in seconds, too.

    Invariants:

    - Every response ends: its head within `timeout` and the time for the connection, a refusal's
      body within `REFUSAL_TIMEOUT_S`, an answer within the limits of `chatsvc.backends.response`.
    - The event loop gets a turn after each `chatsvc.backends.body.TURN_BYTES` of a response,
      however fast it comes and however well it is packed.
    - The server's connection is closed when the generator of `stream` is, at whatever stage. Only
      a body that was read to its end gives its connection back for the next request.
    - Nothing is asked twice once a piece of the answer has been yielded.
    - A secret leaves in `headers` and nowhere else: the server's words are passed on without it.
    """

    def __init__(
        self,
        url: str,
        *,
        accept: str,
        headers: Mapping[str, str],
        secrets: Iterable[str],
        timeout: float,
        first_backoff: float = FIRST_BACKOFF_S,
    ) -> None:
        self._url = url
        self._headers = {
            "Content-Type": "application/json",
            "Accept": accept,
            # Compressed events arrive in lumps, if at all before the end. Some servers compress
            # all the same, and `ResponseBody` unpacks that.
            "Accept-Encoding": "identity",
            **headers,
        }
        self._secrets = [secret for secret in secrets if secret]
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
            # above it wait, and no user would learn why.
            connector = aiohttp.TCPConnector(limit=0, socket_factory=_make_socket)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                trust_env=True,
                auto_decompress=False,
                read_bufsize=READ_BUFFER_BYTES,
                # Cookies would tie the conversations of different users together, and a jar of
                # them only grows.
                cookie_jar=aiohttp.DummyCookieJar(),
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
                    answer = read_response(response, new_reader(), self._timeout)
                    async with aclosing(answer) as pieces:
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
            except TransientFailure as error:
                too_long = error.wait_s > LONGEST_RETRY_AFTER_S
                if answered or too_long or attempt == ATTEMPTS:
                    raise BackendFailed(error.detail) from error
                wait_s = error.wait_s
                without_tracebacks(error)  # of this attempt: nobody will see it
            # The jitter keeps replies that failed together from asking again together.
            backoff = self._first_backoff * 2.0 ** (attempt - 1)
            await asyncio.sleep(max(wait_s, backoff * random.uniform(0.5, 1.0)))

    async def _post(self, body: bytes) -> aiohttp.ClientResponse:
        """Send the request once and return the response, which has status 200."""
        if self._session is None:
            raise BackendFailed("The backend is closed.")
        try:
            # aiohttp's own timeouts begin anew with each byte of the head and each interim response
            # (RFC 9110 section 15.2), and it has none for a server that does not take the request.
            patience = min(CONNECT_TIMEOUT_S, self._timeout) + self._timeout
            async with asyncio.timeout(patience):
                # A redirect would carry the conversation, and perhaps the key, elsewhere.
                response = await self._session.post(
                    self._url, data=body, headers=self._headers, allow_redirects=False
                )
        except TimeoutError as error:
            detail = "The model's server did not answer in time."
            raise BackendFailed(detail) from without_tracebacks(error)
        except (aiohttp.ClientError, OSError) as error:
            detail = "The model's server can't be reached."
            raise TransientFailure(detail) from without_tracebacks(error)
        if response.status == 200:
            return response
        try:
            raise await self._refusal(response)
        finally:
            response.close()

    async def _refusal(self, response: aiohttp.ClientResponse) -> BackendFailed:
        """Return the failure that a response of another status than 200 is."""
        raw = bytearray()
        try:
            body = ResponseBody(response)
            async with asyncio.timeout(min(self._timeout, REFUSAL_TIMEOUT_S)):
                while len(raw) < REFUSAL_LIMIT_BYTES and (data := await body.read()):
                    raw += data
        except (aiohttp.ClientError, OSError, BackendFailed) as error:
            without_tracebacks(error)  # the status is enough
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
        return TransientFailure(detail, wait_s=wait_s or 0.0)

    def _redact(self, words: str) -> str:
        """Return the server's words in one line, cut to `LONGEST_QUOTE`, without any secret."""
        for secret in self._secrets:
            words = words.replace(secret, "…")
        line = " ".join(words.split())
        return line if len(line) <= LONGEST_QUOTE else line[:LONGEST_QUOTE] + "…"


def _make_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Return the socket of a new connection, with its receive buffer set before it connects."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    return made
