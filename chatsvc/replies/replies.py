"""Start, open, stop, keep and end replies: the small service that all transports use."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from ..backends.base import Backend, Prompt
from ..cursor import new_reply_id
from ..problems import (
    Draining,
    InternalError,
    InvalidRequest,
    Overloaded,
    ReplyExpired,
    ReplyNotFound,
    StoreUnavailable,
    TooManyRequests,
)
from ..stores.base import KeyReused, Record, Store
from ..stores.log import End
from ..ticker import Ticker, monotonic
from .producer import Production
from .reply import Reply

logger = logging.getLogger("chatsvc.replies")

Result = TypeVar("Result")

STOP_WAIT = 2.0
"""Seconds that a stop waits for the producer to end (PROTOCOL.md section 7)."""

LOOK_AGAIN = 1.0
"""Seconds between two looks for a reply that the store may have begun before it went away."""


class Observer(Protocol):
    """Is told of the life of replies on this node; metrics and logs are made of it."""

    def started(self, reply: Reply) -> None:
        """A reply was created here."""

    def first(self, reply: Reply) -> None:
        """Its first character has arrived."""

    def ended(self, reply: Reply) -> None:
        """A reply that was produced here has ended."""


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
        self.ticker = ticker
        self.draining = False
        self._pace = backend.pace if pace is None else pace
        self._grace = grace
        self._max_reply = max_reply
        self._max_running = max_running
        self._max_per_client = max_per_client
        self._observers = observers
        # Whoever needs a reply holds it: a reader, a producer, a handler. So this forgets by itself.
        self._replies: WeakValueDictionary[str, Reply] = WeakValueDictionary()
        self._running: set[Production] = set()
        self._none_runs = asyncio.Event()
        self._none_runs.set()
        self._counts: Counter[str] = Counter()  # by client: those that start or run
        self._counted = 0
        self._others: set[asyncio.Task[Any]] = set()
        self._leaving = False
        store.watch(self._take_over)

    @property
    def running(self) -> int:
        """How many replies this node produces now."""
        return len(self._running)

    @property
    def known(self) -> int:
        """How many replies this node has in hand: produced or read here."""
        return len(self._replies)

    # ------------------------------------------------------------------ the service

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
            self._admit(client)
            self._count(client, 1)
            begun = self._begin(record, client)
            if not self.store.shared:
                return await begun  # in one go
            # Whoever asked may leave at any time: what the store has begun must not stay without a producer.
            return await asyncio.shield(self._later(begun))
        except KeyReused:
            raise InvalidRequest(
                "This Idempotency-Key was used with another request; use a new one."
            ) from None

    async def _begin(self, record: Record, client: str) -> Reply:
        try:
            reply_id = await self.store.create(record)
            reply = await self.open(reply_id, user=record.user)
        except StoreUnavailable:
            self._later(self._begin_late(record))
            raise
        finally:
            self._count(client, -1)
        if self._is_orphan(reply):
            self._produce(reply, client)
            await asyncio.sleep(0)  # a backend that has text at once gives it now
        return reply

    def _is_orphan(self, reply: Reply) -> bool:
        """Whether it is for this node to produce a reply, and nothing does."""
        return (
            reply.producer is None and reply.end is None and self.store.owns(reply.log)
        )

    async def _begin_late(self, record: Record) -> None:
        """The store went away while it began a reply. If it has begun it all the same, produce it."""
        with suppress(ReplyNotFound, ReplyExpired, KeyReused):
            while not self.draining:  # else another node takes it over
                await asyncio.sleep(LOOK_AGAIN)
                with suppress(StoreUnavailable):
                    known = await self.store.known(record) if record.key else None
                    if await self._adopt(known or record.reply_id, asked=True):
                        return

    async def open(self, reply_id: str, *, user: str = "") -> Reply:
        """A reply that is kept. Raises `ReplyNotFound`, also for another user's, and `ReplyExpired`."""
        reply = await self._open(reply_id)
        if reply.record.user != user:
            raise ReplyNotFound("No reply has this id.")
        return reply

    async def check(self, reply: Reply, after: int) -> None:
        """Raise `CursorPastEnd` for a position that the reply has not reached on any node."""
        if after > reply.log.position and reply.end is None:
            await self.store.refresh(
                reply.log
            )  # the reader may come from a node that knew more
        reply.check(after)

    async def _open(self, reply_id: str) -> Reply:
        reply = self._replies.get(reply_id)
        if reply is None:
            record, log = await self.store.find(reply_id)
            reply = self._replies.get(reply_id)  # somebody may have been faster
            if reply is None:
                reply = Reply(record, log, self.ticker, self._on_readers)
                reply.leaving = self._leaving
                if log.end is None:
                    self._replies[reply_id] = reply
        return reply

    async def stop(self, reply: Reply) -> None:
        """Stop a reply: from here on it has its end. Stopping twice is no error."""
        # Whoever asks may be gone before the store has answered.
        await asyncio.shield(self._later(self._end(reply, End("stopped", "stopped"))))

    async def stopped(self, reply: Reply) -> bool:
        """Whether a stopped reply's producer has ended, on whatever node, waiting for it `STOP_WAIT` seconds at most."""
        task = None if reply.producer is None else reply.producer.task
        if task is None:
            return await self.store.quiet(reply.log, STOP_WAIT)
        await asyncio.wait([task], timeout=STOP_WAIT)
        return task.done()

    async def drain(self, seconds: float) -> None:
        """Take no new replies; give the running ones `seconds` to end; then hand them on and send the readers away.

        What can't be handed on ends as interrupted.
        """
        self.draining = True
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._none_runs.wait(), seconds)
        await asyncio.gather(*map(self._let_go, [p.reply for p in self._running]))
        if self.store.shared:
            self._leaving = True
            for reply in list(self._replies.values()):
                reply.leave()

    async def _let_go(self, reply: Reply) -> None:
        """Hand a reply on, or end it."""
        if reply.log.ending is not None or self.backend.resumes:
            try:
                released = await self.store.release(reply.log)
            except StoreUnavailable:
                released = False  # whoever finds it later takes it over
            if self.store.shared and (released or not self.store.owns(reply.log)):
                if reply.producer is not None:
                    reply.producer.cancel()
                return
        problem = Draining("The service went down before the reply was complete.")
        end = reply.log.ending or End("failed", "interrupted", problem.as_dict())
        try:
            await self._end(reply, end)
        except StoreUnavailable:
            logger.warning("a reply could not be ended: the store is away")

    async def close(self) -> None:
        """End what still runs; nothing is left afterwards."""
        await self.drain(0)
        tasks = self._others | {p.task for p in self._running if p.task is not None}
        for production in self._running:
            production.cancel()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_WAIT)

    # ------------------------------------------------------------------ inside

    def _admit(self, client: str) -> None:
        if self.draining:
            raise Draining(
                "This node takes no new replies; another one does.", retry_after=1
            )
        if self._counted >= self._max_running:
            raise Overloaded(
                f"{self._max_running} replies are running, which is the limit; try again in a moment.",
                retry_after=1,
            )
        if self._max_per_client and self._counts[client] >= self._max_per_client:
            raise TooManyRequests(
                f"{self._max_per_client} of your replies are running, which is the limit; "
                "wait for one to end or stop it.",
                retry_after=1,
            )

    def _count(self, client: str, more: int) -> None:
        self._counted += more
        self._counts[client] += more
        if not self._counts[client]:
            del self._counts[client]

    def _produce(self, reply: Reply, client: str) -> None:
        self._read(self._run(reply, client))
        for observer in self._observers:
            observer.started(reply)

    def _run(self, reply: Reply, client: str = "") -> Production:
        production = Production(reply, self.store, self._produced, client=client)
        reply.producer = production
        self._count(client, 1)
        self._running.add(production)
        self._none_runs.clear()
        self._on_readers(reply)
        return production

    def _read(self, production: Production) -> None:
        production.read(self.backend, self._max_reply, self._first)

    async def _take_over(self, reply_id: str) -> None:
        await self._adopt(reply_id)

    async def _adopt(self, reply_id: str, *, asked: bool = False) -> bool:
        """Take over a reply whose owner is gone, and carry it on or end it; False if there is no room for it now.

        If somebody has just `asked` for it, one without text is begun anew, whatever the backend.
        """
        if self.draining or len(self._running) >= self._max_running:
            return False
        reply = await self._open(reply_id)
        if reply.producer is not None or not await self.store.take(reply.log):
            return True
        ending = reply.log.ending
        anew = asked and not reply.log.position
        if ending is None and (self.backend.resumes or anew):
            self._read(self._run(reply))
            return True
        if ending is None:
            problem = InternalError("What wrote the reply went down.")
            ending = End("failed", "interrupted", problem.as_dict())
        self._run(reply).end(ending)
        return True

    def _first(self, reply: Reply) -> None:
        for observer in self._observers:
            observer.first(reply)

    def _produced(self, production: Production) -> None:
        reply, client = production.reply, production.client
        reply.producer = None
        reply.log.on_end = None
        self._running.discard(production)
        if not self._running:
            self._none_runs.set()
        self._count(client, -1)
        self.store.produced(reply.log)
        if reply.end is None and self.store.owns(reply.log):
            self._later(self._interrupt(reply))
        else:
            self._tell_ended(reply)
        self._on_readers(reply)

    async def _interrupt(self, reply: Reply) -> None:
        """Whatever happened: every reply ends."""
        problem = InternalError()
        try:
            await self._end(reply, End("failed", "interrupted", problem.as_dict()))
        except StoreUnavailable:
            logger.warning("a reply broke off while the store was away")
        self._tell_ended(reply)

    def _tell_ended(self, reply: Reply) -> None:
        for observer in self._observers:
            observer.ended(reply)

    def _on_readers(self, reply: Reply) -> None:
        """Readers came or went, or the producer did: set the clock of grace, or let go."""
        if reply.grace is not None:
            reply.grace.cancel()
            reply.grace = None
        if reply.producer is None:
            if reply.end is None or not reply.readers:
                self.store.reading(reply.log, reply.readers > 0)
            if not reply.readers:
                self._replies.pop(reply.id, None)
            elif reply.end is None:
                self._replies[reply.id] = reply
        elif not reply.readers:
            self._wait_for_readers(reply, self._grace)

    def _wait_for_readers(self, reply: Reply, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        reply.grace = loop.call_later(
            seconds, lambda: self._later(self._abandon(reply))
        )

    async def _abandon(self, reply: Reply) -> None:
        """Nobody has read the reply here for the seconds of grace: end it, unless another node has readers."""
        try:
            last = await self.store.last_read(reply.log)
        except StoreUnavailable:
            last = monotonic() + self.store.clock.offset
        if reply.readers or reply.producer is None:
            return
        left = self._grace - (monotonic() + self.store.clock.offset - last) / 1e6
        if last and left > 0:
            self._wait_for_readers(reply, min(left, self._grace))
        else:
            await self._end(reply, End("stopped", "abandoned"))

    async def _end(self, reply: Reply, end: End) -> None:
        # This ends the producer: see `Production`.
        await self.store.finish(reply.log, end)

    def _later(self, coroutine: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(coroutine)
        self._others.add(task)
        task.add_done_callback(self._others.discard)
        return task
