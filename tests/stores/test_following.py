"""How a node follows what others write, on a real Redis: by a reply's own stream, or by the news."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.problems import ReplyExpired
from chatsvc.stores.base import NotWritable
from chatsvc.stores.redis import RedisStore, pages
from chatsvc.stores.redis.entries import ReplyEntry, encode
from chatsvc.stores.redis.followed import Followed
from chatsvc.stores.redis.pages import PAGE_ENTRIES
from chatsvc.ticker import monotonic
from tests.redis_server import RedisServer

from .contract import DONE, STOPPED, begin

WAIT = 20.0  # seconds: for what must happen, however slow the machine

Node = Callable[[], Awaitable[RedisStore]]


@pytest.fixture
async def node(redis_server: RedisServer) -> AsyncIterator[Node]:
    """Starts nodes on the same Redis."""
    async with AsyncExitStack() as stack:

        async def start() -> RedisStore:
            store = RedisStore(redis_server.url, keep=60, lease=0.3)
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield start


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Any]:
    """To see what stands in Redis, and to change it."""
    async with Redis.from_url(redis_server.admin_url, decode_responses=True) as client:
        yield client


def alone(store: RedisStore, log: Log) -> bool:
    """Whether a node reads a reply's stream by itself in every round."""
    follower = store._followers.all[0]
    return follower._followed[log.reply_id].every_round


async def until(there: Callable[[], bool], store: RedisStore, log: Log) -> None:
    async with asyncio.timeout(WAIT):
        while not there():
            await store.refresh(log)


async def test_only_what_others_write_is_read_by_itself(node: Node) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    _, elsewhere = await b.find(log.reply_id)
    await a.append(log, "abc")
    await until(lambda: elsewhere.position == 3, b, elsewhere)
    await a.refresh(log)
    assert (alone(a, log), alone(b, elsewhere)) == (False, True)
    await a.seal(log, DONE)
    await until(lambda: elsewhere.planned_end == DONE, b, elsewhere)
    assert not alone(b, elsewhere)
    await a.finish(log, DONE)
    async with asyncio.timeout(WAIT):
        while elsewhere.end is None:  # without a refresh: by the news
            await asyncio.sleep(0.001)
    assert elsewhere.text(0) == "abc"


async def test_an_owner_hears_that_somebody_has_stopped_its_reply(node: Node) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    _, elsewhere = await b.find(log.reply_id)
    await a.append(log, "abc")
    await a.refresh(log)
    assert not alone(a, log)
    await b.finish(elsewhere, STOPPED)
    async with asyncio.timeout(WAIT):
        while log.end is None:
            await asyncio.sleep(0.001)
    assert (log.end, log.text(0)) == (STOPPED, elsewhere.text(0))


async def test_an_owner_hears_that_another_has_taken_its_reply(node: Node) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    await a.append(log, "ab")
    await a.refresh(log)
    _, elsewhere = await b.find(log.reply_id)
    await a._leases.close()  # from here on, A renews nothing
    async with asyncio.timeout(WAIT):
        while not await b.cluster.take_over(elsewhere):
            await asyncio.sleep(0.02)
        while a.cluster.owns(log):
            await asyncio.sleep(0.001)
    with pytest.raises(NotWritable):
        await a.append(log, "no")
    await b.append(elsewhere, "cd")
    async with asyncio.timeout(WAIT):
        while log.position < 4:
            await asyncio.sleep(0.001)
    assert (log.text(0), alone(a, log)) == ("abcd", True)


async def test_who_has_missed_news_reads_everything_again(
    node: Node, client: Any
) -> None:
    a, b = await node(), await node()
    logs = [await begin(a) for _ in range(3)]
    others = [(await b.find(log.reply_id))[1] for log in logs]
    for log, other in zip(logs, others, strict=True):
        await a.seal(log, DONE)
        await until(lambda other=other: other.planned_end == DONE, b, other)  # type: ignore[misc]
    await b._followers.all[0].close()
    for log in logs:
        await a.finish(log, DONE)
    await client.xtrim("chatsvc:{0}:news", maxlen=1, approximate=False)
    await b._followers.all[0].open()
    async with asyncio.timeout(WAIT):
        while any(other.end is None for other in others):
            await asyncio.sleep(0.001)


async def _forget(client: Any, log: Log, position: int) -> None:
    """Let Redis forget the last entry, as a replica does that never got it."""
    key = f"chatsvc:{{0}}:{log.reply_id}"
    entries = await client.xrevrange(f"{key}:log", count=1)
    await client.xdel(f"{key}:log", entries[0][0])
    await client.hset(key, "p", position)


