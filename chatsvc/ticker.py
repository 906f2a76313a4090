"""One clock hand for every stream: it calls whoever is due, many at a time, without a timer or a task each.

Rules
- Time is in integer microseconds of the monotonic clock. `now` is when the present turn began, so all that
  is called in one turn sees the same time, and nobody sees a time that has not come. `slot` is the slot that holds
  it, and `horizon` is it by the store's clock: what is due by then is out.
- A waiter stands in the slot named by its `slot`, or in none. An entry whose waiter has moved on is stale and
  skipped; that makes waking early, moving and leaving cost nothing.
- A waiter is called where it stands: no task, no future and no handle for each call. In a task it can be awaited.
- One slot a turn, and `MOST` waiters: when the hand is late, or a slot full, the event loop accepts and reads between.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Generator
from typing import Any, Self

SLOT = 5_000
"""Width of a slot in microseconds: how late a character can be, and 200 wake-ups a second at most."""

MOST = 128
"""Waiters that are called in a turn at most, a millisecond's work: a new client should not have to wait for a crowd."""

LIMIT_SLOTS = 4
"""Slots after which who is held up by the clock's limit looks again."""

NOW = 0
"""The slot of a waiter that has more to do at once: it is called in the next turn."""

IDLE = -1
"""The slot of a waiter that only `Ticker.wake` wakes."""

DEAF = -2
"""The slot of a waiter that nobody calls."""

_READY = -3


def monotonic() -> int:
    """The monotonic clock in microseconds."""
    return time.monotonic_ns() // 1000


class Clock:
    """A store's clock: the monotonic clock plus `offset` microseconds, never ahead of the store's own time.

    Nothing that is due behind `limit` (microseconds of this clock) is out yet, whatever the time: beyond it, this node
    may not have heard of a stop.
    """

    __slots__ = ("limit", "offset")

    def __init__(self, offset: int = 0, limit: int = 1 << 62) -> None:
        self.offset = offset
        self.limit = limit

    def now(self) -> int:
        """Return the time by this clock (microseconds), whatever its `limit`."""
        return monotonic() + self.offset

    def at(self, monotonic: int) -> int:
        """The time up to which characters are out, by the monotonic clock (microseconds)."""
        return min(monotonic + self.offset, self.limit)


class Waiter:
    """One who is called when its time has come, again and again: set `slot`, then `enter` it in the ticker.

    It may be called before its slot comes, when it is woken: look again at what you wait for. Some `call` does what is
    to be done then; this one ends the wait of a task that awaits it.
    """

    __slots__ = ("future", "slot", "stale", "ticker")

    def __init__(self, ticker: Ticker) -> None:
        self.ticker = ticker
        self.slot = IDLE
        self.stale = False  # set by who changes what is waited for: look for it anew
        self.future: asyncio.Future[None] | None = None

    def call(self) -> None:
        """Its time has come. Set `slot` to be called again."""
        if self.future is not None and not self.future.done():
            self.future.set_result(None)

    def until(self, when: int) -> Self:
        """Name the slot to be called in: at `when` (microseconds), not before. Returns itself, to be awaited."""
        self.slot = -(-when // SLOT)
        return self

    def until_out(self, due: int) -> None:
        """Name the slot to be called in when what is `due` (microseconds of the store's clock) may be out."""
        slot = -((self.ticker.clock.offset - due) // SLOT)
        if slot <= self.ticker.slot:  # its time has come, but the clock's limit hasn't
            slot = self.ticker.slot + LIMIT_SLOTS
        self.slot = slot

    def __await__(self) -> Generator[Any, None, None]:
        self.future = asyncio.get_running_loop().create_future()
        self.ticker.enter(self)
        try:
            yield from self.future
        finally:
            self.future = None

    def close(self) -> None:
        """Never to be called again."""
        self.slot = DEAF


class Ticker:
    """The hand and its slots. Belongs to the running event loop."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.refresh()
        self._loop = asyncio.get_running_loop()
        self._slots: dict[int, list[Waiter]] = {}
        self._order: list[int] = []  # a heap of the slots that are in use
        self._ready: list[Waiter] = []
        self._timer: asyncio.Handle | None = None
        self._timer_slot = 0

    def refresh(self) -> int:
        """The time now; for whoever comes from outside a turn."""
        self.now = monotonic()
        self.slot = self.now // SLOT
        self.horizon = self.clock.at(self.now)
        return self.now

    # ------------------------------------------------------------------ waiting

    def enter(self, waiter: Waiter) -> None:
        """Put a waiter into the slot it names."""
        slot = waiter.slot
        if slot < 0:
            return
        waiters = self._slots.get(slot)
        if waiters is None:
            waiters = self._open(slot)
        waiters.append(waiter)

    def _open(self, slot: int) -> list[Waiter]:
        waiters = self._slots[slot] = []
        heapq.heappush(self._order, slot)
        if self._timer is None or slot < self._timer_slot:
            self._arm()
        return waiters

    def wake(self, waiter: Waiter) -> None:
        """End a wait early, in a turn of its own soon after this one."""
        if waiter.slot == _READY or waiter.slot == DEAF:
            return
        waiter.slot = _READY
        if not self._ready:
            self._loop.call_soon(self._run_ready)
        self._ready.append(waiter)

    # ------------------------------------------------------------------ the hand

    def _turn(self, waiters: list[Waiter], slot: int) -> None:
        """Call every waiter that is still in this slot. The hot loop: one pass an event."""
        into, bucket = IDLE, waiters  # those who move together find their slot once
        for waiter in waiters:
            if waiter.slot != slot:
                continue
            waiter.slot = IDLE  # unless it asks for more
            try:
                waiter.call()
            except Exception as error:  # noqa: BLE001
                # One mistake must not stop the others' turn.
                self._loop.call_exception_handler(
                    {"message": "a waiter failed", "exception": error}
                )
            wanted = waiter.slot
            if wanted < 0:
                continue
            if wanted != into:
                into = wanted
                bucket = self._slots.get(wanted) or self._open(wanted)
            waiter.slot = into  # one number for all: next time it is in the cache
            bucket.append(waiter)

    def _run_ready(self) -> None:
        ready, self._ready = self._ready[:MOST], self._ready[MOST:]
        if self._ready:
            self._loop.call_soon(self._run_ready)
        self.refresh()
        self._turn(ready, _READY)

    def _run(self) -> None:
        self._timer = None
        now = self.refresh()
        order = self._order
        if order and order[0] * SLOT <= now:
            slot = order[0]
            waiters = self._slots[slot]
            if len(waiters) > MOST:
                self._slots[slot] = waiters[MOST:]
            else:
                heapq.heappop(order)
                del self._slots[slot]
            self._turn(waiters[:MOST], slot)
        if order and self._timer is None:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        slot = self._timer_slot = self._order[0]
        delay = slot * SLOT - monotonic()
        if delay <= 0:
            self._timer = self._loop.call_soon(self._run)
        else:
            # uvloop counts whole milliseconds from a cached time, so a timer may fire before its slot: then the
            # slot isn't due yet, and the hand is set again. Rounding up keeps that from happening over and over.
            self._timer = self._loop.call_later(-(-delay // 1000) / 1000, self._run)
