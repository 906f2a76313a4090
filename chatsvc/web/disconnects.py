"""The watch for clients that leave, and for those that do not take their answer.

The first is for applications that run without aiohttp's `handler_cancellation`. There a handler
learns that its client has left only when it writes. A silent reply writes nothing, so its reader
would stay for ever, and the reply would never be abandoned.

The second is for what is handed to a connection whole, and for what is left when a stream has
ended: aiohttp waits for the client without a deadline, and so does a connection that is closed. A
stream that runs has a deadline of its own (`chatsvc.transports.writing`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Container
from typing import Any

from aiohttp import web

from chatsvc.problems import Unauthorized
from chatsvc.transports.writing import STALLED_US
from chatsvc.web.app_keys import identity_of
from chatsvc.web.problems import PROBLEM

CHECK_INTERVAL_S = 1.0
"""Seconds between two looks at all connections: aiohttp has no callback for one that closes."""

STALLED_S = STALLED_US / 1e6
"""Seconds after which a client that has taken nothing of an answer is dropped."""


UPGRADED = web.RequestKey("upgraded", bool)
"""The key that a request has once its connection is a WebSocket."""


def is_gone(request: web.Request) -> bool:
    """Return whether the client of a request has left."""
    return request.transport is None or request.transport.is_closing()


class Clients:
    """The tasks that answer requests, and the connections whose answers are on their way.

    `watch` cancels the tasks whose client has left, and ends the connections whose client takes
    nothing.
    """

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any] | None, web.Request] = {}
        # The fewest bytes that waited to be sent, and since when (time.monotonic()); None: nobody
        # has looked yet.
        self._sending: dict[asyncio.Transport, tuple[int, float] | None] = {}
        # The API keys, by their digests, of those whose answer is on its way and who have one.
        self._keys: dict[asyncio.Transport, str] = {}

    def enter(self, request: web.Request) -> asyncio.Task[Any] | None:
        """Watch the client of a request that the current task answers; return the task."""
        task = asyncio.current_task()
        self._tasks[task] = request
        transport = request.transport
        if transport in self._sending:
            self._forget(transport)
        return task

    def watch_sending(self, request: web.BaseRequest) -> None:
        """Watch that a client takes what is written now, until it has all or asks again."""
        transport = request.transport
        if transport is not None:
            self._sending[transport] = None
            if key := identity_of(request).key:
                self._keys[transport] = key

    def transports(self) -> set[asyncio.Transport]:
        """Return the connections that something is being sent to, or may be."""
        found = {request.transport for request in self._tasks.values()}
        return {each for each in found if each is not None}.union(self._sending)

    def leave(self, task: asyncio.Task[Any] | None) -> None:
        """Stop watching the request that a task answers."""
        self._tasks.pop(task, None)

    def cut(self, keys: Container[str]) -> None:
        """Break off the answers to all requests that rest on some API keys (by their digests).

        WebSockets go on: they can be closed with a code.
        """
        for request in list(self._tasks.values()):
            cut = identity_of(request).key in keys and UPGRADED not in request
            if cut and request.transport is not None:
                request[PROBLEM] = Unauthorized.code
                request.transport.abort()
        for transport, key in list(self._keys.items()):
            if key in keys:
                transport.abort()

    async def watch(self) -> None:
        """Look at all connections every `CHECK_INTERVAL_S`, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            self._drop_slow_readers(time.monotonic())
            for task, request in list(self._tasks.items()):
                if task is not None and is_gone(request):
                    # Cancelled once, for the task may take its time to end.
                    del self._tasks[task]
                    task.cancel()

    def _drop_slow_readers(self, now: float) -> None:
        for transport, before in list(self._sending.items()):
            waiting = transport.get_write_buffer_size()
            if not waiting:
                self._forget(transport)
            elif before is None or waiting < before[0]:
                self._sending[transport] = waiting, now
            elif now - before[1] >= STALLED_S:
                self._forget(transport)
                transport.abort()

    def _forget(self, transport: asyncio.Transport) -> None:
        self._sending.pop(transport, None)
        self._keys.pop(transport, None)


CLIENTS = web.AppKey("clients", Clients)
"""The key of the application's `Clients`."""
