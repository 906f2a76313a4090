"""The limit of how often an address may try to sign in with a wrong key."""

from __future__ import annotations

import math
from collections import OrderedDict

MOST_WRONG = 10
"""The wrong keys that an address may send at once."""

INTERVAL_S = 6.0
"""The seconds after which one of these counts no more."""

MOST_ADDRESSES = 10_000
"""The addresses that are counted; beyond that the one that was quiet for longest is forgotten."""


class WrongKeys:
    """The counts of the wrong keys that came from each address, in this process.

    An address may send `MOST_WRONG` at once, and from then on one in `INTERVAL_S` seconds (the
    generic cell rate algorithm, which needs one number for each address). The table has at most
    `MOST_ADDRESSES` of them.
    """

    def __init__(self) -> None:
        # The time at which none of an address's wrong keys counts any more, in the order in which
        # the addresses sent their last ones.
        self._until: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of addresses that are counted."""
        return len(self._until)

    def wait(self, address: str, now: float) -> int:
        """Return the whole seconds for which an address may try no key: 0 if it may try one now.

        `now` is a monotonic time in seconds, as in `add`.
        """
        until = self._until.get(address, now)
        return max(0, math.ceil(until - now - (MOST_WRONG - 1) * INTERVAL_S))

    def add(self, address: str, now: float) -> None:
        """Count a wrong key that an address has sent."""
        until = max(self._until.pop(address, now), now) + INTERVAL_S
        self._until[address] = until
        while len(self._until) > MOST_ADDRESSES or self._first() <= now:
            self._until.popitem(last=False)

    def _first(self) -> float:
        """Return the time at which the address that has been quiet for longest counts no more."""
        return next(iter(self._until.values()))
