"""What connections hold in memory, and the watch over the budget of the process (`--max-memory`).

Replies count themselves (`chatsvc.replies.memory`), and so do bodies while they arrive. What the
kernel has not taken of answers, and what heads and frames have that are not whole, is looked at
once in `SAMPLE_S`, so that no write and no character is counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from aiohttp import web

from chatsvc.memory_budget import Kind, MemoryBudget
from chatsvc.replies.memory import ReplyMemory
from chatsvc.web.disconnects import Clients
from chatsvc.web.metrics import Metrics

logger = logging.getLogger("chatsvc")

SAMPLE_S = 1.0
"""Seconds between two looks at all connections and replies."""

SAMPLED_PER_TURN = 500
"""The connections that are looked at in one turn of the event loop: less than a millisecond."""

LOG_INTERVAL_S = 60.0
"""Seconds between two lines of the log that say that memory is used up."""


class Unfinished(Protocol):
    """A connection that may hold a part of a request."""

    @property
    def unfinished_bytes(self) -> int:
        """The bytes that were received of what is not whole yet."""
        ...


class MemoryWatch:
    """The count of what connections hold, as sources of `budget`, and the watch over all of it.

    `bodies` are the bytes of bodies that are arriving: who reads one counts it. `connections` are
    functions that return connections which may hold parts of requests, and `when_full` are called
    when there is no room left, even without the replies that nobody reads.
    """

    def __init__(
        self, budget: MemoryBudget, clients: Clients, metrics: Metrics
    ) -> None:
        self.budget = budget
        self.bodies = 0
        self.connections: list[Callable[[], Iterable[Unfinished]]] = []
        self.when_full: list[Callable[[], None]] = []
        self._clients = clients
        self._metrics = metrics
        self._logged = -LOG_INTERVAL_S  # time.monotonic() of the last line
        self._unsent = 0
        self._unfinished = 0
        # They are asked for each request, and these take no frame.
        budget.add_source(Kind.UNSENT, partial(getattr, self, "_unsent"))
        budget.add_source(Kind.REQUESTS, partial(getattr, self, "_unfinished"))
        budget.add_source(Kind.REQUESTS, partial(getattr, self, "bodies"))

    def publish(self) -> None:
        """Put what is held now into the metrics."""
        metrics, budget = self._metrics, self.budget
        for kind in Kind:
            metrics.memory.labels(kind.value).set(budget.held(kind))
        metrics.memory_limit.set(budget.limit or 0)

    async def watch(self, replies: ReplyMemory) -> None:
        """Look at all connections and replies every `SAMPLE_S`, and make room, until cancelled."""
        while True:
            await self.sample()
            await replies.sample()
            await replies.make_room()
            if self.budget.excess():
                self._log()
                for relieve in self.when_full:
                    relieve()
            self.publish()
            await asyncio.sleep(SAMPLE_S)

    def _log(self) -> None:
        """Log that there is no room, if that was not logged for `LOG_INTERVAL_S`."""
        now = time.monotonic()
        if now - self._logged >= LOG_INTERVAL_S:
            self._logged = now
            held = {kind.value: self.budget.held(kind) for kind in Kind}
            data = {"limit": self.budget.limit, **held}
            logger.warning(
                "the memory of --max-memory is used up", extra={"data": data}
            )

    async def sample(self) -> None:
        """Look at all connections, in turns of the event loop."""
        unsent = 0
        for number, transport in enumerate(self._clients.transports(), 1):
            unsent += transport.get_write_buffer_size()
            if not number % SAMPLED_PER_TURN:
                await asyncio.sleep(0)
        self._unsent = unsent
        unfinished = 0
        for connections in self.connections:
            for number, connection in enumerate(list(connections()), 1):
                unfinished += connection.unfinished_bytes
                if not number % SAMPLED_PER_TURN:
                    await asyncio.sleep(0)
        self._unfinished = unfinished


MEMORY = web.AppKey("memory", MemoryWatch)
"""The key of the application's watch over its memory."""
