"""A reply with parts, from its backend to its readers, on one node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from hypothesis import HealthCheck, given, settings

from chatsvc.model import (
    Data,
    Extra,
    Finish,
    Piece,
    Prompt,
    Reasoning,
    Source,
    ToolCall,
    ToolResult,
)
from chatsvc.problems import CursorPastEnd
from chatsvc.replies import PartItem, Reply
from chatsvc.stores.memory import MemoryStore
from chatsvc.units import Close, Mark, PartText, Unit, size_of
from tests.parts_script import only_text, outputs, scripts, single_units, total, written

from .serving import WAIT, SlowStore, asking, read, serving


class Saying:
    """A backend that yields some pieces; then it ends, fails, or hangs until it is closed."""

    name = "saying"
    pace = 0.0
    lag = None
    resumes = False

    def __init__(
        self, *pieces: Piece, error: Exception | None = None, hangs: bool = False
    ) -> None:
        self.pieces = pieces
        self.error = error
        self.hangs = hangs
        self.hanging = asyncio.Event()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        for piece in self.pieces:
            yield piece
        if self.error is not None:
            raise self.error
        if self.hangs:
            self.hanging.set()
            await asyncio.Event().wait()

    async def open(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to give back."""


async def parts_of(reply: Reply, after: int = 0) -> list[PartItem]:
    """All that a reader of parts is given, to the end."""
    items: list[PartItem] = []

    async def reading() -> None:
        with reply.reading():
            async for batch in reply.parts(after):
                items.extend(batch)

    await asyncio.wait_for(reading(), WAIT)
    return items


def units_of(reply: Reply) -> list[object]:
    return [unit for _, unit in reply.log.units(0, reply.log.offset)]


async def ended(reply: Reply) -> tuple[str, str]:
    await parts_of(reply)
    assert reply.end is not None
    return reply.end.state, reply.end.finish_reason


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(scripts)
async def test_readers_get_what_was_said(script: list[Piece]) -> None:
    store = MemoryStore(keep=60)
    async with serving(Saying(*script), store) as replies:
        reply = await replies.start(asking())
        items, text = await asyncio.gather(parts_of(reply), read(reply))
        assert text == only_text(script)
        units = single_units(outputs([item.unit for item in items]))
        # What the end of the stream closes is a finish.
        assert units == single_units(written([*script, Finish()]))
        offset = 0
        for item in items:
            offset += total([item.unit])
            assert item.offset == offset
        assert reply.log.text(0) == text


@pytest.mark.parametrize("store", [MemoryStore, SlowStore])
async def test_a_reply_that_calls_a_tool_says_so(store: type[MemoryStore]) -> None:
    pieces = (
        Reasoning("hm"),
        ToolCall("1", "f", "{}"),
        Finish("tool_calls", {"total_tokens": 3}),
    )
    async with serving(Saying(*pieces), store(keep=60)) as replies:
        reply = await replies.start(asking())
        assert await ended(reply) == ("done", "tool_calls")
        assert reply.end is not None
        assert reply.end.usage == {"total_tokens": 3}
        assert units_of(reply) == [
            Mark(1, "reasoning"),
            PartText(1, "hm"),
            Close(1),
            Mark(2, "tool_call", {"id": "1", "name": "f"}),
            PartText(2, "{}"),
            Close(2),
        ]
        assert await read(reply) == ""


async def test_a_reply_without_calls_never_says_it_has_some() -> None:
    async with serving(Saying("x", Finish("tool_calls"))) as replies:
        assert await ended(await replies.start(asking())) == ("done", "stop")


async def test_a_stream_that_ends_without_a_finish_has_ended_its_calls() -> None:
    async with serving(Saying(ToolCall("1", "f", "{}"))) as replies:
        reply = await replies.start(asking())
        assert await ended(reply) == ("done", "stop")
        assert units_of(reply)[-1] == Close(1)


@pytest.mark.parametrize("hangs", [True, False])
async def test_what_a_stop_or_a_failure_leaves_open_stays_so(hangs: bool) -> None:
    error = None if hangs else ValueError("broken")
    backend = Saying("a\ud83d", ToolCall("1", "f", "{\ud83d"), error=error, hangs=hangs)
    async with serving(backend) as replies:
        reply = await replies.start(asking())
        if hangs:
            await backend.hanging.wait()
            await replies.stop(reply)
        assert (await ended(reply))[0] == ("stopped" if hangs else "failed")
        mark = Mark(1, "tool_call", {"id": "1", "name": "f"})
        halves = [] if hangs else [PartText(0, "\ufffd")]
        assert units_of(reply) == [
            PartText(0, "a"),
            mark,
            PartText(1, "{" if hangs else "{\ufffd"),
            *halves,
        ]
        assert [i for i in await parts_of(reply, 2) if i.resumed] == [
            PartItem(2, mark, resumed=True)
        ]


