"""Readers come and go; without any, a reply is given up."""

from __future__ import annotations

import asyncio

from .serving import WAIT, Hanging, Watch, asking, read, read_all, serving


async def test_a_reply_that_nobody_reads_is_abandoned() -> None:
    backend, watch = Hanging("a\n"), Watch()
    async with serving(backend, grace=0.01, observers=(watch,)) as replies:
        reply = await replies.start(asking())
        await asyncio.wait_for(watch.over.wait(), WAIT)
        assert backend.closed.is_set()
        assert await read_all(reply) == ("a\n", "stopped", "abandoned")


async def test_grace_counts_from_when_the_last_reader_went() -> None:
    backend, watch = Hanging("a\n"), Watch()
    async with serving(backend, grace=0.0, observers=(watch,)) as replies:
        reply = await replies.start(asking())
        with reply.reading():
            with reply.reading():
                assert reply.grace is None
            assert reply.grace is None
            await backend.hangs.wait()
            assert reply.end is None
        assert reply.grace is not None
        await asyncio.wait_for(watch.over.wait(), WAIT)
        assert await read_all(reply) == ("a\n", "stopped", "abandoned")


async def test_a_reader_that_comes_back_in_time_saves_the_reply() -> None:
    backend = Hanging("a\n")
    async with serving(backend, grace=3600) as replies:
        reply = await replies.start(asking())
        for _ in range(3):
            timer = reply.grace
            assert timer is not None
            with reply.reading():
                assert timer.cancelled()
                assert reply.grace is None
        assert reply.end is None
        await replies.stop(reply)
        assert await replies.stopped(reply)
        assert reply.grace is None


async def test_readers_that_come_and_go_cost_one_producer_and_leave_nothing() -> None:
    backend = Hanging("你好\n")
    async with serving(backend) as replies:
        reply = await replies.start(asking())
        readers = [asyncio.create_task(read(reply)) for _ in range(50)]
        await backend.hangs.wait()
        for reader in readers[::2]:
            reader.cancel()
        await asyncio.wait(readers[::2])
        assert reply.readers == 25
        assert (backend.calls, replies.running, replies.known) == (1, 1, 1)
        await replies.stop(reply)
        assert set(await asyncio.gather(*readers[1::2])) == {"你好\n"}
        assert await replies.stopped(reply)
        assert reply.readers == 0
        assert not reply.log.waiters
        del reply, readers
        assert (replies.running, replies.known) == (0, 0)
