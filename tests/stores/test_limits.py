"""The limits of starts in Redis: they hold for all nodes together, and no count stays for good."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from chatsvc.backends.echo import EchoBackend
from chatsvc.client_limits import NO_LIMITS, ClientLimits, StartLimits
from chatsvc.kept_prompt import keep
from chatsvc.model import End
from chatsvc.problem import Problem
from chatsvc.problems import Overloaded, TooManyRequests
from chatsvc.replies import Replies, Reply
from chatsvc.stores.base import KeyReused, Record
from chatsvc.stores.redis import RedisStore
from chatsvc.stores.redis.keys import TAGS_OF_CLUSTER, Keys
from chatsvc.stores.redis.limits import Limits, digest_of
from chatsvc.stores.redis.scripts import CREATE
from tests.redis_server import RedisServer

from .services import PROMPT, WAIT, Scripted, Service, die
from .test_redis import Node, connected, node, record

__all__ = ["node"]

TAG = Keys("chatsvc", cluster=False).tags[0]


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A Redis without anything in it."""
    async with connected(redis_server) as client:
        await client.flushall()
        yield client


def hanging() -> Scripted:
    backend = Scripted("some text")
    backend.close_now.set()
    return backend


async def started(replies: Replies, limits: ClientLimits, client: str = "a") -> Any:
    """A reply, or the problem in its place."""
    try:
        return await replies.start(PROMPT, client=client, limits=limits)
    except Problem as problem:
        return problem


async def running(redis: Redis, client: str = "a") -> int:
    """What Redis counts for a client."""
    return int(await redis.scard(TAG.running_of(digest_of(client))))


async def comes_to(redis: Redis, count: int, client: str = "a") -> None:
    """Wait until Redis counts so many."""
    async with asyncio.timeout(WAIT):
        while await running(redis, client) != count:
            await asyncio.sleep(0.01)


async def test_so_many_of_a_client_run_on_all_nodes_together(
    service: Service, redis: Redis
) -> None:
    nodes = [await service(hanging()) for _ in range(3)]
    five = ClientLimits(running=5)
    results = await asyncio.gather(
        *(started(nodes[i % 3], five) for i in range(12)),
        *(started(nodes[i % 3], five, "b") for i in range(4)),
    )
    mine, others = results[:12], results[12:]
    assert sum(isinstance(one, Reply) for one in mine) == 5
    refused = [one for one in mine if isinstance(one, TooManyRequests)]
    assert len(refused) == 7
    assert {(one.limit, one.most, one.retry_after) for one in refused} == {
        ("running", 5, 1)
    }
    assert all(isinstance(one, Reply) for one in others)
    # Whichever node stops one, there is room on every other.
    for one in [each for each in mine if isinstance(each, Reply)][:2]:
        elsewhere = await nodes[0].open(one.id)
        await nodes[0].stop(elsewhere)
        assert await nodes[0].stopped(elsewhere)
    await comes_to(redis, 3)
    assert isinstance(await started(nodes[1], five), Reply)
    assert isinstance(await started(nodes[2], five), Reply)
    assert isinstance(await started(nodes[0], five), TooManyRequests)


async def test_a_stopped_reply_counts_until_its_backend_has_closed(
    service: Service, redis: Redis
) -> None:
    backend = Scripted("some text")
    a, b = await service(backend), await service(hanging())
    one = ClientLimits(running=1)
    reply = await started(a, one)
    await b.stop(await b.open(reply.id))
    await asyncio.wait_for(backend.closing.wait(), WAIT)
    assert isinstance(await started(b, one), TooManyRequests)
    backend.close_now.set()
    await comes_to(redis, 0)
    assert isinstance(await started(b, one), Reply)


async def test_a_reply_that_is_done_counts_no_more(
    service: Service, redis: Redis
) -> None:
    a = await service(EchoBackend())
    one = ClientLimits(running=1)
    for _ in range(3):
        reply = await started(a, one)
        assert isinstance(reply, Reply)
        async with asyncio.timeout(WAIT):
            while reply.end is None:
                await asyncio.sleep(0.01)
        await comes_to(redis, 0)


async def test_so_many_run_in_all(redis_server: RedisServer, redis: Redis) -> None:
    stores = [RedisStore(redis_server.url, keep=60) for _ in range(3)]
    for store in stores:
        await store.open()
    try:
        most = StartLimits(in_all=4)
        results = await asyncio.gather(
            *(store.create(record(), most) for store in stores for _ in "abc"),
            return_exceptions=True,
        )
        assert sum(isinstance(one, str) for one in results) == 4
        assert sum(isinstance(one, Overloaded) for one in results) == 5
        [reply_id, *_] = [one for one in results if isinstance(one, str)]
        _, log = await stores[0].find(reply_id)
        await stores[0].finish(log, End("stopped", "stopped"))
        for store in stores:  # whichever produced it
            if store.cluster.owns((await store.find(reply_id))[1]):
                await store.cluster.producer_ended((await store.find(reply_id))[1])
        async with asyncio.timeout(WAIT):
            while True:
                try:
                    await stores[2].create(record(), most)
                    break
                except Overloaded:
                    await asyncio.sleep(0.01)
    finally:
        for store in stores:
            await store.close()


