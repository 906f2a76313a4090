"""A model's text that is hard to cut into characters, beside a reply that is easy: nobody waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.replies.reply import Reply
from chatsvc.segment import fitting

from ..adversarial import CORPUS
from ..stalls import without_stall
from ..test_graphemes import clean, defined, hard_texts, texts
from .serving import WAIT, asking, read_all, serving

pytestmark = pytest.mark.sampled

LENGTH = 40_000
"""Code points: of flags, 160 KB of UTF-8."""

PACE_S = 0.02

FACTOR = 5
"""How many times the gap of an innocent reply alone its gap beside the hard text may be."""

FLOOR_S = 0.1
"""The gap that is always good, in processor time: alone there is next to none."""


class Gaps:
    """The longest time between two runs that a reader of a reply is given.

    It is processor time of this thread: what is computed in between is what the reader waits for,
    unless another process has the processor, which is no fault of the service.
    """

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self, reply: Reply) -> None:
        with reply.reading():
            async with aclosing(reply.characters()) as runs:
                before = time.thread_time()
                async for _ in runs:
                    now = time.thread_time()
                    self.longest = max(self.longest, now - before)
                    before = now

    def reset(self) -> float:
        """Return the longest so far, and begin anew."""
        longest, self.longest = self.longest, 0.0
        return longest


@pytest.mark.parametrize("size", [1, 7, LENGTH])
@pytest.mark.parametrize(
    "name", ["flags", "marks", "joined pictographs", "conjuncts", "GCB=LV", "all mixed"]
)
async def test_a_text_that_is_hard_to_cut_holds_nobody_up(name: str, size: int) -> None:
    text = CORPUS[name](LENGTH)
    over = asyncio.Event()

    async def answer(messages: list[dict[str, str]]) -> AsyncIterator[str]:
        if messages[-1]["content"] == "hard":
            for begin in range(0, LENGTH, size):
                yield text[begin : begin + size]
        while messages[-1]["content"] == "easy" and not over.is_set():
            yield "a"
            await asyncio.sleep(PACE_S)

    async with serving(answer, pace=PACE_S) as replies:
        gaps, alone = Gaps(), 0.0
        watching = asyncio.create_task(gaps.watch(await replies.start(asking("easy"))))

        async def attack() -> tuple[str, str, str]:
            nonlocal alone
            await asyncio.sleep(20 * PACE_S)
            gaps.reset()  # `without_stall` has made it wait, for the collector
            await asyncio.sleep(20 * PACE_S)
            alone = gaps.reset()
            return await read_all(await replies.start(asking("hard")))

        assert await without_stall(attack()) == (clean(text), "done", "stop")
        beside = gaps.reset()
        over.set()
        await asyncio.wait_for(watching, WAIT)
    assert beside <= max(FLOOR_S, FACTOR * alone)


@given(texts | hard_texts, st.integers(-1, 300))
def test_what_has_room_is_as_many_whole_characters_as_can_be(
    text: str, room: int
) -> None:
    kept, size = "", 0
    for character in defined(clean(text)):
        size += len(character.encode())
        if size > room:
            break
        kept += character
    assert fitting(clean(text), room) == kept
