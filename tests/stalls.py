"""How long the event loop is held by some work, beside how long it is held by nothing.

A ticker wakes up every 5 ms; between two of its turns the loop has done everything else. What is
taken is the processor time of the loop's thread between them, and not the time on the wall: another
process that takes the processor holds every loop, idle or not, and says nothing of this one. (Work
that blocks without computing, as `time.sleep` does, is not seen.)
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")

TICK_S = 0.005

FACTOR = 20.0
"""How many times the longest gap of an idle loop the gap beside the work may be."""

FLOOR_S = 0.05
"""The gap that is always good: an idle loop's is so short that a multiple of it is noise."""

LONGEST_IDLE_S = 1.0
"""How long the idle loop is watched at most, however long the work took."""


class Ticker:
    """`longest` is the longest gap so far between two ticks, in seconds of processor time."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        """Tick until cancelled."""
        before = time.thread_time()
        try:
            while True:
                await asyncio.sleep(TICK_S)
                before = self._note(before)
        finally:
            self._note(before)

    def _note(self, before: float) -> float:
        now = time.thread_time()
        self.longest = max(self.longest, now - before)
        return now


@asynccontextmanager
async def ticking() -> AsyncIterator[Ticker]:
    """Run a ticker beside the block."""
    ticker = Ticker()
    task = asyncio.create_task(ticker.run())
    await asyncio.sleep(0)  # it has begun
    try:
        yield ticker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def without_stall(
    work: Coroutine[Any, Any, T], *, factor: float = FACTOR, floor_s: float = FLOOR_S
) -> T:
    """Await `work` and return its result; fail if it held the loop for longer than it may.

    That is `factor` times the longest gap of the same loop when idle, but at least `floor_s`. The
    collector is off: the heap of a test run is not that of a service.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        begun = time.monotonic()
        async with ticking() as busy:
            result = await work
        taken = time.monotonic() - begun
        async with ticking() as idle:
            await asyncio.sleep(min(max(taken, 20 * TICK_S), LONGEST_IDLE_S))
    finally:
        if enabled:
            gc.enable()
    allowed = max(floor_s, factor * idle.longest)
    assert busy.longest <= allowed, (
        f"the loop was held for {busy.longest * 1e3:.0f} ms"
        f" and is for {idle.longest * 1e3:.1f} ms when idle"
    )
    return result
