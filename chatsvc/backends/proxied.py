"""The route to a model's server through a proxy of the environment, by aiohttp's client.

aiohttp speaks to proxies, http's and https's. It costs twice what a connection of
`chatsvc.backends.direct` does.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

import aiohttp
from yarl import URL

from chatsvc.backends.body import ResponseBody
from chatsvc.backends.direct import make_socket
from chatsvc.backends.response import Receiver
from chatsvc.problems import BackendFailed
from chatsvc.proxies import Proxy
from chatsvc.tracebacks import without_tracebacks

READ_BUFFER_BYTES = 16 * 1024
"""aiohttp stops reading a connection at twice as many bytes that nobody has taken, or a sixteenth
as many chunks: with its own default, chunks of one byte take 50 ms at once."""


class SessionRoute:
    """A `Route` to `url` by a session of aiohttp's client, through `proxy` unless that is None.

    `headers` go with each request; `connect_timeout` is the time in seconds in which a connection
    must be there, `read_timeout` the longest silence on it.
    """

    def __init__(
        self,
        url: URL,
        headers: Mapping[str, str],
        connect_timeout: float,
        read_timeout: float,
        proxy: Proxy | None,
    ) -> None:
        self.proxy = proxy
        self._url = url
        # Replies are limited where they are admitted. Another limit here would let those above it
        # wait, and no user would learn why.
        connector = aiohttp.TCPConnector(limit=0, socket_factory=make_socket)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            # Without its own time-out for reading, aiohttp keeps a connection whose request was
            # given up while the server did not take it.
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=connect_timeout, sock_read=read_timeout
            ),
            auto_decompress=False,
            read_bufsize=READ_BUFFER_BYTES,
            # Cookies would tie the conversations of different users together, and a jar of them
            # only grows.
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def post(
        self, make_body: Callable[[], bytes], headers: Mapping[str, str], seconds: float
    ) -> SessionExchange:
        """See `Route.post`; but aiohttp keeps the body until the response's head has come."""
        try:
            # A redirect would carry the conversation, and perhaps the key, elsewhere.
            async with asyncio.timeout(seconds):
                response = await self._session.post(
                    self._url,
                    data=make_body(),
                    headers=headers,
                    proxy=self.proxy.url if self.proxy is not None else None,
                    allow_redirects=False,
                )
        except aiohttp.ClientError as error:
            if isinstance(error, OSError):  # a time-out is one, and most others
                raise
            raise ConnectionError(str(error)) from without_tracebacks(error)
        return SessionExchange(response)

    async def close(self) -> None:
        """See `Route.close`."""
        await self._session.close()


class SessionExchange:
    """An `Exchange` by aiohttp: a task that calls `more` reads the body."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.fields: Mapping[str, str] = {
            name.lower(): value for name, value in response.headers.items()
        }
        self._response = response
        self._body: ResponseBody | None = None
        self._receiver: Receiver | None = None

    def start(self, receiver: Receiver) -> None:
        """See `Exchange.start`."""
        self._receiver = receiver
        try:
            self._body = ResponseBody(self._response)
        except BackendFailed as error:
            receiver.fail(without_tracebacks(error))

    async def more(self) -> None:
        """See `Exchange.more`."""
        receiver, body = self._receiver, self._body
        if receiver is None or body is None:
            return
        clock = asyncio.get_running_loop().time
        while not (receiver.held or receiver.over):
            try:
                async with asyncio.timeout_at(receiver.deadline):
                    data = await body.read()
            except BackendFailed as error:
                receiver.fail(without_tracebacks(error))
            except aiohttp.ServerTimeoutError as error:  # the body is lost with it
                without_tracebacks(error)
                receiver.look(math.inf)
            except TimeoutError as error:
                without_tracebacks(error)
                receiver.look(clock())
            except (aiohttp.ClientError, OSError) as error:
                without_tracebacks(error)
                receiver.break_off()
            else:
                if data:
                    receiver.feed(data, clock())
                else:
                    receiver.end()

    def close(self) -> None:
        """See `Exchange.close`: aiohttp has put a connection that was read whole into its pool."""
        self._response.close()
