"""Requests of the AI SDK's `DefaultChatTransport` (PROTOCOL.md section 5)."""

from __future__ import annotations

import msgspec

from chatsvc.model import Prompt
from chatsvc.problems import InvalidRequest
from chatsvc.requests.conversation import read_conversation
from chatsvc.requests.decoding import decode
from chatsvc.requests.values import RequestLimits

LONGEST_CHAT_ID = 256
"""Code points that a chat's id may have."""


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class _UIMessage(msgspec.Struct):
    role: str
    parts: list[_Part]


class _UIRequest(msgspec.Struct):
    id: str
    messages: list[_UIMessage]


class Turn(msgspec.Struct, frozen=True):
    """The next turn of a chat: the chat's id, as the client chose it, and the conversation."""

    chat_id: str
    prompt: Prompt


_request = msgspec.json.Decoder(_UIRequest)


def parse_turn(body: bytes, limits: RequestLimits) -> Turn:
    """Return what a body of JSON asks for.

    Of a message's parts only text counts: reasoning, steps, tools and data are for the page that
    shows them. Raises `BadJson`, `BadText`, `TooLarge`, and `InvalidRequest`, also for a file,
    because leaving it out unnoticed would change what the user asks.
    """
    request = decode(_request, body)
    if not 1 <= len(request.id) <= LONGEST_CHAT_ID:
        raise InvalidRequest(f"id must have 1 to {LONGEST_CHAT_ID} characters.")
    messages = []
    for index, message in enumerate(request.messages):
        if any(part.type == "file" for part in message.parts):
            raise InvalidRequest(f"messages[{index}].parts must hold no file.")
        text = "".join(part.text or "" for part in message.parts if part.type == "text")
        # An assistant's empty message is a reply that was stopped before its first character; many
        # models refuse it.
        if text or message.role != "assistant":
            messages.append({"role": message.role, "content": text})
    return Turn(request.id, read_conversation(messages, limits))
