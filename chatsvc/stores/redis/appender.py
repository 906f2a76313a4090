"""The writing of all replies of one hash tag that this node owns: what they have goes in one script.

What comes within `COLLECT_S` goes together. A script for each reply would cost the node twice as
much, and Redis half as much again: what a call costs beside its work, for each token of each reply.

Invariants:
- A reply has one write under way at a time (see `outbox`), whatever the others have.
- What is refused or fails of one reply changes nothing for those that are written with it.
- A script takes at most `MAX_ENTRIES` entries, so that Redis has time for others in between, and
  at most `MAX_SIZE` code points, but for one reply that has more.
- Nothing is in a log before Redis has acknowledged it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import islice

from chatsvc.problems import StoreUnavailable
from chatsvc.stores.base import NotWritable
from chatsvc.stores.redis.connect import unavailable
from chatsvc.stores.redis.follower import Follower
from chatsvc.stores.redis.outbox import Outbox
from chatsvc.stores.redis.owner_scripts import OwnerScripts
from chatsvc.stores.redis.writes import Answer, Write

logger = logging.getLogger("chatsvc.redis")

COLLECT_S = 0.010
"""Seconds between two writes, in which what the replies get is collected: the longest that this
delays anything. What comes alone waits for nothing."""

MAX_ENTRIES = 128
"""The entries that a script adds at most: Redis takes about a millisecond for them."""

MAX_SIZE = 64 * 1024
"""The code points, and bytes of marks, beyond which a script takes no further reply."""


_Part = tuple[Outbox, Write]
"""What is written of one reply, behind the outbox that it comes from."""


class Appender:
    """The writer of the replies of one hash tag, whose `follower` brings it into their logs.

    `on_refused(outbox, status)` is called when `write.lua` has refused a reply, with the status
    that it has answered.
    """

    def __init__(
        self,
        scripts: OwnerScripts,
        follower: Follower,
        on_refused: Callable[[Outbox, str], None],
    ) -> None:
        self._scripts = scripts
        self._follower = follower
        self._on_refused = on_refused
        self._due: list[Outbox] = []
        # When the last write began, or will (seconds of the loop's clock).
        self._last_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()  # the loop holds weak ones only

    def add(self, outbox: Outbox) -> None:
        """Write what an outbox has: `COLLECT_S` after the last write, or at once if that is over."""
        if not self._due:
            loop = asyncio.get_running_loop()
            now = loop.time()
            at = max(now, self._last_at + COLLECT_S)
            self._last_at = at
            loop.call_later(at - now, self._write_due)
        self._due.append(outbox)

    def _write_due(self) -> None:
        """Write what is due, in as few scripts as it can be."""
        due, self._due = self._due, []
        parts: list[_Part] = []
        entries = size = 0
        for outbox in due:
            write = outbox.take()
            if write is None:
                continue
            entries += len(write.entries) or 1
            size += write.size
            if parts and (entries > MAX_ENTRIES or size > MAX_SIZE):
                self._start(parts)
                parts, entries, size = [], len(write.entries) or 1, write.size
            parts.append((outbox, write))
        if parts:
            self._start(parts)

    def _start(self, parts: list[_Part]) -> None:
        task = asyncio.create_task(self._write(parts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, parts: list[_Part]) -> None:
        try:
            answers = await self._scripts.write([write for _, write in parts])
            answered = list(zip(parts, answers, strict=True))
        except StoreUnavailable:
            for outbox, _ in parts:
                outbox.fail(unavailable())
        except Exception as error:
            # It may be that of one: each is tried by itself. A script may run twice.
            if len(parts) > 1:
                for part in parts:
                    self._start([part])
                return
            logger.exception("writing a reply failed")
            parts[0][0].fail(error)
        else:
            for (outbox, write), answer in answered:
                try:
                    self._take_answer(outbox, write, answer)
                except Exception as error:
                    logger.exception("writing a reply failed")
                    outbox.fail(error)

    def _take_answer(self, outbox: Outbox, write: Write, answer: Answer) -> None:
        """Bring into the log what was written; or have it written again, or the reply given up."""
        status = answer[0]
        if status == "ok":
            ids = islice(answer, 1, None)
            for entry_id, entry in zip(ids, write.written(), strict=True):
                self._follower.apply_own(outbox.log, entry_id, entry)
            outbox.written(write)
            return
        if status == "error":
            # By itself, it is sent again or refused as any command is.
            self._start([(outbox, write)])
            return
        if status == "torn":
            there = int(answer[1]), int(answer[2])
            if outbox.has_more_than(there):
                outbox.put_back(write, there)
                return
        self._on_refused(outbox, status)
        outbox.fail(NotWritable())
