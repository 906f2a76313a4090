"""Nothing of a reply that has ended waits for the garbage collector, which the service makes rare."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest

from chatsvc.backends.echo import EchoBackend
from chatsvc.backends.openai import OpenAIBackend
from chatsvc.log import Log
from chatsvc.problems import BackendFailed, StoreUnavailable
from chatsvc.replies import Replies, Reply
from chatsvc.stores.memory import MemoryStore

from ..living import OF_FAILURES, OF_REPLIES, made, made_at_last, uncollected
from ..loopback import free_port
from ..scripted_upstream import DONE, HANG, Part, Upstream, chunk, head
from .serving import WAIT, Hanging, asking, read, read_all, serving

REPLIES = 30

Use = Callable[[Replies], Awaitable[object]]


class AwayStore(MemoryStore):
    """A store that is away when text is appended, and back for the end."""

    async def append(self, log: Log, text: str) -> None:
        raise StoreUnavailable


async def answers(messages: Any) -> AsyncIterator[str]:
    yield "ab\n"


async def raises(messages: Any) -> AsyncIterator[str]:
    yield "ab\n"
    raise ValueError


async def keeps_what_it_raises(messages: Any) -> AsyncIterator[str]:
    yield "ab\n"
    error = ValueError()  # its traceback has this frame, and this frame has it
    raise error


async def raises_many(messages: Any) -> AsyncIterator[str]:
    yield "ab\n"
    errors = []
    for number in range(2):
        try:
            raise ValueError(number)
        except ValueError as error:
            errors.append(error)
    raise ExceptionGroup("many", errors) from errors[0]


async def tells_why(messages: Any) -> AsyncIterator[str]:
    yield "ab\n"
    raise BackendFailed("The model is asleep.")


async def cancels_itself(messages: Any) -> AsyncIterator[str]:
    yield "ab\n"
    raise asyncio.CancelledError


async def ends_the_process(messages: Any) -> AsyncIterator[str]:
    yield "ab\n"
    raise SystemExit


async def never_ends(messages: Any) -> AsyncIterator[str]:
    while True:
        yield "ab\n"


async def is_read(replies: Replies) -> None:
    await read_all(await replies.start(asking("x")))


async def is_not_read(replies: Replies) -> None:
    await replies.start(asking("x"))


async def is_stopped_at_once(replies: Replies) -> None:
    reply = await replies.start(asking("x"))
    await replies.stop(reply)
    assert await replies.stopped(reply)


async def is_stopped_while_it_is_read(replies: Replies) -> None:
    reply = await replies.start(asking("x"))
    with reply.reading():
        async with aclosing(reply.characters()) as runs:
            await anext(runs)
            await replies.stop(reply)
            async for _ in runs:
                pass
    assert await replies.stopped(reply)


async def is_left(replies: Replies) -> None:
    reply = await replies.start(asking("x"))
    with reply.reading():
        async with aclosing(reply.characters()) as runs:
            await anext(runs)


async def is_left_by_a_task_that_is_cancelled(replies: Replies) -> None:
    reply = await replies.start(asking("x"))
    reading = asyncio.create_task(read(reply))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])


async def is_cut_and_resumed(replies: Replies) -> None:
    reply = await replies.start(asking("x"))
    reply_id = reply.id
    with reply.reading():
        async with aclosing(reply.characters()) as runs:
            await anext(runs)
    del reply
    await read_all(await replies.open(reply_id))


@pytest.fixture(autouse=True)
def unlogged() -> Iterator[None]:
    """Log nothing: pytest keeps what is logged, with its tracebacks, to the end of the test."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


async def check_freed(
    use: Use, replies: Replies, store: MemoryStore, kinds: tuple[type, ...]
) -> None:
    """Check that after `REPLIES` replies, with nothing kept, nothing of them is alive."""
    for _ in range(3):  # what is made once is made by now
        await use(replies)
    with uncollected():
        for _ in range(REPLIES):
            await use(replies)
        async with asyncio.timeout(WAIT):
            while replies.running:
                await asyncio.sleep(0.001)
        store.expire()
        assert await made_at_last(*kinds) == {}


