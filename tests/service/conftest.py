"""The services of these tests; each runs on every kind of store when all is to be tried.

A test whose subject has nothing to do with where replies are kept is marked `any_store`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache

import pytest
from redis import Redis

from chatsvc.settings import Settings
from chatsvc.web import pages

from ..conftest import THOROUGH
from ..redis_server import RedisServer
from .running import Inside, inside

STORES = ["memory", "redis"] if THOROUGH else ["memory"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on every kind of store; one that is marked `any_store` in memory alone."""
    alone = metafunc.definition.get_closest_marker("any_store") is not None
    metafunc.parametrize("store", STORES[:1] if alone else STORES, indirect=True)


@pytest.fixture(scope="session", autouse=True)
def pages_are_read_once() -> Iterator[None]:
    """Read and compress the page's files once: it takes longer than all else of an application."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "_read_files", cache(pages._read_files))
        patch.setattr(pages, "_read_catalogs", cache(pages._read_catalogs))
        yield


@pytest.fixture(autouse=True)
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
