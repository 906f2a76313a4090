"""Nodes of different versions on one Redis, as in a rolling update: each serves what the other writes.

The other version is that of commit b019ecf, which knows no parts: what it has written is recorded in
written_by_b019ecf.json, and it runs as a process wherever the clone has the commit.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from redis.asyncio import Redis

from chatsvc.backends.base import Backend
from chatsvc.backends.echo import EchoBackend
from chatsvc.model import (
    Data,
    End,
    Finish,
    Message,
    Piece,
    Prompt,
    Reasoning,
    ToolCall,
)
from chatsvc.replies import Replies, Reply
from chatsvc.stores.redis import RedisStore
from chatsvc.stores.redis.entries import (
    ReplyEntry,
    decode_hash,
    encode,
)
from chatsvc.stores.redis.records import encode_record
from chatsvc.ticker import Ticker
from chatsvc.units import Mark
from tests.cluster.nodes import Node
from tests.old_version import COMMIT
from tests.parts_script import only_text, outputs, single_units, written
from tests.redis_server import RedisServer

from .services import Scripted, die

RECORDED = json.loads(Path(__file__).with_name(f"written_by_{COMMIT}.json").read_text())
WAIT = 30.0  # seconds: for what must happen, however slow the machine

SCRIPT: list[Piece] = [
    Reasoning("Let me "),
    Reasoning("see."),
    "Hello e",
    Data("n", 1),
    "\u0301 ",
    ToolCall("1", "f", '{"q":'),
    "👨‍👩‍👧\r\n",
    ToolCall("1", "", '"x"}'),
    "wörld\n",
]
"""All text is out without a delay, and the last piece ends in a whole character."""


# ---------------------------------------------------------------------- recorded


@pytest.fixture
async def recorded(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    """A node of this version on a Redis that holds what the other has written."""
    url = redis_server.database(3)
    async with Redis.from_url(url, decode_responses=True) as client:
        await client.flushdb()
        for entry_id, fields in RECORDED["news"]:
            await client.xadd("chatsvc:{0}:news", fields, id=entry_id)
        for reply in RECORDED["replies"].values():
            key = f"chatsvc:{{0}}:{reply['id']}"
            await client.hset(key, mapping=reply["hash"])
            for entry_id, fields in reply["stream"]:
                await client.xadd(f"{key}:log", fields, id=entry_id)
            if "x" not in reply["hash"]:
                await client.sadd("chatsvc:{0}:owned:oldnode", reply["id"])
        await client.zadd("chatsvc:{0}:nodes", {"oldnode": 1})
    store = RedisStore(url, keep=60, lease=0.4)
    await store.open()
    yield store
    await store.close()


TEXTS = {
    "done": ("Hello 👨‍👩‍👧e\u0301\nwörld", "stop"),
    "stopped": ("a", "stopped"),
    "failed": ("partly", "error"),
    "empty": ("", "length"),
    "complete": ("all of it", None),
    "running": ("one two ", None),
}


@pytest.mark.parametrize("name", TEXTS)
async def test_what_the_other_version_wrote_is_read(
    recorded: RedisStore, name: str
) -> None:
    record, log = await recorded.find(RECORDED["replies"][name]["id"])
    text, reason = TEXTS[name]
    assert log.text(0) == text
    assert log.offset == log.position == len(text)
    assert (log.end.finish_reason if log.end else None) == reason
    question = Message("user", "你好 \n👨‍👩‍👧")
    assert record.prompt.question == question.content
    asked = record.prompt.read().messages
    assert asked[1] == question if log.end is None else asked == (question,)


@pytest.mark.parametrize("reply", RECORDED["replies"].values(), ids=list(TEXTS))
def test_a_record_stands_there_as_the_other_version_writes_it(
    reply: dict[str, Any],
) -> None:
    found = decode_hash([reply["hash"]["r"], reply["hash"]["p"], None, None])
    assert found is not None
    assert encode_record(found.record) == reply["hash"]["r"]


async def test_the_other_versions_replies_are_carried_on(recorded: RedisStore) -> None:
    replies = Replies(recorded, EchoBackend(), Ticker(recorded.clock))
    try:
        for name, reason in (("complete", "stop"), ("running", "stop")):
            reply = await replies.open(RECORDED["replies"][name]["id"])
            await over(reply)
            assert reply.end is not None
            assert reply.end.finish_reason == reason
            assert reply.log.text(0).startswith(TEXTS[name][0])
    finally:
        await replies.close()


# ---------------------------------------------------------------------- running


class OldNode(Node):
    """A node of the other version."""

    async def get(self, path: str, **more: Any) -> Any:
        """The JSON that it answers with."""
        async with aiohttp.ClientSession() as session:
            headers = {"Accept": "application/json"}
            async with session.get(
                self.url / path, headers=headers, **more
            ) as response:
                return await response.json(content_type=None)

    async def begin(self, message: str) -> str:
        """Start a reply, and leave its stream; gives the reply's id."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url / "api/chat", json={"message": message}) as response,
        ):
            return response.headers["X-Reply-Id"]

    async def stop(self, reply_id: str) -> None:
        """Stop a reply."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url / "api/chat" / reply_id / "stop") as response,
        ):
            assert response.status == 200

    async def read(self, reply_id: str) -> tuple[str, str]:
        """All of a reply's text, and how it ended, by the long poll."""
        text, after = "", 0
        async with asyncio.timeout(WAIT):
            while True:
                found = await self.get(
                    f"api/chat/{reply_id}", params={"after": str(after), "wait": "5"}
                )
                text, after = text + found["text"], found["next"]
                assert after == len(text)
                if found["state"] != "running":
                    return text, found["finish_reason"]


