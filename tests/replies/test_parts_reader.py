"""A reader of parts gets each unit once, in order, as soon as it is out, from any offset."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.log import Log
from chatsvc.model import End, Piece, Reasoning, ToolCall
from chatsvc.replies.departure import Departure, SentAway
from chatsvc.replies.parts_reader import (
    LONGEST_BATCH,
    MOST_ITEMS,
    PartItem,
    PartsReader,
)
from chatsvc.replies.reader import ReplyReader
from chatsvc.ticker import IDLE, NOW, Clock, Ticker, Waiter
from chatsvc.units import Close, Mark, PartText, Unit
from tests.parts_script import (
    only_text,
    open_parts,
    outputs,
    scripts,
    single_units,
    total,
    written,
)

DONE = End("done", "stop")
STOPPED = End("stopped", "stopped")
WAIT = 20.0


class Stopped(Ticker):
    """A ticker whose clock the test turns, and that calls nobody."""

    def __init__(self) -> None:
        self.horizon = self.now = 0
        self.slot = 0
        self.woken: list[Waiter] = []
        self.clock = Clock()

    def refresh(self) -> int:
        return self.now

    def wake(self, waiter: Waiter) -> None:
        self.woken.append(waiter)


def reading(log: Log, ticker: Ticker, after: int = 0) -> PartsReader:
    return PartsReader(log, ticker, Departure(), after)


def drained(reader: PartsReader) -> Iterator[PartItem]:
    """All that is out now."""
    while (items := reader.take()) is not None:
        assert items
        yield from items


def plain(items: list[PartItem]) -> list[tuple[str, object]]:
    """The units, each by itself, without the marks of parts that were open."""
    return single_units(outputs([item.unit for item in items if not item.resumed]))


@given(scripts, st.sampled_from([0, 40_000]), st.randoms(use_true_random=False))
def test_each_unit_is_read_once_by_any_cuts(
    script: list[Piece], pace: int, random: Random
) -> None:
    """Laws 2 and 3, at any times, with readers that go and come by any cursor."""
    ticker = Stopped()
    log = Log("r" * 22, pace=pace)
    everything = single_units(written(script))
    got: list[PartItem] = []
    text = ""
    reader, characters = reading(log, ticker), ReplyReader(log, ticker, Departure())
    steps = [*written(script), DONE]
    while not (reader.over and characters.over):
        # Mostly one, as a reader finds it that keeps up with a model.
        for _ in range(min(len(steps), random.choice([1, 2, 0, 3]))):
            match steps.pop(0):
                case str() as piece:
                    log.append(piece, ticker.now)
                case End() as end:
                    log.finish(end, ticker.now)
                case unit:
                    log.append_side([unit])
        ticker.horizon = ticker.now = ticker.now + random.choice([0, 1, 90_000])
        got += drained(reader)
        out = log.released_offset(ticker.horizon)
        assert reader.offset == out
        while (run := characters.take()) is not None:
            assert run[0] == len(text)
            text += "".join(run[1])
        if random.random() < 0.5:
            reader.close()
            reader = reading(
                log, ticker, random.choice([out, log.offset_at(len(text))])
            )
            if reader.offset < out:  # by position: what stands there may come again
                got = [item for item in got if item.offset <= reader.offset]
            begin = reader.offset
            marks = open_parts(everything[:begin])
            first = reader.take() or []
            assert [i.unit for i in first if i.resumed] == marks
            assert all(item.offset == begin for item in first if item.resumed)
            got += first
        assert log.end is not None or steps
    offset = 0
    for item in got:
        if not item.resumed:
            offset += total([item.unit])
            assert item.offset == offset
    assert plain(got) == everything
    assert text == only_text(script)
    assert log.waiters == {reader, characters}


@pytest.mark.parametrize("held_back", [True, False])
def test_more_of_a_part_waits_for_the_text_before_it(held_back: bool) -> None:
    ticker = Stopped()
    log = Log("r" * 22, pace=40_000)
    [begun, more, *_] = written([ToolCall("1", "f", "a"), ToolCall("1", "", "b")])
    assert isinstance(begun, Mark)
    assert isinstance(more, PartText)
    log.append_side([begun, more])
    reader = reading(log, ticker)
    assert [item.offset for item in drained(reader)] == [1, 2]
    log.append("xyz" if held_back else "x", 0)
    log.append_side([PartText(more.part, "c")])
    units = [item.unit for item in drained(reader)]
    assert units == [PartText(0, "x")] + [PartText(more.part, "c")] * (not held_back)
    ticker.horizon = ticker.now = 80_000
    units += [item.unit for item in drained(reader)]
    assert "".join(unit.text for unit in units if isinstance(unit, PartText)) == (
        "xyzc" if held_back else "xc"
    )


def test_a_reader_gets_the_rest_from_each_offset() -> None:
    script: list[Piece] = [
        Reasoning("ab"),
        ToolCall("1", "f", "{}"),
        "e\u0301x",
        ToolCall("1", "", "!"),
    ]
    everything = single_units(written(script))
    log = Log("r" * 22)
    for each in written(script):
        if isinstance(each, str):
            log.append(each, 0)
        else:
            log.append_side([each])
    log.finish(DONE, 0)
    for offset in range(log.offset + 1):
        reader = reading(log, Stopped(), offset)
        items = list(drained(reader))
        assert plain(items) == everything[offset:]
        assert [i.unit for i in items if i.resumed] == open_parts(everything[:offset])
        assert reader.over
        assert reader.slot == IDLE


def test_texts_that_have_gathered_are_one() -> None:
    ticker = Stopped()
    log = Log("r" * 22)
    log.append_side([Mark(1, "reasoning")])
    for _ in range(5000):
        log.append_side([PartText(1, "think ")])
    log.append_side([Close(1)])
    for _ in range(900):
        log.append("text ", 0)
    items = reading(log, ticker).take()
    assert items is not None
    assert [item.unit for item in items] == [
        Mark(1, "reasoning"),
        PartText(1, "think " * 5000),
        Close(1),
        PartText(0, "text " * 900),
    ]


def test_a_side_unit_is_out_as_soon_as_the_text_before_it_is() -> None:
    ticker = Stopped()
    log = Log("r" * 22, pace=1000)
    log.append("abc", 0)
    mark = Mark(1, "data", whole=True)
    log.append_side([mark])
    log.append("d", 0)
    reader = reading(log, ticker)
    got: list[tuple[int, Unit]] = []
    for now in range(0, 4000, 1000):
        ticker.horizon = now
        got += [(now, item.unit) for item in reader.take() or ()]
    assert got == [
        (0, PartText(0, "a")),
        (1000, PartText(0, "b")),
        (2000, PartText(0, "c")),
        (2000, mark),
        (3000, PartText(0, "d")),
    ]


def test_a_reader_of_characters_is_not_woken_for_what_it_is_not_shown() -> None:
    ticker = Stopped()
    log = Log("r" * 22)
    reader, characters = reading(log, ticker), ReplyReader(log, ticker, Departure())
    assert reader.take() is None
    assert characters.take() is None
    log.append_side([Mark(1, "reasoning"), PartText(1, "x")])
    assert ticker.woken == [reader]
    log.append("y", 0)
    assert set(ticker.woken) == {reader, characters}
    reader.close()
    ticker.woken.clear()
    log.append_side([Close(1)])
    assert ticker.woken == []


def test_much_comes_in_batches_of_whole_characters() -> None:
    log = Log("r" * 22)
    family = "👨‍👩‍👧"
    log.append("x" + family * LONGEST_BATCH, 0)
    log.append_side([Mark(n, "data", whole=True) for n in range(1, 3 * MOST_ITEMS)])
    log.append_side([Mark(9999, "reasoning"), PartText(9999, "y" * 3 * LONGEST_BATCH)])
    log.finish(DONE, 0)
    reader = reading(log, Stopped())
    answer = 0
    while (items := reader.take()) is not None:
        assert len(items) <= MOST_ITEMS
        assert sum(total([item.unit]) for item in items) <= LONGEST_BATCH
        assert reader.slot == NOW
        for item in items:
            if isinstance(item.unit, PartText) and item.unit.part == 0:
                answer += len(item.unit.text)
                assert answer % len(family) == 1
    assert reader.over
    assert reader.offset == log.offset


def test_a_cursor_inside_a_character_gives_the_rest_of_it() -> None:
    log = Log("r" * 22)
    log.append("e\u0301x", 0)
    items = reading(log, Stopped(), 1).take()
    assert items == [PartItem(3, PartText(0, "\u0301x"))]


def test_a_node_that_leaves_sends_readers_away_but_at_the_end() -> None:
    log = Log("r" * 22)
    departure = Departure()
    log.append_side([Mark(1, "reasoning"), PartText(1, "x")])
    reader = PartsReader(log, Stopped(), departure)
    assert reader.take() is not None
    departure.begin()
    with pytest.raises(SentAway):
        reader.take()
    log.finish(DONE, 0)
    assert reader.take() is None
    assert reader.over
    behind = PartsReader(log, Stopped(), departure, 1)
    with pytest.raises(SentAway):
        behind.take()


async def test_it_is_a_generator_too() -> None:
    ticker = Ticker()
    log = Log("r" * 22)
    reader = reading(log, ticker)
    got: list[PartItem] = []

    async def read() -> None:
        async for items in reader:
            got.extend(items)

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    log.append_side([Mark(1, "reasoning")])
    log.append_side([PartText(1, "x"), Close(1)])
    async with asyncio.timeout(WAIT):
        while len(got) < 3:
            await asyncio.sleep(0)
    log.append("ab", 0)
    log.finish(STOPPED, 0)
    await asyncio.wait_for(task, WAIT)
    assert [item.offset for item in got] == [1, 2, 3, 5]
    assert reader.over
    reader.close()
    assert not log.waiters
    assert not log.sides().waiters
