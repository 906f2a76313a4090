"""Whole services on a real Redis, in this process: some of them die, and others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from chatsvc.model import End, Finish, Message, Piece, Prompt
from chatsvc.replies import Replies, Reply
from chatsvc.stores.redis import RedisStore

WAIT = 20.0  # seconds: for what must happen, however slow the machine
PROMPT = Prompt((Message("user", "你好"),))

Service = Callable[..., Awaitable[Replies]]
"""Takes a backend, and perhaps another class of stores."""


class Scripted:
    """Gives some text and a finish, or fails, and can't carry on what another has begun.

    Without a finish it gives nothing more until it is closed, and then it takes until `close_now`.
    """

    name = "scripted"
    pace = 0.02
    lag = None
    resumes = False

    def __init__(
        self, text: str = "", finish: Finish | Exception | None = None
    ) -> None:
        self.text = text
        self.finish = finish
        self.closing = asyncio.Event()
        self.close_now = asyncio.Event()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """The text, then the finish."""
        yield self.text
        if isinstance(self.finish, Exception):
            raise self.finish
        if self.finish is not None:
            yield self.finish
            return
        try:
            await asyncio.Event().wait()
        finally:
            self.closing.set()
            await self.close_now.wait()

    async def open(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to give back."""


async def die(replies: Replies) -> None:
    """Leave everything as a crash does."""
    store = replies.store
    assert isinstance(store, RedisStore)
    await store._leases.close()
    await store._commands.close()
    replies._producers.cancel_all()


async def ended(reply: Reply) -> tuple[str, End]:
    """The whole text, and the end."""
    text = ""
    with reply.reading():
        async with asyncio.timeout(WAIT):
            async for _, run in reply.characters():
                text += "".join(run)
    assert reply.end is not None
    return text, reply.end


async def arrived(replies: Replies, reply: Reply, position: int) -> None:
    """Wait until text has arrived on this node."""
    async with asyncio.timeout(WAIT):
        while reply.log.position < position:
            await replies.store.refresh(reply.log)
