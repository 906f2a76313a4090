"""The interface between `UpstreamClient` and the ways to a model's server.

A *route* is such a way: `chatsvc.backends.direct` connects to the server itself,
`chatsvc.backends.proxied` goes through a proxy by aiohttp's client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from chatsvc.backends.response import Receiver
from chatsvc.proxies import Proxy

RECEIVE_BUFFER_BYTES = 32 * 1024
"""The receive buffer of a connection, which the kernel may double: it bounds what comes in one turn
of the event loop. 64 KiB of interim responses or chunks of one byte are 25 ms of parsing, and
uvloop reads on for as long as there is something, a second and more. Through 100 ms of round-trip
time it lets 300 KB/s pass, a thousand tokens."""


class Exchange(Protocol):
    """One request that was sent, and its response, whose head has come."""

    @property
    def status(self) -> int:
        """The status of the response."""

    @property
    def fields(self) -> Mapping[str, str]:
        """Fields of the response's head, by names in lower case.

        Those of `chatsvc.backends.http_response.KEPT_FIELDS` are among them.
        """

    def start(self, receiver: Receiver) -> None:
        """Feed the body, unpacked, to `receiver` from now on."""

    async def more(self) -> None:
        """Return when the receiver holds something or is over. Call it after `start`."""

    def close(self) -> None:
        """End the exchange; its connection is given back if it can be, else closed."""


class Route(Protocol):
    """A way to one URL of a model's server, and the connections that it keeps."""

    @property
    def proxy(self) -> Proxy | None:
        """The proxy that stands between, or None."""

    async def post(
        self, make_body: Callable[[], bytes], headers: Mapping[str, str], seconds: float
    ) -> Exchange:
        """POST what `make_body` returns, and return the exchange once the response's head has come.

        `headers` go with this request alone; their values are printable ASCII. The body is made for
        each time that it is sent, and let go of when it is written: a server may let many large
        requests wait for long.

        Raises `TimeoutError` when no connection is there in time, or no head within `seconds`, and
        another `OSError` when the server can't be reached or its answer is no HTTP.
        """
        ...

    async def close(self) -> None:
        """Close all connections; exchanges that are still running break off."""
