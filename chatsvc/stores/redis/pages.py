"""A stream of Redis, read from its beginning in pages: never so much at once that all else waits."""

from __future__ import annotations

from collections.abc import AsyncIterator

from chatsvc.stores.redis.connect import Client
from chatsvc.stores.redis.entries import Fields

PAGE_ENTRIES = 1024
"""The entries of a stream that are read at once: the client takes a second for some ten thousand, in
which nothing else would go on, and a reply of many small parts may have more."""


async def read_pages(
    client: Client, stream: str
) -> AsyncIterator[list[tuple[str, Fields]]]:
    """Yield all entries of a stream with their ids, in their order, `PAGE_ENTRIES` of them at most at once.

    Raises what `client` raises when Redis does not answer.
    """
    begin, count = "-", PAGE_ENTRIES
    while count == PAGE_ENTRIES:
        page = await client.xrange(stream, begin, count=PAGE_ENTRIES)
        yield page
        if count := len(page):
            begin = f"({page[-1][0]}"
