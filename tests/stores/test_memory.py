"""The store `memory`."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator

import pytest

import chatsvc.stores.expired
import chatsvc.stores.memory
from chatsvc.log import Log
from chatsvc.model import Prompt
from chatsvc.problems import ReplyExpired, ReplyNotFound
from chatsvc.stores import KeyReused
from chatsvc.stores.base import REMEMBERED_S
from chatsvc.stores.memory import MemoryStore
from chatsvc.ticker import monotonic

from .contract import DONE, PROMPT, StoreContract, begin, record


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
    await place.forward(REMEMBERED_S - 10)
    with pytest.raises(ReplyExpired):
        await place.store.find(log.reply_id)
    for ask in (place.store.known, place.store.create):
        with pytest.raises(ReplyExpired):
            await ask(record(key="k", digest="d"))
        with pytest.raises(KeyReused):
            await ask(record(key="k", digest="another"))
        other = record(key="k", user="u", digest="d")
        assert await ask(other) in (None, other.reply_id)
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
    assert asked.prompt.read().messages
    await place.store.append(log, "an answer")
    await place.store.finish(log, DONE)
    found, again = await place.store.find(asked.reply_id)
    assert again is log
    assert found is asked
    assert asked.prompt.read() == Prompt((PROMPT.messages[-1],))


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


async def test_it_remembers_a_bounded_number_of_keys(
    place: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatsvc.stores.memory, "MOST_REMEMBERED", 3)
    for key in "abcde":
        await place.store.finish(await begin(place.store, key=key, digest="d"), DONE)
    await place.forward(place.keep + 1)
    for key in "ab":
        assert await place.store.known(record(key=key, digest="d")) is None
    for key in "cde":
        with pytest.raises(ReplyExpired):
            await place.store.known(record(key=key, digest="d"))


async def test_a_key_whose_reply_is_no_longer_kept_costs_next_to_nothing(
    place: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatsvc.stores.expired, "PACK_SIZE", 16)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(4096):
            asked = record(key=f"key {number:060}", digest=f"{number:064}")
            await place.store.create(asked)
            _, log = await place.store.find(asked.reply_id)
            await place.store.finish(log, DONE)
            del log
            if not number % 64:
                await place.forward(place.keep + 1)
        await place.forward(place.keep + 1)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 60 * 4096
