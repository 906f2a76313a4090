"""Many nodes, real processes on a real Redis: a reply outlives any of them."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import sys
import termios
import time
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.conftest import require
from tests.redis_server import RedisServer

from .conftest import Cluster
from .nodes import Node, read

pytestmark = pytest.mark.thorough

SLOW = ("--backend", "tests.cluster.nodes:counting")


async def start(session: aiohttp.ClientSession, node: Node, message: str) -> str:
    """Begin a reply, without reading it."""
    url = node.url / "api/chat"
    async with session.post(
        url % {"wait": "0"},
        json={"message": message},
        headers={"Accept": "application/json"},
    ) as answer:
        assert answer.status == 200
        return str((await answer.json())["reply"])


async def poll(
    session: aiohttp.ClientSession, node: Node, reply: str, after: int = 0
) -> dict[str, Any]:
    """A snapshot, when there is something new."""
    url = node.url / "api/chat" / reply
    async with session.get(
        url % {"after": str(after), "wait": "10"},
        headers={"Accept": "application/json"},
    ) as answer:
        found: dict[str, Any] = await answer.json(content_type=None)
        return found


async def until_end(
    session: aiohttp.ClientSession, node: Node, reply: str
) -> dict[str, Any]:
    """The last snapshot, with all of the text."""
    text, after = "", 0
    async with asyncio.timeout(30):
        while True:
            found = await poll(session, node, reply, after)
            text += found["text"]
            after = found["next"]
            if found["state"] != "running":
                return {**found, "text": text}


async def test_started_here_read_there_stopped_elsewhere(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    a, b, c = await cluster(3, "--pace", "0.05")
    message = "héllo 👩‍👩‍👧 " * 20
    reply = await start(session, a, message)
    seen = (await poll(session, b, reply))["next"]
    async with session.post(c.url / "api/chat" / reply / "stop") as answer:
        assert answer.status == 200
        stopped = await answer.json()
    assert stopped["state"] == "stopped"
    for node in a, b, c:
        got = await until_end(session, node, reply)
        assert (got["state"], got["next"]) == ("stopped", stopped["next"])
        assert got["text"] == message[: stopped["next"]]
        assert seen <= got["next"] < len(message)


async def test_an_owner_that_is_killed_is_noticed(
    cluster: Cluster, session: aiohttp.ClientSession, redis_server: RedisServer
) -> None:
    """A backend that can carry on does; another's reply ends."""
    elsewhere = redis_server.database(1)
    (a, b), (c, d) = await asyncio.gather(
        cluster(2, "--pace", "0.02"), cluster(2, *SLOW, store=elsewhere)
    )
    message = "abcdefghij" * 10
    carried = await start(session, a, message)
    unread = await start(session, c, "")
    await poll(session, d, unread)
    await asyncio.gather(a.kill(), c.kill())
    got = await until_end(session, b, carried)
    assert (got["text"], got["state"]) == (message, "done")
    got = await until_end(session, d, unread)
    assert (got["state"], got["finish_reason"]) == ("failed", "interrupted")


async def test_an_owner_that_was_paused_writes_nothing_when_it_wakes(
    cluster: Cluster, session: aiohttp.ClientSession, redis_server: RedisServer
) -> None:
    a, b = await cluster(2, *SLOW)
    reply = await start(session, a, "")
    assert (await poll(session, b, reply))["state"] == "running"
    a.send(signal.SIGSTOP)
    got = await until_end(session, b, reply)
    assert (got["state"], got["finish_reason"]) == ("failed", "interrupted")
    async with Redis.from_url(redis_server.url) as client:
        entries = await client.xlen(f"chatsvc:{{0}}:{reply}:log")
        a.send(signal.SIGCONT)
        await a.ready()
        assert (await until_end(session, a, reply))["text"] == got["text"]
        assert await client.xlen(f"chatsvc:{{0}}:{reply}:log") == entries


async def test_grace_counts_the_readers_of_all_nodes(
    cluster: Cluster, session: aiohttp.ClientSession, redis_server: RedisServer
) -> None:
    a, b = await cluster(2, "--pace", "0.1", "--grace", "0.5")
    reply = await start(session, a, "x" * 1000)
    async with session.get(b.url / "api/chat" / reply) as stream:
        began = time.monotonic()
        async for line in stream.content:
            assert not line.startswith(b"event: stopped")
            if time.monotonic() - began > 2:
                break
    async with Redis.from_url(redis_server.url) as client, asyncio.timeout(20):
        while not await client.hexists(f"chatsvc:{{0}}:{reply}", "x"):
            await asyncio.sleep(0.05)
    left = await until_end(session, a, reply)
    assert left["finish_reason"] == "abandoned"
    assert left["next"] > 15


