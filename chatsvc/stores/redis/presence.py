"""The presence of nodes at a reply: which have readers of it, and whether one still works on it.

A reply is abandoned when it has no readers on any node (PROTOCOL.md section 7), so its owner has to
know of the readers on the others. A node announces its first reader and the departure of its last;
in between, its lease says that the readers are still there, so that nothing has to be sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chatsvc.log import Log
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.keys import HashTag, Keys
from chatsvc.stores.redis.scripts import IS_QUIET, LAST_READ, MARK_READERS
from chatsvc.ticker import Clock, monotonic

RENEW_US = 10_000_000
"""Microseconds after which a node announces its readers again: after a failover, the new master may
lack what the old one had acknowledged."""

MAX_MARKED = 256
"""Replies that one command announces at most."""


class Presence:
    """The readers that this node has of replies that others own, and those that the others have."""

    def __init__(self, commands: Commands, keys: Keys, clock: Clock, node: str) -> None:
        self._commands = commands
        self._keys = keys
        self._clock = clock
        self._node = node
        self._read_here: set[str] = set()
        self._renewed_us = 0

    def note(self, reply_id: str, present: bool) -> bool:
        """Record that this node has readers of a reply, or has none any more.

        Returns whether that is to be announced: it is not when they go and never were announced,
        because the reply was produced here.
        """
        if present:
            self._read_here.add(reply_id)
            return True
        if reply_id in self._read_here:
            self._read_here.remove(reply_id)
            return True
        return False

    async def announce(self, reply_ids: Sequence[str], present: bool) -> None:
        """Announce that this node has readers of some replies, all of one hash tag, or has none.

        Raises `StoreUnavailable`.
        """
        await self._commands.run(
            MARK_READERS,
            list(map(self._keys.readers, reply_ids)),
            self._node,
            self._clock.now(),
            "+" if present else "-",
            *map(self._keys.reply, reply_ids),
        )

    async def renew(self) -> None:
        """Announce again all that is read here, if `RENEW_US` have passed since the last time.

        Raises `StoreUnavailable`.
        """
        now = monotonic()
        if now - self._renewed_us < RENEW_US:
            return
        self._renewed_us = now
        by_tag: dict[HashTag, list[str]] = {}
        for reply_id in self._read_here:
            by_tag.setdefault(self._keys.tag(reply_id), []).append(reply_id)
        for reply_ids in by_tag.values():
            for begin in range(0, len(reply_ids), MAX_MARKED):
                part = reply_ids[begin : begin + MAX_MARKED]
                # Some may have lost their last reader while the part before was sent.
                still_read = [id for id in part if id in self._read_here]
                if still_read:
                    await self.announce(still_read, True)

    async def last_read(self, reply_id: str) -> int:
        """See `Cluster.last_read`."""
        keys = [self._keys.readers(reply_id), self._keys.tag(reply_id).leases]
        return int(await self._commands.run(LAST_READ, keys)) * 1000

    async def wait_for_producer(self, log: Log, seconds: float) -> bool:
        """See `Cluster.wait_for_producer`.

        It polls: a stop is rare, and the producer has mostly ended by the first look. To have Redis
        report it would cost more.
        """
        tag = self._keys.tag(log.reply_id)
        keys = [self._keys.reply(log.reply_id), tag.leases, tag.owned]
        pause_s = 0.02
        until_us = monotonic() + round(seconds * 1e6)
        while not await self._commands.run(IS_QUIET, keys, log.reply_id):
            if monotonic() > until_us:
                return False
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.2)
        return True
