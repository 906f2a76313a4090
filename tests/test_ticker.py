"""The ticker: when it wakes, in a task and driven. Time is a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.ticker import SLOT, Driven, Ticker, Waiter, monotonic

from .hand import Hand, hand_of_time, reach, turns


@pytest.fixture
def hand() -> Iterator[Hand]:
    with hand_of_time() as hand:
        yield hand


Modes = Callable[[Ticker, Any], "asyncio.Future[None]"]


def driven(ticker: Ticker, coroutine: Any) -> asyncio.Future[None]:
    return ticker.start(coroutine).done


def task(ticker: Ticker, coroutine: Any) -> asyncio.Future[None]:
    return asyncio.create_task(coroutine)


both = pytest.mark.parametrize("run", [driven, task])


@both
async def test_waiters_are_woken_in_the_order_of_their_time(
    run: Modes, hand: Hand
) -> None:
    ticker, seen = Ticker(), list[tuple[int, int]]()
    start = hand.now

    async def wait(name: int, times: list[int]) -> None:
        waiter = Waiter(ticker)
        for when in times:
            await waiter.until(start + when)
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
    when = hand.now + 3 * SLOT + 17

    async def wait() -> None:
        await Waiter(ticker).until(when)

    end = run(ticker, wait())
    await turns()
    await reach(ticker, hand, when)
    assert not end.done()
    await reach(ticker, hand, when + SLOT)
    assert end.done()
    end.result()


@both
async def test_a_waiter_without_a_slot_waits_until_it_is_woken(
    run: Modes, hand: Hand
) -> None:
    ticker = Ticker()
    waiter = Waiter(ticker)

    async def wait() -> None:
        await waiter

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
    waiter = Waiter(ticker)
    start = hand.now

    async def wait() -> None:
        await waiter.until(start + 2 * SLOT)
        seen.append(ticker.now - start)
        await waiter.until(start + 9 * SLOT)
        seen.append(ticker.now - start)

    end = run(ticker, wait())
    await turns()
    hand.now += SLOT
    ticker.wake(waiter)
    ticker.wake(waiter)
    await turns()
    assert seen == [SLOT]
    await reach(ticker, hand, start + 5 * SLOT)  # the slot that it has left
    assert seen == [SLOT]
    await reach(ticker, hand, start + 9 * SLOT)
    assert seen == [SLOT, 9 * SLOT]
    await end


@both
async def test_who_is_woken_sees_the_time_of_the_turn(run: Modes, hand: Hand) -> None:
    ticker = Ticker()
    waiter = Waiter(ticker)
    seen: list[int] = []

    async def wait() -> None:
        waiter.slot = -1
        await waiter
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

    async def wait() -> None:
        for number in range(3):
            waiter = Waiter(ticker)
            await waiter.until(start + (number + 1) * 10_000)
            waiter.close()
            woken.append(number)

    end = run(ticker, wait())
    for when in range(0, 50_000, 5_000):
        await reach(ticker, hand, start + when)
    await end
    assert woken == [0, 1, 2]


async def test_a_closed_waiter_is_never_woken(hand: Hand) -> None:
    ticker = Ticker()
    waiter = Waiter(ticker)

    async def wait() -> None:
        await waiter.until(hand.now + SLOT)
        raise AssertionError("woken")

    end = ticker.start(wait()).done
    ticker.wake(waiter)
    waiter.close()
    ticker.wake(waiter)
    await reach(ticker, hand, hand.now + 10 * SLOT)
    assert not end.done()


class Mistake(Exception):
    """What a driven coroutine raises here."""


async def _raises() -> None:
    raise Mistake


async def _cancels() -> None:
    raise asyncio.CancelledError


async def _sleeps() -> None:
    await asyncio.sleep(0)


async def _waits_for_another() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (_raises, Mistake),
        (_cancels, asyncio.CancelledError),
        (_sleeps, RuntimeError),
        (_waits_for_another, RuntimeError),
    ],
)
async def test_one_that_goes_wrong_harms_nobody(
    mistake: Callable[[], Awaitable[None]], told: type[BaseException], hand: Hand
) -> None:
    ticker, woken = Ticker(), list[int]()
    when = hand.now + SLOT

    async def wait(name: int) -> None:
        await Waiter(ticker).until(when)
        woken.append(name)

    async def wrong() -> None:
        await Waiter(ticker).until(when)
        await mistake()

    before = ticker.start(wait(1))
    bad = ticker.start(wrong())
    after = ticker.start(wait(2))
    later = asyncio.create_task(wait(3))
    await turns()
    await reach(ticker, hand, when + SLOT)
    assert woken == [1, 2, 3]
    await asyncio.gather(before.done, after.done, later)
    with pytest.raises(told):
        await bad.done
    # Whoever waits in a task from now on is not taken for a driven one.
    assert not ticker.stepping
    again = asyncio.create_task(wait(4))
    await turns()
    await reach(ticker, hand, when + 2 * SLOT)
    await again


async def test_a_callback_that_fails_is_told_and_harms_nobody(hand: Hand) -> None:
    ticker, woken = Ticker(), list[int]()
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, told_: told.append(told_)
    )

    def fail(_: None) -> None:
        raise Mistake

    for send in (fail, lambda _: woken.append(1)):
        waiter = Waiter(ticker).until(hand.now + SLOT)
        waiter.send = send
        ticker.enter(waiter)
    await reach(ticker, hand, hand.now + SLOT)
    assert woken == [1]
    assert [type(one["exception"]) for one in told] == [Mistake]


async def test_drive_gives_the_end_of_the_coroutine(hand: Hand) -> None:
    ticker = Ticker()

    async def short() -> None:
        return None

    await ticker.drive(short())
    with pytest.raises(Mistake):
        await ticker.drive(_raises())


async def test_cancelling_drive_closes_the_coroutine_and_what_it_iterates(
    hand: Hand,
) -> None:
    ticker, closed = Ticker(), list[str]()

    async def numbers() -> Any:
        try:
            while True:
                await Waiter(ticker)
                yield 1
        finally:
            closed.append("generator")

    async def wait() -> None:
        try:
            async for _ in numbers():
                pass
        finally:
            closed.append("coroutine")

    outer = asyncio.create_task(ticker.drive(wait()))
    await turns()
    outer.cancel()
    await turns()
    assert outer.cancelled()
    assert closed == ["generator", "coroutine"]


async def test_a_coroutine_that_ends_as_it_is_cancelled_has_ended(hand: Hand) -> None:
    ticker = Ticker()
    waiter = Waiter(ticker)

    async def wait() -> None:
        await waiter

    outer = asyncio.create_task(ticker.drive(wait()))
    await turns()
    ticker.wake(waiter)  # it will be stepped to its end
    outer.cancel()  # before the task hears of this
    with pytest.raises(asyncio.CancelledError):
        await outer


async def test_a_waiter_can_be_driven_after_a_task_has_waited_with_it(
    hand: Hand,
) -> None:
    ticker, seen = Ticker(), list[int]()
    waiter = Waiter(ticker)

    async def wait() -> None:
        await waiter.until(hand.now + SLOT)
        seen.append(hand.now)

    waiting = asyncio.create_task(wait())
    await turns()
    waiting.cancel()
    await turns()
    end = ticker.start(wait()).done
    await reach(ticker, hand, hand.now + SLOT)
    await asyncio.wait_for(end, 10)
    assert seen == [hand.now]


async def test_a_driven_coroutine_may_start_another(hand: Hand) -> None:
    ticker, seen = Ticker(), list[str]()
    inside: list[Driven] = []

    async def inner() -> None:
        seen.append("inner")
        await Waiter(ticker).until(hand.now + SLOT)
        seen.append("inner again")

    async def outer() -> None:
        inside.append(ticker.start(inner()))
        seen.append("outer")
        await Waiter(ticker).until(hand.now + SLOT)
        seen.append("outer again")

    end = ticker.start(outer())
    assert seen == ["inner", "outer"]
    await reach(ticker, hand, hand.now + SLOT)
    await end.done
    await inside[0].done
    assert sorted(seen[2:]) == ["inner again", "outer again"]


async def test_a_late_hand_lets_the_loop_run_between_two_slots(hand: Hand) -> None:
    ticker, seen = Ticker(), list[str]()
    start = hand.now

    async def wait(name: str, when: int) -> None:
        await Waiter(ticker).until(when)
        seen.append(name)

    ends = [
        ticker.start(wait(name, start + (i + 1) * SLOT)).done
        for i, name in enumerate("abc")
    ]
    hand.now += 100 * SLOT

    async def other() -> None:
        for _ in range(3):
            seen.append("-")
            await asyncio.sleep(0)

    others = asyncio.create_task(other())
    ticker._run()  # as its timer would, late
    await asyncio.gather(others, *ends)
    assert "".join(seen) == "a-b-c-"


async def test_by_the_real_clock_nobody_is_early() -> None:
    ticker = Ticker()
    late: list[int] = []

    async def wait(i: int) -> None:
        waiter = Waiter(ticker)
        when = monotonic()
        for _ in range(3):
            when += 3_000 + 700 * i
            await waiter.until(when)
            late.append(monotonic() - when)

    await asyncio.gather(
        *(asyncio.create_task(wait(i)) for i in range(10)),
        *(ticker.drive(wait(i)) for i in range(10)),
    )
    assert len(late) == 60
    assert min(late) >= 0


steps = st.lists(
    st.tuples(st.sampled_from(["until", "idle"]), st.integers(0, 12 * SLOT)), max_size=6
)
outside = st.lists(
    st.tuples(st.integers(0, 3 * SLOT), st.none() | st.integers(0, 3)), max_size=12
)


@given(st.lists(steps, min_size=1, max_size=4), outside)
def test_a_task_and_a_driven_coroutine_see_the_same(
    plans: list[list[tuple[str, int]]], outside: list[tuple[int, int | None]]
) -> None:
    """Any plans of waits, any moves of the clock, any wake-ups: one history."""

    async def history(run: Modes, hand: Hand) -> list[tuple[int, int, int]]:
        ticker = Ticker()
        start = hand.now
        waiters = [Waiter(ticker) for _ in plans]
        seen: list[tuple[int, int, int]] = []

        async def follow(name: int) -> None:
            waiter = waiters[name]
            for step, (kind, when) in enumerate(plans[name]):
                if kind == "idle":
                    waiter.slot = -1
                    await waiter
                else:
                    while ticker.now < start + when:
                        await waiter.until(start + when)
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
        one = asyncio.run(history(driven, hand))
    with hand_of_time() as hand:
        other = asyncio.run(history(task, hand))
    assert one == other
