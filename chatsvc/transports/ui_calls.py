"""The calls of tools in a UI message stream, and the chunk that gives one to the page whole.

`ui_parts` says when that comes (PROTOCOL.md section 5).
"""

from __future__ import annotations

from typing import Any

import msgspec

from chatsvc.transports.sse import json_event

METADATA = "chatsvc"
"""The name under which `providerMetadata` has what must come back unchanged."""

NOT_JSON = "The arguments of the call are not JSON."
"""The error text of a call whose arguments can't be read."""

CUT_OFF = "The reply ended within the call."
"""The error text of a call that was not written to its end."""

_syntax = msgspec.json.Decoder(msgspec.Raw)


class Call:
    """A call of a tool: its `id` in the stream, its name, its arguments so far, and its metadata.

    `closed` is whether its arguments are complete, `answered` whether it has a result.
    """

    __slots__ = ("answered", "arguments", "closed", "id", "metadata", "name")

    def __init__(self, id: str, name: str, metadata: Any) -> None:
        self.id = id
        self.name = name
        self.metadata = metadata
        self.arguments: list[str] = []
        self.closed = False
        self.answered = False


def input_event(call: Call, *, executed: bool = False) -> bytes:
    """Return the event with a call's whole input, or why there is none.

    `executed` is whether the page is not to run it.
    """
    text = "".join(call.arguments)
    arguments = _arguments(text) if call.closed or executed else None
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
    if call.metadata is not None:
        chunk["providerMetadata"] = {METADATA: {"metadata": call.metadata}}
    return json_event(chunk)


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
