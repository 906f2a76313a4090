"""What all replies of a hash tag have goes to Redis together: in few scripts, and each reply for itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from redis import Redis as Blocking
from redis.asyncio import Redis

from chatsvc.log import Log
from chatsvc.problems import StoreUnavailable
from chatsvc.stores.base import NotWritable
from chatsvc.stores.redis import RedisStore, appender
from chatsvc.stores.redis.appender import MAX_ENTRIES, MAX_SIZE
from chatsvc.stores.redis.outbox import MAX_PENDING, Outbox
from chatsvc.stores.redis.writes import Answer, Write
from chatsvc.units import Mark
from tests.conftest import require
from tests.redis_server import RedisServer, running_redis
from tests.replies.test_direct import Direct

from .contract import DONE, PROMPT, STOPPED, begin
from .kinds import RedisCluster
from .services import WAIT, Service, ended
from .test_parts import Node, key_of


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Any]:
    """A Redis of which nothing is left: what is harmed here is no other test's."""
    url = redis_server.database(12)
    async with Redis.from_url(url, decode_responses=True) as client:
        await client.flushdb()
        yield client
        await client.flushdb()


@pytest.fixture
async def node(client: Any, redis_server: RedisServer) -> AsyncIterator[Node]:
    """Starts nodes on it."""
    async with AsyncExitStack() as stack:

        async def start() -> RedisStore:
            store = RedisStore(redis_server.database(12), keep=60)
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield start


class Noting:
    """Notes what goes to Redis together; on request it holds that back."""

    def __init__(self, store: RedisStore, patch: pytest.MonkeyPatch) -> None:
        self.batches: list[list[Write]] = []
        self.under_way: list[str] = []
        self.go = asyncio.Event()
        self.go.set()
        self._write = store._owner._scripts.write
        patch.setattr(store._owner._scripts, "write", self._noted)

    async def begun(self, count: int = 1) -> None:
        """Wait until so many scripts have begun."""
        async with asyncio.timeout(WAIT):
            while len(self.batches) < count:
                await asyncio.sleep(0.001)

    async def _noted(self, writes: Sequence[Write]) -> list[Answer]:
        ids = [write.reply_id for write in writes]
        assert not set(ids) & set(self.under_way), "a reply has two writes at once"
        self.batches.append(list(writes))
        self.under_way += ids
        try:
            await self.go.wait()
            return await self._write(writes)
        finally:
            for each in ids:
                self.under_way.remove(each)


def outbox(store: RedisStore, log: Log) -> Outbox:
    return store._owner._outboxes[log.reply_id]


async def have(logs: Sequence[Log], position: int) -> None:
    async with asyncio.timeout(WAIT):
        while any(log.position < position for log in logs):
            await asyncio.sleep(0.001)


