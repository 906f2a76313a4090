"""`redis://…`: replies live in Redis, and any number of nodes share them.

Keys, all of one reply with the same hash tag:

    chatsvc:{T}:ID              hash: the record, the owner and its epoch (see `scripts`)
    chatsvc:{T}:ID:log          stream: what arrived, and when
    chatsvc:{T}:ID:gone         set with the end, for a day longer than the text: the id was known
    chatsvc:{T}:ID:readers      sorted set: which nodes read it, and until when that is known
    chatsvc:{T}:nodes           sorted set: the leases of the nodes (see `nodes`)
    chatsvc:{T}:owned:NODE      set: the replies that a node owns
    chatsvc:{T}:bell:NODE       stream: rung by a node for itself (see `follower`)
    chatsvc:{T}:key:HASH        which reply was begun under an idempotency key, and by what request
    chatsvc:{T}:name:HASH       which reply a name stands for

A node writes with one connection (`writer`) and waits for all that it reads with another (`follower`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from weakref import WeakValueDictionary
from zlib import crc32

import msgspec

from ..problems import InternalError, ReplyExpired, ReplyNotFound, StoreUnavailable
from ..ticker import monotonic
from . import scripts
from .base import Clock, Ended, KeyReused, Record
from .connect import connect
from .follower import LEEWAY, Follower, apply
from .log import End, Log
from .memory import REMEMBERED
from .nodes import LEASE, NOBODY, Nodes
from .writer import Writer

logger = logging.getLogger("chatsvc.redis")

TAGS_OF_CLUSTER = 8
"""Hash tags over which a Cluster's replies are spread; each costs a node one connection that waits."""

PATIENCE = 10.0
"""Seconds for which a producer waits for Redis to come back."""

MOST_PENDING = 32 * 1024
"""Code points that wait to be written; with more, the producer waits."""

READ_MARK = 10_000
"""Milliseconds for which a node's word that it reads a reply holds; it is renewed well before."""

LOOK_AGAIN = 2_000_000
"""Microseconds between two looks whether Redis still has what is read here."""


class _Owned:
    """What this node knows of a reply that it writes: `position` is up to where Redis has it."""

    __slots__ = ("ended", "epoch", "flushing", "pending", "position", "waiting")

    def __init__(self, epoch: str, position: int) -> None:
        self.epoch = epoch
        self.position = position
        self.pending: list[str] = []
        self.waiting = 0
        self.flushing: asyncio.Task[None] | None = None
        self.ended: Exception | None = None


