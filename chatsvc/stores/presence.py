"""Which nodes have readers of a reply, in Redis: its owner asks before it gives the reply up."""

from __future__ import annotations

import asyncio

from ..ticker import Clock, monotonic
from .places import Places
from .writer import Writer

READ_MARK = 10_000
"""Milliseconds for which a node's word that it reads a reply holds; it is renewed well before."""


class Presence:
    """What this node reads of replies that others own, and what the others read."""

    def __init__(self, writer: Writer, places: Places, clock: Clock, node: str) -> None:
        self._writer = writer
        self._places = places
        self._clock = clock
        self._node = node
        self._read: dict[str, int] = {}  # what is read here, and when that was told

    def note(self, reply_id: str, present: bool) -> bool:
        """Remember that readers are here, or are gone; False if there is nothing to `tell`."""
        if present:
            self._read[reply_id] = monotonic()
            return True
        return self._read.pop(reply_id, None) is not None  # else it was produced here

    async def tell(self, reply_id: str, present: bool) -> None:
        """Tell the owner."""
        key = f"{self._places.reply(reply_id)}:readers"
        now = (monotonic() + self._clock.offset) // 1000
        until = now + READ_MARK if present else now
        await asyncio.gather(
            self._writer.ask("ZADD", key, until, self._node),
            self._writer.ask("EXPIRE", key, 3600),
        )

    async def renew(self) -> None:
        """Tell again what is read here, before the others take it for over."""
        now = monotonic()
        for reply_id, told in list(self._read.items()):
            if now - told > READ_MARK * 1000 // 3:
                self._read[reply_id] = now
                await self.tell(reply_id, True)

    async def last(self, reply_id: str) -> int:
        """See `Store.last_read`."""
        key = f"{self._places.reply(reply_id)}:readers"
        found = await self._writer.ask("ZREVRANGE", key, 0, 0, "WITHSCORES")
        return round(float(found[1]) * 1000) if found else 0
