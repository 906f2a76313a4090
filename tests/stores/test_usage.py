"""What a reply has used stands in its end, whatever node sets that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from chatsvc.log import Log
from chatsvc.model import End, Finish, Piece, Prompt, Reasoning, Usage
from chatsvc.replies import Replies, Reply
from chatsvc.stores.redis import RedisStore
from chatsvc.stores.redis.entries import ReplyEntry, decode_end, encode, encode_end
from chatsvc.stores.redis.writes import Answer, Write
from chatsvc.units import Mark
from tests.redis_server import RedisServer

from .contract import DONE, FAILED, PROMPT, STOPPED, begin
from .services import WAIT, Scripted, Service, die
from .test_parts import Node, forget, key_of, node

__all__ = ["node"]  # a fixture

FIRST = {"prompt_tokens": 9, "completion_tokens": 1}
# Lua's own JSON would make another of each of these.
ODD: dict[str, Any] = {"total": 2**60, "none": [], "cost": 0.1, "text": "好\u2028/"}


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncGenerator[Any, None]:
    """To see what stands in Redis."""
    async with Redis.from_url(redis_server.url, decode_responses=True) as client:
        yield client


async def ended(store: RedisStore, log: Log) -> End:
    async with asyncio.timeout(WAIT):
        while log.end is None:
            await store.refresh(log)
    return log.end


# ---------------------------------------------------------------------- the store


@pytest.mark.parametrize("usage", [FIRST, ODD])
async def test_a_stop_on_another_node_says_what_was_used(
    node: Node, client: Any, usage: dict[str, Any]
) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    await a.append(log, "x")
    a.note_usage(log, usage)
    await a.append(log, "y")
    await a.refresh(log)
    _, elsewhere = await b.find(log.reply_id)
    await b.finish(elsewhere, STOPPED)
    expected = End("stopped", "stopped", usage=usage)
    _, late = await (await node()).find(log.reply_id)
    assert await ended(a, log) == elsewhere.end == late.end == expected
    fields = (await client.xrevrange(f"{key_of(log)}:log", count=1))[0][1]
    assert fields["e"] == encode(ReplyEntry(end=expected))["e"]


async def test_the_last_usage_is_written_with_what_comes_next_and_only_once(
    node: Node, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await node()
    log = await begin(a)
    key = key_of(log)

    writes: list[Sequence[Write]] = []
    write = a._owner._scripts.write

    async def noting(some: Sequence[Write]) -> list[Answer]:
        writes.append(some)
        return await write(some)

    monkeypatch.setattr(a._owner._scripts, "write", noting)

    async def append(text: str) -> int:
        """The scripts that it takes."""
        before = len(writes)
        await a.append(log, text)
        while log.position < before_text + len(text):
            await asyncio.sleep(0)
        return len(writes) - before

    before_text = 0
    for usage in (None, FIRST, {**FIRST, "completion_tokens": 2}):
        if usage is not None:
            a.note_usage(log, usage)
            a.note_usage(log, dict(usage))
        assert await append("abc") == 1
        before_text = log.position
        written = await client.hget(key, "u")
        assert (written and json.loads(written)) == usage
    await client.hdel(key, "u")
    a.note_usage(log, {**FIRST, "completion_tokens": 2})
    await append("abc")
    assert await client.hget(key, "u") is None
    # Side units and the end that is planned take it with them, too.
    a.note_usage(log, FIRST)
    await a.append_side(log, [Mark(1, "data", whole=True)])
    await a._owner._outboxes[log.reply_id].flushed()
    assert json.loads(await client.hget(key, "u")) == FIRST
    a.note_usage(log, ODD)
    await a.seal(log, End("done", "stop", usage=ODD))
    assert json.loads(await client.hget(key, "u")) == ODD


async def test_the_ends_own_usage_counts(node: Node) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    a.note_usage(log, FIRST)
    await a.append(log, "x")
    await a.seal(log, DONE)
    _, elsewhere = await b.find(log.reply_id)
    await a.finish(log, DONE)
    assert await ended(b, elsewhere) == log.end == DONE


async def test_the_owner_says_also_what_is_not_written_yet(node: Node) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    a.note_usage(log, FIRST)
    await a.append(log, "x")
    a.note_usage(log, ODD)
    _, elsewhere = await b.find(log.reply_id)
    await a.finish(log, FAILED)
    assert (await ended(b, elsewhere)).usage == ODD
    assert log.end == elsewhere.end


async def test_usage_that_redis_lost_is_written_again(node: Node, client: Any) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    a.note_usage(log, FIRST)
    await a.append(log, "x")
    await a.refresh(log)
    await forget(client, log, 1)
    await client.hdel(key_of(log), "u")
    await a.append(log, "y")
    await a._owner._outboxes[log.reply_id].flushed()
    _, elsewhere = await b.find(log.reply_id)
    await b.finish(elsewhere, STOPPED)
    assert elsewhere.end == End("stopped", "stopped", usage=FIRST)
    assert elsewhere.text(0) == "xy"


async def test_a_reply_that_uses_nothing_ends_as_before(
    node: Node, client: Any
) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    await a.append(log, "x")
    await a.refresh(log)
    _, elsewhere = await b.find(log.reply_id)
    await b.finish(elsewhere, STOPPED)
    fields = (await client.xrevrange(f"{key_of(log)}:log", count=1))[0][1]
    assert fields == {"p": "1", **encode(ReplyEntry(1, end=STOPPED))}
    assert await client.hget(key_of(log), "u") is None


@given(st.sampled_from([DONE, FAILED, STOPPED]), st.none() | st.just(ODD))
def test_an_end_in_two_pieces_is_the_same_end(
    end: End, usage: dict[str, Any] | None
) -> None:
    end = end.with_usage(usage)
    head, found = encode_end(end)
    whole = f'{head[:-1]},"usage":{found or "null"}}}'
    assert whole == encode(ReplyEntry(end=end))["e"]
    assert decode_end(whole) == end


# ---------------------------------------------------------------------- services


class Using(Scripted):
    """Says some text, what it has used, and more text; without a finish it hangs then until it is closed."""

    pace = 0.0

    def __init__(self, *pieces: Piece, resumes: bool = False) -> None:
        super().__init__()
        self.pieces = pieces
        self.resumes = resumes
        self.close_now.set()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        if not prompt.written:
            for piece in self.pieces:
                yield piece
        if not any(isinstance(piece, Finish) for piece in self.pieces):
            await asyncio.Event().wait()


PIECES: tuple[Piece, ...] = ("one\n", Usage(FIRST), "two\n")


async def both_read(
    service: Service, *pieces: Piece, resumes: bool = False, **more: Any
) -> tuple[Replies, Reply, Replies, Reply]:
    """A reply that one node produces, and the same on another that has all of it."""
    owner = await service(Using(*pieces, resumes=resumes))
    other = await service(Using(resumes=resumes))
    reply = await owner.start(PROMPT)
    elsewhere = await other.open(reply.id)
    async with asyncio.timeout(WAIT):
        while "two\n" not in elsewhere.log.text(0):
            await other.store.refresh(elsewhere.log)
    return owner, reply, other, elsewhere


async def ended_reply(replies: Replies, reply: Reply) -> End:
    store = replies.store
    assert isinstance(store, RedisStore)
    return await ended(store, reply.log)


async def test_a_reply_that_is_stopped_elsewhere_says_what_it_used(
    service: Service,
) -> None:
    owner, reply, other, elsewhere = await both_read(service, *PIECES)
    await other.stop(elsewhere)
    expected = End("stopped", "stopped", usage=FIRST)
    assert await ended_reply(owner, reply) == elsewhere.end == expected


async def test_a_stop_behind_the_finish_says_what_that_says(service: Service) -> None:
    class Slow(Using):
        pace = 100.0

    owner = await service(Slow("one\n", Usage({"n": 1}), "two\n", Finish(usage=FIRST)))
    other = await service(Slow())
    reply = await owner.start(PROMPT)
    elsewhere = await other.open(reply.id)
    async with asyncio.timeout(WAIT):
        while elsewhere.log.planned_end is None:
            await other.store.refresh(elsewhere.log)
    await other.stop(elsewhere)
    expected = End("stopped", "stopped", usage=FIRST)
    assert await ended_reply(owner, reply) == elsewhere.end == expected


async def test_a_reply_that_is_interrupted_elsewhere_says_what_it_used(
    service: Service,
) -> None:
    owner, _, other, elsewhere = await both_read(service, Reasoning("hm"), *PIECES)
    await die(owner)
    end = await ended_reply(other, elsewhere)
    assert (end.finish_reason, end.usage) == ("interrupted", FIRST)


async def test_a_reply_that_is_abandoned_elsewhere_says_what_it_used(
    service: Service,
) -> None:
    owner, _, other, elsewhere = await both_read(service, *PIECES, resumes=True)
    other._registry._grace = 0.05  # that of the service is long
    await die(owner)
    end = await ended_reply(other, elsewhere)
    assert (end.finish_reason, end.usage) == ("abandoned", FIRST)


async def test_a_reply_whose_node_leaves_says_what_it_used(service: Service) -> None:
    owner, _, other, elsewhere = await both_read(service, *PIECES)
    await owner.drain(0)
    end = await ended_reply(other, elsewhere)
    assert (end.finish_reason, end.usage) == ("interrupted", FIRST)