@pytest.mark.parametrize(
    "piece",
    [ToolResult("1", object()), Source("ftp://x"), ToolCall("1", "", "more")],
)
async def test_what_is_refused_fails_the_reply_behind_the_text(piece: Piece) -> None:
    call = (ToolCall("1", "f"), ToolResult("1", 1))
    async with serving(Saying(*call, "text", piece, "never")) as replies:
        reply = await replies.start(asking())
        assert await ended(reply) == ("failed", "error")
        assert reply.end is not None
        assert reply.end.problem is not None
        assert reply.end.problem["type"].endswith("backend-failed")
        assert reply.log.text(0) == "text"


@pytest.mark.parametrize(
    ("pieces", "max_parts", "kept"),
    [
        ((Reasoning("好" * 50), "text"), 200, "好" * 35),
        ((Reasoning("e\u0301" * 100), "text"), 200, "e\u0301" * 35),
        ((ToolCall("1", "f", "x" * 999), "text"), 300, None),
        (("te", Data("n", "x" * 999), "xt"), 300, None),
        (("te", *(Data("n", n) for n in range(999)), "xt"), 3000, None),
        (("te", *(Extra({"n": n}) for n in range(999)), "xt"), 3000, None),
        (("te", *(ToolCall("", "", "x") for _ in range(999))), 300, None),
    ],
)
async def test_parts_that_are_too_much_end_the_reply_at_a_whole_unit(
    pieces: tuple[Piece, ...], max_parts: int, kept: str | None
) -> None:
    async with serving(Saying(*pieces), max_parts=max_parts) as replies:
        reply = await replies.start(asking())
        assert await ended(reply) == ("done", "length")
        assert reply.log.text(0) == ("te" if "te" in pieces else "")
        units = units_of(reply)
        if kept is not None:
            assert units == [Mark(1, "reasoning"), PartText(1, kept)]


@pytest.mark.parametrize("long", [1, 5000])
async def test_no_text_stands_behind_a_close_that_has_no_room(long: int) -> None:
    units: list[Unit] = [Mark(1, "reasoning"), PartText(1, "hm"), Close(1)]
    room = sum(map(size_of, units))
    script = (Reasoning("hm"), "text" * long, "more")
    async with serving(Saying(*script), max_parts=room - 1) as replies:
        reply = await replies.start(asking())
        assert await ended(reply) == ("done", "length")
        assert units_of(reply) == units[:2]
    async with serving(Saying(*script), max_parts=room) as replies:
        reply = await replies.start(asking())
        assert await ended(reply) == ("done", "stop")
        assert units_of(reply) == [*units, PartText(0, "text" * long + "more")]


async def test_the_limits_count_apart() -> None:
    pieces = (Reasoning("x" * 1000), "y" * 1000, ToolCall("1", "f", "z" * 1000))
    async with serving(Saying(*pieces), max_reply=1000, max_parts=2500) as replies:
        assert await ended(await replies.start(asking())) == ("done", "stop")
    async with serving(Saying(*pieces), max_reply=999, max_parts=2500) as replies:
        reply = await replies.start(asking())
        assert await ended(reply) == ("done", "length")
        assert units_of(reply)[-1] == PartText(0, "y" * 999)


async def test_a_long_text_behind_reasoning_arrives_whole() -> None:
    async with serving(
        Saying(Reasoning("hm"), "好" * 100_000), max_reply=1 << 20
    ) as replies:
        reply = await replies.start(asking())
        assert await ended(reply) == ("done", "stop")
        assert reply.log.text(0) == "好" * 100_000


async def test_an_offset_that_is_not_reached_is_past_the_end() -> None:
    async with serving(Saying(Reasoning("hm"), "x")) as replies:
        reply = await replies.start(asking())
        await ended(reply)
        assert reply.released_offset_now() == reply.log.offset == 5
        await replies.check_offset(reply, 5)
        with pytest.raises(CursorPastEnd, match="offset 5, not 6"):
            await replies.check_offset(reply, 6)
