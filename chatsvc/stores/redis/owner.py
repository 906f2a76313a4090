"""The replies that this node owns: how they are created, written, ended, taken over and released.

Invariants:
- A reply's text goes to Redis through its `Outbox`, and the `Appender` of its hash tag. The log
  takes it when Redis has acknowledged it.
- The node writes in the epoch in which it became the owner; the scripts check it. Whatever they
  refuse ends the ownership here: another node owns the reply, or Redis has lost it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

from chatsvc.client_limits import StartLimits
from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.problems import StoreUnavailable
from chatsvc.stores.base import REMEMBERED_S, NotWritable, Record
from chatsvc.stores.redis.appender import Appender
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.connect import unavailable
from chatsvc.stores.redis.entries import ReplyEntry, decode_end
from chatsvc.stores.redis.followers import Followers
from chatsvc.stores.redis.keys import HashTag, Keys
from chatsvc.stores.redis.leases import NOBODY
from chatsvc.stores.redis.limits import digest_of
from chatsvc.stores.redis.outbox import Outbox
from chatsvc.stores.redis.owner_scripts import DETACHED_PATIENCE_S, OwnerScripts
from chatsvc.stores.redis.tasks import DetachedTasks
from chatsvc.units import Unit


class Owner:
    """The replies that `node` owns.

    `keep` is how many seconds an ended reply is kept, `patience` how many a producer waits for
    Redis. `on_lost` is called with the id of a reply that Redis has lost.
    """

    def __init__(
        self,
        commands: Commands,
        keys: Keys,
        node: str,
        *,
        keep: float,
        patience: float,
        followers: Followers,
        tasks: DetachedTasks,
        on_lost: Callable[[str], None],
    ) -> None:
        self._commands = commands
        self._keys = keys
        self._node = node
        self._scripts = OwnerScripts(commands, keys, node, keep, patience)
        self._patience = patience
        self._followers = followers
        self._tasks = tasks
        self._on_lost = on_lost
        self._outboxes: dict[str, Outbox] = {}
        self._appenders = {
            tag: Appender(self._scripts, follower, self._write_refused)
            for tag, follower in zip(keys.tags, followers.all, strict=True)
        }

    def owns(self, reply_id: str) -> bool:
        """Return whether this node owns the reply, as far as it knows."""
        return reply_id in self._outboxes

    def owned(self, tag: HashTag) -> Collection[str]:
        """Return the ids of all owned replies of a hash tag."""
        if len(self._keys.tags) == 1:
            return self._outboxes.keys()
        return [id for id in self._outboxes if self._keys.tag(id) is tag]

    def created_here(self, reply_id: str) -> tuple[Record, Log] | None:
        """Return the record and the log of a running reply that this node has created and owns.

        None for any other: Redis has to be asked for it.
        """
        outbox = self._outboxes.get(reply_id)
        if outbox is None or outbox.record is None or outbox.log.end is not None:
            return None
        return outbox.record, outbox.log

    def forget(self, reply_id: str) -> None:
        """Give up ownership on this node, and have the follower read the stream again."""
        if self._outboxes.pop(reply_id, None) is not None:
            self._followers.of(reply_id).read_once(reply_id)

    def owner_changed(self, reply_id: str, epoch: int) -> None:
        """Give up a reply that another node has owned since `epoch`, if this node's is earlier."""
        outbox = self._outboxes.get(reply_id)
        if outbox is not None and outbox.epoch < epoch:
            outbox.lose()
            self.forget(reply_id)

    async def create(
        self, record: Record, now_us: int, limits: StartLimits, elsewhere: int
    ) -> None:
        """Create a reply, unless one with its id is there; `now_us` is by the store's clock.

        `elsewhere` is how many replies run under other hash tags. Raises `Overloaded`,
        `TooManyRequests` and `StoreUnavailable`.
        """
        reply_id = record.reply_id
        created = await self._scripts.create(record, now_us, limits, elsewhere)
        if created and reply_id not in self._outboxes:
            log = record.new_log()
            self._followers.of(reply_id).add(log, "0-0")
            account = digest_of(limits.account)
            on_due = self._appenders[self._keys.tag(reply_id)].add
            self._outboxes[reply_id] = Outbox(log, 1, on_due, record, account)

    # ------------------------------------------------------------------ text

    async def append(self, log: Log, text: str) -> None:
        """See `Store.append`."""
        outbox = self._outbox(log)
        if outbox.add(text):
            await outbox.settled()

    async def append_side(self, log: Log, units: Sequence[Unit]) -> None:
        """See `Store.append_side`."""
        outbox = self._outbox(log)
        if outbox.add(tuple(units)):
            await outbox.settled()

    def has_room(self, log: Log) -> bool:
        """See `Store.has_room`."""
        outbox = self._outboxes.get(log.reply_id)
        return outbox is not None and outbox.room and log.end is None

    def append_now(self, log: Log, text: str) -> None:
        """See `Store.append_now`."""
        self._outbox(log).add(text)

    def append_side_now(self, log: Log, units: Sequence[Unit]) -> None:
        """See `Store.append_side_now`."""
        self._outbox(log).add(tuple(units))

    def note_usage(self, log: Log, usage: dict[str, Any]) -> None:
        """See `Store.note_usage`. It is written with what is written next."""
        log.usage = usage

    async def seal(self, log: Log, planned_end: End) -> None:
        """See `Store.seal`."""
        outbox = self._outbox(log)
        outbox.seal(planned_end)
        await outbox.flushed()

    def _outbox(self, log: Log) -> Outbox:
        outbox = self._outboxes.get(log.reply_id)
        if outbox is None or log.end is not None:
            raise NotWritable
        return outbox

    # ------------------------------------------------------------------ the end

    async def finish(self, log: Log, end: End) -> bool:
        """See `Store.finish`. It is True also where Redis gets the end later."""
        outbox = self._outboxes.get(log.reply_id)
        if log.end is not None or (outbox is None and end.finish_reason != "stopped"):
            return False
        try:
            return await self._finish(log, end, outbox, self._patience)
        except StoreUnavailable:
            if outbox is None:
                raise
            self.give_up(log, end)
            return True

    def give_up(self, log: Log, end: End | None = None) -> None:
        """End a reply on this node as failed, because Redis is away.

        If this node owns it, Redis gets `end`, or else the same failure, when it is back.
        """
        failed = End("failed", "error", unavailable().as_dict(), log.usage)
        outbox = self._outboxes.get(log.reply_id)
        # The reply stays this node's own until Redis has the end, so that another node ends it if
        # this one dies.
        if outbox is not None and outbox.give_up():
            self._tasks.run(self._finish_late(log, end or failed, outbox))
        log.finish(failed, 0)

    async def _finish_late(self, log: Log, end: End, outbox: Outbox) -> None:
        try:
            await self._finish(log, end, outbox, DETACHED_PATIENCE_S)
        finally:  # if Redis refuses, `Leases` finds it in this node's set, as one it does not know
            self.forget(log.reply_id)
        await self._scripts.retire(log.reply_id, outbox.account)

    async def _finish(
        self, log: Log, end: End, outbox: Outbox | None, patience: float
    ) -> bool:
        reply_id = log.reply_id
        while True:
            if outbox is not None:
                await outbox.settled()
            any_epoch = outbox is None or end.finish_reason == "stopped"
            status, *more = await self._scripts.finish(
                reply_id,
                None if outbox is None or any_epoch else outbox.epoch,
                (0, 0) if outbox is None else (outbox.position, outbox.sides),
                end.with_usage(log.usage),
                patience,
            )
            if status != "torn" or outbox is None or not outbox.rewind(_counts(more)):
                break
        # Redis may have text that this node does not have: while this one was paused, another may
        # have taken over and written, and a stop is taken in any epoch. Then the follower brings
        # text and end.
        if status == "ok" and _counts(more[1:]) == (
            log.position,
            log.offset - log.position,
        ):
            entry = ReplyEntry(log.position, end=decode_end(more[3]))
            self._followers.of(reply_id).apply_own(log, more[0], entry)
        elif status not in ("ok", "ended"):
            self._refused(log, status)
            return False
        while log.end is None:
            await self._followers.refresh(log)
        # A stopped reply stays this node's own until `producer_ended`.
        if end.state != "stopped":
            self.forget(reply_id)
        return status == "ok" and not any_epoch

    def _refused(self, log: Log, status: str) -> None:
        """Give up a reply that a script has refused to write."""
        self.forget(log.reply_id)
        if status in ("gone", "torn"):
            self._on_lost(log.reply_id)
        if status == "torn":
            self._tasks.run(self._delete(log.reply_id))

    def _write_refused(self, outbox: Outbox, status: str) -> None:
        """Give up a reply whose text `write.lua` has refused, unless it is this node's own anew."""
        log = outbox.log
        if self._outboxes.get(log.reply_id) in (outbox, None):
            self._refused(log, status)

    async def _delete(self, reply_id: str) -> None:
        # The mark first: no other reply may be created under this id.
        await self._commands.ask(
            "SET", self._keys.gone(reply_id), 1, "EX", REMEMBERED_S
        )
        await self._commands.ask(
            "DEL",
            self._keys.reply(reply_id),
            self._keys.stream(reply_id),
            self._keys.readers(reply_id),
        )

    async def successor(self, log: Log) -> str | None:
        """See `Cluster.successor`."""
        owner = await self._commands.ask("HGET", self._keys.reply(log.reply_id), "o")
        if owner is None or owner == self._node:
            return None
        return "" if owner == NOBODY else str(owner)

    async def producer_ended(self, log: Log) -> bool:
        """See `Cluster.producer_ended`.

        A stop may come from any node, at any time. A reply that was stopped is in the set of the node
        that owned it until somebody removes it: that one may say that it has ended. Any other end
        was set by the owner.
        """
        outbox = self._outboxes.get(log.reply_id)
        if outbox is not None and outbox.given_up:  # `_finish_late` removes it
            return True
        self.forget(log.reply_id)
        if log.end is not None and log.end.state != "stopped":
            return await self.successor(log) is None
        if outbox is not None:
            account = outbox.account
        else:  # a script has refused to write it: it counts for its account all the same
            reply = self._keys.reply(log.reply_id)
            account = str(await self._commands.ask("HGET", reply, "a") or "")
        retiring = self._tasks.run(self._scripts.retire(log.reply_id, account))
        return await asyncio.shield(retiring)

    # ------------------------------------------------------------------ ownership

    async def take_over(self, log: Log) -> bool | None:
        """See `Cluster.take_over`."""
        reply_id = log.reply_id
        if reply_id in self._outboxes:
            return log.end is None
        taken = await self._scripts.take_over(reply_id)
        if taken is None:
            return False
        if taken == "ended":
            await self._followers.refresh(log)
            return None if log.end is not None else False
        await self._followers.refresh(log)
        # It may have been stopped meanwhile, or taken over by another call.
        if log.end is not None or reply_id in self._outboxes:
            return False
        epoch, there, account = taken
        on_due = self._appenders[self._keys.tag(reply_id)].add
        outbox = Outbox(log, epoch, on_due, account=account)
        self._outboxes[reply_id] = outbox
        outbox.rewind(there)
        return True

    async def release(self, log: Log) -> bool:
        """See `Cluster.release`."""
        outbox = self._outboxes.get(log.reply_id)
        if outbox is None:
            return False
        try:
            await outbox.flushed()
        except (NotWritable, StoreUnavailable):
            return False
        try:
            return await self._scripts.release(log.reply_id, outbox.epoch)
        finally:  # also without an answer: another node finds it once this one's lease has run out
            self.forget(log.reply_id)


def _counts(answer: Sequence[str]) -> tuple[int, int]:
    """Return the position and the number of side units that a script has answered with."""
    return int(answer[0]), int(answer[1])
