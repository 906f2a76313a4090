"""What a reply costs Redis: operations and bytes a character, whoever reads it. `pytest -s` prints them."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.redis_server import RedisServer

from .conftest import Cluster
from .nodes import Node
from .test_nodes import start

pytestmark = pytest.mark.thorough

REPLIES = 10
CHARACTERS = 200


class Cost(NamedTuple):
    """Of one run: commands that Redis carried out, those of scripts among them, and bytes both ways."""

    operations: float
    bytes: float


async def totals(server: RedisServer) -> Cost:
    """All since the server began."""
    async with Redis.from_url(server.url) as redis:
        stats = await redis.info("stats")
    return Cost(
        stats["total_commands_processed"],
        stats["total_net_input_bytes"] + stats["total_net_output_bytes"],
    )


async def read(session: aiohttp.ClientSession, node: Node, reply: str) -> None:
    """Read a reply as events."""
    async with session.get(node.url / "api/chat" / reply) as answer:
        assert (await answer.read()).endswith(b"data: [DONE]\n\n")


async def cost(server: RedisServer, nodes: list[Node], readers: int) -> Cost:
    """A character's part of some replies that each have so many readers, on two nodes."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        before = await totals(server)
        replies = await asyncio.gather(
            *(start(session, nodes[n % 2], "x" * CHARACTERS) for n in range(REPLIES))
        )
        await asyncio.gather(
            *(
                read(session, nodes[(n + reader) % 2], reply)
                for n, reply in enumerate(replies)
                for reader in range(readers)
            )
        )
        after = await totals(server)
    parts = (b - a for a, b in zip(before, after, strict=True))
    return Cost(*(part / REPLIES / CHARACTERS for part in parts))


@pytest.mark.parametrize("backend", ["echo", "tests.cluster.nodes:pieces"])
async def test_it_does_not_grow_with_readers(
    cluster: Cluster, redis_server: RedisServer, backend: str
) -> None:
    nodes = await cluster(2, "--pace", "0.01", "--backend", backend)
    await cost(redis_server, nodes, 2)  # loads what is loaded once
    few = await cost(redis_server, nodes, 2)
    many = await cost(redis_server, nodes, 100)
    print(f"\n{backend}: 2 readers {few}, 100 readers {many}")
    assert many.operations < 1.3 * few.operations
    assert many.bytes < 1.3 * few.bytes