async def test_what_redis_acknowledged_and_lost_is_written_again(
    node: Node, client: Any
) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    for piece in ("one ", "two "):
        await a.append(log, piece)
        await until(lambda piece=piece: log.text(0).endswith(piece), a, log)  # type: ignore[misc]
    _, elsewhere = await b.find(log.reply_id)
    await _forget(client, log, 4)
    _, late = await (await node()).find(log.reply_id)
    assert (elsewhere.text(0), late.text(0)) == ("one two ", "one ")
    await a.append(log, "three ")
    await a.append(log, "four")
    await a.seal(log, DONE)
    await a.refresh(log)
    await _forget(client, log, 4)
    await client.hdel(f"chatsvc:{{0}}:{log.reply_id}", "c")
    await a.finish(log, DONE)
    await until(lambda: elsewhere.end == DONE, b, elsewhere)
    _, found = await (await node()).find(log.reply_id)
    for one in (log, elsewhere, found):
        assert (one.text(0), one.end) == ("one two three four", DONE)


async def test_who_takes_a_reply_writes_again_what_redis_has_lost(
    node: Node, client: Any
) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    await a.append(log, "one ")
    await until(lambda: log.position == 4, a, log)
    await a.append(log, "two ")
    await until(lambda: log.position == 8, a, log)
    _, elsewhere = await b.find(log.reply_id)
    assert await a.cluster.release(log)
    await _forget(client, log, 4)
    assert await b.cluster.take_over(elsewhere)
    await b.seal(elsewhere, DONE)
    await b.finish(elsewhere, DONE)
    _, found = await (await node()).find(log.reply_id)
    assert (found.text(0), found.end) == ("one two ", DONE)


async def test_a_text_that_goes_on_otherwise_ends_where_it_was_read(
    node: Node, client: Any
) -> None:
    """Redis lost text, and the new owner has written another: who was given the first can't be given the rest."""
    a, b = await node(), await node()
    log = await begin(a)
    await a.append(log, "one ")
    await until(lambda: log.position == 4, a, log)
    await a.append(log, "two ")
    _, elsewhere = await b.find(log.reply_id)
    await until(lambda: elsewhere.position == 8, b, elsewhere)
    await _forget(client, log, 4)
    key = f"chatsvc:{{0}}:{log.reply_id}"
    await client.xadd(f"{key}:log", {"p": 4, "t": "three"})
    await until(lambda: elsewhere.end is not None, b, elsewhere)
    assert elsewhere.text(0) == "one two "
    assert isinstance(elsewhere.end, End)
    assert elsewhere.end.finish_reason == "interrupted"


async def test_a_text_that_redis_has_lost_is_not_taken_for_an_empty_one(
    node: Node, client: Any
) -> None:
    """It was full, and threw out what was used least: the text, and not what stands beside it."""
    a, b = await node(), await node()
    log = await begin(a)
    await a.append(log, "one ")
    await until(lambda: log.position == 4, a, log)
    await client.delete(f"chatsvc:{{0}}:{log.reply_id}:log")
    for _ in range(2):  # before there is more, and when there is
        _, found = await b.find(log.reply_id)
        assert isinstance(found.end, End)
        assert (found.end.finish_reason, found.text(0)) == ("interrupted", "")
        del found
        await a.append(log, "two")
        await a.seal(log, DONE)
        await a.refresh(log)
    await a.finish(log, DONE)
    _, found = await b.find(log.reply_id)
    assert isinstance(found.end, End)
    assert found.end.finish_reason == "interrupted"
    await client.delete(f"chatsvc:{{0}}:{log.reply_id}:log")
    with pytest.raises(ReplyExpired):
        await (await node()).find(log.reply_id)


