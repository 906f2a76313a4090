"""Which nodes live, and what the dead have left.

A node has one lease for all that it owns: its score in a sorted set, renewed several times before it runs out. What it
owns is a set of reply ids. Whoever looks at the leases by due time finds the dead, and in their sets what to take
over; nothing walks all replies. It also compares its own set with what it knows, for an answer may have been lost.
Nobody (`-`) is a node that is always dead: a reply is handed on by giving it to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from chatsvc.problems import ReplyExpired, ReplyNotFound, StoreUnavailable
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.scripts import FORGET, TIME
from chatsvc.ticker import Clock, monotonic

logger = logging.getLogger("chatsvc.redis")

LEASE = 4.0
"""Seconds after which a node that is not heard of is dead."""

NOBODY = "-"

AT_ONCE = 64
"""Replies that are taken over in one go: what one node can't carry, another takes."""


class Leases:
    """Renews this node's lease, compares the clock, and calls `adopt` with each reply id whose owner is dead."""

    def __init__(
        self,
        writer: Commands,
        clock: Clock,
        node: str,
        prefixes: list[str],
        lease: float,
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._node = node
        self._prefixes = prefixes
        self._lease = lease
        self._renewed = 0
        self._steady = 0  # since when the leases of the others can be trusted
        self._task: asyncio.Task[None] | None = None
        self.adopt: Callable[[str], Awaitable[None]] | None = None
        self.each: Callable[[], Awaitable[None]] | None = None
        self.owned: Callable[[str], Collection[str]] = lambda prefix: ()
        self._strange: set[str] = set()  # ours, by Redis, though nothing here knows it

    async def open(self) -> None:
        """Take a lease and keep it. Raises `StoreUnavailable`."""
        for _ in range(3):
            await self.compare()
        await self.renew()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Let it go."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def alive(self) -> bool:
        """Whether the lease is kept."""
        return monotonic() - self._renewed < self._lease * 1e6

    def unsettle(self) -> None:
        """Redis was away, or what it was told last may not hold: the others need a moment to renew their leases."""
        self._steady = monotonic()

    async def compare(self) -> None:
        """Compare the clock with Redis': what stays is a lower bound, so this node is never ahead of any of a Cluster."""
        sent = monotonic()
        times = await asyncio.gather(
            *(self._writer.run(TIME, [f"{prefix}nodes"]) for prefix in self._prefixes)
        )
        received = monotonic()
        time = min(int(seconds) * 1_000_000 + int(micros) for seconds, micros in times)
        clock = self._clock
        if time - received > clock.offset or time - sent < clock.offset:
            # A jump of Redis' clock lets leases run out, and nobody died.
            if abs(time - received - clock.offset) > self._lease * 0.25e6:
                self.unsettle()
            clock.offset = time - received

    async def renew(self) -> None:
        """Renew the lease."""
        now = monotonic()
        until = (now + self._clock.offset) // 1000 + round(self._lease * 1000)
        await asyncio.gather(
            *(
                self._writer.ask("ZADD", f"{prefix}nodes", until, self._node)
                for prefix in self._prefixes
            )
        )
        self._renewed = now

    async def _run(self) -> None:
        self.unsettle()
        while True:
            await asyncio.sleep(self._lease / 5)
            try:
                before = self._renewed
                await self.compare()
                await self.renew()
                now = monotonic()
                if now - before > self._lease * 0.75e6:  # nobody died
                    self.unsettle()
                if now - self._steady > self._lease * 0.5e6 and self.adopt is not None:
                    await self._look()
                    await self._look_at_own()
                if self.each is not None:
                    await self.each()
            except StoreUnavailable:
                continue
            except Exception:
                logger.exception("keeping the lease failed")

    async def _look(self) -> None:
        for prefix in self._prefixes:
            now = (monotonic() + self._clock.offset) // 1000
            dead = await self._writer.ask("ZRANGEBYSCORE", f"{prefix}nodes", 0, now)
            for node in dead:
                owned = f"{prefix}owned:{node}"
                await self._take_over(owned)
                await self._writer.run(FORGET, [owned, f"{prefix}nodes"], node)

    async def _take_over(self, owned: str) -> None:
        """Take over what a dead node owned, as much as there is room and time for before the lease is to be renewed."""
        until = monotonic() + round(self._lease * 0.2e6)
        left = await self._writer.ask("SCARD", owned)
        while left:
            ids = await self._writer.ask("SRANDMEMBER", owned, AT_ONCE)
            await asyncio.gather(*(self._adopt(id, owned) for id in ids))
            before, left = left, await self._writer.ask("SCARD", owned)
            if left >= before or monotonic() > until:
                return

    async def _look_at_own(self) -> None:
        """Adopt what was given to this node by an answer that it never got: no other would, for this one lives."""
        strange: set[str] = set()
        for prefix in self._prefixes:
            owned = f"{prefix}owned:{self._node}"
            known = self.owned(prefix)
            if await self._writer.ask("SCARD", owned) == len(known):
                continue
            new = set(await self._writer.ask("SMEMBERS", owned)) - set(known)
            strange |= new
            for reply_id in new & self._strange:  # for longer than an answer takes
                await self._adopt(reply_id, owned)
        self._strange = strange

    async def _adopt(self, reply_id: str, owned: str) -> None:
        if self.adopt is None:
            return
        try:
            await self.adopt(reply_id)
        except (ReplyNotFound, ReplyExpired):
            await self._writer.ask("SREM", owned, reply_id)
        except Exception:
            logger.exception("taking over a reply failed")
