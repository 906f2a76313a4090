"""The calls of tools in a UI message stream, and the chunk that gives one to the page whole.

`ui_parts` says when that comes (PROTOCOL.md section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chatsvc.replies.calls import CALL_TYPE, joined_members
from chatsvc.transports.json_line import json_line
from chatsvc.transports.sse import json_event

METADATA = "chatsvc"
"""The name under which `providerMetadata` has what must come back unchanged."""

NOT_JSON = "The arguments of the call are not JSON."
"""The error text of a call whose arguments can't be read."""

CUT_OFF = "The reply ended within the call."
"""The error text of a call that was not written to its end."""

_syntax = msgspec.json.Decoder(msgspec.Raw)


class Call:
    """A call of a tool: its `id` in the stream, its name, and its arguments so far.

    `marks` are the members of its marks, of which some must come back. `plain` is whether its
    arguments are plain text, as those of custom tools are, `closed` whether they are complete, and
    `answered` whether it has a result.
    """

    __slots__ = ("answered", "arguments", "closed", "id", "marks", "name", "plain")

    def __init__(self, id: str, mark: dict[str, Any], *, plain: bool) -> None:
        self.id = id
        self.name = mark["name"]
        self.marks = [mark]
        self.plain = plain
        self.arguments: list[str] = []
        self.closed = False
        self.answered = False


def input_event(call: Call, *, executed: bool = False) -> bytes:
    """Return the event with a call's whole input, or why there is none.

    `executed` is whether the page is not to run it.
    """
    text = "".join(call.arguments)
    arguments: msgspec.Raw | None = None
    if call.closed or executed:
        arguments = msgspec.Raw(json_line(text)) if call.plain else _arguments(text)
    kind = "tool-input-error" if arguments is None else "tool-input-available"
    chunk: dict[str, Any] = {
        "type": kind,
        "toolCallId": call.id,
        "toolName": call.name,
    }
    if arguments is None:
        chunk |= {"input": text, "errorText": NOT_JSON if call.closed else CUT_OFF}
    else:
        chunk["input"] = arguments
    if executed:
        chunk["providerExecuted"] = True
    if kept := kept_members(call.marks):
        chunk["providerMetadata"] = {METADATA: kept}
    return json_event(chunk)


def kept_members(marks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what must come back unchanged of the members of a call's marks, first to last."""
    kept: dict[str, Any] = {
        name: mark[member]
        for mark in marks
        for name, member in (("metadata", "metadata"), ("type", CALL_TYPE))
        if member in mark
    }
    if more := [mark["more"] for mark in marks if "more" in mark]:
        kept["more"] = joined_members(more)
    return kept


def _arguments(text: str) -> msgspec.Raw | None:
    """Return the JSON that a call's arguments are, in one line, or None if they are none.

    No arguments are an empty object, as in the AI SDK. Numbers stay as the model wrote them.
    """
    text = text.strip() or "{}"
    try:
        _syntax.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    # No line ends within a string: there JSON has escape sequences.
    return msgspec.Raw(text.replace("\n", " ").replace("\r", " ").encode())
