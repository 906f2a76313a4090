"""The watch for stalls: what holds the event loop, so that nothing else runs on this node.

A timer of the loop that comes late shows that something held the loop, and for how long. What it
was can be seen only while it runs: a thread looks at the stack of the loop's thread when the timer
is late. It wakes up a dozen times a second and costs some microseconds then.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from types import FrameType

from chatsvc.web.figures import Figure

logger = logging.getLogger("chatsvc")

BEAT_S = 0.025
"""Seconds between two calls of the timer: how exactly a stall is measured."""

STALL_S = 0.1
"""Seconds by which the timer is late when the loop has stalled."""

LOG_INTERVAL_S = 1.0
"""Seconds between two lines of the log."""

FRAMES = 8
"""The innermost calls that a line names."""


class StallWatch:
    """The watch over the running loop, from `start` to `stop`.

    `stalls` counts the stalls of `STALL_S` and more; `longest` is raised to the longest time that
    the loop was held (seconds).
    """

    def __init__(self, stalls: Figure, longest: Figure) -> None:
        self._stalls = stalls
        self._longest = longest
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._beat = time.monotonic()
        self._cpu = time.thread_time()
        self._seen: tuple[float, str] | None = None  # a beat, and what ran after it
        self._logged = -LOG_INTERVAL_S
        self._unlogged = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._look, name="chatsvc-stalls", daemon=True
        )

    def start(self) -> None:
        """Begin to watch."""
        self._timer = self._loop.call_later(BEAT_S, self._on_beat)
        self._thread.start()

    def stop(self) -> None:
        """End the watch. The thread ends by itself at once."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()

    def _on_beat(self) -> None:
        before, cpu_before = self._beat, self._cpu
        self._beat, self._cpu = time.monotonic(), time.thread_time()
        late = self._beat - before - BEAT_S
        self._longest.raise_to(late)
        if late >= STALL_S:
            self._stalls.inc()
            self._log(before, late, self._cpu - cpu_before)
        self._timer = self._loop.call_later(BEAT_S, self._on_beat)

    def _log(self, before: float, late: float, cpu: float) -> None:
        if self._beat - self._logged < LOG_INTERVAL_S:
            self._unlogged += 1
            return
        seen = self._seen
        data: dict[str, object] = {
            "seconds": round(late, 3),
            "cpu_seconds": round(cpu, 3),
            "ran": seen[1] if seen is not None and seen[0] == before else "unknown",
        }
        if self._unlogged:
            data["not_logged"] = self._unlogged
        logger.warning("the event loop was held", extra={"data": data})
        self._logged, self._unlogged = self._beat, 0

    def _look(self) -> None:
        """Look at the stack of the loop's thread, once in each stall. It runs in the thread."""
        while True:
            beat = self._beat
            due = beat + BEAT_S + STALL_S * 0.8  # before the timer itself finds out
            if self._stopped.wait(max(BEAT_S, due - time.monotonic())):
                return
            if self._beat == beat and time.monotonic() >= due:
                frame = sys._current_frames().get(self._thread_id)
                if self._seen is None or self._seen[0] != beat:
                    self._seen = beat, calls(frame)
                del frame  # It would keep alive what the calls hold.


def calls(frame: FrameType | None) -> str:
    """Return the innermost calls of a stack as `file:function:line`, the innermost one first.

    Nothing of what the calls work on is in it.
    """
    found: list[str] = []
    while frame is not None and len(found) < FRAMES:
        code = frame.f_code
        file = "/".join(code.co_filename.replace("\\", "/").split("/")[-2:])
        found.append(f"{file}:{code.co_qualname}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(found)
