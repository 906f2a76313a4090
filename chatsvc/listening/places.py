"""All the places where the service listens, and what the command says of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any, NamedTuple

from chatsvc.listening.addresses import (
    BACKLOG,
    Address,
    CannotListen,
    accepting,
    address_of,
    bind_worker,
)
from chatsvc.listening.certificates import Certificates
from chatsvc.listening.unix import UnixSocket
from chatsvc.settings import Settings
from chatsvc.web.connection_limits import HEAD_S


class Places(NamedTuple):
    """The places where the service listens; there is at least one."""

    sockets: Sequence[socket.socket]
    """The TCP sockets, which are bound. Those of the workers' parent never listen."""
    unix: UnixSocket | None
    """The Unix socket, which all workers accept connections from."""
    certificates: Certificates | None
    """What TLS is done with on the TCP sockets; None for plain http."""
    admin: socket.socket | None
    """The socket of the admin port, which all workers accept connections from."""

    def addresses(self) -> list[Address]:
        """Return the addresses of the TCP sockets."""
        return [address_of(each) for each in self.sockets]

    def of_worker(self) -> Places:
        """Return the places of a worker, with sockets of its own at the same addresses.

        Raises `CannotListen`.
        """
        return self._replace(sockets=[bind_worker(each) for each in self.addresses()])

    def lines(self) -> list[str]:
        """Return what the command prints once it listens (PROTOCOL.md section 8)."""
        scheme = "http" if self.certificates is None else "https"
        names = [f"{scheme}://{address.place}" for address in self.addresses()]
        if self.unix is not None:
            names.append(self.unix.place)
        lines = [f"chatsvc is running on {names[0]}"]
        lines += [f"and on {name}" for name in names[1:]]
        if self.admin is not None:
            place = address_of(self.admin).place
            lines.append(f"its metrics are on http://{place}/metrics")
        return lines


@asynccontextmanager
async def listening_on(
    places: Places,
    factory: Callable[[], asyncio.BaseProtocol],
    settings: Settings | None,
) -> AsyncIterator[Places]:
    """Accept connections on all of `places` but the admin port while the context lasts.

    `factory` makes their protocols. `settings` are those of a process that serves alone: it makes
    the Unix socket that they name, and removes its file. Provides the places with that socket.
    Raises `CannotListen`.
    """
    loop = asyncio.get_running_loop()
    tls: dict[str, Any] = {}
    if places.certificates is not None:
        tls["ssl"] = places.certificates.context
        # The limits of connections begin where the handshake ends.
        tls["ssl_handshake_timeout"] = HEAD_S
    with ExitStack() as stack:
        for each in places.sockets:
            try:
                for listening in accepting(each, loop):
                    server = await loop.create_server(
                        factory, sock=listening, backlog=BACKLOG, **tls
                    )
                    stack.callback(server.close)
            except OSError as error:
                raise CannotListen(address_of(each).place, error) from None
        unix = places.unix
        if settings is not None and settings.uds:
            # Not before: until it listens, another process takes its file for one left behind.
            unix = UnixSocket(settings.uds, settings.uds_mode)
        if unix is None:
            yield places
            return
        try:
            for each_server in await unix.serve(factory):
                stack.callback(each_server.close)
            yield places._replace(unix=unix)
        finally:
            if settings is not None:
                unix.remove()
