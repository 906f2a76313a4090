"""Whether this node takes one more reply: it may be about to leave, or have enough of them, or of one client's."""

from __future__ import annotations

from collections import Counter

from chatsvc.problems import Draining, Overloaded, TooManyRequests


class Admission:
    """Counts the replies that start or run here: `most` of them at once, `most_per_client` for one client (0: no limit)."""

    def __init__(self, most: int, most_per_client: int) -> None:
        self.draining = False
        self.most = most
        self._most_per_client = most_per_client
        self._counts: Counter[str] = Counter()
        self._counted = 0

    def admit(self, client: str) -> None:
        """Count one more. Raises `Draining`, `Overloaded` or `TooManyRequests` if there is no room for it."""
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

    def count(self, client: str, more: int) -> None:
        """Count one `more` (1), or one less (-1), whether there is room or not."""
        self._counted += more
        self._counts[client] += more
        if not self._counts[client]:
            del self._counts[client]
