"""The outbox of one reply that this node owns: what is still to be written to Redis.

Invariants:
- One write of a reply is under way at a time; what comes meanwhile goes with the next.
- What Redis had acknowledged and lost in a failover is written again: the log has it.
- The first failure ends the writing; the producer gets the error by its next call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import chain, groupby
from typing import Any, cast

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.stores.base import NotWritable, Record
from chatsvc.stores.redis.entries import entries_of
from chatsvc.stores.redis.writes import Counts, Write
from chatsvc.units import ANSWER, PartText, Unit, size_of

MAX_PENDING = 32 * 1024
"""Code points, and bytes of marks, that wait to be written; with more the producer has to wait."""

MAX_RUNS = 64
"""The runs that are written at once: each is an entry, and Redis works on nothing else meanwhile."""

Run = str | tuple[Unit, ...]
"""Text of the answer, or side units that follow each other."""


class Outbox:
    """The queue of a reply's units to Redis, in the `epoch` in which this node owns the reply.

    `on_due(outbox)` is called when there is something to write, and nothing of it under way: then
    `take` is to be called once, and after it `written`, `put_back` or `fail`.

    `record` is the reply's, or None when another node created it. `account` is the digest of the
    account that the reply is counted for, or "". `position` is up to where Redis has acknowledged
    the text, and `sides` how many side units it has acknowledged. `room` says whether a run may be
    added without waiting, and none of the calls has failed.
    """

    __slots__ = (
        "_due",
        "_error",
        "_given_up",
        "_idle",
        "_on_due",
        "_pending",
        "_pending_size",
        "_planned_end",
        "_usage",
        "account",
        "epoch",
        "log",
        "position",
        "record",
        "sides",
    )

    def __init__(
        self,
        log: Log,
        epoch: int,
        on_due: Callable[[Outbox], None],
        record: Record | None = None,
        account: str = "",
    ) -> None:
        self.log = log
        self.account = account
        self.epoch = epoch
        self.record = record
        self.position = log.position
        self.sides = log.offset - log.position
        self._on_due = on_due
        self._due = False  # from `on_due` on, until nothing is left to write
        self._idle: asyncio.Future[None] | None = None  # done when that is so
        self._pending: list[Run] = []
        self._pending_size = 0
        self._planned_end: End | None = None  # to be written with the last run
        self._usage: dict[str, Any] | None = None  # that Redis has, of `log.usage`
        self._error: Exception | None = None
        self._given_up = False

    @property
    def given_up(self) -> bool:
        """Whether `give_up` was called."""
        return self._given_up

    @property
    def room(self) -> bool:
        """Whether `add` would neither raise nor return something to wait for, if the run is short."""
        return self._error is None and self._pending_size <= MAX_PENDING

    # ------------------------------------------------------------------ the producer's side

    def add(self, run: Run) -> bool:
        """Queue a run, and return whether that much is pending that `settled` is to be awaited.

        Raises the error that has ended the writing.
        """
        if self._error is not None:
            raise self._error
        if not run:
            return False
        self._pending.append(run)
        self._pending_size += _size(run)
        self._become_due()
        return self._pending_size > MAX_PENDING

    def seal(self, planned_end: End) -> None:
        """Queue the end that will follow, to be written in one entry with the last text.

        One entry, so that no node ever has all of the text and does not know which end follows.
        """
        if self._error is None:
            self._planned_end = planned_end
            self._become_due()

    async def settled(self) -> None:
        """Wait until nothing is left to write, or the writing has failed."""
        while self._due:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    async def flushed(self) -> None:
        """Wait until Redis has acknowledged all that was queued.

        Raises the error that has ended the writing.
        """
        await self.settled()
        if self._error is not None:
            raise self._error

    def has_more_than(self, there: Counts) -> bool:
        """Return whether Redis has acknowledged more than the position and side units `there`.

        False also if the log never had these two together: then nothing can be added to `there`.
        """
        position, sides = there
        return (
            position + sides < self.position + self.sides
            and self.log.position_at(position + sides) == position
        )

    def rewind(self, there: Counts) -> bool:
        """Queue again what Redis has lost, when it has no more than the position and units `there`.

        Returns False when Redis has all that it acknowledged.
        """
        if not self._requeue(there):
            return False
        self._error = None
        self._become_due()
        return True

    def lose(self) -> None:
        """Write nothing more: another node owns the reply. The producer gets `NotWritable`."""
        self._error = NotWritable()

    def give_up(self) -> bool:
        """Mark the reply as failed because Redis is away; return False if it was marked already."""
        first = not self._given_up
        self._given_up = True
        return first

    # ------------------------------------------------------------------ the writer's side

    def take(self) -> Write | None:
        """Remove what is to be written next from the queue, as few entries as it can be, in order.

        Returns None if there is nothing; then nothing is due any more.
        """
        if self._error is not None:
            self._drop_pending()
        if not (self._pending or self._planned_end is not None):
            self._settle()
            return None
        planned_end, size = None, self._pending_size
        runs = self._take_runs()
        if not self._pending:
            planned_end, self._planned_end = self._planned_end, None
        before, usage = (self.position, self.sides), self.log.usage
        entries, behind = entries_of(runs, *before)
        return Write(
            self.log.reply_id,
            self.epoch,
            before,
            behind,
            entries,
            planned_end,
            usage if usage != self._usage else None,
            size - self._pending_size,
        )

    def written(self, write: Write) -> None:
        """Note that Redis has acknowledged what `take` returned."""
        self.position, self.sides = write.behind
        if write.usage is not None:
            self._usage = write.usage
        self._go_on()

    def put_back(self, write: Write, there: Counts) -> None:
        """Queue again what `take` returned, and before it what Redis has lost, which has `there`."""
        runs: list[Run] = [entry.text or entry.units for entry in write.entries]
        self._pending[:0] = runs  # before what has come meanwhile
        self._pending_size += sum(map(_size, runs))
        self._planned_end = write.planned_end or self._planned_end
        self._requeue(there)
        self._go_on()

    def fail(self, error: Exception) -> None:
        """End the writing with an error, after `take`."""
        self._error = error
        self._go_on()

    # ------------------------------------------------------------------ within

    def _become_due(self) -> None:
        if not self._due:
            self._due = True
            self._on_due(self)

    def _go_on(self) -> None:
        """Have what is left written next."""
        if self._error is None and (self._pending or self._planned_end is not None):
            self._on_due(self)
        else:
            self._drop_pending()
            self._settle()

    def _drop_pending(self) -> None:
        self._pending.clear()
        self._pending_size = 0
        self._planned_end = None

    def _settle(self) -> None:
        self._due = False
        if self._idle is not None:
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None

    def _requeue(self, there: Counts) -> bool:
        if not self.has_more_than(there):
            return False
        position, sides = there
        before, offset = position + sides, self.position + self.sides
        runs: list[Run] = []
        for _, unit in self.log.units(before, offset):
            if type(unit) is PartText and unit.part == ANSWER:
                runs.append(unit.text)
            else:
                runs.append((unit,))
        self._pending[:0] = runs
        self._pending_size += sum(map(_size, runs))
        self.position, self.sides = there
        self._planned_end = self._planned_end or self.log.planned_end
        self._usage = None  # what was written together with the units is lost as well
        return True

    def _take_runs(self) -> list[Run]:
        """Remove what is to be written next from the queue: as few runs as it can be, in order."""
        if len(self._pending) == 1:
            runs, self._pending, self._pending_size = self._pending, [], 0
            return runs
        runs = []
        taken = 0
        for is_text, group in groupby(self._pending, lambda run: isinstance(run, str)):
            if len(runs) == MAX_RUNS:
                break
            found = list(group)
            taken += len(found)
            if is_text:
                runs.append("".join(cast(list[str], found)))
            else:
                runs.append(tuple(chain.from_iterable(cast(list[tuple[Unit]], found))))
        del self._pending[:taken]
        self._pending_size = sum(map(_size, self._pending)) if self._pending else 0
        return runs


def _size(run: Run) -> int:
    """Return what a run counts for in `MAX_PENDING`."""
    return len(run) if isinstance(run, str) else sum(map(size_of, run))
