"""Parts of replies in a shared store: exactly once on every node, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from chatsvc.log import Log
from chatsvc.model import End, Finish, Piece, Prompt, Reasoning, ToolCall
from chatsvc.replies import Replies, Reply
from chatsvc.replies.departure import Departure
from chatsvc.replies.parts_reader import PartsReader
from chatsvc.stores.base import NotWritable, Store
from chatsvc.stores.redis import RedisStore
from chatsvc.stores.redis.entries import (
    LEEWAY_US,
    ReplyEntry,
    apply,
    decode,
    decode_news,
    encode,
    entries_of,
)
from chatsvc.stores.redis.keys import FORMAT
from chatsvc.stores.redis.outbox import MAX_RUNS
from chatsvc.stores.redis.store import NewerFormat
from chatsvc.ticker import Clock, Ticker
from chatsvc.units import Close, Mark, PartText, Unit
from tests.parts_script import only_text, outputs, scripts, single_units, total, written
from tests.redis_server import RedisServer

from .contract import DONE, PROMPT, STOPPED, begin
from .services import Scripted, Service, die

WAIT = 20.0  # seconds: for what must happen, however slow the machine
Node = Callable[[], Awaitable[RedisStore]]
THOUGHT: list[Unit] = [Mark(1, "reasoning"), PartText(1, "hm"), Close(1)]

shared = settings(
    max_examples=6,
    deadline=None,
    # Each example starts nodes: to look for a smaller one that fails would take minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
async def node(redis_server: RedisServer) -> AsyncIterator[Node]:
    """Starts nodes on the same Redis."""
    async with AsyncExitStack() as stack:

        async def start() -> RedisStore:
            store = RedisStore(redis_server.url, keep=60, lease=0.3)
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield start


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Any]:
    """To see what stands in Redis, and to change it."""
    async with Redis.from_url(redis_server.url, decode_responses=True) as client:
        yield client


def key_of(log: Log) -> str:
    return f"chatsvc:{{0}}:{log.reply_id}"


def units_of(log: Log) -> list[tuple[str, object]]:
    return single_units(outputs([unit for _, unit in log.units(0, log.offset)]))


async def written_by(owner: Store, log: Log) -> None:
    """Have all that was appended to a reply written, by the node that owns it."""
    assert isinstance(owner, RedisStore)
    outbox = owner._owner._outboxes.get(log.reply_id)
    assert outbox is not None, f"its node gave the reply up: {log.end}"
    await asyncio.wait_for(outbox.flushed(), WAIT)


async def holds(store: Store, log: Log, units: list[tuple[str, object]]) -> None:
    """Have what was written arrive on a node: these units, none missing, doubled or misplaced."""
    await store.refresh(log)
    found = units_of(log)
    same = len(os.path.commonprefix([found, units]))
    assert found == units, (
        f"the log has {len(found)} units of {len(units)}, which differ behind {same}: "
        f"{found[same : same + 3]} in place of {units[same : same + 3]}"
    )


async def ended(store: Store, log: Log) -> End:
    """Have an end that was set arrive on a node."""
    await store.refresh(log)
    assert log.end is not None, f"no end has come behind {log.offset} units"
    return log.end


async def write(store: RedisStore, log: Log, each: str | Unit) -> None:
    if isinstance(each, str):
        await store.append(log, each)
    else:
        await store.append_side(log, [each])


async def forget(client: Any, log: Log, entries: int) -> None:
    """Lose the last entries of a reply, as a replica that becomes the master may have lost them."""
    key = key_of(log)
    found = await client.xrevrange(f"{key}:log")
    for entry_id, _ in found[:entries]:
        await client.xdel(f"{key}:log", entry_id)
    left = [decode(fields) for _, fields in await client.xrange(f"{key}:log")]
    position = sum(len(entry.text) for entry in left)
    sides = sum(total(list(entry.units)) for entry in left)
    await client.hset(key, "p", position)
    await client.hdel(key, "s", "c")
    if sides:
        await client.hset(key, "s", sides)


# ---------------------------------------------------------------------- many nodes


@shared
@given(scripts, st.randoms(use_true_random=False))
async def test_readers_of_any_nodes_get_each_unit_once(
    node: Node, script: list[Piece], random: Random
) -> None:
    """Law 2, over nodes: a reader goes from one to another by the offset it has."""
    stores = [await node(), await node()]
    log = await begin(stores[0], pace=1000, lag=0)
    logs = [log, (await stores[1].find(log.reply_id))[1]]
    output = written(script)
    offset = position = 0
    got: list[tuple[str, object]] = []
    text = ""
    for each in [*output, DONE]:
        if isinstance(each, End):
            await stores[0].seal(log, each)
            await stores[0].finish(log, each)
        else:
            await write(stores[0], log, each)
        at = random.choice([0, 1])
        await stores[at].refresh(logs[at])
        horizon = stores[at].clock.horizon()
        out = logs[at].released_offset(horizon)
        if out > offset:  # else this node is behind what the reader has
            got += single_units(
                outputs([unit for _, unit in logs[at].units(offset, out)])
            )
            offset = out
        out = logs[at].released(horizon)
        if out > position:
            text += logs[at].text(position, out)
            position = out
    for store, one in zip(stores, logs, strict=True):
        assert await ended(store, one) == DONE
        await holds(store, one, single_units(output))
    got += single_units(outputs([unit for _, unit in logs[1].units(offset, 1 << 30)]))
    assert got == single_units(output)
    assert text + logs[1].text(position) == only_text(script)


async def test_a_reader_on_another_node_is_given_parts_as_they_come(node: Node) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    _, elsewhere = await b.find(log.reply_id)
    reader = PartsReader(elsewhere, Ticker(b.clock), Departure())
    got: list[tuple[int, Unit]] = []

    async def read() -> None:
        async for items in reader:
            got.extend((item.offset, item.unit) for item in items)

    reading = asyncio.create_task(read())
    script = [*THOUGHT, "Hi.", Mark(2, "tool_call", {"id": "1", "name": "f"})]
    for number, each in enumerate(script, 1):
        await write(a, log, each)
        await written_by(a, log)
        await holds(b, elsewhere, single_units(script[:number]))
    await a.append_side(log, [PartText(2, "{}"), Close(2)])
    await a.seal(log, DONE)
    await a.finish(log, DONE)
    await asyncio.wait_for(reading, WAIT)
    assert [offset for offset, _ in got][-1] == log.offset == 11
    assert single_units(outputs([unit for _, unit in got])) == units_of(log)


# ---------------------------------------------------------------------- what is lost


@shared
@given(scripts, st.randoms(use_true_random=False))
async def test_what_redis_lost_is_written_again_once(
    node: Node, client: Any, script: list[Piece], random: Random
) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    _, elsewhere = await b.find(log.reply_id)
    output = written(script)
    units = single_units(output)
    for number, each in enumerate(output, 1):
        await write(a, log, each)
        if random.random() < 0.4:
            await written_by(a, log)
            if random.random() < 0.5:
                await holds(b, elsewhere, single_units(output[:number]))
            await forget(client, log, random.randint(1, 3))
    await a.seal(log, DONE)
    await holds(a, log, units)
    await forget(client, log, random.randint(0, 3))
    await a.finish(log, DONE)
    await ended(b, elsewhere)
    _, late = await (await node()).find(log.reply_id)
    for one in (log, elsewhere, late):
        assert one.end == DONE
        assert units_of(one) == units
    assert await client.hmget(key_of(log), "p", "s") == [
        str(late.position),
        str(late.offset - late.position) if late.offset > late.position else None,
    ]


async def test_who_takes_a_reply_writes_again_what_redis_lost(
    node: Node, client: Any
) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    for each in ("x", *THOUGHT, "\u0301y", Mark(2, "data", whole=True)):
        await write(a, log, each)
        await written_by(a, log)
    units = units_of(log)
    assert len(units) == 8
    _, elsewhere = await b.find(log.reply_id)
    await holds(b, elsewhere, units)
    assert await a.cluster.release(log)
    await forget(client, log, 4)
    assert await b.cluster.take_over(elsewhere)
    with pytest.raises(NotWritable):
        await a.append_side(log, THOUGHT)
    await b.seal(elsewhere, DONE)
    await b.finish(elsewhere, DONE)
    late_node = await node()
    _, late = await late_node.find(log.reply_id)
    assert late.end == DONE
    for store, one in ((b, elsewhere), (late_node, late)):
        await holds(store, one, units)
    # The character that the thought cut in two begins anew on every node.
    for one in (elsewhere, late):
        segments = [one.find(0), one.find(1)]
        found = [s.characters(0, s.count)[:1] for s in segments if s is not None]
        assert "".join("".join(each) for each in found)[:1] == "x"
        assert one.character_begin(5) == 5


async def test_parts_that_go_on_otherwise_end_where_they_were_read(
    node: Node, client: Any
) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    await a.append_side(log, THOUGHT)
    await written_by(a, log)
    _, elsewhere = await b.find(log.reply_id)
    await holds(b, elsewhere, single_units(list(THOUGHT)))
    await client.xadd(
        f"{key_of(log)}:log", encode(ReplyEntry(units=(Mark(9, "data"),), sides=3))
    )
    assert (await ended(b, elsewhere)).finish_reason == "interrupted"
    assert units_of(elsewhere) == single_units(list(THOUGHT))


@pytest.mark.parametrize(
    ("entry", "fits"),
    [
        (ReplyEntry(1, units=(Mark(2, "data"),), sides=4), True),
        (
            ReplyEntry(1, units=(PartText(1, "m"), Close(1), Mark(2, "data")), sides=2),
            True,
        ),
        (ReplyEntry(1, units=(PartText(1, "hm"),), sides=1), True),
        (ReplyEntry(1, units=(PartText(1, "h"),), sides=1), True),
        (ReplyEntry(1, "text", sides=4), True),
        (ReplyEntry(0, "atext", sides=4), True),
        (ReplyEntry(1, "text"), True),  # of a node that knows no parts
        (ReplyEntry(0, "a"), True),
        (ReplyEntry(1, end=DONE, sides=4), True),
        (ReplyEntry(1, end=DONE), True),
        (ReplyEntry(1, units=(Mark(2, "data"),), sides=5), False),
        (ReplyEntry(2, units=(Mark(2, "data"),), sides=4), False),
        (ReplyEntry(0, units=(Mark(2, "data"),), sides=4), False),
        (ReplyEntry(1, units=(PartText(1, "x"),), sides=1), False),
        (ReplyEntry(1, units=(PartText(1, "hmx"),), sides=1), False),
        (ReplyEntry(1, "text", sides=5), False),
        (ReplyEntry(1, "text", sides=3), False),  # the writer lacks what the log has
        (ReplyEntry(1, end=DONE, sides=5), False),
    ],
)
def test_what_fits_to_a_log(entry: ReplyEntry, fits: bool) -> None:
    log = Log("r" * 22)
    entries, behind = entries_of(["a", tuple(THOUGHT)], 0, 0)
    assert behind == (1, 4)
    for number, each in enumerate(entries, 1):
        assert apply(log, f"{number}-0", each)
        assert apply(log, f"{number}-0", each)  # it may come once more
    before = units_of(log)
    assert apply(log, "9-0", entry) == fits
    assert units_of(log)[: len(before)] == before
    if not fits:
        assert units_of(log) == before
        assert log.end is None


# ---------------------------------------------------------------------- what is not known


def test_an_end_without_its_position_is_an_end() -> None:
    """So some nodes of before have written it."""
    log = Log("r" * 22)
    assert apply(log, "1-0", ReplyEntry(0, "ab"))
    fields = encode(ReplyEntry(2, end=DONE))
    del fields["p"]
    assert apply(log, "2-0", decode(fields))
    assert (log.end, log.text(0)) == (DONE, "ab")


@given(
    st.dictionaries(
        st.sampled_from(["p", "t", "c", "e", "s", "b", "new"]),
        st.text()
        | st.sampled_from(
            ["1", "-1", "²", '{"state":"done","finish_reason":"x"}', "[]"]
        )
        | st.sampled_from(['[{"part":1}]', '[{"part":1,"text":"x"}]', "[[[", "{}"]),
    )
)
def test_no_entry_breaks_who_reads_it(fields: dict[str, str]) -> None:
    log = Log("r" * 22)
    apply(log, "1-0", decode(fields))
    decode_news(fields)
    if "e" in fields and log.position == 0 and log.end is None:
        assert decode(fields).position or decode(fields).sides


async def test_what_a_later_version_writes_is_passed_over(
    node: Node, client: Any
) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    await a.append(log, "x")
    await written_by(a, log)
    _, elsewhere = await b.find(log.reply_id)
    later = '[{"part":1,"kind":"video","members":{"url":"u"},"at":7},{"part":1,"members":{}}]'
    stream = f"{key_of(log)}:log"
    await client.xadd(stream, {"p": 1, "s": later, "signed": "yes"})
    await client.xadd(stream, {"hint": "nothing to read here"})
    await client.xadd(stream, {"p": 1, "t": "y", "b": 2, "lang": "zh"})
    await client.xadd(stream, {"e": '{"state":"done","finish_reason":"new","more":1}'})
    assert await ended(b, elsewhere) == End("done", "new")
    assert elsewhere.units(0, 9) == [
        (1, PartText(0, "x")),
        (2, Mark(1, "video", {"url": "u"})),
        (3, Close(1)),
        (4, PartText(0, "y")),
    ]


async def test_an_end_that_cannot_be_read_is_a_failure(node: Node, client: Any) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    _, elsewhere = await b.find(log.reply_id)
    await client.xadd(f"{key_of(log)}:log", {"p": 0, "e": '["done"]'})
    end = await ended(b, elsewhere)
    assert (end.state, end.finish_reason) == ("failed", "error")


# ---------------------------------------------------------------------- limits


async def test_many_small_parts_go_in_few_writes(node: Node, client: Any) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    before = a._commands.operations
    for number in range(1, 10_001):
        await a.append(log, "x")
        await a.append_side(log, [Mark(number, "data", whole=True)])
    await a.seal(log, DONE)
    await a.finish(log, DONE)
    assert a._commands.operations - before < 2 * 20_000 / MAX_RUNS
    _, late = await b.find(log.reply_id)
    assert (late.offset, late.position, late.end) == (20_000, 10_000, DONE)
    assert await client.hmget(key_of(log), "p", "s") == ["10000", "10000"]


async def test_a_large_part_is_one_entry(node: Node) -> None:
    a, b = await node(), await node()
    log = await begin(a)
    image = Mark(
        1,
        "file",
        {"media_type": "image/png", "url": "data:," + "x" * (4 << 20)},
        whole=True,
    )
    await a.append_side(log, [image])
    await a.append_side(log, [Mark(2, "reasoning"), PartText(2, "y" * 256 * 1024)])
    await a.seal(log, DONE)
    await a.finish(log, DONE)
    _, late = await b.find(log.reply_id)
    assert [unit for _, unit in late.units(0, 2)] == [image, Mark(2, "reasoning")]
    assert late.offset == 2 + 256 * 1024


async def test_a_producer_waits_when_too_many_marks_are_pending(node: Node) -> None:
    a = await node()
    log = await begin(a)
    big = Mark(1, "data", {"value": "x" * 40_000}, whole=True)
    await a.append_side(log, [big])  # too much: it returns once that is written
    assert log.offset == 1
    await a.append_side(log, [Mark(2, "data", whole=True)])
    assert log.offset == 1


async def test_a_newer_format_is_refused_in_words(node: Node, client: Any) -> None:
    await node()
    assert await client.get("chatsvc:{0}:format") == str(FORMAT)
    try:
        for newer in (f"{FORMAT + 1}", f"{FORMAT + 1}.0", "10", "later"):
            await client.set("chatsvc:{0}:format", newer)
            with pytest.raises(NewerFormat, match="later version of chatsvc"):
                await node()
        await client.set("chatsvc:{0}:format", f"{FORMAT}.7")
        await node()
        assert await client.get("chatsvc:{0}:format") == f"{FORMAT}.7"
    finally:
        await client.delete("chatsvc:{0}:format")
    await node()


# ---------------------------------------------------------------------- carried on or not


class Thinking(Scripted):
    """Yields some pieces, and says that it can carry on a text."""

    resumes = True

    def __init__(self, *pieces: Piece) -> None:
        super().__init__()
        self.pieces = pieces
        self.prompts: list[Prompt] = []
        self.said = asyncio.Event()
        self.close_now.set()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        self.prompts.append(prompt)
        if prompt.written:
            yield " and on"
            yield Finish()
            return
        for piece in self.pieces:
            yield piece
        self.said.set()
        await asyncio.Event().wait()


async def both_have(
    owner: Replies, reply: Reply, other: Replies, units: list[tuple[str, object]]
) -> Reply:
    """Have all that the owner's backend has said written; return the reply on another node, which has it, too."""
    assert isinstance(owner.backend, Thinking)
    await asyncio.wait_for(owner.backend.said.wait(), WAIT)
    await written_by(owner.store, reply.log)
    elsewhere = await other.open(reply.id)
    await holds(other.store, elsewhere.log, units)
    return elsewhere


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        (("text\n",), "stop"),
        ((Reasoning("hm"),), "interrupted"),
        (("text\n", ToolCall("1", "f", "{")), "interrupted"),
        ((Reasoning("hm"), "text\n"), "interrupted"),
    ],
)
async def test_only_what_is_all_text_is_carried_on(
    service: Service, pieces: tuple[Piece, ...], reason: str
) -> None:
    owner, other = await service(Thinking(*pieces)), await service(Thinking())
    reply = await owner.start(PROMPT)
    units = single_units(written(list(pieces)))
    elsewhere = await both_have(owner, reply, other, units)
    await die(owner)
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        group.create_task(anext_until_over(elsewhere.parts()))
    assert elsewhere.end is not None
    assert elsewhere.end.finish_reason == reason
    text = "text\n and on" if reason == "stop" else elsewhere.log.text(0)
    assert elsewhere.log.text(0) == text
    assert units_of(elsewhere.log)[: len(units)] == units


