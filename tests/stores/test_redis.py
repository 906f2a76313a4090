"""The store in Redis: what it adds to the contract of every store. The Redis is real."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest

from chatsvc.cursor import new_reply_id
from chatsvc.kept_prompt import keep
from chatsvc.log import Log
from chatsvc.model import End, Message, Prompt
from chatsvc.problems import ReplyExpired, ReplyNotFound, StoreUnavailable
from chatsvc.stores.address import parse_address
from chatsvc.stores.base import KeyReused, NotWritable, Record
from chatsvc.stores.redis import RedisStore
from chatsvc.stores.redis.connect import connect, disconnect
from chatsvc.stores.redis.entries import LEEWAY_US
from chatsvc.ticker import monotonic
from tests.living import uncollected
from tests.redis_server import RedisServer

from .contract import StoreContract

Node = Callable[..., Awaitable[RedisStore]]


@pytest.fixture
async def node(redis_server: RedisServer) -> AsyncIterator[Node]:
    """Starts nodes on the same Redis."""
    async with AsyncExitStack() as stack:

        async def start(keep: float = 60.0, lease: float = 4.0) -> RedisStore:
            store = RedisStore(redis_server.url, keep=keep, lease=lease)
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield start


@asynccontextmanager
async def connected(server: RedisServer) -> AsyncIterator[Any]:
    """To see what stands in Redis, and to change it."""
    client = connect(parse_address(server.admin_url), 10)
    yield client
    await disconnect(client)


class RedisPlace:
    """A store in a Redis of its own, where time passes by shortening what is left to each key."""

    keep = 60.0

    def __init__(self, url: str, admin_url: str = "") -> None:
        self.store = RedisStore(url, keep=self.keep)
        self.client = connect(parse_address(admin_url or url), 100)

    async def forward(self, seconds: float) -> None:
        """Let what expires do so."""
        for key in await self._keys("*:*:??????????????????????*"):
            left = await self.client.pttl(key)
            if left > 0:
                await self.client.pexpire(key, max(1, left - round(seconds * 1000)))
        while await self._expiring():
            await asyncio.sleep(0.001)

    async def _expiring(self) -> bool:
        keys = await self._keys("*:log")
        return any([0 <= await self.client.pttl(key) <= 1 for key in keys])

    async def _keys(self, pattern: str) -> list[str]:
        return [key async for key in self.client.scan_iter(pattern, count=1000)]

    async def settle(self, log: Log, position: int, *, ended: bool = False) -> None:
        """What has been written is given to this node."""
        while log.position < position or (ended and log.end is None):
            await self.store.refresh(log)


class TestRedisStore(StoreContract):
    """The contract."""

    @pytest.fixture
    async def place(self, redis_server: RedisServer) -> AsyncIterator[RedisPlace]:
        place = RedisPlace(redis_server.database(1))
        await place.client.flushdb()
        await place.store.open()
        yield place
        await place.store.close()
        await disconnect(place.client)


def record(key: str = "", digest: str = "", pace: int = 0) -> Record:
    prompt = Prompt((Message("user", "你好"),))
    return Record(new_reply_id(), keep(prompt), key=key, digest=digest, pace=pace)


async def begun(store: RedisStore, pace: int = 0) -> Log:
    reply_id = await store.create(record(pace=pace))
    return (await store.find(reply_id))[1]


async def test_what_one_node_writes_another_reads(node: Node) -> None:
    a, b = await node(), await node()
    log = await begun(a)
    _, elsewhere = await b.find(log.reply_id)
    await a.append(log, "héllo 👩‍👩‍👧 ")
    await a.append(log, "wörld")
    await a.seal(log, End("done", "stop", usage={"total_tokens": 3}))
    await a.finish(log, End("done", "stop", usage={"total_tokens": 3}))
    await b.refresh(elsewhere)
    assert log.end == elsewhere.end == End("done", "stop", usage={"total_tokens": 3})
    assert log.text(0) == elsewhere.text(0) == "héllo 👩‍👩‍👧 wörld"
    found, late = await b.find(log.reply_id)
    assert late.text(0) == log.text(0)
    assert found.prompt.read().messages[0].content == "你好"


async def test_every_node_computes_the_same_times(node: Node) -> None:
    a, b = await node(), await node()
    log = await begun(a, pace=50_000)
    _, elsewhere = await b.find(log.reply_id)
    for piece in ("abc", "defg", "h"):
        await a.append(log, piece)
        await a.refresh(log)
    await b.refresh(elsewhere)
    _, late = await (await node()).find(log.reply_id)
    for other in (elsewhere, late):
        assert [(s.start, s.first, s.step) for s in other.segments] == [
            (s.start, s.first, s.step) for s in log.segments
        ]


async def test_there_is_one_end_and_nothing_behind_it(node: Node) -> None:
    a, b = await node(), await node()
    log = await begun(a)
    _, elsewhere = await b.find(log.reply_id)
    await a.append(log, "x")
    await a.refresh(log)
    await asyncio.gather(
        b.finish(elsewhere, End("stopped", "stopped")),
        a.finish(log, End("done", "stop")),
    )
    await a.refresh(log)
    assert log.end == elsewhere.end
    with pytest.raises(NotWritable):
        await a.append(log, "y")
        await a.seal(log, End("done", "stop"))


async def test_a_stop_takes_back_nothing_that_was_out_anywhere(node: Node) -> None:
    a, b = await node(), await node()
    log = await begun(a, pace=3_000)
    _, elsewhere = await b.find(log.reply_id)
    await a.append(log, "x" * 10_000)
    out, stopping = 0, None
    while log.end is None:
        out = max(out, log.released(a.clock.horizon_at(monotonic())))
        if out > 20 and stopping is None:
            stop = b.finish(elsewhere, End("stopped", "stopped"))
            stopping = asyncio.create_task(stop)
        await asyncio.sleep(0)
    assert stopping is not None
    await stopping
    assert 0 < out <= log.position < 10_000
    assert elsewhere.position == log.position


async def test_without_a_look_at_redis_nothing_more_is_out(node: Node) -> None:
    a = await node()
    log = await begun(a)
    seen = a.clock.limit
    assert a.clock.horizon_at(monotonic() + 60_000_000) <= max(seen, a.clock.limit)
    assert a.clock.limit <= monotonic() + a.clock.offset + LEEWAY_US
    assert log.end is None


async def test_only_the_owner_writes_and_only_in_its_epoch(node: Node) -> None:
    a, b = await node(lease=0.5), await node()
    log = await begun(a)
    await a.append(log, "ab")
    await a.refresh(log)
    _, elsewhere = await b.find(log.reply_id)
    with pytest.raises(NotWritable):
        await b.append(elsewhere, "no")
    assert not await b.cluster.take_over(elsewhere)  # the owner lives
    assert await a.cluster.release(log)
    assert await b.cluster.take_over(elsewhere)
    await b.append(elsewhere, "cd")
    with pytest.raises(NotWritable):
        await a.append(log, "no")
    await b.finish(elsewhere, End("done", "stop"))
    assert elsewhere.text(0) == "abcd"


async def test_a_key_stands_for_one_reply(node: Node) -> None:
    a, b = await node(), await node()
    key = new_reply_id()
    ids = await asyncio.gather(
        *(store.create(record(key, "d")) for store in (a, b, a, b))
    )
    assert len(set(ids)) == 1
    with pytest.raises(KeyReused):
        await b.create(record(key, "other"))


async def test_a_text_expires_and_its_id_is_known(node: Node) -> None:
    a = await node(keep=0.05)
    log = await begun(a)
    await a.append(log, "x")
    await a.finish(log, End("done", "stop"))
    while True:
        try:
            await a.find(log.reply_id)
        except ReplyExpired:
            break
    with pytest.raises(ReplyNotFound):
        await a.find(new_reply_id())


async def test_the_last_reader_is_known_on_all_nodes(node: Node) -> None:
    a, b = await node(), await node()
    log = await begun(a)
    _, elsewhere = await b.find(log.reply_id)
    assert await a.cluster.last_read(log) == 0
    b.cluster.announce_readers(elsewhere, True)
    await b.refresh(elsewhere)  # goes behind it on the same connection
    assert await a.cluster.last_read(log) > monotonic() + a.clock.offset
    b.cluster.announce_readers(elsewhere, False)
    await b.refresh(elsewhere)
    assert await a.cluster.last_read(log) <= monotonic() + a.clock.offset + 5000


async def test_a_log_that_nobody_holds_is_not_followed(node: Node) -> None:
    a, b = await node(), await node()
    reply_id = (await begun(a)).reply_id
    await b.find(reply_id)  # and let go of it
    _, kept = await b.find((await begun(a)).reply_id)
    await b.refresh(kept)
    followed = [
        log.reply_id for follower in b._followers.all for log in follower.logs()
    ]
    assert reply_id not in followed and kept.reply_id in followed


async def overtaken(node: Node) -> tuple[RedisStore, RedisStore, Log, Log]:
    """A node that was paused, another that has taken its reply meanwhile, and the reply's log at each: "ab"."""
    a, b = await node(lease=0.2), await node()
    log = await begun(a)
    await a.append(log, "ab")
    await a.refresh(log)
    _, elsewhere = await b.find(log.reply_id)
    await a._leases.close()  # from here on, A renews nothing,
    for follower in a._followers.all:
        await follower.close()  # and hears nothing
    async with asyncio.timeout(10):
        while not await b.cluster.take_over(elsewhere):
            await asyncio.sleep(0.02)
    return a, b, log, elsewhere


