"""The codec of the AI SDK's UI message stream, version 1 (PROTOCOL.md section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chatsvc.model import End
from chatsvc.problems import BackendFailed
from chatsvc.transports.codec import Codec, stop_problem
from chatsvc.transports.json_line import json_line
from chatsvc.transports.sse import DONE, json_event

TEXT_PART_ID = "0"
"""The id of a message's one text part."""

_FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
}


def _delta(text: str) -> bytes:
    return _DELTA % json_line(text)


_DELTA = (
    b'data: {"type":"text-delta","id":"%b","delta":%%b}\n\n' % TEXT_PART_ID.encode()
)


class UIChunks(Codec):
    """The codec of one message in parts, with one text delta for all that is out.

    The message's id is the reply's, by which the reply can be stopped.
    """

    __slots__ = ("_reply_id",)
    transport = "ui"
    headers: ClassVar[Mapping[str, str]] = {"x-vercel-ai-ui-message-stream": "v1"}
    joins = True
    marks_end = False  # `useChat` takes any end of the body for the end of the message

    def __init__(self, reply_id: str) -> None:
        super().__init__(_delta, probe_times_us=())
        self._reply_id = reply_id

    def first(self) -> list[bytes]:
        """Return the starts of the message, its step and its text."""
        return [
            json_event({"type": "start", "messageId": self._reply_id}),
            json_event({"type": "start-step"}),
            json_event({"type": "text-start", "id": TEXT_PART_ID}),
        ]

    def end(self, end: End) -> list[bytes]:
        """Return the text's end, then how the message ended, then `[DONE]`."""
        parts: list[dict[str, Any]] = [{"type": "text-end", "id": TEXT_PART_ID}]
        if end.state == "done":
            reason = _FINISH_REASONS.get(end.finish_reason, "other")
            parts.append({"type": "finish-step"})
            parts.append({"type": "finish", "finishReason": reason})
        elif end.state == "stopped":
            parts.append({"type": "abort", "reason": stop_problem(end)["detail"]})
        else:
            problem = end.problem or BackendFailed().as_dict()
            parts.append({"type": "error", "errorText": problem["detail"]})
        return [*map(json_event, parts), DONE]

    def sent_away(self) -> None:
        """Return None: `useChat` resumes a body that breaks off, and no other."""
