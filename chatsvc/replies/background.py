"""How tasks are started, and strong references to detached ones: the event loop has weak ones."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

STARTS_AT_ONCE = sys.version_info >= (3, 12)
"""Whether a task of `started_task` has run up to its first wait; older Pythons can't do that."""


def started_task(coroutine: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
    """Return a new task, which runs at once if `STARTS_AT_ONCE`, else in the loop's next turn."""
    if sys.version_info >= (3, 12):
        loop = asyncio.get_running_loop()
        return asyncio.Task(coroutine, loop=loop, eager_start=True)
    return asyncio.create_task(coroutine)


class Background:
    """The detached tasks of a node: they go on when the code that has started them is cancelled."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Start a task for a coroutine, keep it until it is done, and return it."""
        task = asyncio.create_task(coroutine)
        self.keep(task)
        return task

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Keep a task that runs already until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> set[asyncio.Task[Any]]:
        """Cancel all tasks that still run, and return them to be awaited."""
        for task in self._tasks:
            task.cancel()
        return set(self._tasks)
