"""One reply that this node writes to Redis, and what of it is still to be written.

Rules
- Text goes to Redis in one flight at a time; what comes meanwhile goes with the next.
- What a master had acknowledged and its replica never got is written again, for the log has it.
- The first failure ends it. The producer is told by its next call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.stores.base import Record

MOST_PENDING = 32 * 1024
"""Code points that wait to be written; with more, the producer waits."""


class Outbox:
    """What this node knows of a reply that it writes: `position` is up to where Redis has it.

    `write` sends a flight, text and perhaps how the reply is to end, and gives up to where Redis has it then, which is
    less than it had if it has lost some; it raises `NotWritable` if it is not ours to write. `record` is known of those that
    were begun here.
    """

    __slots__ = (
        "_pending",
        "_planned_end",
        "_waiting",
        "_write",
        "ended",
        "epoch",
        "flushing",
        "given_up",
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
        self.ended: Exception | None = None
        self.given_up = False  # Redis is away, and is yet to be told of the end
        self._write = write
        self._pending: list[str] = []
        self._waiting = 0
        self._planned_end: End | None = None  # to be written with the last text

    def add(self, text: str) -> asyncio.Task[None] | None:
        """Write this as well; gives what to wait for, if too much is pending. Raises what has ended it."""
        if self.ended is not None:
            raise self.ended
        if not text:
            return None
        self._pending.append(text)
        self._waiting += len(text)
        flushing = self._flush_soon()
        return flushing if self._waiting > MOST_PENDING else None

    def seal(self, planned_end: End) -> None:
        """Write how it is to end with the last text: whoever has that has the end as well."""
        if self.ended is None:
            self._planned_end = planned_end
            self._flush_soon()

    async def flushed(self) -> None:
        """Return when Redis has it all. Raises what has ended it."""
        if self.flushing is not None:
            await asyncio.shield(self.flushing)
        if self.ended is not None:
            raise self.ended

    def rewind(self, position: int) -> bool:
        """Redis has no more than this: write the rest again. False if that is all it was given."""
        if not self._rewind(position):
            return False
        self.ended = None
        self._flush_soon()
        return True

    def _rewind(self, position: int) -> bool:
        if position >= self.position:
            return False
        self._pending.insert(0, self.log.text(position, self.position))
        self.position = position
        self._planned_end = self._planned_end or self.log.planned_end
        return True

    def _flush_soon(self) -> asyncio.Task[None]:
        if self.flushing is None:
            self.flushing = asyncio.create_task(self._flush())
        return self.flushing

    async def _flush(self) -> None:
        try:
            while self.ended is None and (
                self._pending or self._planned_end is not None
            ):
                text, planned_end = "".join(self._pending), self._planned_end
                self._pending.clear()
                self._waiting = 0
                self._planned_end = None
                position = await self._write(self, text, planned_end)
                if self._rewind(position):
                    self._pending.insert(1, text)  # before what has come meanwhile
                    self._planned_end = planned_end or self._planned_end
                else:
                    self.position = position
        except Exception as error:  # noqa: BLE001  (told to the producer by its next call)
            self.ended = error
        finally:
            self.flushing = None
