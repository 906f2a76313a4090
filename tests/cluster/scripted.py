"""Backends for nodes of many: replies of text and parts that follow from the message alone.

`python -m tests.cluster.scripted` is the command `chatsvc` with these backends besides. The answer's
text is the message, as with `echo`, so nodes that have only that one can carry a reply on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from random import Random

from chatsvc.backends import BACKENDS
from chatsvc.cli import main
from chatsvc.model import (
    Data,
    Extra,
    Finish,
    Message,
    Piece,
    Prompt,
    Reasoning,
    SidePiece,
    Source,
    ToolCall,
    ToolResult,
)

THOUGHTS = ["Let me ", "see. ", "Hm,\r\n", "好", "👩‍👩‍👧", "e", "\u0301", ""]


def side_pieces(chance: Random, number: int) -> list[SidePiece]:
    """Some pieces that belong together; `number` is theirs among those of the script."""
    call = f"call_{number}"
    match chance.randrange(6):
        case 0 | 1:
            thoughts = chance.choices(THOUGHTS, k=chance.randrange(1, 8))
            signature = chance.choice([None, f"sig {number}"])
            return [*map(Reasoning, thoughts), Reasoning("", signature)]
        case 2:
            pieces = [ToolCall(call, "search", '{"q":')]
            pieces += [ToolCall(call, "", chance.choice("xyz")) for _ in range(5)]
            return [*pieces, ToolCall(call, "", "}", {"n": number})]
        case 3:  # two side by side; one has its result at once
            other = f"{call}b"
            pieces = [ToolCall(call, "f"), ToolCall(other, "g")]
            for each in chance.choices([call, other], k=6):
                pieces.append(ToolCall(each, "", chance.choice(["1", "好", '"'])))
            return [*pieces, ToolResult(call, [number, None], chance.random() < 0.5)]
        case 4:
            return [Source(f"https://example.org/{number}", "A", 0, 1)]
        case _:
            return [Data("n", number, "same"), Extra({"n": number})]


def script_of(message: str) -> list[Piece]:
    """The pieces of the reply to a message: the same on every node, whose text is the message.

    In one of four there is nothing but text. In the others the side parts begin anywhere.
    """
    chance = Random(message)
    begin = chance.randrange(int(len(message) * 1.3) + 1)
    script: list[Piece] = []
    position = number = 0
    while position < len(message) or number == 0 <= begin <= position:
        if begin <= position and chance.random() < 0.4:
            number += 1
            script += side_pieces(chance, number)
        size = chance.randrange(1, 8)
        if piece := message[position : position + size]:
            script.append(piece)
        position += size
    called = any(isinstance(piece, ToolCall) for piece in script)
    return [*script, Finish("tool_calls" if called else "stop")]


def behind(script: list[Piece], position: int) -> list[Piece]:
    """What of a script follows so much of its text: a side piece that stands right there does, too."""
    left: list[Piece] = []
    for piece in script:
        if isinstance(piece, str):
            if position < len(piece):
                left.append(piece[position:])
            position = max(0, position - len(piece))
        elif not position:
            left.append(piece)
    return left


class Following:
    """The backend that follows `script_of`, a piece in each `pause` seconds."""

    name = "following"
    pace = 0.0
    lag = 0.5
    pause = 0.05

    def __init__(self, *, resumes: bool) -> None:
        self.resumes = resumes

    def script(self, message: Message) -> list[Piece]:
        """The pieces of the reply to a message."""
        return script_of(message.content)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """What follows the text that is written."""
        script = self.script(prompt.messages[-1])
        for piece in behind(script, len(prompt.written)):
            yield piece
            await asyncio.sleep(self.pause)

    async def open(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to give back."""


STOPPING: dict[str, list[Piece]] = {
    "in its text": ["Hello ", "wor"],
    "in a thought": ["Hello ", Reasoning("Let me see")],
    "in a call": ["Hello ", ToolCall("c1", "search", '{"q":')],
    "in its first thought": [Reasoning("Let me see")],
    "between parts": [Reasoning("Let me see."), "Hello "],
}
"""Where a reply stops for as long as its first node lives, by the message that asks for it."""

REST: list[Piece] = ["ld\n", Reasoning("Well."), "!", Finish()]
"""What follows the text `Hello wor`, where that is carried on."""


class Stopping(Following):
    """The backend that says a beginning and then nothing more; it says the rest where it carries on."""

    name = "stopping"

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """The beginning that the message names, or all that follows what is written."""
        if prompt.written:
            for piece in behind(["Hello wor", *REST], len(prompt.written)):
                yield piece
            return
        for piece in STOPPING[prompt.messages[-1].content]:
            yield piece
        await asyncio.Event().wait()


if __name__ == "__main__":
    # Not at import: the processes of the tests that import this module have the usual names alone.
    BACKENDS["following"] = lambda settings: Following(resumes=True)
    BACKENDS["following-once"] = lambda settings: Following(resumes=False)
    BACKENDS["stopping"] = lambda settings: Stopping(resumes=True)
    raise SystemExit(main())
