"""A stream's way out, on a connection that the test holds the other end of. Time is a clock that the test sets."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from contextlib import closing

import pytest

from chatsvc.kept_prompt import keep
from chatsvc.log import Log
from chatsvc.model import End, Prompt
from chatsvc.replies import Reply
from chatsvc.replies.departure import Departure
from chatsvc.replies.reader import LONGEST_RUN
from chatsvc.requests.values import View
from chatsvc.stores import Record
from chatsvc.ticker import SLOT_US, Ticker, Waiter
from chatsvc.transports.encoder import make_encoder
from chatsvc.transports.framing import BARE
from chatsvc.transports.heartbeat import SILENCE_US, Heartbeat
from chatsvc.transports.text import PlainText
from chatsvc.transports.writing import (
    FULL_BYTES,
    FULL_POLL_US,
    LAST_CHARACTERS,
    STALLED_US,
    ClientGone,
    SlowReader,
    Stream,
)

from .hand import Hand, hand_of_time, reach, turns

SECOND = 1_000_000

TEXT = make_encoder(PlainText("", View()), BARE)


class Wire(asyncio.Transport):
    """A connection whose peer reads when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.waiting = 0
        self.closing = self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.closing = self.aborted = True


@pytest.fixture
def hand() -> Iterator[Hand]:
    with hand_of_time() as hand:
        yield hand


def reply_of(text: str, pace: int, hand: Hand) -> Reply:
    log = Log("r" * 22, pace=pace)
    log.append(text, hand.now)
    return Reply(
        Record(log.reply_id, keep(Prompt(()))),
        log,
        Ticker(),
        Departure(),
        lambda reply: None,
    )


async def test_a_comment_comes_when_nothing_else_was_written(hand: Hand) -> None:
    begin, wire = hand.now, Wire()
    reply = reply_of("abc", 10 * SECOND, hand)
    with closing(Stream(reply, 0, wire, TEXT)) as stream:
        beat = Heartbeat(stream, wire, BARE, probe_times_us=())
        running = asyncio.create_task(stream.run())
        seen: list[tuple[float, bytes]] = []
        for slot in range(0, 60 * SECOND, 500_000):
            await reach(stream.ticker, hand, begin + slot)
            if wire.written:
                seen.append((slot / SECOND, wire.written[:2]))
                wire.written = b""
        beat.close()
        running.cancel()
    silence = SILENCE_US / SECOND
    assert seen == [
        (0, b"a"),
        (10, b"b"),
        (20, b"c"),
        (20 + silence, b": "),
        (20 + 2 * silence, b": "),
    ]


async def test_a_stream_that_is_over_holds_nothing_until_its_next_comment(
    hand: Hand,
) -> None:
    wire = Wire()
    reply = reply_of("abc", 0, hand)
    ticker = reply.ticker
    with (
        closing(Stream(reply, 0, wire, TEXT)) as stream,
        closing(Heartbeat(stream, wire, BARE)),
    ):
        reply.log.finish(End("done", "stop"), hand.now)
        await asyncio.wait_for(stream.run(), 10)
        assert stream.rest == (0, "abc")
    left = weakref.ref(reply), weakref.ref(reply.log)
    del reply, stream
    await turns()  # it was woken for the end
    assert [it() for it in left] == [None, None]
    await reach(ticker, hand, hand.now + SILENCE_US)
    assert wire.written == b""


async def test_nothing_is_written_to_a_connection_that_closes(hand: Hand) -> None:
    wire = Wire()
    reply = reply_of("abc", SECOND, hand)
    with closing(Stream(reply, 0, wire, TEXT)) as stream:
        running = asyncio.create_task(stream.run())
        await reach(stream.ticker, hand, hand.now + SECOND)
        assert wire.written == b"ab"
        wire.closing = True
        await reach(stream.ticker, hand, hand.now + SECOND)
        with pytest.raises(ClientGone):
            await running
        assert wire.written == b"ab"
    assert not reply.log.waiters


async def test_a_reader_that_is_behind_gets_no_more_until_it_has_read(
    hand: Hand,
) -> None:
    wire = Wire()
    reply = reply_of("abc", SECOND, hand)
    with closing(Stream(reply, 0, wire, TEXT)) as stream:
        running = asyncio.create_task(stream.run())
        await turns()
        wire.waiting = FULL_BYTES + 1  # another stream's, or its own
        await reach(stream.ticker, hand, hand.now + SECOND)
        assert wire.written == b"a"
        reply.log.append("d", hand.now)  # wakes nobody
        await reach(stream.ticker, hand, hand.now + SECOND)
        wire.waiting = FULL_BYTES // 2 + 1
        await reach(stream.ticker, hand, hand.now + FULL_POLL_US)
        assert wire.written == b"a"
        wire.waiting = FULL_BYTES // 2
        await reach(stream.ticker, hand, hand.now + FULL_POLL_US + SLOT_US)
        assert wire.written == b"abc"
        reply.log.finish(End("done", "stop"), hand.now)
        await asyncio.wait_for(running, 10)
        assert (wire.written, stream.rest) == (b"abc", (3, "d"))


@pytest.mark.parametrize("length", [1, LAST_CHARACTERS, LAST_CHARACTERS + 1])
async def test_a_short_run_that_is_the_last_is_left_to_go_with_the_end(
    length: int, hand: Hand
) -> None:
    wire, last = Wire(), "x" * length
    reply = reply_of("a", 0, hand)
    with closing(Stream(reply, 0, wire, TEXT)) as stream:
        running = asyncio.create_task(stream.run())
        await turns()
        reply.log.append(last, hand.now)
        reply.log.finish(End("done", "stop"), hand.now)
        await asyncio.wait_for(running, 10)
        if length <= LAST_CHARACTERS:
            assert (wire.written, stream.rest) == (b"a", (1, last))
        else:
            assert (wire.written, stream.rest) == (b"a" + last.encode(), None)


async def test_a_reader_that_takes_nothing_is_dropped(hand: Hand) -> None:
    begin, wire = hand.now, Wire()
    reply = reply_of("abc", 0, hand)
    with closing(Stream(reply, 0, wire, TEXT)) as stream:
        running = asyncio.create_task(stream.run())
        wire.waiting = FULL_BYTES + 2
        await reach(stream.ticker, hand, begin + STALLED_US // 2)
        wire.waiting = FULL_BYTES + 1  # a little is progress
        await reach(stream.ticker, hand, hand.now + FULL_POLL_US)
        for _ in range(3):
            assert not wire.aborted
            await reach(stream.ticker, hand, hand.now + STALLED_US // 2)
        with pytest.raises(SlowReader):
            await asyncio.wait_for(running, 10)
        assert wire.aborted


async def test_one_that_catches_up_lets_the_others_come_between(hand: Hand) -> None:
    class Other(Waiter):
        """Notes how much the one that catches up has written when it is its turn."""

        def call(self) -> None:
            seen.append(len(wire.written))

    seen: list[int] = []
    wire = Wire()
    reply = reply_of("a" * (10 * LONGEST_RUN), 0, hand)
    other = Other(reply.ticker)
    reply.log.finish(End("done", "stop"), hand.now)
    reply.ticker.enter(other.until(hand.now + SLOT_US))
    with closing(Stream(reply, 0, wire, TEXT)) as stream:
        running = asyncio.create_task(stream.run())
        await turns(1)
        assert len(wire.written) == LONGEST_RUN
        hand.now += 2 * SLOT_US
        await asyncio.wait_for(running, 10)
    assert len(wire.written) == 10 * LONGEST_RUN
    assert 0 < seen[0] <= 3 * LONGEST_RUN
