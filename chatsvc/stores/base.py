"""Where replies are kept: the interface of a store.

A store keeps one log a reply, its record, and which replies were started under which idempotency key. On a node it
gives a live `Log` for any reply: what is appended anywhere arrives in it. Everything it raises is a `Problem`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from chatsvc.log import Log
from chatsvc.model import End, Prompt
from chatsvc.ticker import Clock

EXPIRED = "The reply has ended and its text is no longer kept."
"""What `ReplyExpired` says."""


class Record(msgspec.Struct, frozen=True):
    """What is known of a reply from its start. `pace` and `lag` are in microseconds, as in `Log`."""

    reply_id: str
    prompt: Prompt
    user: str = ""
    key: str = ""
    digest: str = ""  # of the request that came with the key
    pace: int = 0
    lag: int | None = None


class KeyReused(Exception):
    """The idempotency key was used before, with another request."""


class NotWritable(Exception):
    """The reply has its end, or belongs to another node: nothing can be written to it from here."""


class Store(Protocol):
    """Keeps replies.

    `shared` tells whether several nodes may keep theirs in it. Then each reply has one owner, and only that one can
    write to it; anybody may stop it. `clock` is the time by which characters are out.
    """

    clock: Clock

    @property
    def shared(self) -> bool: ...

    async def open(self) -> None:
        """Connect; called once. Raises `StoreUnavailable`."""

    async def close(self) -> None:
        """Let go; called once."""

    async def create(self, record: Record) -> str:
        """Begin a log, unless `record.key` was used before: the id of the reply that stands for the record.

        Raises as `known`.
        """
        ...

    async def known(self, record: Record) -> str | None:
        """The id of the reply that stands for `record.key`, if there is one.

        Raises `KeyReused`, and may raise `ReplyExpired` for one whose reply is no longer kept.
        """
        ...

    async def find(self, reply_id: str) -> tuple[Record, Log]:
        """A reply with all that has arrived. Raises `ReplyNotFound` or `ReplyExpired`.

        Of one that has ended, the record may be without its prompt.
        """
        ...

    async def append(self, log: Log, text: str) -> None:
        """Add whole characters. Raises `NotWritable`."""

    async def seal(self, log: Log, planned_end: End) -> None:
        """Note that all of the text has arrived, and how it is to end once all is out. Raises `NotWritable`."""

    async def finish(self, log: Log, end: End) -> None:
        """Set the end; if it has one already, that one stands."""

    async def remember(self, name: str, reply_id: str) -> str | None:
        """Let a name stand for a reply; gives the id whose place it takes.

        A shared store keeps it for a day. One in memory forgets names by their number only: the oldest beyond
        `MOST_REMEMBERED`, however young or old it is.
        """
        ...

    async def recall(self, name: str) -> str | None:
        """The id that `remember` gave a name last."""
        ...

    def ready(self) -> bool:
        """Whether it can be reached now."""
        ...

    async def refresh(self, log: Log) -> None:
        """Return when all that any node had been given before the call has arrived. Raises `StoreUnavailable`."""

    # What only a shared store has to do:

    def watch(self, adopt: Callable[[str], Awaitable[None]]) -> None:
        """Call `adopt` with the id of each reply whose owner is gone."""

    async def take(self, log: Log) -> bool:
        """Become the owner of a reply that has none any more; False if somebody else is, or it has its end."""
        ...

    async def release(self, log: Log) -> bool:
        """Let another node become the owner of a reply; False if it can't be handed on."""
        ...

    def produced(self, log: Log) -> None:
        """Tell that nothing works any more on a reply that this node produced."""

    async def quiet(self, log: Log, seconds: float) -> bool:
        """Whether no other node works any more on a reply that has its end, waiting for it so long at most.

        Raises `StoreUnavailable`.
        """
        ...

    def owns(self, log: Log) -> bool:
        """Whether this node is the owner, as far as it knows."""
        ...

    def reading(self, log: Log, present: bool) -> None:
        """Tell the owner that this node has readers, or has none any more."""

    async def last_read(self, log: Log) -> int:
        """Until when another node has had readers (microseconds of the clock; 0: never). Raises `StoreUnavailable`."""
        ...
