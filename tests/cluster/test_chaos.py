"""Three nodes, readers that hop between them and between transports, and everything going wrong.

A seed says what is done to whom and when, so one that fails can be replayed: `CHATSVC_CHAOS_SEEDS=7` runs seed 7,
`CHATSVC_CHAOS_SEEDS=0-99` a hundred, `CHATSVC_CHAOS_READERS` how many readers, `CHATSVC_CHAOS_SECONDS` for how long.
"""

from __future__ import annotations

import asyncio
import os
import signal
from random import Random
from typing import Any

import pytest
from yarl import URL

from tests.redis_server import RedisServer

from .conftest import Cluster
from .nodes import Node, Told, read

pytestmark = pytest.mark.thorough

CHARACTERS = ["a", "ß", "好", "👩‍👩‍👧", "🇩🇪", "e\u0301", "\n", " ", "0", "é"]


def seeds() -> list[int]:
    """The seeds to run."""
    first, _, last = os.environ.get("CHATSVC_CHAOS_SEEDS", "1").partition("-")
    return list(range(int(first), int(last or first) + 1))


async def harm(
    nodes: list[Node], server: RedisServer, chance: Random, seconds: float
) -> None:
    """Do one bad thing after another."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        node = chance.choice(nodes)
        match chance.choice(["kill", "pause", "roll", "redis pause", "redis crash"]):
            case "kill":
                await node.kill()
                await asyncio.sleep(chance.uniform(0, 1))
                await node.start()
            case "pause":
                node.send(signal.SIGSTOP)
                await asyncio.sleep(chance.uniform(0.5, 6))
                node.send(signal.SIGCONT)
            case "roll":
                node.send(signal.SIGTERM)
                await node.ended()
                await node.start()
            case "redis pause":
                server.send(signal.SIGSTOP)
                await asyncio.sleep(chance.uniform(0.1, 2))
                server.send(signal.SIGCONT)
            case "redis crash":
                server.stop()
                await asyncio.sleep(chance.uniform(0, 1))
                await asyncio.to_thread(server.start)
        await asyncio.sleep(chance.uniform(0, 0.5))


async def pair(
    places: list[URL], seed: int, number: int, seconds: float
) -> tuple[str, list[Told]]:
    """A reply that two read: one who asked, and one who comes later."""
    chance = Random(f"{seed} {number}")
    message = "".join(chance.choices(CHARACTERS, k=chance.randrange(20, 150)))
    await asyncio.sleep(chance.uniform(0, seconds / 2))
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    key = f"{os.getpid()}-{seed}-{number}"
    first = asyncio.create_task(
        read(places, message, chance, key=key, cuts=2.0, started=started)
    )
    either: set[asyncio.Future[Any]] = {first, started}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    second = Random(f"{seed} {number} second")
    others = []
    if started.done():
        others.append(
            await read(places, message, second, reply=started.result(), cuts=3.0)
        )
    return message, [await first, *others]


@pytest.mark.parametrize("seed", seeds())
async def test_every_reader_has_the_exact_text_once(
    cluster: Cluster, redis_server: RedisServer, seed: int
) -> None:
    readers = int(os.environ.get("CHATSVC_CHAOS_READERS", "60"))
    seconds = float(os.environ.get("CHATSVC_CHAOS_SECONDS", "8"))
    nodes = await cluster(3, "--pace", "0.05", "--drain", "0.2", "--grace", "60")
    chance = Random(seed)
    harming = asyncio.create_task(harm(nodes, redis_server, chance, seconds))
    places = [node.url for node in nodes]
    pairs = [pair(places, seed, number, seconds) for number in range(readers // 2)]
    async with asyncio.timeout(seconds + 90):
        results = await asyncio.gather(*pairs)
    await harming
    wrong, ended = [], 0
    for message, told in results:
        for one in told:
            if one.state == "done":
                if one.text != message:
                    wrong.append((message, one))
            elif one.state == "failed" and message.startswith(one.text):
                ended += 1
                print("ended explicitly:", one.why)
            else:
                wrong.append((message, one))
    assert not wrong, wrong[:3]
    # Nothing that was done here is beyond what the service promises to outlive.
    assert ended == 0
