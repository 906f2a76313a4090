"""One clock hand for every stream: it wakes whoever is due, many at a time, without a timer or a task each.

Rules
- Time is in integer microseconds of the monotonic clock. `now` is when the present turn began, so all that
  is woken in one turn sees the same time, and nobody sees a time that has not come. `slot` is the slot that holds
  it, and `horizon` is it by the store's clock: what is due by then is out.
- A waiter stands in the slot named by its `slot`, or in none. An entry whose waiter has moved on is stale and
  skipped; that makes waking early, moving and leaving cost nothing.
- A *driven* coroutine is stepped by the ticker itself: no task, no future and no handle for each wake-up.
  It may await waiters only. It has no `current_task()`, so `asyncio.timeout` and friends don't work in it.
  The same coroutine runs in a task as well; a waiter that is awaited there waits on a future.
- One slot a turn: when the hand is late it lets the event loop accept and read between two slots.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any

SLOT = 5_000
"""Width of a slot in microseconds: how late a character can be, and 200 wake-ups a second at most."""

IDLE = -1
"""The slot of a waiter that only `Ticker.wake` wakes."""
_READY = -2
_CLOSED = -3


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

    def at(self, monotonic: int) -> int:
        """The time up to which characters are out, by the monotonic clock (microseconds)."""
        return min(monotonic + self.offset, self.limit)


class Waiter:
    """What a stream waits with: set `slot`, then await it. One is used again and again.

    It ends its wait when its slot comes or when it is woken, and may do so early: look again at what you wait for.
    """

    __slots__ = ("driven", "moved", "send", "slot", "ticker")

    def __init__(self, ticker: Ticker) -> None:
        self.ticker = ticker
        self.slot = IDLE
        self.moved = False  # set by who changes what is waited for: look for it anew
        self.send: Callable[[None], Any] | None = None
        self.driven: Driven | None = None

    def until(self, when: int) -> Waiter:
        """Ask to be woken at `when` (microseconds), not before; returns itself, to be awaited."""
        self.slot = -(-when // SLOT)
        return self

    def __await__(self) -> Generator[Any, None, None]:
        if self.ticker.stepping:
            # To yield it would make a generator of this, which costs more than an iterator.
            return iter((self,))  # type: ignore[return-value]
        return self._in_task()

    def _in_task(self) -> Generator[Any, None, None]:
        future = asyncio.get_running_loop().create_future()
        self.driven = None
        self.send = lambda _: None if future.done() else future.set_result(None)
        self.ticker.enter(self)
        try:
            yield from future
        finally:
            self.slot, self.send = IDLE, None

    def close(self) -> None:
        """Never to be woken again."""
        self.slot = _CLOSED
        self.send = None


class Driven:
    """A coroutine that the ticker steps. `done` has its end: a result, or the exception it raised."""

    __slots__ = ("_closed", "_coroutine", "done", "send")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._closed = False
        self._coroutine = coroutine
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.send = coroutine.send

    def finish(self) -> None:
        """The coroutine has returned."""
        self._closed = True
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        """The coroutine has raised: that is its end."""
        self._closed = True
        if isinstance(error, asyncio.CancelledError):
            self.done.cancel()
        elif not self.done.done():
            self.done.set_exception(error)

    def refuse(self) -> None:
        """End it, for it awaits what the ticker can't step."""
        self.fail(RuntimeError("a driven coroutine may await waiters only"))
        with contextlib.suppress(Exception):
            self._unwind()

    def close(self) -> None:
        """End it where it stands, running its `finally` clauses; nothing happens if it has ended."""
        if self._closed:
            return
        self._closed = True
        self.done.cancel()
        self._unwind()

    def _unwind(self) -> None:
        # Not `close()`: it does not reach into an async generator that is being awaited (CPython 3.11).
        with contextlib.suppress(StopIteration, asyncio.CancelledError):
            self._coroutine.throw(asyncio.CancelledError())
        self._coroutine.close()


class Ticker:
    """The hand and its slots. Belongs to the running event loop."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.refresh()
        self.stepping = False  # whether a driven coroutine is being stepped
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
        if waiter.slot == _READY or waiter.slot == _CLOSED or waiter.send is None:
            return
        waiter.slot = _READY
        if not self._ready:
            self._loop.call_soon(self._run_ready)
        self._ready.append(waiter)

    # ------------------------------------------------------------------ driving

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Driven:
        """Drive a coroutine: its first step is made here and now."""
        driven = Driven(coroutine)
        self.refresh()
        waiter = Waiter(self)
        waiter.send = driven.send
        waiter.driven = driven
        waiter.slot = _READY
        outer = self.stepping
        self._turn([waiter], _READY)
        self.stepping = outer
        return driven

    async def drive(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Drive a coroutine and wait for its end, in a task that sleeps meanwhile.

        Raises what the coroutine raises. Cancelled, it closes the coroutine.
        """
        driven = self.start(coroutine)
        try:
            await driven.done
        finally:
            driven.close()

    def _turn(self, waiters: list[Waiter], slot: int) -> None:
        """Step every waiter that is still in this slot. The hot loop: one pass an event."""
        into = -1  # the slot that `enter` is of: those who move together find it once
        enter: Callable[[Waiter], None] = self.enter
        self.stepping = True
        for waiter in waiters:
            if waiter.slot != slot:
                continue
            try:
                following = waiter.send(None)  # type: ignore[misc]
            except StopIteration:
                if waiter.driven is not None:
                    waiter.driven.finish()
                continue
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
                # One mistake must not stop the others' turn.
                driven = waiter.driven
                if driven is None:
                    self._loop.call_exception_handler(
                        {"message": "a waiter's callback failed", "exception": error}
                    )
                else:
                    driven.fail(error)
                continue
            if following is not waiter:
                if type(following) is not Waiter:
                    if waiter.driven is not None:
                        waiter.driven.refuse()
                    continue
                driven = waiter.driven
                if following.send is None and driven is not None:
                    following.send = driven.send  # the waiter may be closed by now
                    following.driven = driven
                waiter = following
            wanted = waiter.slot
            if wanted != into:
                if wanted < 0:
                    continue
                bucket = self._slots.get(wanted)
                into, enter = wanted, (bucket or self._open(wanted)).append
            enter(waiter)
        self.stepping = False

    # ------------------------------------------------------------------ the hand

    def _run_ready(self) -> None:
        ready, self._ready = self._ready, []
        self.refresh()
        self._turn(ready, _READY)

    def _run(self) -> None:
        self._timer = None
        now = self.refresh()
        order = self._order
        if order and order[0] * SLOT <= now:
            slot = heapq.heappop(order)
            self._turn(self._slots.pop(slot), slot)
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
