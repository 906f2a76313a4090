"""A service for pages of the AI SDK: its answer goes by the question, in all kinds of parts."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chatsvc.model import (
    Context,
    Data,
    File,
    Finish,
    Piece,
    Reasoning,
    Source,
    ToolCall,
    ToolResult,
)
from chatsvc.problems import BackendFailed
from chatsvc.settings import Settings

from .running import Inside, inside

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
PIXEL = "data:image/png;base64,AA=="


class Answers:
    """The backend's function. `asked` has the messages of each call, `closed` the questions that were left hanging.

    A question that begins with `hold` waits in the middle of its answer for another request,
    `open` and the whole question.
    """

    def __init__(self) -> None:
        self.asked: list[list[dict[str, Any]]] = []
        self.closed: list[str] = []
        self._gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def __call__(
        self, messages: list[dict[str, Any]], context: Context
    ) -> AsyncIterator[Piece]:
        self.asked.append(messages)
        users = [m["content"] for m in messages if m["role"] == "user"]
        question = users[-1] if isinstance(users[-1], str) else "files"
        last = messages[-1]
        if question.startswith("open "):
            self._gates[question.removeprefix("open ")].set()
            return
        kind = question.split()[1] if question.startswith("hold ") else question
        gate = self._gates[question]
        if last["role"] == "tool" and kind != "hang":
            if kind == "second":
                yield "It "
                await gate.wait()
            yield f"It is {last['content']}"
            return
        async for piece in self._pieces(kind, gate, question, messages, context):
            yield piece

    async def _pieces(
        self,
        kind: str,
        gate: asyncio.Event,
        question: str,
        messages: list[dict[str, Any]],
        context: Context,
    ) -> AsyncIterator[Piece]:
        held = gate.wait if question.startswith("hold ") else _at_once
        match kind:
            case "text":
                yield "Hel."
                await held()
                yield "lo"
            case "think" | "thought":
                yield Reasoning("Let ")
                await held()
                yield Reasoning("me see.")
                yield Reasoning(signature="sig")
                yield "So."
            case "call" | "second":
                yield "Look. "
                yield ToolCall("1", "weather", '{"city":"Par')
                if kind == "call":
                    await held()
                yield ToolCall("1", "", 'is"}', {"google": {"sign": "x"}})
                yield Finish("tool_calls")
                return
            case "serve":
                yield "Wait. "
                yield ToolCall("s", "search", '{"q":"x"}')
                yield ToolResult("s", ["r"])
                yield "Found."
            case "broken":
                yield ToolCall("1", "weather", '{"city"')
                yield Finish("tool_calls")
                return
            case "rich":
                yield "See "
                yield Source("https://example.org/", "An example", 0, 3)
                yield Data("status", "busy", "1")
                yield "this:"
                yield File("image/png", PIXEL, "dot.png")
                yield Data("status", "idle", "1")
                yield "end."
            case "fail":
                yield "cut."
                raise BackendFailed("The model has had enough.")
            case "hang":
                yield "cut."
                try:
                    await asyncio.Event().wait()
                finally:
                    self.closed.append(question)
            case "options":
                yield repr(context.options)
            case "files":
                yield repr(messages[-1]["content"])
            case _:
                yield question
        yield Finish("stop", USAGE)


async def _at_once() -> None:
    pass


@asynccontextmanager
async def pages_service() -> AsyncIterator[tuple[Inside, Answers]]:
    """Run the service; every page must have left it in the end."""
    answers = Answers()
    async with inside(Settings(pace=0, grace=60), backend=answers) as chat:
        yield chat, answers
        await chat.nothing_left()
