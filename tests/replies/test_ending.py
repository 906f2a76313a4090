"""The service ends: replies get their time, and none is left."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from chatsvc.backends.echo import EchoBackend
from chatsvc.problems import Draining
from chatsvc.stores.memory import MemoryStore

from .serving import (
    WAIT,
    Hanging,
    SlowStore,
    asking,
    read,
    read_all,
    serving,
    settled,
)


async def test_draining_lets_running_replies_end_and_takes_no_new_ones() -> None:
    async with serving(EchoBackend(), pace=0.001) as replies:
        reply = await replies.start(asking("x" * 50))
        draining = asyncio.create_task(replies.drain(3600))
        await asyncio.sleep(0)
        with pytest.raises(Draining) as refused:
            await replies.start(asking())
        assert refused.value.retry_after == 1
        assert await read_all(reply) == ("x" * 50, "done", "stop")
        await asyncio.wait_for(draining, WAIT)  # no longer than they run


async def test_what_has_not_ended_when_the_time_is_over_is_interrupted() -> None:
    backend = Hanging("a\n")
    async with serving(backend) as replies:
        reply = await replies.start(asking())
        await backend.hangs.wait()
        await replies.drain(0)
        assert await read_all(reply) == ("a\n", "failed", "interrupted")
        assert reply.end is not None
        assert reply.end.problem is not None
        assert reply.end.problem["type"] == "/problems/draining"


async def test_a_reply_whose_text_is_complete_is_given_whole_when_the_node_goes() -> (
    None
):
    async with serving(EchoBackend(), pace=60) as replies:
        reply = await replies.start(asking("abcdef"))
        assert reply.released_now() == 1
        await replies.drain(0)
        assert await read_all(reply) == ("abcdef", "done", "stop")


@pytest.mark.parametrize("pace", [0, 0.001, 3600])
async def test_nothing_is_left_of_a_reply_that_is_not_kept(pace: float) -> None:
    store = MemoryStore(keep=0)
    async with serving(EchoBackend(), store, pace=pace) as replies:
        gc.disable()  # cycles would wait for it
        try:
            reply = await replies.start(asking("abc"))
            if pace == 3600:  # its end is far off
                await replies.stop(reply)
            else:
                assert await read_all(reply) == ("abc", "done", "stop")
            await settled(replies)
            left = weakref.ref(reply), weakref.ref(reply.log)
            del reply
            store.expire()
            async with asyncio.timeout(WAIT):  # its slot of the ticker holds the reader
                while any(it() is not None for it in left):
                    await asyncio.sleep(0.001)
        finally:
            gc.enable()


async def test_closing_leaves_nothing_in_whatever_state_replies_are() -> None:
    async with serving(Hanging("a\n"), SlowStore(keep=60)) as replies:
        running = [await replies.start(asking()) for _ in range(3)]
        reading = [asyncio.create_task(read(reply)) for reply in running]
        await replies.stop(running[0])
        starting = asyncio.create_task(replies.start(asking()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.wait([*reading, starting], timeout=WAIT)
    assert all(reply.end is not None for reply in running)
    assert all(task.done() for task in [*reading, starting])
    assert starting.cancelled() or not starting.exception()
