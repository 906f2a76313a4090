"""A reply as its readers see it, and the one generator that feeds every transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING

from ..problems import CursorPastEnd
from ..stores.base import Record
from ..stores.log import End, Log
from ..ticker import IDLE, SLOT, Ticker, Waiter

if TYPE_CHECKING:
    from .producer import Production

RUN = 1024
"""Characters that a reader is given at once at most, so that catching up is cut into pieces."""

LIMIT_SLOTS = 4
"""Slots of the ticker after which a reader that the clock's limit holds up looks again."""


class Moved(Exception):
    """This node sends its readers away; the reply goes on, and any other node gives the rest."""


class Reading:
    """A block in which a reply has a reader more."""

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __enter__(self) -> None:
        reply = self._reply
        reply.readers += 1
        if reply.readers == 1:
            reply.on_readers(reply)

    def __exit__(self, *_: object) -> None:
        reply = self._reply
        reply.readers -= 1
        if not reply.readers:
            reply.on_readers(reply)


class Reply:
    """An append-only text with one end (PROTOCOL.md section 1), read by any number of readers."""

    __slots__ = (
        "__weakref__",
        "grace",
        "leaving",
        "log",
        "on_readers",
        "producer",
        "readers",
        "record",
        "started",
        "ticker",
    )

    def __init__(
        self,
        record: Record,
        log: Log,
        ticker: Ticker,
        on_readers: Callable[[Reply], None],
    ) -> None:
        self.record = record
        self.log = log
        self.on_readers = on_readers
        self.readers = 0
        self.started = ticker.refresh()  # when this node took it in hand
        self.producer: Production | None = None  # on the node that owns it
        self.leaving = False  # readers are sent away: this node goes
        self.grace: asyncio.TimerHandle | None = None
        self.ticker = ticker

    @property
    def id(self) -> str:
        """The reply id."""
        return self.log.reply_id

    @property
    def end(self) -> End | None:
        """How it ended, or None while it runs."""
        return self.log.end

    @property
    def state(self) -> str:
        """running, done, stopped or failed."""
        return self.log.end.state if self.log.end is not None else "running"

    def out(self) -> int:
        """The position (code points) that is out now."""
        self.ticker.refresh()
        return self.log.out(self.ticker.horizon)

    def leave(self) -> None:
        """Send all readers away: they get `Moved` where they stand."""
        self.leaving = True
        self.log.interrupt()

    def check(self, after: int) -> None:
        """Raise `CursorPastEnd` for a position that the reply has not reached, as far as this node knows.

        One that has arrived but is not out yet is accepted: on another node, whose clock may be ahead, it may be out.
        """
        if after > self.log.position:
            raise CursorPastEnd(
                f"The reply has reached position {self.log.position}, not {after}."
            )

    def reading(self) -> Reading:
        """Count a reader for as long as the block lasts."""
        return Reading(self)

    async def characters(
        self, after: int = 0
    ) -> AsyncGenerator[tuple[int, Sequence[str]], None]:
        """What is out after position `after`, at once; then each character when it is due; until the end.

        Gives the position (code points) before a run of characters, and the run: whole characters (after a position
        inside one, what is left of it first), at most `RUN` of them. Then `end` tells how it ended. Works in a task
        and driven by the ticker. Raises `Moved` when this node sends its readers away.
        """
        log, ticker = self.log, self.ticker
        clock = ticker.clock
        waiter = log.notify(ticker)
        ticker.refresh()
        position = after
        try:
            while True:
                segment = log.find(position)
                if segment is None:
                    if log.end is not None:
                        return
                    if self.leaving:
                        raise Moved
                    waiter.slot = IDLE
                    await waiter
                    continue
                if self.leaving:
                    raise Moved
                waiter.moved = False
                start, first, step = segment.start, segment.first, segment.step
                text, count, simple = segment.text, segment.count, segment.ends is None
                index = segment.index(position - start)
                due = first + index * step
                while index < count and not waiter.moved:
                    if ticker.horizon < due:
                        slot = (due - clock.offset + SLOT - 1) // SLOT
                        if slot <= ticker.slot:  # held up by the limit
                            slot = ticker.slot + LIMIT_SLOTS
                        waiter.slot = slot
                        await waiter
                    elif simple and ticker.horizon < due + step:  # one, as usual
                        yield position, text[index]
                        index += 1
                        position += 1
                        due += step
                    else:
                        before = position
                        out = (ticker.horizon - first) // step + 1 if step else count
                        out = min(out, count, index + RUN)
                        run = segment.characters(index, out)
                        left = before - start - segment.offset(index)
                        if left:
                            run = [run[0][left:], *run[1:]]
                        position = start + segment.offset(out)
                        index, due = out, first + out * step
                        yield before, run
        finally:
            log.forget(waiter)


class Released(Waiter):
    """Calls `then`, once, when all text of a reply that has arrived is out. Stands in the ticker itself."""

    __slots__ = ("_log", "_then")

    def __init__(self, reply: Reply, then: Callable[[], None]) -> None:
        super().__init__(reply.ticker)
        self._log = reply.log
        self._then = then
        self.send = self._look

    def start(self) -> None:
        """Begin to wait; `then` may be called at once."""
        self.ticker.refresh()
        if self._look() is not None:
            self.ticker.enter(self)

    def _look(self, _: None = None) -> Waiter | None:
        ticker, due = self.ticker, self._log.due()
        if due > ticker.horizon:
            when = due - ticker.clock.offset
            if when <= ticker.now:  # held up by the limit
                when = ticker.now + LIMIT_SLOTS * SLOT
            return self.until(when)
        self.close()
        self._then()
        return None
