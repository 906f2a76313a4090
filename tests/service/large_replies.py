"""A backend whose replies are as large as they may be, each by the name that the message gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from chatsvc import Data, File, Piece, Reasoning, ToolCall

REASONING_BYTES = 256 * 1024
MARKS = 100_000
CALLS = 64
IMAGE_BYTES = 4 * 1024 * 1024


async def answer(messages: list[dict[str, Any]]) -> AsyncIterator[Piece]:
    """The reply that the message names."""
    for count, piece in enumerate(PIECES[messages[-1]["content"]]()):
        yield piece
        if not count % 16:
            await asyncio.sleep(0)  # as a model does, which never says all at once


def _reasoning() -> list[Piece]:
    return [Reasoning("hm, "), *[Reasoning("abcd")] * (REASONING_BYTES // 4 - 1)]


PIECES: dict[str, Any] = {
    "small": lambda: ["Hello."],
    "reasoning": lambda: (Reasoning("abcd") for _ in range(REASONING_BYTES // 4)),
    "marks": lambda: (Data("n", number) for number in range(MARKS)),
    "calls": lambda: (
        ToolCall(f"call_{number}", "f" if not turn else "", "x" * 64)
        for turn in range(64)
        for number in range(CALLS)
    ),
    "endless": lambda: (ToolCall("1", "f", "x" * 64) for _ in iter(int, 1)),
    "image": lambda: [File("image/png", "data:image/png;base64," + "A" * IMAGE_BYTES)],
}
