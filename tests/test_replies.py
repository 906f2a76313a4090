"""Start, open, stop, keep and end replies; whatever the backend does, every reply ends and no task is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends import Backend, Finish, Message, Prompt
from chatsvc.backends.echo import EchoBackend
from chatsvc.backends.function import FunctionBackend
from chatsvc.characters import Splitter
from chatsvc.cursor import new_reply_id
from chatsvc.problems import (
    BackendFailed,
    Draining,
    InvalidRequest,
    Overloaded,
    ReplyExpired,
    ReplyNotFound,
    StoreUnavailable,
    TooManyRequests,
)
from chatsvc.replies import Replies
from chatsvc.replies.reply import Reply
from chatsvc.stores import End, Log, Record
from chatsvc.stores.memory import MemoryStore
from chatsvc.ticker import Ticker

FAMILY = "👨‍👩‍👧"
WAIT = 20.0  # seconds: for what must happen, however slow the machine


def _reason(reply: Reply) -> str | None:
    return None if reply.end is None else reply.end.finish_reason


class Watch:
    """An observer that tells tests what happened."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str | None]] = []
        self.over = asyncio.Event()

    def started(self, reply: Reply) -> None:
        self.told.append(("started", _reason(reply)))

    def first(self, reply: Reply) -> None:
        self.told.append(("first", _reason(reply)))

    def ended(self, reply: Reply) -> None:
        self.told.append(("ended", _reason(reply)))
        self.over.set()


@asynccontextmanager
async def serving(
    backend: Backend | Callable[..., Any],
    store: MemoryStore | None = None,
    **options: Any,
) -> AsyncIterator[Replies]:
    """The service over a backend; nothing may be left of it in the end."""
    before = asyncio.all_tasks()
    store = store or MemoryStore(keep=60)
    await store.open()
    answering = FunctionBackend(backend) if callable(backend) else backend
    replies = Replies(store, answering, Ticker(), **options)
    try:
        yield replies
    finally:
        await replies.close()
        await store.close()
    assert replies.running == 0
    assert asyncio.all_tasks() == before


def asking(text: str = "") -> Prompt:
    return Prompt((Message("user", text),))


async def read(reply: Reply, after: int = 0) -> str:
    """All of a reply's text, to the end."""
    text = ""
    with reply.reading():
        async with aclosing(reply.characters(after)) as runs:
            async for _, run in runs:
                text += "".join(run)
    return text


async def read_all(reply: Reply) -> tuple[str, str, str]:
    """The text, the state and the finish reason."""
    text = await asyncio.wait_for(read(reply), WAIT)
    assert reply.end is not None
    return text, reply.end.state, reply.end.finish_reason


