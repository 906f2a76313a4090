"""A wake-up of the one task that waits for something."""

from __future__ import annotations

import asyncio


class WakeUp:
    """What one task waits for, again and again; while none waits, a wake-up does nothing."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Return at the next wake-up."""
        self._future = self._loop.create_future()
        try:
            await self._future
        finally:
            self._future = None

    def wake(self) -> None:
        """Wake the task that waits, if one does."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
