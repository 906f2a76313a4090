"""The service over a backend and a store in memory, for these tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from chatsvc.backends import Backend
from chatsvc.backends.function import FunctionBackend
from chatsvc.client_limits import UNLIMITED, StartLimits
from chatsvc.log import Log
from chatsvc.model import Message, Prompt
from chatsvc.replies import Replies
from chatsvc.replies.reply import Reply
from chatsvc.stores import Record, SingleNode
from chatsvc.stores.memory import MemoryStore
from chatsvc.ticker import Ticker

FAMILY = "👨‍👩‍👧"
WAIT = 20.0  # seconds: for what must happen, however slow the machine


def _reason(reply: Reply) -> str | None:
    return None if reply.end is None else reply.end.finish_reason


class Watch:
    """An observer that tells tests what happened."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str | None]] = []
        self.over = asyncio.Event()
        self.count = 0

    def producing(self, count: int) -> None:
        self.count = count

    def started(self, reply: Reply) -> None:
        self.events.append(("started", _reason(reply)))

    def first(self, reply: Reply) -> None:
        self.events.append(("first", _reason(reply)))

    def handed_on(self, reply: Reply, successor: str) -> None:
        self.events.append(("handed_on", successor))
        self.over.set()

    def taken_over(self, reply: Reply) -> None:
        self.events.append(("taken_over", _reason(reply)))

    def ended(self, reply: Reply) -> None:
        self.events.append(("ended", _reason(reply)))
        self.over.set()


@asynccontextmanager
async def serving(
    backend: Backend | Callable[..., Any],
    store: MemoryStore | None = None,
    **options: Any,
) -> AsyncIterator[Replies]:
    """The service over a backend; nothing may be left of it in the end."""
    before = asyncio.all_tasks()
    store = store or MemoryStore(keep=60)
    await store.open()
    answering = FunctionBackend(backend) if callable(backend) else backend
    replies = Replies(store, answering, Ticker(), **options)
    try:
        yield replies
    finally:
        await replies.close()
        await store.close()
    assert replies.running == 0
    async with asyncio.timeout(
        WAIT
    ):  # a scripted upstream has a task for each connection
        while not asyncio.all_tasks() <= before:
            await asyncio.sleep(0.001)


def asking(text: str = "") -> Prompt:
    return Prompt((Message("user", text),))


async def read(reply: Reply, after: int = 0) -> str:
    """All of a reply's text, to the end."""
    text = ""
    with reply.reading():
        async with aclosing(reply.characters(after)) as runs:
            async for _, run in runs:
                text += "".join(run)
    return text


async def read_all(reply: Reply) -> tuple[str, str, str]:
    """The text, the state and the finish reason."""
    text = await asyncio.wait_for(read(reply), WAIT)
    assert reply.end is not None
    return text, reply.end.state, reply.end.finish_reason


async def settled(replies: Replies) -> None:
    """Wait until no reply is produced: a reader may learn of the end before the producer has gone."""
    async with asyncio.timeout(WAIT):
        while replies.running:
            await asyncio.sleep(0)


class Hanging:
    """A backend that gives some text and then hangs, until it is closed."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces
        self.hangs = asyncio.Event()
        self.closed = asyncio.Event()
        self.calls = 0

    async def __call__(self, messages: list[dict[str, str]]) -> AsyncIterator[str]:
        self.calls += 1
        try:
            for piece in self.pieces:
                yield piece
            self.hangs.set()
            await asyncio.Event().wait()
        finally:
            self.closed.set()


class Shared(SingleNode):
    """Other nodes may use the store as well."""

    shared = True


class SlowStore(MemoryStore):
    """Takes its time, as one on another machine does."""

    cluster = Shared()

    async def create(self, record: Record, limits: StartLimits = UNLIMITED) -> str:
        await asyncio.sleep(0)
        reply_id = await super().create(record, limits)
        await asyncio.sleep(0)
        return reply_id

    async def find(self, reply_id: str) -> tuple[Record, Log]:
        await asyncio.sleep(0)
        return await super().find(reply_id)
