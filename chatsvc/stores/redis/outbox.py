"""The outbox of one reply that this node owns: what is still to be written to Redis.

Invariants:
- One write of a reply is under way at a time; what comes meanwhile goes with the next.
- What Redis had acknowledged and lost in a failover is written again: the log has it.
- The first failure ends the writing; the producer gets the error by its next call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import chain, groupby
from typing import Any, cast

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.stores.base import NotWritable, Record
from chatsvc.units import ANSWER, PartText, Unit, size_of

MAX_PENDING = 32 * 1024
"""Code points, and bytes of marks, that wait to be written; with more the producer has to wait."""

MAX_RUNS = 64
"""The runs that are written at once: each is an entry, and a script's arguments have a limit."""

Run = str | tuple[Unit, ...]
"""Text of the answer, or side units that follow each other."""


class Outbox:
    """The queue of a reply's units to Redis, in the `epoch` in which this node owns the reply.

    `write(outbox, runs, planned_end, usage)` writes what follows `outbox.position` and
    `outbox.sides`, perhaps which end will follow, and what the reply has used unless that is None.
    It returns the position and the number of side units that Redis then has, which are less than
    these when Redis has lost some; it raises `NotWritable` when this node does not own the reply
    any more.

    `record` is the reply's, or None when another node created it. `account` is the digest of the
    account that the reply is counted for, or "". `position` is up to where Redis has acknowledged
    the text, and `sides` how many side units it has acknowledged.
    """

    __slots__ = (
        "_error",
        "_given_up",
        "_pending",
        "_pending_size",
        "_planned_end",
        "_usage",
        "_write",
        "account",
        "epoch",
        "flushing",
        "log",
        "position",
        "record",
        "sides",
    )

    def __init__(
        self,
        log: Log,
        epoch: int,
        write: Callable[
            [Outbox, list[Run], End | None, dict[str, Any] | None],
            Awaitable[tuple[int, int]],
        ],
        record: Record | None = None,
        account: str = "",
    ) -> None:
        self.log = log
        self.account = account
        self.epoch = epoch
        self.record = record
        self.position = log.position
        self.sides = log.offset - log.position
        self.flushing: asyncio.Task[None] | None = None
        self._write = write
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

    def add(self, run: Run) -> asyncio.Task[None] | None:
        """Queue a run, and return the task to wait for when too much is pending, else None.

        Raises the error that has ended the writing.
        """
        if self._error is not None:
            raise self._error
        if not run:
            return None
        self._pending.append(run)
        self._pending_size += _size(run)
        flushing = self._start_flushing()
        return flushing if self._pending_size > MAX_PENDING else None

    def seal(self, planned_end: End) -> None:
        """Queue the end that will follow, to be written in one entry with the last text.

        One entry, so that no node ever has all of the text and does not know which end follows.
        """
        if self._error is None:
            self._planned_end = planned_end
            self._start_flushing()

    async def flushed(self) -> None:
        """Wait until Redis has acknowledged all that was queued.

        Raises the error that has ended the writing.
        """
        if self.flushing is not None:
            await asyncio.shield(self.flushing)
        if self._error is not None:
            raise self._error

    def has_more_than(self, there: tuple[int, int]) -> bool:
        """Return whether Redis has acknowledged more than the position and side units `there`.

        False also if the log never had these two together: then nothing can be added to `there`.
        """
        position, sides = there
        return (
            position + sides < self.position + self.sides
            and self.log.position_at(position + sides) == position
        )

    def rewind(self, position: int, sides: int) -> bool:
        """Queue again what Redis has lost, when it has text only up to `position`, or fewer `sides`.

        Returns False when Redis has all that it acknowledged.
        """
        if not self._requeue(position, sides):
            return False
        self._error = None
        self._start_flushing()
        return True

    def lose(self) -> None:
        """Write nothing more: another node owns the reply. The producer gets `NotWritable`."""
        self._error = NotWritable()

    def give_up(self) -> bool:
        """Mark the reply as failed because Redis is away; return False if it was marked already."""
        first = not self._given_up
        self._given_up = True
        return first

    def _requeue(self, position: int, sides: int) -> bool:
        if not self.has_more_than((position, sides)):
            return False
        before, offset = position + sides, self.position + self.sides
        runs: list[Run] = []
        for _, unit in self.log.units(before, offset):
            if type(unit) is PartText and unit.part == ANSWER:
                runs.append(unit.text)
            else:
                runs.append((unit,))
        self._pending[:0] = runs
        self._pending_size += sum(map(_size, runs))
        self.position, self.sides = position, sides
        self._planned_end = self._planned_end or self.log.planned_end
        self._usage = None  # what was written together with the units is lost as well
        return True

    def _start_flushing(self) -> asyncio.Task[None]:
        if self.flushing is None:
            self.flushing = asyncio.create_task(self._flush())
        return self.flushing

    async def _flush(self) -> None:
        try:
            while self._error is None and (
                self._pending or self._planned_end is not None
            ):
                runs = self._take_runs()
                planned_end = None
                if not self._pending:
                    planned_end, self._planned_end = self._planned_end, None
                usage = self.log.usage if self.log.usage != self._usage else None
                position, sides = await self._write(self, runs, planned_end, usage)
                if self.has_more_than((position, sides)):
                    self._pending[:0] = runs  # before what has come meanwhile
                    self._pending_size += sum(map(_size, runs))
                    self._planned_end = planned_end or self._planned_end
                    self._requeue(position, sides)
                else:
                    self.position, self.sides = position, sides
                    self._usage = usage or self._usage
        except Exception as error:  # noqa: BLE001  (the producer gets it by its next call)
            self._error = error
        finally:
            self.flushing = None

    def _take_runs(self) -> list[Run]:
        """Remove what is to be written next from the queue: as few runs as it can be, in order."""
        runs: list[Run] = []
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
