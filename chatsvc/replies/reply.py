"""A reply as its readers see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.problems import CursorPastEnd
from chatsvc.replies.reader import ReplyReader
from chatsvc.stores.base import Record
from chatsvc.ticker import Ticker

if TYPE_CHECKING:
    from chatsvc.replies.producer import Producer


class Reading:
    """A block in which a reply has a reader more."""

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __enter__(self) -> None:
        reply = self._reply
        reply.readers += 1
        if reply.readers == 1:
            reply.on_readers(reply)

    def __exit__(self, *_: object) -> None:
        reply = self._reply
        reply.readers -= 1
        if not reply.readers:
            reply.on_readers(reply)


class Reply:
    """An append-only text with one end (PROTOCOL.md section 1), read by any number of readers."""

    __slots__ = (
        "__weakref__",
        "grace",
        "leaving",
        "log",
        "on_readers",
        "producer",
        "readers",
        "record",
        "started",
        "ticker",
    )

    def __init__(
        self,
        record: Record,
        log: Log,
        ticker: Ticker,
        on_readers: Callable[[Reply], None],
    ) -> None:
        self.record = record
        self.log = log
        self.on_readers = on_readers
        self.readers = 0
        self.started = ticker.refresh()  # when this node took it in hand
        self.producer: Producer | None = None  # on the node that owns it
        self.leaving = False  # readers are sent away: this node goes
        self.grace: asyncio.TimerHandle | None = None
        self.ticker = ticker

    @property
    def id(self) -> str:
        """The reply id."""
        return self.log.reply_id

    @property
    def end(self) -> End | None:
        """How it ended, or None while it runs."""
        return self.log.end

    @property
    def state(self) -> str:
        """running, done, stopped or failed."""
        return self.log.end.state if self.log.end is not None else "running"

    def out(self) -> int:
        """The position (code points) that is out now."""
        self.ticker.refresh()
        return self.log.out(self.ticker.horizon)

    def leave(self) -> None:
        """Send all readers away: they get `SentAway` where they stand."""
        self.leaving = True
        self.log.interrupt()

    def check(self, after: int) -> None:
        """Raise `CursorPastEnd` for a position that the reply has not reached, as far as this node knows.

        One that has arrived but is not out yet is accepted: on another node, whose clock may be ahead, it may be out.
        """
        if after > self.log.position:
            raise CursorPastEnd(
                f"The reply has reached position {self.log.position}, not {after}."
            )

    def reading(self) -> Reading:
        """Count a reader for as long as the block lasts."""
        return Reading(self)

    def characters(self, after: int = 0) -> ReplyReader:
        """The generator of what stands behind position `after`; close it when it is not needed any more."""
        return ReplyReader(self, after)
