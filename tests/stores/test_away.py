"""A real Redis that is paused, killed and started again: for a moment, for too long, and without what it had."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from chatsvc.backends.echo import EchoBackend
from chatsvc.model import Message, Prompt
from chatsvc.problems import StoreUnavailable
from chatsvc.replies import Replies, Reply
from chatsvc.stores.redis import RedisStore, commands
from chatsvc.ticker import Ticker, monotonic
from tests.conftest import require
from tests.redis_server import RedisServer, running_redis

from .services import WAIT, ended

pytestmark = pytest.mark.thorough

TEXT = "0123456789" * 10
PROMPT = Prompt((Message("user", TEXT),))
SHORT = Prompt((Message("user", "again"),))

Harm = Callable[[RedisServer], Awaitable[None]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """One to be harmed, that keeps what it acknowledged."""
    require("redis-server")
    with running_redis(
        tmp_path, "--appendonly", "yes", "--appendfsync", "always"
    ) as server:
        yield server


class Nodes:
    """Starts nodes on a Redis that may be away for some seconds."""

    def __init__(self, server: RedisServer, stack: AsyncExitStack) -> None:
        self._server = server
        self._stack = stack

    async def start(self, patience: float, lease: float = 1.0) -> Replies:
        """One that echoes 100 characters in 2 s."""
        store = RedisStore(self._server.url, keep=60, lease=lease, patience=patience)
        await store.open()
        self._stack.push_async_callback(store.close)
        replies = Replies(store, EchoBackend(), Ticker(store.clock), pace=0.02)
        self._stack.push_async_callback(replies.close)
        return replies


@pytest.fixture
async def nodes(server: RedisServer) -> AsyncIterator[Nodes]:
    """Nodes on the one that is harmed."""
    async with AsyncExitStack() as stack:
        yield Nodes(server, stack)


def store_of(node: Replies) -> RedisStore:
    """A node's store."""
    assert isinstance(node.store, RedisStore)
    return node.store


async def begun(a: Replies, b: Replies) -> tuple[Reply, Reply]:
    """A reply that is read on its owner and elsewhere, and has begun to come out there."""
    here = await a.start(PROMPT)
    there = await b.open(here.id)
    async with asyncio.timeout(WAIT):
        while not there.released_now():
            await asyncio.sleep(0.01)
    return here, there


async def until_ready(replies: Replies, ready: bool) -> None:
    async with asyncio.timeout(WAIT):
        while replies.store.ready() != ready:
            await asyncio.sleep(0.01)


async def pause(server: RedisServer) -> None:
    server.send(signal.SIGSTOP)


async def go_on(server: RedisServer) -> None:
    server.send(signal.SIGCONT)


async def crash(server: RedisServer) -> None:
    server.stop()


async def restart(server: RedisServer) -> None:
    await asyncio.to_thread(server.start)


@pytest.mark.parametrize(("away", "back"), [(pause, go_on), (crash, restart)])
async def test_for_a_moment_streams_pause_and_go_on(
    server: RedisServer, nodes: Nodes, away: Harm, back: Harm
) -> None:
    a, b = await nodes.start(4.0), await nodes.start(4.0)
    here, there = await begun(a, b)
    reading = asyncio.gather(ended(here), ended(there))
    asking = asyncio.create_task(a.start(SHORT))
    await away(server)
    await until_ready(a, False)
    await until_ready(b, False)
    stood = here.released_now(), there.released_now()
    assert max(stood) < len(TEXT)
    later = asyncio.create_task(b.start(SHORT))
    await asyncio.sleep(0.1)  # five characters' time
    assert (here.released_now(), there.released_now()) == stood
    await back(server)
    for text, end in await reading:
        assert (text, end.state) == (TEXT, "done")
    for reply in await asyncio.gather(asking, later):
        assert (await ended(reply))[0] == "again"
    assert a.store.ready() and b.store.ready()


async def test_for_too_long_replies_end_and_then_all_is_well_again(
    server: RedisServer, nodes: Nodes
) -> None:
    a, b = await nodes.start(1.5), await nodes.start(1.5)
    here, there = await begun(a, b)
    await pause(server)
    for text, end in await asyncio.gather(ended(here), ended(there)):
        assert TEXT.startswith(text)
        assert (end.state, end.finish_reason) == ("failed", "error")
        assert end.problem is not None
        assert end.problem["type"] == "/problems/store-unavailable"
    for node in a, b:
        assert not node.store.ready()
        with pytest.raises(StoreUnavailable):
            await node.start(PROMPT)
    await go_on(server)
    for node in a, b:
        await until_ready(node, True)
        text, end = await ended(await node.start(SHORT))
        assert (text, end.state) == ("again", "done")
        async with asyncio.timeout(WAIT):  # in Redis it has its end as well
            while (found := await node.open(here.id)).end is None:
                await asyncio.sleep(0.01)
        assert found.state == "failed"


