"""One client's appetite beside innocents, on one node and on three: they get all they ask for.

The greedy client and each innocent have an address of the loopback of their own.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.redis_server import RedisServer

from .conftest import Cluster
from .nodes import Node

GREEDY = "127.0.4.1"
LIMITS = {"running": 20, "starts": 60, "readers": 30, "connections": 40}
FLAGS = (
    "--max-per-client {running} --max-starts {starts} --max-readers {readers}"
    " --max-connections {connections} --pace 0.02 --grace 1"
).format(**LIMITS).split()  # fmt: skip
TEXT = "你好, an innocent question."
INNOCENTS = 8
ROUNDS = 3


def client(address: str) -> aiohttp.ClientSession:
    """A client at an address, with as many connections as it likes."""
    connector = aiohttp.TCPConnector(limit=0, local_addr=(address, 0))
    return aiohttp.ClientSession(connector=connector)


class Greedy:
    """A client that starts, reads and connects as often as it can, at all nodes.

    It goes on until it is cancelled.
    `seen` counts the statuses of its answers, and which limits refused it; `reading` is set when it
    has its first reply.
    """

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        self.seen: Counter[str] = Counter()
        self.reading = asyncio.Event()

    async def run(self) -> None:
        """Do all of that at once."""
        async with client(GREEDY) as session, asyncio.TaskGroup() as group:
            for number in range(90):
                node = self._nodes[number % len(self._nodes)]
                group.create_task(self._start(session, node))
            for node in self._nodes:
                for _ in range(LIMITS["connections"] + 20):
                    group.create_task(self._connect(node))

    async def _start(self, session: aiohttp.ClientSession, node: Node) -> None:
        while True:
            try:
                async with session.post(
                    node.url / "api/chat", json={"message": "x" * 2000}
                ) as answer:
                    self.seen[str(answer.status)] += 1
                    if answer.status == 429:
                        refusal = json.loads(await answer.text())
                        self.seen[refusal["limit"]] += 1
                        assert int(answer.headers["Retry-After"]) > 0
                        assert "RateLimit" in answer.headers
                    else:
                        await answer.content.read(10)
                        self.reading.set()
                        await asyncio.sleep(2)
            except (aiohttp.ClientError, OSError, ValueError):
                self.seen["cut"] += 1
            await asyncio.sleep(0.02)

    async def _connect(self, node: Node) -> None:
        await self.reading.wait()  # or it would keep itself out
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    node.url.host, node.port, local_addr=(GREEDY, 0)
                )
                try:
                    await reader.read()
                finally:
                    writer.transport.abort()
            except OSError:
                self.seen["cut"] += 1
            await asyncio.sleep(0.1)


async def innocent(number: int, nodes: list[Node]) -> float:
    """Ask again and again, each time another node; return the slowest answer's seconds."""
    loop, slowest = asyncio.get_running_loop(), 0.0
    async with client(f"127.0.5.{number + 1}") as session:
        for turn in range(ROUNDS):
            node = nodes[(number + turn) % len(nodes)]
            began = loop.time()
            async with session.post(
                node.url / "api/chat",
                json={"message": TEXT},
                headers={"Accept": "application/json"},
            ) as answer:
                assert answer.status == 200, await answer.text()
                assert (await answer.json())["text"] == TEXT
            slowest = max(slowest, loop.time() - began)
            async with session.get(node.url / "healthz") as answer:
                assert answer.status == 200
    return slowest


@pytest.mark.thorough
@pytest.mark.parametrize("count", [1, 3])
async def test_one_clients_appetite_leaves_innocents_all_they_ask_for(
    cluster: Cluster, redis_server: RedisServer, count: int
) -> None:
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()
    nodes = await cluster(count, *FLAGS, store="memory" if count == 1 else "")
    greedy = Greedy(nodes)
    appetite = asyncio.create_task(greedy.run())
    running = 0  # the most that were seen at once
    try:
        async with asyncio.timeout(60):
            # On a slow machine a minute's starts may be used up, and their replies over, meanwhile.
            while (not running or greedy.seen["429"] < 50) and not appetite.done():
                running = max(running, await _running(nodes))
            slowest = await asyncio.gather(
                *(innocent(number, nodes) for number in range(INNOCENTS))
            )
    finally:
        appetite.cancel()
        await asyncio.wait([appetite])
    print(f"\n{count} nodes: slowest {max(slowest):.2f} s, {dict(greedy.seen)}")
    assert 0 < running <= LIMITS["running"]
    assert greedy.seen["200"] <= LIMITS["starts"]
    assert greedy.seen["429"] >= 50


async def _running(nodes: list[Node]) -> int:
    """How many replies the nodes produce, as they tell an operator at the greedy one's address."""
    total = 0.0
    async with client(GREEDY) as session:
        for node in nodes:
            async with session.get(node.url / "metrics") as answer:
                for line in (await answer.text()).splitlines():
                    name, _, value = line.partition(" ")
                    if name == "chatsvc_replies_running":
                        total += float(value)
    return int(total)
