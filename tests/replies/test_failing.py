"""Whatever a backend or a store does, the reply ends, and nothing of their insides leaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from chatsvc.backends.echo import EchoBackend
from chatsvc.log import Log
from chatsvc.model import End, Finish, Prompt
from chatsvc.problems import BackendFailed, StoreUnavailable
from chatsvc.replies.log_writer import CODE_POINTS_PER_TURN
from chatsvc.stores.memory import MemoryStore

from .serving import FAMILY, WAIT, Hanging, Watch, asking, read_all, serving


class Secret(Exception):
    """What is in it is nobody's business."""


async def raises_at_once(messages: Any) -> AsyncIterator[str]:
    raise Secret("secret")
    yield ""


async def raises_after_text(messages: Any) -> AsyncIterator[str]:
    yield "ab👩"  # held back, for it may grow
    raise Secret("secret")


class RaisesAfterItsEnd(EchoBackend):
    """Fails when it has said that it came to its limit."""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish, None]:
        yield "ab👩"
        yield Finish("length")
        raise Secret("secret")


def raises_when_called(messages: Any) -> AsyncIterator[str]:
    raise Secret("secret")


async def awaits_and_raises(messages: Any) -> AsyncIterator[str]:
    raise Secret("secret")


async def yields_a_number(messages: Any) -> AsyncIterator[Any]:
    yield "a"
    yield 5


async def yields_none(messages: Any) -> AsyncIterator[Any]:
    yield None


async def yields_bytes(messages: Any) -> AsyncIterator[Any]:
    yield b"a"


async def gives_a_text(messages: Any) -> Any:
    return "a"


async def tells_why(messages: Any) -> AsyncIterator[str]:
    yield "a"
    raise BackendFailed("The model is asleep.")


async def cancels_itself(messages: Any) -> AsyncIterator[str]:
    yield "a\n"
    raise asyncio.CancelledError


async def stops_iterating(messages: Any) -> AsyncIterator[str]:
    yield "a"
    raise StopAsyncIteration


@pytest.mark.parametrize(
    ("backend", "text", "detail"),
    [
        (raises_at_once, "", "failed."),
        (raises_after_text, "ab👩", "failed."),
        (RaisesAfterItsEnd(), "ab👩", "failed."),
        (raises_when_called, "", "failed."),
        (awaits_and_raises, "", "failed."),
        (yields_a_number, "a", "must yield str, not int."),
        (yields_none, "", "must yield str, not NoneType."),
        (yields_bytes, "", "must yield str, not bytes."),
        (gives_a_text, "", "must give an async iterator of str."),
        (tells_why, "a", "The model is asleep."),
        (cancels_itself, "a\n", "Something went wrong on the server."),
        (stops_iterating, "a", "failed."),
    ],
)
async def test_a_backend_that_fails_is_reported_without_its_secrets(
    backend: Any, text: str, detail: str
) -> None:
    watch = Watch()
    async with serving(backend, observers=(watch,)) as replies:
        reply = await replies.start(asking())
        got, state, reason = await read_all(reply)
        assert (got, state) == (text, "failed")
        assert reply.end is not None
        assert reply.end.problem is not None
        assert reply.end.problem["detail"].endswith(detail)
        assert "secret" not in str(reply.end)
        await asyncio.wait_for(watch.over.wait(), WAIT)
        assert watch.events[-1] == ("ended", reason)
        assert replies.running == 0


async def test_a_backend_may_swallow_its_cancellation_and_go_on() -> None:
    swallowed = asyncio.Event()

    async def stubborn(messages: Any) -> AsyncIterator[str]:
        yield "a\n"
        for _ in range(3):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.set()
                yield "b\n"

    async with serving(stubborn) as replies:
        reply = await replies.start(asking())
        with reply.reading():
            runs = reply.characters()
            await anext(runs)
            await replies.stop(reply)
            assert await replies.stopped(reply)
            await runs.aclose()
        assert swallowed.is_set()
        assert await read_all(reply) == ("a\n", "stopped", "stopped")


async def test_a_backend_that_ignores_its_close_still_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def stubborn(messages: Any) -> AsyncIterator[str]:
        try:
            while True:
                yield "ab"
        finally:
            yield "c"  # RuntimeError: async generator ignored GeneratorExit

    async with serving(stubborn, max_reply=9) as replies:
        reply = await replies.start(asking())
        assert await read_all(reply) == ("ababababa", "done", "length")


async def test_a_failure_in_closing_leaves_no_hole_in_a_reply_that_got_too_long() -> (
    None
):
    async def answer(messages: Any) -> AsyncIterator[str]:
        try:
            yield (
                "aa" + FAMILY + "b"
            )  # the family does not fit, the b that is held would
        finally:
            raise Secret("secret")

    async with serving(answer, max_reply=5) as replies:
        reply = await replies.start(asking())
        assert await read_all(reply) == ("aa", "done", "length")


async def test_a_failure_stays_one_when_the_text_held_back_does_not_fit() -> None:
    async with serving(raises_after_text, max_reply=2) as replies:
        reply = await replies.start(asking())
        assert await read_all(reply) == ("ab", "failed", "error")


async def test_a_backend_that_never_waits_lets_others_have_their_turn() -> None:
    async def endless(messages: Any) -> AsyncIterator[str]:
        while True:
            yield ""

    async with serving(endless) as replies:
        reply = await replies.start(asking())
        for _ in range(3):
            await asyncio.sleep(0)
        await replies.stop(reply)
        assert await replies.stopped(reply)
        assert await read_all(reply) == ("", "stopped", "stopped")


async def test_a_backend_that_gives_very_much_at_once_lets_others_have_their_turn() -> (
    None
):
    text = "好" * (20 * CODE_POINTS_PER_TURN)

    async def answer(messages: Any) -> AsyncIterator[str]:
        yield text

    async with serving(answer, max_reply=len(text.encode())) as replies:
        reply = await replies.start(asking())
        turns = 0
        async with asyncio.timeout(WAIT):
            while reply.end is None:
                await asyncio.sleep(0)
                turns += 1
        assert turns >= 20
        assert await read_all(reply) == (text, "done", "stop")


class LostStore(MemoryStore):
    """A store that is away for good once a reply has begun."""

    finish_now = None  # type: ignore[assignment]

    async def append(self, log: Log, text: str) -> None:
        raise StoreUnavailable

    async def finish(self, log: Log, end: End) -> bool:
        raise StoreUnavailable


@pytest.mark.parametrize("backend", [EchoBackend(), Hanging("a\n")])
async def test_a_store_that_is_lost_does_not_keep_the_service_from_ending(
    backend: Any,
) -> None:
    watch = Watch()
    async with serving(backend, LostStore(keep=60), observers=(watch,)) as replies:
        await replies.start(asking("abc"))
        await asyncio.wait_for(watch.over.wait(), WAIT)
        assert replies.running == 0
        # Whoever finds it in the store when that is back is to end it.
        assert watch.events[-1] == ("handed_on", "")


class AwayStore(MemoryStore):
    """A store that is away when text is appended, and back for the end."""

    async def append(self, log: Log, text: str) -> None:
        raise StoreUnavailable


async def test_a_store_that_goes_away_ends_the_reply() -> None:
    async with serving(EchoBackend(), AwayStore(keep=60), pace=0) as replies:
        reply = await replies.start(asking("abc"))
        text, state, _ = await read_all(reply)
        assert (text, state) == ("", "failed")
        assert reply.end is not None
        assert reply.end.problem is not None
        assert reply.end.problem["type"] == "/problems/store-unavailable"
