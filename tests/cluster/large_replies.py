"""A backend whose replies are as large as they may be, each by the name that the message gives.

With the default limits, but for `MAX_PARTS`, which these need. What is left of such a reply is more than
what a node's memory varies by, and the smaller they are, the sooner all of them are written and read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import repeat
from typing import Any

from chatsvc import Data, File, Piece, Reasoning, ToolCall

MAX_PARTS = 4 * 1024 * 1024
REASONING_BYTES = 64 * 1024
MARKS = 25_000
CALLS = 64
IMAGE_BYTES = 2 * 1024 * 1024
ENDLESS_PIECE_BYTES = 1024
PIECES_PER_TURN = 16

REPLIES: dict[str, Callable[[], Iterable[Piece]]] = {
    "small": lambda: ["Hello."],
    "calls": lambda: (
        ToolCall(f"call_{number}", "f" if not turn else "", "x" * 64)
        for turn in range(64)
        for number in range(CALLS)
    ),
    "reasoning": lambda: repeat(Reasoning("abcd"), REASONING_BYTES // 4),
    "marks": lambda: (Data("n", number) for number in range(MARKS)),
    "endless": lambda: repeat(ToolCall("call_1", "f", "x" * ENDLESS_PIECE_BYTES)),
    "image": lambda: [File("image/png", "data:image/png;base64," + "A" * IMAGE_BYTES)],
}
"""The pieces of each reply, by its name."""

SMALL = ("calls", "reasoning")
"""Those that are large by the number of their pieces, not by what they take."""


async def answer(messages: list[dict[str, Any]]) -> AsyncIterator[Piece]:
    """The reply that the message names."""
    for number, piece in enumerate(REPLIES[messages[-1]["content"]]()):
        yield piece
        if not number % PIECES_PER_TURN:
            await asyncio.sleep(0)  # as a model does, which never says all at once
