"""What this node writes to Redis as the owner of replies: it writes in one epoch only, and a script checks that.

Rules
- Each reply's text goes to Redis through its `Outbox`. The log takes it when Redis has acknowledged it.
- Whatever a script refuses ends this node's ownership: another has the reply, or Redis has lost it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any

import msgspec

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.problems import StoreUnavailable
from chatsvc.stores.base import NotWritable, Record
from chatsvc.stores.memory import REMEMBERED
from chatsvc.stores.redis import scripts
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.follower import Follower
from chatsvc.stores.redis.keys import Keys
from chatsvc.stores.redis.leases import NOBODY
from chatsvc.stores.redis.outbox import Outbox

LATER = 24 * 3600
"""Seconds for which the end of a reply is kept for a Redis that is away."""


class Owner:
    """The writing half of the store; `keep` is in milliseconds, `patience` how many seconds a producer waits for Redis.

    `follower` gives the one that follows a reply, `refresh` brings a log up to date, `lost` is told of a reply that
    Redis has not any more, `later` runs a coroutine that nobody waits for.
    """

    def __init__(
        self,
        writer: Commands,
        keys: Keys,
        node: str,
        keep: int,
        patience: float,
        *,
        follower: Callable[[str], Follower],
        refresh: Callable[[Log], Awaitable[None]],
        lost: Callable[[str], None],
        later: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._writer = writer
        self._keys = keys
        self._node = node
        self._keep = keep
        self._patience = patience
        self._follower = follower
        self._refresh = refresh
        self._lost = lost
        self._later = later
        self._owned: dict[str, Outbox] = {}

    def held(self, reply_id: str) -> tuple[Record, Log] | None:
        """A reply that this node has begun and owns: nothing has to be asked for it."""
        owned = self._owned.get(reply_id)
        if owned is None or owned.record is None or owned.log.end is not None:
            return None
        return owned.record, owned.log

    def all(self, prefix: str) -> Collection[str]:
        """The ids of what is owned, of one hash tag."""
        if len(self._keys.prefixes) == 1:
            return self._owned.keys()
        return [id for id in self._owned if self._keys.prefix(id) == prefix]

    def owns(self, reply_id: str) -> bool:
        """Whether this node is the owner, as far as it knows."""
        return reply_id in self._owned

    def forget(self, reply_id: str) -> None:
        """From here on it is not."""
        if self._owned.pop(reply_id, None) is not None:
            self._follower(reply_id).look(reply_id)

    def owner_changed(self, reply_id: str, epoch: int) -> None:
        """Somebody owns the reply from this epoch on."""
        owned = self._owned.get(reply_id)
        if owned is not None and owned.epoch < epoch:
            owned.ended = NotWritable()
            self.forget(reply_id)

    async def create(self, record: Record, now: int) -> None:
        """Begin a reply, unless it is there already; `now` is by the store's clock."""
        reply_id = record.reply_id
        key = self._keys.reply(reply_id)
        said = await self._writer.run(
            scripts.CREATE,
            [
                key,
                f"{key}:gone",
                self._set(reply_id),
                f"{self._keys.prefix(reply_id)}nodes",
            ],
            msgspec.json.encode(record),
            self._node,
            reply_id,
            now,
        )
        if said == "ok" and reply_id not in self._owned:
            log = Log(reply_id, pace=record.pace, lag=record.lag, created=now)
            self._follower(reply_id).add(log, "0-0")
            self._owned[reply_id] = Outbox(log, 1, self._write, record)

    def _set(self, reply_id: str) -> str:
        return f"{self._keys.prefix(reply_id)}owned:{self._node}"

    # ------------------------------------------------------------------ text

    async def append(self, log: Log, text: str) -> None:
        """See `Store.append`."""
        flushing = self._mine(log).add(text)
        if flushing is not None:
            await asyncio.shield(flushing)

    def _mine(self, log: Log) -> Outbox:
        owned = self._owned.get(log.reply_id)
        if owned is None or log.end is not None:
            raise NotWritable
        return owned

    async def _write(self, owned: Outbox, text: str, planned_end: End | None) -> int:
        key = self._keys.reply(owned.log.reply_id)
        encoded = (
            "" if planned_end is None else msgspec.json.encode(planned_end).decode()
        )
        said, *more = await self._writer.run(
            scripts.WRITE,
            [key, f"{key}:log"],
            self._node,
            owned.epoch,
            owned.position,
            owned.position + len(text),
            text,
            encoded,
            patience=self._patience,
        )
        if said == "torn" and int(more[0]) < owned.position:
            return int(more[0])
        if said != "ok":
            self._refused(owned.log, said)
            raise NotWritable
        fields = {"p": str(owned.position), "t": text} if text else {}
        if encoded:
            fields["c"] = encoded
        self._follower(owned.log.reply_id).wrote(owned.log, more[0], fields)
        return owned.position + len(text)

    # ------------------------------------------------------------------ the end

    async def seal(self, log: Log, planned_end: End) -> None:
        """See `Store.seal`."""
        owned = self._mine(log)
        owned.seal(planned_end)
        await owned.flushed()

    async def finish(self, log: Log, end: End) -> None:
        """See `Store.finish`. Anybody may stop a reply; any other end is its owner's."""
        owned = self._owned.get(log.reply_id)
        if log.end is not None or (owned is None and end.finish_reason != "stopped"):
            return
        try:
            await self._finish(log, end, owned, self._patience)
        except StoreUnavailable:
            if owned is None:
                raise
            self.give_up(log, end)

    def give_up(self, log: Log, end: End | None = None) -> None:
        """Redis is away: tell those who read here now, and Redis when it is back, that a reply has failed.

        `end` is another one that Redis is to be told.
        """
        problem = StoreUnavailable("Redis can't be reached.", retry_after=1)
        failed = End("failed", "error", problem.as_dict())
        owned = self._owned.get(log.reply_id)
        if owned is not None and not owned.given_up:
            owned.given_up = True  # it stays ours until Redis has the end, so another finds it if this node dies
            self._later(self._finish_late(log, end or failed, owned))
        log.finish(failed, 0)

    async def _finish_late(self, log: Log, end: End, owned: Outbox) -> None:
        try:
            await self._finish(log, end, owned, LATER)
        finally:  # what Redis refuses, `Leases` finds as ours without our knowing
            self.forget(log.reply_id)
        await self._let_go(log.reply_id)

    async def _finish(
        self, log: Log, end: End, owned: Outbox | None, patience: float
    ) -> None:
        key = self._keys.reply(log.reply_id)
        prefix = self._keys.prefix(log.reply_id)
        keys = [key, f"{key}:log", f"{key}:gone", f"{key}:readers"]
        keys += [f"{prefix}news", f"{prefix}owned:"]
        encoded = msgspec.json.encode(end).decode()
        while True:
            if owned is not None and owned.flushing is not None:
                await asyncio.shield(owned.flushing)
            anybodys = owned is None or end.finish_reason == "stopped"
            said, *more = await self._writer.run(
                scripts.FINISH,
                keys,
                self._node,
                "" if owned is None or anybodys else owned.epoch,
                0 if owned is None else owned.position,
                encoded,
                self._keep,
                self._keep + REMEMBERED * 1000,
                log.reply_id,
                "1" if end.state == "stopped" else "",
                patience=patience,
            )
            if said != "torn" or owned is None or not owned.rewind(int(more[0])):
                break
        # Another may have written since this node was paused, and stopping asks for no epoch.
        if said == "ok" and int(more[1]) == log.position:
            fields = {"p": more[1], "e": encoded}
            self._follower(log.reply_id).wrote(log, more[0], fields)
        elif said not in ("ok", "ended"):
            self._refused(log, said)
            return
        while log.end is None:
            await self._refresh(log)
        if end.state != "stopped":
            self.forget(log.reply_id)

    def _refused(self, log: Log, said: str) -> None:
        self.forget(log.reply_id)
        if said in ("gone", "torn"):
            self._lost(log.reply_id)
        if said == "torn":
            self._later(self._delete(log.reply_id))

    async def _delete(self, reply_id: str) -> None:
        key = self._keys.reply(reply_id)
        # Nobody may begin another reply under this id.
        await self._writer.ask("SET", f"{key}:gone", 1, "EX", REMEMBERED)
        await self._writer.ask("DEL", key, f"{key}:log", f"{key}:readers")

    def produced(self, log: Log) -> None:
        """See `Store.produced`."""
        owned = self._owned.get(log.reply_id)
        if log.end is not None and owned is not None and not owned.given_up:
            self.forget(log.reply_id)
            self._later(self._let_go(log.reply_id))

    async def _let_go(self, reply_id: str) -> None:
        await self._writer.ask("SREM", self._set(reply_id), reply_id, patience=LATER)

    # ------------------------------------------------------------------ from hand to hand

    def _hands(self, reply_id: str) -> list[str]:
        """The keys of `TAKE` and `RELEASE`."""
        prefix = self._keys.prefix(reply_id)
        names = (reply_id, "nodes", "owned:", "news")
        return [prefix + name for name in names]

    async def take(self, log: Log) -> bool:
        """See `Store.take`."""
        reply_id = log.reply_id
        if reply_id in self._owned:
            return log.end is None
        taken = await self._writer.run(
            scripts.TAKE, self._hands(reply_id), self._node, reply_id
        )
        if not taken:
            return False
        await self._refresh(log)
        if log.end is not None or reply_id in self._owned:  # somebody was faster
            return False
        owned = Outbox(log, int(taken[0]), self._write)
        self._owned[reply_id] = owned
        owned.rewind(int(taken[1]))
        return True

    async def release(self, log: Log) -> bool:
        """See `Store.release`."""
        owned = self._owned.get(log.reply_id)
        if owned is None:
            return False
        try:
            await owned.flushed()
        except (NotWritable, StoreUnavailable):
            return False
        try:
            said = await self._writer.run(
                scripts.RELEASE,
                self._hands(log.reply_id),
                self._node,
                owned.epoch,
                log.reply_id,
                NOBODY,
            )
        finally:  # also if Redis does not hear of it: another finds it once this node is gone
            self.forget(log.reply_id)
        return bool(said == "ok")
