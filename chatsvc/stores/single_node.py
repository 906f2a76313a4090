"""The cluster of a store that serves one node alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from chatsvc.cursor import new_reply_id
from chatsvc.log import Log


class SingleNode:
    """The `Cluster` of a store that one node uses alone: this node owns every reply."""

    shared = False
    node = ""

    def new_reply_id(self, account: str) -> str:
        """See `Cluster.new_reply_id`."""
        return new_reply_id()

    def on_orphan(self, adopt: Callable[[str], Awaitable[None]]) -> None:
        """Do nothing: no other node can leave a reply behind."""

    def owns(self, log: Log) -> bool:
        """Return True."""
        return True

    async def take_over(self, log: Log) -> bool:
        """Return False: no reply is without its owner."""
        return False

    async def release(self, log: Log) -> bool:
        """Return False: no other node could take the reply over."""
        return False

    async def successor(self, log: Log) -> str | None:
        """Return None: there is no other node."""
        return None

    async def producer_ended(self, log: Log) -> bool:
        """Return True: this node has owned the reply."""
        return True

    async def wait_for_producer(self, log: Log, seconds: float) -> bool:
        """Return True: no other node works on the reply."""
        return True

    def announce_readers(self, log: Log, present: bool) -> None:
        """Do nothing: the owner is this node."""

    async def last_read(self, log: Log) -> int:
        """Return 0: no other node has readers."""
        return 0
