"""A backend whose replies have parts beside the text of the last message, for services in processes of their own."""

from collections.abc import AsyncIterator

from chatsvc.model import Piece, Reasoning, Source, ToolCall, ToolResult


async def answer(messages: list[dict[str, str]]) -> AsyncIterator[Piece]:
    """Yield a thought and a call in the middle of the text, and a source behind it."""
    text = messages[-1]["content"]
    yield Reasoning("想")
    yield Reasoning("👍.")
    yield text[:3]
    yield ToolCall("c", "f", '{"a"')
    yield ToolCall("c", arguments=":1}")
    yield ToolResult("c", [1])
    yield text[3:]
    yield Source("https://one.example/")
