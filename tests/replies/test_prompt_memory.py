"""What a reply's prompt costs while the model is silent: about its bytes, once."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from chatsvc.backends.base import Backend
from chatsvc.backends.function import FunctionBackend
from chatsvc.backends.openai import OpenAIBackend
from chatsvc.kept_prompt import keep
from chatsvc.model import Context, Message, Prompt
from chatsvc.replies import Replies, Reply
from chatsvc.stores.memory import MemoryStore
from chatsvc.ticker import Ticker

REPLIES = 5
MESSAGES = 3000
OVERHEAD_BYTES = 40_000
"""What a reply costs besides: its objects, a connection to the model's server and its buffers."""


class Silent(asyncio.Protocol):
    """A server that reads requests, keeps and answers nothing, and counts their bytes."""

    def __init__(self) -> None:
        self.bytes = 0

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.bytes += len(data)


def large(number: int) -> Prompt:
    """A conversation of many small messages, whose values are many times as large as their JSON."""
    turns = (Message("user", f"hello {number} {turn}") for turn in range(MESSAGES))
    return Prompt(tuple(turns), options={"tools": [{"n": n} for n in range(100)]})


async def asked(server: Silent, expected: int) -> None:
    async with asyncio.timeout(60):
        while server.bytes < expected:
            await asyncio.sleep(0.01)


async def waits(messages: Any, context: Context) -> AsyncIterator[str]:
    """A function that has no use for the conversation after its beginning."""
    del messages, context
    await asyncio.Event().wait()
    yield ""


async def begun(replies: Replies, number: int, settle: Callable[[], Any]) -> list[Reply]:  # fmt: skip
    """Start some replies, and wait until the backend has been asked for all of them."""
    started = [await replies.start(keep(large(n))) for n in range(number)]
    await settle()
    gc.collect()
    return started


@pytest.mark.parametrize("kind", ["openai", "function"])
async def test_a_waiting_prompt_costs_about_its_bytes(kind: str) -> None:
    server = Silent()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: server, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        backend: Backend = FunctionBackend(waits)
        if kind == "openai":
            backend = OpenAIBackend(f"http://127.0.0.1:{port}/v1", timeout=60)
        store = MemoryStore(keep=60)
        await backend.open()
        replies = Replies(store, backend, Ticker(store.clock), grace=3600)
        size = len(keep(large(0)).json)
        total = 0

        async def settle() -> None:
            nonlocal total
            total += REPLIES
            if kind == "openai":
                await asked(server, total * size * 9 // 10)
            for _ in range(5):
                await asyncio.sleep(0)

        first = await begun(replies, REPLIES, settle)  # what is made once is there
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            started = await begun(replies, REPLIES, settle)
            after, _ = tracemalloc.get_traced_memory()
            each = (after - before) / REPLIES
            assert size <= each <= 1.1 * size + OVERHEAD_BYTES
            assert sum(r.record.prompt.size for r in started) >= REPLIES * size
            for reply in started:
                await replies.stop(reply)
                await replies.stopped(reply)
            gc.collect()
            left, _ = tracemalloc.get_traced_memory()
            # Both the store and whoever still reads have let go of it.
            assert (left - before) / REPLIES <= OVERHEAD_BYTES
            assert all(r.record.prompt.size < 200 for r in started)
        finally:
            tracemalloc.stop()
        for reply in first:
            await replies.stop(reply)
        await replies.close()
        await backend.close()
