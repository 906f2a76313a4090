"""A check that work takes linear time, at whatever speed and load of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value", str, bytes)

MAX_RATIO = 8
"""How many times as long four times as much may take: 4 is linear, 16 quadratic; the rest is noise."""

FLOOR_S = 0.005
"""Seconds that count as no less: below, the ratio is that of allocations and of other processes."""


def assert_linear(
    work: Callable[[Value], object], make: Callable[[int], Value], size: int
) -> None:
    """Raise `AssertionError` if `work` takes far more than four times as long for four times as much.

    `size` has to be so large that quadratic work takes seconds for four times of it.
    """
    large = _seconds(work, make(4 * size))
    if large <= MAX_RATIO * FLOOR_S:
        return
    small = _seconds(work, make(size))
    if large > MAX_RATIO * max(small, FLOOR_S):
        raise AssertionError(
            f"{small * 1e3:.1f} ms, and for four times as much {large * 1e3:.1f} ms"
        )


def _seconds(work: Callable[[Value], object], value: Value) -> float:
    """Return the least CPU time that work on a value took, of one to three times."""
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        work(value)
        best = min(best, time.process_time() - begun)
        if best < MAX_RATIO * FLOOR_S or best > 1:  # there is no doubt
            break
    return best
