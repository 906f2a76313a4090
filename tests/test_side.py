"""Side units beside the text of a log: offsets, positions, what a stop drops, what is open."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatsvc.log import Log
from chatsvc.model import End, Piece
from chatsvc.side import MERGED_LENGTH, SNAPSHOT_ENTRIES, SideUnits
from chatsvc.units import (
    Close,
    Mark,
    PartText,
    Unit,
    behind,
    count_all,
    decode_units,
    encode_units,
    size_of,
)
from tests.parts_script import (
    open_parts,
    outputs,
    scripts,
    single_units,
    total,
    written,
)

DONE = End("done", "stop")
STOPPED = End("stopped", "stopped")


def log_of(script: list[Piece], pace: int = 0) -> Log:
    """A log with all units of a script; each piece arrives a second after the one before."""
    log = Log("r" * 22, pace=pace)
    for number, each in enumerate(written(script)):
        if isinstance(each, str):
            log.append(each, number * 1_000_000)
        else:
            log.append_side([each])
    return log


def units(log: Log, after: int = 0, before: int | None = None) -> list[Unit]:
    before = log.offset if before is None else before
    return [unit for _, unit in log.units(after, before)]


@given(scripts, st.data())
def test_the_units_between_two_offsets(
    script: list[Piece], data: st.DataObject
) -> None:
    log = log_of(script)
    everything = single_units(written(script))
    assert log.offset == len(everything)
    after = data.draw(st.integers(0, log.offset))
    before = data.draw(st.integers(after, log.offset))
    found = log.units(after, before)
    assert (
        single_units(outputs([unit for _, unit in found])) == everything[after:before]
    )
    offset = after
    for behind_it, unit in found:  # law 3
        offset += total([unit])
        assert offset == behind_it
    for (_, one), (_, other) in pairwise(found):
        texts = isinstance(one, PartText) and isinstance(other, PartText)
        assert not texts or one.part != other.part
    most = data.draw(st.integers(1, 5))
    assert log.units(after, before, most) == found[:most]


@given(scripts)
def test_each_cursor_is_good_for_each_view(script: list[Piece]) -> None:
    log = log_of(script)
    everything = single_units(written(script))
    positions = [0]
    for part, _ in everything:
        positions.append(positions[-1] + (part == "0"))
    for offset, position in enumerate(positions):
        assert log.position_at(offset) == position
        assert log.offset_at(position) == positions.index(position)
    assert log.position_at(log.offset + 3) == log.position + 3


@given(scripts)
def test_what_is_open_at_each_offset(script: list[Piece]) -> None:
    log = log_of(script)
    everything = single_units(written(script))
    for offset in range(log.offset + 1):
        assert log.sides().open_at(offset) == open_parts(everything[:offset])


@given(scripts, st.data())
def test_a_stop_cuts_at_the_offset_that_is_out(
    script: list[Piece], data: st.DataObject
) -> None:
    log = log_of(script, pace=300_000)
    everything = single_units(written(script))
    now = data.draw(st.integers(0, 20)) * 1_000_000
    out = log.released_offset(now)
    assert sum(part == "0" for part, _ in everything[:out]) == log.released(now)
    assert out == log.offset or everything[out][0] == "0"
    log.finish(STOPPED, now)
    assert (log.offset, log.released_offset(0)) == (out, out)
    assert single_units(outputs(units(log))) == everything[:out]
    assert log.sides().open_at(out) == open_parts(everything[:out])
    assert log.size == len(log.text(0).encode())


@given(scripts)
def test_any_other_end_comes_behind_everything(script: list[Piece]) -> None:
    log = log_of(script, pace=10_000_000)
    log.finish(DONE, 0)
    assert single_units(outputs(units(log))) == single_units(written(script))
    assert log.released_offset(0) == log.offset


def test_characters_begin_anew_behind_a_side_unit_also_once_merged() -> None:
    log = Log("r" * 22)
    mark = Mark(1, "data", whole=True)
    for number in range(200):
        log.append("e", number)
        log.append_side([mark])
        log.append("\u0301x", number)
    log.finish(DONE, 1000)
    found: list[str] = []
    position = 0
    while (segment := log.find(position)) is not None:
        found += segment.characters(0, segment.count)
        position += len(segment.text)
    assert found == ["e", "\u0301", "x"] * 200
    assert len(log.segments) < 10
    inside = log.offset_at(1)
    assert log.character_begin(inside) == inside
    assert log.character_begin(inside + 1) == inside + 1


def test_where_a_character_begins() -> None:
    log = Log("r" * 22)
    log.append_side([Mark(1, "reasoning"), PartText(1, "ab")])
    log.append("e\u0301\u0302x", 0)
    begins = [log.character_begin(offset) for offset in range(9)]
    assert begins == [0, 1, 2, 3, 3, 3, 6, 7, 8]


def test_when_a_character_is_due() -> None:
    log = Log("r" * 22, pace=1000)
    log.append("abe\u0301", 5)
    assert [log.due_behind(n) for n in range(5)] == [5, 1005, 2005, 2005, None]


def test_texts_of_one_part_are_merged_up_to_a_length() -> None:
    side = SideUnits()
    side.append([Mark(1, "reasoning")], 0)
    for _ in range(3 * MERGED_LENGTH):
        side.append([PartText(1, "x")], 0)
    assert len(side._entries) == 4
    assert side.count == 1 + 3 * MERGED_LENGTH
    [_, (offset, text)] = side.between(0, side.count, lambda a, b: "", 9)
    assert (offset, text) == (side.count, PartText(1, "x" * 3 * MERGED_LENGTH))


def test_the_open_parts_are_found_without_a_walk_of_everything() -> None:
    side = SideUnits()
    for part in range(1, 20_000, 2):
        side.append(
            [Mark(part, "reasoning"), Close(part), Mark(part + 1, "tool_call")], 0
        )
        if part % 40 != 1:
            side.append([Close(part + 1)], 0)
    noted = [index for index, _ in side._snapshots]
    sizes = [len(marks) for _, marks in side._snapshots]
    assert max(b - a for a, b in zip([0, *noted], noted, strict=False)) <= (
        SNAPSHOT_ENTRIES + sizes[-1] + 1
    )
    assert sum(sizes) <= len(side._entries)
    assert len(side.open_at(side.count)) == 500


def test_what_is_dropped_is_not_open_any_more() -> None:
    side = SideUnits()
    for number in range(2000):
        side.append([Mark(2 * number + 1, "reasoning")], number)
        side.append([Close(2 * number + 1), Mark(2 * number + 2, "tool_call")], number)
        side.append([Close(2 * number + 2)], number if number % 9 else number + 1)
    for position in (1500, 1000, 999, 3):
        side.drop_behind(position)
        noted = [index for index, _ in side._snapshots]
        assert not noted or noted[-1] <= len(side._entries)
        expected: dict[int, Mark] = {}
        for entry in side._entries:
            if isinstance(entry.unit, Mark) and not entry.unit.whole:
                expected[entry.unit.part] = entry.unit
            elif isinstance(entry.unit, Close):
                del expected[entry.unit.part]
        assert side.open_at(1 << 40) == list(expected.values())
        side.append([Mark(9999, "reasoning")], position)
        assert side.open_at(1 << 40) == [*expected.values(), Mark(9999, "reasoning")]
        side.append([Close(9999)], position)
        side.append([Mark(9998, "data", whole=True)] * 3 * SNAPSHOT_ENTRIES, position)
        assert side.open_at(1 << 40) == list(expected.values())
        assert side.count == len(side._entries)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_what_is_behind_some_units(size: int) -> None:
    assert behind(PartText(1, "abc"), size) == (
        PartText(1, "abc"[size:]) if size < 3 else None
    )
    assert behind(Mark(1, "data"), size) == (None if size else Mark(1, "data"))


members = st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=2)
side_units = st.one_of(
    st.builds(Mark, st.integers(1), st.text(), members, st.booleans()),
    st.builds(PartText, st.integers(1), st.text()),
    st.builds(Close, st.integers(1), members),
)


@given(st.lists(side_units))
def test_units_are_read_as_they_were_written(given_units: list[Unit]) -> None:
    assert decode_units(encode_units(given_units)) == tuple(given_units)
    assert count_all(given_units) == sum(
        len(unit.text) if isinstance(unit, PartText) else 1 for unit in given_units
    )
    assert all(size_of(unit) >= 0 for unit in given_units)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: (
        st.lists(each)
        | st.dictionaries(
            st.sampled_from(["part", "text", "kind", "members", "whole", "new"]), each
        )
    ),
)


@given(st.lists(json_values) | json_values)
def test_any_json_is_read(value: object) -> None:
    for unit in decode_units(msgspec.json.encode(value).decode()):
        assert unit.part > 0


def test_what_a_later_version_adds_is_passed_over() -> None:
    text = (
        '[{"part":1,"kind":"video","members":{"a":1},"depth":3},{"part":1,"text":"x","lang":"zh"},'
        '{"part":1,"members":{"b":2},"why":"?"},{"part":0,"text":"y"},{"cut":9},7]'
    )
    assert decode_units(text) == (
        Mark(1, "video", {"a": 1}),
        PartText(1, "x"),
        Close(1, {"b": 2}),
    )
    assert (
        decode_units("") == decode_units("[" * 9999) == decode_units('{"part":1}') == ()
    )


any_units: st.SearchStrategy[list[Unit]] = st.lists(
    st.one_of(
        st.builds(PartText, st.integers(1, 2), st.text(min_size=1, max_size=5)),
        st.builds(Mark, st.integers(1, 2), st.just("x"), st.just({"a": [1, "b"]})),
    ),
    max_size=20,
)


@example([Mark(1, "x", {"a": 1})] * 3, {2}, 0)
@given(any_units, st.sets(st.integers(0, 20)), st.integers(0, 20))
def test_the_bytes_are_the_same_whenever_they_are_asked_for(
    units: list[Unit], asked: set[int], kept: int
) -> None:
    often, once = SideUnits(), SideUnits()
    for position, unit in enumerate(units):
        often.append([unit], position // 2)
        if position in asked:
            often.held_bytes()
    for position, unit in enumerate(units[: 2 * kept + 2]):
        once.append([unit], position // 2)
    often.drop_behind(kept)
    assert often.held_bytes() == once.held_bytes() == often.held_bytes()
    often.drop_behind(-1)
    assert often.held_bytes() == 0
