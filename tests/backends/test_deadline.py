"""A deadline that moves on needs no new timer; one that comes forward does."""

import asyncio
import math

import pytest
import uvloop

from chatsvc.backends.deadline import DeadlineTimer


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_it_is_called_not_before_its_deadline(run: object) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for delay in (0.0, 0.0004, 0.0015, 0.01):
            called = loop.create_future()
            timer = DeadlineTimer(loop, lambda c=called: c.set_result(loop.time()))  # type: ignore[misc]
            deadline = loop.time() + delay
            timer.set(deadline)
            assert timer.at == deadline
            assert await asyncio.wait_for(called, 10) >= deadline
            assert timer.at == math.inf

    run(main())  # type: ignore[operator]


async def test_it_can_be_set_anew_and_cancelled() -> None:
    loop = asyncio.get_running_loop()
    calls: list[float] = []
    done = loop.create_future()
    timer = DeadlineTimer(loop, lambda: calls.append(timer.at) or done.set_result(None))  # type: ignore[func-returns-value]
    timer.set(loop.time() + 999)
    timer.set(loop.time() + 0.001)
    await asyncio.wait_for(done, 10)
    assert calls == [math.inf]
    timer.set(loop.time())
    timer.cancel()
    assert timer.at == math.inf
    await asyncio.sleep(0.01)
    assert len(calls) == 1
