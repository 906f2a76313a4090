"""`memory`: replies live in this process and go with it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec.structs import replace

from chatsvc.log import Log
from chatsvc.model import End, Prompt
from chatsvc.problems import ReplyExpired, ReplyNotFound
from chatsvc.stores.base import EXPIRED, KeyReused, NotWritable, Record
from chatsvc.stores.expired import Expired
from chatsvc.ticker import Clock, monotonic

REMEMBERED = 24 * 3600
"""Seconds for which the id of an expired reply, and an idempotency key, are known."""

MOST_REMEMBERED = 500_000
"""Expired ids that are remembered at most, and as many keys; beyond that the oldest are forgotten."""

_NOTHING = Prompt(())

_Item = TypeVar("_Item")


class _Queue(deque[tuple[float, _Item]]):
    """Things in the order in which their time comes."""

    def due(self, now: float) -> list[_Item]:
        """Take those whose time has come."""
        found = []
        while self and self[0][0] <= now:
            found.append(self.popleft()[1])
        return found


class MemoryStore:
    """`keep` is how many seconds an ended reply is kept.

    Nothing here walks all replies: what expires stands in a queue, in the order in which it does.
    """

    shared = False

    def __init__(self, *, keep: float, now: Callable[[], int] = monotonic) -> None:
        self.clock = Clock()
        self._keep = keep
        self._now = now
        self._kept: dict[str, tuple[Record, Log]] = {}
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}
        self._names: OrderedDict[str, str] = OrderedDict()
        self._ended: _Queue[str] = _Queue()
        self._expired = Expired()
        self._spent = Expired()  # keys of expired replies, alone and with their use
        self._sweeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start to let go of what is over."""
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Stop that; what is kept goes with the store."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])

    async def create(self, record: Record) -> str:
        """See `Store.create`."""
        known = await self.known(record)
        if known is not None:
            return known
        if record.key:
            self._keys[record.user, record.key] = record.reply_id, record.digest
        log = Log(
            record.reply_id, pace=record.pace, lag=record.lag, created=self._now()
        )
        self._kept[record.reply_id] = record, log
        return record.reply_id

    async def known(self, record: Record) -> str | None:
        """See `Store.known`."""
        if not record.key:
            return None
        known = self._keys.get((record.user, record.key))
        if known is None:
            key, use = _names(record)
            if use in self._spent:
                raise ReplyExpired(EXPIRED)
            if key in self._spent:
                raise KeyReused
            return None
        reply_id, digest = known
        if digest != record.digest:
            raise KeyReused
        return reply_id

    async def find(self, reply_id: str) -> tuple[Record, Log]:
        """See `Store.find`."""
        found = self._kept.get(reply_id)
        if found is not None:
            return found
        if reply_id in self._expired:
            raise ReplyExpired(EXPIRED)
        raise ReplyNotFound("No reply has this id.")

    async def append(self, log: Log, text: str) -> None:
        """See `Store.append`."""
        if log.end is not None:
            raise NotWritable
        log.append(text, self._now())

    async def seal(self, log: Log, planned_end: End) -> None:
        """See `Store.seal`."""
        if log.end is not None:
            raise NotWritable
        log.seal(planned_end)

    async def finish(self, log: Log, end: End) -> None:
        """See `Store.finish`."""
        if log.end is None:
            log.finish(end, self._now())
            self._ended.append((self._now() / 1e6 + self._keep, log.reply_id))
            # What was asked is a conversation, perhaps many times as long as its last reply, and nobody needs it now.
            record, _ = self._kept[log.reply_id]
            self._kept[log.reply_id] = replace(record, prompt=_NOTHING), log

    async def remember(self, name: str, reply_id: str) -> str | None:
        """See `Store.remember`. Beyond `MOST_REMEMBERED` names the oldest is forgotten."""
        before = self._names.pop(name, None)  # the last one named stands last
        self._names[name] = reply_id
        if len(self._names) > MOST_REMEMBERED:
            self._names.popitem(last=False)  # of a dict, that would be a search
        return before

    async def recall(self, name: str) -> str | None:
        """See `Store.recall`."""
        return self._names.get(name)

    def ready(self) -> bool:
        """Always."""
        return True

    async def refresh(self, log: Log) -> None:
        """A log is always what it is."""

    def watch(self, adopt: Callable[[str], Awaitable[None]]) -> None:
        """Nobody else owns anything here."""

    async def take(self, log: Log) -> bool:
        """There is nothing to take."""
        return False

    async def release(self, log: Log) -> bool:
        """There is nobody to take it."""
        return False

    def produced(self, log: Log) -> None:
        """Nobody else waits for it."""

    async def quiet(self, log: Log, seconds: float) -> bool:
        """Nobody else works on it."""
        return True

    def owns(self, log: Log) -> bool:
        """Always."""
        return True

    def reading(self, log: Log, present: bool) -> None:
        """Nobody else has to know."""

    async def last_read(self, log: Log) -> int:
        """Nobody reads elsewhere."""
        return 0

    def expire(self) -> None:
        """Let go of the texts, and later the ids, whose time has come."""
        now = self._now() / 1e6
        until = now + REMEMBERED
        for reply_id in self._ended.due(now):
            record, _ = self._kept.pop(reply_id)
            self._expired.add(reply_id, until)
            if record.key:
                del self._keys[record.user, record.key]
                # The use stays the longer: a key without it would be taken for one with another use.
                for name in _names(record):
                    self._spent.add(name, until)
        self._expired.forget(now, MOST_REMEMBERED)
        self._spent.forget(now, 2 * MOST_REMEMBERED)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, max(self._keep / 2, 0.05)))
            self.expire()


def _names(record: Record) -> tuple[str, str]:
    """What stands for a record's key, and for the key with what it was used for."""
    key = f"{len(record.user)}:{record.user}{record.key}"
    return key, f"{key}\0{record.digest}"