async def anext_until_over(reader: PartsReader) -> None:
    async for _ in reader:
        pass


async def test_a_stop_on_another_node_cuts_at_the_offset_that_was_out(
    service: Service,
) -> None:
    class Slow(Thinking):
        pace = 100.0

    pieces: tuple[Piece, ...] = (Reasoning("hm"), "ab", ToolCall("1", "f", "{"))
    owner, other = await service(Slow(*pieces)), await service(Slow())
    reply = await owner.start(PROMPT)
    units = single_units(written(list(pieces)))
    elsewhere = await both_have(owner, reply, other, units)
    await other.stop(elsewhere)
    assert elsewhere.end == STOPPED
    assert await ended(owner.store, reply.log) == STOPPED
    for replies, one in ((owner, reply), (other, elsewhere)):
        await holds(replies.store, one.log, units[:5])


def test_the_time_of_a_stop_counts_for_text_alone() -> None:
    log = Log("r" * 22, pace=LEEWAY_US)
    for number, each in enumerate(entries_of(["ab", tuple(THOUGHT)], 0, 0)[0]):
        assert apply(log, f"100{number}-0", each)
    assert log.released_offset(Clock(0, 1_000_000).horizon_at(2_000_000)) == 1
    assert apply(log, "1001-0", ReplyEntry(2, end=STOPPED, sides=4))
    # Both characters, and so the thought behind them, were due in the leeway after the stop.
    assert log.offset == 6
