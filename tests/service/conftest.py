"""The services of these tests; each runs on every kind of store when all is to be tried."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis import Redis

from chatsvc.settings import Settings

from ..conftest import THOROUGH
from ..redis_server import RedisServer
from .running import Inside, inside

STORES = ["memory", "redis"] if THOROUGH else ["memory"]


@pytest.fixture(autouse=True, params=STORES)
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where all services of a test keep their replies, those in this process and those that are commands."""
    kind = str(request.param)
    if kind == "memory":
        return kind
    server: RedisServer = request.getfixturevalue("redis_server")
    address = server.database(2)
    with Redis.from_url(address) as redis:
        redis.flushdb()
    monkeypatch.setenv("CHATSVC_STORE", address)
    return kind


@pytest.fixture
async def chat() -> AsyncIterator[Inside]:
    """An echo as fast as it can be."""
    async with inside(Settings(pace=0)) as service:
        yield service
