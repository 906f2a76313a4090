"""A stream read in pages, on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import chain

import pytest
from redis.asyncio import Redis

from chatsvc.stores.redis import pages
from tests.redis_server import RedisServer


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client as the store's: it decodes what it gets."""
    async with Redis.from_url(redis_server.url, decode_responses=True) as client:
        await client.delete("pages")
        yield client


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
async def test_each_entry_comes_once(
    client: Redis, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(pages, "PAGE_ENTRIES", 3)
    added = [
        (await client.xadd("pages", {"n": n}, id=f"7-{n + 1}"), {"n": f"{n}"})
        for n in range(count)
    ]
    found = [page async for page in pages.read_pages(client, "pages")]
    assert list(chain.from_iterable(found)) == added
    assert all(len(page) <= 3 for page in found)
