"""The store `memory`: replies live in this process and go with it.

One node uses it alone, so its `cluster` is a `SingleNode`. `expired` remembers the ids and keys of
replies that it no longer keeps.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from chatsvc.client_limits import UNLIMITED, StartLimits
from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.problems import ReplyExpired, ReplyNotFound
from chatsvc.stores.base import (
    EXPIRED,
    REMEMBERED_S,
    KeyReused,
    NotWritable,
    Record,
)
from chatsvc.stores.cluster import Cluster
from chatsvc.stores.expired import Expired
from chatsvc.stores.single_node import SingleNode
from chatsvc.stores.sizes import log_bytes, record_bytes
from chatsvc.ticker import Clock, monotonic
from chatsvc.units import Unit

MOST_REMEMBERED = 500_000
"""Expired ids that are remembered at most, keys of expired replies, and names; beyond that, the
oldest are forgotten."""

_Item = TypeVar("_Item")


class _Queue(deque[tuple[float, _Item]]):
    """Items with times, in the order of their times (seconds)."""

    def due(self, now: float) -> list[_Item]:
        """Remove and return the items whose time has come."""
        found = []
        while self and self[0][0] <= now:
            found.append(self.popleft()[1])
        return found


class MemoryStore:
    """A `Store` that keeps an ended reply for `keep` seconds, in this process.

    `now` returns the time in microseconds of the monotonic clock, which is that of `clock` here.
    Nothing here walks all replies: ended ones stand in a queue, in the order in which they expire.
    """

    cluster: Cluster = SingleNode()

    def __init__(self, *, keep: float, now: Callable[[], int] = monotonic) -> None:
        self.clock = Clock()
        self._keep = keep
        self._now = now
        self._kept: dict[str, tuple[Record, Log]] = {}
        # From user and key to reply id and digest.
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}
        self._names: OrderedDict[str, str] = OrderedDict()
        # With the bytes that each counts for.
        self._ended: _Queue[tuple[str, int]] = _Queue()
        self.kept_bytes = 0
        self._expired = Expired()
        # Of the keys of expired replies: each by itself, and each with its digest.
        self._used_keys = Expired()
        self._sweeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """See `Store.open`."""
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """See `Store.close`."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])

    def on_failure(self, note: Callable[[str], None]) -> None:
        """Do nothing: memory does not fail."""

    def ready(self) -> bool:
        """Return True."""
        return True

    async def create(self, record: Record, limits: StartLimits = UNLIMITED) -> str:
        """See `Store.create`."""
        known = await self.known(record)
        if known is not None:
            return known
        if record.key:
            self._keys[record.user, record.key] = record.reply_id, record.digest
        self._kept[record.reply_id] = record, record.new_log()
        return record.reply_id

    async def known(self, record: Record) -> str | None:
        """See `Store.known`. Raises `ReplyExpired` for a key whose reply is no longer kept."""
        if not record.key:
            return None
        known = self._keys.get((record.user, record.key))
        if known is None:
            key, key_and_digest = _key_texts(record)
            if key_and_digest in self._used_keys:
                raise ReplyExpired(EXPIRED)
            if key in self._used_keys:
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
        self.append_now(log, text)

    async def append_side(self, log: Log, units: Sequence[Unit]) -> None:
        """See `Store.append_side`."""
        self.append_side_now(log, units)

    def has_room(self, log: Log) -> bool:
        """See `Store.has_room`."""
        return log.end is None

    def append_now(self, log: Log, text: str) -> None:
        """See `Store.append_now`."""
        if log.end is not None:
            raise NotWritable
        log.append(text, self._now())

    def append_side_now(self, log: Log, units: Sequence[Unit]) -> None:
        """See `Store.append_side_now`."""
        if log.end is not None:
            raise NotWritable
        log.append_side(units)

    def note_usage(self, log: Log, usage: dict[str, Any]) -> None:
        """See `Store.note_usage`."""
        log.usage = usage

    async def seal(self, log: Log, planned_end: End) -> None:
        """See `Store.seal`."""
        if log.end is not None:
            raise NotWritable
        log.seal(planned_end)

    async def finish(self, log: Log, end: End) -> bool:
        """See `Store.finish`."""
        running = log.end is None
        self.finish_now(log, end)
        return running

    def finish_now(self, log: Log, end: End) -> None:
        """See `Store.finish_now`."""
        if log.end is None:
            now = self._now()
            log.finish(end.with_usage(log.usage), now)
            record, _ = self._kept[log.reply_id]
            held = log_bytes(log) + record_bytes(record) + record.prompt.size
            self.kept_bytes += held
            self._ended.append((now / 1e6 + self._keep, (log.reply_id, held)))

    async def refresh(self, log: Log) -> None:
        """Return at once: whatever is appended is in the log already."""

    async def remember(
        self, name: str, value: str, *, only_new: bool = False
    ) -> str | None:
        """See `Store.remember`. Beyond `MOST_REMEMBERED` names the oldest is forgotten."""
        before = self._names.pop(name, None)  # so that it moves to the end of the order
        self._names[name] = before if before is not None and only_new else value
        if len(self._names) > MOST_REMEMBERED:
            # A dict would have to search for its first item, behind all that were deleted before.
            self._names.popitem(last=False)
        return before

    async def recall(self, name: str) -> str | None:
        """See `Store.recall`."""
        return self._names.get(name)

    async def forget(self, name: str, value: str) -> None:
        """See `Store.forget`."""
        if self._names.get(name) == value:
            del self._names[name]

    def expire(self) -> None:
        """Let go of the replies, and of the remembered ids and keys, whose time has come."""
        now = self._now() / 1e6
        until = now + REMEMBERED_S
        for reply_id, held in self._ended.due(now):
            record, _ = self._kept.pop(reply_id)
            self.kept_bytes -= held
            self._expired.add(reply_id, until)
            if record.key:
                del self._keys[record.user, record.key]
                # The key with its digest is added last, so that it is forgotten last: if only the
                # key were left, it would count as used with another request.
                for text in _key_texts(record):
                    self._used_keys.add(text, until)
        self._expired.forget(now, MOST_REMEMBERED)
        self._used_keys.forget(now, 2 * MOST_REMEMBERED)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, max(self._keep / 2, 0.05)))
            self.expire()


def _key_texts(record: Record) -> tuple[str, str]:
    """Return two texts for `Expired`: one for a record's key, one for the key with its digest."""
    key = f"{len(record.user)}:{record.user}{record.key}"
    return key, f"{key}\0{record.digest}"
