"""The producers of this node: each works until its reply has its end, or another node owns it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from chatsvc.backends.base import Backend, DirectBackend
from chatsvc.model import End
from chatsvc.problems import InternalError, StoreUnavailable
from chatsvc.replies.admission import Admission
from chatsvc.replies.background import Background
from chatsvc.replies.producer import Producer
from chatsvc.replies.reply import Reply
from chatsvc.stores.base import Store

logger = logging.getLogger("chatsvc.replies")


class Observer(Protocol):
    """The interface of metrics and logs: callbacks for the life of each reply on this node."""

    def producing(self, count: int) -> None:
        """Note that this node produces `count` replies now."""

    def started(self, reply: Reply) -> None:
        """Note that a reply was created here."""

    def first(self, reply: Reply) -> None:
        """Note that the first character of a reply has arrived."""

    def handed_on(self, reply: Reply, successor: str) -> None:
        """Note that a reply that was produced here goes on, or has ended, on another node.

        `successor` is that node's name (see `Cluster.node`), "" if it isn't known.
        """

    def taken_over(self, reply: Reply) -> None:
        """Note that this node produces a reply from now on that another has produced until now."""

    def ended(self, reply: Reply) -> None:
        """Note that a reply has its end, on the one node that has produced it last."""


class Producers:
    """All producers of this node, by the id of their reply.

    They read `backend`, each for at most `max_seconds` seconds, and write through `store`, for each
    reply at most `max_reply` bytes of UTF-8, and `max_parts` bytes beside its text. `observers` are
    called for every reply that is produced here.
    """

    def __init__(
        self,
        store: Store,
        backend: Backend,
        max_reply: int,
        max_parts: int,
        max_seconds: float,
        admission: Admission,
        background: Background,
        observers: tuple[Observer, ...],
    ) -> None:
        self._store = store
        self._backend = backend
        # Found out once: for each reply it would cost as much as to read two tokens.
        self._direct: DirectBackend | None = None
        if isinstance(backend, DirectBackend) and store.append_now is not None:
            self._direct = backend
        self._max_reply = max_reply
        self._max_parts = max_parts
        self._max_seconds = max_seconds
        self._admission = admission
        self._background = background
        self._observers = observers
        self._producers: dict[str, Producer] = {}
        self._released: set[str] = set()  # ids: of these another node may be the owner
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        """Return how many replies are produced here now."""
        return len(self._producers)

    def replies(self) -> list[Reply]:
        """Return the replies that are produced here now."""
        return [producer.reply for producer in self._producers.values()]

    def produces(self, reply: Reply) -> bool:
        """Return whether a producer works on a reply, or waits to set its end."""
        return reply.id in self._producers

    def task(self, reply: Reply) -> asyncio.Task[Any] | None:
        """Return the task that works on a reply here, or None while nothing but its end is due."""
        producer = self._producers.get(reply.id)
        return None if producer is None else producer.task

    def start(self, reply: Reply, account: str) -> None:
        """Produce a reply that was just created, and count it for an account."""
        producer = self._add(reply, account)
        for observer in self._observers:
            observer.started(reply)
        self._produce(producer, self._first)

    def go_on(self, reply: Reply) -> None:
        """Take what a reply that was taken over lacks from the backend, and then its end."""
        producer = self._take_over(reply)
        # When it was started is not known here, so neither is the time to its first character.
        self._produce(producer, on_first=_ignore)

    def _produce(self, producer: Producer, on_first: Callable[[Reply], None]) -> None:
        limits = self._max_reply, self._max_parts, self._max_seconds
        if (span := producer.reply.span) is None:
            producer.produce(*limits, on_first)
        else:
            span.run(producer.produce, *limits, on_first)

    def end_when_released(self, reply: Reply, end: End) -> None:
        """Give a reply that was taken over its end, once all of its text is released."""
        self._take_over(reply).end_when_released(end)

    def _take_over(self, reply: Reply) -> Producer:
        producer = self._add(reply, "")
        for observer in self._observers:
            observer.taken_over(reply)
        return producer

    async def wait(self, seconds: float) -> None:
        """Wait until nothing is produced here any more, for at most `seconds`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)

    def hand_on(self, reply: Reply, *, released: bool) -> None:
        """Stop the producer of a reply, if there is one, without an end: the reply is another node's.

        `released` is whether it is known that this node has given it to the others.
        """
        producer = self._producers.get(reply.id)
        if producer is not None:
            if released:
                self._released.add(reply.id)
            producer.cancel()

    def cancel_all(self) -> set[asyncio.Task[Any]]:
        """Stop all producers, without an end, and return the tasks that have yet to finish."""
        producers = list(self._producers.values())
        tasks = {p.task for p in producers if p.task is not None}
        for producer in producers:
            producer.cancel()
        return tasks

    def _add(self, reply: Reply, account: str) -> Producer:
        producer = Producer(
            reply,
            self._store,
            self._backend,
            self._background,
            self._done,
            direct=self._direct,
            account=account,
        )
        self._admission.count(account, 1)
        self._producers[reply.id] = producer
        self._count_changed()
        self._idle.clear()
        reply.set_produced(True)
        return producer

    def _count_changed(self) -> None:
        for observer in self._observers:
            observer.producing(len(self._producers))

    def _first(self, reply: Reply) -> None:
        for observer in self._observers:
            observer.first(reply)

    def _done(self, producer: Producer) -> None:
        reply = producer.reply
        reply.log.on_end = None
        del self._producers[reply.id]
        self._count_changed()
        if not self._producers:
            self._idle.set()
        self._admission.count(producer.account, -1)
        cluster = self._store.cluster
        if reply.end is None and cluster.owns(reply.log):
            self._background.run(self._interrupt(reply))
        elif reply.id in self._released and reply.end is None:
            self._handed_on(reply, "")
        elif producer.has_ended_it or not cluster.shared:
            self._ended(reply)
        else:
            self._background.run(self._end_or_hand_on(reply))
        self._released.discard(reply.id)
        reply.set_produced(False)

    async def _interrupt(self, reply: Reply) -> None:
        """End a reply whose producer broke, for every reply has an end."""
        end = End("failed", "interrupted", InternalError().as_dict())
        try:
            if await self._store.finish(reply.log, end):
                return self._ended(reply)
        except StoreUnavailable:
            logger.warning("a reply broke off while the store was away")
        await self._end_or_hand_on(reply)

    async def _end_or_hand_on(self, reply: Reply) -> None:
        """Find out whether a reply has ended here, or is another node's, and note that.

        A stop may come from any node, and a node that was paused may find its replies taken over
        and ended, or stopped while they were its own. Only the store tells one from the other.
        """
        cluster, ended, successor = self._store.cluster, None, None
        try:
            if reply.end is None:  # the end, if it has one, has not come here yet
                await self._store.refresh(reply.log)
            ended = reply.end is not None and await cluster.producer_ended(reply.log)
            if not ended:
                successor = await cluster.successor(reply.log)
        except StoreUnavailable:
            pass
        finally:  # also when it is cancelled, as this node closes
            if ended or (ended is None and reply.end is not None):
                self._ended(reply)
            else:
                self._handed_on(reply, successor or "")

    def note_end(self, reply: Reply) -> None:
        """Note that a reply has ended that was nobody's then."""
        self._ended(reply)

    def _handed_on(self, reply: Reply, successor: str) -> None:
        for observer in self._observers:
            observer.handed_on(reply, successor)

    def _ended(self, reply: Reply) -> None:
        for observer in self._observers:
            observer.ended(reply)


def _ignore(reply: Reply) -> None:
    """Do nothing about a reply."""
