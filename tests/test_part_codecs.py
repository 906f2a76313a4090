"""What the codecs of parts say, and what a stream of parts writes (PROTOCOL.md section 4)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.kept_prompt import keep
from chatsvc.log import Log
from chatsvc.model import End, Finish, Piece, Prompt, ToolCall
from chatsvc.replies import PartItem, Reply
from chatsvc.replies.departure import Departure
from chatsvc.requests.values import PARTS_SUBPROTOCOL, View
from chatsvc.stores import Record
from chatsvc.ticker import SLOT_US, Ticker
from chatsvc.transports.codec import PartsCodec
from chatsvc.transports.framing import BARE, CHUNKED
from chatsvc.transports.part_events import PartEvents
from chatsvc.transports.part_frames import PartFrames
from chatsvc.transports.part_json import end_json, part_json
from chatsvc.transports.part_lines import PartLines
from chatsvc.transports.part_snapshot import WholeParts
from chatsvc.transports.streams import PartsStream, make_stream
from chatsvc.transports.table import PARTS_CODECS, PARTS_MEDIA_TYPES, make_codec
from chatsvc.transports.writing import Stream
from chatsvc.units import ANSWER, Close, Mark, PartText, Unit, count_of

from .hand import hand_of_time, reach, turns
from .parts_script import scripts, single_units, written
from .test_joined_events import Wire

REPLY = "r" * 22
DONE = End("done", "stop")

names = st.text(max_size=8) | st.sampled_from(["type", "part", "kind", "resumed"])
members = st.dictionaries(names, st.none() | st.text(max_size=8) | st.integers(0, 9))
parts = st.integers(1, 10**6)
units = st.one_of(
    st.builds(Mark, parts, st.text(max_size=8), members, st.booleans()),
    st.builds(PartText, st.just(0) | parts, st.text(min_size=1)),
    st.builds(Close, parts, members),
)
items = st.builds(PartItem, st.integers(0, 10**9), units, st.booleans())


def told(item: PartItem) -> dict[str, Any]:
    """What the event of an item is to say."""
    unit = item.unit
    if isinstance(unit, PartText):
        return {"type": "delta", "part": unit.part, "text": unit.text}
    own: dict[str, Any] = {"type": "close", "part": unit.part}
    if isinstance(unit, Mark):
        own = {"type": "part", "part": unit.part, "kind": unit.kind}
    if item.resumed:
        own["resumed"] = True
    return {**unit.members, **own}


@given(items)
def test_an_item_is_one_line_of_json(item: PartItem) -> None:
    data = part_json(item).decode()
    assert data.splitlines() == [data]
    assert json.loads(data) == told(item)
    assert list(json.loads(data))[:2] == ["type", "part"]


@given(scripts, st.sampled_from(["", "f"]))
def test_no_member_of_a_mark_is_hidden(script: list[Piece], name: str) -> None:
    custom = [
        ToolCall("7", name, type="custom", more={"type": "x", "part": 1}),
        ToolCall("7", "f", type="mcp", metadata={"kind": 1}, more={"text": ""}),
    ]
    for unit in written([*custom, *script, Finish()]):
        if isinstance(unit, Mark | Close):
            event = json.loads(part_json(PartItem(1, unit)))
            assert unit.members.items() <= event.items()


@pytest.mark.parametrize("make", PARTS_CODECS.values(), ids=PARTS_CODECS)
@given(st.integers(0, 10**9), st.text(min_size=1), st.text(max_size=4))
def test_a_text_by_itself_has_the_event_that_it_has_among_others(
    make: Callable[[str, View], PartsCodec], offset: int, text: str, key: str
) -> None:
    quick, exact = make(REPLY, View(key=key)), make(REPLY, View(key=key))
    for at in (offset, offset + 1):  # the first event may have the key
        item = PartItem(at, PartText(ANSWER, text))
        assert [quick.text_event(at, text)] == exact.events([item])


@given(st.lists(items, max_size=4), st.text(max_size=4))
def test_all_transports_say_the_same(given: list[PartItem], key: str) -> None:
    sse = b"".join(PartEvents(REPLY, View()).events(given)).decode()
    lines = b"".join(PartLines(REPLY, View()).events(given)).decode()
    frames = PartFrames(REPLY, View(key=key)).events(given)
    expected = [{"id": f"{REPLY}:@{i.offset}", "data": told(i)} for i in given]
    assert [json.loads(line) for line in lines.splitlines()] == expected
    first, *others = [json.loads(frame) for frame in frames] or [{}]
    assert first.pop("key", "") == (key if given else "")
    assert [first, *others] == (expected or [{}])
    found = []
    for event in sse.split("\n\n")[:-1]:
        place, data = event.split("\n")
        found.append(
            {
                "id": place.removeprefix("id: "),
                "data": json.loads(data.removeprefix("data: ")),
            }
        )
    assert found == expected


@pytest.mark.parametrize("name", PARTS_CODECS)
def test_each_ends_with_the_end_and_done(name: str) -> None:
    codec = make_codec(REPLY, View(name, parts=True))
    usage = {"total_tokens": 1}
    last = b"".join(codec.end(End("done", "length", None, usage)) or []).decode()
    assert last.count(f"{REPLY}:end") == 2
    assert last.rstrip().removesuffix('"}').endswith("[DONE]")
    assert '"finish_reason":"length","usage":{"total_tokens":1}' in last


def test_an_end_has_what_there_is() -> None:
    assert json.loads(end_json(End("stopped", "abandoned"))) == {
        "type": "end",
        "state": "stopped",
        "finish_reason": "abandoned",
    }
    end = End("failed", "error", {"title": "x"}, {"n": 1})
    assert json.loads(end_json(end)).keys() >= {"problem", "usage"}


def test_there_is_one_for_each_stream_of_the_view() -> None:
    assert set(PARTS_MEDIA_TYPES) == {"text/event-stream", "application/x-ndjson"}
    assert set(PARTS_CODECS) == {*PARTS_MEDIA_TYPES, PARTS_SUBPROTOCOL}


# ---------------------------------------------------------------------- whole


def whole_parts(units: list[Unit]) -> dict[str, Any]:
    """The whole reply of units that are added in two pieces."""
    whole = WholeParts()
    whole.add(units[: len(units) // 2])
    whole.add(units[len(units) // 2 :])
    return whole.body(REPLY, DONE)


@given(scripts)
def test_the_whole_has_each_text_once(script: list[Piece]) -> None:
    found: list[Unit] = [
        PartText(0, each) if isinstance(each, str) else each for each in written(script)
    ]
    whole = whole_parts(found)["parts"]
    texts: dict[int, str] = {}
    marks = {unit.part: unit for unit in found if isinstance(unit, Mark)}
    for unit in found:
        if isinstance(unit, PartText) and unit.text:
            texts[unit.part] = texts.get(unit.part, "") + unit.text
    numbers = [part["part"] for part in whole]
    assert numbers == sorted(numbers)
    kept = {part["part"]: part for part in whole}
    assert {number: text for number, text in texts.items()} == {
        number: part["text"] for number, part in kept.items() if part.get("text")
    }
    for number, mark in marks.items():
        if number in kept:
            assert kept[number]["kind"] == mark.kind
            assert ("text" in kept[number]) == (not mark.whole)
        else:
            same = [
                m.part
                for m in marks.values()
                if m.kind == "data"
                and m.members["name"] == mark.members["name"]
                and m.members.get("id") == mark.members["id"]
            ]
            assert max(same) in kept and number < max(same)


def test_the_members_of_the_closing_mark_are_the_parts() -> None:
    found: list[Unit] = [
        Mark(
            1, "tool_call", {"id": "a", "name": "f", "metadata": 1, "more": {"s": "x"}}
        ),
        Close(1, {"metadata": 2, "more": {"s": "y", "n": 1}}),
        Mark(2, "reasoning"),
        PartText(3, "of a part whose mark is not known"),
    ]
    assert whole_parts(found)["parts"] == [
        {
            "part": 1,
            "kind": "tool_call",
            "id": "a",
            "name": "f",
            "metadata": 2,
            "more": {"s": "xy", "n": 1},
            "text": "",
        },
        {"part": 2, "kind": "reasoning", "text": "", "open": True},
    ]


# ---------------------------------------------------------------------- the stream


def new_reply(ticker: Ticker, pace: int = 0) -> Reply:
    log = Log(REPLY, pace=pace)
    record = Record(REPLY, keep(Prompt(())))
    return Reply(record, log, ticker, Departure(), lambda reply: None)


@given(scripts, st.lists(st.integers(0, 3), max_size=20))
def test_what_a_stream_writes_are_the_units_in_order(
    script: list[Piece], steps: list[int]
) -> None:
    async def scenario() -> list[bytes]:
        with hand_of_time() as hand:
            ticker = Ticker()
            reply = new_reply(ticker, pace=2 * SLOT_US)
            wire = Wire()
            codec = make_codec(REPLY, View("application/x-ndjson", parts=True))
            stream = make_stream(reply, 0, wire, codec, BARE)
            assert isinstance(stream, PartsStream)
            with closing(stream):
                running = asyncio.create_task(stream.run())
                await turns()
                for number, each in enumerate(written(script)):
                    now = ticker.clock.now()
                    if isinstance(each, str):
                        reply.log.append(each, now)
                    else:
                        reply.log.append_side([each])
                    wait = steps[number] if number < len(steps) else 1
                    await reach(ticker, hand, hand.now + wait * SLOT_US)
                reply.log.finish(DONE, ticker.clock.now())
                await turns()
                await reach(ticker, hand, hand.now + SLOT_US)
                await asyncio.wait_for(running, 10)
            return wire.writes

    lines = b"".join(asyncio.run(scenario())).decode().splitlines()
    found: list[tuple[str, object]] = []
    offset = 0
    for line in lines:
        event = json.loads(line)
        data = event["data"]
        size = len(data["text"]) if data["type"] == "delta" else 1
        offset += size
        assert event["id"] == f"{REPLY}:@{offset}"
        if data["type"] == "delta":
            found += [(str(data["part"]), character) for character in data["text"]]
        else:
            found.append(("mark", data["part"]))
    expected = [
        (kind, what.part if isinstance(what, Mark | Close) else what)
        for kind, what in single_units(written(script))
    ]
    assert found == expected


async def test_one_that_catches_up_lets_others_have_their_turn() -> None:
    with hand_of_time() as hand:
        ticker = Ticker()
        reply = new_reply(ticker)
        units: list[Unit] = [Mark(1, "reasoning"), PartText(1, "z" * 200_000)]
        reply.log.append_side(units)
        reply.log.finish(DONE, ticker.clock.now())
        wire = Wire()
        codec = make_codec(REPLY, View(PARTS_SUBPROTOCOL, parts=True))
        with closing(make_stream(reply, 0, wire, codec, CHUNKED)) as stream:
            running = asyncio.create_task(stream.run())
            await turns(1)
            assert len(wire.writes) == 1 < sum(map(count_of, units)) // 65536
            await reach(ticker, hand, hand.now + 20 * SLOT_US)
            await asyncio.wait_for(running, 10)
        assert len(wire.writes) == 4
        assert b"".join(wire.writes).count(b"z") == 200_000


async def test_a_codec_of_text_has_the_stream_of_text() -> None:
    reply = new_reply(Ticker())
    stream = make_stream(
        reply, 0, Wire(), make_codec(REPLY, View("text/plain")), CHUNKED
    )
    with closing(stream):
        assert isinstance(stream, Stream)
