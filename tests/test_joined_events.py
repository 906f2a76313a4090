"""Events that join what is out (`/v1`, `/api/ui`): whatever arrives however, they hold the text, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.graphemes import Splitter
from chatsvc.kept_prompt import keep
from chatsvc.log import Log
from chatsvc.model import End, Prompt
from chatsvc.replies import Reply
from chatsvc.replies.departure import Departure
from chatsvc.replies.reader import LONGEST_RUN
from chatsvc.requests.values import View
from chatsvc.stores import Record
from chatsvc.ticker import SLOT_US, Ticker
from chatsvc.transports.codec import Codec
from chatsvc.transports.encoder import make_encoder
from chatsvc.transports.framing import BARE
from chatsvc.transports.openai import Chunks
from chatsvc.transports.text import PlainText
from chatsvc.transports.ui import UIChunks
from chatsvc.transports.writing import Stream

from .hand import Hand, hand_of_time, reach, turns
from .service.running import characters


class Wire(asyncio.Transport):
    """A connection that keeps each write, and whose peer has read all."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def content(event: str) -> str:
    """The text of a chunk, or of a text delta."""
    members = json.loads(event.removeprefix("data: "))
    if "choices" not in members:
        assert members.keys() == {"type", "id", "delta"}
        return str(members["delta"])
    (choice,) = members["choices"]
    assert choice.keys() == {"index", "delta", "finish_reason"}
    assert choice["finish_reason"] is None
    return str(choice["delta"]["content"])


def texts(write: bytes) -> list[str]:
    """The texts of the events of one write, each of which is whole and valid.

    The chunk with the role is none of them, nor is the start of a block of text.
    """
    *events, rest = write.decode().split("\n\n")
    assert rest == ""
    no_text = ('"role":', '"text-start"')
    return [content(event) for event in events if not any(n in event for n in no_text)]


MAKERS: dict[str, Callable[[Reply], Codec]] = {
    "v1": lambda reply: Chunks(reply, "m"),
    "v1 with usage": lambda reply: Chunks(reply, "m", usage=True),
    "ui": lambda reply: UIChunks(reply.id),
}

# What backends yield: also halves of pairs, marks, and line ends cut in two.
pieces = st.text(
    st.characters() | st.sampled_from("\r\n\ud83d\udc4d👍\u0301\u200d\u2028é")
)
arrivals = st.lists(st.tuples(pieces, st.integers(0, 30_000)), max_size=12)


async def written(
    make: Callable[[Reply], Codec],
    hand: Hand,
    arriving: list[tuple[str, int]],
    *,
    pace: int = 0,
    lag: int | None = None,
) -> tuple[str, list[bytes]]:
    """The reply's text and the writes of a stream of it; pieces arrive µs after one another."""
    log, ticker, wire, splitter = (
        Log("r" * 22, pace=pace, lag=lag),
        Ticker(),
        Wire(),
        Splitter(),
    )
    reply = Reply(
        Record(log.reply_id, keep(Prompt(()))),
        log,
        ticker,
        Departure(),
        lambda reply: None,
    )
    encoder = make_encoder(make(reply), BARE)
    with closing(Stream(reply, 0, wire, encoder)) as stream:
        running = asyncio.create_task(stream.run())
        for piece, pause in arriving:
            log.append(splitter.feed(piece), hand.now)
            await reach(ticker, hand, hand.now + pause)
        log.append(splitter.close(), hand.now)
        while hand.now < log.due() + SLOT_US:
            await reach(ticker, hand, hand.now + max(SLOT_US, pace))
        log.finish(End("done", "stop"), hand.now)
        await asyncio.wait_for(running, 10)
        if stream.rest is not None:
            wire.write(encoder.encode(*stream.rest))
    return log.text(0), wire.writes


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@given(
    arriving=arrivals,
    pace=st.sampled_from([0, 1_000, 100_000]),
    lag=st.none() | st.integers(0, 50_000),
)
def test_what_arrives_is_there_once_and_in_whole_characters(
    make: Callable[[Reply], Codec],
    arriving: list[tuple[str, int]],
    pace: int,
    lag: int | None,
) -> None:
    with hand_of_time() as hand:
        text, writes = asyncio.run(written(make, hand, arriving, pace=pace, lag=lag))
    told = [part for write in writes for part in texts(write)]
    assert "".join(told) == text
    assert [c for part in told for c in characters(part)] == characters(text)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
