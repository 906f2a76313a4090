"""A reply can be stopped at any time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatsvc.backends.echo import EchoBackend

from .serving import WAIT, Hanging, Watch, asking, read, read_all, serving


async def test_a_stop_before_the_first_character() -> None:
    backend = Hanging()
    async with serving(backend) as replies:
        reply = await replies.start(asking())
        reading = asyncio.create_task(read(reply))
        await backend.hangs.wait()
        await replies.stop(reply)
        assert await replies.stopped(reply)
        assert backend.closed.is_set()
        assert await reading == ""
        assert await read_all(reply) == ("", "stopped", "stopped")


async def test_a_stop_at_once() -> None:
    backend = Hanging("a")
    async with serving(backend) as replies:
        reply = await replies.start(asking())
        await replies.stop(reply)
        assert await replies.stopped(reply)
        assert await read_all(reply) == ("", "stopped", "stopped")


async def test_a_stop_in_the_middle_keeps_what_is_out() -> None:
    backend = Hanging("ab", "c\n")
    async with serving(backend) as replies:
        reply = await replies.start(asking())
        await backend.hangs.wait()
        await asyncio.gather(replies.stop(reply), replies.stop(reply))
        assert await replies.stopped(reply)
        await replies.stop(reply)
        assert backend.closed.is_set()
        assert await read_all(reply) == ("abc\n", "stopped", "stopped")
        assert replies.running == 0


async def test_a_reply_that_was_stopped_while_its_end_waited_ends_once() -> None:
    watch = Watch()
    async with serving(EchoBackend(), pace=0.01, observers=(watch,)) as replies:
        stopped = await replies.start(asking("abcde"))
        another = await replies.start(asking("abcde"))
        await replies.stop(stopped)
        assert await replies.stopped(stopped)
        await asyncio.wait_for(watch.over.wait(), WAIT)
        watch.over.clear()
        # When the other one ends, the end that the first one was to have is past, too.
        assert await read_all(another) == ("abcde", "done", "stop")
        await asyncio.wait_for(watch.over.wait(), WAIT)
        assert replies.running == 0
    ends = [reason for what, reason in watch.events if what == "ended"]
    assert ends == ["stopped", "stop"]


async def test_a_stop_of_a_paced_reply_gives_every_reader_the_same() -> None:
    async with serving(EchoBackend(), pace=0.01) as replies:
        reply = await replies.start(asking("x" * 10_000))
        readers = [asyncio.create_task(read(reply)) for _ in range(3)]
        runs = reply.characters()
        async for before, _ in runs:
            if before >= 5:
                break
        await runs.aclose()
        await replies.stop(reply)
        texts = await asyncio.gather(*readers)
        assert len(set(texts)) == 1
        assert 6 <= len(texts[0]) < 10_000
        assert await read_all(await replies.open(reply.id)) == (
            texts[0],
            "stopped",
            "stopped",
        )


async def test_a_stop_after_the_end_changes_nothing() -> None:
    async with serving(EchoBackend(), pace=0) as replies:
        reply = await replies.start(asking("abc"))
        assert await read_all(reply) == ("abc", "done", "stop")
        await replies.stop(reply)
        assert await replies.stopped(reply)
        assert await read_all(await replies.open(reply.id)) == ("abc", "done", "stop")


async def test_a_stop_does_not_wait_for_a_backend_that_closes_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatsvc.replies.replies.STOP_WAIT_S", 0.01)
    let_go, hangs = asyncio.Event(), asyncio.Event()

    async def answer(messages: Any) -> AsyncIterator[str]:
        try:
            yield "a\n"
            hangs.set()
            await asyncio.Event().wait()
        finally:
            await let_go.wait()

    async with serving(answer) as replies:
        reply = await replies.start(asking())
        await hangs.wait()
        await replies.stop(reply)
        assert await read_all(reply) == ("a\n", "stopped", "stopped")
        assert not await replies.stopped(reply)
        assert replies.running == 1
        let_go.set()
        monkeypatch.setattr("chatsvc.replies.replies.STOP_WAIT_S", WAIT)
        assert await replies.stopped(reply)
        assert replies.running == 0
