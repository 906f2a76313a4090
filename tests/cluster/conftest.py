"""A Redis that keeps what it acknowledged, and nodes on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import require
from tests.redis_server import RedisServer

from .nodes import ROOT, Node

Cluster = Callable[..., Awaitable[list[Node]]]


@pytest.fixture(scope="package")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """With an append-only file, written at once."""
    require("redis-server")
    folder = tmp_path_factory.mktemp("redis-aof")
    server = RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def cluster(redis_server: RedisServer) -> AsyncIterator[Cluster]:
    """Starts nodes, all at once."""
    nodes: list[Node] = []

    async def start(
        count: int,
        *flags: str,
        store: str = "",
        program: str = "chatsvc",
        root: Path = ROOT,
    ) -> list[Node]:
        url = store or redis_server.url
        new = [Node(url, *flags, program=program) for _ in range(count)]
        for node in new:
            node.root = root
        nodes.extend(new)
        await asyncio.gather(*(node.start() for node in new))
        return new

    yield start
    await asyncio.gather(*(node.kill() for node in nodes))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession() as session:
        yield session
