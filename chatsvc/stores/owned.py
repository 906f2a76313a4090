"""One reply that this node writes to Redis, and what of it is still to be written."""

from __future__ import annotations

import asyncio

from .base import Record
from .log import End, Log


class Owned:
    """What this node knows of a reply that it writes: `position` is up to where Redis has it.

    `record` is known of those that were begun here.
    """

    __slots__ = (
        "ended",
        "ending",
        "epoch",
        "flushing",
        "given_up",
        "log",
        "pending",
        "position",
        "record",
        "waiting",
    )

    def __init__(self, log: Log, epoch: int, record: Record | None = None) -> None:
        self.log = log
        self.epoch = epoch
        self.record = record
        self.position = log.position
        self.pending: list[str] = []
        self.waiting = 0
        self.ending: End | None = None  # to be written with the last text
        self.flushing: asyncio.Task[None] | None = None
        self.ended: Exception | None = None
        self.given_up = False  # Redis is away, and is yet to be told of the end

    def rewind(self, position: int) -> bool:
        """Redis has less than it acknowledged (a replica took over): what it has lost is to be written again."""
        if position >= self.position:
            return False
        self.pending.insert(0, self.log.text(position, self.position))
        self.position = position
        self.ending = self.ending or self.log.ending
        return True