async def test_an_owner_that_was_paused_too_long_writes_nothing(node: Node) -> None:
    """It does not know that another has taken its reply: only the check in Redis keeps it out."""
    a, b, log, elsewhere = await overtaken(node)
    assert a.cluster.owns(log)
    await a.append(log, "from the past")
    await a.finish(log, End("failed", "interrupted"))
    assert not a.cluster.owns(log)
    await b.append(elsewhere, "cd")
    await b.seal(elsewhere, End("done", "stop"))
    await b.finish(elsewhere, End("done", "stop"))
    assert (elsewhere.text(0), elsewhere.end) == ("abcd", End("done", "stop"))


async def test_once_it_is_closed_it_keeps_nobody_waiting(node: Node) -> None:
    store = await node()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(store.recall("a name"), 10)


async def test_an_owner_that_was_paused_and_stops_it_gives_all_that_was_written(
    node: Node,
) -> None:
    """Anybody may stop a reply: that Redis lets it do so does not say that it knows the text."""
    a, b, log, elsewhere = await overtaken(node)
    async with asyncio.timeout(10):
        await b.append(elsewhere, "cd")
        while elsewhere.position < 4:
            await asyncio.sleep(0.001)
        stopping = asyncio.create_task(a.finish(log, End("stopped", "stopped")))
        while elsewhere.end is None:
            await asyncio.sleep(0.001)
        for follower in a._followers.all:
            await follower.open()
        await stopping
    assert log.text(0) == elsewhere.text(0) == "abcd"