Old = Callable[..., Awaitable[OldNode]]
New = Callable[[Backend], Awaitable[Replies]]


@pytest.fixture
async def old(old_root: Path, redis_server: RedisServer) -> AsyncIterator[Old]:
    """Starts nodes of the other version."""
    async with AsyncExitStack() as stack:

        async def start(*flags: str) -> OldNode:
            node = OldNode(redis_server.database(4), "--pace", "0", *flags)
            node.root = old_root
            await node.start()
            stack.push_async_callback(node.kill)
            return node

        yield start


@pytest.fixture
async def new(redis_server: RedisServer) -> AsyncIterator[New]:
    """Starts services of this version, in this process, whose leases are as the other's."""
    async with AsyncExitStack() as stack:

        async def start(backend: Backend) -> Replies:
            store = RedisStore(redis_server.database(4), keep=60)
            await store.open()
            stack.push_async_callback(store.close)
            replies = Replies(store, backend, Ticker(store.clock), pace=0)
            stack.push_async_callback(replies.close)
            return replies

        yield start


class Saying(Scripted):
    """Yields some pieces; then it ends, or hangs until it is closed."""

    def __init__(self, *pieces: Piece) -> None:
        super().__init__()
        self.pieces = pieces
        self.close_now.set()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        for piece in self.pieces:
            yield piece
        if not (self.pieces and isinstance(self.pieces[-1], Finish)):
            await asyncio.Event().wait()


def asking(text: str = "") -> Prompt:
    return Prompt((Message("user", text),))


async def over(reply: Reply) -> None:
    """Wait for the end of a reply."""

    async def read() -> None:
        async for _ in reply.parts():
            pass

    with reply.reading():
        await asyncio.wait_for(read(), WAIT)


async def reached(replies: Replies, reply: Reply, offset: int) -> None:
    async with asyncio.timeout(WAIT):
        while reply.log.offset < offset:
            await replies.store.refresh(reply.log)


def units_of(reply: Reply) -> list[tuple[str, object]]:
    log = reply.log
    return single_units(outputs([unit for _, unit in log.units(0, log.offset)]))


async def test_an_old_node_serves_the_text_of_a_reply_with_parts(
    old: Old, new: New
) -> None:
    node = await old()
    replies = await new(Saying(*SCRIPT, Finish("tool_calls")))
    reply = await replies.start(asking())
    text = only_text(SCRIPT)
    assert await node.read(reply.id) == (text, "tool_calls")
    await over(reply)
    assert await node.read(reply.id) == (text, "tool_calls")  # from its stream, later
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            node.url / "api/chat" / reply.id, headers={"Accept": "text/event-stream"}
        ) as response,
    ):
        events = (await response.text()).split("\n\n")
    ids = [event.partition("\n")[0] for event in events if event.startswith("id:")]
    positions = [line.rpartition(":")[2] for line in ids]
    ends = set[str]()
    async for position, characters in reply.characters():
        for character in characters:
            position += len(character)
            ends.add(str(position))
    # Only a character that a part cuts in two may be one event there.
    assert positions[-1] == "end"
    assert ends - set(positions) == {"7"}
    assert set(positions) - ends == {"end"}


async def test_a_new_node_serves_what_an_old_one_writes(old: Old, new: New) -> None:
    node = await old("--backend", "repeating:answer")
    replies = await new(Saying())
    words = "the quick brown 👨‍👩‍👧 fox"
    started = await node.begin(words)
    reply = await replies.open(started)
    await over(reply)
    assert reply.log.text(0) == f"{words} "
    assert reply.log.offset == reply.log.position
    assert reply.end == End("done", "stop")


