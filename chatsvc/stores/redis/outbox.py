"""The outbox of one reply that this node owns: what is still to be written to Redis.

Invariants:
- One write of a reply is under way at a time; text that comes meanwhile goes with the next.
- Text that Redis had acknowledged and lost in a failover is written again: the log has it.
- The first failure ends the writing; the producer gets the error by its next call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.stores.base import NotWritable, Record

MAX_PENDING = 32 * 1024
"""Code points that wait to be written; with more of them the producer has to wait."""


class Outbox:
    """The queue of a reply's text to Redis, in the `epoch` in which this node owns the reply.

    `write(outbox, text, planned_end)` writes text that begins after `outbox.position`, and perhaps
    which end will follow. It returns the position up to which Redis then has the text, which is
    less than `outbox.position` when Redis has lost some; it raises `NotWritable` when this node
    does not own the reply any more.

    `record` is the reply's, or None when another node created it. `position` is up to where Redis
    has acknowledged the text.
    """

    __slots__ = (
        "_error",
        "_given_up",
        "_pending",
        "_pending_size",
        "_planned_end",
        "_write",
        "epoch",
        "flushing",
        "log",
        "position",
        "record",
    )

    def __init__(
        self,
        log: Log,
        epoch: int,
        write: Callable[[Outbox, str, End | None], Awaitable[int]],
        record: Record | None = None,
    ) -> None:
        self.log = log
        self.epoch = epoch
        self.record = record
        self.position = log.position
        self.flushing: asyncio.Task[None] | None = None
        self._write = write
        self._pending: list[str] = []
        self._pending_size = 0
        self._planned_end: End | None = None  # to be written with the last text
        self._error: Exception | None = None
        self._given_up = False

    @property
    def given_up(self) -> bool:
        """Whether `give_up` was called."""
        return self._given_up

    def add(self, text: str) -> asyncio.Task[None] | None:
        """Queue text, and return the task to wait for when too much is pending, else None.

        Raises the error that has ended the writing.
        """
        if self._error is not None:
            raise self._error
        if not text:
            return None
        self._pending.append(text)
        self._pending_size += len(text)
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

    def rewind(self, position: int) -> bool:
        """Queue again the text that Redis has lost, when it has text only up to `position`.

        Returns False when Redis has all that it acknowledged.
        """
        if not self._requeue(position):
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

    def _requeue(self, position: int) -> bool:
        if position >= self.position:
            return False
        self._pending.insert(0, self.log.text(position, self.position))
        self.position = position
        self._planned_end = self._planned_end or self.log.planned_end
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
                text, planned_end = "".join(self._pending), self._planned_end
                self._pending.clear()
                self._pending_size = 0
                self._planned_end = None
                position = await self._write(self, text, planned_end)
                if self._requeue(position):
                    self._pending.insert(1, text)  # before what has come meanwhile
                    self._planned_end = planned_end or self._planned_end
                else:
                    self.position = position
        except Exception as error:  # noqa: BLE001  (the producer gets it by its next call)
            self._error = error
        finally:
            self.flushing = None
