"""A stream of Redis, read in pages and taken in turns: never so much at once that all else waits."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Awaitable, Callable

from chatsvc.stores.redis.entries import Fields, ReplyEntry, decode

PAGE_ENTRIES = 256
"""The entries of a stream that are read at once at most. The client takes a second for some ten
thousand, in which nothing else would go on, and a reply of many small parts may have more."""

PAGE_SIZE = 256 * 1024
"""The code points of fields that a page has, about: of large entries, fewer are read at once."""

TURN_SIZE = 8192
"""The code points of fields that are taken in one turn of the event loop: a long reply takes tens of
milliseconds, in which no stream would go on."""

Page = list[tuple[str, Fields]]
"""Entries of a stream that follow each other, each with its id."""


class Pages:
    """The pages of one stream, from its first entry to its last.

    `read(begin, count)` returns at most `count` entries from the id `begin` on, as XRANGE does.
    """

    def __init__(self, read: Callable[[str, int], Awaitable[Page]]) -> None:
        self._read = read
        self._begin = "-"
        self._count = PAGE_ENTRIES  # how many are read next; 0: none

    async def next(self) -> Page:
        """Return the next page; behind the last one it is empty. Raises what `read` raises."""
        if not self._count:
            return []
        page = await self._read(self._begin, self._count)
        if len(page) < self._count:
            self._count = 0
        else:
            self._begin = f"({page[-1][0]}"
            largest = max(_size(fields) for _, fields in page)
            self._count = min(max(PAGE_SIZE // max(largest, 1), 1), PAGE_ENTRIES)
        return page


async def in_turns(page: Page, take: Callable[[str, ReplyEntry], bool]) -> bool:
    """Call `take` with each entry and its id until it returns False; return whether it never did.

    The event loop gets a turn after `TURN_SIZE` code points.
    """
    size = 0
    for entry_id, fields in page:
        if size > TURN_SIZE:
            size = 0
            await sleep(0)
        size += _size(fields)
        if not take(entry_id, decode(fields)):
            return False
    return True


def _size(fields: Fields) -> int:
    """Return the code points of the values of an entry's fields."""
    return sum(map(len, fields.values()))
