"""Requests of the AI SDK's `DefaultChatTransport` (PROTOCOL.md section 5)."""

from __future__ import annotations

from typing import Any

import msgspec

from chatsvc.model import Prompt
from chatsvc.problems import InvalidRequest
from chatsvc.requests.conversation import read_conversation
from chatsvc.requests.decoding import decode
from chatsvc.requests.ui_messages import Continued, call_ids, to_openai
from chatsvc.requests.values import RequestLimits

LONGEST_CHAT_ID = 256
"""Code points that the id of a chat, or of a message, may have."""


ROLES = ("system", "developer", "user", "assistant")
"""The roles that a message may have: results of tools stand in the assistant's."""


class _UIMessage(msgspec.Struct):
    role: str
    parts: list[dict[str, Any]]
    id: str = ""


class _UIRequest(msgspec.Struct):
    id: str
    messages: list[_UIMessage]
    options: dict[str, Any] | None = None


class Turn(msgspec.Struct, frozen=True):
    """The next turn of a chat.

    `chat_id` is the chat's id, as the client chose it, `prompt` the conversation in OpenAI's form, and
    `continued` what the page has already that concerns the stream of the reply.
    """

    chat_id: str
    prompt: Prompt
    continued: Continued = Continued()


_request = msgspec.json.Decoder(_UIRequest)


def parse_turn(body: bytes, limits: RequestLimits) -> Turn:
    """Return what a body of JSON asks for.

    `options` are the further members of a request for a completion, for example `tools`. What parts
    become is said at `to_openai`. Raises `BadJson`, `BadText`, `TooLarge`, and `InvalidRequest`, also
    for what the backend does not take, because leaving it out unnoticed would change what is asked.
    """
    request = decode(_request, body)
    if not 1 <= len(request.id) <= LONGEST_CHAT_ID:
        raise InvalidRequest(f"id must have 1 to {LONGEST_CHAT_ID} characters.")
    messages: list[dict[str, Any]] = []
    for index, message in enumerate(request.messages):
        place = f"messages[{index}]"
        if message.role not in ROLES:
            raise InvalidRequest(f"{place}.role must be one of {', '.join(ROLES)}.")
        for number, part in enumerate(message.parts):
            if not isinstance(part.get("type"), str):
                raise InvalidRequest(f"{place}.parts[{number}].type must be a string.")
        last = index == len(request.messages) - 1
        messages += to_openai(
            message.role, message.parts, place, limits.takes, last=last
        )
    prompt = read_conversation(messages, limits, request.options)
    return Turn(request.id, prompt, _continued(request.messages))


def _continued(messages: list[_UIMessage]) -> Continued:
    """Return what the page has: the SDK goes on with the last message if it is the assistant's."""
    last = messages[-1] if messages else None
    if last is None or last.role != "assistant" or not last.id:
        return Continued(taken=[id for each in messages for id in call_ids(each.parts)])
    if len(last.id) > LONGEST_CHAT_ID:
        raise InvalidRequest(
            f"messages[{len(messages) - 1}].id must have at most {LONGEST_CHAT_ID} characters."
        )
    taken = [id for each in messages[:-1] for id in call_ids(each.parts)]
    return Continued(last.id, last.parts, taken)