@pytest.mark.parametrize("entries", [1, 2, 3, 100])
async def test_an_end_does_not_come_before_its_text(
    node: Node, client: Any, monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    """The text came behind what was read last, with an earlier time: by another master's clock."""
    monkeypatch.setattr(pages, "PAGE_ENTRIES", entries)
    a, b = await node(), await node()
    log = await begin(a)
    await a.append(log, "one ")
    await until(lambda: log.position == 4, a, log)
    _, elsewhere = await b.find(log.reply_id)
    await b._followers.all[0].close()
    await a.append(log, "two")
    await a.seal(log, DONE)
    await until(lambda: log.planned_end == DONE, a, log)
    last = (await client.xrevrange(f"chatsvc:{{0}}:{log.reply_id}:log", count=1))[0][0]
    b._followers.all[0]._followed[log.reply_id].last_id = last
    await a.finish(log, DONE)
    await b._followers.all[0].open()
    await until(lambda: elsewhere.end is not None, b, elsewhere)
    assert (elsewhere.text(0), elsewhere.end) == ("one two", DONE)


async def test_what_no_news_tell_is_seen_all_the_same(node: Node) -> None:
    """They came behind the last, by another master's clock."""
    a, b = await node(), await node()
    ends, stops = await begin(a), await begin(a)
    _, elsewhere = await b.find(ends.reply_id)
    for store in a, b:
        store._followers.all[0]._last_news = "9999999999999-0"
    await a.append(ends, "abc")
    await a.seal(ends, DONE)
    await until(lambda: elsewhere.planned_end == DONE, b, elsewhere)
    await a.refresh(stops)
    assert not alone(b, elsewhere) and not alone(a, stops)
    await a.finish(ends, DONE)
    _, stopping = await b.find(stops.reply_id)
    await b.finish(stopping, STOPPED)
    async with asyncio.timeout(WAIT):
        while elsewhere.end is None or stops.end is None:
            await asyncio.sleep(0.01)
    assert (elsewhere.end, stops.end) == (DONE, STOPPED)


async def test_what_came_meanwhile_is_read_in_pages_and_yet_in_one_round(
    node: Node, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No text is released by the time of a round that has not read all: a stop may stand behind it."""
    a, b = await node(), await node()
    log = await begin(a)
    _, elsewhere = await b.find(log.reply_id)
    follower = b._followers.all[0]
    await follower.close()
    count = 3 * PAGE_ENTRIES + 5
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(count):
            entry = encode(ReplyEntry(number, "x"))
            pipeline.xadd(f"chatsvc:{{0}}:{log.reply_id}:log", entry)
        await pipeline.execute()
    pages_read: list[int] = []
    xread = b._client.xread

    async def reading(streams: Any, *more: Any) -> Any:
        answer = await xread(streams, *more)
        pages_read.extend(len(entries) for _, entries in answer or ())
        return answer

    monkeypatch.setattr(b._client, "xread", reading)
    positions: list[int] = []
    on_read = follower._on_read

    def read(*given: Any) -> None:
        positions.append(elsewhere.position)
        on_read(*given)

    monkeypatch.setattr(follower, "_on_read", read)
    await follower.open()
    assert positions[0] == elsewhere.position == count
    assert sorted(pages_read)[-4:] == [5, *[PAGE_ENTRIES] * 3]


async def test_a_log_that_nobody_holds_is_read_no_further(node: Node) -> None:
    b = await node()
    log = Log("r" * 22)
    followed = Followed(log, "stream", "0-0")
    page = [("1-0", encode(ReplyEntry(0, "x")))]
    assert await followed.take(page, b._client, b.lost)
    assert (log.text(0), followed.last_id) == ("x", "1-0")
    del log
    assert not await followed.take(page, b._client, b.lost)


async def test_a_reply_that_expires_while_it_is_read_has_expired(
    node: Node, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_ENTRIES", 1)
    a, b = await node(), await node()
    log = await begin(a)
    for text in ("one ", "two ", "three"):
        await a.append(log, text)
        await a._owner._outboxes[log.reply_id].flushed()
    await a.seal(log, DONE)
    await a.finish(log, DONE)
    key, read = f"chatsvc:{{0}}:{log.reply_id}", b._logs._read

    async def read_and_expire(reply_id: str, begin: str, count: int) -> Any:
        page = await read(reply_id, begin, count)
        if begin != "-":
            await client.delete(key, f"{key}:log")
        return page

    monkeypatch.setattr(b._logs, "_read", read_and_expire)
    with pytest.raises(ReplyExpired):
        await b.find(log.reply_id)


async def test_a_refresh_waits_for_a_round_that_has_read_the_stream(
    node: Node, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node takes the reply for its own, so no round reads the stream but for the refresh; and one round fails."""
    a = await node()
    a._audited_us = monotonic() + 3_600_000_000  # an audit would read it, too
    log = await begin(a)
    await a.append(log, "one ")
    await until(lambda: log.position == 4, a, log)
    assert not alone(a, log)
    stream = f"chatsvc:{{0}}:{log.reply_id}:log"
    await client.xadd(stream, encode(ReplyEntry(4, "two")))
    failed = 0
    xread = a._client.xread

    async def failing(streams: Any, *more: Any) -> Any:
        nonlocal failed
        if stream in streams and not failed:
            failed += 1
            raise ConnectionResetError
        return await xread(streams, *more)

    monkeypatch.setattr(a._client, "xread", failing)
    await a.refresh(log)
    assert (failed, log.text(0)) == (1, "one two")
