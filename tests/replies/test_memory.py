"""What replies hold is counted, and at the limit those that nobody reads are stopped first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatsvc.client_limits import ClientLimits
from chatsvc.log import Log
from chatsvc.memory_budget import Kind, MemoryBudget
from chatsvc.model import Data, Message, Prompt, Reasoning
from chatsvc.problems import Draining, Overloaded, TooManyRequests
from chatsvc.replies import Replies, Reply, memory
from chatsvc.stores.memory import MemoryStore
from chatsvc.stores.sizes import RECORD_BYTES

from .serving import Hanging, Shared, SlowStore, asking, serving

KIB = 1024
LARGE = "x" * 100 * KIB
CONVERSATION = Prompt((Message("assistant", LARGE), Message("user", "?")))
"""A prompt of which hardly anything is kept when its reply has ended."""


@pytest.fixture(autouse=True)
def nothing_is_fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A reply without a reader may be stopped at once."""
    monkeypatch.setattr(memory, "FRESH_US", -1)
    return iter([None])


async def settled(budget: MemoryBudget, replies: Replies) -> None:
    """Let ended producers finish, and count anew."""
    while replies.running:
        await asyncio.sleep(0)
    await replies.memory.sample()


def reasons(*some: Reply) -> list[str | None]:
    return [None if each.end is None else each.end.finish_reason for each in some]


async def test_a_prompt_counts_until_its_reply_ends() -> None:
    budget = MemoryBudget()
    async with serving(Hanging("a"), budget=budget) as replies:
        reply = await replies.start(CONVERSATION)
        assert len(LARGE) < budget.held(Kind.PROMPTS) < len(LARGE) + 2 * KIB
        await replies.stop(reply)
        await settled(budget, replies)
        assert budget.held(Kind.PROMPTS) == 0
        assert reply.record.prompt.read().messages == (Message("user", "?"),)


async def test_a_text_counts_while_it_runs_and_while_it_is_kept() -> None:
    budget, now = MemoryBudget(), [0]
    store = MemoryStore(keep=60, now=lambda: now[0])
    hanging = Hanging(LARGE, Reasoning("y" * 1000), Data("z", 1))  # type: ignore[arg-type]
    async with serving(hanging, store, budget=budget) as replies:
        reply = await replies.start(asking())
        with reply.reading():
            await hanging.hangs.wait()
            await replies.memory.sample()
            running = budget.held(Kind.TEXTS)
            assert len(LARGE) + 1000 < running < len(LARGE) + 8 * KIB
            await replies.stop(reply)
            await settled(budget, replies)
            kept = budget.held(Kind.TEXTS)
            # What is kept has the question, too.
            assert running < kept == store.kept_bytes < running + 100
        assert budget.held(Kind.TEXTS) == kept
        now[0] = 61_000_000
        store.expire()
        assert budget.used == 0


async def test_with_a_shared_store_an_ended_reply_counts_while_it_is_read() -> None:
    class Sharing(SlowStore):
        kept_bytes = property(lambda self: 0, lambda self, value: None)

    budget = MemoryBudget()
    async with serving(Hanging(LARGE), Sharing(keep=60), budget=budget) as replies:
        reply = await replies.start(asking())
        with reply.reading():
            while reply.log.position < len(LARGE) - 1:
                await asyncio.sleep(0)
            await replies.stop(reply)
            await settled(budget, replies)
            assert budget.held(Kind.TEXTS) > len(LARGE)
        assert budget.used == 0


async def test_unread_replies_make_room_and_who_is_unread_longest_is_the_first() -> (
    None
):
    budget = MemoryBudget(350 * KIB)
    async with serving(Hanging("a"), budget=budget) as replies:
        read, first, second = [await replies.start(CONVERSATION) for _ in range(3)]
        with read.reading():
            with first.reading():
                pass  # `second` has now been unread for longer
            third = await replies.start(CONVERSATION)
            assert reasons(read, first, second) == [None, None, "abandoned"]
            fourth = await replies.start(CONVERSATION)
            assert reasons(read, first, third) == [None, "abandoned", None]
            assert second.state == "stopped"
            with third.reading(), fourth.reading(), pytest.raises(Overloaded) as raised:
                await replies.start(CONVERSATION)
            assert raised.value.retry_after == 1
            assert reasons(read, third, fourth) == [None, None, None]


async def test_a_refused_start_leaves_nothing_behind() -> None:
    budget = MemoryBudget(50 * KIB)
    async with serving(Hanging("a"), budget=budget) as replies:
        with pytest.raises(Overloaded):
            await replies.start(CONVERSATION)
        assert (budget.used, replies.known, replies.admission._counted) == (0, 0, 0)
        one = ClientLimits(running=1)
        await replies.start(asking(), client="a", limits=one)
        used = budget.used
        with pytest.raises(TooManyRequests):
            await replies.start(asking(), client="a", limits=one)
        assert budget.used == used


