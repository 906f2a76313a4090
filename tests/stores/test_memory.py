"""The store `memory`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

import chatsvc.stores.memory
from chatsvc.backends import Prompt
from chatsvc.problems import ReplyExpired, ReplyNotFound
from chatsvc.stores import Log
from chatsvc.stores.memory import REMEMBERED, MemoryStore
from chatsvc.ticker import monotonic

from .contract import DONE, StoreContract, begin, record


class MemoryPlace:
    """A store whose clock the test can set forward."""

    keep = 60.0

    def __init__(self) -> None:
        self.ahead = 0
        self.store = MemoryStore(keep=self.keep, now=lambda: monotonic() + self.ahead)

    async def forward(self, seconds: float) -> None:
        """Time passes, and the store looks at its clock."""
        self.ahead += int(seconds * 1e6)
        self.store.expire()

    async def settle(self, log: Log, position: int, *, ended: bool = False) -> None:
        """Everything is there at once."""
        assert log.position >= position
        assert not ended or log.end is not None


@pytest.fixture
async def place() -> AsyncIterator[MemoryPlace]:
    place = MemoryPlace()
    await place.store.open()
    yield place
    await place.store.close()


class TestMemoryStore(StoreContract):
    """The contract."""


async def test_an_expired_id_is_known_for_a_day_and_its_key_with_it(
    place: MemoryPlace,
) -> None:
    log = await begin(place.store, key="k", digest="d")
    await place.store.finish(log, DONE)
    await place.forward(place.keep + 1)
    await place.forward(REMEMBERED - 10)
    with pytest.raises(ReplyExpired):
        await place.store.find(log.reply_id)
    assert await place.store.create(record(key="k", digest="d")) == log.reply_id
    await place.forward(20)
    with pytest.raises(ReplyNotFound):
        await place.store.find(log.reply_id)
    again = record(key="k", digest="another")
    assert await place.store.create(again) == again.reply_id


async def test_it_remembers_a_bounded_number_of_ids(
    place: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatsvc.stores.memory, "MOST_REMEMBERED", 3)
    logs = [await begin(place.store) for _ in range(5)]
    for log in logs:
        await place.store.finish(log, DONE)
        await place.store.remember(f"name of {log.reply_id}", log.reply_id)
    await place.forward(place.keep + 1)
    for log in logs[:2]:
        with pytest.raises(ReplyNotFound):
            await place.store.find(log.reply_id)
        assert await place.store.recall(f"name of {log.reply_id}") is None
    for log in logs[2:]:
        with pytest.raises(ReplyExpired):
            await place.store.find(log.reply_id)


async def test_an_ended_reply_is_kept_without_what_was_asked(
    place: MemoryPlace,
) -> None:
    asked = record(key="k", user="u")
    await place.store.create(asked)
    found, log = await place.store.find(asked.reply_id)
    assert found == asked
    assert asked.prompt.messages
    await place.store.append(log, "an answer")
    await place.store.finish(log, DONE)
    found, again = await place.store.find(asked.reply_id)
    assert again is log
    assert found == msgspec.structs.replace(asked, prompt=Prompt(()))


async def test_it_lets_go_by_itself() -> None:
    store = MemoryStore(keep=0)
    await store.open()
    log = await begin(store)
    await store.finish(log, DONE)

    async def gone() -> None:
        while True:
            try:
                await store.find(log.reply_id)
            except ReplyExpired:
                return
            await asyncio.sleep(0.01)

    await asyncio.wait_for(gone(), 10)
    await store.close()


async def test_no_task_is_left_when_it_is_closed() -> None:
    before = asyncio.all_tasks()
    store = MemoryStore(keep=1)
    await store.open()
    await store.close()
    assert asyncio.all_tasks() == before
    await MemoryStore(keep=1).close()  # one that was never opened


async def test_a_key_is_forgotten_with_its_id(
    place: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatsvc.stores.memory, "MOST_REMEMBERED", 3)
    keys = ["a", "b", "", "", "c"]
    logs = [await begin(place.store, key=key, digest="d") for key in keys]
    for log in logs:
        await place.store.finish(log, DONE)
    await place.forward(place.keep + 1)
    known = [await place.store.known(record(key=key, digest="d")) for key in "abc"]
    assert known == [None, None, logs[4].reply_id]