class Hanging:
    """A backend that gives some text and then hangs, until it is closed."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces
        self.hangs = asyncio.Event()
        self.closed = asyncio.Event()
        self.calls = 0

    async def __call__(self, messages: list[dict[str, str]]) -> AsyncIterator[str]:
        self.calls += 1
        try:
            for piece in self.pieces:
                yield piece
            self.hangs.set()
            await asyncio.Event().wait()
        finally:
            self.closed.set()


pieces_of_text = st.lists(
    st.text(st.characters(codec=None), max_size=5)
    | st.sampled_from(["\r", "\n", "\u200d", "👩", "👍", "\U0001f3fd", "🇩", "\ud83d"]),
    max_size=8,
)


@given(pieces_of_text)
def test_any_text_in_any_pieces_comes_out_once(pieces: list[str]) -> None:
    async def run() -> None:
        async def answer(messages: list[dict[str, str]]) -> AsyncIterator[str]:
            for piece in pieces:
                yield piece
                await asyncio.sleep(0)

        splitter = Splitter()
        expected = "".join(map(splitter.feed, pieces)) + splitter.close()
        async with serving(answer, pace=0) as replies:
            reply = await replies.start(asking())
            both = await asyncio.gather(read(reply), read(reply))
            assert list(both) == [expected, expected]
            assert await read_all(await replies.open(reply.id)) == (
                expected,
                "done",
                "stop",
            )

    asyncio.run(run())


async def test_observers_are_told_in_order_and_once() -> None:
    watch = Watch()
    async with serving(EchoBackend(), pace=0, observers=(watch,)) as replies:
        assert await read_all(await replies.start(asking("好"))) == (
            "好",
            "done",
            "stop",
        )
        await watch.over.wait()
        await read_all(await replies.start(asking("")))
        await asyncio.sleep(0)
    assert watch.told == [
        ("started", None),
        ("first", None),
        ("ended", "stop"),
        ("started", None),
        ("ended", "stop"),
    ]


async def test_a_backend_may_say_why_it_ended() -> None:
    async def answer(messages: list[dict[str, str]]) -> AsyncIterator[str | Finish]:
        yield "a"
        yield Finish("content_filter", {"total_tokens": 3})

    async with serving(answer) as replies:
        reply = await replies.start(asking())
        assert await read_all(reply) == ("a", "done", "content_filter")
        assert reply.end is not None
        assert reply.end.usage == {"total_tokens": 3}


async def test_the_function_is_given_the_conversation() -> None:
    got: list[Any] = []

    async def answer(messages: list[dict[str, str]]) -> AsyncIterator[str]:
        got.append(messages)
        yield ""

    async with serving(answer) as replies:
        turns = (Message("system", "s"), Message("user", "你"))
        await read_all(await replies.start(Prompt(turns)))
    assert got == [
        [{"role": "system", "content": "s"}, {"role": "user", "content": "你"}]
    ]


# ------------------------------------------------------------------ stopping


async def test_a_stop_before_the_first_character() -> None:
    backend = Hanging()
    async with serving(backend) as replies:
        reply = await replies.start(asking())
        reading = asyncio.create_task(read(reply))
        await backend.hangs.wait()
        await replies.stop(reply)
        assert await replies.stopped(reply)
        assert backend.closed.is_set()
        assert await reading == ""
        assert await read_all(reply) == ("", "stopped", "stopped")


async def test_a_stop_at_once() -> None:
    backend = Hanging("a")
    async with serving(backend) as replies:
        reply = await replies.start(asking())
        await replies.stop(reply)
        assert await replies.stopped(reply)
        assert await read_all(reply) == ("", "stopped", "stopped")


async def test_a_stop_in_the_middle_keeps_what_is_out() -> None:
    backend = Hanging("ab", "c\n")
    async with serving(backend) as replies:
        reply = await replies.start(asking())
        await backend.hangs.wait()
        await asyncio.gather(replies.stop(reply), replies.stop(reply))
        assert await replies.stopped(reply)
        await replies.stop(reply)
        assert backend.closed.is_set()
        assert await read_all(reply) == ("abc\n", "stopped", "stopped")
        assert replies.running == 0


async def test_a_stop_of_a_paced_reply_gives_every_reader_the_same() -> None:
    async with serving(EchoBackend(), pace=0.01) as replies:
        reply = await replies.start(asking("x" * 10_000))
        readers = [asyncio.create_task(read(reply)) for _ in range(3)]
        runs = reply.characters()
        async for before, _ in runs:
            if before >= 5:
                break
        await runs.aclose()
        await replies.stop(reply)
        texts = await asyncio.gather(*readers)
        assert len(set(texts)) == 1
        assert 6 <= len(texts[0]) < 10_000
        assert await read_all(await replies.open(reply.id)) == (
            texts[0],
            "stopped",
            "stopped",
        )


async def test_a_stop_after_the_end_changes_nothing() -> None:
    async with serving(EchoBackend(), pace=0) as replies:
        reply = await replies.start(asking("abc"))
        assert await read_all(reply) == ("abc", "done", "stop")
        await replies.stop(reply)
        assert await replies.stopped(reply)
        assert await read_all(await replies.open(reply.id)) == ("abc", "done", "stop")


async def test_a_stop_does_not_wait_for_a_backend_that_closes_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatsvc.replies.replies.STOP_WAIT", 0.01)
    let_go, hangs = asyncio.Event(), asyncio.Event()

    async def answer(messages: Any) -> AsyncIterator[str]:
        try:
            yield "a\n"
            hangs.set()
            await asyncio.Event().wait()
        finally:
            await let_go.wait()

    async with serving(answer) as replies:
        reply = await replies.start(asking())
        await hangs.wait()
        await replies.stop(reply)
        assert await read_all(reply) == ("a\n", "stopped", "stopped")
        assert not await replies.stopped(reply)
        assert replies.running == 1
        let_go.set()
        monkeypatch.setattr("chatsvc.replies.replies.STOP_WAIT", WAIT)
        assert await replies.stopped(reply)
        assert replies.running == 0


# ------------------------------------------------------------------ backends that go wrong


class Secret(Exception):
    """What is in it is nobody's business."""


