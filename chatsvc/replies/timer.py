"""A call that is due later, and of which there is at most one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Timer:
    """At most one call that the event loop makes later; a new one takes the place of the last."""

    __slots__ = ("_handle",)

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether a call is still to come."""
        return self._handle is not None

    def start(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        """Call `call` with `arguments` after that many seconds, and nothing before."""
        self.stop()
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(seconds, self._due, call, arguments)

    def stop(self) -> None:
        """Drop the call that is still to come, if there is one."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _due(self, call: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._handle = None
        call(*arguments)
