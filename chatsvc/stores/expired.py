"""A compact set of expired ids and used keys.

Part of the store `memory`: it must still know, for a day, which ids and idempotency keys it has had
(PROTOCOL.md sections 2 and 7), long after it has let the replies go.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict, deque
from hashlib import blake2b
from itertools import chain, islice

PACK_SIZE = 1024
"""Hashes in one new packed array. Until they are packed each takes 175 bytes, so only a few wait."""

PACKS_MERGED = 16
"""Packed arrays of that size that become one: every lookup searches all that there are."""


class Expired:
    """A set of strings that forgets each some time after it was added.

    It keeps a 64-bit hash of each, in sorted arrays: about 10 bytes for each string, where a plain
    `set` of ids takes 105 and an `OrderedDict` with the times takes 175. MemoryStore has up to
    500,000 ids and a million keys here, so the arrays save some 140 MB; a lookup takes
    microseconds.

    With a million strings in the set, one in 10**13 others is mistaken for one of them.

    Invariants:
    - Strings are added in the order of the times at which they are to be forgotten.
    - Those that were packed together are forgotten together, when the time of the last has come.
    """

    def __init__(self) -> None:
        self._recent: OrderedDict[int, float] = OrderedDict()
        self._packed: deque[tuple[float, array[int]]] = deque()

    def __len__(self) -> int:
        return len(self._recent) + sum(len(hashes) for _, hashes in self._packed)

    def __contains__(self, text: str) -> bool:
        number = _hash(text)
        return number in self._recent or any(
            _is_in(number, hashes) for _, hashes in self._packed
        )

    def add(self, text: str, until: float) -> None:
        """Add a string, to be forgotten at `until` (seconds of any one clock) or somewhat later."""
        self._recent[_hash(text)] = until
        if len(self._recent) == PACK_SIZE:
            self._packed.append((until, array("Q", sorted(self._recent))))
            self._recent = OrderedDict()
            self._merge()

    def _merge(self) -> None:
        """Make one pack of the last `PACKS_MERGED` if none of them has been merged before."""
        packed = self._packed
        last = list(islice(reversed(packed), PACKS_MERGED))
        if len(last) == PACKS_MERGED and all(
            len(hashes) == PACK_SIZE for _, hashes in last
        ):
            for _ in last:
                packed.pop()
            hashes = chain.from_iterable(hashes for _, hashes in last)
            packed.append((last[0][0], array("Q", sorted(hashes))))

    def forget(self, now: float, most: int) -> None:
        """Remove the strings whose time has come by `now`, and the oldest beyond `most` strings."""
        excess = len(self) - most
        while self._packed and (self._packed[0][0] <= now or excess > 0):
            excess -= len(self._packed.popleft()[1])
        while self._recent and (excess > 0 or next(iter(self._recent.values())) <= now):
            excess -= 1
            self._recent.popitem(last=False)


def _hash(text: str) -> int:
    data = text.encode(errors="surrogatepass")  # a lookup may be for any text
    return int.from_bytes(blake2b(data, digest_size=8).digest())


def _is_in(number: int, hashes: array[int]) -> bool:
    index = bisect_left(hashes, number)
    return index < len(hashes) and hashes[index] == number
