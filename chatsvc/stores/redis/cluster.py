"""The nodes that share one Redis, as `chatsvc.replies` sees them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from chatsvc.log import Log
from chatsvc.stores.redis.leases import Leases
from chatsvc.stores.redis.limits import Limits
from chatsvc.stores.redis.owner import Owner
from chatsvc.stores.redis.presence import Presence
from chatsvc.stores.redis.tasks import DetachedTasks


class ManyNodes:
    """The `Cluster` of the nodes that share one Redis."""

    shared = True

    def __init__(
        self,
        node: str,
        leases: Leases,
        limits: Limits,
        owner: Owner,
        presence: Presence,
        tasks: DetachedTasks,
    ) -> None:
        self.node = node
        self._leases = leases
        self._limits = limits
        self._owner = owner
        self._presence = presence
        self._tasks = tasks

    def new_reply_id(self, account: str) -> str:
        """See `Cluster.new_reply_id`."""
        return self._limits.new_reply_id(account)

    def on_orphan(self, adopt: Callable[[str], Awaitable[None]]) -> None:
        """See `Cluster.on_orphan`."""
        self._leases.on_orphan(adopt)

    def owns(self, log: Log) -> bool:
        """See `Cluster.owns`."""
        return self._owner.owns(log.reply_id)

    async def take_over(self, log: Log) -> bool | None:
        """See `Cluster.take_over`."""
        return await self._owner.take_over(log)

    async def release(self, log: Log) -> bool:
        """See `Cluster.release`."""
        return await self._owner.release(log)

    async def successor(self, log: Log) -> str | None:
        """See `Cluster.successor`."""
        return await self._owner.successor(log)

    async def producer_ended(self, log: Log) -> bool:
        """See `Cluster.producer_ended`."""
        return await self._owner.producer_ended(log)

    async def wait_for_producer(self, log: Log, seconds: float) -> bool:
        """See `Cluster.wait_for_producer`."""
        return await self._presence.wait_for_producer(log, seconds)

    def announce_readers(self, log: Log, present: bool) -> None:
        """See `Cluster.announce_readers`."""
        if self._presence.note(log.reply_id, present) and log.end is None:
            self._tasks.run(self._presence.announce([log.reply_id], present))

    async def last_read(self, log: Log) -> int:
        """See `Cluster.last_read`."""
        return await self._presence.last_read(log.reply_id)
