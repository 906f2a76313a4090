"""Which other nodes are at a reply, in Redis: its owner asks for readers, and who stops it for whoever produces it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chatsvc.log import Log
from chatsvc.stores.redis import scripts
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.keys import Keys
from chatsvc.ticker import Clock, monotonic

RENEW = 10_000_000
"""Microseconds after which a node says again what it reads, for a Redis that was taken over from may have lost it."""

AT_ONCE = 256
"""Replies that one command is about at most."""


class Presence:
    """What this node reads of replies that others own, and what the others read.

    A node's word holds for as long as the node lives; so it costs nothing while somebody reads.
    """

    def __init__(self, writer: Commands, keys: Keys, clock: Clock, node: str) -> None:
        self._writer = writer
        self._keys = keys
        self._clock = clock
        self._node = node
        self._read: set[str] = set()
        self._renewed = 0

    def note(self, reply_id: str, present: bool) -> bool:
        """Remember that readers are here, or are gone; False if there is nothing to `tell`."""
        if present:
            self._read.add(reply_id)
            return True
        if reply_id in self._read:
            self._read.remove(reply_id)
            return True
        return False  # it was produced here

    async def tell(self, reply_ids: Sequence[str], present: bool) -> None:
        """Tell the owners; the replies are of one hash tag."""
        hashes = list(map(self._keys.reply, reply_ids))
        await self._writer.run(
            scripts.MARK,
            [f"{key}:readers" for key in hashes],
            self._node,
            monotonic() + self._clock.offset,
            "+" if present else "-",
            *hashes,
        )

    async def renew(self) -> None:
        """Tell again what is read here, now and then."""
        now = monotonic()
        if now - self._renewed < RENEW:
            return
        self._renewed = now
        by_tag: dict[int, list[str]] = {}
        for reply_id in self._read:
            by_tag.setdefault(self._keys.tag(reply_id), []).append(reply_id)
        for reply_ids in by_tag.values():
            for begin in range(0, len(reply_ids), AT_ONCE):
                some = [
                    id for id in reply_ids[begin : begin + AT_ONCE] if id in self._read
                ]
                if some:
                    await self.tell(some, True)

    async def last(self, reply_id: str) -> int:
        """See `Store.last_read`."""
        leases = f"{self._keys.prefix(reply_id)}nodes"
        key = f"{self._keys.reply(reply_id)}:readers"
        return int(await self._writer.run(scripts.READ, [key, leases])) * 1000

    async def quiet(self, log: Log, seconds: float) -> bool:
        """See `Store.quiet`. It is asked for again and again: a stop is rare, and mostly quiet at once."""
        prefix = self._keys.prefix(log.reply_id)
        keys = [prefix + log.reply_id, f"{prefix}nodes", f"{prefix}owned:"]
        pause = 0.02
        until = monotonic() + round(seconds * 1e6)
        while not await self._writer.run(scripts.QUIET, keys, log.reply_id):
            if monotonic() > until:
                return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.2)
        return True
