"""The pieces of an answer that calls of tools become: `CallDelta` in, `ToolCall` out. Pure."""

from __future__ import annotations

from chatsvc.backends.chunk_values import CallDelta
from chatsvc.backends.extras import keepable, keepable_members
from chatsvc.model import ToolCall


def call_piece(call: CallDelta) -> ToolCall:
    """Return the piece that a chunk's part of a call is; one with a `custom` is of that type."""
    kind, name, text = call.type, None, None
    if call.custom is not None:
        kind, name, text = "custom", call.custom.name, call.custom.input
    elif call.function is not None:
        name, text = call.function.name, call.function.arguments
    return ToolCall(
        call.id or "",
        name or "",
        text or "",
        keepable(call.extra_content),
        call.index,
        kind or "function",
        keepable_members(call.others or {}),
    )
