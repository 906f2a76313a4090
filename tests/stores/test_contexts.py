"""The context of a request, kept in Redis with the reply, for the node that carries the reply on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from chatsvc.cursor import new_reply_id
from chatsvc.kept_prompt import keep
from chatsvc.model import (
    Context,
    Extra,
    Piece,
    Prompt,
    PromptInContext,
    Reasoning,
    Source,
)
from chatsvc.stores.base import Record
from chatsvc.stores.redis import RedisStore
from chatsvc.stores.redis.records import encode_context, with_later_fields
from chatsvc.units import Mark, PartText
from tests.redis_server import RedisServer

from .services import PROMPT, Scripted, Service, arrived, die, ended

CONTEXT = Context(chat="c", headers={"X-Tenant": "acme", "X-Odd": "你\n"})


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Any]:
    """To see what stands in Redis."""
    async with Redis.from_url(redis_server.admin_url, decode_responses=True) as client:
        yield client


@pytest.mark.parametrize("context", [Context(), CONTEXT])
async def test_it_stands_in_a_field_of_its_own(
    redis: Any, redis_server: RedisServer, context: Context
) -> None:
    store = RedisStore(redis_server.url, keep=60)
    other = RedisStore(redis_server.url, keep=60)
    await store.open()
    await other.open()
    try:
        record = Record(new_reply_id(), keep(PROMPT), context=context)
        await store.create(record)
        fields = await redis.hgetall(f"chatsvc:{{0}}:{record.reply_id}")
        assert ("h" in fields) == (context != Context())
        assert "context" not in fields["r"] and "acme" not in fields["r"]
        for each in (store, other):
            found, _ = await each.find(record.reply_id)
            assert found == record
    finally:
        await store.close()
        await other.close()


def test_a_context_that_can_not_be_read_is_none() -> None:
    record = Record("r", keep(PROMPT))
    for text in (None, "", "{", "5", '{"headers":5}', '{"chat":"\\ud800"}'):
        assert with_later_fields(record, (text, None)) == record
        noted = with_later_fields(record, (text, "so"))
        assert (noted.context, noted.note) == (Context(), "so")
    later = with_later_fields(record, ('{"chat":"c","new":1}', None))
    assert later.context == Context(chat="c")
    known = Record("r", keep(PROMPT), context=CONTEXT)
    assert with_later_fields(record, (encode_context(known), None)) == known


class Carrying(Scripted):
    """It can carry on, and notes how it was asked."""

    pace = 0.0
    resumes = True

    def __init__(self, *pieces: Piece, text: str = "ab") -> None:
        super().__init__(text)
        self.pieces = pieces
        self.asked: list[PromptInContext] = []
        self.close_now.set()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """What is not written yet, then the pieces; it hangs if nothing was written."""
        assert isinstance(prompt, PromptInContext)
        self.asked.append(prompt)
        yield self.text[len(prompt.written) :]
        for piece in self.pieces:
            yield piece
        if not prompt.written:
            yield "c"
            await asyncio.Event().wait()


async def test_the_node_that_carries_a_reply_on_has_the_context(
    service: Service,
) -> None:
    extra = Extra({"model": "m"}, "chunk")
    first, second = Carrying(extra), Carrying(extra, Extra({"seed": 1}), text="abcd")
    owner, other = await service(first), await service(second)
    reply = await owner.start(PROMPT, user="ann", context=CONTEXT)
    elsewhere = await other.open(reply.id, user="ann")
    await arrived(other, elsewhere, 2)
    await die(owner)
    text, end = await ended(elsewhere)
    assert (text, end.state) == ("abcd", "done")
    context = Context("ann", reply.id, "c", headers=CONTEXT.headers)
    for backend in (first, second):
        assert context in [prompt.context for prompt in backend.asked]
    # The extra of the first node is numbered on, and not written again.
    marks = [u for _, u in elsewhere.log.units(0, elsewhere.log.offset) if not isinstance(u, PartText)]  # fmt: skip
    assert marks == [
        Mark(1, "extra", {"value": {"model": "m"}, "at": "chunk"}, whole=True),
        Mark(2, "extra", {"value": {"seed": 1}}, whole=True),
    ]


@pytest.mark.parametrize("piece", [Reasoning("hm"), Source("https://example.org/")])
async def test_a_reply_with_another_part_is_not_carried_on(
    service: Service, piece: Piece
) -> None:
    backend = Carrying(piece)
    owner, other = await service(backend), await service(Carrying())
    reply = await owner.start(PROMPT)
    elsewhere = await other.open(reply.id)
    await arrived(other, elsewhere, 2)
    await die(owner)
    text, end = await ended(elsewhere)
    assert (end.state, end.finish_reason) == ("failed", "interrupted")
    assert text in ("a", "ab")
