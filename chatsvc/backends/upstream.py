"""The client of one model server: attempts and timeouts.

It knows HTTP and nothing of what a server says: that is a `ModelRequest`'s business, and its
reader's. A backend for another kind of server hands it the URL and a request
(`chatsvc.backends.openai` shows how). How it is connected is a `Route`'s.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping

from aiohttp.http import SERVER_SOFTWARE
from yarl import URL

from chatsvc.backends.answer import QUIET_LIMIT_BYTES, Answer
from chatsvc.backends.direct import DirectRoute
from chatsvc.backends.errors import TransientFailure
from chatsvc.backends.exchange import Exchange, Route
from chatsvc.backends.model_request import ModelRequest
from chatsvc.backends.proxied import SessionRoute
from chatsvc.backends.receivers import RefusalBody
from chatsvc.backends.response import Take
from chatsvc.model import Piece
from chatsvc.problems import BackendFailed
from chatsvc.proxies import basic_authorization, netrc_authorization, proxy_of
from chatsvc.tracebacks import without_tracebacks

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


class UpstreamClient:
    """The client of the model server at `url`, to which every request is POSTed.

    `headers` go with each request, one of them usually with a key. `accept` is the media type
    that is asked for. `timeout` is the longest silence in seconds, before the response and between
    two bytes of it. `first_backoff` is in seconds, too. `quiet_limit` is that of `Answer`. The
    constructor raises `ValueError` for a URL or a header that can't be sent.

    Invariants:

    - Every response ends: its head within `timeout` and the time for the connection, a refusal's
      body within `REFUSAL_TIMEOUT_S`, an answer within the limits of `Answer`.
    - The event loop gets a turn after each `chatsvc.backends.body.TURN_BYTES` of a response,
      however fast it comes and however well it is packed.
    - The server's connection is closed when the generator of `stream` is, at whatever stage. Only
      a response that has come to its end, or does so within `DRAIN_S` of its complete answer, gives
      its connection back for the next request.
    - Nothing is asked twice once a piece of the answer has been passed on.
    - What `headers` hold leaves in them and nowhere else.
    """

    def __init__(
        self,
        url: str,
        *,
        accept: str,
        headers: Mapping[str, str],
        timeout: float,
        first_backoff: float = FIRST_BACKOFF_S,
        quiet_limit: int = QUIET_LIMIT_BYTES,
    ) -> None:
        self._url = URL(url)
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise ValueError(f"{url!r} is no URL of a model's server")
        self._host = self._url.host_port_subcomponent or ""
        self._headers = {
            "Accept": accept,
            # Compressed events arrive in lumps, if at all before the end. Some servers compress
            # all the same, and that is unpacked.
            "Accept-Encoding": "identity",
            "User-Agent": SERVER_SOFTWARE,
            "Content-Type": "application/json",
            **headers,
        }
        for name, value in self._headers.items():
            if any(mark in name + value for mark in "\r\n\0"):
                raise ValueError(f"the header {name} has a line end in its value")
        self._timeout = timeout
        self._connect_timeout = min(CONNECT_TIMEOUT_S, timeout)
        self._first_backoff = first_backoff
        self._quiet_limit = quiet_limit
        self._route: Route | None = None

    async def open(self) -> None:
        """Find the route to the server, unless there is one; nothing is connected yet."""
        if self._route is None:
            self._route = route_to(
                self._url, self._headers, self._connect_timeout, self._timeout
            )

    async def close(self) -> None:
        """Close all connections; requests that are still running fail."""
        route, self._route = self._route, None
        if route is not None:
            await route.close()

    async def stream(
        self, request: ModelRequest, take: Take | None = None
    ) -> AsyncGenerator[Piece, None]:
        """POST a request; yield the answer as it comes, then its `Finish`.

        Each piece is offered to `take` first, and yielded only if that does not take it. Opens the
        client if it is not open.

        Raises `BackendFailed` when the server can't be reached, refuses, falls silent, breaks off,
        or sends what can't be read: with the server's words where it has any, redacted. What had
        arrived before the failure has been passed on by then.
        """
        await self.open()
        clock = asyncio.get_running_loop().time
        for attempt in range(1, ATTEMPTS + 1):
            given = 0
            try:
                exchange = await self._post(request)
            except BackendFailed as error:
                failure = without_tracebacks(error)
            else:
                reader = request.reader()
                answer = Answer(reader, self._timeout, clock(), take, self._quiet_limit)
                try:
                    exchange.start(answer)
                    while not answer.over or answer.pieces:
                        while answer.pieces:
                            # It stays the first until it has been taken on: `take` then gets none
                            # of those behind it.
                            yield answer.pieces[0]
                            answer.drop()
                        if not answer.over:
                            await exchange.more()
                finally:
                    exchange.close()
                if answer.failure is None:
                    if answer.finish is not None:
                        yield answer.finish
                    return
                failure, given = answer.failure, answer.given
                # They hold the failure, whose traceback will hold this frame.
                del answer, exchange, reader
            failure.host, failure.attempts = self._host, attempt
            if (
                not isinstance(failure, TransientFailure)
                or given
                or failure.wait_s > LONGEST_RETRY_AFTER_S
                or attempt == ATTEMPTS
            ):
                try:
                    raise failure
                finally:
                    del failure
            if failure.at_once:
                continue
            # The jitter keeps replies that failed together from asking again together.
            backoff = self._first_backoff * 2.0 ** (attempt - 1)
            await asyncio.sleep(max(failure.wait_s, backoff * random.uniform(0.5, 1.0)))

    async def _post(self, request: ModelRequest) -> Exchange:
        """Send the request once and return the exchange, whose status is 200."""
        route = self._route
        if route is None:
            raise BackendFailed("The backend is closed.")
        try:
            # One time for all of the head: a server may send it, or interim responses (RFC 9110
            # section 15.2), byte by byte, or not take the request.
            seconds = self._connect_timeout + self._timeout
            exchange = await route.post(request.body, request.headers, seconds)
        except TimeoutError as error:
            detail = f"The model's server did not answer in time{_through(route)}."
            raise BackendFailed(detail) from without_tracebacks(error)
        except OSError as error:
            detail = f"The model's server can't be reached{_through(route)}."
            words = str(error) + (f" ({route.proxy.shown})" if route.proxy else "")
            raise TransientFailure(detail, words=words) from without_tracebacks(error)
        if exchange.status == 200:
            return exchange
        try:
            raise await self._refusal(exchange, request)
        finally:
            exchange.close()

    async def _refusal(
        self, exchange: Exchange, request: ModelRequest
    ) -> BackendFailed:
        """Return the failure that a response of another status than 200 is."""
        seconds = min(self._timeout, REFUSAL_TIMEOUT_S)
        body = RefusalBody(asyncio.get_running_loop().time() + seconds)
        exchange.start(body)
        while not body.over:
            await exchange.more()
        retry_after = exchange.fields.get("retry-after")
        return request.refused(exchange.status, retry_after, bytes(body.content))


def _through(route: Route) -> str:
    """Return what a failure's sentence says of a proxy: its variable, for its host is private."""
    proxy = route.proxy
    return f" through the proxy that {proxy.variable} names" if proxy else ""


def route_to(
    url: URL, headers: Mapping[str, str], connect_timeout: float, read_timeout: float
) -> Route:
    """Return the route to `url`: through the proxy that the environment has for it, or direct.

    `headers` go with each request. Without an `Authorization` among them, a name and password in
    the URL are sent, or those that the netrc file has for its host. `connect_timeout` is the time
    in seconds in which a connection must be there, `read_timeout` the longest silence on it, where
    the route itself has to know it.
    """
    if "Authorization" not in headers:
        if url.user is not None:
            known = basic_authorization(url.user, url.password or "")
        else:
            known = netrc_authorization(url) or ""
        headers = {**headers, **({"Authorization": known} if known else {})}
    url = url.with_user(None)
    proxy = proxy_of(url)
    if proxy is None:
        return DirectRoute(url, headers, connect_timeout)
    return SessionRoute(url, headers, connect_timeout, read_timeout, proxy)
