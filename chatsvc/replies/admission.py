"""Admission control: how many replies may run, and how many of one account run and begin."""

from __future__ import annotations

from chatsvc.client_limits import (
    StartLimits,
    too_many_in_all,
    too_many_running,
    too_many_starts,
)
from chatsvc.problems import Draining
from chatsvc.replies.starts import Starts


class Admission:
    """The counts of the replies that begin or run on this node.

    Where no other node uses the store, these counts decide alone. A store that nodes share counts
    the replies of all of them; what this node by itself has too many of is refused here, without
    asking the store.

    `most` is the limit of replies that run on all nodes; 0: none. While `draining` is true no reply
    is admitted.
    """

    def __init__(self, most: int) -> None:
        self.draining = False
        self.most = most
        self._starts = Starts()
        self._running: dict[str, int] = {}  # of those accounts that have any
        self._counted = 0

    @property
    def full(self) -> bool:
        """Whether as many replies begin or run here as may on all nodes."""
        return bool(self.most) and self._counted >= self.most

    def check(self, limits: StartLimits) -> None:
        """Check that one more reply of an account may begin, and count nothing.

        Raises `Draining` when the node is about to leave, `Overloaded` when it has reached its
        limit, and `TooManyRequests` when the account has reached one of its own.
        """
        if self.draining:
            raise Draining(
                "This node takes no new replies; another one does.", retry_after=1
            )
        if self.full:
            raise too_many_in_all(self.most)
        if limits.running and self._running.get(limits.account, 0) >= limits.running:
            raise too_many_running(limits.running)
        if wait_s := self._starts.wait_s(limits.account, limits.starts):
            raise too_many_starts(limits.starts, wait_s)

    def add_start(self, limits: StartLimits) -> int | None:
        """Count a start of an account, and return what `take_back` takes."""
        return self._starts.add(limits.account) if limits.starts else None

    def take_back(self, limits: StartLimits, start: int | None) -> None:
        """Count a start less that `add_start` has counted, because no reply has begun."""
        if start is not None:
            self._starts.take_back(limits.account, start)

    def count(self, account: str, change: int) -> None:
        """Add `change` (1 or -1) to the replies of an account, whatever the limits are.

        A reply that is taken over from another node was admitted there, so it is not refused here.
        """
        self._counted += change
        running = self._running.pop(account, 0) + change
        if running:
            self._running[account] = running
