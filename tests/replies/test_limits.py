"""How long a reply may be, and how many may run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from chatsvc.client_limits import ClientLimits
from chatsvc.cursor import new_reply_id
from chatsvc.kept_prompt import keep
from chatsvc.log import Log
from chatsvc.problems import Overloaded, TooManyRequests
from chatsvc.replies.reply import Reply
from chatsvc.stores import Record
from chatsvc.stores.memory import MemoryStore

from .serving import (
    FAMILY,
    WAIT,
    Hanging,
    Shared,
    SlowStore,
    Watch,
    asking,
    read_all,
    serving,
)


@pytest.mark.parametrize(
    ("text", "limit", "kept", "reason"),
    [
        ("abc", 3, "abc", "stop"),
        ("abcd", 3, "abc", "length"),
        ("你好", 6, "你好", "stop"),
        ("你好", 5, "你", "length"),
        ("你好", 2, "", "length"),
        (FAMILY * 2, len(FAMILY.encode()) * 2, FAMILY * 2, "stop"),
        (FAMILY * 2, len(FAMILY.encode()) * 2 - 1, FAMILY, "length"),
        (FAMILY, len(FAMILY.encode()) - 1, "", "length"),
        ("a\r\nb", 3, "a\nb", "stop"),
    ],
)
@pytest.mark.parametrize("size", [1, 100])
async def test_a_reply_too_long_ends_at_a_characters_edge(
    text: str, limit: int, kept: str, reason: str, size: int
) -> None:
    closed = asyncio.Event()

    async def answer(messages: Any) -> AsyncIterator[str]:
        try:
            for i in range(0, len(text), size):
                yield text[i : i + size]
        finally:
            closed.set()

    async with serving(answer, max_reply=limit) as replies:
        reply = await replies.start(asking())
        assert await read_all(reply) == (kept, "done", reason)
        assert closed.is_set()


@pytest.mark.parametrize("store", [MemoryStore, SlowStore])
async def test_only_so_many_run_at_once(store: type[MemoryStore]) -> None:
    async with serving(Hanging("a"), store(keep=60), max_running=3) as replies:
        started = await asyncio.gather(
            *(replies.start(asking()) for _ in range(5)), return_exceptions=True
        )
        running = [reply for reply in started if isinstance(reply, Reply)]
        assert (len(running), replies.running) == (3, 3)
        refused = [one for one in started if isinstance(one, Overloaded)]
        assert [one.retry_after for one in refused] == [1, 1]
        await replies.stop(running[0])
        assert await replies.stopped(running[0])
        await replies.start(asking())
        with pytest.raises(Overloaded):
            await replies.start(asking())


@pytest.mark.parametrize("store", [MemoryStore, SlowStore])
async def test_only_so_many_of_one_client_run_at_once(
    store: type[MemoryStore],
) -> None:
    two = ClientLimits(running=2)
    async with serving(Hanging("a"), store(keep=60)) as replies:
        started = await asyncio.gather(
            *(replies.start(asking(), client="c", limits=two) for _ in range(3)),
            return_exceptions=True,
        )
        assert [type(one) for one in started].count(TooManyRequests) == 1
        other = await replies.start(asking(), client="other", limits=two)
        mine = next(one for one in started if isinstance(one, Reply))
        await replies.stop(mine)
        assert await replies.stopped(mine)
        await replies.start(asking(), client="c", limits=two)
        with pytest.raises(TooManyRequests):
            await replies.start(asking(), client="c", limits=two)
        assert other.end is None


@pytest.mark.parametrize("patience", range(6))
async def test_who_leaves_while_a_reply_is_begun_leaves_none_without_an_end(
    patience: int,
) -> None:
    backend, watch = Hanging("a"), Watch()
    store = SlowStore(keep=60)
    async with serving(backend, store, grace=0, observers=(watch,)) as replies:
        starting = asyncio.create_task(replies.start(asking(), key="k", digest="d"))
        for _ in range(patience):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
        reply_id = await store.known(Record("", keep(asking()), key="k", digest="d"))
        if patience == 0:
            assert reply_id is None
            return
        await asyncio.wait_for(watch.over.wait(), WAIT)
        reply_id = await store.known(Record("", keep(asking()), key="k", digest="d"))
        assert reply_id is not None
        assert (await read_all(await replies.open(reply_id)))[2] == "abandoned"


class Orphaned(Shared):
    """Lets tests tell of a reply whose owner is gone, and notes what is taken over."""

    def on_orphan(self, adopt: Callable[[str], Awaitable[None]]) -> None:
        self.adopt = adopt
        self.taken: list[str] = []

    async def take_over(self, log: Log) -> bool:
        self.taken.append(log.reply_id)
        return True


async def test_what_a_dead_node_left_is_taken_over_if_there_is_room() -> None:
    store, orphaned = SlowStore(keep=60), Orphaned()
    store.cluster = orphaned
    async with serving(Hanging("a"), store, max_running=1) as replies:
        orphans = [
            await store.create(Record(new_reply_id(), keep(asking()))) for _ in "ab"
        ]
        running = await replies.start(asking())
        await orphaned.adopt(orphans[0])
        assert orphaned.taken == []
        await replies.stop(running)
        assert await replies.stopped(running)
        await orphaned.adopt(orphans[0])
        assert orphaned.taken == orphans[:1]
        end = (await read_all(await replies.open(orphans[0])))[1:]
        assert end == ("failed", "interrupted")
        await replies.drain(0)
        await orphaned.adopt(orphans[1])
        assert orphaned.taken == orphans[:1]
