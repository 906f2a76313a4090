"""Replies are found by their id, and begun once under a key."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.backends.echo import EchoBackend
from chatsvc.cursor import new_reply_id
from chatsvc.problems import (
    InvalidRequest,
    Overloaded,
    ReplyExpired,
    ReplyNotFound,
)
from chatsvc.stores.memory import MemoryStore

from .serving import Hanging, asking, read_all, serving, settled


async def test_a_running_reply_is_the_same_for_everybody() -> None:
    backend = Hanging("a")
    async with serving(backend) as replies:
        reply = await replies.start(asking(), user="u")
        assert await replies.open(reply.id, user="u") is reply
        for user in ("", "v"):
            with pytest.raises(ReplyNotFound):
                await replies.open(reply.id, user=user)


async def test_a_reply_that_was_never_there_or_is_no_longer() -> None:
    store = MemoryStore(keep=0)
    async with serving(EchoBackend(), store, pace=0) as replies:
        with pytest.raises(ReplyNotFound):
            await replies.open(new_reply_id())
        reply = await replies.start(asking("a"))
        await read_all(reply)
        await settled(replies)
        store.expire()
        with pytest.raises(ReplyExpired):
            await replies.open(reply.id)


@pytest.mark.parametrize("text", ["", "nodes", "{}", "a b", "é" * 22, "a" * 23])
async def test_a_store_is_asked_for_ids_only(text: str) -> None:
    """In Redis an id is part of a key, and `nodes` is another one's."""
    store = MemoryStore(keep=0)
    async with serving(EchoBackend(), store) as replies:
        store.find = None  # type: ignore[assignment,method-assign]
        with pytest.raises(ReplyNotFound):
            await replies.open(text)


async def test_the_same_key_never_starts_a_second_reply() -> None:
    backend = Hanging("a")
    async with serving(backend) as replies:
        same = await asyncio.gather(
            *(replies.start(asking(), key="k", digest="d") for _ in range(5))
        )
        assert len({reply.id for reply in same}) == 1
        await backend.hangs.wait()
        assert backend.calls == 1
        with pytest.raises(InvalidRequest, match="another request"):
            await replies.start(asking(), key="k", digest="e")
        other = await replies.start(asking(), key="k", digest="e", user="other")
        assert other.id != same[0].id
        assert replies.running == 2


async def test_a_key_attaches_after_the_end() -> None:
    async with serving(EchoBackend(), pace=0) as replies:
        reply = await replies.start(asking("abc"), key="k", digest="d")
        await read_all(reply)
        again = await replies.start(asking("abc"), key="k", digest="d")
        assert again.id == reply.id
        assert await read_all(again) == ("abc", "done", "stop")


async def test_a_key_attaches_when_there_is_no_room_for_another_reply() -> None:
    async with serving(Hanging("a"), max_running=1) as replies:
        reply = await replies.start(asking(), key="k", digest="d", client="c")
        with pytest.raises(Overloaded):
            await replies.start(asking(), client="c")
        again = await replies.start(asking(), key="k", digest="d", client="c")
        assert again is reply
        replies.admission.draining = True
        again = await replies.start(asking(), key="k", digest="d", client="c")
        assert again is reply