class RedisStore:
    """`address` is what `connect` takes, `keep` the seconds for which an ended reply is kept, `lease` those after which
    a silent node is dead."""

    shared = True

    def __init__(
        self, address: str, *, keep: float, node: str = "", lease: float = LEASE
    ) -> None:
        self.clock = Clock()
        self.clock.limit = 0
        self.node = node or secrets.token_hex(6)
        self._address = address
        self._keep = max(1, round(keep * 1000))
        self._lease = lease
        count = TAGS_OF_CLUSTER if address.startswith("redis+cluster") else 1
        self._prefixes = [f"chatsvc:{{{tag}}}:" for tag in range(count)]
        self._seen = [0] * count
        self._logs: WeakValueDictionary[str, Log] = WeakValueDictionary()
        self._owned: dict[str, _Owned] = {}
        self._read: dict[str, int] = {}  # what is read here, and when that was told
        self._looked = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._adopt: Callable[[str], Awaitable[None]] | None = None

    # ------------------------------------------------------------------ life

    async def open(self) -> None:
        """See `Store.open`."""
        self._client = connect(self._address)
        self._writer = Writer(self._client)
        self._followers = [
            Follower(
                self._client,
                f"{prefix}bell:{self.node}",
                self.clock,
                lambda until, index=index: self._saw(index, until),  # type: ignore[misc]
            )
            for index, prefix in enumerate(self._prefixes)
        ]
        self._nodes = Nodes(
            self._writer, self.clock, self.node, self._prefixes, self._lease
        )
        self._nodes.adopt = self._adopt
        self._nodes.each = self._each
        self._writer.open()
        try:
            await self._nodes.open()
        except StoreUnavailable:
            await self._writer.close()
            await self._client.aclose()
            raise
        for follower in self._followers:
            follower.open()

    async def close(self) -> None:
        """See `Store.close`."""
        for task in list(self._tasks):
            task.cancel()
        await self._nodes.close()
        for follower in self._followers:
            await follower.close()
        await self._writer.close()
        await self._client.aclose()

    def ready(self) -> bool:
        """See `Store.ready`."""
        return all(follower.away < 2_000_000 for follower in self._followers)

    def watch(self, adopt: Callable[[str], Awaitable[None]]) -> None:
        """See `Store.watch`."""
        self._adopt = adopt
        if hasattr(self, "_nodes"):
            self._nodes.adopt = adopt

    # ------------------------------------------------------------------ reading

    async def create(self, record: Record) -> str:
        """See `Store.create`."""
        reply_id = record.reply_id
        if record.key:
            reply_id = await self._claim(record)
            record = msgspec.structs.replace(record, reply_id=reply_id)
        prefix = self._prefix(reply_id)
        said = await self._writer.run(
            scripts.CREATE,
            [
                prefix + reply_id,
                f"{prefix}{reply_id}:gone",
                prefix + f"owned:{self.node}",
            ],
            msgspec.json.encode(record),
            self.node,
            reply_id,
            monotonic() + self.clock.offset,
        )
        if said == "ok":
            self._owned[reply_id] = _Owned("1", 0)
        return reply_id

    async def known(self, record: Record) -> str | None:
        """See `Store.known`."""
        known = await self._writer.ask("GET", self._key(record))
        if known is None:
            return None
        reply_id, _, digest = str(known).partition(" ")
        if digest != record.digest:
            raise KeyReused
        return reply_id

    async def _claim(self, record: Record) -> str:
        """The reply id that stands for an idempotency key, the record's own if none did."""
        mine = f"{record.reply_id} {record.digest}"
        # Redis 6.2 can't do both in one command; the key is not let go of for a day, so there is no race between.
        if await self._writer.ask(
            "SET", self._key(record), mine, "NX", "EX", REMEMBERED
        ):
            return record.reply_id
        return await self.known(record) or record.reply_id

    def _key(self, record: Record) -> str:
        """Where the reply of an idempotency key stands."""
        name = hashlib.sha256(f"{record.user}\0{record.key}".encode()).hexdigest()
        return f"{self._prefix(name)}key:{name}"

    async def find(self, reply_id: str) -> tuple[Record, Log]:
        """See `Store.find`."""
        key = self._prefix(reply_id) + reply_id
        (encoded, created), gone, entries = await asyncio.gather(
            self._writer.ask("HMGET", key, "r", "at"),
            self._writer.ask("EXISTS", f"{key}:gone"),
            self._writer.ask("XRANGE", f"{key}:log", "-", "+"),
        )
        if encoded is None:
            self._lost(reply_id)
            if gone:
                raise ReplyExpired(
                    "The reply has ended and its text is no longer kept."
                )
            raise ReplyNotFound("No reply has this id.")
        record = msgspec.json.decode(encoded, type=Record)
        log = self._logs.get(reply_id)
        if log is None:
            log = Log(reply_id, pace=record.pace, lag=record.lag, created=int(created))
            last = "0-0"
            for last, fields in entries:
                apply(log, last, fields)
            if log.end is None:
                self._logs[reply_id] = log
                self._follower(reply_id).add(f"{key}:log", log, last)
        if log.end is None:
            await self.refresh(log)
        return record, log

    async def refresh(self, log: Log) -> None:
        """See `Store.refresh`."""
        follower = self._follower(log.reply_id)
        round = follower.round()
        prefix = self._prefix(log.reply_id)
        if not follower.rung:  # one ring is enough for all who ask meanwhile
            follower.rung = True
            try:
                bell = f"{prefix}bell:{self.node}"
                await self._writer.ask("XADD", bell, "MAXLEN", 1, "*", "r", "")
            finally:
                follower.rung = False
        try:
            async with asyncio.timeout(5.0):
                await round
        except TimeoutError:
            raise StoreUnavailable("Redis can't be reached.", retry_after=1) from None

    def reading(self, log: Log, present: bool) -> None:
        """See `Store.reading`."""
        if not present and log.reply_id not in self._read:
            return  # it was this node that produced it
        if present:
            self._read[log.reply_id] = monotonic()
        else:
            del self._read[log.reply_id]
        self._later(self._mark(log.reply_id, present))

    async def last_read(self, log: Log) -> int:
        """See `Store.last_read`."""
        key = f"{self._prefix(log.reply_id)}{log.reply_id}:readers"
        found = await self._writer.ask("ZREVRANGE", key, 0, 0, "WITHSCORES")
        return round(float(found[1]) * 1000) if found else 0

    async def _mark(self, reply_id: str, present: bool) -> None:
        key = f"{self._prefix(reply_id)}{reply_id}:readers"
        now = (monotonic() + self.clock.offset) // 1000
        until = now + READ_MARK if present else now
        await asyncio.gather(
            self._writer.ask("ZADD", key, until, self.node),
            self._writer.ask("EXPIRE", key, 3600),
        )

    async def remember(self, name: str, reply_id: str) -> None:
        """See `Store.remember`."""
        await self._writer.ask("SET", self._name(name), reply_id, "EX", REMEMBERED)

    async def recall(self, name: str) -> str | None:
        """See `Store.recall`."""
        known = await self._writer.ask("GET", self._name(name))
        return None if known is None else str(known)

    def _name(self, name: str) -> str:
        digest = hashlib.sha256(name.encode()).hexdigest()
        return f"{self._prefix(digest)}name:{digest}"

    # ------------------------------------------------------------------ writing

    async def append(self, log: Log, text: str) -> None:
        """See `Store.append`."""
        owned = self._owned.get(log.reply_id)
        if owned is None:
            raise Ended
        if owned.ended is not None:
            raise owned.ended
        if not text:
            return
        owned.pending.append(text)
        owned.waiting += len(text)
        if owned.flushing is None:
            owned.flushing = asyncio.create_task(self._flush(log, owned))
        if owned.waiting > MOST_PENDING:
            await asyncio.shield(owned.flushing)

    async def _flush(self, log: Log, owned: _Owned) -> None:
        key = self._prefix(log.reply_id) + log.reply_id
        try:
            while owned.pending:
                text = "".join(owned.pending)
                owned.pending.clear()
                owned.waiting = 0
                behind = owned.position + len(text)
                said = await self._writer.run(
                    scripts.APPEND,
                    [key, f"{key}:log"],
                    self.node,
                    owned.epoch,
                    owned.position,
                    behind,
                    text,
                    patience=PATIENCE,
                )
                if said != "ok":
                    owned.ended = Ended()
                    self._refused(log, said)
                    return
                owned.position = behind
        except Exception as error:  # noqa: BLE001  (told to the producer by its next call)
            owned.ended = error
        finally:
            owned.flushing = None

    async def complete(self, log: Log, finish_reason: str) -> None:
        """See `Store.complete`."""
        owned = await self._flushed(log)
        key = self._prefix(log.reply_id) + log.reply_id
        said = await self._writer.run(
            scripts.COMPLETE,
            [key, f"{key}:log"],
            self.node,
            owned.epoch,
            finish_reason,
            patience=PATIENCE,
        )
        if said != "ok":
            self._refused(log, said)
            raise Ended
        while log.finish_reason is None and log.end is None:
            await self.refresh(log)

    async def _flushed(self, log: Log) -> _Owned:
        owned = self._owned.get(log.reply_id)
        if owned is None:
            raise Ended
        if owned.flushing is not None:
            await asyncio.shield(owned.flushing)
        if owned.ended is not None:
            raise owned.ended
        return owned

    async def finish(self, log: Log, end: End) -> None:
        """See `Store.finish`."""
        owned = self._owned.get(log.reply_id)
        if log.end is not None or (owned is None and end.finish_reason != "stopped"):
            return
        try:
            await self._finish(log, end, owned, PATIENCE)
        except StoreUnavailable as problem:
            if owned is None:
                raise
            # Those who read here are told now; Redis, when it is back.
            log.finish(End("failed", "error", problem.as_dict()), 0)
            self._later(self._finish(log, end, owned, 24 * 3600))

    async def _finish(
        self, log: Log, end: End, owned: _Owned | None, patience: float
    ) -> None:
        if owned is not None and owned.flushing is not None:
            await asyncio.shield(owned.flushing)
        prefix = self._prefix(log.reply_id)
        key = prefix + log.reply_id
        said = await self._writer.run(
            scripts.FINISH,
            [key, f"{key}:log", f"{key}:gone", f"{key}:readers"],
            self.node,
            "" if owned is None or end.finish_reason == "stopped" else owned.epoch,
            msgspec.json.encode(end),
            self._keep,
            self._keep + REMEMBERED * 1000,
            f"{prefix}owned:",
            log.reply_id,
            patience=patience,
        )
        if said in ("lost", "gone"):
            self._refused(log, said)
            return
        while log.end is None:
            await self.refresh(log)
        self._owned.pop(log.reply_id, None)

    def _refused(self, log: Log, said: str) -> None:
        """A script would not write: another owns the reply now, or Redis has not what it had."""
        self._owned.pop(log.reply_id, None)
        if said in ("gone", "torn"):
            self._lost(log.reply_id)
        if said == "torn":
            key = self._prefix(log.reply_id) + log.reply_id
            self._later(self._forget(key))

    async def _forget(self, key: str) -> None:
        await self._writer.ask("DEL", key, f"{key}:log")

    def _lost(self, reply_id: str) -> None:
        """Redis has lost a reply (it restarted without its data): whoever reads it here is told."""
        self._owned.pop(reply_id, None)
        log = self._logs.get(reply_id)
        if log is not None and log.end is None:
            problem = InternalError("The store has lost the reply.")
            log.finish(End("failed", "interrupted", problem.as_dict()), 0)

    # ------------------------------------------------------------------ owners

    async def take(self, log: Log) -> bool:
        """See `Store.take`."""
        reply_id = log.reply_id
        prefix = self._prefix(reply_id)
        taken = await self._writer.run(
            scripts.TAKE,
            [prefix + reply_id, f"{prefix}nodes", f"{prefix}owned:"],
            self.node,
            reply_id,
        )
        if not taken:
            return False
        epoch, position = str(taken[0]), int(taken[1])
        await self.refresh(log)
        if log.end is not None:
            return False
        if log.position != position:
            self._refused(log, "torn")
            return False
        self._owned[reply_id] = _Owned(epoch, position)
        return True

    async def release(self, log: Log) -> bool:
        """See `Store.release`."""
        try:
            owned = await self._flushed(log)
        except (Ended, StoreUnavailable):
            return False
        prefix = self._prefix(log.reply_id)
        said = await self._writer.run(
            scripts.RELEASE,
            [prefix + log.reply_id, f"{prefix}nodes", f"{prefix}owned:"],
            self.node,
            owned.epoch,
            log.reply_id,
            NOBODY,
        )
        self._owned.pop(log.reply_id, None)
        return bool(said == "ok")

    def owns(self, log: Log) -> bool:
        """See `Store.owns`."""
        return log.reply_id in self._owned

    # ------------------------------------------------------------------ inside

    def _tag(self, name: str) -> int:
        return crc32(name.encode()) % len(self._prefixes)

    def _prefix(self, name: str) -> str:
        return self._prefixes[self._tag(name)]

    def _follower(self, reply_id: str) -> Follower:
        return self._followers[self._tag(reply_id)]

    def _saw(self, index: int, until: int) -> None:
        self._seen[index] = until
        self.clock.limit = min(self._seen) + LEEWAY

    async def _each(self) -> None:
        """What is looked at again on a timer."""
        now = monotonic()
        for reply_id, told in list(self._read.items()):
            if now - told > READ_MARK * 1000 // 3:
                self._read[reply_id] = now
                await self._mark(reply_id, True)
        if now - self._looked < LOOK_AGAIN:
            return
        self._looked = now
        for follower in self._followers:
            ids = [log.reply_id for log in follower.logs()]
            keys = [self._prefix(id) + id for id in ids]
            if not keys or await self._writer.ask("EXISTS", *keys) == len(keys):
                continue
            kept = await asyncio.gather(
                *(self._writer.ask("EXISTS", self._prefix(id) + id) for id in ids)
            )
            for reply_id, exists in zip(ids, kept, strict=True):
                if not exists:
                    self._lost(reply_id)
        for prefix in self._prefixes:
            await self._writer.ask("EXPIRE", f"{prefix}bell:{self.node}", 60)

    def _later(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.warning("a message to Redis was lost: %s", task.exception())
