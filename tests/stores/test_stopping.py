"""A stop from a node that does not own the reply, on a real Redis: the same as one from the owner."""

from __future__ import annotations

import asyncio

import pytest

import chatsvc.replies.replies
from chatsvc.model import End
from chatsvc.replies import Replies, Reply
from chatsvc.stores.redis import RedisStore

from .services import PROMPT, WAIT, Scripted, Service, arrived, die, ended

TEXT = "a text that has arrived and takes 2 s to be out. " * 2


async def two(
    service: Service, backend: Scripted
) -> tuple[Replies, Reply, Replies, Reply]:
    """A running reply, on its owner and on another node."""
    owner, other = await service(backend), await service(Scripted())
    reply = await owner.start(PROMPT)
    elsewhere = await other.open(reply.id)
    await arrived(other, elsewhere, len(TEXT) - 1)
    return owner, reply, other, elsewhere


async def test_it_waits_for_the_producer_and_names_the_position_where_all_end(
    service: Service,
) -> None:
    backend = Scripted(TEXT)
    _, reply, other, elsewhere = await two(service, backend)
    await other.stop(elsewhere)
    stopping = asyncio.create_task(other.stopped(elsewhere))
    async with asyncio.timeout(WAIT):
        await backend.closing.wait()
        asked = _operations(other)
        while _operations(other) < asked + 3:
            await asyncio.sleep(0)
    assert not stopping.done()
    backend.close_now.set()
    assert await asyncio.wait_for(stopping, WAIT)
    assert elsewhere.state == "stopped"
    position = elsewhere.released_now()
    assert await ended(elsewhere) == (TEXT[:position], End("stopped", "stopped"))
    assert await ended(reply) == await ended(elsewhere)
    again = await other.open(reply.id)
    await other.stop(again)
    assert await other.stopped(again)
    assert (again.state, again.released_now()) == ("stopped", position)


def _operations(replies: Replies) -> int:
    assert isinstance(replies.store, RedisStore)
    return replies.store._commands.operations


async def test_it_does_not_wait_for_ever(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatsvc.replies.replies, "STOP_WAIT_S", 0.05)
    backend = Scripted(TEXT)
    _, _, other, elsewhere = await two(service, backend)
    await other.stop(elsewhere)
    await asyncio.wait_for(backend.closing.wait(), WAIT)
    assert not await other.stopped(elsewhere)
    backend.close_now.set()


async def test_it_does_not_wait_for_a_node_that_is_dead(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatsvc.replies.replies, "STOP_WAIT_S", WAIT)
    backend = Scripted(TEXT)
    backend.close_now.set()
    owner, _, other, elsewhere = await two(service, backend)
    await die(owner)
    await other.stop(elsewhere)
    assert await other.stopped(elsewhere)
    assert elsewhere.state == "stopped"
