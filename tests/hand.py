"""A clock that stands still until a test moves it, for the ticker and what waits in the ticker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import chatsvc.ticker
from chatsvc.ticker import SLOT_US, Ticker


class Hand:
    """A replacement for `chatsvc.ticker.monotonic`: a call returns `now`, in microseconds."""

    def __init__(self) -> None:
        self.now = 1_000_000_000

    def __call__(self) -> int:
        return self.now


@contextmanager
def hand_of_time() -> Iterator[Hand]:
    """Replace the ticker's monotonic clock until the block ends; yield the replacement."""
    with pytest.MonkeyPatch.context() as patch:
        hand = Hand()
        patch.setattr(chatsvc.ticker, "monotonic", hand)
        yield hand


async def turns(count: int = 3) -> None:
    """Let the event loop run its ready callbacks `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def reach(ticker: Ticker, hand: Hand, when: int) -> None:
    """Move the clock to `when`, and run the ticker for each slot on the way, as its timer would."""
    hand.now = when
    while ticker._order and ticker._order[0] * SLOT_US <= when:
        ticker._run()
        await turns()
    await turns()
