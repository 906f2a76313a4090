"""Tasks that go on though whoever began them may leave."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Background:
    """Holds them while they run: the event loop alone does not."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Begin one."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cancel(self) -> set[asyncio.Task[Any]]:
        """Cancel all that run, and give them."""
        for task in self._tasks:
            task.cancel()
        return set(self._tasks)