async def test_a_start_that_is_refused_anyhow_costs_nobody_a_reply() -> None:
    budget, one = MemoryBudget(150 * KIB), ClientLimits(running=1)
    async with serving(Hanging("a"), budget=budget) as replies:
        unread = await replies.start(CONVERSATION, client="a", limits=one)
        with pytest.raises(TooManyRequests):
            await replies.start(CONVERSATION, client="a", limits=one)
        replies.admission.draining = True
        with pytest.raises(Draining):
            await replies.start(CONVERSATION, client="b")
        assert unread.end is None


async def test_a_fresh_reply_is_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "FRESH_US", 3_600_000_000)
    budget = MemoryBudget(150 * KIB)
    async with serving(Hanging("a"), budget=budget) as replies:
        reply = await replies.start(CONVERSATION)
        with pytest.raises(Overloaded):
            await replies.start(CONVERSATION)
        assert reply.end is None


async def test_growing_texts_stop_replies_that_nobody_reads() -> None:
    budget, hanging = MemoryBudget(150 * KIB), Hanging(LARGE)
    async with serving(hanging, budget=budget) as replies:
        some = [await replies.start(asking()) for _ in range(2)]
        with some[1].reading():
            while not all(each.log.position >= len(LARGE) - 1 for each in some):
                await asyncio.sleep(0)
            await replies.memory.make_room()
            assert reasons(*some) == [None, None]  # nobody has looked yet
            await replies.memory.sample()
            await replies.memory.make_room()
            assert reasons(*some) == ["abandoned", None]


class ReadElsewhere(Shared):
    """Another node has readers of some replies."""

    def __init__(self, read: set[str]) -> None:
        self.read = read
        self.asked = 0

    async def last_read(self, log: Log) -> int:
        self.asked += 1
        await asyncio.sleep(0)
        return 2**62 if log.reply_id in self.read else 0


async def test_what_another_node_reads_is_not_stopped() -> None:
    cluster = ReadElsewhere(set())
    store = SlowStore(keep=60)
    store.cluster = cluster
    budget = MemoryBudget(250 * KIB)
    async with serving(Hanging("a"), store, budget=budget) as replies:
        one, two = [await replies.start(CONVERSATION) for _ in range(2)]
        cluster.read = {one.id}
        three = await replies.start(CONVERSATION)
        assert reasons(one, two, three) == [None, "abandoned", None]
        cluster.read = {one.id, three.id}
        asked = cluster.asked
        for _ in range(3):
            with pytest.raises(Overloaded):
                await replies.start(CONVERSATION)
        assert cluster.asked - asked == 1  # not again for each start


async def test_a_client_that_leaves_while_room_is_made_costs_no_reply_its_turn() -> (
    None
):
    cluster = ReadElsewhere(set())
    store = SlowStore(keep=60)
    store.cluster = cluster
    budget = MemoryBudget(150 * KIB)
    async with serving(Hanging("a"), store, budget=budget) as replies:
        reply = await replies.start(CONVERSATION)
        leaving = asyncio.create_task(replies.start(CONVERSATION))
        while not cluster.asked:
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        assert reply.end is None
        await replies.memory.sample()
        await replies.start(CONVERSATION)
        assert reasons(reply) == ["abandoned"]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["start", "read", "leave", "stop", "sample", "room"]),
            st.integers(0, 5),
        ),
        max_size=30,
    ),
    st.booleans(),
)
def test_the_count_returns_to_nothing(
    steps: list[tuple[str, int]], shared: bool
) -> None:
    async def answer(messages: Any) -> AsyncIterator[str]:
        yield "é" * len(messages[0]["content"])
        if len(messages[0]["content"]) % 2:
            await asyncio.Event().wait()

    async def run() -> None:
        now = [0]
        budget = MemoryBudget(30 * KIB)
        store = (SlowStore if shared else MemoryStore)(keep=1, now=lambda: now[0])
        async with serving(answer, store, budget=budget, grace=0.001) as replies:
            with ExitStack() as readings:
                known: list[Reply] = []
                for step, number in steps:
                    assert budget.used >= 0
                    reply = known[number % len(known)] if known else None
                    if step == "start":
                        try:
                            history = Message("assistant", "x" * number * 1500)
                            started = await replies.start(
                                Prompt((history, Message("user", "?")))
                            )
                            known.append(started)
                        except Overloaded:
                            assert budget.used + number * 1500 + 3 * KIB > 30 * KIB
                    elif step == "read" and reply is not None:
                        readings.enter_context(reply.reading())
                    elif step == "leave":
                        readings.close()
                    elif step == "stop" and reply is not None:
                        await replies.stop(reply)
                    elif step == "sample":
                        await replies.memory.sample()
                    elif step == "room":
                        await replies.memory.make_room()
                    await asyncio.sleep(0)
            for reply in known:
                await replies.stop(reply)
            await settled(budget, replies)
            assert budget.held(Kind.PROMPTS) == 0
            assert budget.held(Kind.TEXTS) == store.kept_bytes
            assert (store.kept_bytes >= len(known) * RECORD_BYTES) or not known
            now[0] = 2_000_000
            store.expire()
            assert budget.used == 0

    asyncio.run(run())
