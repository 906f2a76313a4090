"""A wake-up wakes who waits, once, and is nothing while nobody does."""

import asyncio

import pytest

from chatsvc.backends.wake_up import WakeUp


async def test_each_wait_needs_a_wake_up_of_its_own() -> None:
    news = WakeUp(asyncio.get_running_loop())
    news.wake()  # nobody waits: it is not kept
    for _ in range(2):
        waiting = asyncio.create_task(news.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        news.wake()
        news.wake()
        await waiting


async def test_a_wait_may_be_cancelled() -> None:
    news = WakeUp(asyncio.get_running_loop())
    waiting = asyncio.create_task(news.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    news.wake()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    news.wake()
