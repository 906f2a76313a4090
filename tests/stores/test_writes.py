"""Several replies are written by one script, each as if it came alone, whatever becomes of the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import ResponseError

from chatsvc.model import End
from chatsvc.stores.redis.entries import decode, entries_of
from chatsvc.stores.redis.scripts import WRITE
from chatsvc.stores.redis.writes import (
    Answer,
    Write,
    decode_answers,
    encode_writes,
)
from chatsvc.units import Mark, PartText, Unit
from tests.redis_server import RedisServer

from .contract import DONE, FAILED, texts

PREFIX, NODE = "chatsvc:{0}:", "me"

STATUSES = {
    "mine": "ok",
    "missing": "gone",
    "over": "ended",
    "another node's": "lost",
    "of a later epoch": "lost",
    "shorter": "torn",
    "with other parts": "torn",
    "no stream": "error",
}
"""What can be the matter with a reply in Redis, and what is answered then."""

EARLIER = {"p": "0", "t": "what was written before"}

marks = st.builds(Mark, st.integers(1, 9), st.sampled_from(["data", "reasoning"]))
units = st.one_of(marks, st.builds(PartText, st.integers(1, 9), texts))
runs: st.SearchStrategy[list[str | tuple[Unit, ...]]] = st.lists(
    st.one_of(
        texts, st.text(min_size=1), st.lists(units, min_size=1, max_size=3).map(tuple)
    ),
    max_size=4,
)
ends = st.sampled_from([None, DONE, FAILED, End("done", "length", usage={"x": "\n "})])
usages = st.sampled_from([None, {}, {"total_tokens": 9}, {"odd": [" \n", "好", None]}])


@st.composite
def writes(draw: st.DrawFn) -> tuple[str, Write]:
    """What is the matter with a reply, and what it is to get; the id is still missing."""
    before = draw(st.integers(0, 10**9)), draw(st.sampled_from([0, 3]))
    entries, behind = entries_of(draw(runs), *before)
    planned_end = draw(ends if entries else ends.filter(bool))
    write = Write("", 7, before, behind, entries, planned_end, draw(usages))
    return draw(st.sampled_from(list(STATUSES))), write


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Any]:
    """A Redis that has the script, and nothing else."""
    with Redis.from_url(redis_server.database(11), decode_responses=True) as client:
        client.flushdb()
        client.script_load(WRITE.source)
        yield client
        client.flushdb()


def prepare(client: Any, reply_id: str, matter: str, write: Write) -> Write:
    """Create a reply that something is the matter with, and return what it is to get."""
    (position, sides), key = write.before, PREFIX + reply_id
    owner = "another" if matter == "another node's" else NODE
    epoch = write.epoch + (matter == "of a later epoch")
    fields: dict[str, Any] = {"o": owner, "e": epoch, "p": position}
    if matter == "shorter":
        fields["p"] = write.behind[0] + 1
    if matter == "with other parts":
        fields["s"] = write.behind[1] + 1
    elif sides:
        fields["s"] = sides
    if matter == "over":
        fields["x"] = 1
    if matter != "missing":
        client.hset(key, mapping=fields)
    if matter == "no stream":
        client.set(f"{key}:log", "a string")
    else:
        client.xadd(f"{key}:log", EARLIER)
    return msgspec.structs.replace(write, reply_id=reply_id)


def run(client: Any, *some: Write) -> list[Answer]:
    return decode_answers(
        client.evalsha(WRITE.sha1, 0, PREFIX, NODE, encode_writes(some))
    )


def state(client: Any, write: Write) -> tuple[Any, Any]:
    """The hash of a reply, and the fields of the entries of its stream."""
    key = PREFIX + write.reply_id
    if client.type(f"{key}:log") == "string":
        return client.hgetall(key), None
    first, *others = [fields for _, fields in client.xrange(f"{key}:log")]
    assert first == EARLIER
    return client.hgetall(key), others


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(writes(), min_size=1, max_size=6))
def test_each_is_written_as_if_it_came_alone(
    client: Any, drawn: list[tuple[str, Write]]
) -> None:
    client.flushdb()
    together = [prepare(client, f"together{n}", *each) for n, each in enumerate(drawn)]
    alone = [prepare(client, f"alone{n}", *each) for n, each in enumerate(drawn)]
    matters = [matter for matter, _ in drawn]
    if set(matters) == {"no stream"}:
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            run(client, *together)
        return
    answers = run(client, *together)
    assert [status for status, *_ in answers] == [STATUSES[each] for each in matters]
    for matter, write, single, (status, *words) in zip(
        matters, together, alone, answers, strict=True
    ):
        if matter == "no stream":
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                run(client, single)
            continue
        [[same, *others]] = run(client, single)
        assert same == status and len(others) == len(words)
        fields, entries = state(client, write)
        assert state(client, single) == (fields, entries)
        if status == "torn":
            assert words == others == [fields["p"], fields.get("s", "0")]
        if status == "ok":
            # What the stream has is what the log takes.
            assert [decode(entry) for entry in entries] == list(write.written())
            assert [int(fields["p"]), int(fields.get("s", "0"))] == list(write.behind)
            assert ("c" in fields) == (write.planned_end is not None)
            assert json.loads(fields.get("u", "null")) == write.usage
    before = [state(client, write) for write in together]
    assert run(client, *together) == answers, "the second run does nothing"
    assert [state(client, write) for write in together] == before


def test_what_is_torn_says_what_is_there(client: Any) -> None:
    entries, behind = entries_of(["abc"], 5, 0)
    write = prepare(client, "r", "mine", Write("r", 1, (5, 0), behind, entries))
    client.hset(f"{PREFIX}r", "p", 2)
    assert run(client, write) == [["torn", "2", "0"]]
    assert state(client, write)[1] == []


def test_a_write_that_is_long_and_of_many_entries(client: Any) -> None:
    """More than a byte or two can count, in MessagePack, and more than Lua puts on its stack at once."""
    many: list[str | tuple[Unit, ...]] = ["x" * 70_000]
    for number in range(1, 3000):
        many += [(Mark(number, "data"),), "好"]
    entries, behind = entries_of(many, 0, 0)
    write = prepare(client, "r", "mine", Write("r", 1, (0, 0), behind, entries, DONE))
    [[status, *ids]] = run(client, write)
    assert (status, len(ids)) == ("ok", len(entries))
    _, *found = client.xrange(f"{PREFIX}r:log")
    assert [entry_id for entry_id, _ in found] == ids
    assert [decode(fields) for _, fields in found] == list(write.written())
