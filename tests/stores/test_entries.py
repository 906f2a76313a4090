"""What stands in Redis: its fields, and how an entry comes into a log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from chatsvc.cursor import new_reply_id
from chatsvc.kept_prompt import keep
from chatsvc.log import Log
from chatsvc.model import End, Message, Prompt
from chatsvc.stores.base import Record
from chatsvc.stores.redis import RedisStore
from chatsvc.stores.redis.entries import (
    HASH_FIELDS,
    LEEWAY_US,
    News,
    ReplyEntry,
    ReplyHash,
    apply,
    arrival_us,
    decode,
    decode_hash,
    decode_news,
    encode,
)
from chatsvc.stores.redis.records import encode_ended_record, encode_record
from tests.redis_server import RedisServer

from .contract import DONE, FAILED, PROMPT, STOPPED, record

positions = st.integers(0, 1 << 40)
texts = st.text(st.characters(exclude_categories=["Cs"]))
objects = st.dictionaries(texts, texts | st.integers(-(1 << 53), 1 << 53) | st.none())
ends = st.builds(End, texts, texts, st.none() | objects, st.none() | objects)

entries = (
    st.builds(ReplyEntry, positions, texts.filter(bool), st.none() | ends)
    | st.builds(ReplyEntry, planned_end=ends)
    | st.builds(ReplyEntry, positions, end=ends)
)


@given(entries)
def test_an_entry_is_read_as_it_was_written(entry: ReplyEntry) -> None:
    fields = encode(entry)
    assert all(isinstance(value, str) for value in fields.values())
    assert decode(fields) == entry


@given(
    st.builds(Record, texts, st.just(keep(PROMPT)), texts, texts, texts, positions),
    positions,
    st.booleans(),
)
def test_a_hash_is_read_as_it_was_written(
    asked: Record, position: int, ended: bool
) -> None:
    values = [encode_record(asked), str(position), "1" if ended else None, None]
    assert decode_hash(values) == ReplyHash(asked, position, ended)
    values[-1] = "7"
    assert decode_hash(values) == ReplyHash(asked, position, ended, 7)


def test_there_may_be_no_hash() -> None:
    assert decode_hash([None] * len(HASH_FIELDS)) is None


def test_news() -> None:
    assert decode_news({"n": "7", "r": "a reply"}) == News(7, "a reply", None)
    assert decode_news({"n": "8", "r": "it", "o": "2"}) == News(8, "it", 2)


def test_an_entry_arrived_when_its_id_says() -> None:
    assert arrival_us("1790000000123-4") == 1_790_000_000_123_000


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (ReplyEntry(3, "def"), "abcdef"),
        (ReplyEntry(0, "abc"), "abc"),  # as after a failover
        (ReplyEntry(1, "bcd"), "abcd"),
        (ReplyEntry(1, "b"), "abc"),
        (ReplyEntry(4, "e"), None),
        (ReplyEntry(1, "xcd"), None),
        (ReplyEntry(4, end=DONE), None),
    ],
)
def test_what_does_not_fit_to_a_log_is_left_out(
    entry: ReplyEntry, text: str | None
) -> None:
    log = Log("r" * 22)
    assert apply(log, "1-0", ReplyEntry(0, "abc"))
    assert apply(log, "2-0", entry) == (text is not None)
    assert log.text(0) == ("abc" if text is None else text)
    assert log.end is None


@pytest.mark.parametrize(("end", "reached"), [(STOPPED, 1), (FAILED, 3)])
def test_a_stop_cuts_where_the_text_is_released_a_little_later(
    end: End, reached: int
) -> None:
    log = Log("r" * 22, pace=LEEWAY_US)
    apply(log, "1000-0", ReplyEntry(0, "abc", DONE))
    assert log.planned_end == DONE
    # The first character is out at once, the second after the leeway.
    apply(log, "999-0", ReplyEntry(3, end=end))
    assert (log.end, log.text(0)) == (end, "abc"[:reached])
    assert apply(log, "1001-0", ReplyEntry(9, "nothing comes behind it"))


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Any]:
    """To see what stands in Redis."""
    async with Redis.from_url(redis_server.admin_url, decode_responses=True) as client:
        yield client


async def test_the_scripts_write_these_fields(
    redis: Any, redis_server: RedisServer
) -> None:
    store = RedisStore(redis_server.url, keep=60, node="node")
    await store.open()
    try:
        asked = record(pace=1)
        key = f"chatsvc:{{0}}:{asked.reply_id}"
        await store.create(asked)
        found = await redis.hgetall(key)
        assert int(found.pop("at")) > 0
        created = {
            "r": encode_record(asked),
            "q": encode_ended_record(asked),
            "o": "node",
            "e": "1",
            "p": "0",
        }
        assert found == created
        _, log = await store.find(asked.reply_id)
        await store.append(log, "ab")
        await store.seal(log, DONE)
        assert await redis.hgetall(key) == {
            **created,
            "p": "2",
            "c": "1",
            "at": await redis.hget(key, "at"),
        }
        await store.finish(log, DONE)
        assert await redis.hmget(key, HASH_FIELDS) == [created["q"], "2", "1", None]
        assert await redis.hget(key, "q") == ""
        done = msgspec.json.encode(DONE).decode()
        written = [fields for _, fields in await redis.xrange(f"{key}:log")]
        assert written[-1] == {"p": "2", "e": done} == encode(decode(written[-1]))
        assert [encode(decode(fields)) for fields in written] == written
        [(_, news)] = await redis.xrevrange("chatsvc:{0}:news", count=1)
        assert decode_news(news) == News(int(news["n"]), asked.reply_id, None)
        assert set(news) == {"n", "r"}
        assert (await redis.get(f"{key}:gone")) == "1"
    finally:
        await store.close()


async def test_news_of_another_owner_name_its_epoch(
    redis: Any, redis_server: RedisServer
) -> None:
    store = RedisStore(redis_server.url, keep=60)
    await store.open()
    try:
        reply_id = await store.create(record())
        _, log = await store.find(reply_id)
        assert await store.cluster.release(log)
        [(_, news)] = await redis.xrevrange("chatsvc:{0}:news", count=1)
        assert decode_news(news) == News(int(news["n"]), reply_id, 2)
        assert await redis.hget(f"chatsvc:{{0}}:{reply_id}", "o") == "-"
        assert await redis.sismember("chatsvc:{0}:owned:-", reply_id)
    finally:
        await store.close()


async def test_the_end_takes_the_prompt_out_of_redis(
    redis: Any, redis_server: RedisServer
) -> None:
    """By the script that sets it, whichever node runs that, and by no further command."""
    store = RedisStore(redis_server.url, keep=60)
    other = RedisStore(redis_server.url, keep=60)
    await store.open()
    await other.open()
    try:
        for stops in (store, other):
            turns = Message("system", "x" * 10_000), Message("user", "你好")
            asked = Record(new_reply_id(), keep(Prompt(turns)))
            key = f"chatsvc:{{0}}:{asked.reply_id}"
            await store.create(asked)
            assert len(await redis.hget(key, "r")) > 10_000
            _, log = await stops.find(asked.reply_id)
            before = await redis.info("commandstats")
            await stops.finish(log, STOPPED)
            after = await redis.info("commandstats")
            sets = [stats["cmdstat_hset"]["calls"] for stats in (before, after)]
            assert sets[1] - sets[0] == 1
            left = await redis.hgetall(key)
            assert sum(map(len, left.values())) < 300
            assert left["r"] == encode_ended_record(asked)
            # A node of an older version reads it as it reads any record.
            assert msgspec.json.decode(left["r"])["prompt"] == {
                "messages": [{"role": "user", "content": "你好"}],
                "written": "",
                "options": {},
            }
            assert asked.prompt.read().messages == turns[1:] or stops is other
    finally:
        await store.close()
        await other.close()
