"""Notices clients that leave, also in an application that runs without `handler_cancellation`.

There aiohttp tells a handler only when it writes. A silent reply writes nothing, so its reader would never leave, and
the reply would never be abandoned.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

LOOK_EVERY = 1.0
"""Seconds between two looks at all connections."""


def is_gone(request: web.Request) -> bool:
    """Whether the client of a request has left."""
    return request.transport is None or request.transport.is_closing()


class Clients:
    """The tasks that answer, each with the request it is for; `look` cancels those whose client has left."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any] | None, web.Request] = {}

    def enter(self, request: web.Request) -> None:
        """Watch the client of a request that this task answers."""
        self._tasks[asyncio.current_task()] = request

    def leave(self) -> None:
        """This task has done so."""
        self._tasks.pop(asyncio.current_task(), None)

    async def look(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for task, request in list(self._tasks.items()):
                if task is not None and is_gone(request):
                    del self._tasks[task]  # once: it may take its time to end
                    task.cancel()


CLIENTS = web.AppKey("clients", Clients)
