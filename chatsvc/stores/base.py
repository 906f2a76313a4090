"""Where replies are kept: the interface of a store.

A store keeps one log a reply, its record, and which replies were started under which idempotency key. On a node it
gives a live `Log` for any reply: what is appended anywhere arrives in it. Everything it raises is a `Problem`.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from ..backends.base import Prompt
from .log import End, Log


class Record(msgspec.Struct, frozen=True):
    """What is known of a reply from its start. `pace` and `lag` are in microseconds, as in `Log`."""

    reply_id: str
    prompt: Prompt
    user: str = ""
    key: str = ""
    digest: str = ""  # of the request that came with the key
    pace: int = 0
    lag: int | None = None


class Clock:
    """The store's clock: the monotonic clock plus `offset` microseconds, never ahead of the store's own time."""

    __slots__ = ("offset",)

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset


class KeyReused(Exception):
    """The idempotency key was used before, with another request."""


class Ended(Exception):
    """The reply has its end, or belongs to another node: nothing can be written to it from here."""


class Store(Protocol):
    """Keeps replies."""

    clock: Clock

    async def open(self) -> None:
        """Connect; called once. Raises `StoreUnavailable`."""

    async def close(self) -> None:
        """Let go; called once."""

    async def create(self, record: Record) -> str:
        """Begin a log, unless `record.key` was used before: the id of the reply that stands for the record.

        Raises `KeyReused`.
        """
        ...

    async def find(self, reply_id: str) -> tuple[Record, Log]:
        """A reply with all that has arrived. Raises `ReplyNotFound` or `ReplyExpired`."""
        ...

    async def append(self, log: Log, text: str) -> None:
        """Add whole characters. Raises `Ended`."""

    async def complete(self, log: Log, finish_reason: str) -> None:
        """Note that all of the text has arrived, and why it ended. Raises `Ended`."""

    async def finish(self, log: Log, end: End) -> None:
        """Set the end; if it has one already, that one stands."""

    async def remember(self, name: str, reply_id: str) -> None:
        """Let a name stand for a reply, as long as its id is known; a later one takes its place."""

    async def recall(self, name: str) -> str | None:
        """The id that `remember` gave a name last."""
        ...

    def ready(self) -> bool:
        """Whether it can be reached now."""
        ...
