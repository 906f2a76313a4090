"""What every store must do (`chatsvc.stores.base`). The tests of a store are a class of three lines:

class TestMine(StoreContract):
    @pytest.fixture
    async def place(self) -> AsyncIterator[Place]:
        yield ...
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chatsvc.cursor import new_reply_id
from chatsvc.kept_prompt import keep
from chatsvc.log import Log
from chatsvc.model import End, Message, Piece, Prompt
from chatsvc.problems import ReplyExpired, ReplyNotFound
from chatsvc.stores import KeyReused, NotWritable, Record, Store
from chatsvc.ticker import Ticker, Waiter, monotonic
from chatsvc.units import Mark, PartText
from tests.parts_script import only_text, outputs, scripts, single_units, written

PROMPT = Prompt((Message("user", "你好"),), options={"temperature": 0.5})
DONE = End("done", "stop", usage={"completion_tokens": 2})
FAILED = End("failed", "error", {"type": "/problems/backend-failed", "title": "…"})
STOPPED = End("stopped", "stopped")
FAMILY = "👨‍👩‍👧"

texts = st.lists(
    st.sampled_from(["a", " ", "\n", "\0", "好", FAMILY, "🇩🇪", "e\u0301", "\ufffd"]),
    min_size=1,
    max_size=6,
).map("".join)


class Place(Protocol):
    """An open store, empty, that keeps an ended reply `keep` seconds, and the time there."""

    store: Store
    keep: float

    async def forward(self, seconds: float) -> None:
        """Let time pass, really or not, for what expires."""

    async def settle(self, log: Log, position: int, *, ended: bool = False) -> None:
        """Wait until a log has reached a position, and its end if asked for."""


def record(key: str = "", **more: object) -> Record:
    return Record(new_reply_id(), keep(PROMPT), key=key, **more)  # type: ignore[arg-type]


async def begin(store: Store, **more: object) -> Log:
    """A new reply's log."""
    reply_id = await store.create(record(**more))  # type: ignore[arg-type]
    _, log = await store.find(reply_id)
    return log


