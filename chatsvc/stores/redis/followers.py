"""The followers of all hash tags, and how far text may be released by what they have read.

Redis Cluster has several hash tags, and a node one `Follower` for each; otherwise there is one.

Invariant: no reader on any node gets text that a stop cuts off, however late its node learns of the
stop. A stop that arrives in Redis at time T cuts the reply where it is released at T + `LEEWAY_US`.
A node whose last completed round began at V, and brought no stop, releases what is due by V +
`LEEWAY_US`. So while Redis is away, streams pause.
"""

from __future__ import annotations

from chatsvc.log import Log
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.connect import Client
from chatsvc.stores.redis.entries import LEEWAY_US
from chatsvc.stores.redis.follower import Follower, FollowerListener
from chatsvc.stores.redis.keys import HashTag, Keys
from chatsvc.ticker import Clock

DRIFT_US = 5_000
"""Microseconds by which the clock may have drifted since it was last compared with Redis'."""


class Followers:
    """The followers of all hash tags; `all` has them in the order of `keys.tags`.

    They set `clock.limit`, the time up to which text may be released.
    """

    def __init__(
        self,
        client: Client,
        commands: Commands,
        keys: Keys,
        node: str,
        clock: Clock,
        patience: float,
        listener: FollowerListener,
    ) -> None:
        self._clock = clock
        clock.limit = 0
        self._read_us = dict.fromkeys(keys.tags, 0)
        self._keys = keys
        self._by_tag = {
            tag: Follower(
                client,
                commands,
                keys,
                tag,
                node,
                round(patience * 1e6),
                listener,
                self._on_read,
            )
            for tag in keys.tags
        }
        self.all = list(self._by_tag.values())

    def of(self, reply_id: str) -> Follower:
        """Return the follower of a reply's stream."""
        return self._by_tag[self._keys.tag(reply_id)]

    async def open(self) -> None:
        """Begin to follow; one round of each is over on return. Raises `StoreUnavailable`."""
        for follower in self.all:
            await follower.open()

    async def close(self) -> None:
        """Stop following."""
        for follower in self.all:
            await follower.close()

    @property
    def away_us(self) -> int:
        """The microseconds for which Redis, or one of its masters, has not answered."""
        return max(follower.away_us for follower in self.all)

    async def refresh(self, log: Log) -> None:
        """See `Store.refresh`."""
        await self.of(log.reply_id).refresh(log.reply_id)

    async def audit(self, released_us: int) -> None:
        """Audit each of them (see `Follower.audit`). Raises `StoreUnavailable`."""
        for follower in self.all:
            await follower.audit(released_us)

    def _on_read(self, tag: HashTag, began_us: int) -> None:
        self._read_us[tag] = began_us + self._clock.offset - DRIFT_US
        self._clock.limit = min(self._read_us.values()) + LEEWAY_US