@pytest.mark.parametrize(
    ("backend", "use", "options"),
    [
        (answers, is_read, {}),
        (answers, is_not_read, {}),
        (answers, is_cut_and_resumed, {"pace": 0.001}),
        (EchoBackend(), is_read, {"pace": 0.001}),
        (raises, is_read, {}),
        (keeps_what_it_raises, is_read, {}),
        (raises_many, is_read, {}),
        (tells_why, is_read, {}),
        (cancels_itself, is_read, {}),
        (ends_the_process, is_read, {}),
        (never_ends, is_read, {"max_reply": 100}),
        (Hanging("ab\n"), is_read, {"max_seconds": 0.001}),
        (Hanging(), is_stopped_at_once, {}),
        (Hanging("ab\n"), is_stopped_while_it_is_read, {}),
        (never_ends, is_stopped_while_it_is_read, {}),
        (answers, is_stopped_while_it_is_read, {"pace": 0.01}),
        (Hanging(), is_not_read, {"grace": 0.001}),
        (Hanging("ab\n"), is_left, {"grace": 0.001}),
        (Hanging("ab\n"), is_left_by_a_task_that_is_cancelled, {"grace": 0.001}),
    ],
)
async def test_a_reply_from_a_function_is_freed(
    backend: Any, use: Use, options: dict[str, Any]
) -> None:
    store = MemoryStore(keep=0)
    async with serving(backend, store, **options) as replies:
        await check_freed(use, replies, store, OF_REPLIES + OF_FAILURES)


async def test_a_reply_whose_store_went_away_is_freed() -> None:
    store = AwayStore(keep=0)
    async with serving(answers, store) as replies:
        await check_freed(is_read, replies, store, OF_REPLIES + OF_FAILURES)


STREAM = head() + chunk("ab\n")
CHUNKED = head(more="Transfer-Encoding: chunked\r\n") + b"5\r\n: x\n\n"


@pytest.mark.parametrize(
    ("script", "use"),
    [
        ([STREAM + chunk(None, finish_reason="stop") + DONE], is_read),
        ([head("400 Bad Request", "application/json") + b'{"error": "no"}'], is_read),
        ([head("503 Not Now", "application/json") + b'{"error": "no"}'], is_read),
        ([STREAM], is_read),
        ([CHUNKED], is_read),
        ([CHUNKED + b"\r\nnot a chunk\r\n"], is_read),
        ([b"not HTTP\r\n\r\n"], is_read),
        ([b""], is_read),
        ([STREAM, HANG], is_read),
        ([HANG], is_read),
        ([STREAM + b"data: {{\n\n"], is_read),
        ([STREAM + b'data: {"error": {"message": "no"}}\n\n'], is_read),
        ([STREAM, HANG], is_stopped_while_it_is_read),
        ([head(), HANG], is_stopped_at_once),
        ([HANG], is_stopped_at_once),
        ([STREAM, HANG], is_left),
    ],
)
async def test_a_reply_from_a_models_server_is_freed(
    script: list[Part], use: Use
) -> None:
    store, upstream = MemoryStore(keep=0), Upstream(script)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(upstream.running())
        # Silence is short where it is what happens, and long where something else is to come first.
        timeout = 0.02 if HANG in script and use is is_read else 20.0
        backend = OpenAIBackend(url, timeout=timeout, first_backoff=0.001)
        await backend.open()
        stack.push_async_callback(backend.close)
        replies = await stack.enter_async_context(serving(backend, store, grace=0.001))
        await check_freed(use, replies, store, OF_REPLIES)


async def test_a_reply_whose_models_server_is_not_there_is_freed() -> None:
    store = MemoryStore(keep=0)
    backend = OpenAIBackend(f"http://127.0.0.1:{free_port()}/v1", first_backoff=0.001)
    await backend.open()
    async with serving(backend, store) as replies:
        await check_freed(is_read, replies, store, OF_REPLIES + OF_FAILURES)
    await backend.close()


def test_what_is_alive_is_found() -> None:
    with uncollected():
        assert made(Log) == {}
        log = Log("id")
        assert made(Log, Reply) == {"Log": 1}
        del log
        assert made(Log) == {}
