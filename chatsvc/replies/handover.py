"""The handover of replies between nodes: adopting those of a dead node, and releasing one's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
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
from chatsvc.units import Mark, Unit

logger = logging.getLogger("chatsvc.replies")

CREATED_POLL_S = 1.0
"""The seconds between two looks for a reply that the store may have created before it went away."""

MOST_CREATED_POLLS = 1000
"""The replies that may be looked for at the same time: each request that the store fails adds one.
"""


class Handover:
    """What this node does with replies of nodes that are gone, and with its own when it leaves.

    Until it drains it adopts the replies whose owner is gone, as the store reports them. When it
    drains, its own replies are released to other nodes or ended. Those of a user who `has_ended`
    are stopped.
    """

    def __init__(
        self,
        store: Store,
        backend: Backend,
        admission: Admission,
        registry: Registry,
        producers: Producers,
        has_ended: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._backend = backend
        self._admission = admission
        self._registry = registry
        self._producers = producers
        self._has_ended = has_ended
        self._polls = 0
        store.cluster.on_orphan(self._take_over)

    # ------------------------------------------------------------------ to this node

    async def produce_if_created(self, record: Record) -> None:
        """Produce a reply, if it turns out that the store has created it.

        That is not known, because the store went away before it answered. Wait until it is back,
        and look. When `MOST_CREATED_POLLS` replies are waited for already, return at once: if the
        store has created this one, it reports it as a reply without an owner, and the reply ends as
        interrupted unless the backend resumes.
        """
        if self._polls >= MOST_CREATED_POLLS:
            return
        self._polls += 1
        # Only its key and its id are looked for; if the store has the reply, it has the prompt.
        record.prompt.drop()
        try:
            with suppress(ReplyNotFound, ReplyExpired, KeyReused):
                # While this node drains, another one adopts the reply.
                while not self._admission.draining:
                    await asyncio.sleep(CREATED_POLL_S)
                    with suppress(StoreUnavailable):
                        known = await self._store.known(record) if record.key else None
                        if await self._adopt(known or record.reply_id, asked=True):
                            return
        finally:
            self._polls -= 1

    async def _take_over(self, reply_id: str) -> None:
        await self._adopt(reply_id, asked=False)

    async def _adopt(self, reply_id: str, *, asked: bool) -> bool:
        """Continue a reply whose owner is gone, or end it. Return False if there is no room now.

        `asked` is whether a client of this node has just asked for the reply. If so, and if the
        reply has no text yet, it is produced from its start, whether the backend resumes or not.
        """
        admission = self._admission
        if admission.draining or admission.full:
            return False
        reply = await self._registry.open(reply_id)
        if self._producers.produces(reply):
            return True
        if self._has_ended(reply.record.user):
            await self._store.finish(reply.log, End("stopped", "stopped"))
        taken = await self._store.cluster.take_over(reply.log)
        if not taken:
            if taken is None:
                self._producers.note_end(reply)
            return True
        planned_end = reply.log.planned_end
        anew = asked and not reply.log.offset
        if planned_end is None and (self._continues(reply) or anew):
            self._producers.go_on(reply)
            return True
        if planned_end is None:
            problem = InternalError("What wrote the reply went down.")
            planned_end = End("failed", "interrupted", problem.as_dict())
        self._producers.end_when_released(reply, planned_end)
        return True

    def _continues(self, reply: Reply) -> bool:
        """Return whether the backend can go on behind what is written: it knows only the text.

        Extras stand beside the text without a part in it: nearly every server of models sends some.
        """
        side = reply.log.side
        return self._backend.resumes and (
            side is None or all(map(_is_extra, side.sides(0, side.count)))
        )

    # ------------------------------------------------------------------ from this node

    async def drain(self, seconds: float) -> None:
        """Take no new replies, give the running ones `seconds` to end, then release the rest.

        A reply that can't be continued elsewhere ends as interrupted, or as planned if its text is
        complete. With a shared store all readers of this node are sent away at last.
        """
        self._admission.draining = True
        if seconds > 0:
            await self._producers.wait(seconds)
        await asyncio.gather(*map(self._release, self._producers.replies()))
        if self._store.cluster.shared:
            self._registry.send_readers_away()

    async def _release(self, reply: Reply) -> None:
        """Let another node own a reply that it can continue, or end it."""
        cluster = self._store.cluster
        if reply.log.planned_end is not None or self._continues(reply):
            try:
                released = await cluster.release(reply.log)
            except StoreUnavailable:
                released = False  # once the store is back, another node finds it without an owner
            if released or not cluster.owns(reply.log):
                self._producers.hand_on(reply, released=released)
                return
        problem = Draining("The service went down before the reply was complete.")
        end = reply.log.planned_end or End("failed", "interrupted", problem.as_dict())
        try:
            await self._store.finish(reply.log, end)
        except StoreUnavailable:
            logger.warning("a reply could not be ended: the store is away")


def _is_extra(unit: Unit) -> bool:
    return isinstance(unit, Mark) and unit.kind == "extra"
