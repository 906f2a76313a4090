"""Tests of what `shard` stands on: a recording of what nodes send to Redis, and its replay in copies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from tests.conftest import require
from tests.redis_server import RedisServer, running_redis

from .machine import Cores
from .processes import Failed
from .redis_recorder import Command, recording
from .redis_replay import WINDOW_US, Replayed, replay
from .redis_trace import Trace, expected, status
from .resp import Parser, Refusal, Value

NODE, OTHER = b"a1b2c3d4e5f6", b"0123456789ab"
REPLY, LATER = b"R" * 22, b"l2LOCiXJFzchaRGqobXXng"
BEGIN_US = 1_795_610_894_911_000

# ----------------------------------------------------------------------- the protocol

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.binary(max_size=20)
    | st.integers(-(2**63), 2**63 - 1)
    | st.none()
    | st.from_regex(rb"[A-Z]{1,9} [a-z ]{0,9}", fullmatch=True).map(Refusal),
    lambda children: st.lists(children, max_size=4),
    max_leaves=12,
)


def encoded(value: Value) -> bytes:
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(map(encoded, value))
    if isinstance(value, Refusal):
        return b"-%b\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    return b"$-1\r\n" if value is None else b":%d\r\n" % value


@given(st.lists(VALUES, max_size=6), st.lists(st.integers(1, 30)))
def test_values_are_the_same_however_they_are_cut(
    values: list[Value], cuts: list[int]
) -> None:
    data, parser = b"".join(map(encoded, values)), Parser()
    found: list[Value] = []
    for cut in cuts:
        found += parser.feed(data[:cut])
        data = data[cut:]
    # The rest byte by byte: each value comes with its last one.
    ends = {len(b"".join(map(encoded, values[: n + 1]))) for n in range(len(values))}
    behind = sum(map(len, map(encoded, values))) - len(data)
    for byte in data:
        behind += 1
        more = parser.feed(bytes([byte]))
        assert bool(more) == (behind in ends)
        found += more
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


def test_a_simple_string_and_an_empty_array_are_values() -> None:
    assert Parser().feed(b"+OK\r\n*-1\r\n*0\r\n") == [b"OK", None, []]


def test_what_is_no_resp_is_refused() -> None:
    with pytest.raises(ValueError, match="no RESP2"):
        Parser().feed(b"HTTP/1.1 400\r\n")


# -------------------------------------------------------------------------- the trace


def sent(
    *words: bytes, at_us: int = BEGIN_US, connection: int = 0, answer: Value = b"OK"
) -> Command:
    return Command(at_us, connection, at_us, words, answer)


def bell(node: bytes, connection: int) -> Command:
    """Return the command by which a trace knows whose connection it is."""
    name = b"chatsvc:{0}:bell:" + node
    return sent(
        b"XADD", name, b"*", b"r", b"", at_us=BEGIN_US - 1, connection=connection
    )


def words_of(trace: Trace, copy: int, turn: int, now_us: int) -> list[list[bytes]]:
    names = trace.names(copy, turn)
    data = b"".join(step.form.filled(names, now_us) for step in trace.steps)
    return Parser().feed(data)  # type: ignore[return-value]


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_names_are_others_wherever_they_stand(before: bytes, behind: bytes) -> None:
    key = b"chatsvc:{0}:" + REPLY
    packed = before + b"\xb6" + REPLY + b"\xac" + NODE + b"\xa1" + behind
    trace = Trace(
        [bell(NODE, 0), sent(b"EVALSHA", b"1", key, key + b":log", packed)], BEGIN_US
    )
    seen = set()
    for copy, turn in [(0, 0), (0, 1), (1, 0)]:
        [[_, _, its_key, log, its_packed]] = words_of(trace, copy, turn, BEGIN_US)
        reply, node = its_key[12:], trace.names(copy, turn)[0]
        assert log == its_key + b":log"
        assert its_packed == packed.replace(REPLY, reply).replace(NODE, node)
        assert len(its_packed) == len(packed)
        seen.add((reply, node))
    assert len({reply for reply, _ in seen}) == 3
    assert len({node for _, node in seen}) == 2
    assert not seen & {(REPLY, NODE)}


def test_times_keep_their_distance_from_the_moment() -> None:
    lease_ms = b"%d" % (BEGIN_US // 1000 + 4000)
    made_us = b"%d" % (BEGIN_US - 7)
    others = [b"1234567890123", b"12", b"x" + made_us, b"100%", b"%b"]
    trace = Trace([bell(NODE, 0), sent(b"ZADD", lease_ms, made_us, *others)], BEGIN_US)
    now_us = BEGIN_US + 3_600_000_000 * 24 * 365
    [[_, lease, made, *left]] = words_of(trace, 0, 0, now_us)
    assert int(lease) == now_us // 1000 + 4000
    assert int(made) == now_us - 7
    assert left == others


def test_a_trace_knows_what_ran_and_what_came_before() -> None:
    key, later = b"chatsvc:{0}:" + REPLY, b"chatsvc:{0}:" + LATER
    trace = Trace(
        [
            bell(NODE, 0),
            bell(OTHER, 1),
            sent(b"SCRIPT", b"LOAD", b"return 1"),
            sent(b"EVALSHA", key, answer=Refusal(b"NOSCRIPT No matching script.")),
            sent(b"HSET", key, at_us=BEGIN_US + 1000),
            sent(b"HSET", later, at_us=BEGIN_US + 2000),
            sent(b"DEL", later, at_us=BEGIN_US + 4000, connection=1),
            sent(b"DEL", key, at_us=BEGIN_US + 5000),
            sent(b"PING", at_us=BEGIN_US + 5000, connection=7),
        ],
        BEGIN_US,
    )
    assert trace.scripts == [b"return 1"]
    assert (trace.nodes, trace.replies, trace.commands) == (2, 2, 4)
    assert [step.node for step in trace.steps] == [0, 0, 1, 0]
    assert len(trace.before) == 2
    # One for its 5 ms, named before it is refused for want of its script; one for 2 ms.
    assert trace.at_once == pytest.approx(7000 / trace.length_us)


def kinds(value: Value) -> bytes:
    """Return the first byte of each value in it: an error's is `-`."""
    inner = b"".join(map(kinds, value)) if isinstance(value, list) else b""
    return encoded(value)[:1] + inner


