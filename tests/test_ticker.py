"""The ticker: when it calls whom, where they stand and in a task. Time is a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.ticker import IDLE, SLOT_US, WAITERS_PER_TURN, Ticker, Waiter, monotonic

from .hand import Hand, hand_of_time, reach, turns


@pytest.fixture
def hand() -> Iterator[Hand]:
    with hand_of_time() as hand:
        yield hand


Plan = Iterator["Called"]
"""Gives what is to be waited for next; goes on when that wait has ended."""

Modes = Callable[[Ticker, Plan], "asyncio.Future[None]"]


class Called(Waiter):
    """Goes on with `go_on` when it is called, if that is set."""

    def __init__(self, ticker: Ticker) -> None:
        super().__init__(ticker)
        self.go_on: Callable[[], None] | None = None

    def call(self) -> None:
        if self.go_on is None:
            super().call()
        else:
            self.go_on()


def called(ticker: Ticker, plan: Plan) -> asyncio.Future[None]:
    """Follow a plan where it stands in the ticker."""
    end = asyncio.get_running_loop().create_future()

    def go_on() -> None:
        waiter = next(plan, None)
        if waiter is None:
            end.set_result(None)
        elif waiter.go_on is None:  # else the ticker enters it
            waiter.go_on = go_on
            ticker.enter(waiter)

    ticker.refresh()
    go_on()
    return end


def task(ticker: Ticker, plan: Plan) -> asyncio.Future[None]:
    """Follow a plan in a task."""

    async def follow() -> None:
        ticker.refresh()
        for waiter in plan:
            await waiter

    return asyncio.create_task(follow())


both = pytest.mark.parametrize("run", [called, task])


@both
async def test_waiters_are_woken_in_the_order_of_their_time(
    run: Modes, hand: Hand
) -> None:
    ticker, seen = Ticker(), list[tuple[int, int]]()
    start = hand.now

    def wait(name: int, times: list[int]) -> Plan:
        waiter = Called(ticker)
        for when in times:
            yield waiter.until(start + when)
            seen.append((name, when))
            assert ticker.now >= start + when

    ends = [run(ticker, wait(i, [9_000 * i + 1, 70_000])) for i in (3, 1, 2)]
    await turns()
    for when in range(0, 100_000, 1_000):
        await reach(ticker, hand, start + when)
        due = {(n, t) for n, t in seen}
        assert all(t <= when for _, t in due)
    await asyncio.gather(*ends)
    assert seen[:3] == [(1, 9_001), (2, 18_001), (3, 27_001)]
    assert sorted(seen[3:]) == [(1, 70_000), (2, 70_000), (3, 70_000)]


@both
async def test_nobody_is_woken_before_the_time_nor_a_slot_after(
    run: Modes, hand: Hand
) -> None:
    ticker = Ticker()
    when = hand.now + 3 * SLOT_US + 17

    def wait() -> Plan:
        yield Called(ticker).until(when)

    end = run(ticker, wait())
    await turns()
    await reach(ticker, hand, when)
    assert not end.done()
    await reach(ticker, hand, when + SLOT_US)
    assert end.done()
    end.result()


@both
async def test_a_waiter_without_a_slot_waits_until_it_is_woken(
    run: Modes, hand: Hand
) -> None:
    ticker = Ticker()
    waiter = Called(ticker)

    def wait() -> Plan:
        yield waiter

    end = run(ticker, wait())
    await turns()
    await reach(ticker, hand, hand.now + 10**9)
    assert not end.done()
    ticker.wake(waiter)
    assert not end.done()  # in a turn of its own
    await turns()
    assert end.done()


@both
async def test_waking_early_ends_a_wait_once(run: Modes, hand: Hand) -> None:
    ticker, seen = Ticker(), list[int]()
    waiter = Called(ticker)
    start = hand.now

    def wait() -> Plan:
        yield waiter.until(start + 2 * SLOT_US)
        seen.append(ticker.now - start)
        yield waiter.until(start + 9 * SLOT_US)
        seen.append(ticker.now - start)

    end = run(ticker, wait())
    await turns()
    hand.now += SLOT_US
    ticker.wake(waiter)
    ticker.wake(waiter)
    await turns()
    assert seen == [SLOT_US]
    await reach(ticker, hand, start + 5 * SLOT_US)  # the slot that it has left
    assert seen == [SLOT_US]
    await reach(ticker, hand, start + 9 * SLOT_US)
    assert seen == [SLOT_US, 9 * SLOT_US]
    await end


@both
async def test_who_is_woken_sees_the_time_of_the_turn(run: Modes, hand: Hand) -> None:
    ticker = Ticker()
    waiter = Called(ticker)
    seen: list[int] = []

    def wait() -> Plan:
        waiter.slot = IDLE
        yield waiter
        seen.append(ticker.now)

    end = run(ticker, wait())
    await turns()
    hand.now += 123_456
    ticker.wake(waiter)
    await turns()
    assert seen == [hand.now]
    await end


@both
async def test_another_waiter_may_follow_a_closed_one(run: Modes, hand: Hand) -> None:
    ticker, woken = Ticker(), list[int]()
    start = hand.now

    def wait() -> Plan:
        for number in range(3):
            waiter = Called(ticker)
            yield waiter.until(start + (number + 1) * 10_000)
            waiter.close()
            woken.append(number)

    end = run(ticker, wait())
    for when in range(0, 50_000, 5_000):
        await reach(ticker, hand, start + when)
    await end
    assert woken == [0, 1, 2]


async def test_a_closed_waiter_is_never_woken(hand: Hand) -> None:
    ticker = Ticker()
    waiter = Called(ticker)

    def wait() -> Plan:
        yield waiter.until(hand.now + SLOT_US)
        raise AssertionError("woken")

    end = called(ticker, wait())
    ticker.wake(waiter)
    waiter.close()
    ticker.wake(waiter)
    await reach(ticker, hand, hand.now + 10 * SLOT_US)
    assert not end.done()


class Mistake(Exception):
    """What a callback raises here."""


async def test_a_callback_that_fails_is_reported_and_harms_no_other(hand: Hand) -> None:
    ticker, woken = Ticker(), list[int]()
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: reported.append(context)
    )
    when = hand.now + SLOT_US

    def wait(name: int) -> Plan:
        yield Called(ticker).until(when)
        woken.append(name)

    def fail() -> None:
        raise Mistake

    before = called(ticker, wait(1))
    wrong = Called(ticker).until(when)
    wrong.go_on = fail
    ticker.enter(wrong)
    after = called(ticker, wait(2))
    await reach(ticker, hand, when + SLOT_US)
    await asyncio.gather(before, after)
    assert woken == [1, 2]
    assert [type(one["exception"]) for one in reported] == [Mistake]
    ticker.wake(wrong)  # it waits for nothing, and can be woken again
    await turns()
    assert len(reported) == 2


async def test_a_callback_that_asks_for_nothing_is_not_called_again(hand: Hand) -> None:
    ticker, woken = Ticker(), list[int]()
    waiter = Called(ticker).until(hand.now + SLOT_US)
    waiter.go_on = lambda: woken.append(hand.now)
    ticker.enter(waiter)
    await reach(ticker, hand, hand.now + SLOT_US)
    await reach(ticker, hand, hand.now + 100 * SLOT_US)
    assert len(woken) == 1
    assert waiter.slot == IDLE


async def test_who_is_woken_in_its_own_call_is_called_once_more(hand: Hand) -> None:
    ticker, woken = Ticker(), list[int]()
    waiter = Called(ticker).until(hand.now + SLOT_US)

    def again() -> None:
        woken.append(hand.now)
        if len(woken) == 1:
            ticker.wake(waiter)

    waiter.go_on = again
    ticker.enter(waiter)
    await reach(ticker, hand, hand.now + SLOT_US)
    assert len(woken) == 2


async def test_a_cancelled_wait_leaves_nothing_to_call(hand: Hand) -> None:
    ticker, seen = Ticker(), list[int]()
    waiter = Called(ticker)

    def wait() -> Plan:
        yield waiter.until(hand.now + SLOT_US)
        seen.append(hand.now)

    waiting = task(ticker, wait())
    await turns()
    waiting.cancel()
    await turns()
    ticker.wake(waiter)
    await reach(ticker, hand, hand.now + 2 * SLOT_US)
    assert not seen
    end = called(ticker, wait())  # and it can be used again
    await reach(ticker, hand, hand.now + SLOT_US)
    await asyncio.wait_for(end, 10)
    assert seen == [hand.now]


async def test_a_late_hand_lets_the_loop_run_between_two_slots(hand: Hand) -> None:
    ticker, seen = Ticker(), list[str]()
    start = hand.now

    def wait(name: str, when: int) -> Plan:
        yield Called(ticker).until(when)
        seen.append(name)

    ends = [
        called(ticker, wait(name, start + (i + 1) * SLOT_US))
        for i, name in enumerate("abc")
    ]
    hand.now += 100 * SLOT_US

    async def other() -> None:
        for _ in range(3):
            seen.append("-")
            await asyncio.sleep(0)

    others = asyncio.create_task(other())
    ticker._run()  # as its timer would, late
    await asyncio.gather(others, *ends)
    assert "".join(seen) == "a-b-c-"


@pytest.mark.parametrize("woken", [False, True])
async def test_a_crowd_lets_the_loop_run_in_between(hand: Hand, woken: bool) -> None:
    ticker, seen = Ticker(), list[str]()
    crowd = [
        Called(ticker).until(hand.now + SLOT_US)
        for _ in range(2 * WAITERS_PER_TURN + 1)
    ]
    for waiter in crowd:
        waiter.go_on = lambda: seen.append("x")
        ticker.enter(waiter)
    if woken:
        for waiter in crowd:
            ticker.wake(waiter)
    else:
        hand.now += SLOT_US
        ticker._run()  # as its timer would
    for _ in range(4):
        seen.append("-")
        await asyncio.sleep(0)
    turns_taken = [len(turn) for turn in "".join(seen).split("-")]
    assert [size for size in turns_taken if size] == [
        WAITERS_PER_TURN,
        WAITERS_PER_TURN,
        1,
    ]


async def test_by_the_real_clock_nobody_is_early() -> None:
    ticker = Ticker()
    late: list[int] = []

    def wait(i: int) -> Plan:
        waiter = Called(ticker)
        when = monotonic()
        for _ in range(3):
            when += 3_000 + 700 * i
            yield waiter.until(when)
            late.append(monotonic() - when)

    await asyncio.gather(
        *(run(ticker, wait(i)) for run in (called, task) for i in range(10))
    )
    assert len(late) == 60
    assert min(late) >= 0


steps = st.lists(
    st.tuples(st.sampled_from(["until", "idle"]), st.integers(0, 12 * SLOT_US)),
    max_size=6,
)
outside = st.lists(
    st.tuples(st.integers(0, 3 * SLOT_US), st.none() | st.integers(0, 3)), max_size=12
)


@given(st.lists(steps, min_size=1, max_size=4), outside)
def test_a_task_and_a_callback_see_the_same(
    plans: list[list[tuple[str, int]]], outside: list[tuple[int, int | None]]
) -> None:
    """Any plans of waits, any moves of the clock, any wake-ups: one history."""

    async def history(run: Modes, hand: Hand) -> list[tuple[int, int, int]]:
        ticker = Ticker()
        start = hand.now
        waiters = [Called(ticker) for _ in plans]
        seen: list[tuple[int, int, int]] = []

        def follow(name: int) -> Plan:
            waiter = waiters[name]
            for step, (kind, when) in enumerate(plans[name]):
                if kind == "idle":
                    waiter.slot = IDLE
                    yield waiter
                else:
                    while ticker.now < start + when:
                        yield waiter.until(start + when)
                seen.append((name, step, ticker.now - start))

        ends = [run(ticker, follow(i)) for i in range(len(plans))]
        await turns()
        for forward, woken in outside:
            await reach(ticker, hand, hand.now + forward)
            if woken is not None and woken < len(waiters):
                ticker.wake(waiters[woken])
                await turns()
        for waiter in waiters:
            waiter.close()
        for end in ends:
            end.cancel()
        return sorted(seen, key=lambda one: (one[2], one[0], one[1]))

    with hand_of_time() as hand:
        one = asyncio.run(history(called, hand))
    with hand_of_time() as hand:
        other = asyncio.run(history(task, hand))
    assert one == other
