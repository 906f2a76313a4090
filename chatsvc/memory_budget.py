"""The budget of memory of one process: what is counted against `--max-memory`, by kind.

Nothing here measures: each kind has sources, functions that return the bytes that they hold now, and
these keep their sums as they go. So asking costs a few additions, whatever is held.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from operator import call

from chatsvc.problems import Overloaded

RETRY_AFTER_S = 1
"""Seconds after which a client may ask again: memory is given back as soon as a reply ends."""


class Kind(enum.Enum):
    """What memory is held by. The values are those of a label in `/metrics`."""

    PROMPTS = "prompts"
    """The conversations of replies that run."""
    TEXTS = "texts"
    """Texts and parts of replies that run, are read, or are kept in this process."""
    UNSENT = "unsent"
    """Bytes that were written to connections and that their clients have not taken."""
    REQUESTS = "requests"
    """Heads, bodies and frames of requests that are not whole."""


class MemoryBudget:
    """The bytes that this process holds, by kind, and the `limit` for all of them together.

    Without a limit (None) there is always room.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._all: list[Callable[[], int]] = []
        self._sources: dict[Kind, list[Callable[[], int]]] = {kind: [] for kind in Kind}

    def add_source(self, kind: Kind, held: Callable[[], int]) -> None:
        """Count what `held` returns (bytes) from now on. It must be cheap: it is called often."""
        self._sources[kind].append(held)
        self._all.append(held)

    def held(self, kind: Kind) -> int:
        """Return the bytes that are held now of one kind."""
        return sum(source() for source in self._sources[kind])

    @property
    def used(self) -> int:
        """The bytes that are held now."""
        return sum(map(call, self._all))

    def excess(self, more: int = 0) -> int:
        """Return by how many bytes `more` bytes would exceed the limit; 0 where there is room."""
        return 0 if self.limit is None else max(0, self.used + more - self.limit)

    def check(self, more: int = 0) -> None:
        """Raise `Overloaded` when there is no room for `more` bytes."""
        if self.excess(more):
            raise self.overloaded()

    def overloaded(self) -> Overloaded:
        """Return the problem that says that there is no room."""
        return Overloaded(
            "The service holds as much as its memory has room for; try again in a moment.",
            retry_after=RETRY_AFTER_S,
        )