@given(VALUES)
def test_an_answer_is_matched_by_its_own_pattern(answer: Value) -> None:
    found = expected(sent(b"EVALSHA", answer=answer))
    if b"-" not in kinds(answer):
        data = encoded(answer)
        match = found.pattern.match(data)
        assert match and match.end() == len(data)
    assert found.status == status(answer)


def test_an_answer_says_the_same_with_other_numbers() -> None:
    before: list[Value] = [b"ok 1795610894911-0 12", b"torn 3 0", 7, None]
    found = expected(sent(b"EVALSHA", answer=before))
    assert found.pattern.match(
        encoded([b"ok 1795610894999-12 4", b"torn 30 1", 8, None])
    )
    other: list[Value] = [b"lost", b"torn 3 0", 7, None]
    assert not found.pattern.match(encoded(other))
    assert status(other) != found.status == [b"ok", b"torn", b"", b""]


# ------------------------------------------------------- the recording, and the replay


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    require("redis-server")
    with running_redis(tmp_path) as server:
        yield server


HERE = Cores(0, 0, 0)


def test_what_is_sent_is_passed_on_and_noted(redis_server: RedisServer) -> None:
    large = b"\r\n" * 100_000
    with recording(redis_server.port, HERE) as recorder:
        client, other = (Redis(port=recorder.port, protocol=2) for _ in range(2))
        client.set("a", large)
        assert other.get("a") == large
        pipeline = client.pipeline(transaction=False)
        for _ in range(3):
            pipeline.incr("b")
        assert pipeline.execute() == [1, 2, 3]
        client.close()
        other.close()
    noted = [each for each in recorder.commands() if each.words[0] != b"CLIENT"]
    assert [each.words[0] for each in noted] == [b"SET", b"GET"] + [b"INCRBY"] * 3
    assert [each.answer for each in noted] == [b"OK", large, 1, 2, 3]
    assert len({each.connection for each in noted}) == 2
    # A pipeline is sent at once.
    assert len({(each.connection, each.write) for each in noted}) == 3


MAKE = b"""
if redis.call('EXISTS', KEYS[1]) > 0 then return {'known'} end
redis.call('HSET', KEYS[1], 'o', ARGV[1])
return {'ok', redis.call('XADD', KEYS[1] .. ':log', '*', 't', 'x')}
"""


