"""Whether time is linear in the length of what is worked on."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import TypeVar

LEAST_S = 0.005
"""The processor time that the shorter of two runs has to take, so that it is more than noise."""

LONGEST = 1 << 17
"""The length up to which a run may be too short: what is faster than that is fast enough."""

TIMES = 4
"""How many times as long the longer of two runs is."""

RATIO = 8.0
"""How many times as long it may take: linear time takes 4 times as long, quadratic time 16 times."""

Work = Callable[[], object]


def assert_linear(prepare: Callable[[int], Work]) -> None:
    """Fail if the work that `prepare` returns takes time that is not linear in its length.

    `prepare` is called with a length and may take its time; only what it returns is measured, again
    and again, in processor time of this thread, for other processes slow down the wall's.
    """
    length = 256
    while (taken := _seconds(prepare(length))) < LEAST_S:
        if length >= LONGEST:
            return
        length *= 2 if taken > LEAST_S / 4 else 4
    short, long = prepare(length), prepare(TIMES * length)
    ratios = []
    for _ in range(2):
        ratios.append(min(map(_seconds, [long] * 2)) / min(map(_seconds, [short] * 4)))
        if ratios[-1] <= RATIO:
            return
    raise AssertionError(
        f"{TIMES} times {length} take {ratios[0]:.1f} and {ratios[1]:.1f} times as long"
    )


def _seconds(work: Work) -> float:
    enabled = gc.isenabled()
    gc.disable()
    try:
        begun = time.thread_time()
        work()
        return time.thread_time() - begun
    finally:
        if enabled:
            gc.enable()


Value = TypeVar("Value", str, bytes)


def assert_linear_at(
    work: Callable[[Value], object], make: Callable[[int], Value], size: int
) -> None:
    """Fail if `work` takes far more than four times as long for `make(4 * size)` as for `make(size)`.

    `size` has to be so large that quadratic work takes seconds for four times of it.
    """
    large, small = make(TIMES * size), make(size)
    taken = min(_seconds(lambda: work(large)) for _ in range(2))
    allowed = RATIO * max(LEAST_S, min(_seconds(lambda: work(small)) for _ in range(2)))
    assert taken <= allowed, f"{taken * 1e3:.1f} ms, may be {allowed * 1e3:.1f}"
