"""Replies that failed are freed at once: none waits for the collector, which runs rarely."""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterable
from contextlib import aclosing

import pytest
from aiohttp.client_proto import ResponseHandler

from chatsvc.backends.openai import OpenAIBackend
from chatsvc.problems import BackendFailed
from tests.backends.asking import PROMPT, route
from tests.living import uncollected
from tests.loopback import free_port
from tests.scripted_upstream import DONE, HANG, Part, Upstream, chunk, head

pytestmark = [pytest.mark.sampled, pytest.mark.usefixtures("route")]

__all__ = ["route"]

REPLIES = 50
AT_ONCE = 10
"""How many replies run side by side: many of them wait for what does not come."""

COUNTED = {
    "ChunkReader",
    "ClientResponse",
    "ClientRequest",
    "Connection",
    "ResponseBody",
    "ResponseHandler",
    "StreamReader",
    "async_generator",
    "coroutine",
    "frame",
    "generator",
    "traceback",
    "Task",
    "Future",
    "Timeout",
}
"""What a reply keeps alive if something keeps the reply; and all exceptions."""

STOP = chunk(None, finish_reason="stop")

ENDS: dict[str, Iterable[Part]] = {
    "done": [head(), chunk("a"), STOP, DONE],
    "done without closing": [head(), chunk("a"), STOP, DONE, HANG],
    "refused": [head("400 X"), b"no"],
    "refused in silence": [head("400 X"), HANG],
    "refused again and again": [head("503 X")],
    "broke off before the head": [],
    "broke off at once": [head()],
    "broke off": [head(), chunk("a")],
    "broke off in a chunk": [
        head(more="Transfer-Encoding: chunked\r\n"),
        b"ff\r\n" + chunk("a"),
    ],
    "fell silent before the head": [HANG],
    "fell silent": [head(), chunk("a"), HANG],
    "an error in the stream": [head(), chunk("a"), b'data: {"error": "no"}\n\n', HANG],
    "unreadable": [head(), b"data: {\n\n", HANG],
    "not to be unpacked": [head(more="Content-Encoding: gzip\r\n"), b"garbage", HANG],
    "too much": [head(), *[b"x" * 65536] * 17, HANG],
    "no HTTP": [b"garbage\r\n\r\n", HANG],
    "nothing after the finish": [head(), chunk("a"), STOP, HANG],
}


def unread_by_aiohttp() -> set[int]:
    """Return the ids of what waits for the collector in aiohttp itself, on a loaded machine.

    A head that arrives in the very turn of the loop in which its time is over is never read. It
    stays in the queue of its handler, together with its body, which holds the handler.
    """
    found: set[int] = set()
    for handler in gc.get_objects():
        if isinstance(handler, ResponseHandler) and handler._buffer:
            bodies = [body for (_, body), _ in handler._buffer]
            found.update(map(id, (handler, handler.exception(), *bodies)))
    return found


def alive() -> Counter[str]:
    """Return how many objects that a reply could keep alive have been made in `uncollected` and live, by type."""
    counts: Counter[str] = Counter()
    unread = unread_by_aiohttp()
    for thing in gc.get_objects():
        name = type(thing).__name__
        if id(thing) in unread:
            continue
        if name in COUNTED or isinstance(thing, BaseException):
            counts[name] += 1
    return counts


async def left_at_last() -> Counter[str]:
    """Return what `alive` does beyond three of a type, once that is nothing or three seconds are over.

    Something of the last replies may be on its way out. What waits for the collector is there after
    any time.
    """
    for _ in range(150):
        left = alive()
        left -= Counter(dict.fromkeys(left, 3))
        if not left:
            break
        await asyncio.sleep(0.02)
    return left


async def fail(backend: OpenAIBackend, stop: bool = False) -> None:
    """Have one reply, which ends in whatever way; keep nothing of it."""
    try:
        async with aclosing(backend.stream(PROMPT)) as pieces:
            async for _ in pieces:
                if stop:
                    break
    except BackendFailed:
        pass


async def settle(upstream: Upstream) -> None:
    """Wait until the connections have ended on both sides."""
    async with asyncio.timeout(10):
        while upstream.open:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.02)


async def check_freed(
    upstream: Upstream, backend: OpenAIBackend, stop: bool = False
) -> None:
    await fail(backend, stop)  # what is kept once for all replies
    await settle(upstream)
    with uncollected():
        for _ in range(REPLIES // AT_ONCE):
            await asyncio.gather(*(fail(backend, stop) for _ in range(AT_ONCE)))
        await settle(upstream)
        assert not await left_at_last()


@pytest.mark.parametrize("end", ENDS)
async def test_a_reply_is_freed(end: str) -> None:
    upstream = Upstream(ENDS[end])
    async with upstream.running() as url:
        backend = OpenAIBackend(url, timeout=0.05, first_backoff=0.0)
        try:
            await check_freed(upstream, backend)
        finally:
            await backend.close()


async def test_a_reply_that_can_not_begin_is_freed() -> None:
    backend = OpenAIBackend(f"http://127.0.0.1:{free_port()}/v1", first_backoff=0.0)
    await check_freed(Upstream(), backend)
    await backend.close()


@pytest.mark.parametrize("part", [HANG, b":\n" * 10_000], ids=["silent", "flood"])
async def test_a_reply_that_is_stopped_is_freed(part: Part) -> None:
    upstream = Upstream([head(), chunk("a"), *[part] * 100])
    async with upstream.running() as url:
        backend = OpenAIBackend(url)
        try:
            await check_freed(upstream, backend, stop=True)
        finally:
            await backend.close()


async def test_a_reply_that_is_cancelled_is_freed() -> None:
    upstream = Upstream([head(), chunk("a"), HANG])
    async with upstream.running() as url:
        backend = OpenAIBackend(url)
        await backend.open()

        async def cancelled() -> None:
            upstream.asked.clear()
            task = asyncio.create_task(fail(backend))
            await upstream.asked.wait()
            await asyncio.sleep(0.005)
            task.cancel()
            await asyncio.wait([task])

        await cancelled()
        await settle(upstream)
        with uncollected():
            for _ in range(REPLIES):
                await cancelled()
            await settle(upstream)
            assert not await left_at_last()
        await backend.close()