def recorded(redis_server: RedisServer) -> Trace:
    """Return the trace of one node that makes a reply, adds to it, and of one that reads it."""
    key = b"chatsvc:{0}:" + REPLY
    with Redis(port=redis_server.port) as client:
        sha = client.script_load(MAKE).encode()
    at_us = BEGIN_US + 1000
    read = (b"XREAD", b"COUNT", b"9", b"BLOCK", b"100", b"STREAMS")
    streams = (b"chatsvc:{0}:bell:" + OTHER, key + b":log")
    entry = b"%d-0" % (at_us // 1000)
    made = [b"ok", entry]
    return Trace(
        [
            bell(NODE, 0),
            bell(OTHER, 1),
            sent(b"EVALSHA", sha, b"1", key, NODE, at_us=at_us, answer=list(made)),
            sent(*read, *streams, b"0-0", b"0-0", at_us=at_us + 11_000, connection=1),
            sent(b"XADD", key + b":log", b"*", b"t", b"y", at_us=at_us + 31_000),
            sent(*read, *streams, b"0-0", entry, at_us=at_us + 95_000, connection=1),
        ],
        BEGIN_US,
    )


def played(
    trace: Trace, port: int, copies: int, hour_s: float, seconds: float = 60
) -> Replayed:
    with Redis(port=port) as client:

        def look() -> dict[str, Any]:
            return dict(client.info("all"))

        return asyncio.run(replay(trace, copies, port, seconds, hour_s, look))


def test_a_trace_is_replayed_in_copies_again_and_again(
    redis_server: RedisServer,
) -> None:
    trace = recorded(redis_server)
    turn_s = -(-trace.length_us // WINDOW_US) * WINDOW_US / 1e6
    done = played(trace, redis_server.port, 3, 10 * turn_s)
    assert not done.wrong
    assert done.replayed_s == pytest.approx(10 * turn_s)
    assert done.commands == 10 * 3 * trace.commands
    # One turn before it is counted, and ten then.
    with Redis(port=redis_server.port, decode_responses=True) as client:
        logs = [key for key in client.scan_iter() if key.endswith(":log")]
        makers = {client.hget(log.removesuffix(":log"), "o") for log in logs}
    assert len(logs) == 3 * 11
    assert len(makers) == 3


def test_copies_begin_one_after_another(redis_server: RedisServer) -> None:
    trace = recorded(redis_server)
    sent: list[str] = []
    with (
        Redis(port=redis_server.port, decode_responses=True) as client,
        client.monitor() as monitor,
    ):
        played(trace, redis_server.port, 2, 1)
        for said in monitor.listen():
            if said["command"] == "INFO all" and len(sent) > 9:
                break
            # Not what the script does, nor how the nodes begin.
            if said["client_type"] != "lua" and ":bell:" not in said["command"]:
                sent.append(said["command"].split(" ")[0])
    writes = [word for word in sent if word in ("EVALSHA", "XADD")]
    # Together they would make two, and add to two.
    assert writes[:20] == ["EVALSHA", "XADD"] * 10


def test_a_reader_goes_on_from_where_it_was(redis_server: RedisServer) -> None:
    trace = recorded(redis_server)
    with Redis(port=redis_server.port, decode_responses=True) as client:
        with client.monitor() as monitor:
            played(trace, redis_server.port, 1, 1)
            reads: dict[str, list[str]] = {}
            for said in monitor.listen():
                words = said["command"].split(" ")
                if words[0] == "XREAD":
                    reads.setdefault(words[-3], []).append(words[-1])
                if words[0] == "INFO" and len(reads) > 5:
                    break
        again = 0
        for log, ids in list(reads.items())[:5]:
            first, second = (entry_id for entry_id, _ in client.xrange(log))
            assert ids[0] == "0-0"
            left = [entry for entry, _ in client.xrange(log, f"({ids[1]}")]
            # The first comes again only if it is not read before the same millisecond is over.
            assert left in ([second], [first, second])
            again += len(left) - 1
        assert again < 5


def test_another_answer_than_recorded_is_counted(redis_server: RedisServer) -> None:
    trace = recorded(redis_server)
    # As if a reply's name were not found: then all copies make the same one.
    trace.names = lambda copy, turn: [NODE, OTHER, REPLY]  # type: ignore[method-assign]
    done = played(trace, redis_server.port, 2, 0.5)
    [(what, count)] = done.wrong.items()
    assert "known" in what and count > 2


def test_a_replay_ends_with_its_time(redis_server: RedisServer) -> None:
    done = played(recorded(redis_server), redis_server.port, 1, 3600, seconds=0.05)
    assert 0.05 <= done.wall_s
    assert 0 < done.replayed_s < 3600


def test_a_redis_that_goes_ends_the_replay(redis_server: RedisServer) -> None:
    trace = recorded(redis_server)
    looks = 0

    def look() -> dict[str, Any]:
        nonlocal looks
        looks += 1
        redis_server.stop()
        return {}

    with pytest.raises(Failed, match="Redis closed a connection"):
        asyncio.run(replay(trace, 2, redis_server.port, 60, 3600, look))
    assert looks == 1
