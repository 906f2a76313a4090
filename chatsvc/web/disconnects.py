"""The watch for clients that leave.

It is for applications that run without aiohttp's `handler_cancellation`. There a handler learns
that its client has left only when it writes. A silent reply writes nothing, so its reader would
stay for ever, and the reply would never be abandoned.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

CHECK_INTERVAL_S = 1.0
"""Seconds between two looks at all connections: aiohttp has no callback for one that closes."""


def is_gone(request: web.Request) -> bool:
    """Return whether the client of a request has left."""
    return request.transport is None or request.transport.is_closing()


class Clients:
    """The tasks that answer requests; `watch` cancels those whose client has left."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any] | None, web.Request] = {}

    def enter(self, request: web.Request) -> None:
        """Watch the client of a request that the current task answers."""
        self._tasks[asyncio.current_task()] = request

    def leave(self) -> None:
        """Stop watching the request that the current task answers."""
        self._tasks.pop(asyncio.current_task(), None)

    async def watch(self) -> None:
        """Look at all connections every `CHECK_INTERVAL_S`, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            for task, request in list(self._tasks.items()):
                if task is not None and is_gone(request):
                    # Cancelled once, for the task may take its time to end.
                    del self._tasks[task]
                    task.cancel()


CLIENTS = web.AppKey("clients", Clients)
"""The key of the application's `Clients`."""
