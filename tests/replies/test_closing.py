"""The time that a backend has for its text and to close, and that the reply ends without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatsvc.cursor import new_reply_id
from chatsvc.kept_prompt import keep
from chatsvc.log import Log
from chatsvc.model import Finish
from chatsvc.replies import producer
from chatsvc.stores import Record
from chatsvc.stores.memory import MemoryStore

from .serving import FAMILY, WAIT, Shared, SlowStore, Watch, asking, read_all, serving

SOON = 0.05


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give backends little time to close."""
    monkeypatch.setattr(producer, "CLOSING_S", SOON)


class Stubborn:
    """A backend that does not close: `how` says what it does instead, until it is `freed`."""

    def __init__(self, how: str, *pieces: str) -> None:
        self.how = how
        self.pieces = pieces
        self.freed = asyncio.Event()
        self.over = asyncio.Event()

    async def __call__(self, messages: Any) -> AsyncIterator[str | Finish]:
        try:
            for piece in self.pieces:
                yield piece
            if self.how == "swallows":
                while not self.freed.is_set():
                    try:
                        await self.freed.wait()
                    except asyncio.CancelledError:
                        pass
            elif self.how == "goes on":
                while not self.freed.is_set():
                    try:
                        yield "late\n"
                        await asyncio.sleep(0.001)
                    except asyncio.CancelledError:
                        pass
            elif self.how == "goes on silently":
                while not self.freed.is_set():
                    try:
                        yield ""
                        await asyncio.sleep(0)
                    except asyncio.CancelledError:
                        pass
            else:
                await self.freed.wait()
            yield "late\n"
            yield Finish("length")
        finally:
            if self.how == "hangs in its end":
                while not self.freed.is_set():
                    try:
                        await self.freed.wait()
                    except asyncio.CancelledError:
                        pass
            self.over.set()
            if self.how == "raises in its end":
                raise ValueError


