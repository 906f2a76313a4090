"""The AI SDK's UI message stream, version 1: what `useChat` sends and reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chatsvc.model import End, Message, Prompt
from chatsvc.problems import BackendFailed, InvalidRequest
from chatsvc.requests import ChatRequest, decode, prompt
from chatsvc.transports.response import HEADERS, Encoder
from chatsvc.transports.sse import DONE, json_event, told_stop
from chatsvc.transports.writing import Encodings

UI_HEADERS = {**HEADERS, "x-vercel-ai-ui-message-stream": "v1"}
"""Of every UI message stream."""

LONGEST_CHAT = 256
"""Characters that a chat's id may have."""

PART = "0"
"""The id of a message's one text part."""

_reasons = {"stop": "stop", "length": "length", "content_filter": "content-filter"}


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class _UIMessage(msgspec.Struct):
    role: str
    parts: list[_Part]


class _UIRequest(msgspec.Struct):
    id: str
    messages: list[_UIMessage]


class Turn(msgspec.Struct):
    """The next turn of a chat: its id, as the client chose it, and the conversation."""

    chat: str
    prompt: Prompt


_request = msgspec.json.Decoder(_UIRequest)


def parse_turn(body: bytes, max_message: int) -> Turn:
    """Read a request of `DefaultChatTransport`; `max_message` is in bytes of UTF-8.

    Text is what counts of a message's parts: reasoning, steps, tools and data are for the page that shows them. Raises
    `BadJson`, `BadText`, `TooLarge`, `InvalidRequest` also for a file, which must not be lost unnoticed.
    """
    asked = decode(_request, body)
    if not 1 <= len(asked.id) <= LONGEST_CHAT:
        raise InvalidRequest(f"id must have 1 to {LONGEST_CHAT} characters.")
    messages = []
    for index, message in enumerate(asked.messages):
        if any(part.type == "file" for part in message.parts):
            raise InvalidRequest(f"messages[{index}].parts must hold no file.")
        text = "".join(part.text or "" for part in message.parts if part.type == "text")
        # One that was stopped before its first character; many models refuse an empty one.
        if text or message.role != "assistant":
            messages.append(Message(message.role, text))
    return Turn(asked.id, prompt(ChatRequest(messages=messages), max_message))


class _Deltas(Encodings):
    def encode(self, character: str) -> bytes:
        return json_event({"type": "text-delta", "id": PART, "delta": character})


_deltas = _Deltas()


class UIChunks(Encoder):
    """Encodes a reply's characters as text deltas, one each. The message's id is the reply's: it can be stopped by it."""

    __slots__ = ("_reply_id",)
    marks_end = False  # to `useChat` any end is one

    def __init__(self, reply_id: str, *, chunked: bool = True) -> None:
        self._reply_id = reply_id
        super().__init__(chunked=chunked)

    def first(self) -> bytes:
        """What stands before the first character."""
        return b"".join(
            (
                json_event({"type": "start", "messageId": self._reply_id}),
                json_event({"type": "start-step"}),
                json_event({"type": "text-start", "id": PART}),
            )
        )

    def plain(self, position: int, run: Sequence[str]) -> bytes:
        """The deltas of a run of characters."""
        return b"".join([_deltas[character] for character in run])

    def end(self, end: End) -> bytes:
        """The text's end, then how the message ended, then `[DONE]`."""
        events: list[dict[str, Any]] = [{"type": "text-end", "id": PART}]
        if end.state == "done":
            reason = _reasons.get(end.finish_reason, "other")
            events.append({"type": "finish-step"})
            events.append({"type": "finish", "finishReason": reason})
        elif end.state == "stopped":
            events.append({"type": "abort", "reason": told_stop(end)["detail"]})
        else:
            problem = end.problem or BackendFailed().as_dict()
            events.append({"type": "error", "errorText": problem["detail"]})
        return b"".join(map(json_event, events)) + DONE

    def sent_away(self) -> None:
        """`useChat` resumes what broke off, and takes a body without an end for a whole one: break it."""
