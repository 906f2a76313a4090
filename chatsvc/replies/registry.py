"""The replies that are open on this node: each is there once, for as long as somebody reads or produces it."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from chatsvc.model import End
from chatsvc.problems import StoreUnavailable
from chatsvc.replies.background import Background
from chatsvc.replies.reply import Reply
from chatsvc.stores.base import Store
from chatsvc.ticker import Ticker


class Registry:
    """A reply that is produced here is stopped when it has had no reader on any node for `grace` seconds."""

    def __init__(
        self, store: Store, ticker: Ticker, grace: float, background: Background
    ) -> None:
        self._store = store
        self._ticker = ticker
        self._grace = grace
        self._background = background
        # Whoever needs a reply holds it: a reader, a producer, a handler. So this forgets by itself.
        self._replies: WeakValueDictionary[str, Reply] = WeakValueDictionary()
        self._leaving = False

    def __len__(self) -> int:
        return len(self._replies)

    async def open(self, reply_id: str) -> Reply:
        """A reply that is kept. Raises `ReplyNotFound` and `ReplyExpired`."""
        reply = self._replies.get(reply_id)
        if reply is None:
            record, log = await self._store.find(reply_id)
            reply = self._replies.get(reply_id)  # somebody may have been faster
            if reply is None:
                reply = Reply(record, log, self._ticker, self._on_readers)
                reply.leaving = self._leaving
                if log.end is None:
                    self._replies[reply_id] = reply
        return reply

    def leave(self) -> None:
        """Send all readers away, and those that come yet."""
        self._leaving = True
        for reply in list(self._replies.values()):
            reply.leave()

    def _on_readers(self, reply: Reply) -> None:
        """Readers came or went, or the producer did: set the clock of grace, or let go."""
        if reply.grace is not None:
            reply.grace.cancel()
            reply.grace = None
        if reply.producer is None:
            if reply.end is None or not reply.readers:
                self._store.cluster.announce_readers(reply.log, reply.readers > 0)
            if not reply.readers:
                self._replies.pop(reply.id, None)
            elif reply.end is None:
                self._replies[reply.id] = reply
        elif not reply.readers:
            # It may have been read here before it was taken over to be produced here.
            self._store.cluster.announce_readers(reply.log, False)
            self._wait_for_readers(reply, self._grace)

    def _wait_for_readers(self, reply: Reply, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        reply.grace = loop.call_later(
            seconds, lambda: self._background.run(self._abandon(reply))
        )

    async def _abandon(self, reply: Reply) -> None:
        """Nobody has read the reply here for the seconds of grace: end it, unless another node has readers."""
        clock = self._store.clock
        try:
            last = await self._store.cluster.last_read(reply.log)
        except StoreUnavailable:
            last = clock.now()
        if reply.readers or reply.producer is None:
            return
        left = self._grace - (clock.now() - last) / 1e6
        if last and left > 0:
            self._wait_for_readers(reply, min(left, self._grace))
        else:
            await self._store.finish(reply.log, End("stopped", "abandoned"))
