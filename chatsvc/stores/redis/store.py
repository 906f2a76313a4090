"""`redis://…`: replies live in Redis, and any number of nodes share them.

A node writes with one connection (`writer`) and waits for all that it reads with another (`follower`). Where things
stand is in `places`, what is done there in one step in `scripts`; `owner` writes replies, and `nodes` finds those whose
owner is dead. This module holds them together, and finds what is to be read.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.problems import (
    InternalError,
    ReplyExpired,
    ReplyNotFound,
    StoreUnavailable,
)
from chatsvc.stores.base import EXPIRED, Record
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.connect import FAILURES, connect, disconnect, follow_master
from chatsvc.stores.redis.follower import LEEWAY, Follower, apply
from chatsvc.stores.redis.idempotency import Idempotency
from chatsvc.stores.redis.keys import Keys
from chatsvc.stores.redis.leases import LEASE, Leases
from chatsvc.stores.redis.owner import Owner
from chatsvc.stores.redis.presence import Presence
from chatsvc.ticker import Clock, monotonic

logger = logging.getLogger("chatsvc.redis")

PATIENCE = 10.0
"""Seconds for which Redis may be away before replies end."""

LOOK_AGAIN = 2_000_000
"""Microseconds between two looks whether Redis still has what is read here, and whether it has more."""

KEEP_BELL = 60
"""Seconds for which the bell of a node that is gone is kept."""


class RedisStore:
    """`address` is what `connect` takes, `keep` the seconds for which an ended reply is kept, `lease` those after which
    a silent node is dead, `patience` those for which Redis may be away before replies end: half of that for a question,
    and a fifth until it is not `ready`. Raises `ValueError` for an address that can't be.
    """

    shared = True

    def __init__(
        self,
        address: str,
        *,
        keep: float,
        node: str = "",
        lease: float = LEASE,
        patience: float = PATIENCE,
    ) -> None:
        self.clock = Clock()
        self.clock.limit = 0
        self.node = node or secrets.token_hex(6)
        self._keys = keys = Keys(address)
        self._patience = patience
        self._client = connect(address, patience)
        self._writer = writer = Commands(self._client, patience / 2)
        self._seen = [0] * len(keys.prefixes)
        self._followers = [
            Follower(
                self._client,
                tag,
                prefix,
                self.node,
                self.clock,
                round(patience * 1e6),
                self,
            )
            for tag, prefix in enumerate(keys.prefixes)
        ]
        self._nodes = Leases(writer, self.clock, self.node, keys.prefixes, lease)
        self._nodes.each = self._each
        self._names = Idempotency(writer, keys)
        self._presence = Presence(writer, keys, self.clock, self.node)
        self._owner = Owner(
            writer,
            keys,
            self.node,
            max(1, round(keep * 1000)),
            patience,
            follower=self._follower,
            refresh=self.refresh,
            lost=self.lost,
            later=self._later,
        )
        self._nodes.owned = self._owner.all
        self._logs: WeakValueDictionary[str, Log] = WeakValueDictionary()
        self._finding: dict[str, asyncio.Task[tuple[Record, Log]]] = {}
        self._looked = 0
        self._tasks: set[asyncio.Task[None]] = set()
        # The same for every store (see `Store`), and nothing to add here:
        self.known = self._names.known
        self.remember = self._names.remember
        self.recall = self._names.recall
        self.append = self._owner.append
        self.seal = self._owner.seal
        self.finish = self._owner.finish
        self.produced = self._owner.produced
        self.quiet = self._presence.quiet
        self.take = self._owner.take
        self.release = self._owner.release

    # ------------------------------------------------------------------ life

    async def open(self) -> None:
        """See `Store.open`."""
        self._writer.open()
        try:
            await self._nodes.open()
            for follower in self._followers:
                await follower.open()
                # From here on it is never without a time after which it goes.
                await self._writer.ask("XADD", follower.bell, "MAXLEN", 1, "*", "r", "")
                await self._writer.ask("EXPIRE", follower.bell, KEEP_BELL)
        except StoreUnavailable:
            await self.close()
            raise

    async def close(self) -> None:
        """See `Store.close`."""
        for task in [*self._tasks, *self._finding.values()]:
            task.cancel()
        await self._nodes.close()
        for follower in self._followers:
            await follower.close()
        await self._writer.close()
        await disconnect(self._client)

    def ready(self) -> bool:
        """See `Store.ready`."""
        # A Redis that is full, or a replica, still answers who reads.
        return self._nodes.alive and all(
            follower.away < self._patience * 0.2e6 for follower in self._followers
        )

    def watch(self, adopt: Callable[[str], Awaitable[None]]) -> None:
        """See `Store.watch`."""
        self._nodes.adopt = adopt

    # ------------------------------------------------------------------ replies

    async def create(self, record: Record) -> str:
        """See `Store.create`."""
        reply_id = record.reply_id
        if record.key:
            reply_id = await self._names.claim(record)
            record = msgspec.structs.replace(record, reply_id=reply_id)
        await self._owner.create(record, monotonic() + self.clock.offset)
        if (held := self._owner.held(reply_id)) is not None:
            self._logs[reply_id] = held[1]
        return reply_id

    async def find(self, reply_id: str) -> tuple[Record, Log]:
        """See `Store.find`. A crowd of readers may come at once, from a node that is gone: Redis is asked once."""
        if (held := self._owner.held(reply_id)) is not None:
            return held
        finding = self._finding.get(reply_id)
        if finding is None:
            finding = asyncio.create_task(self._find(reply_id))
            self._finding[reply_id] = finding
            finding.add_done_callback(lambda task: self._found(reply_id, task))
        try:
            return await asyncio.shield(finding)
        finally:
            del finding

    def _found(self, reply_id: str, task: asyncio.Task[tuple[Record, Log]]) -> None:
        del self._finding[reply_id]
        if not task.cancelled():
            task.exception()  # nobody may be waiting for it any more

    async def _find(self, reply_id: str) -> tuple[Record, Log]:
        key = self._keys.reply(reply_id)
        (encoded, created, position, ended), gone, entries = await asyncio.gather(
            self._writer.ask("HMGET", key, "r", "at", "p", "x"),
            self._writer.ask("EXISTS", f"{key}:gone"),
            self._writer.ask("XRANGE", f"{key}:log", "-", "+"),
        )
        if encoded is None:
            self.lost(reply_id)
            if not gone:
                raise ReplyNotFound("No reply has this id.")
        if encoded is None or (ended and not entries):
            raise ReplyExpired(EXPIRED)
        record = msgspec.json.decode(encoded, type=Record)
        log = self._logs.get(reply_id)
        if log is None:
            log = Log(reply_id, pace=record.pace, lag=record.lag, created=int(created))
            last = "0-0"
            for last, fields in entries:
                apply(log, last, fields)
            if log.end is None and log.position < int(position):
                _lose(log)  # Redis has it, and not its text
            if log.end is None:
                self._logs[reply_id] = log
                self._follower(reply_id).add(log, last)
        if log.end is None:
            await self.refresh(log)
        return record, log

    async def refresh(self, log: Log) -> None:
        """See `Store.refresh`."""
        await self._follower(log.reply_id).refresh(log.reply_id, self._writer)

    def owns(self, log: Log) -> bool:
        """See `Store.owns`."""
        return self._owner.owns(log.reply_id)

    def reading(self, log: Log, present: bool) -> None:
        """See `Store.reading`."""
        if self._presence.note(log.reply_id, present) and log.end is None:
            self._later(self._presence.tell([log.reply_id], present))

    async def last_read(self, log: Log) -> int:
        """See `Store.last_read`."""
        return await self._presence.last(log.reply_id)

    # ------------------------------------------------------------------ inside

    def _follower(self, reply_id: str) -> Follower:
        return self._followers[self._keys.tag(reply_id)]

    async def _each(self) -> None:
        """What is looked at again on a timer."""
        with suppress(*FAILURES):
            await follow_master(self._client)
        await self._presence.renew()
        now = monotonic()
        if now - self._looked < LOOK_AGAIN:
            return
        self._looked = now
        for follower in self._followers:
            await self._writer.ask("EXPIRE", follower.bell, KEEP_BELL)
            follower.look_again(now + self.clock.offset - LOOK_AGAIN)
            ids = [log.reply_id for log in follower.logs()]
            keys = list(map(self._keys.reply, ids))
            if not keys or await self._writer.ask("EXISTS", *keys) == len(keys):
                continue
            kept = await asyncio.gather(
                *(self._writer.ask("EXISTS", key) for key in keys)
            )
            for reply_id, exists in zip(ids, kept, strict=True):
                if not exists:
                    self.lost(reply_id)

    # What the followers tell (see `follower.FollowerListener`):

    def disturbed(self) -> None:
        """Redis could not be read: it may come back without what it was told last."""
        self._nodes.unsettle()

    def seen(self, tag: int, until: int) -> None:
        """All is known up to that time; so what is due until a little later may be given out."""
        self._seen[tag] = until
        self.clock.limit = min(self._seen) + LEEWAY

    def writes(self, reply_id: str) -> bool:
        """Whether this node writes the reply."""
        return self._owner.owns(reply_id)

    def given_up(self, log: Log) -> None:
        """Redis is away for too long: whoever reads a reply here is told."""
        # Whoever comes later gets what Redis has by then.
        self._logs.pop(log.reply_id, None)
        self._owner.give_up(log)

    def owner_changed(self, reply_id: str, epoch: int) -> None:
        """Somebody owns the reply from this epoch on."""
        self._owner.owner_changed(reply_id, epoch)

    def lost(self, reply_id: str) -> None:
        """Redis has lost a reply (it restarted without its data): whoever reads it here is told."""
        self._owner.forget(reply_id)
        log = self._logs.get(reply_id)
        if log is not None and log.end is None:
            _lose(log)

    def _later(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.warning("a message to Redis was lost: %s", task.exception())


def _lose(log: Log) -> None:
    problem = InternalError("The store has lost the reply.")
    log.finish(End("failed", "interrupted", problem.as_dict()), 0)
