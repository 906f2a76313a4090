"""The ids of replies that are no longer kept, and their keys."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict, deque
from hashlib import blake2b
from itertools import chain, islice

RECENT = 1024
"""Ids that are packed at a time. Until then each takes 175 bytes, so it is a few of them that wait."""

MERGED = 16
"""Packs of that size that become one: each pack is a place to look in, for every key that is new."""


class Expired:
    """Remembers ids, or keys, in eight bytes each: a day's are many, and hardly one ever comes again.

    It keeps a hash of each, so one in 10**13 that it never saw is taken for one of a million that it remembers.
    They are added in the order in which they are forgotten; those that are packed together are forgotten together.
    """

    def __init__(self) -> None:
        self._recent: OrderedDict[int, float] = OrderedDict()
        self._packed: deque[tuple[float, array[int]]] = deque()

    def __len__(self) -> int:
        return len(self._recent) + sum(len(hashes) for _, hashes in self._packed)

    def __contains__(self, reply_id: str) -> bool:
        number = _hash(reply_id)
        return number in self._recent or any(
            _is_in(number, hashes) for _, hashes in self._packed
        )

    def add(self, reply_id: str, until: float) -> None:
        """Remember an id until then (seconds of any clock) or a little longer."""
        self._recent[_hash(reply_id)] = until
        if len(self._recent) == RECENT:
            self._packed.append((until, array("Q", sorted(self._recent))))
            self._recent = OrderedDict()
            self._merge()

    def _merge(self) -> None:
        """Make one pack of the last `MERGED` if none of them has been merged before."""
        packed = self._packed
        last = list(islice(reversed(packed), MERGED))
        if len(last) == MERGED and all(len(hashes) == RECENT for _, hashes in last):
            for _ in last:
                packed.pop()
            hashes = chain.from_iterable(hashes for _, hashes in last)
            packed.append((last[0][0], array("Q", sorted(hashes))))

    def forget(self, now: float, most: int) -> None:
        """Forget those whose time has come, and the oldest if they are more than `most`."""
        over = len(self) - most
        while self._packed and (self._packed[0][0] <= now or over > 0):
            over -= len(self._packed.popleft()[1])
        while self._recent and (over > 0 or next(iter(self._recent.values())) <= now):
            over -= 1
            self._recent.popitem(last=False)


def _hash(reply_id: str) -> int:
    data = reply_id.encode(errors="surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest())


def _is_in(number: int, hashes: array[int]) -> bool:
    index = bisect_left(hashes, number)
    return index < len(hashes) and hashes[index] == number
