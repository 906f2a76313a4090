"""The order in which clients have their turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """A queue of at most `most` items in which each client has its own line.

    Clients take turns, whatever the lengths of their lines. When the queue is full, the newest item
    of the longest line has to leave it; of several such lines that is the one of whoever comes last.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lines: dict[str, deque[Item]] = {}  # the client whose turn it is first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, client: str, item: Item) -> Item | None:
        """Append an item to a client's line.

        Returns the item that had to leave the queue for it, which may be itself, or None.
        """
        self._lines.setdefault(client, deque()).append(item)
        self._count += 1
        if self._count <= self._most:
            return None
        longest = max(
            self._lines, key=lambda name: (len(self._lines[name]), name == client)
        )
        left = self._lines[longest][-1]
        self.discard(longest, left)
        return left

    def take(self, busy: Collection[str] = ()) -> tuple[str, Item] | None:
        """Remove and return the next item with its client, or None if there is none.

        Clients in `busy` are passed over. Those whose turn it was stand behind all others then.
        """
        client = next((name for name in self._lines if name not in busy), None)
        if client is None:
            return None
        line = self._lines.pop(client)
        item = line.popleft()
        self._count -= 1
        if line:
            self._lines[client] = line
        return client, item

    def discard(self, client: str, item: Item) -> None:
        """Remove an item from a client's line if it is there."""
        line = self._lines.get(client, deque())
        if item in line:
            line.remove(item)
            self._count -= 1
            if not line:
                del self._lines[client]