async def test_an_old_node_stops_a_reply_with_parts(old: Old, new: New) -> None:
    node = await old()
    replies = await new(Saying(*SCRIPT))
    reply = await replies.start(asking())
    units = single_units(written(SCRIPT))
    await reached(replies, reply, len(units))
    other = await (await new(Saying())).open(reply.id)
    await node.stop(reply.id)
    await over(reply)
    await over(other)
    assert reply.end == other.end == End("stopped", "stopped")
    assert units_of(reply) == units_of(other) == units
    assert await node.read(reply.id) == (only_text(SCRIPT), "stopped")


@pytest.mark.thorough
async def test_an_old_node_takes_over_a_reply_with_parts(old: Old, new: New) -> None:
    """Its backend can carry on, and it knows nothing of the parts: the text goes on, nothing else differs."""
    replies = await new(Saying(*SCRIPT))
    reply = await replies.start(asking("?" * 40))
    units = single_units(written(SCRIPT))
    await reached(replies, reply, len(units))
    reader = await new(Saying())
    elsewhere = await reader.open(reply.id)
    reader.admission.draining = True  # it takes nothing over
    await die(replies)
    node = await old("--backend", "echo")
    text, reason = await node.read(reply.id)
    assert text.startswith(only_text(SCRIPT))
    assert reason in ("stop", "interrupted")
    await over(elsewhere)
    assert units_of(elsewhere)[: len(units)] == units
    assert elsewhere.log.text(0) == text
    later = await (await new(Saying())).open(reply.id)
    assert units_of(later) == units_of(elsewhere)
    assert later.log.offset == len(units) + len(text) - len(only_text(SCRIPT))


@pytest.mark.thorough
async def test_a_new_node_takes_over_what_a_dead_old_one_wrote(
    old: Old, new: New
) -> None:
    node = await old("--backend", "repeating:answer")
    started = await node.begin("word " * 1000)
    replies = await new(Saying())
    reply = await replies.open(started)
    await reached(replies, reply, 10)
    await node.kill()
    await over(reply)
    assert reply.end is not None
    assert reply.end.finish_reason == "interrupted"
    assert ("word " * 1000).startswith(reply.log.text(0)[:10])


@pytest.mark.thorough
async def test_a_reply_is_rolled_forth_and_back(
    old: Old, redis_server: RedisServer
) -> None:
    """From the old version to the new one, back, and to the new one again, in the middle of its text."""
    text = "".join(f"{number} " for number in range(250))
    flags = ("--pace", "0.02", "--drain", "0")
    first = await old(*flags)
    reply_id = await first.begin(text)

    async def rolled_forth() -> tuple[Replies, Reply]:
        store = RedisStore(redis_server.database(4), keep=60)
        await store.open()
        replies = Replies(store, EchoBackend(), Ticker(store.clock), pace=0.02)
        return replies, await replies.open(reply_id)

    async def released(replies: Replies, reply: Reply, position: int) -> None:
        async with asyncio.timeout(WAIT):
            while reply.released_now() < position:
                await replies.store.refresh(reply.log)

    replies, reply = await rolled_forth()
    await released(replies, reply, 20)
    first.send(signal.SIGTERM)
    await first.ended()
    await released(replies, reply, reply.released_now() + 20)
    second = await old(*flags)
    await replies.close()
    await replies.store.close()
    replies, reply = await rolled_forth()
    await released(replies, reply, reply.released_now() + 20)
    second.send(signal.SIGTERM)
    await second.ended()
    assert reply.state == "running"
    await over(reply)
    assert (reply.log.text(0), reply.end) == (text, End("done", "stop"))
    await replies.close()
    await replies.store.close()


def test_a_mark_is_what_an_old_node_reads_past() -> None:
    """Its `apply` looks for `t`, `c` and `e` alone, and at `p` only with one of these."""
    fields = encode(ReplyEntry(7, units=(Mark(1, "data"),), sides=3))
    assert set(fields) == {"p", "s", "b"}
    assert msgspec.json.decode(fields["s"]) == [{"part": 1, "kind": "data"}]


@pytest.mark.thorough
async def test_an_old_node_answers_the_texts_of_what_a_new_one_was_asked(
    old: Old, new: New
) -> None:
    """It knows no members of messages; the record is one that it reads."""
    replies = await new(Saying())
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}]
    members = {"content": parts, "name": "ann", "unknown": [None]}
    result = Message("tool", "r", {"tool_call_id": "1"})
    options = {"tools": [{"type": "function"}], "response_format": {"type": "x"}}
    asked = Prompt((Message("user", "What is this?", members), result), options=options)
    reply = await replies.start(asked)
    reader = await new(Saying())
    elsewhere = await reader.open(reply.id)
    reader.admission.draining = True  # it takes nothing over
    await die(replies)
    node = await old("--backend", "echo")
    assert await node.read(reply.id) == ("What is this?", "stop")
    await over(elsewhere)
    assert elsewhere.record.prompt.read() == Prompt((Message("user", "What is this?"),))
