"""A Redis that keeps what it acknowledged, and nodes on it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.conftest import require
from tests.loopback import free_port
from tests.nginx_server import NginxServer
from tests.readme import blocks
from tests.redis_server import RedisServer, running_redis

from .nodes import ROOT, Node

Cluster = Callable[..., Awaitable[list[Node]]]


@pytest.fixture(scope="package")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """With an append-only file, written at once."""
    require("redis-server")
    folder = tmp_path_factory.mktemp("redis-aof")
    with running_redis(
        folder, "--appendonly", "yes", "--appendfsync", "always"
    ) as server:
        yield server


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


def readme_flags(redis_server: RedisServer) -> list[str]:
    """The flags of the README's command for many nodes, on this machine."""
    [example] = blocks("sh", "--trusted-proxy 10.0.0.9")
    command = example.strip().splitlines()[-1]
    for shown, here in (
        ("0.0.0.0", "127.0.0.1"),
        ("10.0.0.9", "127.0.0.1"),
        ("redis://redis.internal/0", redis_server.url),
    ):
        assert shown in command
        command = command.replace(shown, here)
    return shlex.split(command)[1:]


@pytest.fixture
async def nodes(cluster: Cluster, redis_server: RedisServer) -> list[Node]:
    """Two nodes, by the README's command."""
    return await cluster(2, *readme_flags(redis_server), "--pace", "0.05")


@pytest.fixture
def balancer(nodes: list[Node], tmp_path: Path) -> Iterator[URL]:
    """The README's nginx before the `nodes`."""
    require("nginx")
    [http] = blocks("nginx", "upstream chatsvc")
    port = free_port()
    for shown, here in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("10.0.0.1:3000", f"127.0.0.1:{nodes[0].port}"),
        ("10.0.0.2:3000", f"127.0.0.1:{nodes[1].port}"),
    ):
        assert shown in http
        http = http.replace(shown, here)
    server = NginxServer(tmp_path, port, http)
    server.start()
    yield URL(server.url)
    server.stop()
