"""What becomes of a reply whose owner dies, on a real Redis: another node carries it on, or ends it as it was to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from chatsvc.backends.base import Backend, Finish, Message, Prompt
from chatsvc.problems import BackendFailed
from chatsvc.replies import Replies, Reply
from chatsvc.stores.log import End
from chatsvc.stores.redis import RedisStore
from chatsvc.ticker import Ticker
from tests.redis_server import RedisServer

WAIT = 20.0  # seconds: for what must happen, however slow the machine
PROMPT = Prompt((Message("user", "你好"),))

Node = Callable[[Backend], Awaitable[Replies]]


class Scripted:
    """Gives some text and a finish, or fails, and can't carry on what another has begun."""

    name = "scripted"
    pace = 0.02
    lag = None
    resumes = False

    def __init__(
        self, text: str = "", finish: Finish | Exception | None = None
    ) -> None:
        self.text = text
        self.finish = finish

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish, None]:
        """The text, then the finish; without one, nothing more."""
        yield self.text
        if isinstance(self.finish, Exception):
            raise self.finish
        if self.finish is None:
            await asyncio.Event().wait()
        else:
            yield self.finish

    async def open(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to give back."""


@pytest.fixture
async def node(redis_server: RedisServer) -> AsyncIterator[Node]:
    """Starts nodes on the same Redis, whose leases are short."""
    async with AsyncExitStack() as stack:

        async def start(backend: Backend) -> Replies:
            store = RedisStore(redis_server.url, keep=60, lease=0.4)
            await store.open()
            stack.push_async_callback(store.close)
            replies = Replies(store, backend, Ticker())
            stack.push_async_callback(replies.close)
            return replies

        yield start


async def die(replies: Replies) -> None:
    """Leave everything as a crash does."""
    store = replies.store
    assert isinstance(store, RedisStore)
    await store._nodes.close()
    await store._writer.close()
    for task in list(replies._producers):
        task.cancel()


async def ended(reply: Reply) -> tuple[str, End]:
    """The whole text, and the end."""
    text = ""
    with reply.reading():
        async with asyncio.timeout(WAIT):
            async for _, run in reply.characters():
                text += "".join(run)
    assert reply.end is not None
    return text, reply.end


USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
FAILURE = BackendFailed("The model's server fell silent.")


@pytest.mark.parametrize(
    ("finish", "end"),
    [
        (Finish("stop", USAGE), End("done", "stop", usage=USAGE)),
        (Finish("length", USAGE), End("done", "length", usage=USAGE)),
        (FAILURE, End("failed", "error", FAILURE.as_dict())),
    ],
)
async def test_once_the_text_is_complete_it_ends_as_its_owner_would_have_ended_it(
    node: Node, finish: Finish | Exception, end: End
) -> None:
    text = "a text that has arrived, but is not out. " * 2
    owner, other = await node(Scripted(text, finish)), await node(Scripted())
    reply = await owner.start(PROMPT)
    elsewhere = await other.open(reply.id)
    async with asyncio.timeout(WAIT):
        while elsewhere.log.ending is None:
            await other.store.refresh(elsewhere.log)
    await die(owner)
    assert await ended(elsewhere) == (text, end)


async def test_a_text_that_is_not_complete_ends_as_interrupted(node: Node) -> None:
    owner, other = await node(Scripted("half of ")), await node(Scripted())
    reply = await owner.start(PROMPT)
    elsewhere = await other.open(reply.id)
    async with asyncio.timeout(WAIT):
        while elsewhere.log.position < 7:
            await other.store.refresh(elsewhere.log)
    await die(owner)
    text, end = await ended(elsewhere)
    # The last character was held back: another code point might have joined it.
    assert (text, end.state, end.finish_reason) == ("half of", "failed", "interrupted")
