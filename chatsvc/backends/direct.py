"""The route straight to a model's server: its addresses, its connections, and those that are free.

The connections are `chatsvc.backends.connection`'s. They are kept for the next request, for a
handshake costs more than a short reply.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address

import aiohappyeyeballs
from yarl import URL

from chatsvc.backends.connection import Connection
from chatsvc.backends.deadline import DeadlineTimer
from chatsvc.backends.exchange import RECEIVE_BUFFER_BYTES
from chatsvc.backends.http_response import HttpResponse

IDLE_S = 15.0
"""The seconds for which a connection is kept without a request, unless the server names fewer."""

ADDRESSES_S = 10.0
"""The seconds for which the addresses of a name are remembered."""

HAPPY_EYEBALLS_S = 0.25
"""The seconds after which the next address is tried beside one that does not answer (RFC 8305)."""

_CLOSING_S = 1.0

_ANNOUNCED = re.compile(r"timeout\s*=\s*(\d{1,6})")


class DirectRoute:
    """A `Route` to `url` by connections of this process.

    `headers` go with each request; `connect_timeout` is the time in seconds in which a connection
    must be there: its name looked up, its handshakes made. For https the server's certificate is
    checked against the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR` replace them).
    """

    proxy = None

    def __init__(
        self, url: URL, headers: Mapping[str, str], connect_timeout: float
    ) -> None:
        self._host = url.raw_host or ""
        self._port = url.port or 80
        self._tls: ssl.SSLContext | None = None
        if url.scheme == "https":
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        self._head = _request_head(url, headers)
        self._connect_timeout = connect_timeout
        self._addresses = _literal_address(self._host, self._port)
        self._addresses_until = float("inf") if self._addresses else 0.0
        self._looking_up = asyncio.Lock()
        self._free: dict[Connection, None] = {}  # in the order in which they became so
        self._connections: set[Connection] = set()
        self._none_left = asyncio.Event()
        self._closed = False

    async def post(
        self, make_body: Callable[[], bytes], headers: Mapping[str, str], seconds: float
    ) -> Connection:
        """See `Route.post`.

        A server may close a connection that was kept just when a request is sent on it. Then the
        request is sent again, on a new one: as long as nothing of a response has come, it was not
        the request that the server refused.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        if self._free:
            # The one that became free last: the others may come to the end of their time.
            connection, _ = self._free.popitem()
            if connection.idle_timer is not None:
                connection.idle_timer.cancel()
                connection.idle_timer = None
            with suppress(_Stale):
                return await self._exchange(connection, make_body, headers, deadline)
        connection = await self._connect()
        return await self._exchange(connection, make_body, headers, deadline)

    async def _exchange(
        self,
        connection: Connection,
        make_body: Callable[[], bytes],
        headers: Mapping[str, str],
        deadline: float,
    ) -> Connection:
        """Send a request, and return the connection when the response's head has come.

        Raises `TimeoutError` when that has not come by `deadline` (seconds of the loop's clock).
        """
        # It costs a third of `asyncio.timeout`, which cancels the task.
        timer = DeadlineTimer(asyncio.get_running_loop(), connection.abort)
        timer.set(deadline)
        try:
            body = make_body()
            more = b""
            if headers:
                more = "".join(f"{n}: {v}\r\n" for n, v in headers.items()).encode()
            head, length = self._head, len(body)
            connection.ask(b"%b%d\r\n%b\r\n%b" % (head, length, more, body))
            del body
            await connection.head()
        except ConnectionError:
            if not timer.is_set:
                raise TimeoutError from None
            stale = connection.used and not connection.answered
            connection.abort()
            if stale:
                raise _Stale from None
            raise
        except BaseException:
            connection.abort()
            raise
        finally:
            timer.cancel()
        return connection

    async def close(self) -> None:
        """See `Route.close`."""
        self._closed = True
        for connection in list(self._connections):
            connection.abort()
        if self._connections:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING_S):
                    await self._none_left.wait()

    # ------------------------------------------------------------------ connecting

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._connect_timeout):
            sock = await aiohappyeyeballs.start_connection(
                await self._look_up(),
                happy_eyeballs_delay=HAPPY_EYEBALLS_S,
                socket_factory=make_socket,
            )
            connection = Connection(self._on_free, self._on_lost)
            try:
                await loop.create_connection(
                    lambda: connection,
                    sock=sock,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls is not None else None,
                )
            except BaseException:
                sock.close()
                raise
        self._connections.add(connection)
        self._none_left.clear()
        if self._closed:
            connection.abort()
        return connection

    async def _look_up(self) -> list[aiohappyeyeballs.AddrInfoType]:
        loop = asyncio.get_running_loop()
        async with self._looking_up:  # replies that begin together look it up once
            if loop.time() >= self._addresses_until:
                found = await loop.getaddrinfo(
                    self._host, self._port, type=socket.SOCK_STREAM
                )
                self._addresses = list(found)
                self._addresses_until = loop.time() + ADDRESSES_S
        return self._addresses

    # ------------------------------------------------------------------ keeping

    def _on_free(self, connection: Connection, response: HttpResponse) -> None:
        seconds = IDLE_S
        if announced := _ANNOUNCED.search(response.fields.get("keep-alive", "")):
            # The server counts from when it sent the end, and is to have no reason to close first.
            seconds = min(seconds, int(announced[1]) - 1.0)
        if self._closed or seconds <= 0:
            connection.abort()
            return
        self._free[connection] = None
        loop = asyncio.get_running_loop()
        connection.idle_timer = loop.call_later(seconds, connection.abort)

    def _on_lost(self, connection: Connection) -> None:
        self._free.pop(connection, None)
        if connection.idle_timer is not None:
            connection.idle_timer.cancel()
            connection.idle_timer = None
        self._connections.discard(connection)
        if not self._connections:
            self._none_left.set()


class _Stale(Exception):
    """A connection that was kept, and closed by the server before it answered."""


def make_socket(address: aiohappyeyeballs.AddrInfoType) -> socket.socket:
    """Return the socket of a new connection, with its receive buffer set before it connects."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    return made


def _literal_address(host: str, port: int) -> list[aiohappyeyeballs.AddrInfoType]:
    """Return the address of a host that is one, or nothing."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return []
    kind, numeric = socket.SOCK_STREAM, socket.AI_NUMERICHOST
    return list(socket.getaddrinfo(host, port, type=kind, flags=numeric))


def _request_head(url: URL, headers: Mapping[str, str]) -> bytes:
    """Return the head of a request up to the value of its Content-Length, its last field."""
    lines = [f"POST {url.raw_path_qs} HTTP/1.1", f"Host: {url.host_port_subcomponent}"]
    for name, value in headers.items():
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "Content-Length: "]).encode()
