"""A reply's span and those that refer to it on other nodes, over a real Redis."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest
from redis.asyncio import Redis

from chatsvc.backends.echo import EchoBackend
from chatsvc.kept_prompt import keep
from chatsvc.model import Context, Message, Prompt
from chatsvc.replies import Replies
from chatsvc.stores.base import Record
from chatsvc.stores.redis import RedisStore
from chatsvc.stores.redis.records import encode_context, with_later_fields
from chatsvc.ticker import Ticker
from tests.redis_server import RedisServer
from tests.replies.serving import Watch, asking, read_all

from .traces import PARENT, TRACE, TRACEPARENT, Spans, ids, links, parent

from chatsvc.tracing.spans import Tracing  # isort: skip

WAIT = 20.0
TEXT = "a text that goes on elsewhere"
PROMPT = Prompt((Message("user", TEXT),))
TRACED = {"traceparent": TRACEPARENT}


class Node:
    """One node, with spans of its own."""

    def __init__(self, replies: Replies, spans: Spans, watch: Watch) -> None:
        self.replies = replies
        self.spans = spans
        self.watch = watch

    @property
    def store(self) -> RedisStore:
        assert isinstance(self.replies.store, RedisStore)
        return self.replies.store


@pytest.fixture
async def nodes(redis_server: RedisServer) -> AsyncIterator[list[Node]]:
    """Two nodes that share replies with nobody else."""
    prefix = f"t{secrets.token_hex(6)}"
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            store = RedisStore(redis_server.url, keep=60, prefix=prefix, lease=0.4)
            await store.open()
            stack.push_async_callback(store.close)
            spans, watch, backend = Spans(), Watch(), EchoBackend()
            tracing = Tracing(spans.provider, backend)
            replies = Replies(
                store,
                backend,
                Ticker(store.clock),
                pace=0.02,
                observers=(tracing, watch),
                tracer=tracing,
            )
            stack.push_async_callback(replies.close)
            made.append(Node(replies, spans, watch))
        yield made


@pytest.mark.sampled
@pytest.mark.parametrize("dies", [False, True])
async def test_a_reply_that_is_taken_over(nodes: list[Node], dies: bool) -> None:
    giver, taker = nodes
    reply = await giver.replies.start(PROMPT, trace=TRACED)
    elsewhere = await taker.replies.open(reply.id)
    async with asyncio.timeout(WAIT):
        while elsewhere.log.position < 3:
            await taker.store.refresh(elsewhere.log)
    if dies:
        await giver.store._leases.close()
    else:
        await giver.replies.drain(0)
    assert await read_all(elsewhere) == (TEXT, "done", "stop")
    async with asyncio.timeout(WAIT):
        for node in nodes:
            await node.watch.over.wait()
    [first], [second] = giver.spans.all(), taker.spans.all()
    assert (ids(first)[0], parent(first)) == (TRACE, PARENT)
    [event] = first.events
    assert event.name == "chatsvc.handed_on"
    named = {"chatsvc.successor": taker.store.node} if dies else {}
    assert dict(event.attributes or {}) == named
    assert "gen_ai.response.finish_reasons" not in (first.attributes or {})
    assert first.status.is_unset
    assert (ids(second)[0], parent(second)) == (TRACE, ids(first)[1])
    assert links(second) == [ids(first)]
    assert (second.attributes or {})["gen_ai.response.finish_reasons"] == ("stop",)


async def test_a_reading_on_another_node_links_to_the_reply(nodes: list[Node]) -> None:
    here, there = nodes
    reply = await here.replies.start(PROMPT)
    elsewhere = await there.replies.open(reply.id)
    tracing = there.replies._tracer
    assert isinstance(tracing, Tracing)
    end = tracing.read(elsewhere, {}, "sse", 2)
    await read_all(elsewhere)
    end()
    async with asyncio.timeout(WAIT):
        await here.watch.over.wait()
    [first], [span] = here.spans.all(), there.spans.all()
    assert links(span) == [ids(first)]
    # Also long after its end, when only Redis knows the reply.
    later = (await there.store.find(reply.id))[0]
    assert later.trace == {"traceparent": f"00-{'-'.join(ids(first))}-03"}


async def test_without_traces_redis_holds_no_more(
    nodes: list[Node], redis_server: RedisServer
) -> None:
    node, _ = nodes
    node.replies._tracer = None
    reply = await node.replies.start(asking("a"), trace=TRACED)
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        fields = await redis.hkeys(node.store._keys.reply(reply.id))
    assert "r" in fields and "h" not in fields
    assert (await node.store.find(reply.id))[0].trace == {}


def test_the_field_of_a_context_holds_a_trace_that_older_nodes_pass_over() -> None:

    plain = Record("r", keep(PROMPT))
    for context in (Context(), Context(chat="c", headers={"X-A": "1"})):
        record = msgspec.structs.replace(plain, context=context, trace=TRACED)
        text = encode_context(record)
        assert msgspec.json.decode(text, type=Context) == context
        found = with_later_fields(plain, (text, None))
        assert (found.context, found.trace) == (context, TRACED)
    assert encode_context(plain) == ""
    odd = with_later_fields(plain, ('{"trace": {"traceparent": 7}, "chat": "c"}', None))
    assert odd.trace == {}
