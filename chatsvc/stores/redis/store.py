"""The class `RedisStore`, which puts together the parts that stand in the package's other modules.

It is also the `FollowerListener`, because what the followers learn concerns several of the parts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from chatsvc.client_limits import UNLIMITED, StartLimits
from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.problems import StoreUnavailable
from chatsvc.stores.address import parse_address
from chatsvc.stores.base import Record, StoreMisconfigured
from chatsvc.stores.cluster import Cluster
from chatsvc.stores.redis.cluster import ManyNodes
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.connect import FAILURES, connect, disconnect, follow_master
from chatsvc.stores.redis.followers import Followers
from chatsvc.stores.redis.idempotency import Idempotency
from chatsvc.stores.redis.keys import FORMAT, Keys
from chatsvc.stores.redis.leases import LEASE_S, Leases
from chatsvc.stores.redis.limits import Limits
from chatsvc.stores.redis.logs import Logs
from chatsvc.stores.redis.owner import Owner
from chatsvc.stores.redis.presence import Presence
from chatsvc.stores.redis.rights import check_rights
from chatsvc.stores.redis.tasks import DetachedTasks
from chatsvc.ticker import Clock, monotonic
from chatsvc.units import Unit

PATIENCE_S = 10.0
"""Seconds for which Redis may be away before replies end."""

AUDIT_US = 2_000_000
"""Microseconds between two audits of what is followed (see `Follower.audit`)."""


class NewerFormat(StoreMisconfigured):
    """The error for a Redis whose replies a later version keeps in a format that this can't read."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"what this Redis holds has the format {found}, which a later version of chatsvc has "
            f"written; this one reads {FORMAT}: update it, or use another database"
        )


