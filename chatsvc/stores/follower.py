"""What arrives in Redis, brought to the logs of this node: one connection that waits for all of them together.

Rules
- A log's entries come through here and in no other way, for the owner's readers too: what is seen is in Redis.
- A log is followed for as long as somebody holds it, and until it has its end.
- A stop in Redis at time T ends a reply where it is out at T + `LEEWAY`. A round that was sent at V and brought no stop
  allows this node to give out what is due by V + `LEEWAY`. So no reader on any node has been given what a stop cuts
  off, however late the node learns of it; and while Redis is away, streams pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from weakref import ReferenceType, ref

import msgspec

from ..ticker import Clock, monotonic
from .connect import FAILURES, Client
from .log import End, Log

logger = logging.getLogger("chatsvc.redis")

LEEWAY = 400_000
"""Microseconds that a node may run ahead of its last look at Redis, and that a stopped reply runs on."""

SLACK = 5_000
"""Microseconds by which the clock may have drifted since it was last compared."""

ROUND = 50
"""Milliseconds that a round waits for something new, at least; with many logs it is longer, for it costs more."""

LONGEST_ROUND = 150

AGAIN = 0.1
"""Seconds between two tries when Redis is away."""


class _Followed:
    __slots__ = ("last", "log")

    def __init__(self, log: Log, last: str) -> None:
        self.log: ReferenceType[Log] = ref(log)
        self.last = last


def apply(log: Log, entry: str, fields: dict[str, str]) -> None:
    """Bring one entry of the stream into the log. Its id is the time of arrival, in milliseconds."""
    at = int(entry.partition("-")[0]) * 1000
    if "t" in fields and int(fields["p"]) == log.position and log.end is None:
        log.append(fields["t"], at)
    if "c" in fields:
        log.complete(msgspec.json.decode(fields["c"], type=End))
    if "e" in fields:
        end = msgspec.json.decode(fields["e"], type=End)
        log.finish(end, at + LEEWAY if end.state == "stopped" else at)


class Follower:
    """Follows the streams of one hash tag. `bell` is a stream that only this node rings, to begin a new round.

    `seen` is told, after each round, the time (microseconds of the store's clock) up to which all is known. Without Redis
    for `patience` microseconds, `away` is told of each log that is followed.
    """

    def __init__(
        self,
        client: Client,
        bell: str,
        clock: Clock,
        patience: int,
        seen: Callable[[int], None],
        away: Callable[[Log], None],
    ) -> None:
        self._client = client
        self._bell = bell
        self._clock = clock
        self._patience = patience
        self._seen = seen
        self._given_up = away
        self._followed: dict[str, _Followed] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._last_bell = "0-0"
        self._since = monotonic()
        self.rung = False  # the bell is about to be
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End."""
        # A timeout inside the client that fires at the same moment swallows a cancellation: ask until it is heard.
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.1)

    @property
    def away(self) -> int:
        """Microseconds since the last round began that was answered."""
        return monotonic() - self._since

    def add(self, stream: str, log: Log, last: str) -> None:
        """Follow a stream from behind entry `last`. Ring the bell and await `round` before the log is read."""
        self._followed[stream] = _Followed(log, last)

    def round(self) -> asyncio.Future[None]:
        """Done when a round that begins after this moment has been answered."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return waiter

    def logs(self) -> list[Log]:
        """All logs that are followed now."""
        found = [followed.log() for followed in self._followed.values()]
        return [log for log in found if log is not None and log.end is None]

    async def _run(self) -> None:
        while True:
            waiting, self._waiting = self._waiting, []
            try:
                count = await self._round(hurry=bool(waiting))
            except FAILURES as error:
                self._waiting = waiting + self._waiting
                self._away(error)
                await asyncio.sleep(AGAIN)
                continue
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)
            # With many logs a round costs: let some more arrive before the next.
            await asyncio.sleep(min(count * 4e-6, 0.02))

    async def _round(self, *, hurry: bool) -> int:
        """Look once, without waiting for anything new in a `hurry`; gives the number of streams."""
        streams = {self._bell: self._last_bell}
        for stream, followed in list(self._followed.items()):
            log = followed.log()
            if log is None or log.end is not None:
                del self._followed[stream]
            else:
                streams[stream] = followed.last
        began = monotonic()
        wait = min(max(ROUND, len(streams) * 60 // 1000), LONGEST_ROUND)
        found = await self._client.xread(streams, block=None if hurry else wait)
        for stream, entries in found or ():
            self._arrived(stream, entries)
        self._since = began
        self._seen(began + self._clock.offset - SLACK)
        return len(streams)

    def _arrived(self, stream: str, entries: list[tuple[str, dict[str, str]]]) -> None:
        if stream == self._bell:
            self._last_bell = entries[-1][0]
            return
        followed = self._followed.get(stream)
        log = None if followed is None else followed.log()
        if followed is None or log is None:
            return
        for entry, fields in entries:
            apply(log, entry, fields)
            followed.last = entry

    def _away(self, error: Exception) -> None:
        if self.away > self._patience and (logs := self.logs()):
            logger.warning("Redis is away: %s", error)
            for log in logs:
                self._given_up(log)
