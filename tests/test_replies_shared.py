"""Replies on several nodes: what begins while a node or Redis goes away is begun once, and by somebody. The Redis is real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from chatsvc.backends.function import FunctionBackend
from chatsvc.problems import StoreUnavailable
from chatsvc.replies import Replies, replies
from chatsvc.stores import Log, Record
from chatsvc.stores.redis import RedisStore
from chatsvc.ticker import Ticker

from .redis_server import RedisServer
from .test_replies import asking, read_all


class Counted:
    """A backend that can't carry on, and that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, messages: list[dict[str, str]]) -> AsyncIterator[str]:
        self.asked += 1
        yield "answer"


class LosesTheAnswer(RedisStore):
    """Is away when Redis has begun a reply, and this node has not heard of that."""

    async def create(self, record: Record) -> str:
        self._owner.forget(await super().create(record))
        raise StoreUnavailable("Redis can't be reached.")


class FindsLate(RedisStore):
    """Is away when a reply is looked at for the first time."""

    away = True

    async def find(self, reply_id: str) -> tuple[Record, Log]:
        if self.away:
            self.away = False
            raise StoreUnavailable("Redis can't be reached.")
        return await super().find(reply_id)


class Nodes:
    """Nodes over one Redis."""

    def __init__(self, address: str, stack: AsyncExitStack) -> None:
        self.address = address
        self.backend = Counted()
        self._stack = stack

    async def start(self, kind: type[RedisStore] = RedisStore) -> Replies:
        """One more."""
        store = kind(self.address, keep=60)
        await store.open()
        self._stack.push_async_callback(store.close)
        node = Replies(store, FunctionBackend(self.backend), Ticker(store.clock))
        self._stack.push_async_callback(node.close)
        return node


@pytest.fixture
async def nodes(redis_server: RedisServer) -> AsyncIterator[Nodes]:
    address = redis_server.database(3)
    async with Redis.from_url(address) as redis:
        await redis.flushdb()
    async with AsyncExitStack() as stack:
        yield Nodes(address, stack)


async def test_a_key_whose_node_died_before_it_began_is_begun_by_the_next(
    nodes: Nodes,
) -> None:
    dead, a, b = [await nodes.start() for _ in range(3)]
    reply = await dead.start(asking(), key="k")
    await read_all(reply)
    # As if the first had died when the key was given and the reply not yet begun.
    async with Redis.from_url(nodes.address) as redis:
        await redis.delete(*await redis.keys(f"*{reply.id}*"))
    again = await asyncio.gather(*(n.start(asking(), key="k") for n in (a, b, a, b)))
    assert {other.id for other in again} == {reply.id}
    for other in again:
        assert await read_all(other) == ("answer", "done", "stop")
    assert nodes.backend.asked == 2


@pytest.mark.parametrize("kind", [LosesTheAnswer, FindsLate])
async def test_a_reply_that_was_begun_after_all_is_produced(
    nodes: Nodes, kind: type[RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "LOOK_AGAIN", 0.01)
    a, b = await nodes.start(kind), await nodes.start()
    with pytest.raises(StoreUnavailable):
        await a.start(asking(), key="k")
    reply = await b.start(asking(), key="k")
    assert await read_all(reply) == ("answer", "done", "stop")
    assert nodes.backend.asked == 1
