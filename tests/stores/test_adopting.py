"""What becomes of a reply whose owner dies, on a real Redis: another node carries it on, or ends it as it was to end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from chatsvc.backends import make_backend
from chatsvc.backends.echo import EchoBackend
from chatsvc.cursor import new_reply_id
from chatsvc.kept_prompt import keep
from chatsvc.model import End, Finish, Message, Prompt
from chatsvc.problems import BackendFailed
from chatsvc.settings import Settings
from chatsvc.stores.base import Record
from chatsvc.stores.redis import RedisStore, leases
from chatsvc.ticker import monotonic
from tests.redis_server import RedisServer
from tests.scripted_upstream import DONE, HANG, Upstream, chunk, head

from .services import PROMPT, WAIT, Scripted, Service, arrived, die, ended

USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
FAILURE = BackendFailed("The model's server fell silent.")


@pytest.mark.parametrize(
    ("finish", "end"),
    [
        (Finish("stop", USAGE), End("done", "stop", usage=USAGE)),
        (Finish("length", USAGE), End("done", "length", usage=USAGE)),
        (FAILURE, End("failed", "error", FAILURE.as_dict())),
    ],
)
async def test_once_the_text_is_complete_it_ends_as_its_owner_would_have_ended_it(
    service: Service, finish: Finish | Exception, end: End
) -> None:
    text = "a text that has arrived, but is not out."
    owner, other = await service(Scripted(text, finish)), await service(Scripted())
    reply = await owner.start(PROMPT)
    elsewhere = await other.open(reply.id)
    async with asyncio.timeout(WAIT):
        while elsewhere.log.planned_end is None:
            await other.store.refresh(elsewhere.log)
    await die(owner)
    assert await ended(elsewhere) == (text, end)


async def test_a_text_that_is_not_complete_ends_as_interrupted(
    service: Service,
) -> None:
    backend = Scripted("half of ")
    backend.close_now.set()
    owner, other = await service(backend), await service(Scripted())
    reply = await owner.start(PROMPT)
    elsewhere = await other.open(reply.id)
    await arrived(other, elsewhere, 7)
    await die(owner)
    text, end = await ended(elsewhere)
    # The last character was held back: another code point might have joined it.
    assert (text, end.state, end.finish_reason) == ("half of", "failed", "interrupted")


async def test_all_that_a_dead_node_had_is_taken_over_at_once(
    service: Service, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "MAX_ADOPTED", 3)
    backend = Scripted()
    backend.close_now.set()
    owner, other = await service(backend), await service(Scripted())
    assert isinstance(owner.store, RedisStore) and isinstance(other.store, RedisStore)
    for _ in range(10):
        await owner.start(PROMPT)
    await (
        other.store._leases.close()
    )  # it looks when the test wants so, for as long as it takes
    monkeypatch.setattr(other.store._leases, "_lease", 60.0)
    await die(owner)
    async with Redis.from_url(redis_server.admin_url) as redis:
        await redis.zadd("chatsvc:{0}:nodes", {owner.store.node: 0})
        owned = f"chatsvc:{{0}}:owned:{owner.store.node}"
        assert await redis.scard(owned) == 10
        [dead] = await other.store._leases.renew()
        [tag] = other.store._leases._tags
        await other.store._leases._adopt_of_the_dead(tag, dead)
        assert await redis.scard(owned) == 0


async def test_what_is_a_nodes_own_without_its_knowing_ends_all_the_same(
    service: Service,
) -> None:
    """The answer that gave it the reply was lost: it lives, so no other takes the reply over."""
    owner = await service(Scripted())
    store = owner.store
    assert isinstance(store, RedisStore)
    reply_id = await store.create(Record(new_reply_id(), keep(PROMPT)))
    del store._owner._outboxes[reply_id]
    reply = await owner.open(reply_id)
    text, end = await ended(reply)
    assert (text, end.finish_reason) == ("", "interrupted")


async def test_a_server_that_continues_a_message_carries_a_reply_on(
    service: Service,
) -> None:
    upstream = Upstream(
        [head(), chunk("Once upon"), HANG],
        [head(), chunk("n a time."), chunk(None, finish_reason="stop"), DONE],
    )
    settings = Settings(backend="openai", openai_continue="yes", pace=0)
    async with upstream.running() as url, AsyncExitStack() as stack:
        backends = [make_backend(replace(settings, openai_url=url)) for _ in range(2)]
        for backend in backends:
            stack.push_async_callback(backend.close)
        owner, other = [await service(backend) for backend in backends]
        reply = await owner.start(PROMPT)
        elsewhere = await other.open(reply.id)
        await arrived(other, elsewhere, len("Once upo"))  # the last is held back
        await die(owner)
        text, end = await ended(elsewhere)
    assert (text, end.state) == ("Once upon a time.", "done")
    asked = upstream.requests[1]
    assert asked["messages"][-1] == {"role": "assistant", "content": "Once upo"}
    assert asked["continue_final_message"] is True
    assert asked["add_generation_prompt"] is False


async def test_a_server_that_is_not_said_to_continue_is_not_asked_to(
    service: Service,
) -> None:
    upstream = Upstream([head(), chunk("Once upon"), HANG])
    async with upstream.running() as url:
        settings = Settings(backend="openai", openai_url=url)
        backend, another = make_backend(settings), make_backend(settings)
        owner, other = await service(backend), await service(another)
        reply = await owner.start(PROMPT)
        elsewhere = await other.open(reply.id)
        await arrived(other, elsewhere, len("Once upo"))
        await die(owner)
        assert (await ended(elsewhere))[1].finish_reason == "interrupted"
        await backend.close()
        await another.close()
    assert len(upstream.requests) == 1


async def test_one_that_was_forgotten_is_looked_after_once_it_owns_something(
    service: Service, redis_server: RedisServer
) -> None:
    """A node that was paused, and is killed when it has just woken and begun a reply."""
    backend = Scripted()
    backend.close_now.set()
    owner, other = await service(backend), await service(Scripted())
    assert isinstance(owner.store, RedisStore)
    await owner.store._leases.close()
    async with Redis.from_url(redis_server.admin_url) as redis, asyncio.timeout(WAIT):
        while await redis.zscore("chatsvc:{0}:nodes", owner.store.node) is not None:
            await asyncio.sleep(0.01)
    reply = await owner.start(PROMPT)
    elsewhere = await other.open(reply.id)
    await die(owner)
    _, end = await ended(elsewhere)
    assert (end.state, end.finish_reason) == ("failed", "interrupted")


async def test_who_takes_over_what_it_reads_is_no_other_that_reads_it(
    service: Service, redis_server: RedisServer
) -> None:
    """Else no reply that was taken over would ever be abandoned."""
    owner, other = await service(EchoBackend()), await service(EchoBackend())
    prompt = Prompt((Message("user", "x" * 10_000),))
    reply = await other.open((await owner.start(prompt)).id)
    readers = f"chatsvc:{{0}}:{reply.id}:readers"
    async with Redis.from_url(redis_server.admin_url) as redis, asyncio.timeout(WAIT):
        with reply.reading():
            while not await redis.hlen(readers):
                await asyncio.sleep(0.01)
            await die(owner)
            while not reply.produced:
                await asyncio.sleep(0.01)
        await other.store.refresh(reply.log)  # goes behind it on the same connection
        clock = other.store.clock
        last = await other.store.cluster.last_read(reply.log)
        assert 0 < last <= monotonic() + clock.offset + 5000
    await other.stop(reply)
