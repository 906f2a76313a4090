"""The leases of the nodes: which nodes live, and which replies the dead have left.

A node has one lease for all that it owns: its score in a sorted set, which is the time at which the
lease runs out (milliseconds). The node renews the lease several times before that. Every node looks
for leases that have run out. The replies that are to be taken over are in the dead node's set, so
that no node has to walk all replies.

Redis may have come back without the last renewals: it saves them only now and then, and a replica
that becomes the master may be behind. Then all leases look as if they had run out. A node notices
this by its own lease, which is not the one that it has taken; it then takes no node for dead until
the living have renewed theirs. Because the renewal and the search are one script, nothing can come
between them.

A reply may be in this node's own set though the node does not know that it owns it, because the
answer that said so was lost. No other node would take such a reply over, so this one does.

`NOBODY` is the name of a node that is always dead: a reply is released by giving it to that node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from chatsvc.problems import ReplyExpired, ReplyNotFound, StoreUnavailable
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.keys import HashTag
from chatsvc.stores.redis.scripts import FORGET_NODE, RENEW, TIME
from chatsvc.stores.redis.tasks import cancel
from chatsvc.ticker import Clock, monotonic

logger = logging.getLogger("chatsvc.redis")

LEASE_S = 4.0
"""Seconds after which a node that has not renewed its lease is taken for dead."""

NOBODY = "-"
"""The name of the node that is always dead."""

MAX_ADOPTED = 64
"""Replies that are taken over at once: what this node has no room for, another takes."""


class Leases:
    """The lease of `node`, renewed in a task, and the search for replies that have no living owner.

    `lease` is its length in seconds. `owned(tag)` returns the ids of the replies of a hash tag that
    this node knows to be its own. `on_renewed` is called after each renewal.
    """

    def __init__(
        self,
        commands: Commands,
        clock: Clock,
        node: str,
        tags: list[HashTag],
        lease: float,
        *,
        owned: Callable[[HashTag], Collection[str]],
        on_renewed: Callable[[], Awaitable[None]],
    ) -> None:
        self._commands = commands
        self._clock = clock
        self._node = node
        self._tags = tags
        self._lease = lease
        self._owned = owned
        self._on_renewed = on_renewed
        self._adopt: Callable[[str], Awaitable[None]] | None = None
        # In microseconds of the monotonic clock: the last renewal, and the time since which the
        # leases of other nodes can be trusted.
        self._renewed_us = 0
        self._steady_since_us = 0
        # When the lease that Redis has confirmed the last runs out, in milliseconds of Redis' clock.
        self._until_ms = 0
        # The ids that were in this node's set in Redis at the last look, and that it did not know
        # as its own. The answer that says so may just be under way, so a reply is adopted only if
        # it is unknown at two looks in a row.
        self._unknown: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take the lease, and begin to renew it. Raises `StoreUnavailable`."""
        for _ in range(3):  # the quickest answer gives the closest bound of the time
            await self.compare_clocks()
        await self.renew()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop renewing the lease; it runs out by itself."""
        await cancel(self._task)

    def on_orphan(self, adopt: Callable[[str], Awaitable[None]]) -> None:
        """See `Cluster.on_orphan`."""
        self._adopt = adopt

    @property
    def alive(self) -> bool:
        """Whether this node's lease has not run out."""
        return monotonic() - self._renewed_us < self._lease * 1e6

    def distrust(self) -> None:
        """Take no node for dead until the living have had time to renew their leases.

        It is called when all leases may have run out, or may be old ones, because Redis was away or
        its clock jumped.
        """
        self._steady_since_us = monotonic()

    async def compare_clocks(self) -> None:
        """Adjust `clock.offset` to the time of Redis. Raises `StoreUnavailable`.

        The offset stays a lower bound, because Redis read its clock before the answer arrived. So
        this node's clock is never ahead of that of Redis, or of any master of Redis Cluster.
        """
        sent = monotonic()
        times = await asyncio.gather(
            *(self._commands.run(TIME, [tag.leases]) for tag in self._tags)
        )
        received = monotonic()
        time = min(int(seconds) * 1_000_000 + int(micros) for seconds, micros in times)
        clock = self._clock
        if time - received > clock.offset or time - sent < clock.offset:
            # A jump of Redis' clock makes leases run out though no node died.
            if abs(time - received - clock.offset) > self._lease * 0.25e6:
                self.distrust()
            clock.offset = time - received

    async def renew(self) -> list[list[str]]:
        """Renew the lease, and return for each hash tag the nodes whose leases have run out.

        They may be old leases: see `distrust`. Raises `StoreUnavailable`.
        """
        now = monotonic()
        now_ms = (now + self._clock.offset) // 1000
        until_ms = now_ms + round(self._lease * 1000)
        answers = await asyncio.gather(
            *(
                self._commands.run(RENEW, [tag.leases], self._node, until_ms, now_ms)
                for tag in self._tags
            )
        )
        # This node was paused, or Redis was away: the leases of others may have run out too.
        if monotonic() - self._renewed_us > self._lease * 0.75e6:
            self.distrust()
        # A later one than was confirmed is that of a renewal whose answer was lost.
        if any(int(before or 0) < self._until_ms for before, *_ in answers):
            self.distrust()
        self._renewed_us, self._until_ms = now, until_ms
        return [expired for _, *expired in answers]

    async def _run(self) -> None:
        self.distrust()
        while True:
            await asyncio.sleep(self._lease / 5)
            try:
                await self.compare_clocks()
                expired = await self.renew()
                steady = monotonic() - self._steady_since_us > self._lease * 0.5e6
                if steady and self._adopt is not None:
                    for tag, nodes in zip(self._tags, expired, strict=True):
                        await self._adopt_of_the_dead(tag, nodes)
                    await self._adopt_unknown()
                await self._on_renewed()
            except StoreUnavailable:
                continue
            except Exception:
                logger.exception("keeping the lease failed")

    async def _adopt_of_the_dead(self, tag: HashTag, dead: list[str]) -> None:
        """Have the replies of dead nodes adopted, and forget the nodes that have none left.

        Raises `StoreUnavailable`.
        """
        for node in dead:
            owned = tag.owned_by(node)
            await self._adopt_all(owned)
            await self._commands.run(FORGET_NODE, [owned, tag.leases], node)

    async def _adopt_all(self, owned: str) -> None:
        """Adopt all in a dead node's set, while there is room, and time until the next renewal."""
        until_us = monotonic() + round(self._lease * 0.2e6)
        left = await self._commands.ask("SCARD", owned)
        while left:
            ids = await self._commands.ask("SRANDMEMBER", owned, MAX_ADOPTED)
            await asyncio.gather(*(self._adopt_one(id, owned) for id in ids))
            before, left = left, await self._commands.ask("SCARD", owned)
            if left >= before or monotonic() > until_us:
                return

    async def _adopt_unknown(self) -> None:
        """Adopt the replies that this node's own set had at two looks, and that it does not know.

        Raises `StoreUnavailable`.
        """
        unknown: set[str] = set()
        for tag in self._tags:
            owned = tag.owned_by(self._node)
            known = self._owned(tag)
            if await self._commands.ask("SCARD", owned) == len(known):
                continue
            found = set(await self._commands.ask("SMEMBERS", owned)) - set(known)
            unknown |= found
            for reply_id in found & self._unknown:
                await self._adopt_one(reply_id, owned)
        self._unknown = unknown

    async def _adopt_one(self, reply_id: str, owned: str) -> None:
        if self._adopt is None:
            return
        try:
            await self._adopt(reply_id)
        except (ReplyNotFound, ReplyExpired):
            await self._commands.ask("SREM", owned, reply_id)
        except Exception:
            logger.exception("taking over a reply failed")
