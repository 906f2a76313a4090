"""The replies that are open on this node, each once, while something reads or produces it."""

from __future__ import annotations

from contextlib import suppress
from weakref import WeakValueDictionary

from chatsvc.memory_budget import MemoryBudget
from chatsvc.model import End
from chatsvc.problems import StoreUnavailable
from chatsvc.replies.background import Background
from chatsvc.replies.departure import Departure
from chatsvc.replies.memory import ReplyMemory
from chatsvc.replies.reply import Reply
from chatsvc.stores.base import Store
from chatsvc.ticker import Ticker


class Registry:
    """The open replies of this node by their ids, and their timers of grace.

    A reply that is produced here and has had no reader on any node for `grace` seconds is stopped
    as `abandoned` (PROTOCOL.md section 7), and before if `budget` has no room left: `memory` has what
    the open replies hold.

    Invariants:

    - While a reply runs, every call of `open` on this node returns the same `Reply`, so that its
      readers are counted in one place.
    - The registry holds replies weakly. Producers, handlers and the blocks of `Reply.reading` hold
      them, and when the last of these is gone the reply is forgotten.
    """

    def __init__(
        self,
        store: Store,
        ticker: Ticker,
        grace: float,
        background: Background,
        budget: MemoryBudget,
    ) -> None:
        self._store = store
        self._ticker = ticker
        self._grace = grace
        self._background = background
        self._departure = Departure()
        self.memory = ReplyMemory(store, budget, self._abandon_now)
        self._replies: WeakValueDictionary[str, Reply] = WeakValueDictionary()

    def __len__(self) -> int:
        """Return how many replies are open here."""
        return len(self._replies)

    def replies(self) -> list[Reply]:
        """Return the replies that are open here now."""
        return list(self._replies.values())

    async def open(self, reply_id: str) -> Reply:
        """Return a reply, from the store if it isn't open here yet.

        Raises `ReplyNotFound` for an unknown id, `ReplyExpired` for a text that is no longer kept,
        and `StoreUnavailable`.
        """
        reply = self._replies.get(reply_id)
        if reply is None:
            record, log = await self._store.find(reply_id)
            # Another task may have opened it while this one waited for the store; for a store in
            # this process nobody waits.
            if self._store.cluster.shared:
                reply = self._replies.get(reply_id)
            if reply is None:
                reply = Reply(
                    record, log, self._ticker, self._departure, self._reply_changed
                )
                if log.end is None:
                    self._replies[reply_id] = reply
        return reply

    def send_readers_away(self) -> None:
        """Send away all readers of this node, and those that are still to come."""
        self._departure.begin()
        for reply in self.replies():
            reply.log.interrupt()

    def _reply_changed(self, reply: Reply) -> None:
        """Start or stop the timer of grace, announce readers to the owner, or forget the reply.

        Called when the first reader of a reply comes, when its last one leaves, and when its
        production begins or ends here.
        """
        if reply.grace is not None:
            reply.cancel_grace()
        self.memory.note(reply)
        if not reply.produced:
            if reply.end is None or not reply.readers:
                self._store.cluster.announce_readers(reply.log, reply.readers > 0)
            if not reply.readers:
                self._replies.pop(reply.id, None)
            elif reply.end is None:
                self._replies[reply.id] = reply
        elif not reply.readers:
            # This node may have announced readers while another node owned the reply. Take that
            # back, or they would count as readers on another node for ever.
            self._store.cluster.announce_readers(reply.log, False)
            self._wait_for_readers(reply, self._grace)

    def _wait_for_readers(self, reply: Reply, seconds: float) -> None:
        reply.start_grace(seconds, lambda: self._background.run(self._abandon(reply)))

    async def _abandon(self, reply: Reply) -> None:
        """Stop a reply whose grace is over here, unless another node has had readers since."""
        last = await self._last_read(reply)
        if reply.readers or not reply.produced:
            return
        left = self._grace - (self._store.clock.now() - last) / 1e6
        if last and left > 0:
            self._wait_for_readers(reply, min(left, self._grace))
        else:
            await self._store.finish(reply.log, End("stopped", "abandoned"))

    async def _abandon_now(self, reply: Reply) -> bool:
        """Stop a reply before its grace is over, unless a node reads it; return whether it has ended.

        While the store is away, nothing is known of other nodes, and the reply stays.
        """
        last = await self._last_read(reply)
        read = reply.readers or last >= self._store.clock.now()
        if reply.produced and not read and reply.end is None:
            with suppress(StoreUnavailable):
                await self._store.finish(reply.log, End("stopped", "abandoned"))
        return reply.end is not None

    async def _last_read(self, reply: Reply) -> int:
        """Return `Cluster.last_read`, or the present if the store is away."""
        try:
            return await self._store.cluster.last_read(reply.log)
        except StoreUnavailable:
            return self._store.clock.now()
