"""TCP servers for tests, on free ports of the loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakSet

Serve = Callable[
    [asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]
]


def free_port() -> int:
    """Return a port of the loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def held_port(holder: object) -> int:
    """Return a port of the loopback which only who asks for it by its number gets, while `holder` lives.

    For a server that is started again on its port: while it is down, the port would else be given to
    whatever connects or listens on this machine.
    """
    with socket.socket() as probe:
        # Who listens sets it, too. Linux then lets both have the port, for this one never listens.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        weakref.finalize(holder, os.close, probe.detach())
    return port


@asynccontextmanager
async def listening(
    serve: Serve, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """Call `serve` for each connection; yield the port. Connections end with the block."""
    tasks: set[asyncio.Task[None]] = set()
    writers = WeakSet[asyncio.StreamWriter]()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, host, port)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A socket is closed some turns of the loop later, and the loop may end before: the garbage
        # collector would then complain of it in another test.
        for writer in list(writers):
            writer.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)
