"""A timer wheel for all streams of a node: it calls those that are due in batches, by one timer.

Time is cut into slots of `SLOT_US`. A waiter names the slot in which it wants to be called and
stands in that slot's list, so ten thousand paced streams cost one timer and no task, future or
handle each.

Invariants:

- Times are integer microseconds of the monotonic clock. `Ticker.now` is when the present turn
  began: everything that is called in one turn sees the same time, and never a time that has not
  come. `Ticker.slot` is the slot that holds it. `Ticker.horizon` is the same time by the store's
  clock: a character that is due by then is released.
- A waiter stands in the slot that its `slot` names, or in none. An entry of a slot's list whose
  waiter names another slot by now is stale and skipped, so that waking a waiter early, moving it
  and closing it cost nothing.
- A waiter is called directly, in the turn. A task can await it instead.
- A turn calls at most one slot and `WAITERS_PER_TURN` waiters. When the ticker is late, or a slot
  is full, the event loop accepts and reads connections between the turns.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Generator
from typing import Any, Self

SLOT_US = 5_000
"""The width of a slot in microseconds: how late a character can be; 200 turns a second at most."""

WAITERS_PER_TURN = 128
"""The waiters that one turn calls at most: about a millisecond, for which a new client waits."""

LIMIT_POLL_SLOTS = 4
"""The slots after which a waiter that `Clock.limit` holds up looks at the limit again."""

# The values of `Waiter.slot` below zero say that a waiter is in no slot, and why. They are numbers
# like the slots themselves, not None or members of an enum, because the ticker compares `slot`
# several times for each character of each stream: one comparison of ints tells a stale entry from a
# valid one, and one sign check tells a waiter that wants to be called again from one that doesn't.

NOW = 0
"""The slot of a waiter that has more to do at once: in the past, so the next turn calls it."""

IDLE = -1
"""The `slot` of a waiter that stands in no slot: only `Ticker.wake` has it called."""

MUTED = -2
"""The `slot` of a waiter that must not be called: it stands in no slot; waking it does nothing."""

_WOKEN = -3
"""The `slot` of a waiter that `Ticker.wake` has put into the list of the next turn."""


def monotonic() -> int:
    """Return the time of the monotonic clock in microseconds."""
    return time.monotonic_ns() // 1000


class Clock:
    """The clock of a store: the monotonic clock of this machine plus an offset.

    `offset` is in microseconds and errs to the past: the clock is never ahead of the store's own
    time. `limit` is a time of this clock, in microseconds, beyond which nothing is released,
    however late it is: this node may not have heard of a stop that happened after it.
    """

    __slots__ = ("limit", "offset")

    def __init__(self, offset: int = 0, limit: int = 1 << 62) -> None:
        self.offset = offset
        self.limit = limit

    def now(self) -> int:
        """Return the time by this clock (microseconds), whatever its `limit`."""
        return monotonic() + self.offset

    def horizon_at(self, monotonic_us: int) -> int:
        """Return the horizon at a monotonic time: a character due by then is released.

        Both are in microseconds.
        """
        return min(monotonic_us + self.offset, self.limit)

    def horizon(self) -> int:
        """Read the monotonic clock and return the present horizon (microseconds)."""
        return self.horizon_at(monotonic())


class Waiter:
    """An object that a ticker calls, again and again, at times that the object chooses.

    To be called, set `slot`, by `until` or `until_released`, and `Ticker.enter` it; in its own
    `call`, set `slot` only. A waiter may be called before its slot when it is woken, so `call`
    looks again whether that which it waits for has come. This class ends the wait of a task that
    awaits it; subclasses override `call` to do the work right there.

    `stale` is set when the object that the waiter waits for, such as a log, has changed: the waiter
    must look it up anew. `future` ends the wait of a task.
    """

    __slots__ = ("future", "slot", "stale", "ticker")

    def __init__(self, ticker: Ticker) -> None:
        self.ticker = ticker
        self.slot = IDLE
        self.stale = False
        self.future: asyncio.Future[None] | None = None

    def call(self) -> None:
        """Run because the slot has come or the waiter was woken. Set `slot` to be called again."""
        if self.future is not None and not self.future.done():
            self.future.set_result(None)

    def until(self, when: int) -> Self:
        """Name the first slot not before `when` (microseconds); return self, to be awaited."""
        self.slot = -(-when // SLOT_US)
        return self

    def until_released(self, due: int) -> None:
        """Name the slot in which a character that is `due` may be released.

        `due` is in microseconds of the store's clock. When it has passed, `Clock.limit` is what
        holds the character up, and the waiter looks again `LIMIT_POLL_SLOTS` later.
        """
        slot = -((self.ticker.clock.offset - due) // SLOT_US)
        if slot <= self.ticker.slot:
            slot = self.ticker.slot + LIMIT_POLL_SLOTS
        self.slot = slot

    def __await__(self) -> Generator[Any, None, None]:
        """Enter the slot that was named, and return when the waiter is called."""
        self.future = asyncio.get_running_loop().create_future()
        self.ticker.enter(self)
        try:
            yield from self.future
        finally:
            self.future = None

    def close(self) -> None:
        """Never be called again. The ticker drops its entry when the slot comes."""
        self.slot = MUTED


class Ticker:
    """The timer wheel of the running event loop.

    `clock` is the store's; it tells which characters are released. `now`, `slot` and `horizon` are
    the time of the present turn, as the module's invariants say; `refresh` sets them.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.refresh()
        self._loop = asyncio.get_running_loop()
        self._slots: dict[int, list[Waiter]] = {}
        self._order: list[int] = []  # a heap of the slots that are in use
        self._woken: list[Waiter] = []
        self._timer: asyncio.Handle | None = None
        self._timer_slot = 0

    def refresh(self) -> int:
        """Read the clock into `now`, `slot` and `horizon`, and return `now` (microseconds).

        Code that runs outside of a turn, in a task or a callback, calls it before it compares
        times.
        """
        self.now = now = monotonic()
        self.slot = now // SLOT_US
        clock = self.clock
        self.horizon = min(now + clock.offset, clock.limit)  # as `Clock.horizon_at`
        return now

    # ------------------------------------------------------------------ waiting

    def enter(self, waiter: Waiter) -> None:
        """Put a waiter into the slot that it names; do nothing if it names none."""
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
        """Have a waiter called soon, in a later turn than this one, whatever slot it stands in.

        Does nothing for a waiter that is woken already or is muted.
        """
        if waiter.slot == _WOKEN or waiter.slot == MUTED:
            return
        waiter.slot = _WOKEN
        if not self._woken:
            self._loop.call_soon(self._run_woken)
        self._woken.append(waiter)

    # ------------------------------------------------------------------ turns

    def _call(self, waiters: list[Waiter], slot: int) -> None:
        """Call every waiter that still names this slot. The hot loop: one pass for each event."""
        # The list that the last waiter moved into is kept: waiters that were called together mostly
        # want the same next slot, and a local comparison is cheaper than a look-up of the list.
        target, target_waiters = IDLE, waiters
        for waiter in waiters:
            if waiter.slot != slot:
                continue
            waiter.slot = IDLE  # unless `call` names another
            try:
                waiter.call()
            except Exception as error:  # noqa: BLE001
                # The mistake of one waiter must not end the turn of the others.
                self._loop.call_exception_handler(
                    {"message": "a waiter failed", "exception": error}
                )
            wanted = waiter.slot
            if wanted < 0:
                continue
            if wanted != target:
                target = wanted
                target_waiters = self._slots.get(wanted) or self._open(wanted)
            # The same int object for all: the next turn then finds it in the processor's cache.
            waiter.slot = target
            target_waiters.append(waiter)

    def _run_woken(self) -> None:
        woken = self._woken[:WAITERS_PER_TURN]
        self._woken = self._woken[WAITERS_PER_TURN:]
        if self._woken:
            self._loop.call_soon(self._run_woken)
        self.refresh()
        self._call(woken, _WOKEN)

    def _run(self) -> None:
        self._timer = None
        now = self.refresh()
        order = self._order
        if order and order[0] * SLOT_US <= now:
            slot = order[0]
            waiters = self._slots[slot]
            if len(waiters) > WAITERS_PER_TURN:
                self._slots[slot] = waiters[WAITERS_PER_TURN:]
            else:
                heapq.heappop(order)
                del self._slots[slot]
            self._call(waiters[:WAITERS_PER_TURN], slot)
        if order and self._timer is None:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        slot = self._timer_slot = self._order[0]
        delay = slot * SLOT_US - monotonic()
        if delay <= 0:
            self._timer = self._loop.call_soon(self._run)
        else:
            # uvloop counts whole milliseconds from a cached time, so a timer may fire before its
            # slot: then the slot isn't due yet, and the timer is set again. Rounding up keeps that
            # from happening over and over.
            self._timer = self._loop.call_later(-(-delay // 1000) / 1000, self._run)
