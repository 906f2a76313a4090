"""The interface of the nodes that share a store, `Cluster`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from chatsvc.log import Log


class Cluster(Protocol):
    """The interface to the other nodes that share a store.

    Invariants:
    - A running reply has at most one owner, and only that node can write to it. Any node may
      stop it.
    - A node may notice late that it does not own a reply any more; a write then raises
      `NotWritable`, and changes nothing.
    """

    @property
    def shared(self) -> bool:
        """Whether several nodes may use the store."""
        ...

    @property
    def node(self) -> str:
        """The name by which the other nodes know this one; "" where there are no others."""
        ...

    def new_reply_id(self, account: str) -> str:
        """Return the id of a new reply, under which the store can count it for an account."""
        ...

    def on_orphan(self, adopt: Callable[[str], Awaitable[None]]) -> None:
        """Call `adopt` from now on with the id of each reply whose owner has died or released it.

        `adopt` is called again, perhaps on another node, until one has taken the reply over.
        """

    def owns(self, log: Log) -> bool:
        """Return whether this node owns the reply, as far as it knows."""
        ...

    async def take_over(self, log: Log) -> bool | None:
        """Become the owner of a reply that has none; `log` is up to date on return.

        Returns False when another node owns it, or it has its end; but None, once, when it was ended
        while nobody owned it. Raises `StoreUnavailable`.
        """
        ...

    async def release(self, log: Log) -> bool:
        """Give up ownership, after all appended text is stored, so that another node can take over.

        Returns False when the store did not confirm that. Raises `StoreUnavailable`.
        """
        ...

    async def successor(self, log: Log) -> str | None:
        """Return the name of the other node that owns a reply which this node has produced.

        For an ended reply that is the node that owned it when its end was set. "" stands for nobody
        yet; None for no other node, or an unknown reply. Raises `StoreUnavailable`.
        """
        ...

    async def producer_ended(self, log: Log) -> bool:
        """Report that nothing on this node works any more on an ended reply that it produced.

        It is called where `finish` has not returned True. Returns whether this node has owned the
        reply to its end: one call of all nodes does, or one of `take_over` returns None in its place.
        Raises `StoreUnavailable`.
        """
        ...

    async def wait_for_producer(self, log: Log, seconds: float) -> bool:
        """Wait until no other node works on an ended reply any more, `seconds` at most.

        Returns False when one still does. Raises `StoreUnavailable`.
        """
        ...

    def announce_readers(self, log: Log, present: bool) -> None:
        """Let the owner know that this node has readers of the reply, or has none any more."""

    async def last_read(self, log: Log) -> int:
        """Return the time up to which other nodes have had readers (microseconds of `Store.clock`).

        It is in the future while a node has readers, and 0 if none ever had. Raises
        `StoreUnavailable`.
        """
        ...