async def test_a_node_that_drains_ends_what_cannot_be_carried_on(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    a, b = await cluster(2, *SLOW, "--drain", "0.3")
    reply = await start(session, a, "")
    seen = (await poll(session, b, reply))["text"]
    a.send(signal.SIGTERM)
    got = await until_end(session, b, reply)
    assert (got["state"], got["finish_reason"]) == ("failed", "interrupted")
    assert got["text"].startswith(seen)
    assert await a.ended() == 0


async def test_a_node_that_drains_sends_readers_on(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    a, b = await cluster(2, "--pace", "0.05", "--drain", "0.3")
    message = "0123456789" * 10
    reply = await start(session, a, message)
    async with (
        session.get(a.url / "api/chat" / reply) as stream,
        session.ws_connect(a.url / "ws/chat", protocols=("chatsvc.v1",)) as ws,
    ):
        await ws.send_json({"read": reply})
        await ws.receive()
        a.send(signal.SIGTERM)
        body = await stream.read()
        while (frame := await ws.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        assert ws.close_code == 1012, frame
    assert b"\nretry: " in body and b"[DONE]" not in body
    assert await a.ended() == 0
    position = max(
        int(line.rpartition(b":")[2])
        for line in body.splitlines()
        if line.startswith(b"id: ")
    )
    assert 0 < position < len(message)
    got = await until_end(session, b, reply)
    assert (got["text"], got["state"]) == (message, "done")


async def test_while_redis_is_away_streams_pause_and_go_on(
    cluster: Cluster, redis_server: RedisServer
) -> None:
    places = [node.url for node in await cluster(2, "--pace", "0.03")]
    message = "0123456789" * 10
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(
        read(places, message, Random(1), key=os.urandom(8).hex(), started=started)
    )
    await started
    redis_server.send(signal.SIGSTOP)
    await asyncio.sleep(1.5)
    redis_server.send(signal.SIGCONT)
    await asyncio.sleep(0.3)
    redis_server.stop()
    redis_server.start()
    got = await reading
    assert (got.text, got.state) == (message, "done")


async def test_while_redis_is_away_for_long_replies_end_everywhere(
    cluster: Cluster, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    require("redis-server")
    server = RedisServer(tmp_path)
    server.start()
    try:
        echo, other = await asyncio.gather(
            cluster(2, "--pace", "0.1", store=server.url),
            cluster(2, *SLOW, store=server.database(1)),
        )
        nodes = [*echo, *other]
        replies = [await start(session, n, "x" * 1000) for n in (echo[0], other[0])]
        places = [
            node.url / "api/chat" / reply
            for pair, reply in zip((echo, other), replies, strict=True)
            for node in pair
        ]
        streams = [await session.get(place) for place in places]
        for stream in streams:
            await stream.content.readuntil(b"data: ")
        server.send(signal.SIGSTOP)
        await asyncio.gather(*(node.ready(503) for node in nodes))
        for stream in streams:
            got = await stream.text()
            assert "event: failed" in got and "store-unavailable" in got
            assert got.endswith("data: [DONE]\n\n")
        server.send(signal.SIGCONT)
        await asyncio.gather(*(node.ready(200) for node in nodes))
        for node, place in zip(nodes, places, strict=True):
            assert (await until_end(session, node, place.name))["state"] == "failed"
        assert await start(session, nodes[1], "again")
    finally:
        server.stop()


async def test_what_redis_loses_ends_explicitly(
    cluster: Cluster, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    require("redis-server")
    server = RedisServer(tmp_path)
    server.start()
    try:
        (a,) = await cluster(1, "--pace", "0.1", store=server.url)
        reply = await start(session, a, "x" * 1000)
        async with session.get(a.url / "api/chat" / reply) as stream:
            await stream.content.readline()
            server.stop()
            await a.ready(503)
            server.start()
            body = await stream.read()
        assert b"event: failed" in body and body.endswith(b"data: [DONE]\n\n")
        await a.ready(200)
        assert await start(session, a, "again")
    finally:
        server.stop()


def pipes(pid: int) -> list[str]:
    """Those that a process holds open."""
    places = [place for place in Path(f"/proc/{pid}/fd").iterdir()]
    return [str(p) for p in places if os.readlink(p).startswith("pipe:")]


def unread(place: str) -> int:
    """The bytes that stand in a pipe."""
    pipe = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    try:
        [count] = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
        return int(count)
    finally:
        os.close(pipe)


async def test_workers_share_a_port_and_are_restarted(
    cluster: Cluster, session: aiohttp.ClientSession, redis_server: RedisServer
) -> None:
    """Among themselves, and with no other service."""
    (parent,) = await cluster(1, "--workers", "2", "--drain", "0.1")
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")

    def workers() -> list[int]:
        return [int(pid) for pid in children.read_text().split()]

    async with asyncio.timeout(20):
        while len(before := workers()) < 2:
            await asyncio.sleep(0.02)
        os.kill(before[0], signal.SIGKILL)
        while before[0] in workers() or len(workers()) < 2:
            await asyncio.sleep(0.02)
    await parent.ready()
    message = "0123456789"
    reply = await start(session, parent, message)
    assert (await until_end(session, parent, reply))["text"] == message
    words = ["-m", "chatsvc", "--port", str(parent.port), "--workers", "2"]
    another = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        "--store",
        redis_server.url,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(20):
            _, why = await another.communicate()
    finally:
        if another.returncode is None:
            another.kill()
    assert (another.returncode, b"in use" in why) == (1, True)
    async with asyncio.timeout(20):
        # What they say when they are ready is read, however often they start: once a pipe is full, they would wait.
        while sum(map(unread, pipes(parent.pid))):
            await asyncio.sleep(0.02)
    left = workers()
    parent.send(signal.SIGTERM)
    assert await parent.ended() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in left)
