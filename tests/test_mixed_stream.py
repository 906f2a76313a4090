"""The stream of a reply's text and of what stands beside it: order, turns, slow and leaving clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

from chatsvc.kept_prompt import keep
from chatsvc.log import Log
from chatsvc.model import End, Prompt
from chatsvc.replies import Reply, SentAway
from chatsvc.replies.departure import Departure
from chatsvc.stores import Record
from chatsvc.ticker import MUTED, SLOT_US, Ticker
from chatsvc.transports.framing import BARE
from chatsvc.transports.openai import Chunks
from chatsvc.transports.streams import MixedStream
from chatsvc.transports.writing import FULL_BYTES, ClientGone
from chatsvc.units import Close, Mark, PartText, Unit

from .hand import Hand, hand_of_time, reach, turns
from .test_joined_events import Wire

DONE = End("done", "stop")
SOURCE = Mark(1, "source", {"url": "https://a.example/"}, whole=True)


class Client(Wire):
    """A connection whose peer reads, or does not, or has left."""

    waiting = 0
    gone = False

    def is_closing(self) -> bool:
        return self.gone

    def abort(self) -> None:
        self.gone = True

    def get_write_buffer_size(self) -> int:
        return self.waiting

    @property
    def deltas(self) -> list[dict[str, Any]]:
        """The deltas of all chunks that were written."""
        events = b"".join(self.writes).decode().split("\n\n")[:-1]
        chunks = [json.loads(event.removeprefix("data: ")) for event in events]
        return [chunk["choices"][0]["delta"] for chunk in chunks]


class Running:
    """A stream that runs: its reply's log, its client, and the task of it."""

    def __init__(self, hand: Hand, pace: int) -> None:
        self.hand = hand
        self.log = Log("r" * 22, pace=pace)
        self.ticker = Ticker()
        self.departure = Departure()
        record = Record(self.log.reply_id, keep(Prompt(())))
        self.reply = Reply(
            record, self.log, self.ticker, self.departure, lambda r: None
        )
        self.client = Client()
        codec = Chunks(self.reply, "m")
        self.stream = MixedStream(self.reply, self.client, codec, BARE)
        self.task = asyncio.create_task(self.stream.run())

    async def write(self, *each: str | Unit) -> None:
        """Append to the log, and let the stream have its turn."""
        for one in each:
            if isinstance(one, str):
                self.log.append(one, self.hand.now)
            else:
                self.log.append_side([one])
        await turns()


@asynccontextmanager
async def running(pace: int = 0) -> AsyncIterator[Running]:
    """A stream that runs, until it is closed."""
    with hand_of_time() as hand:
        it = Running(hand, pace)
        await turns()
        with closing(it.stream):
            yield it
            it.task.cancel()
            await asyncio.wait([it.task])
        assert not it.log.waiters and not it.log.sides().waiters


async def test_text_is_written_as_it_comes_behind_side_units_too() -> None:
    model = Mark(1, "extra", {"value": {"model": "real"}, "at": "chunk"}, whole=True)
    async with running() as it:
        await it.write("a")
        await it.write("b", model, "c")
        await it.write("d")
        await it.write("e")
        assert it.client.deltas == [
            {"role": "assistant", "content": ""},
            *({"content": text} for text in ("a", "b", "c", "d", "e")),
        ]
        assert b"".join(it.client.writes[:1]).count(b'"model":"m"') == 2
        assert all(b'"model":"real"' in write for write in it.client.writes[2:])


async def test_a_source_waits_for_the_next_unit_and_no_longer() -> None:
    async with running() as it:
        await it.write("a", SOURCE)
        await it.write("b")
        assert [next(iter(delta)) for delta in it.client.deltas[1:]] == [
            *("content", "annotations", "content")
        ]
        await it.write("c")
        assert it.client.deltas[-1] == {"content": "c"}


async def test_a_side_unit_is_out_as_soon_as_the_text_before_it() -> None:
    async with running(pace=100_000) as it:
        await it.write("abc", Mark(1, "reasoning"), PartText(1, "hm"), "d")
        seen = []
        for _ in range(5):
            seen.append(len(it.client.deltas))
            await reach(it.ticker, it.hand, it.hand.now + 100_000)
        assert seen == [2, 3, 5, 6, 6]
        assert [delta for delta in it.client.deltas if "content" not in delta] == [
            {"reasoning_content": "hm"}
        ]


async def test_text_that_went_out_with_side_units_is_not_looked_for_again() -> None:
    async with running(pace=100_000) as it:
        await it.write("abc")
        await it.write(Mark(1, "reasoning"), PartText(1, "hm"))
        for _ in range(4):
            await reach(it.ticker, it.hand, it.hand.now + 100_000)
        it.log.finish(DONE, it.hand.now)
        await asyncio.wait_for(it.task, 10)
        assert it.stream.rest is None
        assert it.client.deltas[1:] == [
            *({"content": text} for text in "abc"),
            {"reasoning_content": "hm"},
        ]


async def test_much_is_written_in_turns() -> None:
    with hand_of_time() as hand:
        it = Running(hand, 0)
        units: list[Unit] = [Mark(1, "reasoning"), PartText(1, "!" * 200_000), Close(1)]
        it.log.append_side(units)
        it.log.append("text", hand.now)
        it.log.finish(DONE, hand.now)
        with closing(it.stream):
            await turns(1)
            assert len(it.client.writes) == 1
            await reach(it.ticker, hand, hand.now + 20 * SLOT_US)
            await asyncio.wait_for(it.task, 10)
        # No completion's id, which is random, has this character.
        assert b"".join(it.client.writes).count(b"!") == 200_000
        assert len(it.client.writes) == 4
        assert it.stream.over
        assert it.stream.slot == MUTED


async def test_a_client_that_does_not_read_is_waited_for() -> None:
    async with running() as it:
        await it.write("a")
        it.client.waiting = FULL_BYTES + 1
        await it.write(Mark(1, "reasoning"), PartText(1, "hm"))
        before = len(it.client.writes)
        await it.write(PartText(1, "m"), "b")
        assert len(it.client.writes) == before
        it.client.waiting = 0
        await reach(it.ticker, it.hand, it.hand.now + 200_000)
        assert it.client.deltas[-2:] == [
            {"reasoning_content": "hmm"},
            {"content": "b"},
        ]


async def test_one_that_has_left_ends_the_stream() -> None:
    async with running() as it:
        await it.write("a")
        it.client.gone = True
        await it.write(Mark(1, "reasoning"), PartText(1, "hm"))
        assert isinstance(it.task.exception(), ClientGone)


async def test_one_that_is_sent_away_is_told_so() -> None:
    async with running() as it:
        await it.write("a", Mark(1, "reasoning"))
        it.departure.begin()
        await it.write(PartText(1, "hm"))
        assert isinstance(it.task.exception(), SentAway)


async def test_the_end_comes_behind_what_stands_last() -> None:
    async with running() as it:
        await it.write("a", SOURCE)
        it.log.finish(DONE, it.hand.now)
        await asyncio.wait_for(it.task, 10)
        assert it.stream.over
        assert it.client.deltas[-1] == {"content": "a"}
