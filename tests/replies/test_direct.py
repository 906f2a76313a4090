"""Text that a backend hands over in a callback, not by its generator, reaches the reply as other text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chatsvc.backends.base import DirectBackend
from chatsvc.backends.echo import EchoBackend
from chatsvc.backends.local import LocalBackend
from chatsvc.backends.openai import OpenAIBackend
from chatsvc.log import Log
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
    Usage,
)
from chatsvc.problems import BackendFailed
from chatsvc.replies.background import STARTS_AT_ONCE, started_task
from chatsvc.replies.log_writer import CODE_POINTS_PER_TURN
from chatsvc.stores import SingleNode
from chatsvc.stores.memory import MemoryStore
from chatsvc.units import Mark, Unit, size_of
from tests.parts_script import outputs, single_units, written

from .serving import FAMILY, WAIT, asking, read_all, serving


class Direct:
    """Offers each piece to `take` in a callback of the loop; yields those that are not taken."""

    name = "direct"
    pace = 0.0
    lag = None
    resumes = False

    def __init__(self, *pieces: Piece, error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.taken: list[bool] = []
        self.hang = False
        self.closed = asyncio.Event()

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        for piece in self.pieces:
            yield piece
        if self.error is not None:
            raise self.error
        yield Finish("stop")

    async def stream_to(
        self, prompt: Prompt, take: Callable[[Piece], bool]
    ) -> AsyncGenerator[Piece, None]:
        loop = asyncio.get_running_loop()
        try:
            for piece in self.pieces:
                called: asyncio.Future[bool] = loop.create_future()

                def call(piece: Piece = piece) -> None:
                    called.set_result(take(piece))  # noqa: B023

                loop.call_soon(call)
                taken = await called
                self.taken.append(taken)
                if not taken:
                    yield piece
            if self.error is not None:
                raise self.error
            if self.hang:
                await asyncio.Event().wait()
            yield Finish("stop")
        finally:
            self.take = take
            if self.hang:
                self.late = take("too late")
            self.closed.set()


def test_who_is_direct() -> None:
    assert isinstance(OpenAIBackend("http://127.0.0.1/v1"), DirectBackend)
    assert issubclass(LocalBackend, DirectBackend)
    assert not isinstance(EchoBackend(), DirectBackend)


async def read(backend: Direct, **options: Any) -> tuple[str, str, str]:
    async with serving(backend, **options) as replies:
        return await read_all(await replies.start(asking()))


async def test_pieces_are_taken() -> None:
    backend = Direct("a", "b👨", "\u200d👩", "", "\u200d👧c\r", "\nd")
    assert await read(backend) == (f"ab{FAMILY}c\nd", "done", "stop")
    assert backend.taken == [True] * 6


async def test_what_stands_beside_the_text_is_taken_too() -> None:
    pieces = (Extra({"model": "m"}, "chunk"), "a", Reasoning("b"), Reasoning("c"), "d")
    backend = Direct(*pieces, ToolCall("1", "f", "{}"), Usage({"total_tokens": 1}))
    async with serving(backend) as replies:
        reply = await replies.start(asking())
        assert await read_all(reply) == ("ad", "done", "stop")
        assert reply.end is not None and reply.end.usage == {"total_tokens": 1}
    # Text that ends reasoning is written by the generator's way, in its place.
    assert backend.taken == [True, True, True, True, False, True, True]


@pytest.mark.parametrize("error", [None, BackendFailed("no")])
@pytest.mark.parametrize("last", [(), ("lost",)])
@pytest.mark.parametrize(
    ("side", "kept"),
    # A mark counts for 64 bytes and its JSON.
    [
        (Reasoning("b" * 400), 1 + 200 - size_of(Mark(1, "reasoning"))),
        (Data("n", "b" * 400), 0),
    ],
)
async def test_what_has_no_room_ends_the_reply(
    side: Piece, kept: int, last: tuple[str, ...], error: Exception | None
) -> None:
    backend = Direct("a", side, *last, error=error)
    async with serving(backend, max_parts=200) as replies:
        reply = await replies.start(asking())
        assert await read_all(reply) == ("a", "done", "length")
        assert reply.log.offset == 1 + kept
    assert backend.taken == [True, True, *(False for _ in last)]


async def test_the_limit_of_length_counts_text_that_something_else_follows() -> None:
    pieces = [each for n in range(2000) for each in ("你", Data("n", n))]
    text, *how = await read(Direct(*pieces), max_reply=3000)
    assert (text, how) == ("你" * 1000, ["done", "length"])


PIECES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["👨", "\u200d", "\r", "\n", "\ud83d", "\ude00"]),
    st.builds(Reasoning, st.text(max_size=40)),
    st.builds(Reasoning, st.just(""), st.just("signed")),
    st.builds(
        ToolCall, st.sampled_from(["", "1", "2"]), st.sampled_from(["", "f"]), st.text()
    ),
    st.builds(ToolResult, st.sampled_from(["1", "2"]), st.integers()),
    st.builds(
        Extra,
        st.dictionaries(st.sampled_from(["model", "x"]), st.text(max_size=40)),
        st.sampled_from(["chunk", "choice", None, "nowhere"]),
    ),
    st.builds(Source, st.sampled_from(["https://a", "ftp://a"])),
    st.builds(Data, st.text(max_size=8), st.integers() | st.just({1})),
)


@given(
    pieces=st.lists(PIECES, max_size=12),
    fails=st.booleans(),
    max_reply=st.sampled_from([20, 200, 4000]),
    max_parts=st.sampled_from([100, 400, 4000]),
)
async def test_both_ways_make_the_same_reply(
    pieces: list[Piece], fails: bool, max_reply: int, max_parts: int
) -> None:
    async def result(ways: type[Direct]) -> object:
        error = BackendFailed("no") if fails else None
        limits: dict[str, Any] = {"max_reply": max_reply, "max_parts": max_parts}
        async with serving(ways(*pieces, error=error), **limits) as replies:
            reply = await replies.start(asking())
            await read_all(reply)
            units = [unit for _, unit in reply.log.units(0, reply.log.offset)]
            return _without_made_ids(units), reply.end

    class Yielding(Direct):
        stream_to = None  # type: ignore[assignment]

    assert await result(Direct) == await result(Yielding)


def _without_made_ids(units: list[Unit]) -> list[Unit]:
    return [
        replace(unit, members={**unit.members, "id": "?"})
        if isinstance(unit, Mark) and unit.members.get("id", "").startswith("call_")
        else unit
        for unit in units
    ]


async def test_long_pieces_are_yielded_in_their_place() -> None:
    long = "x" * (CODE_POINTS_PER_TURN + 1)
    backend = Direct("a", long, "b", long, "c")
    assert await read(backend) == (f"a{long}b{long}c", "done", "stop")
    assert backend.taken == [True, False, True, False, True]


@pytest.mark.parametrize("piece", ["a", "你", FAMILY])
async def test_the_limit_of_length(piece: str) -> None:
    """Near it the generator's way counts the bytes: a character is never cut."""
    size = len(piece.encode())
    text, state, reason = await read(Direct(*[piece] * 500), max_reply=100 * size + 1)
    assert (text, state, reason) == (piece * (100 + 1 // size), "done", "length")


async def test_a_failure_comes_after_the_text() -> None:
    backend = Direct("a", "b", error=BackendFailed("no"))
    assert await read(backend) == ("ab", "failed", "error")


async def test_a_store_that_waits_gets_no_piece_at_once() -> None:
    class Waiting(MemoryStore):
        append_now = None  # type: ignore[assignment]

        async def append(self, log: Log, text: str) -> None:
            await asyncio.sleep(0)
            log.append(text, self._now())

    backend = Direct("a", "b")
    assert await read(backend, store=Waiting(keep=60)) == ("ab", "done", "stop")
    assert backend.taken == []


async def test_a_store_without_room_gets_no_piece_at_once() -> None:
    """Whoever yields a piece waits until the store has taken it."""

    class Shared(SingleNode):
        shared = True

    class Narrow(MemoryStore):
        cluster = Shared()
        room = True

        def has_room(self, log: Log) -> bool:
            return self.room and super().has_room(log)

        def append_now(self, log: Log, text: str) -> None:
            super().append_now(log, text)
            self.room = False

        def append_side_now(self, log: Log, units: Sequence[Unit]) -> None:
            super().append_side_now(log, units)
            self.room = False

        async def append(self, log: Log, text: str) -> None:
            await asyncio.sleep(0)
            await super().append(log, text)
            self.room = not text.endswith("!")

    pieces: list[Piece] = ["ab", "cd", Data("n", 1), "ef!", "gh", Data("n", 2), "ij"]
    backend = Direct(*pieces)
    async with serving(backend, store=Narrow(keep=60)) as replies:
        reply = await replies.start(asking())
        assert await read_all(reply) == ("abcdef!ghij", "done", "stop")
        units = [unit for _, unit in reply.log.units(0, reply.log.offset)]
    assert single_units(outputs(units)) == single_units(written(pieces))
    assert set(backend.taken) == {True, False}


async def test_after_a_stop_nothing_is_taken() -> None:
    backend = Direct("ab")
    backend.hang = True
    async with serving(backend) as replies:
        reply = await replies.start(asking())
        async with asyncio.timeout(WAIT):
            while not reply.log.position:
                await asyncio.sleep(0.001)
            await replies.stop(reply)
            await backend.closed.wait()
        assert reply.end is not None and reply.end.state == "stopped"
        before = reply.log.text(0)
        assert not backend.take("b")
        assert reply.log.text(0) == before


async def test_after_its_time_nothing_is_taken() -> None:
    """The backend is told to close, and the reply has no end yet."""
    backend = Direct("ab")
    backend.hang = True
    assert await read(backend, max_seconds=0.05) == ("ab", "failed", "error")
    assert not backend.late


@given(st.lists(st.text("a你\u0301\r\n🇩👩\u200d", max_size=5), max_size=20))
def test_both_ways_give_the_same(pieces: list[str]) -> None:
    async def generated(messages: Any) -> AsyncGenerator[str, None]:
        for piece in pieces:
            yield piece

    async def run() -> None:
        direct = await read(Direct(*pieces))
        async with serving(generated) as replies:
            assert await read_all(await replies.start(asking())) == direct

    with asyncio.Runner() as runner:
        runner.run(run())


async def test_a_producer_begins_at_once_where_python_can() -> None:
    begun: list[str] = []

    async def work() -> None:
        begun.append("begun")

    task = started_task(work())
    assert bool(begun) == STARTS_AT_ONCE
    await task
    assert begun == ["begun"]
