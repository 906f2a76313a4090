"""A timer for a deadline that moves on with each read, which costs next to nothing to move."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

_SLACK_S = 0.001  # uvloop counts whole milliseconds, and may call a timer early


class DeadlineTimer:
    """A timer that calls `on_time` not before a deadline, and perhaps before a later one.

    `at` is the deadline that it is set to, in seconds of the loop's clock, or infinity. It need not
    be set anew when the deadline moves on, only when it comes forward: `on_time` looks whether the
    deadline has come, and else sets it again. A timer for each read would cost a tenth of the read.
    """

    __slots__ = ("_handle", "_loop", "_on_time", "at")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_time: Callable[[], None]
    ) -> None:
        self.at = math.inf
        self._loop = loop
        self._on_time = on_time
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Whether it has been set and has not called since."""
        return self._handle is not None

    def set(self, deadline: float) -> None:
        """Set the timer to `deadline`, in place of an earlier call's."""
        self.cancel()
        self.at = deadline
        self._handle = self._loop.call_at(deadline + _SLACK_S, self._call)

    def cancel(self) -> None:
        """Unset the timer; nothing is called any more, and no cycle is left."""
        self.at = math.inf
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _call(self) -> None:
        self.at = math.inf
        self._handle = None
        self._on_time()
