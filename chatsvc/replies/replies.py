"""Start, open and stop replies: the small service that all transports use."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from chatsvc.backends.base import Backend
from chatsvc.cursor import is_reply_id, new_reply_id
from chatsvc.model import End, Prompt
from chatsvc.problems import InvalidRequest, ReplyNotFound, StoreUnavailable
from chatsvc.replies.admission import Admission
from chatsvc.replies.background import Background
from chatsvc.replies.handover import Handover
from chatsvc.replies.producers import Observer, Producers
from chatsvc.replies.registry import Registry
from chatsvc.replies.reply import Reply
from chatsvc.stores.base import KeyReused, Record, Store
from chatsvc.ticker import Ticker

STOP_WAIT = 2.0
"""Seconds that a stop waits for the producer to end (PROTOCOL.md section 7)."""


class Replies:
    """All replies that this node knows at the moment: those it produces and those that are read here.

    `grace` is the seconds that a reply goes on without a reader; `max_reply` the bytes of UTF-8 one may have;
    `max_running` how many this node produces at once, `max_per_client` how many for one client (0: no limit).
    """

    def __init__(
        self,
        store: Store,
        backend: Backend,
        ticker: Ticker,
        *,
        pace: float | None = None,
        grace: float = 30.0,
        max_reply: int = 256 * 1024,
        max_running: int = 10_000,
        max_per_client: int = 0,
        observers: tuple[Observer, ...] = (),
    ) -> None:
        self.store = store
        self.backend = backend
        self.admission = Admission(max_running, max_per_client)
        self._pace = backend.pace if pace is None else pace
        self._background = Background()
        self._opened = Registry(store, ticker, grace, self._background)
        self._running = Producers(
            store, backend, max_reply, self.admission, self._background, observers
        )
        self._handover = Handover(
            store, backend, self.admission, self._opened, self._running
        )
        self.drain = self._handover.drain

    @property
    def running(self) -> int:
        """How many replies this node produces now."""
        return len(self._running)

    @property
    def known(self) -> int:
        """How many replies this node has in hand: produced or read here."""
        return len(self._opened)

    async def start(
        self,
        prompt: Prompt,
        *,
        user: str = "",
        key: str = "",
        digest: str = "",
        client: str = "",
    ) -> Reply:
        """Begin a reply, or give the one that was begun under this idempotency key.

        `digest` identifies the request that the key came with. Raises `Draining`, `Overloaded`, `TooManyRequests`,
        `InvalidRequest` for a key that came with another request, `ReplyExpired` for one whose reply is no longer kept,
        `StoreUnavailable`.
        """
        lag = self.backend.lag
        record = Record(
            new_reply_id(),
            prompt,
            user=user,
            key=key,
            digest=digest,
            pace=round(self._pace * 1e6),
            lag=None if lag is None else round(lag * 1e6),
        )
        try:
            known = await self.store.known(record) if key else None
            if known is not None:
                # A node may have died between giving the key to a reply and beginning it.
                with suppress(ReplyNotFound):
                    return await self.open(known, user=user)
            self.admission.admit(client)
            begun = self._begin(record, client)
            if not self.store.shared:
                return await begun  # in one go
            # Whoever asked may leave at any time: what the store has begun must not stay without a producer.
            return await asyncio.shield(self._background.run(begun))
        except KeyReused:
            raise InvalidRequest(
                "This Idempotency-Key was used with another request; use a new one."
            ) from None

    async def _begin(self, record: Record, client: str) -> Reply:
        try:
            reply_id = await self.store.create(record)
            reply = await self.open(reply_id, user=record.user)
        except StoreUnavailable:
            self._background.run(self._handover.begin_late(record))
            raise
        finally:
            self.admission.count(client, -1)
        if self._is_orphan(reply):
            self._running.start(reply, client)
            await asyncio.sleep(0)  # a backend that has text at once gives it now
        return reply

    def _is_orphan(self, reply: Reply) -> bool:
        """Whether it is for this node to produce a reply, and nothing does."""
        return (
            reply.producer is None and reply.end is None and self.store.owns(reply.log)
        )

    async def open(self, reply_id: str, *, user: str = "") -> Reply:
        """A reply that is kept. Raises `ReplyNotFound`, also for another user's, and `ReplyExpired`."""
        if not is_reply_id(reply_id):
            # It would be part of a key, and perhaps another's.
            raise ReplyNotFound("A reply id has 22 URL-safe characters.")
        reply = await self._opened.open(reply_id)
        if reply.record.user != user:
            raise ReplyNotFound("No reply has this id.")
        return reply

    async def check(self, reply: Reply, after: int) -> None:
        """Raise `CursorPastEnd` for a position that the reply has not reached on any node."""
        if after > reply.log.position and reply.end is None:
            # The reader may come from a node that knew more.
            await self.store.refresh(reply.log)
        reply.check(after)

    async def stop(self, reply: Reply) -> None:
        """Stop a reply: from here on it has its end. Stopping twice is no error."""
        # Its end ends its producer. Whoever asks may be gone before the store has answered.
        finishing = self.store.finish(reply.log, End("stopped", "stopped"))
        await asyncio.shield(self._background.run(finishing))

    async def stopped(self, reply: Reply) -> bool:
        """Whether a stopped reply's producer has ended, on whatever node, waiting for it `STOP_WAIT` seconds at most."""
        task = None if reply.producer is None else reply.producer.task
        if task is None:
            return await self.store.quiet(reply.log, STOP_WAIT)
        await asyncio.wait([task], timeout=STOP_WAIT)
        return task.done()

    def ready(self) -> bool:
        """Return whether the store can take new replies now."""
        return self.store.ready()

    async def remember_name(self, name: str, reply_id: str) -> str | None:
        """Give a name to a reply, and return the id of the reply that had it before, in one step.

        Raises `StoreUnavailable`.
        """
        return await self.store.remember(name, reply_id)

    async def recall_name(self, name: str) -> str | None:
        """Return the id of the reply that has a name, or None. Raises `StoreUnavailable`."""
        return await self.store.recall(name)

    async def close(self) -> None:
        """End what still runs; nothing is left afterwards."""
        await self.drain(0)
        if tasks := self._background.cancel() | self._running.cancel():
            await asyncio.wait(tasks, timeout=STOP_WAIT)
