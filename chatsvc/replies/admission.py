"""Admission control: how many replies this node may run, and how many for one client."""

from __future__ import annotations

from collections import Counter

from chatsvc.problems import Draining, Overloaded, TooManyRequests


class Admission:
    """The count of the replies that start or run on this node, and its limits.

    `most` is the limit for the node, `most_per_client` the one for each client (0: no limit). While
    `draining` is true no reply is admitted.
    """

    def __init__(self, most: int, most_per_client: int) -> None:
        self.draining = False
        self.most = most
        self._most_per_client = most_per_client
        self._counts: Counter[str] = Counter()
        self._counted = 0

    def admit(self, client: str) -> None:
        """Count one more reply of a client.

        Raises `Draining` when the node is about to leave, `Overloaded` when it has reached its
        limit, and `TooManyRequests` when the client has reached that of a client. Then nothing is
        counted.
        """
        if self.draining:
            raise Draining(
                "This node takes no new replies; another one does.", retry_after=1
            )
        if self._counted >= self.most:
            raise Overloaded(
                f"{self.most} replies are running, which is the limit; try again in a moment.",
                retry_after=1,
            )
        if self._most_per_client and self._counts[client] >= self._most_per_client:
            raise TooManyRequests(
                f"{self._most_per_client} of your replies are running, which is the limit; "
                "wait for one to end or stop it.",
                retry_after=1,
            )
        self.count(client, 1)

    def count(self, client: str, change: int) -> None:
        """Add `change` (1 or -1) to the replies of a client, whatever the limits are.

        A reply that is taken over from another node was admitted there, so it is not refused here.
        """
        self._counted += change
        self._counts[client] += change
        if not self._counts[client]:
            del self._counts[client]
