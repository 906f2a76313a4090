"""Text that a backend hands over in a callback, not by its generator, reaches the reply as other text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends.base import DirectBackend
from chatsvc.backends.echo import EchoBackend
from chatsvc.backends.local import LocalBackend
from chatsvc.backends.openai import OpenAIBackend
from chatsvc.log import Log
from chatsvc.model import Finish, Prompt
from chatsvc.problems import BackendFailed
from chatsvc.replies.log_writer import CODE_POINTS_PER_TURN
from chatsvc.stores.memory import MemoryStore

from .serving import FAMILY, WAIT, asking, read_all, serving


class Direct(EchoBackend):
    """Offers each piece to `take` in a callback of the loop; yields those that are not taken."""

    pace = 0.0

    def __init__(self, *pieces: str, error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.taken: list[bool] = []
        self.hang = False
        self.closed = asyncio.Event()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish, None]:
        for piece in self.pieces:
            yield piece

    async def stream_to(
        self, prompt: Prompt, take: Callable[[str], bool]
    ) -> AsyncGenerator[str | Finish, None]:
        loop = asyncio.get_running_loop()
        try:
            for piece in self.pieces:
                called: asyncio.Future[bool] = loop.create_future()

                def call(piece: str = piece) -> None:
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