class StoreContract:
    """Inherit from it, and give it a `place`."""

    async def test_a_new_reply_is_found_as_it_was_created(self, place: Place) -> None:
        asked = record(key="k", user="u", digest="d", pace=100_000, lag=500_000)
        assert await place.store.create(asked) == asked.reply_id
        found, log = await place.store.find(asked.reply_id)
        assert found == asked
        assert log.reply_id == asked.reply_id
        assert (log.pace, log.lag) == (100_000, 500_000)
        assert (log.position, log.end, log.planned_end) == (0, None, None)

    async def test_an_id_that_was_never_given_is_not_found(self, place: Place) -> None:
        await begin(place.store)
        with pytest.raises(ReplyNotFound):
            await place.store.find(new_reply_id())

    async def test_everybody_here_gets_the_same_log(self, place: Place) -> None:
        log = await begin(place.store)
        await place.store.append(log, "a")
        await place.settle(log, 1)
        _, again = await place.store.find(log.reply_id)
        assert again is log

    async def test_what_is_appended_arrives_in_order(self, place: Place) -> None:
        log = await begin(place.store)
        await self._arrives_in_order(place, log, ["你", "好\n", FAMILY, " ", "\0"])

    @settings(
        max_examples=25,
        deadline=None,
        # One place serves all examples, as it serves many replies; and one method is run for every store.
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(st.lists(texts, max_size=6), st.sampled_from([0, 1_000, 50_000]))
    async def test_any_text_arrives(
        self, place: Place, pieces: list[str], pace: int
    ) -> None:
        log = await begin(place.store, pace=pace, lag=0)
        await self._arrives_in_order(place, log, pieces)

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(scripts, st.booleans())
    async def test_any_parts_arrive(
        self, place: Place, script: list[Piece], stopped: bool
    ) -> None:
        log = await begin(place.store, lag=0)
        output = written(script)
        for each in output:
            if isinstance(each, str):
                await place.store.append(log, each)
            else:
                await place.store.append_side(log, [each])
        units = single_units(output)
        await place.store.seal(log, DONE)
        await place.store.refresh(log)
        assert (
            single_units(outputs([unit for _, unit in log.units(0, 1 << 30)])) == units
        )
        await place.store.finish(log, STOPPED if stopped else DONE)
        await place.settle(log, 0, ended=True)
        _, later = await place.store.find(log.reply_id)
        for one in (log, later):
            found = [unit for _, unit in one.units(0, one.offset)]
            assert single_units(outputs(found)) == units
            assert one.text(0) == only_text(script)

    async def test_a_stop_takes_the_parts_that_were_not_out(self, place: Place) -> None:
        log = await begin(place.store, pace=100_000_000)
        marks = [Mark(number, "data", whole=True) for number in (1, 2, 3)]
        await place.store.append_side(log, marks[:1])
        await place.store.append(log, "a")
        await place.store.append_side(log, marks[1:2])
        await place.store.append(log, "b")
        await place.store.append_side(log, marks[2:])
        await place.store.seal(log, DONE)
        await place.store.refresh(log)
        assert (log.position, log.offset) == (2, 5)
        await place.store.finish(log, STOPPED)
        await place.settle(log, 1, ended=True)
        _, later = await place.store.find(log.reply_id)
        for one in (log, later):
            assert one.units(0, 9) == [
                (1, marks[0]),
                (2, PartText(0, "a")),
                (3, marks[1]),
            ]
        with pytest.raises(NotWritable):
            await place.store.append_side(log, marks)

    async def test_what_is_appended_at_once_is_what_is_appended(
        self, place: Place
    ) -> None:
        store = place.store
        append_now, append_side_now = store.append_now, store.append_side_now
        if append_now is None or append_side_now is None:
            pytest.skip("this store waits")
        log, unknown = await begin(store), Log(new_reply_id())
        assert store.has_room(log)
        append_now(log, "a")
        append_side_now(log, [Mark(1, "data", whole=True)])
        await store.append(log, "b")
        append_now(log, "c")
        await store.seal(log, DONE)
        assert store.has_room(log), "its text is complete, and it has no end"
        units = log.units(0, log.offset)
        assert single_units(outputs([unit for _, unit in units])) == single_units(
            ["a", Mark(1, "data", whole=True), "bc"]
        )
        await store.finish(log, DONE)
        assert not store.has_room(log)
        stopped = await begin(store)
        await store.finish(stopped, STOPPED)
        assert not store.has_room(stopped)
        with pytest.raises(NotWritable):
            append_now(log, "d")
        with pytest.raises(NotWritable):
            append_side_now(log, [Mark(2, "data", whole=True)])
        if store.cluster.shared:
            assert not store.has_room(unknown), "another node's"

    async def _arrives_in_order(
        self, place: Place, log: Log, pieces: list[str]
    ) -> None:
        text = ""
        for piece in pieces:
            await place.store.append(log, piece)
            text += piece
        await place.settle(log, len(text))
        assert log.text(0) == text
        assert log.size == len(text.encode())
        await place.store.seal(log, DONE)
        await place.store.finish(log, DONE)
        await place.settle(log, len(text), ended=True)
        _, later = await place.store.find(log.reply_id)
        assert (later.text(0), later.end) == (text, DONE)

    async def test_an_end_is_kept_with_all_that_it_says(self, place: Place) -> None:
        for end in (
            DONE,
            FAILED,
            STOPPED,
            End("done", "length"),
            End("stopped", "abandoned"),
        ):
            log = await begin(place.store)
            await place.store.append(log, "a")
            await place.store.seal(log, end)
            await place.store.finish(log, end)
            await place.settle(log, 1, ended=True)
            assert log.end == end
            _, later = await place.store.find(log.reply_id)
            assert (later.end, later.text(0)) == (end, "a")

    async def test_the_first_end_stands(self, place: Place) -> None:
        log = await begin(place.store)
        await place.store.append(log, "a")
        await place.store.finish(log, FAILED)
        await place.store.finish(log, STOPPED)
        await place.store.finish(log, DONE)
        await place.settle(log, 1, ended=True)
        _, later = await place.store.find(log.reply_id)
        assert log.end == later.end == FAILED

    async def test_an_end_may_come_before_any_text(self, place: Place) -> None:
        log = await begin(place.store)
        await place.store.finish(log, STOPPED)
        await place.settle(log, 0, ended=True)
        assert (log.text(0), log.end) == ("", STOPPED)

    async def test_nothing_is_written_after_the_end(self, place: Place) -> None:
        log = await begin(place.store)
        await place.store.append(log, "a")
        await place.store.finish(log, STOPPED)
        with pytest.raises(NotWritable):
            await place.store.append(log, "b")
        with pytest.raises(NotWritable):
            await place.store.seal(log, DONE)
        await place.settle(log, 1, ended=True)
        assert (log.text(0), log.end) == ("a", STOPPED)

    async def test_a_stop_takes_what_was_not_out(self, place: Place) -> None:
        """At one character in 100 s the first is out at once, and no other in the time of a test."""
        log = await begin(place.store, pace=100_000_000)
        await place.store.append(log, FAMILY + "abc")
        await place.settle(log, len(FAMILY) + 3)
        await place.store.finish(log, STOPPED)
        await place.settle(log, len(FAMILY), ended=True)
        assert log.text(0) == FAMILY
        _, later = await place.store.find(log.reply_id)
        assert (later.text(0), later.position) == (FAMILY, len(FAMILY))

    async def test_any_other_end_takes_nothing(self, place: Place) -> None:
        log = await begin(place.store, pace=100_000_000)
        await place.store.append(log, "abc")
        await place.store.finish(log, FAILED)
        await place.settle(log, 3, ended=True)
        assert log.text(0) == "abc"

    async def test_a_key_stands_for_the_reply_it_began(self, place: Place) -> None:
        first = record(key="k", digest="d")
        assert await place.store.known(first) is None
        assert await place.store.create(first) == first.reply_id
        for _ in range(2):
            again = record(key="k", digest="d")
            assert await place.store.known(again) == first.reply_id
            assert await place.store.create(again) == first.reply_id
            with pytest.raises(ReplyNotFound):
                await place.store.find(again.reply_id)

    async def test_a_key_used_at_once_begins_one_reply(self, place: Place) -> None:
        records = [record(key="k", digest="d") for _ in range(8)]
        ids = await asyncio.gather(*map(place.store.create, records))
        assert len(set(ids)) == 1

    async def test_a_key_with_another_request_is_refused(self, place: Place) -> None:
        await place.store.create(record(key="k", digest="d"))
        with pytest.raises(KeyReused):
            await place.store.create(record(key="k", digest="other"))
        with pytest.raises(KeyReused):
            await place.store.known(record(key="k", digest="other"))

    async def test_a_key_is_its_users_own(self, place: Place) -> None:
        one = record(key="k", digest="d", user="one")
        other = record(key="k", digest="e", user="other")
        assert await place.store.create(one) == one.reply_id
        assert await place.store.create(other) == other.reply_id

    async def test_without_a_key_each_reply_is_another(self, place: Place) -> None:
        ids = {await place.store.create(record(digest="d")) for _ in range(5)}
        assert len(ids) == 5

    async def test_a_key_still_stands_after_the_end(self, place: Place) -> None:
        log = await begin(place.store, key="k", digest="d")
        await place.store.finish(log, DONE)
        again = await place.store.create(record(key="k", digest="d"))
        assert again == log.reply_id

    async def test_a_name_stands_for_the_reply_it_was_given_last(
        self, place: Place
    ) -> None:
        assert await place.store.recall("name") is None
        one, other = (await begin(place.store)).reply_id, new_reply_id()
        assert await place.store.remember("name", one) is None
        assert await place.store.recall("name") == one
        assert await place.store.remember("name", other) == one
        assert await place.store.recall("name") == other
        assert await place.store.recall("another") is None

    async def test_a_name_is_taken_from_the_reply_that_has_it_alone(
        self, place: Place
    ) -> None:
        one, other = new_reply_id(), new_reply_id()
        await place.store.forget("name", one)
        await place.store.remember("name", one)
        await place.store.forget("name", other)
        assert await place.store.recall("name") == one
        await place.store.forget("name", one)
        assert await place.store.recall("name") is None
        assert await place.store.remember("name", other) is None

    async def test_a_name_that_is_to_be_new_is_left_to_what_has_it(
        self, place: Place
    ) -> None:
        one, other = new_reply_id(), new_reply_id()
        assert await place.store.remember("name", one, only_new=True) is None
        assert await place.store.remember("name", other, only_new=True) == one
        assert await place.store.recall("name") == one
        assert await place.store.remember("name", other) == one
        assert await place.store.recall("name") == other

    @pytest.mark.parametrize("end", [DONE, STOPPED, FAILED], ids=lambda end: end.state)
    async def test_of_a_prompt_the_question_alone_outlives_the_end(
        self, place: Place, end: End
    ) -> None:
        turns = Message("system", "s" * 1000), Message("user", "你好 \n"), Message("assistant", "…")  # fmt: skip
        prompt = Prompt(turns, options={"tools": ["t" * 1000]})
        asked = Record(new_reply_id(), keep(prompt), key="k", digest="d", user="u")
        await place.store.create(asked)
        found, log = await place.store.find(asked.reply_id)
        assert found.prompt.read() == prompt
        assert found.prompt.question == "你好 \n"
        await place.store.append(log, "an answer")
        await place.store.finish(log, end)
        await place.settle(log, log.position, ended=True)
        question = Prompt((Message("user", "你好 \n"),))
        again, _ = await place.store.find(asked.reply_id)
        for each in (found, again):
            assert each.prompt.read() == question
            assert each.prompt.question == "你好 \n"
        assert again == replace(asked, prompt=keep(question))

    async def test_a_note_is_kept_with_the_reply(self, place: Place) -> None:
        asked = record(note='{"message":"你"}')
        await place.store.create(asked)
        found, log = await place.store.find(asked.reply_id)
        assert found == asked
        await place.store.finish(log, End("done", "stop"))
        await place.settle(log, 0, ended=True)
        found, _ = await place.store.find(asked.reply_id)
        assert found.note == asked.note

    async def test_an_ended_reply_is_kept_and_then_known_to_be_expired(
        self, place: Place
    ) -> None:
        ended, running = await begin(place.store), await begin(place.store)
        await place.store.append(ended, "a")
        await place.store.finish(ended, DONE)
        await place.settle(ended, 1, ended=True)
        _, log = await place.store.find(ended.reply_id)
        assert log.text(0) == "a"
        await place.forward(place.keep + 1)
        with pytest.raises(ReplyExpired):
            await place.store.find(ended.reply_id)
        _, log = await place.store.find(running.reply_id)
        assert log.end is None

    async def test_readers_are_woken_by_text_and_by_the_end(self, place: Place) -> None:
        log = await begin(place.store)
        waiter = Waiter(Ticker())
        log.waiters.add(waiter)
        woken: list[int] = []

        async def read() -> None:
            while log.end is None:
                waiter.slot = -1
                await waiter
                woken.append(log.position)

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        await place.store.append(log, "a")
        await place.settle(log, 1)
        await place.store.finish(log, DONE)
        await asyncio.wait_for(reading, 10)
        assert woken[-1] == 1

    async def test_it_is_ready(self, place: Place) -> None:
        assert place.store.ready()

    async def test_its_clock_is_never_ahead_of_its_own_time(self, place: Place) -> None:
        """What a reader here takes for out must be out for a stop, wherever that is judged."""
        for _ in range(5):
            log = await begin(place.store, pace=1_000)
            await place.store.append(log, "abcdefgh" * 40)
            await place.settle(log, 320)
            out = log.released(monotonic() + place.store.clock.offset)
            await place.store.finish(log, STOPPED)
            await place.settle(log, out, ended=True)
            assert log.text(0) == ("abcdefgh" * 40)[: log.position]
            assert log.position >= out