async def test_so_many_starts_in_a_minute_on_all_nodes_together(
    service: Service, redis: Redis
) -> None:
    nodes = [await service(EchoBackend()) for _ in range(3)]
    limits = ClientLimits(starts=7)
    results = [await started(nodes[i % 3], limits) for i in range(10)]
    assert [isinstance(one, Reply) for one in results] == [True] * 7 + [False] * 3
    refused = results[-1]
    assert isinstance(refused, TooManyRequests)
    assert (refused.limit, refused.most, refused.window_s) == ("starts", 7, 60)
    assert refused.retry_after is not None and 55 <= refused.retry_after <= 65
    assert f"try again in {refused.retry_after} s" in refused.detail
    assert isinstance(await started(nodes[0], limits, "b"), Reply)
    # Redis forgets it by itself.
    left = await redis.pttl(TAG.starts(digest_of("a")))
    assert 55_000 <= left <= 65_000
    await redis.delete(TAG.starts(digest_of("a")))
    # The one node that began most of them has its own count, and it is a lower one.
    assert isinstance(await started(nodes[1], limits), Reply)


async def test_starts_of_a_minute_ago_count_no_more(node: Node, redis: Redis) -> None:
    store = await node()
    limits = StartLimits("a", starts=3)
    now_s, _ = await redis.time()
    slot = now_s // 5
    key = TAG.starts(digest_of("a"))
    await redis.set(key, f"{slot - 14}:2 {slot - 11}:1 {slot - 2}:1")
    await store.create(record(), limits)
    with pytest.raises(TooManyRequests) as refused:
        await store.create(record(), limits)
    # The oldest that counts began 55 to 60 s ago, and the end of its slot is 5 s later at most.
    wait = refused.value.retry_after
    assert wait is not None and 0 < wait <= 15
    kept = str(await redis.get(key)).split()
    assert kept[0] == f"{slot - 11}:1" and len(kept) <= 4


async def test_a_repeated_key_is_no_start(service: Service, redis: Redis) -> None:
    a, b = await service(hanging()), await service(hanging())
    two = ClientLimits(running=2, starts=2)
    asked = [
        one.start(PROMPT, key="k", digest="d", client="a", limits=two)
        for one in (a, b) * 4
    ]
    replies = await asyncio.gather(*asked)
    assert len({reply.id for reply in replies}) == 1
    assert await running(redis) == 1
    assert isinstance(await started(a, two), Reply)
    assert isinstance(await started(b, two), TooManyRequests)
    again = await b.start(PROMPT, key="k", digest="d", client="a", limits=two)
    assert again.id == replies[0].id


async def test_a_refused_key_can_be_used_when_there_is_room(
    service: Service, redis: Redis
) -> None:
    a = await service(hanging())
    b = await service(hanging())
    one = ClientLimits(running=1)
    first = await started(a, one)
    with pytest.raises(TooManyRequests):
        await b.start(PROMPT, key="k", digest="d", client="a", limits=one)
    with pytest.raises(TooManyRequests):
        await b.start(PROMPT, key="k", digest="d", client="a", limits=one)
    await a.stop(first)
    assert await a.stopped(first)
    await comes_to(redis, 0)
    reply = await b.start(PROMPT, key="k", digest="d", client="a", limits=one)
    assert reply.end is None


async def test_a_second_run_of_the_script_counts_nothing(
    node: Node, redis: Redis
) -> None:
    store = await node()
    one = StartLimits("a", running=1, starts=1)
    run, calls = store._commands.run, 0

    async def twice(script: Any, *words: Any, **options: Any) -> Any:
        nonlocal calls
        answer = await run(script, *words, **options)
        if script is CREATE:
            calls += 1
            assert await run(script, *words, **options) == answer
        return answer

    store._commands.run = twice  # type: ignore[method-assign]
    await store.create(record(), one)
    assert (calls, await running(redis)) == (1, 1)
    with pytest.raises(TooManyRequests):
        await store.create(record(), one)
    assert await running(redis) == 1


