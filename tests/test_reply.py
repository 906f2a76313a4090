"""`ReplyReader`, the generator that feeds every transport: the text exactly once, never early, to the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatsvc.graphemes import Splitter
from chatsvc.kept_prompt import keep
from chatsvc.log import Log
from chatsvc.model import End, Prompt
from chatsvc.problems import CursorPastEnd
from chatsvc.replies.departure import Departure, SentAway
from chatsvc.replies.reader import LONGEST_RUN, ReplyReader
from chatsvc.replies.release import ReleaseWaiter
from chatsvc.replies.reply import Reply
from chatsvc.segment import Segment
from chatsvc.stores import Record
from chatsvc.ticker import LIMIT_POLL_SLOTS, SLOT_US, Clock, Ticker, Waiter

from .hand import Hand, hand_of_time, reach, turns

DONE = End("done", "stop")
STOPPED = End("stopped", "stopped")
FAILED = End("failed", "error")
FAMILY = "👨‍👩‍👧"


@pytest.fixture
def hand() -> Iterator[Hand]:
    with hand_of_time() as hand:
        yield hand


def make(ticker: Ticker, *, pace: int = 0, lag: int | None = None) -> Reply:
    """A reply with an empty log."""
    record = Record("r" * 22, keep(Prompt(())))
    log = Log(record.reply_id, pace=pace, lag=lag)
    return Reply(record, log, ticker, Departure(), lambda reply: None)


def send_away(reply: Reply) -> None:
    """What the registry does with each reply when the node leaves."""
    reply.departure.begin()
    reply.log.interrupt()


@dataclass
class Reader:
    """Reads from a position on, in a task or in the ticker, and checks each run as it comes."""

    reply: Reply
    after: int
    rest: int = 0  # microseconds between two runs
    text: str = ""
    characters: list[str] = field(default_factory=list)
    ended: End | None = None
    end: asyncio.Future[None] | None = None

    async def iterate(self) -> None:
        ticker = self.reply.ticker
        waiter = Waiter(ticker)
        async with aclosing(self.reply.characters(self.after)) as runs:
            async for before, run in runs:
                self.check(before, run)
                if self.rest:
                    await waiter.until(ticker.now + self.rest)
        self.ended = self.reply.end

    async def stand(self) -> None:
        """Be called by the ticker, as the transports are."""
        end = asyncio.get_running_loop().create_future()
        reader, reply = self, self.reply

        class Standing(ReplyReader):
            def call(self) -> None:
                try:
                    while (taken := self.take()) is not None:
                        reader.check(*taken)
                        if reader.rest:
                            self.until(self.ticker.now + reader.rest)
                        if self.slot > self.ticker.slot:
                            return
                    if self.over:
                        end.set_result(None)
                except (SentAway, AssertionError) as error:
                    self.close()
                    end.set_exception(error)

        with closing(
            Standing(reply.log, reply.ticker, reply.departure, self.after)
        ) as standing:
            standing.ticker.refresh()
            standing.call()
            standing.ticker.enter(standing)
            await end
        self.ended = self.reply.end

    def check(self, before: int, run: Sequence[str]) -> None:
        assert before == self.after + len(self.text)
        assert 0 < len(run) <= LONGEST_RUN
        self.characters += run
        self.text += "".join(run)
        assert before + len("".join(run)) <= self.reply.released_now()


def characters(text: str) -> Sequence[str]:
    segment = Segment(0, text)
    return segment.characters(0, segment.count)


def start(reader: Reader, called: bool) -> None:
    reader.end = asyncio.create_task(reader.stand() if called else reader.iterate())


pieces = st.lists(
    st.sampled_from(["a", " ", "\n", "\r\n", "\r", "好", FAMILY, "🇩🇪", "🇩", "e\u0301"])
    | st.sampled_from(["\u200d", "\U0001f3fd", "\ud83d", "\udc4d"])
    | st.characters(codec="utf-8"),
    max_size=10,
).map("".join)
actions = st.lists(
    st.tuples(st.just("piece"), pieces)
    | st.tuples(st.just("forward"), st.integers(0, 400_000))
    | st.tuples(
        st.just("join"), st.integers(0, 60), st.integers(0, 60_000), st.booleans()
    )
    | st.tuples(st.just("leave"), st.integers(0, 5)),
    max_size=14,
)


async def play(
    script: list[tuple[Any, ...]],
    end: End,
    pace: int,
    lag: int | None,
    offset: int,
    hand: Hand,
) -> None:
    ticker = Ticker(Clock(offset))
    reply = make(ticker, pace=pace, lag=lag)
    log, splitter = reply.log, Splitter()
    readers: list[Reader] = []
    gone: list[Reader] = []

    def join(after: int, rest: int, called: bool) -> None:
        reader = Reader(reply, after, rest)
        readers.append(reader)
        start(reader, called)

    join(0, 0, True)
    join(0, 0, False)
    for name, *values in script:
        if name == "piece":
            log.append(splitter.feed(values[0]), hand.now + offset)
            await turns()
        elif name == "forward":
            await reach(ticker, hand, hand.now + values[0])
        elif name == "join":
            # Any position that is out: also one inside a character.
            after, rest, called = values
            join(min(after, reply.released_now()), rest, called)
            await turns()
        elif len(readers) > 2:
            reader = readers.pop(2 + values[0] % (len(readers) - 2))
            assert reader.end is not None
            gone.append(reader)
            reader.end.cancel()
            await asyncio.wait([reader.end])
        for reader in readers[:2]:  # these two never rest
            seen = (hand.now // SLOT_US) * SLOT_US + offset
            assert len(reader.text) >= log.released(seen)
    if end is not STOPPED:
        log.append(splitter.close(), hand.now + offset)
        log.seal(End("done", "stop"))
        await reach(ticker, hand, max(hand.now, log.due() - offset + SLOT_US))
    log.finish(end, hand.now + offset)
    text = log.text(0)
    for after in (0, len(text) // 2, len(text)):
        join(after, 0, True)
        join(after, 0, False)
    # Each one that rests needs its time for all it has to read.
    for _ in range(400):
        if all(r.end is not None and r.end.done() for r in readers):
            break
        await reach(ticker, hand, hand.now + 100_000)
    whole = characters(text)
    for reader in readers:
        assert reader.end is not None
        reader.end.result()
        assert reader.text == text[reader.after :]
        assert reader.ended is end
        if reader.text:
            # What is left of a character comes first; all others are whole.
            assert [*reader.characters[1:]] == list(
                whole[len(whole) - len(reader.characters) + 1 :]
            )
    for reader in gone:
        assert text[reader.after :].startswith(reader.text)


@given(
    actions,
    st.sampled_from([DONE, STOPPED, FAILED]),
    st.sampled_from([0, 1, 700, 30_000, 100_000]),
    st.none() | st.integers(0, 500_000),
    st.sampled_from([0, -7_777, 10**9 + 1]),
)
@example([("piece", FAMILY + "ab"), ("join", 2, 0, True)], DONE, 0, None, 0)
def test_every_reader_gets_the_text_exactly_once(
    script: list[tuple[Any, ...]], end: End, pace: int, lag: int | None, offset: int
) -> None:
    """Any text, cut anywhere, at any pace, with any readers at any positions, ended at any time."""
    with hand_of_time() as hand:
        asyncio.run(play(script, end, pace, lag, offset, hand))


Modes = Callable[[Reader], Coroutine[Any, Any, None]]
both = pytest.mark.parametrize("run", [Reader.stand, Reader.iterate])


@both
async def test_a_position_inside_a_character_gets_what_is_left_of_it(
    run: Modes,
) -> None:
    ticker = Ticker()
    reply = make(ticker)
    text = "a" + FAMILY + "é🇩🇪b"
    reply.log.append(text, ticker.refresh())
    reply.log.finish(DONE, ticker.refresh())
    for after in range(len(text) + 1):
        reader = Reader(reply, after)
        await run(reader)
        assert reader.text == text[after:]
    reader = Reader(reply, 3)
    await run(reader)
    assert reader.characters == [FAMILY[2:], *"é", "🇩🇪", "b"]


@both
async def test_catching_up_is_cut_into_runs(run: Modes) -> None:
    ticker = Ticker()
    reply = make(ticker)
    for text in ("x" * (3 * LONGEST_RUN + 5), FAMILY * (LONGEST_RUN + 1)):
        reply.log.append(text, ticker.refresh())
    reply.log.finish(DONE, ticker.refresh())
    reader = Reader(reply, 7)
    await run(reader)
    assert reader.text == ("x" * (3 * LONGEST_RUN + 5) + FAMILY * (LONGEST_RUN + 1))[7:]


@both
async def test_a_late_reader_catches_up_at_once_and_then_follows(
    run: Modes, hand: Hand
) -> None:
    ticker = Ticker()
    reply = make(ticker, pace=100_000)
    begin = hand.now
    reply.log.append("abcdefghij", begin)
    await reach(ticker, hand, begin + 450_000)
    late = Reader(reply, 1)
    reading = asyncio.ensure_future(run(late))
    await turns()
    assert late.text == "bcde"
    for count, when in ((5, 499_000), (6, 500_000), (6, 599_000), (7, 600_000)):
        await reach(ticker, hand, begin + when)
        assert late.text == "abcdefghij"[1:count]
    reply.log.finish(STOPPED, hand.now)
    await asyncio.wait_for(reading, 10)
    assert late.text == "bcdefg"
    assert late.ended is STOPPED


@both
async def test_nothing_that_waits_is_left_when_a_reader_goes(run: Modes) -> None:
    ticker = Ticker()
    reply = make(ticker)
    reply.log.append("a", ticker.refresh())
    readers = [asyncio.ensure_future(run(Reader(reply, 0))) for _ in range(5)]
    await turns()
    assert len(reply.log.waiters) == 5
    for reading in readers:
        reading.cancel()
    await asyncio.wait(readers)
    assert not reply.log.waiters


async def test_a_generator_that_was_closed_gives_nothing() -> None:
    ticker = Ticker()
    reply = make(ticker)
    reply.log.append("ab", ticker.refresh())
    runs = reply.characters()
    assert await anext(runs) == (0, "ab")
    reply.log.append("c", ticker.refresh())
    await runs.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(runs)


@both
async def test_an_empty_reply_ends(run: Modes) -> None:
    ticker = Ticker()
    reply = make(ticker)
    reader = Reader(reply, 0)
    reading = asyncio.ensure_future(run(reader))
    await turns()
    assert not reading.done()
    reply.log.finish(DONE, ticker.refresh())
    await asyncio.wait_for(reading, 10)
    assert (reader.text, reader.ended) == ("", DONE)


async def test_a_stop_does_not_wait_for_the_clock(hand: Hand) -> None:
    ticker = Ticker()
    reply = make(ticker, pace=3_600_000_000)
    reply.log.append("ab", hand.now)
    readers = [Reader(reply, 0), Reader(reply, 0), Reader(reply, 2)]
    for reader, called in zip(readers, (True, False, True), strict=True):
        start(reader, called)
    await turns()
    reply.log.finish(STOPPED, hand.now)
    await turns()
    assert [reader.text for reader in readers] == ["a", "a", ""]
    for reader in readers:
        assert reader.end is not None
        reader.end.result()
        assert reader.ended is STOPPED


@both
async def test_what_is_due_behind_the_clocks_limit_is_not_out(
    run: Modes, hand: Hand
) -> None:
    begin = hand.now
    clock = Clock(limit=begin + 250_000)
    ticker = Ticker(clock)
    record = Record("r" * 22, keep(Prompt(())))
    log = Log(record.reply_id, pace=100_000)
    reply = Reply(record, log, ticker, Departure(), lambda reply: None)
    log.append("abcdefgh", begin)
    reader = Reader(reply, 0)
    reading = asyncio.ensure_future(run(reader))
    for when in (0, 150_000, 250_000, 400_000, 3_000_000):
        await reach(ticker, hand, begin + when)
        assert reader.text == "abcdefgh"[: min(when // 100_000 + 1, 3)]
        assert reply.released_now() == len(reader.text)
    log.finish(STOPPED, clock.horizon_at(hand.now))
    await asyncio.wait_for(reading, 10)
    assert (reader.text, reader.ended) == ("abc", STOPPED)


@both
async def test_readers_go_on_when_the_limit_does(run: Modes, hand: Hand) -> None:
    begin = hand.now
    clock = Clock(limit=begin)
    ticker = Ticker(clock)
    record = Record("r" * 22, keep(Prompt(())))
    log = Log(record.reply_id, pace=100_000)
    reply = Reply(record, log, ticker, Departure(), lambda reply: None)
    log.append("abcdefgh", begin)
    reader = Reader(reply, 0)
    reading = asyncio.ensure_future(run(reader))
    await reach(ticker, hand, begin + 1_000_000)
    assert reader.text == "a"
    clock.limit = begin + 10_000_000
    await reach(ticker, hand, hand.now + LIMIT_POLL_SLOTS * SLOT_US)
    assert reader.text == "abcdefgh"
    log.finish(DONE, hand.now)
    await asyncio.wait_for(reading, 10)


async def test_the_end_is_not_late_when_the_limit_was(hand: Hand) -> None:
    begin = hand.now
    clock = Clock(limit=begin)
    ticker = Ticker(clock)
    log = Log("r" * 22, pace=100_000)
    reply = Reply(
        Record(log.reply_id, keep(Prompt(()))),
        log,
        ticker,
        Departure(),
        lambda reply: None,
    )
    log.append("abcdefgh", begin)
    calls: list[int] = []
    ReleaseWaiter(reply.log, ticker, lambda: calls.append(hand.now)).start()
    await reach(ticker, hand, begin + 10_000_000)
    assert not calls
    clock.limit = begin + 60_000_000
    await reach(ticker, hand, hand.now + LIMIT_POLL_SLOTS * SLOT_US)
    assert calls == [hand.now]


@both
async def test_readers_are_sent_away_wherever_they_wait(run: Modes, hand: Hand) -> None:
    ticker = Ticker()
    idle, paced = make(ticker), make(ticker, pace=3_600_000_000)
    paced.log.append("ab", hand.now)
    readers = [Reader(idle, 0), Reader(paced, 0), Reader(paced, 1)]
    going = [asyncio.ensure_future(run(reader)) for reader in readers]
    await turns()
    send_away(idle)
    send_away(paced)
    for reading in going:
        with pytest.raises(SentAway):
            await asyncio.wait_for(reading, 10)
    assert [reader.text for reader in readers] == ["", "a", ""]
    assert not idle.log.waiters
    assert not paced.log.waiters
    with pytest.raises(SentAway):  # and who comes later
        await run(Reader(idle, 0))


@both
async def test_a_reader_that_has_it_all_ends_rather_than_is_sent_away(
    run: Modes,
) -> None:
    ticker = Ticker()
    reply = make(ticker)
    reply.log.append("ab", ticker.refresh())
    reply.log.finish(DONE, ticker.refresh())
    send_away(reply)
    reader = Reader(reply, 2)
    await run(reader)
    assert reader.ended is DONE


async def test_a_release_waiter_calls_once_all_is_released(hand: Hand) -> None:
    ticker = Ticker()
    reply = make(ticker, pace=100_000)
    calls: list[int] = []
    ReleaseWaiter(reply.log, ticker, lambda: calls.append(hand.now)).start()
    assert calls == [hand.now]  # nothing has arrived, so nothing is to come
    reply.log.append("abc", hand.now)
    begin = hand.now
    ReleaseWaiter(reply.log, ticker, lambda: calls.append(hand.now)).start()
    await reach(ticker, hand, begin + 199_000)
    assert len(calls) == 1
    await reach(ticker, hand, begin + 205_000)
    await reach(ticker, hand, begin + 900_000)
    assert calls == [begin, begin + 205_000]


def test_readers_are_counted_and_reported(hand: Hand) -> None:
    async def count() -> None:
        calls: list[int] = []
        record = Record("r" * 22, keep(Prompt(())))
        log = Log(record.reply_id)
        reply = Reply(
            record, log, Ticker(), Departure(), lambda r: calls.append(r.readers)
        )
        with reply.reading():
            with pytest.raises(ZeroDivisionError), reply.reading():
                assert reply.readers == 2
                raise ZeroDivisionError
            assert reply.readers == 1
        assert calls == [1, 0]

    asyncio.run(count())


async def test_a_position_that_was_not_reached_is_refused() -> None:
    ticker = Ticker()
    reply = make(ticker)
    reply.log.append(FAMILY, ticker.refresh())
    for after in range(len(FAMILY) + 1):
        reply.check(after)
    with pytest.raises(CursorPastEnd, match="reached position 5, not 6"):
        reply.check(6)


async def test_a_reply_says_where_it_stands(hand: Hand) -> None:
    ticker = Ticker()
    reply = make(ticker, pace=100_000)
    assert (reply.id, reply.state, reply.end, reply.released_now()) == (
        "r" * 22,
        "running",
        None,
        0,
    )
    reply.log.append("abc", hand.now)
    assert reply.released_now() == 1
    hand.now += 100_000
    assert reply.released_now() == 2
    reply.log.finish(FAILED, hand.now)
    assert (reply.state, reply.end, reply.released_now()) == ("failed", FAILED, 3)


async def test_text_without_a_pace_is_held_back_by_the_stores_clock_alone(
    hand: Hand,
) -> None:
    """A node that may not have heard of a stop releases nothing that is younger (`Clock.limit`)."""
    clock = Clock(limit=hand.now - 1)
    ticker = Ticker(clock)
    reply = make(ticker)
    with closing(reply.characters()) as reader:
        reply.log.append("abc", hand.now)
        ticker.refresh()
        assert reader.take() is None
        clock.limit = hand.now
        ticker.refresh()
        assert reader.take() == (0, "abc")


async def test_text_that_comes_to_a_node_that_leaves_is_given_to_no_reader(
    hand: Hand,
) -> None:
    ticker = Ticker()
    reply = make(ticker)
    with closing(reply.characters()) as reader:
        reply.departure.begin()
        reply.log.append("abc", hand.now)
        ticker.refresh()
        with pytest.raises(SentAway):
            reader.take()
