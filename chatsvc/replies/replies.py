"""The service of this package: starts, opens and stops replies, whatever transport asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from chatsvc.backends.base import Backend
from chatsvc.client_limits import NO_LIMITS, ClientLimits, StartLimits
from chatsvc.cursor import is_reply_id
from chatsvc.kept_prompt import KeptPrompt, keep
from chatsvc.memory_budget import MemoryBudget
from chatsvc.model import Context, End, Prompt
from chatsvc.problems import InvalidRequest, ReplyNotFound, StoreUnavailable
from chatsvc.replies.admission import Admission
from chatsvc.replies.background import STARTS_AT_ONCE, Background
from chatsvc.replies.handover import Handover
from chatsvc.replies.memory import bytes_of
from chatsvc.replies.producers import Observer, Producers
from chatsvc.replies.registry import Registry
from chatsvc.replies.reply import Reply
from chatsvc.replies.share_links import ShareLinks
from chatsvc.replies.spans import ReplySpan, Tracer
from chatsvc.stores.base import KeyReused, Record, Store
from chatsvc.ticker import Ticker

STOP_RETRY_S = 1.0
"""The seconds between two attempts to stop the reply of a user who has ended, without a store."""

STOP_WAIT_S = 2.0
"""The seconds for which a stop waits for the producer to end (PROTOCOL.md section 7)."""


class Replies:
    """The replies of one node: those that it produces and those that are read here.

    `store` keeps them, `backend` writes their text, `ticker` releases it. `pace` is the seconds
    between two characters, or None for the backend's own; `grace` the seconds that a reply goes on
    without a reader; `max_reply` the bytes of UTF-8 that a reply's text may have and `max_parts`
    those of all else in it (see `units.size_of`); `max_seconds` the seconds in which the backend
    must have given all its text, counted from when this node began to produce the reply;
    `max_running` how many run at once on all nodes (0: no limit). `observers` are called when a
    reply that is produced here starts, has text, and ends. `has_ended` returns whether a user, by
    the name, has ended: no reply of that user is produced.

    `budget` is that of the process's memory (None: without a limit); `memory` is what the replies
    hold of it. `tracer`, one of the observers, too, makes the spans of replies.

    `admission` holds the counts and whether the node drains. `drain(seconds)` is `Handover.drain`.
    `share_links` are the tokens by which others may read a reply.
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
        max_parts: int = 4 * 1024 * 1024,
        max_seconds: float = 1800.0,
        max_running: int = 10_000,
        observers: tuple[Observer, ...] = (),
        has_ended: Callable[[str], bool] = lambda user: False,
        budget: MemoryBudget | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.store = store
        self.backend = backend
        self.admission = Admission(max_running)
        self._pace = backend.pace if pace is None else pace
        self._background = Background()
        self._registry = Registry(
            store, ticker, grace, self._background, budget or MemoryBudget()
        )
        self.memory = self._registry.memory
        self._producers = Producers(
            store,
            backend,
            max_reply,
            max_parts,
            max_seconds,
            self.admission,
            self._background,
            observers,
        )
        self._has_ended = has_ended
        self._tracer = tracer
        self._handover = Handover(
            store, backend, self.admission, self._registry, self._producers, has_ended
        )
        self.drain = self._handover.drain
        self.share_links = ShareLinks(store, self._registry)

    @property
    def running(self) -> int:
        """The number of replies that this node produces now."""
        return len(self._producers)

    @property
    def known(self) -> int:
        """The number of replies that are produced or read on this node now."""
        return len(self._registry)

    async def start(
        self,
        prompt: KeptPrompt | Prompt,
        *,
        user: str = "",
        key: str = "",
        digest: str = "",
        client: str = "",
        limits: ClientLimits = NO_LIMITS,
        context: Context | None = None,
        note: str = "",
        trace: Mapping[str, str] | None = None,
    ) -> Reply:
        """Start a reply, or return the one that was started with the same idempotency key.

        `user` owns the reply ("" without users); keys are per user. `key` is the idempotency key,
        with the place that it is known in if it is not known everywhere, or "" for none; `digest`
        is a hash of the request that it came with. `client` is the account that the reply is counted
        for, and `limits` are its limits of running replies and of starts. A reply that a key stands
        for already is no start. `context` has the `chat` and the `headers` that the backend may
        know. `note` is the endpoint's own (see `Record`), `trace` the client's headers of its trace.

        Raises `Draining`, `Overloaded` (also for want of memory) or `TooManyRequests` when the reply
        isn't admitted, `InvalidRequest` when the key was used with another digest, `ReplyExpired`
        when the key's reply is no longer kept, and `StoreUnavailable`.
        """
        lag = self.backend.lag
        prompt = keep(prompt) if isinstance(prompt, Prompt) else prompt
        tracer = self._tracer
        span = None if tracer is None else tracer.start(prompt, trace or {})
        keep_to = StartLimits(
            client, limits.running or 0, limits.starts or 0, self.admission.most
        )
        record = Record(
            self.store.cluster.new_reply_id(client),
            prompt,
            user=user,
            key=key,
            digest=digest,
            pace=round(self._pace * 1e6),
            lag=None if lag is None else round(lag * 1e6),
            context=context or Context(),
            note=note,
            trace={} if span is None else span.headers,
        )
        try:
            known = await self.store.known(record) if key else None
            if known is not None:
                # A node may have died between giving the key to a reply and creating the reply.
                with suppress(ReplyNotFound):
                    return await self.open(known, user=user)
            # Before room is made: who is refused anyhow must cost nobody a reply.
            self.admission.check(keep_to)
            needed = bytes_of(record)
            if self.memory.lacks(needed):
                await self.memory.make_room_for(needed)
                self.admission.check(keep_to)  # others may have started meanwhile
            self.memory.reserve(needed)
            start = None
            if not key:
                # It counts from here on. One with a key may turn out to be no new reply, and such
                # repetitions, when they come at once, would keep each other out.
                self.admission.count(client, 1)
                start = self.admission.add_start(keep_to)
            creating = self._create(record, keep_to, start, needed, span)
            if not self.store.cluster.shared:
                # A store in this process never waits, so nothing can be cancelled half-way.
                return await creating
            # The client may leave at any time, which cancels this task: a reply that the store has
            # created must not stay without a producer.
            return await asyncio.shield(self._background.run(creating))
        except KeyReused:
            raise InvalidRequest(
                "This Idempotency-Key was used with another request; use a new one."
            ) from None

    async def _create(
        self,
        record: Record,
        limits: StartLimits,
        start: int | None,
        needed: int,
        span: ReplySpan | None,
    ) -> Reply:
        """Create a reply that `Admission.check` has let pass; one without a key is counted already.

        `needed` are the bytes that are reserved for it in the budget of memory, `span` is its span.
        """
        admission, account = self.admission, limits.account
        counted, begun = not record.key, False
        try:
            reply_id = await self.store.create(record, limits)
            reply = await self.open(reply_id, user=record.user)
            begun = self._is_orphan(reply)
        except StoreUnavailable:
            begun = counted  # it may turn out so
            self._background.run(self._handover.produce_if_created(record))
            raise
        finally:
            self.memory.reserve(
                -needed
            )  # the reply is counted by itself, or not at all
            if counted:
                admission.count(account, -1)
            if not begun:
                admission.take_back(limits, start)
        if self._has_ended(reply.record.user):
            # While the reply was created: `stop_ended` could not know it yet.
            await self._stop_ended(reply)
            begun = self._is_orphan(reply)
        if begun:
            if not counted:
                admission.add_start(limits)
            reply.span = span
            self._producers.start(reply, account)
            # Text that the backend has at once is then released before the first reader looks, and
            # goes out together with the head of the response.
            if not STARTS_AT_ONCE:
                await asyncio.sleep(0)
        return reply

    def _is_orphan(self, reply: Reply) -> bool:
        """Return whether this node has to produce a reply, and doesn't yet."""
        return (
            not self._producers.produces(reply)
            and reply.end is None
            and self.store.cluster.owns(reply.log)
        )

    async def open(self, reply_id: str, *, user: str = "") -> Reply:
        """Return a reply of a user, running or ended.

        Raises `ReplyNotFound` when no reply has the id or another user owns it, `ReplyExpired` when
        its text is no longer kept, and `StoreUnavailable`.
        """
        if not is_reply_id(reply_id):
            # An id is part of a key in a shared store, and another text might name another key.
            raise ReplyNotFound("A reply id has 22 URL-safe characters.")
        reply = await self._registry.open(reply_id)
        if reply.record.user != user:
            raise ReplyNotFound("No reply has this id.")
        return reply

    async def check(self, reply: Reply, after: int) -> None:
        """Raise `CursorPastEnd` when the reply has not reached position `after` on any node.

        Raises `StoreUnavailable` when only the store could tell.
        """
        if after > reply.log.position and reply.end is None:
            # The reader may come from a node where more of the text has arrived.
            await self.store.refresh(reply.log)
        reply.check(after)

    async def check_offset(self, reply: Reply, offset: int) -> None:
        """Raise `CursorPastEnd` when the reply has not reached `offset` on any node.

        Raises `StoreUnavailable` when only the store could tell.
        """
        if offset > reply.log.offset and reply.end is None:
            await self.store.refresh(reply.log)
        reply.check_offset(offset)

    async def stop(self, reply: Reply) -> None:
        """Stop a reply: on return it has its end. A reply that has ended stays as it is.

        Raises `StoreUnavailable`.
        """
        # The end stops the producer, on whatever node. The client may leave, and cancel this task,
        # before the store has answered.
        stopped = End("stopped", "stopped")
        finishing = self.store.finish(reply.log, stopped)
        await asyncio.shield(self._background.run(finishing))

    def stop_ended(self) -> None:
        """Begin to stop the running replies, produced or read here, of users who have ended."""
        for reply in self._registry.replies():
            if reply.end is None and self._has_ended(reply.record.user):
                self._background.run(self._stop_ended(reply))

    async def _stop_ended(self, reply: Reply) -> None:
        """Stop a reply, once there is a store, unless its user is one again by then."""
        while reply.end is None and self._has_ended(reply.record.user):
            with suppress(StoreUnavailable):
                return await self.stop(reply)
            await asyncio.sleep(STOP_RETRY_S)

    async def stopped(self, reply: Reply) -> bool:
        """Return whether the producer of a stopped reply has ended, on whatever node.

        Waits for it for at most `STOP_WAIT_S` seconds. Raises `StoreUnavailable`.
        """
        task = self._producers.task(reply)
        if task is None:
            return await self.store.cluster.wait_for_producer(reply.log, STOP_WAIT_S)
        await asyncio.wait([task], timeout=STOP_WAIT_S)
        return task.done()

    def ready(self) -> bool:
        """Return whether the store can take new replies now."""
        return self.store.ready()

    async def remember_name(
        self, name: str, reply_id: str, *, only_new: bool = False
    ) -> str | None:
        """Give a name to a reply, and return the id of the reply that had it before, in one step.

        With `only_new` a reply that has the name keeps it. Raises `StoreUnavailable`.
        """
        return await self.store.remember(name, reply_id, only_new=only_new)

    async def recall_name(self, name: str) -> str | None:
        """Return the id of the reply that has a name, or None. Raises `StoreUnavailable`."""
        return await self.store.recall(name)

    async def forget_name(self, name: str, reply_id: str) -> None:
        """Take a name from a reply, if it has it still. Raises `StoreUnavailable`."""
        await self.store.forget(name, reply_id)

    async def close(self) -> None:
        """Drain at once and cancel all tasks; wait for them for at most `STOP_WAIT_S` seconds."""
        await self.drain(0)
        if tasks := self._background.cancel() | self._producers.cancel_all():
            await asyncio.wait(tasks, timeout=STOP_WAIT_S)
