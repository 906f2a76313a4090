"""Tasks of the store: how to end one for certain, and those that no caller waits for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

logger = logging.getLogger("chatsvc.redis")

Result = TypeVar("Result")


async def cancel(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task that uses redis-py, and wait until it has ended. None is no error."""
    # A timeout inside redis-py that fires at the same moment swallows a cancellation, so one may
    # not be enough.
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


class DetachedTasks:
    """The tasks that write to Redis while no caller waits for them.

    It holds strong references to them, because the event loop keeps only weak ones.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Run a coroutine in a task, and return that. An error of it is logged."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def cancel(self) -> None:
        """Cancel all that still run, without waiting for their end."""
        for task in self._tasks:
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.warning("a message to Redis was lost: %s", task.exception())
