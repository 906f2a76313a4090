"""A stream read in pages, on a real Redis, and taken in turns of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import chain
from typing import Any

import pytest
from redis.asyncio import Redis

from chatsvc.stores.redis import pages
from chatsvc.stores.redis.entries import ReplyEntry, encode
from chatsvc.stores.redis.pages import PAGE_ENTRIES, PAGE_SIZE, Page, Pages, in_turns
from chatsvc.units import Mark
from tests.redis_server import RedisServer


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Any]:
    """A client as the store's: it decodes what it gets."""
    async with Redis.from_url(redis_server.url, decode_responses=True) as client:
        await client.delete("pages")
        yield client


async def all_of(client: Any) -> list[Page]:
    """Return the pages of the stream `pages`, to the empty one."""
    reading = Pages(lambda begin, count: client.xrange("pages", begin, count=count))
    found = []
    while page := await reading.next():
        found.append(page)
    assert await reading.next() == []
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
async def test_each_entry_comes_once(
    client: Any, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(pages, "PAGE_ENTRIES", 3)
    added = [
        (await client.xadd("pages", {"n": n}, id=f"7-{n + 1}"), {"n": f"{n}"})
        for n in range(count)
    ]
    found = await all_of(client)
    assert list(chain.from_iterable(found)) == added
    assert all(len(page) <= 3 for page in found)


async def test_of_large_entries_few_are_read_at_once(client: Any) -> None:
    count = 2 * PAGE_ENTRIES + 40
    for number in range(count):
        size = PAGE_SIZE // 10 if number >= PAGE_ENTRIES else 1
        await client.xadd("pages", {"t": "x" * size}, id=f"7-{number + 1}")
    found = await all_of(client)
    assert [len(page) for page in found[:3]] == [PAGE_ENTRIES, PAGE_ENTRIES, 10]
    assert sum(map(len, found)) == count


async def test_a_long_page_gives_others_a_turn() -> None:
    """The turns are as many as the page is long, also where units that are long count for one."""
    entry = encode(ReplyEntry(units=(Mark(1, "data", {"value": "x" * 9000}),)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    taken: list[str] = []

    def take(entry_id: str, entry: ReplyEntry) -> bool:
        taken.append(entry_id)
        return entry_id != "7-30"

    assert not await in_turns([(f"7-{n}", entry) for n in range(50)], take)
    counting.cancel()
    assert taken == [f"7-{n}" for n in range(31)]
    assert turns >= 29
