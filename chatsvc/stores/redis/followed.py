"""A log that is followed: where its stream has been read up to, and what is read brought into it."""

from __future__ import annotations

from collections.abc import Callable
from weakref import ReferenceType, ref

from chatsvc.log import Log
from chatsvc.stores.redis.connect import Client
from chatsvc.stores.redis.entries import ReplyEntry, apply
from chatsvc.stores.redis.pages import Page, Pages, in_turns


class Followed:
    """A log that is followed, as long as something else holds it, by the entries of `stream`.

    `last_id` is the id of the last entry that it has. `every_round` and `next_round` say in which
    rounds of the follower the stream is to be read.
    """

    __slots__ = ("every_round", "last_id", "log", "next_round", "stream")

    def __init__(self, log: Log, stream: str, last_id: str) -> None:
        self.log: ReferenceType[Log] = ref(log)
        self.stream = stream
        self.last_id = last_id
        self.every_round = True
        self.next_round = False

    async def take(
        self, page: Page, client: Client, on_lost: Callable[[str], None]
    ) -> bool:
        """Bring entries into the log that were read behind `last_id`; return whether to read on.

        Where they don't fit, the whole stream is read: after a failover, entries may have been added
        with earlier ids than the last one read, by the new master's clock, and XREAD skips them.
        `on_lost` is called with the reply's id if even that doesn't fit. Raises what `client` raises
        when Redis does not answer.
        """
        log = self.log()
        if log is None:
            return False

        def take_one(entry_id: str, entry: ReplyEntry) -> bool:
            if fits := apply(log, entry_id, entry):
                self.last_id = entry_id
            return fits

        if await in_turns(page, take_one):
            return log.end is None
        pages = Pages(lambda begin, n: client.xrange(self.stream, begin, count=n))
        while page := await pages.next():
            if not await in_turns(page, take_one):
                on_lost(log.reply_id)
                break
        return False
