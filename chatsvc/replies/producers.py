"""The replies that this node produces: each until it has its end, or another node has it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Protocol

from chatsvc.backends.base import Backend
from chatsvc.model import End
from chatsvc.problems import InternalError, StoreUnavailable
from chatsvc.replies.admission import Admission
from chatsvc.replies.background import Background
from chatsvc.replies.producer import Producer
from chatsvc.replies.reply import Reply
from chatsvc.stores.base import Store

logger = logging.getLogger("chatsvc.replies")


class Observer(Protocol):
    """Is told of the life of replies on this node; metrics and logs are made of it."""

    def started(self, reply: Reply) -> None:
        """A reply was created here."""

    def first(self, reply: Reply) -> None:
        """Its first character has arrived."""

    def ended(self, reply: Reply) -> None:
        """A reply that was produced here has ended."""


class Producers:
    """Produces replies from the backend, `max_reply` bytes of UTF-8 each at most, and tells the observers."""

    def __init__(
        self,
        store: Store,
        backend: Backend,
        max_reply: int,
        admission: Admission,
        background: Background,
        observers: tuple[Observer, ...],
    ) -> None:
        self._store = store
        self._backend = backend
        self._max_reply = max_reply
        self._admission = admission
        self._background = background
        self._observers = observers
        self._productions: set[Producer] = set()
        self._none = asyncio.Event()
        self._none.set()

    def __len__(self) -> int:
        return len(self._productions)

    def replies(self) -> list[Reply]:
        """What is produced now."""
        return [production.reply for production in self._productions]

    def start(self, reply: Reply, client: str) -> None:
        """Produce a reply that has just been begun, for a client."""
        self.read(reply, client)
        for observer in self._observers:
            observer.started(reply)

    def read(self, reply: Reply, client: str = "") -> None:
        """Take what a reply lacks from the backend, and then its end."""
        self._run(reply, client).read(self._backend, self._max_reply, self._first)

    def end(self, reply: Reply, end: End) -> None:
        """Give a reply whose text is complete its end, when all of it is out."""
        self._run(reply, "").end(end)

    async def wait(self, seconds: float) -> None:
        """Return when nothing runs any more, after so many seconds at the latest."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), seconds)

    def cancel(self) -> set[asyncio.Task[Any]]:
        """Go on with none of them, and give the tasks that have yet to end."""
        tasks = {p.task for p in self._productions if p.task is not None}
        for production in self._productions:
            production.cancel()
        return tasks

    def _run(self, reply: Reply, client: str) -> Producer:
        production = Producer(reply, self._store, self._over, client=client)
        reply.producer = production
        self._admission.count(client, 1)
        self._productions.add(production)
        self._none.clear()
        reply.on_readers(reply)
        return production

    def _first(self, reply: Reply) -> None:
        for observer in self._observers:
            observer.first(reply)

    def _over(self, production: Producer) -> None:
        reply = production.reply
        reply.producer = None
        reply.log.on_end = None
        self._productions.discard(production)
        if not self._productions:
            self._none.set()
        self._admission.count(production.client, -1)
        self._store.cluster.producer_ended(reply.log)
        if reply.end is None and self._store.cluster.owns(reply.log):
            self._background.run(self._interrupt(reply))
        else:
            self._tell_ended(reply)
        reply.on_readers(reply)

    async def _interrupt(self, reply: Reply) -> None:
        """Whatever happened: every reply ends."""
        end = End("failed", "interrupted", InternalError().as_dict())
        try:
            await self._store.finish(reply.log, end)
        except StoreUnavailable:
            logger.warning("a reply broke off while the store was away")
        self._tell_ended(reply)

    def _tell_ended(self, reply: Reply) -> None:
        for observer in self._observers:
            observer.ended(reply)