async def test_nothing_stays_in_redis_without_a_time_after_which_it_goes(
    node: Node, redis_server: RedisServer
) -> None:
    a, b = await node(), await node()
    async with connected(redis_server) as client:
        assert await client.ttl(a._followers.all[0].bell.key) > 0
        log = await begun(a)
        key = f"chatsvc:{{0}}:{log.reply_id}"
        _, elsewhere = await b.find(log.reply_id)
        b.cluster.announce_readers(elsewhere, True)
        await b.refresh(elsewhere)
        await client.hset(key, "p", 100)  # what this node can't have written
        with pytest.raises(NotWritable):
            while True:
                await a.append(log, "x")
                await a.refresh(log)
        async with asyncio.timeout(10):
            while (left := await client.keys(f"{key}*")) != [f"{key}:gone"]:
                assert left
                await asyncio.sleep(0.01)
        assert await client.ttl(f"{key}:gone") > 0


@pytest.mark.parametrize("seconds", [10, -10])
async def test_a_jump_of_the_clock_of_redis_makes_nobody_dead(
    node: Node, seconds: int
) -> None:
    """Leases run out by that clock: as after a gap, the others are given a moment to renew theirs."""
    a = await node(lease=60)
    began = a._leases._steady_since_us
    await a._leases.compare_clocks()
    assert a._leases._steady_since_us == began
    a.clock.offset -= seconds * 1_000_000
    await a._leases.compare_clocks()
    assert a._leases._steady_since_us == began

    b = await node()
    began = b._leases._steady_since_us
    b.clock.offset -= seconds * 1_000_000
    await b._leases.compare_clocks()
    assert b._leases._steady_since_us > began


async def test_an_error_keeps_nothing_once_it_is_handled(node: Node) -> None:
    """While Redis is away there are many: they must not wait for the garbage collector, which looks rarely."""
    store = await node()
    await store.close()
    with uncollected():
        for what in store.find(new_reply_id()), store.recall("a name"):
            with suppress(StoreUnavailable):
                await what
        async with asyncio.timeout(10):
            while any(isinstance(o, StoreUnavailable) for o in gc.get_objects()):
                await asyncio.sleep(0.01)