async def test_what_it_has_lost_ends_and_says_so(
    server: RedisServer, nodes: Nodes
) -> None:
    a, b = await nodes.start(4.0), await nodes.start(4.0)
    here, there = await begun(a, b)
    server.stop()
    server.options = ()  # it knows nothing of a file
    await restart(server)
    for text, end in await asyncio.gather(ended(here), ended(there)):
        assert TEXT.startswith(text)
        assert (end.state, end.finish_reason) == ("failed", "interrupted")
    text, end = await ended(await b.start(SHORT))
    assert (text, end.state) == ("again", "done")


async def test_what_waits_behind_much_else_waits_no_longer(
    server: RedisServer, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ends of many replies are kept for a Redis that is away: they must not keep whoever asks."""
    monkeypatch.setattr(commands, "MAX_BATCH", 2)
    a = await nodes.start(1.0)
    assert isinstance(a.store, RedisStore)
    await pause(server)
    asking = a.store._commands.ask
    patient = [asyncio.create_task(asking("PING", patience=60)) for _ in range(5)]
    async with asyncio.timeout(WAIT):
        with pytest.raises(StoreUnavailable):
            await a.start(SHORT)
    await go_on(server)
    async with asyncio.timeout(WAIT):
        await asyncio.gather(*patient)


async def test_a_redis_that_comes_back_with_old_leases_makes_nobody_dead(
    tmp_path: Path,
) -> None:
    """It saves now and then: what it has after a crash is from a time for which no lease holds any more."""
    require("redis-server")
    server = RedisServer(tmp_path)
    server.start()
    try:
        async with AsyncExitStack() as stack:
            nodes = Nodes(server, stack)
            some = []
            for _ in range(3):
                some.append(await nodes.start(4.0, lease=2.0))
                await asyncio.sleep(0.07)  # so they renew theirs one after another
            long = Prompt((Message("user", TEXT * 4),))
            replies = [await node.start(long) for node in some]
            reading = [asyncio.create_task(ended(reply)) for reply in replies]
            async with Redis.from_url(server.url, decode_responses=True) as client:
                await client.save()
                leases: Any = await client.zrange(
                    "chatsvc:{0}:nodes", 0, -1, withscores=True
                )
            until = max(score for _, score in leases) * 1000
            async with asyncio.timeout(WAIT):
                while monotonic() + some[0].store.clock.offset <= until:
                    await asyncio.sleep(0.01)
            await crash(server)
            await restart(server)
            for text in reading:
                assert (await text)[0] == TEXT * 4
            async with Redis.from_url(server.url, decode_responses=True) as client:
                for reply in replies:
                    assert await client.hget(f"chatsvc:{{0}}:{reply.id}", "e") == "1"
    finally:
        server.stop()


async def test_a_redis_that_has_old_leases_without_a_break_makes_nobody_dead(
    nodes: Nodes, server: RedisServer
) -> None:
    """A node's connections may be renewed unseen, so only the leases say that Redis has old ones."""
    some = [await nodes.start(4.0) for _ in range(3)]
    replies = [await node.start(PROMPT) for node in some]
    steady = [store_of(node)._leases._steady_since_us for node in some]
    for node in some:
        async with asyncio.timeout(WAIT):  # until it would take over from the dead
            while monotonic() - store_of(node)._leases._steady_since_us < 0.8e6:
                await asyncio.sleep(0.01)
    async with Redis.from_url(server.url, decode_responses=True) as client:
        await client.zadd(
            "chatsvc:{0}:nodes", {store_of(node).node: 1 for node in some}
        )
        for reply in replies:
            assert (await ended(reply))[0] == TEXT
            assert await client.hget(f"chatsvc:{{0}}:{reply.id}", "e") == "1"
    for node, before in zip(some, steady, strict=True):
        assert store_of(node)._leases._steady_since_us > before


async def test_what_a_node_leaves_while_redis_is_away_is_carried_on(
    server: RedisServer, nodes: Nodes
) -> None:
    """It can't hand it on, and must not end it: another finds it when the lease is over."""
    a, b = await nodes.start(4.0), await nodes.start(20.0)
    here, there = await begun(a, b)
    reading = asyncio.create_task(ended(there))
    await pause(server)
    await a.drain(0)
    assert here.end is None and not a.store.cluster.owns(here.log)
    assert isinstance(a.store, RedisStore)
    await a.store._leases.close()  # it is gone
    await go_on(server)
    text, end = await reading
    assert (text, end.state) == (TEXT, "done")
