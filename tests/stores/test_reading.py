"""What readers of other nodes' replies ask of Redis."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from chatsvc.backends.echo import EchoBackend
from chatsvc.stores.redis import RedisStore, presence
from tests.redis_server import RedisServer

from .services import PROMPT, Service, ended


async def test_a_crowd_that_comes_at_once_asks_once(service: Service) -> None:
    a, b = await service(EchoBackend()), await service(EchoBackend())
    reply = await a.start(PROMPT)
    assert isinstance(b.store, RedisStore)

    async def asked(crowd: int) -> int:
        assert isinstance(b.store, RedisStore)
        before = b.store._commands.operations
        found = await asyncio.gather(*(b.open(reply.id) for _ in range(crowd)))
        assert len(set(found)) == 1
        return b.store._commands.operations - before

    one = await asked(1)
    assert await asked(100) <= one + 3  # the node says now and then that it lives


async def test_who_has_read_to_the_end_is_no_reader_any_more(
    service: Service, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await service(EchoBackend()), await service(EchoBackend())
    reply = await a.start(PROMPT)
    await ended(await b.open(reply.id))
    monkeypatch.setattr(presence, "RENEW_US", 0)  # so all is announced again at once
    assert isinstance(b.store, RedisStore)
    assert not b.store._presence._read_here
    await b.store._presence.renew()
    async with Redis.from_url(redis_server.url) as redis:
        assert not await redis.exists(f"chatsvc:{{0}}:{reply.id}:readers")