async def test_all_that_is_out_is_one_event_in_one_write(
    make: Callable[[Reply], Codec],
) -> None:
    with hand_of_time() as hand:
        arriving = [("Two ", 0), ("tokens, é👍 ", 40_000), ("one", 40_000)]
        _, writes = await written(make, hand, arriving)
    assert [texts(write) for write in writes] == [
        ["Two"],
        [" tokens, é👍"],
        [" on"],
        ["e"],
    ]


async def test_what_is_out_at_once_is_one_event_however_many_segments_hold_it() -> None:
    """A pace that gives way to the lag makes a schedule of its own for each piece."""
    with hand_of_time() as hand:
        log, ticker, wire = Log("r" * 22, pace=10_000, lag=50_000), Ticker(), Wire()
        reply = Reply(
            Record(log.reply_id, keep(Prompt(()))),
            log,
            ticker,
            Departure(),
            lambda r: None,
        )
        encoder = make_encoder(UIChunks(reply.id), BARE)
        with closing(Stream(reply, 0, wire, encoder)) as stream:
            running = asyncio.create_task(stream.run())
            await turns()
            for size in (40, 60, 1, 30):
                log.append("é" * size, hand.now)
                hand.now += 1_000
            log.append("e\u0301", hand.now)
            assert len(log.segments) > 2
            await reach(ticker, hand, log.due())
            running.cancel()
    assert [texts(write) for write in wire.writes] == [[log.text(0)]]


async def test_a_paced_reply_is_one_character_an_event() -> None:
    with hand_of_time() as hand:
        _, writes = await written(MAKERS["v1"], hand, [("你好, 👍\n", 0)], pace=100_000)
    assert [texts(write) for write in writes] == [[c] for c in "你好, 👍\n"]


async def test_an_event_has_at_most_the_longest_run() -> None:
    with hand_of_time() as hand:
        long = "ab" * LONGEST_RUN + "é\n"
        text, writes = await written(MAKERS["ui"], hand, [(long, 0)])
    told = [part for write in writes for part in texts(write)]
    assert "".join(told) == text
    assert [len(part) for part in told] == [LONGEST_RUN, LONGEST_RUN, 2]


async def test_a_chunk_is_little_more_than_the_models_own() -> None:
    model = (
        b'data: {"id":"chatcmpl-b","object":"chat.completion.chunk","created":1,"model":"m",'
        b'"choices":[{"index":0,"delta":{"content":"000 "},"logprobs":null,"finish_reason":null}]}'
        b"\n\n"
    )
    log = Log("r" * 22)
    record = Record(log.reply_id, keep(Prompt(())))
    reply = Reply(record, log, Ticker(), Departure(), lambda reply: None)
    first, event = Chunks(reply, "m").events(0, "000 ")
    assert b'"role":"assistant","content":""' in first
    assert len(event) <= 1.05 * len(model)


@given(st.lists(st.characters(codec="utf-8"), min_size=1))
def test_plain_text_is_one_event(run: list[str]) -> None:
    events = PlainText("", View()).events(0, run)
    assert events == ["".join(run).encode()]


async def test_a_reader_that_is_sent_away_has_been_given_what_is_out() -> None:
    with hand_of_time() as hand:
        log, ticker, wire, departure = Log("r" * 22), Ticker(), Wire(), Departure()
        reply = Reply(
            Record(log.reply_id, keep(Prompt(()))),
            log,
            ticker,
            departure,
            lambda r: None,
        )
        encoder = make_encoder(UIChunks(reply.id), BARE)
        with closing(Stream(reply, 0, wire, encoder)) as stream:
            running = asyncio.create_task(stream.run())
            await turns()
            log.append("out\n", hand.now)
            await turns()
            departure.begin()
            log.interrupt()
            await asyncio.wait([running], timeout=10)
        assert [texts(write) for write in wire.writes] == [["out\n"]]
        assert type(running.exception()).__name__ == "SentAway"