async def test_what_is_left_in_a_set_by_others_is_found_at_the_limit(
    node: Node, redis: Redis
) -> None:
    store = await node()
    two = StartLimits("a", running=2)
    key = TAG.running_of(digest_of("a"))
    # One whose hash Redis has lost, and one that a node of an earlier version has ended.
    first = await store.create(record(), two)
    await redis.sadd(key, "x" * 22)
    await redis.srem(TAG.owned_by(store.node), first)
    await store.create(record(), two)
    await store.create(record(), two)
    assert await redis.scard(key) == 2
    with pytest.raises(TooManyRequests):
        await store.create(record(), two)
    assert await redis.ttl(key) > 0


def test_in_a_cluster_a_reply_has_the_hash_tag_of_its_account() -> None:
    keys = Keys("chatsvc", cluster=True)
    limits = Limits(None, keys)  # type: ignore[arg-type]
    tags = set()
    for number in range(100):
        account = f"address:10.0.0.{number}"
        ids = {limits.new_reply_id(account) for _ in range(5)}
        assert len(ids) == 5
        assert {keys.tag(each) for each in ids} == {keys.tag(digest_of(account))}
        tags.add(keys.tag(digest_of(account)))
    assert len(tags) == TAGS_OF_CLUSTER
    assert len({keys.tag(limits.new_reply_id("")) for _ in range(200)}) > 1


# ---------------------------------------------------------------------- whatever happens


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.sampled
async def test_no_count_leaks_or_goes_below_0_whatever_dies(
    service: Service, redis: Redis, seed: int
) -> None:
    chance = random.Random(seed)
    most = 4
    limits = ClientLimits(running=most)
    nodes = [await service(hanging()) for _ in range(3)]
    replies: dict[str, list[str]] = {"a": [], "b": []}

    async def start(client: str) -> None:
        here = chance.choice(nodes)
        key = chance.choice(["", "", f"{client}{chance.randrange(3)}"])
        try:
            reply = await here.start(
                PROMPT, key=key, digest="d", client=client, limits=limits
            )
        except (TooManyRequests, KeyReused):
            return
        replies[client].append(reply.id)

    async def stop(client: str) -> None:
        if replies[client]:
            here = chance.choice(nodes)
            await here.stop(await here.open(chance.choice(replies[client])))

    for _ in range(40):
        what, client = chance.random(), chance.choice("ab")
        if what < 0.55:
            await start(client)
        elif what < 0.85:
            await stop(client)
        elif what < 0.92:
            await asyncio.gather(*(start(client) for _ in range(6)))
        elif what < 0.96:
            dead = nodes.pop(chance.randrange(len(nodes)))
            await die(dead)
            nodes.append(await service(hanging()))
        else:
            gone = nodes.pop(chance.randrange(len(nodes)))
            await gone.drain(0)
            nodes.append(await service(hanging()))
        for each in "ab":
            assert 0 <= await running(redis, each) <= most
    for client, ids in replies.items():
        async with asyncio.timeout(WAIT):
            for reply_id in set(ids):
                reply = await nodes[0].open(reply_id)
                if reply.end is None:
                    await nodes[0].stop(reply)
        await comes_to(redis, 0, client)
    # All local counts are back at nothing as well.
    async with asyncio.timeout(WAIT):
        while any(node.running for node in nodes):
            await asyncio.sleep(0.01)
    for here in nodes:
        assert not here.admission._running
        assert here.admission._counted == 0


async def test_without_limits_nothing_is_refused_and_all_is_counted(
    service: Service, redis: Redis
) -> None:
    a = await service(hanging())
    for _ in range(20):
        assert isinstance(await started(a, NO_LIMITS), Reply)
    assert await running(redis) == 20
    assert not await redis.exists(TAG.starts(digest_of("a")))


async def test_a_reply_without_an_account_counts_for_nobody(
    node: Node, redis: Redis
) -> None:
    store = await node()
    await store.create(Record("y" * 22, keep(PROMPT)))
    assert not await redis.keys("*running*")
    assert await redis.hget(f"{TAG.prefix}{'y' * 22}", "a") is None
    # Else the services of another test would adopt it, once this node's lease has run out.
    _, log = await store.find("y" * 22)
    await store.finish(log, End("stopped", "stopped"))


@pytest.mark.parametrize("refused", [False, True])
async def test_a_stopped_reply_counts_no_more_once_its_producer_has_ended(
    service: Service, redis: Redis, refused: bool
) -> None:
    """Also where a script has refused to write it, so that this node takes it for another's."""
    owner, other = await service(hanging()), await service(hanging())
    reply = await started(owner, ClientLimits(running=5))
    store = owner.store
    assert isinstance(store, RedisStore)
    elsewhere = await other.open(reply.id)
    if refused:
        store._owner.forget(reply.id)
    await other.stop(elsewhere)
    await comes_to(redis, 0)
    assert not await redis.keys("*owned*")
