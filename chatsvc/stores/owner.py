"""What this node writes to Redis as the owner of replies: it writes in one epoch only, and a script checks that.

Rules
- Text goes to Redis in one flight at a time for each reply; what comes meanwhile goes with the next.
- Whatever a script refuses ends this node's ownership: another has the reply, or Redis has lost it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from ..problems import StoreUnavailable
from ..ticker import monotonic
from . import scripts
from .base import Ended
from .log import End, Log
from .memory import REMEMBERED
from .nodes import NOBODY
from .places import Places
from .writer import Writer

MOST_PENDING = 32 * 1024
"""Code points that wait to be written; with more, the producer waits."""

LATER = 24 * 3600
"""Seconds for which the end of a reply is kept for a Redis that is away."""


class _Owned:
    """What this node knows of a reply that it writes: `position` is up to where Redis has it."""

    __slots__ = (
        "ended",
        "ending",
        "epoch",
        "flushing",
        "given_up",
        "pending",
        "position",
        "waiting",
    )

    def __init__(self, epoch: str, position: int) -> None:
        self.epoch = epoch
        self.position = position
        self.pending: list[str] = []
        self.waiting = 0
        self.ending: End | None = None  # to be written with the last text
        self.flushing: asyncio.Task[None] | None = None
        self.ended: Exception | None = None
        self.given_up = False  # Redis is away, and is yet to be told of the end


class Owner:
    """The writing half of the store; `keep` is in milliseconds, `patience` how many seconds a producer waits for Redis.

    `refresh` brings a log up to date, `lost` is told of a reply that Redis has not any more, `later` runs a coroutine
    that nobody waits for.
    """

    def __init__(
        self,
        writer: Writer,
        places: Places,
        node: str,
        keep: int,
        patience: float,
        *,
        refresh: Callable[[Log], Awaitable[None]],
        lost: Callable[[str], None],
        later: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._writer = writer
        self._places = places
        self._node = node
        self._keep = keep
        self._patience = patience
        self._refresh = refresh
        self._lost = lost
        self._later = later
        self._owned: dict[str, _Owned] = {}

    def begin(self, reply_id: str, epoch: str = "1", position: int = 0) -> None:
        """From here on this node is the owner."""
        self._owned[reply_id] = _Owned(epoch, position)

    def forget(self, reply_id: str) -> None:
        """From here on it is not."""
        self._owned.pop(reply_id, None)

    def owns(self, reply_id: str) -> bool:
        """Whether it is, as far as it knows."""
        return reply_id in self._owned

    # ------------------------------------------------------------------ text

    async def append(self, log: Log, text: str) -> None:
        """See `Store.append`."""
        owned = self._owned.get(log.reply_id)
        if owned is None or log.end is not None:
            raise Ended
        if owned.ended is not None:
            raise owned.ended
        if not text:
            return
        owned.pending.append(text)
        owned.waiting += len(text)
        if owned.flushing is None:
            owned.flushing = asyncio.create_task(self._flush(log, owned))
        if owned.waiting > MOST_PENDING:
            await asyncio.shield(owned.flushing)

    async def _flush(self, log: Log, owned: _Owned) -> None:
        key = self._places.reply(log.reply_id)
        try:
            while owned.pending or owned.ending is not None:
                text, ending = "".join(owned.pending), owned.ending
                owned.pending.clear()
                owned.waiting = 0
                owned.ending = None
                behind = owned.position + len(text)
                said = await self._writer.run(
                    scripts.WRITE,
                    [key, f"{key}:log"],
                    self._node,
                    owned.epoch,
                    owned.position,
                    behind,
                    text,
                    b"" if ending is None else msgspec.json.encode(ending),
                    patience=self._patience,
                )
                if said != "ok":
                    owned.ended = Ended()
                    self._refused(log, said)
                    return
                owned.position = behind
        except Exception as error:  # noqa: BLE001  (told to the producer by its next call)
            owned.ended = error
        finally:
            owned.flushing = None

    async def _flushed(self, log: Log) -> _Owned:
        owned = self._owned.get(log.reply_id)
        if owned is None:
            raise Ended
        if owned.flushing is not None:
            await asyncio.shield(owned.flushing)
        if owned.ended is not None:
            raise owned.ended
        return owned

    # ------------------------------------------------------------------ the end

    async def complete(self, log: Log, ending: End) -> None:
        """See `Store.complete`. It goes to Redis with the last text: whoever has that has the end as well."""
        owned = self._owned.get(log.reply_id)
        if owned is None or log.end is not None:
            raise Ended
        owned.ending = ending
        if owned.flushing is None and owned.ended is None:
            owned.flushing = asyncio.create_task(self._flush(log, owned))
        await self._flushed(log)
        while log.ending is None and log.end is None:
            await self._refresh(log)

    async def finish(self, log: Log, end: End) -> None:
        """See `Store.finish`. Anybody may stop a reply; any other end is its owner's."""
        owned = self._owned.get(log.reply_id)
        if log.end is not None or (owned is None and end.finish_reason != "stopped"):
            return
        try:
            await self._finish(log, end, owned, self._patience)
        except StoreUnavailable:
            if owned is None:
                raise
            self.give_up(log, end)

    def give_up(self, log: Log, end: End | None = None) -> None:
        """Redis is away: tell those who read here now, and Redis when it is back, that a reply has failed.

        `end` is another one that Redis is to be told.
        """
        problem = StoreUnavailable("Redis can't be reached.", retry_after=1)
        failed = End("failed", "error", problem.as_dict())
        owned = self._owned.get(log.reply_id)
        if owned is not None and not owned.given_up:
            owned.given_up = True  # it stays ours until Redis has the end, so another finds it if this node dies
            self._later(self._finish_late(log, end or failed, owned))
        log.finish(failed, 0)

    async def _finish_late(self, log: Log, end: End, owned: _Owned) -> None:
        await self._finish(log, end, owned, LATER)
        self.forget(log.reply_id)
        await self._let_go(log.reply_id)

    async def _finish(
        self, log: Log, end: End, owned: _Owned | None, patience: float
    ) -> None:
        if owned is not None and owned.flushing is not None:
            await asyncio.shield(owned.flushing)
        key = self._places.reply(log.reply_id)
        said = await self._writer.run(
            scripts.FINISH,
            [key, f"{key}:log", f"{key}:gone", f"{key}:readers"],
            self._node,
            "" if owned is None or end.finish_reason == "stopped" else owned.epoch,
            msgspec.json.encode(end),
            self._keep,
            self._keep + REMEMBERED * 1000,
            f"{self._places.prefix(log.reply_id)}owned:",
            log.reply_id,
            "1" if end.state == "stopped" else "",
            patience=patience,
        )
        if said in ("lost", "gone"):
            self._refused(log, said)
            return
        while log.end is None:
            await self._refresh(log)
        if end.state != "stopped":
            self.forget(log.reply_id)

    def produced(self, log: Log) -> None:
        """See `Store.produced`."""
        owned = self._owned.get(log.reply_id)
        if log.end is not None and owned is not None and not owned.given_up:
            self.forget(log.reply_id)
            self._later(self._let_go(log.reply_id))

    async def _let_go(self, reply_id: str) -> None:
        owned = f"{self._places.prefix(reply_id)}owned:{self._node}"
        await self._writer.ask("SREM", owned, reply_id, patience=LATER)

    async def quiet(self, log: Log, seconds: float) -> bool:
        """See `Store.quiet`. It is asked for again and again: a stop is rare, and mostly quiet at once."""
        prefix = self._places.prefix(log.reply_id)
        keys = [prefix + log.reply_id, f"{prefix}nodes", f"{prefix}owned:"]
        pause = 0.02
        until = monotonic() + round(seconds * 1e6)
        while not await self._writer.run(scripts.QUIET, keys, log.reply_id):
            if monotonic() > until:
                return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.2)
        return True

    def _refused(self, log: Log, said: str) -> None:
        """A script would not write: another owns the reply now, or Redis has not what it had."""
        self.forget(log.reply_id)
        if said in ("gone", "torn"):
            self._lost(log.reply_id)
        if said == "torn":
            self._later(self._delete(log.reply_id))

    async def _delete(self, reply_id: str) -> None:
        key = self._places.reply(reply_id)
        # Nobody may begin another reply under this id.
        await self._writer.ask("SET", f"{key}:gone", 1, "EX", REMEMBERED)
        await self._writer.ask("DEL", key, f"{key}:log")

    # ------------------------------------------------------------------ from hand to hand

    async def take(self, log: Log) -> bool:
        """See `Store.take`."""
        reply_id = log.reply_id
        prefix = self._places.prefix(reply_id)
        taken = await self._writer.run(
            scripts.TAKE,
            [prefix + reply_id, f"{prefix}nodes", f"{prefix}owned:"],
            self._node,
            reply_id,
        )
        if not taken:
            return False
        epoch, position = str(taken[0]), int(taken[1])
        await self._refresh(log)
        if log.end is not None:
            return False
        if log.position != position:
            self._refused(log, "torn")
            return False
        self.begin(reply_id, epoch, position)
        return True

    async def release(self, log: Log) -> bool:
        """See `Store.release`."""
        try:
            owned = await self._flushed(log)
        except (Ended, StoreUnavailable):
            return False
        prefix = self._places.prefix(log.reply_id)
        said = await self._writer.run(
            scripts.RELEASE,
            [prefix + log.reply_id, f"{prefix}nodes", f"{prefix}owned:"],
            self._node,
            owned.epoch,
            log.reply_id,
            NOBODY,
        )
        self.forget(log.reply_id)
        return bool(said == "ok")