class RedisStore:
    """A `Store` in the Redis at `address` (see `parse_address`), shared by any number of nodes.

    `keep` is how many seconds an ended reply is kept. The names of all keys begin with `prefix` and
    a colon; the nodes that share replies have the same. `node` is this node's name, random by
    default. After `lease` seconds without a sign of life a node is taken for dead. `patience` is
    how many seconds Redis may be away before replies end; any other call waits for half of that,
    and after a fifth of it the store is not `ready`.

    Raises `ValueError` for an address that can't be read, or names a file that can't be used.
    """

    def __init__(
        self,
        address: str,
        *,
        keep: float,
        prefix: str = "chatsvc",
        node: str = "",
        lease: float = LEASE_S,
        patience: float = PATIENCE_S,
    ) -> None:
        self.clock = Clock()
        self.node = node or secrets.token_hex(6)
        self._patience = patience
        self._audited_us = 0
        place = parse_address(address)
        self._keys = keys = Keys(prefix, cluster=place.kind == "cluster")
        self._client = connect(place, patience)
        self._commands = commands = Commands(self._client, patience / 2, place.mask)
        self._tasks = DetachedTasks()
        self._followers = Followers(
            self._client, commands, keys, self.node, self.clock, patience, self
        )
        self._logs = Logs(commands, keys, self._followers, on_lost=self.lost)
        self._idempotency = Idempotency(commands, keys, keep)
        self._limits = Limits(commands, keys)
        self._presence = Presence(commands, keys, self.clock, self.node)
        self._owner = Owner(
            commands,
            keys,
            self.node,
            keep=keep,
            patience=patience,
            followers=self._followers,
            tasks=self._tasks,
            on_lost=self.lost,
        )
        # Not wrapped: they are called for each token.
        self.has_room = self._owner.has_room
        self.append_now = self._owner.append_now
        self.append_side_now = self._owner.append_side_now
        self._leases = Leases(
            commands,
            self.clock,
            self.node,
            keys.tags,
            lease,
            owned=self._owner.owned,
            on_renewed=self._on_renewed,
        )
        self.cluster: Cluster = ManyNodes(
            self.node,
            self._leases,
            self._limits,
            self._owner,
            self._presence,
            self._tasks,
        )

    async def open(self) -> None:
        """See `Store.open`."""
        self._commands.open()
        try:
            await check_rights(self._commands, self._keys, self.node)
            await self._check_format()
            await self._leases.open()
            await self._followers.open()
        except BaseException as error:
            # Also when it is cancelled: redis-py swallows one cancellation of a task that connects,
            # and the loop, which cancels each task once, would wait for that one for ever.
            await self.close()
            if isinstance(error, StoreUnavailable) and self._commands.refusal:
                raise StoreMisconfigured(
                    f"Redis refuses the user or its password: {self._commands.refusal}"
                ) from None
            raise

    async def _check_format(self) -> None:
        """Raise `NewerFormat` if a later version keeps what this one can't read.

        If no version is named there yet, this one's is set. What stands behind a full stop is a
        minor version, which says only what was added.
        """
        key = self._keys.format
        found = await self._commands.ask("GET", key)
        if found is None:
            await self._commands.ask("SET", key, FORMAT, "NX")
            return
        major = found.partition(".")[0]
        if not (major.isascii() and major.isdecimal() and int(major[:9]) <= FORMAT):
            raise NewerFormat(found)

    async def close(self) -> None:
        """See `Store.close`."""
        self._tasks.cancel()
        self._logs.close()
        await self._leases.close()
        await self._followers.close()
        await self._commands.close()
        await disconnect(self._client)

    def on_failure(self, note: Callable[[str], None]) -> None:
        """See `Store.on_failure`."""
        self._commands.on_failure = note

    def ready(self) -> bool:
        """See `Store.ready`."""
        # A Redis that is full, or has become a replica, still answers the followers; but the lease,
        # a write, runs out.
        return self._leases.alive and self._followers.away_us < self._patience * 0.2e6

    # ------------------------------------------------------------------ replies

    async def create(self, record: Record, limits: StartLimits = UNLIMITED) -> str:
        """See `Store.create`. Never raises `ReplyExpired`: `find` does, for the id."""
        if record.key:
            reply_id = await self._idempotency.claim(record)
            record = msgspec.structs.replace(record, reply_id=reply_id)
        elsewhere = self._limits.elsewhere(self._keys.tag(record.reply_id))
        await self._owner.create(record, self.clock.now(), limits, elsewhere)
        if (created := self._owner.created_here(record.reply_id)) is not None:
            self._logs.add(created[1])
        return record.reply_id

    async def known(self, record: Record) -> str | None:
        """See `Store.known`. Never raises `ReplyExpired`: `find` does, for the id."""
        return await self._idempotency.known(record)

    async def find(self, reply_id: str) -> tuple[Record, Log]:
        """See `Store.find`."""
        created = self._owner.created_here(reply_id)
        return await self._logs.find(reply_id) if created is None else created

    finish_now = None
    kept_bytes = 0

    async def append(self, log: Log, text: str) -> None:
        """See `Store.append`."""
        await self._owner.append(log, text)

    async def append_side(self, log: Log, units: Sequence[Unit]) -> None:
        """See `Store.append_side`."""
        await self._owner.append_side(log, units)

    def note_usage(self, log: Log, usage: dict[str, Any]) -> None:
        """See `Store.note_usage`."""
        self._owner.note_usage(log, usage)

    async def seal(self, log: Log, planned_end: End) -> None:
        """See `Store.seal`."""
        await self._owner.seal(log, planned_end)

    async def finish(self, log: Log, end: End) -> bool:
        """See `Store.finish`."""
        return await self._owner.finish(log, end)

    async def refresh(self, log: Log) -> None:
        """See `Store.refresh`."""
        await self._followers.refresh(log)

    async def remember(
        self, name: str, value: str, *, only_new: bool = False
    ) -> str | None:
        """See `Store.remember`."""
        return await self._idempotency.remember(name, value, only_new=only_new)

    async def recall(self, name: str) -> str | None:
        """See `Store.recall`."""
        return await self._idempotency.recall(name)

    async def forget(self, name: str, value: str) -> None:
        """See `Store.forget`."""
        await self._idempotency.forget(name, value)

    # ------------------------------------------------------------------ events

    async def _on_renewed(self) -> None:
        """Do the periodic work; called whenever the lease has been renewed.

        Raises `StoreUnavailable`.
        """
        with suppress(*FAILURES):  # no Sentinel answers: another time, then
            await follow_master(self._client)
        await self._limits.look()
        await self._presence.renew()
        now = monotonic()
        if now - self._audited_us >= AUDIT_US:
            self._audited_us = now
            await self._followers.audit(self.clock.now() - AUDIT_US)

    def writes(self, reply_id: str) -> bool:
        """See `FollowerListener.writes`."""
        return self._owner.owns(reply_id)

    def owner_changed(self, reply_id: str, epoch: int) -> None:
        """See `FollowerListener.owner_changed`."""
        self._owner.owner_changed(reply_id, epoch)

    def lost(self, reply_id: str) -> None:
        """End a reply that Redis has lost: it may have restarted without its data.

        See `FollowerListener.lost`.
        """
        self._owner.forget(reply_id)
        self._logs.lose(reply_id)

    def disconnected(self) -> None:
        """Distrust the leases: Redis may come back without the last renewals.

        See `FollowerListener.disconnected`.
        """
        self._leases.distrust()

    def gave_up(self, log: Log) -> None:
        """End a reply on this node as failed. Later readers get what Redis has when it is back.

        See `FollowerListener.gave_up`.
        """
        self._logs.remove(log)
        self._owner.give_up(log)
