"""From node to node: what a dead one has left is carried on here, and when this one leaves, another carries on."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from chatsvc.backends.base import Backend
from chatsvc.model import End
from chatsvc.problems import (
    Draining,
    InternalError,
    ReplyExpired,
    ReplyNotFound,
    StoreUnavailable,
)
from chatsvc.replies.admission import Admission
from chatsvc.replies.producers import Producers
from chatsvc.replies.registry import Registry
from chatsvc.replies.reply import Reply
from chatsvc.stores.base import KeyReused, Record, Store

logger = logging.getLogger("chatsvc.replies")

LOOK_AGAIN = 1.0
"""Seconds between two looks for a reply that the store may have begun before it went away."""

MOST_LATE = 1000
"""Replies that are looked for so at once: while the store is away for long, every question would leave one more."""


class Handover:
    """Takes replies over for as long as this node does not drain, and hands them on when it does."""

    def __init__(
        self,
        store: Store,
        backend: Backend,
        admission: Admission,
        opened: Registry,
        running: Producers,
    ) -> None:
        self._store = store
        self._backend = backend
        self._admission = admission
        self._opened = opened
        self._running = running
        self._late = 0
        store.cluster.on_orphan(self._take_over)

    # ------------------------------------------------------------------ to this node

    async def begin_late(self, record: Record) -> None:
        """The store went away while it began a reply. If it has begun it all the same, produce it.

        Beyond `MOST_LATE`, the store finds what it has begun, and it ends as interrupted if it can't be carried on.
        """
        if self._late >= MOST_LATE:
            return
        self._late += 1
        try:
            with suppress(ReplyNotFound, ReplyExpired, KeyReused):
                while not self._admission.draining:  # else another node takes it over
                    await asyncio.sleep(LOOK_AGAIN)
                    with suppress(StoreUnavailable):
                        known = await self._store.known(record) if record.key else None
                        if await self._adopt(known or record.reply_id, asked=True):
                            return
        finally:
            self._late -= 1

    async def _take_over(self, reply_id: str) -> None:
        await self._adopt(reply_id, asked=False)

    async def _adopt(self, reply_id: str, *, asked: bool) -> bool:
        """Carry on a reply whose owner is gone, or end it; False if there is no room for it now.

        If somebody has just `asked` for it, one without text is begun anew, whatever the backend.
        """
        admission = self._admission
        if admission.draining or len(self._running) >= admission.most:
            return False
        reply = await self._opened.open(reply_id)
        if reply.producer is not None or not await self._store.cluster.take_over(
            reply.log
        ):
            return True
        planned_end = reply.log.planned_end
        anew = asked and not reply.log.position
        if planned_end is None and (self._backend.resumes or anew):
            self._running.read(reply)
            return True
        if planned_end is None:
            problem = InternalError("What wrote the reply went down.")
            planned_end = End("failed", "interrupted", problem.as_dict())
        self._running.end(reply, planned_end)
        return True

    # ------------------------------------------------------------------ from this node

    async def drain(self, seconds: float) -> None:
        """Take no new replies; give the running ones `seconds` to end; then hand them on and send the readers away.

        What can't be handed on ends as interrupted.
        """
        self._admission.draining = True
        if seconds > 0:
            await self._running.wait(seconds)
        await asyncio.gather(*map(self._let_go, self._running.replies()))
        if self._store.cluster.shared:
            self._opened.leave()

    async def _let_go(self, reply: Reply) -> None:
        """Hand a reply on, or end it."""
        cluster = self._store.cluster
        if reply.log.planned_end is not None or self._backend.resumes:
            try:
                released = await cluster.release(reply.log)
            except StoreUnavailable:
                released = False  # whoever finds it later takes it over
            if released or not cluster.owns(reply.log):
                if reply.producer is not None:
                    reply.producer.cancel()
                return
        problem = Draining("The service went down before the reply was complete.")
        end = reply.log.planned_end or End("failed", "interrupted", problem.as_dict())
        try:
            await self._store.finish(reply.log, end)
        except StoreUnavailable:
            logger.warning("a reply could not be ended: the store is away")
