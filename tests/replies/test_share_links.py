"""Share links: one token for a reply, on each node, until it is withdrawn or the reply is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from chatsvc.backends.echo import EchoBackend
from chatsvc.cursor import is_reply_id
from chatsvc.problems import ReplyExpired, ReplyNotFound
from chatsvc.replies import Replies, Reply
from chatsvc.stores.base import Store
from chatsvc.stores.memory import MemoryStore
from chatsvc.stores.redis import RedisStore
from chatsvc.ticker import Ticker
from tests.redis_server import RedisServer

from .serving import asking, read_all, settled


@pytest.fixture(params=["memory", "redis"])
async def nodes(request: pytest.FixtureRequest) -> AsyncIterator[list[Replies]]:
    """A node on a store in memory, or two on one Redis."""
    stores: list[Store]
    if request.param == "memory":
        stores = [MemoryStore(keep=60)]
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        stores = [RedisStore(server.database(6), keep=60) for _ in range(2)]
    for store in stores:
        await store.open()
    nodes = [Replies(each, EchoBackend(), Ticker(each.clock), pace=0) for each in stores]  # fmt: skip
    yield nodes
    for node, store in zip(nodes, stores, strict=True):
        await node.close()
        await store.close()


async def started(node: Replies, user: str = "") -> Reply:
    reply = await node.start(asking("hello"), user=user)
    with reply.reading():
        await read_all(reply)
    await settled(node)
    return reply


@pytest.mark.parametrize("user", ["", "ann"])
async def test_a_token_leads_to_its_reply(nodes: list[Replies], user: str) -> None:
    reply = await started(nodes[0], user)
    token = await nodes[0].share_links.make(reply)
    assert is_reply_id(token)
    assert token != reply.id
    for node in nodes:
        found = await node.share_links.open(token)
        assert (found.id, found.log.text(0)) == (reply.id, "hello")
        assert found.record.prompt.question == "hello"
        # It is no id, and an id is no token.
        with pytest.raises(ReplyNotFound):
            await node.open(token, user=user)
        with pytest.raises(ReplyNotFound):
            await node.share_links.open(reply.id)


async def test_a_reply_has_one_token_until_it_is_withdrawn(nodes: list[Replies]) -> None:  # fmt: skip
    reply, other = await started(nodes[0]), await started(nodes[0])
    made = [node.share_links.make(reply) for node in nodes for _ in range(5)]
    [token] = set(await asyncio.gather(*made))
    others = await nodes[0].share_links.make(other)
    assert others != token
    await nodes[-1].share_links.withdraw(reply)
    await nodes[0].share_links.withdraw(reply)
    for node in nodes:
        with pytest.raises(ReplyNotFound):
            await node.share_links.open(token)
        assert (await node.share_links.open(others)).id == other.id
    anew = await nodes[0].share_links.make(reply)
    assert anew != token
    assert (await nodes[-1].share_links.open(anew)).id == reply.id


async def test_a_token_that_was_half_made_is_made_whole(nodes: list[Replies]) -> None:
    """A node may die between the two names."""
    reply = await started(nodes[0])
    token = await nodes[0].share_links.make(reply)
    store = nodes[0].store
    await nodes[0].share_links.withdraw(reply)
    with pytest.raises(ReplyNotFound):
        await nodes[0].share_links.open(token)
    half = HalfStore(store)
    nodes[0].share_links._store = half  # type: ignore[assignment]
    with pytest.raises(ConnectionError):
        await nodes[0].share_links.make(reply)
    nodes[0].share_links._store = store
    token = await nodes[0].share_links.make(reply)
    assert token == half.value
    assert (await nodes[0].share_links.open(token)).id == reply.id


class HalfStore:
    """A store whose node dies after it has remembered one name."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.value = ""

    async def remember(self, name: str, value: str, *, only_new: bool = False) -> str | None:  # fmt: skip
        if self.value:
            raise ConnectionError
        self.value = value
        return await self._store.remember(name, value, only_new=only_new)


async def test_it_ends_with_the_reply() -> None:
    ahead = 0
    store = MemoryStore(keep=60, now=lambda: ahead)
    node = Replies(store, EchoBackend(), Ticker(store.clock), pace=0)
    reply = await started(node)
    token = await node.share_links.make(reply)
    ahead = 61_000_000
    store.expire()
    with pytest.raises(ReplyExpired):
        await node.share_links.open(token)
    await node.close()