HOW = ["hangs in its end", "swallows", "goes on", "goes on silently"]
HOW += ["raises in its end", ""]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", HOW)
async def test_a_backend_that_takes_too_long_fails(how: str) -> None:
    backend, watch = Stubborn(how, "ab\n", "c" + FAMILY), Watch()
    async with serving(backend, max_seconds=SOON, observers=(watch,)) as replies:
        reply = await replies.start(asking())
        text, state, reason = await read_all(reply)
        assert (state, reason) == ("failed", "error")
        assert text.replace("late\n", "") == "ab\nc" + FAMILY
        assert reply.end is not None
        assert reply.end.problem is not None
        assert reply.end.problem["type"] == "/problems/backend-failed"
        assert reply.end.problem["detail"].endswith("to its end in 0.05 s.")
        await asyncio.wait_for(watch.over.wait(), WAIT)
        assert replies.running == 0
        backend.freed.set()
        await asyncio.wait_for(backend.over.wait(), WAIT)
        await asyncio.sleep(0)
        assert (await read_all(reply))[0] == text


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", HOW)
async def test_a_backend_that_does_not_close_keeps_no_stopped_reply(how: str) -> None:
    backend, watch = Stubborn(how, "ab\n"), Watch()
    async with serving(backend, observers=(watch,)) as replies:
        reply = await replies.start(asking())
        await asyncio.sleep(0)
        await replies.stop(reply)
        text, *end = await read_all(reply)
        assert end == ["stopped", "stopped"]
        await asyncio.wait_for(watch.over.wait(), WAIT)
        assert replies.running == 0
        backend.freed.set()
        await asyncio.wait_for(backend.over.wait(), WAIT)
        await asyncio.sleep(0)
        assert (await read_all(reply))[0] == text
        assert [name for name, _ in watch.events] == ["started", "first", "ended"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", HOW)
async def test_a_backend_that_does_not_close_keeps_no_reply_that_is_too_long(
    how: str,
) -> None:
    backend = Stubborn(how, "abcd\n", "efgh\n")
    async with serving(backend, max_reply=7) as replies:
        reply = await replies.start(asking())
        assert await read_all(reply) == ("abcd\nef", "done", "length")
        backend.freed.set()
        await asyncio.wait_for(backend.over.wait(), WAIT)
        await asyncio.sleep(0)
        assert await read_all(reply) == ("abcd\nef", "done", "length")


@pytest.mark.usefixtures("impatient")
async def test_what_is_left_behind_is_cancelled_when_the_service_ends() -> None:
    told = 0

    async def answer(messages: Any) -> AsyncIterator[str]:
        nonlocal told
        yield "ab\n"
        while told < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told += 1

    async with serving(answer) as replies:
        reply = await replies.start(asking())
        await replies.stop(reply)
        assert not replies.running or await _none_running(replies)
        async with asyncio.timeout(WAIT):
            while told < 2:
                await asyncio.sleep(0)
        assert told == 2
    assert told == 3


async def _none_running(replies: Any) -> bool:
    async with asyncio.timeout(WAIT):
        while replies.running:
            await asyncio.sleep(0.005)
    return True


async def test_what_is_paced_out_has_its_own_time() -> None:
    async def answer(messages: Any) -> AsyncIterator[str]:
        yield "abcdefgh"

    async with serving(answer, pace=0.03, max_seconds=SOON) as replies:
        reply = await replies.start(asking())
        assert (await read_all(reply))[1:] == ("done", "stop")


async def test_a_reply_that_is_carried_on_has_its_time_anew() -> None:
    class Orphaned(Shared):
        """A cluster in which a reply has begun on another node."""

        def on_orphan(self, adopt: Any) -> None:
            self.adopt = adopt

        async def take_over(self, log: Log) -> bool:
            return True

    class Resuming:
        name, pace, lag, resumes = "resuming", 0.0, 0.5, True

        async def stream(self, prompt: Any) -> AsyncIterator[str]:
            await asyncio.sleep(SOON / 5)
            yield "b"

    store, orphaned = SlowStore(keep=60), Orphaned()
    store.cluster = orphaned
    async with serving(Resuming(), store, max_seconds=SOON * 5) as replies:  # type: ignore[arg-type]
        record = Record(new_reply_id(), keep(asking()))
        await store.create(record)
        _, log = await store.find(record.reply_id)
        await store.append(log, "a")
        await asyncio.sleep(SOON * 6)  # longer than a backend has
        await orphaned.adopt(record.reply_id)
        reply = await replies.open(record.reply_id)
        assert await read_all(reply) == ("ab", "done", "stop")


async def test_a_piece_that_the_store_did_not_take_leaves_no_gap() -> None:
    class Stuck(MemoryStore):
        """A store that does not answer to the second piece."""

        async def append(self, log: Log, text: str) -> None:
            if log.position:
                await asyncio.Event().wait()
            await super().append(log, text)

    async def answer(messages: Any) -> AsyncIterator[str]:
        yield "ab\n"
        yield "cd"  # of which the d is held back

    async with serving(answer, Stuck(keep=60), max_seconds=SOON) as replies:
        reply = await replies.start(asking())
        assert await read_all(reply) == ("ab\n", "failed", "error")


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), BaseException()])
async def test_no_exception_of_a_backend_ends_anything_but_its_reply(
    error: BaseException,
) -> None:
    async def answer(messages: Any) -> AsyncIterator[str]:
        yield "ab"
        raise error

    async with serving(answer) as replies:
        reply = await replies.start(asking())
        assert (await read_all(reply))[1] == "failed"
        other = await replies.start(asking())
        assert (await read_all(other))[1] == "failed"


async def test_a_stop_while_a_backend_is_late_is_a_stop(impatient: None) -> None:
    backend = Stubborn("swallows", "ab\n")
    async with serving(backend, max_seconds=0.001) as replies:
        reply = await replies.start(asking())
        await asyncio.sleep(0.02)  # its time is over, and it has not closed
        await replies.stop(reply)
        assert (await read_all(reply))[1:] == ("stopped", "stopped")
        assert await _none_running(replies)
        backend.freed.set()