async def test_what_many_replies_have_goes_in_few_scripts(
    node: Node, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await node(), await node()
    logs = [await begin(a) for _ in range(MAX_ENTRIES + 10)]
    noted = Noting(a, monkeypatch)
    for turn in range(3):
        for log in logs:
            a.append_now(log, f"{turn} ")
        await have(logs, 2 * turn + 2)
    assert [len(batch) for batch in noted.batches] == 3 * [MAX_ENTRIES, 10]
    for log in logs:
        await a.seal(log, DONE)
        await a.finish(log, DONE)
        _, elsewhere = await b.find(log.reply_id)
        assert (elsewhere.text(0), elsewhere.end) == ("0 1 2 ", DONE)
        assert await client.xlen(f"{key_of(log)}:log") == 5


async def test_one_that_is_alone_waits_for_nobody(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others have is under way, and takes long."""
    a = await node()
    slow, quick = await begin(a), await begin(a)
    noted = Noting(a, monkeypatch)
    noted.go.clear()
    a.append_now(slow, "a")
    await noted.begun()
    a.append_now(quick, "b")
    a.append_now(slow, "c")
    a.append_now(slow, "d")
    await noted.begun(2)
    assert noted.under_way == [slow.reply_id, quick.reply_id]
    assert (slow.text(0), quick.text(0)) == ("", ""), "nothing is acknowledged yet"
    noted.go.set()
    await have([slow], 3)
    assert (slow.text(0), quick.text(0)) == ("acd", "b")
    [last] = noted.batches[-1]
    assert [entry.text for entry in last.entries] == ["cd"]


async def test_what_comes_alone_waits_for_nothing_and_what_follows_is_collected(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "COLLECT_S", 3600)
    a = await node()
    first, second = await begin(a), await begin(a)
    noted = Noting(a, monkeypatch)
    a.append_now(first, "a")
    a.append_now(second, "b")
    await have([first, second], 1)
    assert len(noted.batches) == 1
    a.append_now(first, "c")
    await a.refresh(first)  # a round trip to Redis
    assert len(noted.batches) == 1 and first.text(0) == "a"


async def test_a_script_is_bounded(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    a = await node()
    logs = [await begin(a) for _ in range(9)]
    noted = Noting(a, monkeypatch)
    for log in logs:
        a.append_now(log, "x" * (MAX_SIZE // 3))
    for number in range(1, 101):
        a.append_now(logs[0], "y")
        a.append_side_now(logs[0], [Mark(number, "data", whole=True)])
    await asyncio.gather(*(outbox(a, log).flushed() for log in logs))
    for batch in noted.batches:
        assert sum(len(write.entries) for write in batch) <= MAX_ENTRIES
        assert len(batch) == 1 or sum(write.size for write in batch) <= MAX_SIZE
    assert len(noted.batches) < 9
    assert logs[0].offset == MAX_SIZE // 3 + 200


class Harm:
    """What may become of a reply, and how it looks to its producer."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def lost(self, log: Log) -> None:
        """Another node owns it."""
        await self._client.hset(key_of(log), mapping={"o": "another", "e": 2})

    async def gone(self, log: Log) -> None:
        """Redis has lost it."""
        await self._client.delete(key_of(log), f"{key_of(log)}:log")

    async def ended(self, log: Log) -> None:
        """It was stopped elsewhere."""
        await self._client.hset(key_of(log), "x", 1)

    async def torn(self, log: Log) -> None:
        """It has what this node can't have written."""
        await self._client.hset(key_of(log), "p", 1000)

    async def broken(self, log: Log) -> None:
        """Redis refuses the command."""
        await self._client.delete(f"{key_of(log)}:log")
        await self._client.set(f"{key_of(log)}:log", "a string")

    async def rewound(self, log: Log) -> None:
        """Redis has lost what it had acknowledged."""
        await self._client.delete(f"{key_of(log)}:log")
        await self._client.hset(key_of(log), "p", 0)


REFUSALS: dict[str, type[Exception] | None] = {
    "lost": NotWritable,
    "gone": NotWritable,
    "ended": NotWritable,
    "torn": NotWritable,
    "broken": StoreUnavailable,
    "rewound": None,
    "none": None,
}


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.permutations([*REFUSALS, "none", "none"]))
async def test_what_becomes_of_one_changes_nothing_for_the_others(
    node: Node, client: Any, monkeypatch: pytest.MonkeyPatch, harms: list[str]
) -> None:
    a = await node()
    logs = [await begin(a) for _ in harms]
    for log in logs:
        a.append_now(log, "before ")
    await have(logs, 7)
    boxes = [outbox(a, log) for log in logs]
    with monkeypatch.context() as patch:
        # What it learns otherwise is no matter here.
        patch.setattr(a._owner, "_on_lost", lambda _: None)
        noted = Noting(a, patch)
        for harm, log in zip(harms, logs, strict=True):
            if harm != "none":
                await getattr(Harm(client), harm)(log)
        for log in logs:
            a.append_now(log, "and after")
        for harm, log, box in zip(harms, logs, boxes, strict=True):
            expected = REFUSALS[harm]
            if expected is None:
                await asyncio.wait_for(box.flushed(), WAIT)
                assert log.text(0) == "before and after"
                entries = await client.xrange(f"{key_of(log)}:log")
                text = "".join(fields["t"] for _, fields in entries)
                assert text == "before and after"
            else:
                with pytest.raises(expected):
                    await asyncio.wait_for(box.flushed(), WAIT)
                assert log.text(0) == "before "
                assert not a.has_room(log)
                with pytest.raises(expected):
                    await a.append(log, "more")
        assert len(noted.batches[0]) == len(harms)
    await a.close()


async def test_what_can_not_be_sent_of_one_is_sent_of_the_others(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await node()
    logs = [await begin(a) for _ in range(5)]
    write = a._owner._scripts.write

    async def failing(writes: Sequence[Write]) -> list[Answer]:
        if any(each.reply_id == logs[2].reply_id for each in writes):
            raise ValueError("a bug")
        return await write(writes)

    monkeypatch.setattr(a._owner._scripts, "write", failing)
    for log in logs:
        a.append_now(log, "text")
    for log in logs[:2] + logs[3:]:
        await asyncio.wait_for(outbox(a, log).flushed(), WAIT)
        assert log.text(0) == "text"
    with pytest.raises(ValueError, match="a bug"):
        await asyncio.wait_for(outbox(a, logs[2]).flushed(), WAIT)


async def test_an_answer_that_does_not_fit_fails_its_reply_alone(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be that of a proxy which takes itself for Redis."""
    a = await node()
    logs = [await begin(a) for _ in range(3)]
    write = a._owner._scripts.write

    async def torn(writes: Sequence[Write]) -> list[Answer]:
        answers = await write(writes)
        return [
            answer if each.reply_id != logs[1].reply_id else ["ok", "no id", "nor this"]
            for each, answer in zip(writes, answers, strict=True)
        ]

    monkeypatch.setattr(a._owner._scripts, "write", torn)
    for log in logs:
        a.append_now(log, "text")
    with pytest.raises(ValueError):
        await asyncio.wait_for(outbox(a, logs[1]).flushed(), WAIT)
    await have(logs[:1] + logs[2:], 4)


async def test_a_producer_waits_when_too_much_is_not_acknowledged(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await node()
    log, other = await begin(a), await begin(a)
    noted = Noting(a, monkeypatch)
    noted.go.clear()
    a.append_now(log, "a")
    await noted.begun()
    await asyncio.wait_for(a.append(log, "x" * MAX_PENDING), WAIT)
    assert a.has_room(log)
    waiting = asyncio.create_task(a.append(log, "y"))
    await asyncio.sleep(0)
    assert not a.has_room(log) and a.has_room(other)
    assert not waiting.done()
    noted.go.set()
    await asyncio.wait_for(waiting, WAIT)
    assert log.text(0) == "a" + "x" * MAX_PENDING + "y"
    assert a.has_room(log)


async def test_a_backend_that_gives_its_text_in_a_callback_waits_for_redis_too(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Direct(*["x" * 999 + "\n"] * 200)
    replies = await service(backend)
    assert isinstance(replies.store, RedisStore)
    noted = Noting(replies.store, monkeypatch)
    noted.go.clear()
    reply = await replies.start(PROMPT)
    async with asyncio.timeout(WAIT):
        while False not in backend.taken:
            await asyncio.sleep(0.001)
    given = 1000 * backend.taken.count(True)
    written = sum(write.size for batch in noted.batches for write in batch)
    assert MAX_PENDING < given <= written + MAX_PENDING + 2000
    assert reply.log.position == 0, "nothing is acknowledged yet"
    noted.go.set()
    text, end = await ended(reply)
    assert (text, end.state) == ("".join(backend.pieces), "done")  # type: ignore[arg-type]
    assert backend.taken.count(True) > 33


async def test_it_waits_for_what_is_to_be_written_however_often_more_comes(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await node()
    log = await begin(a)
    noted = Noting(a, monkeypatch)
    noted.go.clear()
    for text in "abc":
        a.append_now(log, text)
        while len(noted.batches) < "abc".index(text) + 1:
            noted.go.set()
            await asyncio.sleep(0.001)
            noted.go.clear()
    sealing = asyncio.create_task(a.seal(log, DONE))
    noted.go.set()
    await asyncio.wait_for(sealing, WAIT)
    assert (log.text(0), log.planned_end) == ("abc", DONE)


async def test_a_reply_that_was_taken_over_twice_is_not_given_up_for_the_first_time(
    node: Node, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a write of an earlier epoch comes when the node owns the reply anew."""
    a, b = await node(), await node()
    log = await begin(a)
    _, elsewhere = await b.find(log.reply_id)
    noted = Noting(a, monkeypatch)
    noted.go.clear()
    a.append_now(log, "too late")
    first = outbox(a, log)
    await noted.begun()
    assert await a._owner._scripts.release(log.reply_id, first.epoch)
    async with asyncio.timeout(WAIT):
        assert await b.cluster.take_over(elsewhere)
        while a.cluster.owns(log):
            await a.refresh(log)
        assert await b.cluster.release(elsewhere)
        assert await a.cluster.take_over(log)
    noted.go.set()
    with pytest.raises(NotWritable):
        await first.flushed()
    assert a.cluster.owns(log)
    await a.append(log, "in time")
    await outbox(a, log).flushed()
    assert log.text(0) == "in time"


async def test_a_stop_and_a_text_that_meet_leave_what_redis_has(
    node: Node, client: Any
) -> None:
    a, b = await node(), await node()
    logs = [await begin(a) for _ in range(20)]
    elsewhere = [(await b.find(log.reply_id))[1] for log in logs]
    for log in logs:
        a.append_now(log, "text")
    await asyncio.gather(*(b.finish(log, STOPPED) for log in elsewhere))
    async with asyncio.timeout(WAIT):
        for log, there in zip(logs, elsewhere, strict=True):
            while log.end is None:
                await a.refresh(log)
            assert (log.text(0), log.end) == (there.text(0), there.end)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that is paused."""
    require("redis-server")
    with running_redis(tmp_path) as server:
        yield server


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, keep=60, **options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.thorough
async def test_all_that_came_while_redis_was_away_is_written(
    server: RedisServer,
) -> None:
    async with opened(server.url) as a:
        logs = [await begin(a) for _ in range(50)]
        server.send(signal.SIGSTOP)
        for turn in range(20):
            for log in logs:
                a.append_now(log, f"{turn} ")
            await asyncio.sleep(0.01)
        assert not any(log.position for log in logs)
        server.send(signal.SIGCONT)
        whole = "".join(f"{turn} " for turn in range(20))
        await have(logs, len(whole))
        assert all(log.text(0) == whole for log in logs)


@pytest.mark.thorough
async def test_each_fails_when_redis_is_away_for_too_long(server: RedisServer) -> None:
    async with opened(server.url, patience=2.0) as a:
        logs = [await begin(a) for _ in range(5)]
        boxes = [outbox(a, log) for log in logs]
        server.send(signal.SIGSTOP)
        for log in logs:
            a.append_now(log, "text")
        for box in boxes:
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(box.flushed(), WAIT)
        errors = {id(box._error) for box in boxes}
        assert len(errors) == 5, "an error holds the frames of all that raised it"
        server.send(signal.SIGCONT)


@pytest.mark.thorough
async def test_replies_that_a_cluster_moves_are_written_when_they_have_moved(
    tmp_path: Path,
) -> None:
    """Until then some are on the new master and others on the old one, and neither may miss any."""
    require("redis-server")
    kind = RedisCluster(tmp_path)
    try:
        kind.start()
        async with opened(kind.url) as a:
            logs: list[Log] = []
            while len(logs) < 4:
                log = await begin(a)
                tag = a._keys.tag(log.reply_id)
                if not logs or tag is a._keys.tag(logs[0].reply_id):
                    logs.append(log)
            for log in logs:
                a.append_now(log, "before ")
            await have(logs, 7)
            move = _Move(kind, a._keys.reply(logs[0].reply_id))
            await asyncio.to_thread(move.some, [log.reply_id for log in logs[:2]])
            refused = asyncio.Event()
            a.on_failure(lambda _: refused.set())
            for log in logs:
                a.append_now(log, "and after")
            await asyncio.wait_for(refused.wait(), WAIT)
            await asyncio.to_thread(move.all)
            for log in logs:
                await asyncio.wait_for(outbox(a, log).flushed(), WAIT)
            assert {log.text(0) for log in logs} == {"before and after"}
    finally:
        kind.stop()


class _Move:
    """Moves the slot of a key to another master, as `redis-cli --cluster reshard` does."""

    def __init__(self, kind: RedisCluster, key: str) -> None:
        masters: list[Any] = [
            Blocking(port=server.port, decode_responses=True) for server in kind.servers
        ]
        self._slot = masters[0].execute_command("CLUSTER KEYSLOT", key)
        self._masters = masters
        counts = [
            m.execute_command("CLUSTER COUNTKEYSINSLOT", self._slot) for m in masters
        ]
        self._old = masters.pop(counts.index(max(counts)))
        self._new = masters[0]
        old, self._id = (
            m.execute_command("CLUSTER MYID") for m in (self._old, self._new)
        )
        self._to = self._new.connection_pool.connection_kwargs["port"]
        self._new.execute_command("CLUSTER SETSLOT", self._slot, "IMPORTING", old)
        self._old.execute_command("CLUSTER SETSLOT", self._slot, "MIGRATING", self._id)

    def some(self, ids: list[str]) -> None:
        """Move what belongs to some replies."""
        self._move(lambda key: any(each in key for each in ids))

    def all(self) -> None:
        """Move what is left, and the slot."""
        self._move(lambda key: True)
        for master in (self._new, self._old, *self._masters):
            master.execute_command("CLUSTER SETSLOT", self._slot, "NODE", self._id)
            master.close()

    def _move(self, which: Callable[[str], bool]) -> None:
        ask = self._old.execute_command
        keys = filter(which, ask("CLUSTER GETKEYSINSLOT", self._slot, 1000))
        if found := list(keys):
            ask("MIGRATE", "127.0.0.1", self._to, "", 0, 5000, "KEYS", *found)