async def raises_at_once(messages: Any) -> AsyncIterator[str]:
    raise Secret("secret")
    yield ""


async def raises_after_text(messages: Any) -> AsyncIterator[str]:
    yield "ab👩"  # held back, for it may grow
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


def is_not_async(messages: Any) -> Any:
    yield "a"


async def gives_a_text(messages: Any) -> Any:
    return "a"


async def takes_nothing() -> AsyncIterator[str]:
    yield "a"


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
        (raises_when_called, "", "failed."),
        (awaits_and_raises, "", "failed."),
        (yields_a_number, "a", "must yield str, not int."),
        (yields_none, "", "must yield str, not NoneType."),
        (yields_bytes, "", "must yield str, not bytes."),
        (is_not_async, "", "must give an async iterator of str."),
        (gives_a_text, "", "must give an async iterator of str."),
        (takes_nothing, "", "failed."),
        (tells_why, "a", "The model is asleep."),
        (cancels_itself, "a\n", "Something went wrong on the server."),
        (stops_iterating, "a", "failed."),
    ],
)
async def test_a_backend_that_fails_is_told_without_its_secrets(
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
        assert watch.told[-1] == ("ended", reason)
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


class LostStore(MemoryStore):
    """A store that is away for good once a reply has begun."""

    async def append(self, log: Log, text: str) -> None:
        raise StoreUnavailable

    async def finish(self, log: Log, end: End) -> None:
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
        assert watch.told[-1] == ("ended", None)


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


# ------------------------------------------------------------------ readers and grace


async def test_a_reply_that_nobody_reads_is_abandoned() -> None:
    backend, watch = Hanging("a\n"), Watch()
    async with serving(backend, grace=0.01, observers=(watch,)) as replies:
        reply = await replies.start(asking())
        await asyncio.wait_for(watch.over.wait(), WAIT)
        assert backend.closed.is_set()
        assert await read_all(reply) == ("a\n", "stopped", "abandoned")


async def test_grace_counts_from_when_the_last_reader_went() -> None:
    backend, watch = Hanging("a\n"), Watch()
    async with serving(backend, grace=0.0, observers=(watch,)) as replies:
        reply = await replies.start(asking())
        with reply.reading():
            with reply.reading():
                assert reply.grace is None
            assert reply.grace is None
            await backend.hangs.wait()
            assert reply.end is None
        assert reply.grace is not None
        await asyncio.wait_for(watch.over.wait(), WAIT)
        assert await read_all(reply) == ("a\n", "stopped", "abandoned")


async def test_a_reader_that_comes_back_in_time_saves_the_reply() -> None:
    backend = Hanging("a\n")
    async with serving(backend, grace=3600) as replies:
        reply = await replies.start(asking())
        for _ in range(3):
            timer = reply.grace
            assert timer is not None
            with reply.reading():
                assert timer.cancelled()
                assert reply.grace is None
        assert reply.end is None
        await replies.stop(reply)
        assert await replies.stopped(reply)
        assert reply.grace is None


async def test_readers_that_come_and_go_cost_one_producer_and_leave_nothing() -> None:
    backend = Hanging("你好\n")
    async with serving(backend) as replies:
        reply = await replies.start(asking())
        readers = [asyncio.create_task(read(reply)) for _ in range(50)]
        await backend.hangs.wait()
        for reader in readers[::2]:
            reader.cancel()
        await asyncio.wait(readers[::2])
        assert reply.readers == 25
        assert (backend.calls, replies.running, replies.known) == (1, 1, 1)
        await replies.stop(reply)
        assert set(await asyncio.gather(*readers[1::2])) == {"你好\n"}
        assert await replies.stopped(reply)
        assert reply.readers == 0
        assert not reply.log.waiters
        del reply, readers
        assert (replies.running, replies.known) == (0, 0)


# ------------------------------------------------------------------ opening


async def test_a_running_reply_is_the_same_for_everybody() -> None:
    backend = Hanging("a")
    async with serving(backend) as replies:
        reply = await replies.start(asking(), user="u")
        assert await replies.open(reply.id, user="u") is reply
        for user in ("", "v"):
            with pytest.raises(ReplyNotFound):
                await replies.open(reply.id, user=user)


async def test_a_reply_that_was_never_there_or_is_no_longer() -> None:
    store = MemoryStore(keep=0)
    async with serving(EchoBackend(), store, pace=0) as replies:
        with pytest.raises(ReplyNotFound):
            await replies.open(new_reply_id())
        reply = await replies.start(asking("a"))
        await read_all(reply)
        store.expire()
        with pytest.raises(ReplyExpired):
            await replies.open(reply.id)


# ------------------------------------------------------------------ idempotency


async def test_the_same_key_never_starts_a_second_reply() -> None:
    backend = Hanging("a")
    async with serving(backend) as replies:
        same = await asyncio.gather(
            *(replies.start(asking(), key="k", digest="d") for _ in range(5))
        )
        assert len({reply.id for reply in same}) == 1
        await backend.hangs.wait()
        assert backend.calls == 1
        with pytest.raises(InvalidRequest, match="another request"):
            await replies.start(asking(), key="k", digest="e")
        other = await replies.start(asking(), key="k", digest="e", user="other")
        assert other.id != same[0].id
        assert replies.running == 2


async def test_a_key_attaches_after_the_end() -> None:
    async with serving(EchoBackend(), pace=0) as replies:
        reply = await replies.start(asking("abc"), key="k", digest="d")
        await read_all(reply)
        again = await replies.start(asking("abc"), key="k", digest="d")
        assert again.id == reply.id
        assert await read_all(again) == ("abc", "done", "stop")


async def test_a_key_attaches_when_there_is_no_room_for_another_reply() -> None:
    async with serving(Hanging("a"), max_running=1, max_per_client=1) as replies:
        reply = await replies.start(asking(), key="k", digest="d", client="c")
        with pytest.raises(Overloaded):
            await replies.start(asking(), client="c")
        again = await replies.start(asking(), key="k", digest="d", client="c")
        assert again is reply
        replies.draining = True
        again = await replies.start(asking(), key="k", digest="d", client="c")
        assert again is reply


# ------------------------------------------------------------------ limits


@pytest.mark.parametrize(
    ("text", "limit", "kept", "reason"),
    [
        ("abc", 3, "abc", "stop"),
        ("abcd", 3, "abc", "length"),
        ("你好", 6, "你好", "stop"),
        ("你好", 5, "你", "length"),
        ("你好", 2, "", "length"),
        (FAMILY * 2, len(FAMILY.encode()) * 2, FAMILY * 2, "stop"),
        (FAMILY * 2, len(FAMILY.encode()) * 2 - 1, FAMILY, "length"),
        (FAMILY, len(FAMILY.encode()) - 1, "", "length"),
        ("a\r\nb", 3, "a\nb", "stop"),
    ],
)
@pytest.mark.parametrize("size", [1, 100])
async def test_a_reply_too_long_ends_at_a_characters_edge(
    text: str, limit: int, kept: str, reason: str, size: int
) -> None:
    closed = asyncio.Event()

    async def answer(messages: Any) -> AsyncIterator[str]:
        try:
            for i in range(0, len(text), size):
                yield text[i : i + size]
        finally:
            closed.set()

    async with serving(answer, max_reply=limit) as replies:
        reply = await replies.start(asking())
        assert await read_all(reply) == (kept, "done", reason)
        assert closed.is_set()


class SlowStore(MemoryStore):
    """Takes its time, as one on another machine does."""

    shared = True

    async def create(self, record: Record) -> str:
        await asyncio.sleep(0)
        reply_id = await super().create(record)
        await asyncio.sleep(0)
        return reply_id

    async def find(self, reply_id: str) -> tuple[Record, Log]:
        await asyncio.sleep(0)
        return await super().find(reply_id)


@pytest.mark.parametrize("store", [MemoryStore, SlowStore])
async def test_only_so_many_run_at_once(store: type[MemoryStore]) -> None:
    async with serving(Hanging("a"), store(keep=60), max_running=3) as replies:
        started = await asyncio.gather(
            *(replies.start(asking()) for _ in range(5)), return_exceptions=True
        )
        running = [reply for reply in started if isinstance(reply, Reply)]
        assert (len(running), replies.running) == (3, 3)
        refused = [one for one in started if isinstance(one, Overloaded)]
        assert [one.retry_after for one in refused] == [1, 1]
        await replies.stop(running[0])
        assert await replies.stopped(running[0])
        await replies.start(asking())
        with pytest.raises(Overloaded):
            await replies.start(asking())


@pytest.mark.parametrize("store", [MemoryStore, SlowStore])
async def test_only_so_many_of_one_client_run_at_once(
    store: type[MemoryStore],
) -> None:
    async with serving(Hanging("a"), store(keep=60), max_per_client=2) as replies:
        started = await asyncio.gather(
            *(replies.start(asking(), client="c") for _ in range(3)),
            return_exceptions=True,
        )
        assert [type(one) for one in started].count(TooManyRequests) == 1
        other = await replies.start(asking(), client="other")
        mine = next(one for one in started if isinstance(one, Reply))
        await replies.stop(mine)
        assert await replies.stopped(mine)
        await replies.start(asking(), client="c")
        with pytest.raises(TooManyRequests):
            await replies.start(asking(), client="c")
        assert other.end is None


@pytest.mark.parametrize("patience", range(6))
async def test_who_leaves_while_a_reply_is_begun_leaves_none_without_an_end(
    patience: int,
) -> None:
    backend, watch = Hanging("a"), Watch()
    store = SlowStore(keep=60)
    async with serving(backend, store, grace=0, observers=(watch,)) as replies:
        starting = asyncio.create_task(replies.start(asking(), key="k", digest="d"))
        for _ in range(patience):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
        reply_id = await store.known(Record("", asking(), key="k", digest="d"))
        if patience == 0:
            assert reply_id is None
            return
        await asyncio.wait_for(watch.over.wait(), WAIT)
        reply_id = await store.known(Record("", asking(), key="k", digest="d"))
        assert reply_id is not None
        assert (await read_all(await replies.open(reply_id)))[2] == "abandoned"


# ------------------------------------------------------------------ going


async def test_draining_lets_running_replies_end_and_takes_no_new_ones() -> None:
    async with serving(EchoBackend(), pace=0.001) as replies:
        reply = await replies.start(asking("x" * 50))
        draining = asyncio.create_task(replies.drain(WAIT))
        await asyncio.sleep(0)
        with pytest.raises(Draining) as refused:
            await replies.start(asking())
        assert refused.value.retry_after == 1
        assert await read_all(reply) == ("x" * 50, "done", "stop")
        await draining


async def test_what_has_not_ended_when_the_time_is_over_is_interrupted() -> None:
    backend = Hanging("a\n")
    async with serving(backend) as replies:
        reply = await replies.start(asking())
        await backend.hangs.wait()
        await replies.drain(0)
        assert await read_all(reply) == ("a\n", "failed", "interrupted")
        assert reply.end is not None
        assert reply.end.problem is not None
        assert reply.end.problem["type"] == "/problems/draining"


async def test_closing_leaves_nothing_in_whatever_state_replies_are() -> None:
    async with serving(Hanging("a\n"), SlowStore(keep=60)) as replies:
        running = [await replies.start(asking()) for _ in range(3)]
        reading = [asyncio.create_task(read(reply)) for reply in running]
        await replies.stop(running[0])
        starting = asyncio.create_task(replies.start(asking()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.wait([*reading, starting], timeout=WAIT)
    assert all(reply.end is not None for reply in running)
    assert all(task.done() for task in [*reading, starting])
    assert starting.cancelled() or not starting.exception()
