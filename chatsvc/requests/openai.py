"""Requests of OpenAI's clients for a chat completion (PROTOCOL.md section 5)."""

from __future__ import annotations

from typing import Any

import msgspec

from chatsvc.model import Prompt
from chatsvc.problems import InvalidRequest
from chatsvc.requests.conversation import read_conversation
from chatsvc.requests.decoding import decode
from chatsvc.requests.options import known_options
from chatsvc.requests.values import RequestLimits


class Completion(msgspec.Struct, frozen=True):
    """A request for a completion.

    `stream` is whether it is to come as a stream or whole, `usage` whether a stream is to end with
    the number of tokens used.
    """

    prompt: Prompt
    stream: bool
    usage: bool


_members = msgspec.json.Decoder(dict[str, Any])


def parse_completion(body: bytes, limits: RequestLimits) -> Completion:
    """Return what a body of JSON asks for.

    Raises `BadJson`, `BadText`, `TooLarge`, and `InvalidRequest` also for what a reply can't be, as
    several choices, and for what the backend does not take.
    """
    members = decode(_members, body)
    known = known_options(members, "")
    messages = members.get("messages")
    if not isinstance(messages, list):
        raise InvalidRequest("The body must have messages, a list of objects.")
    prompt = read_conversation(
        [_with_content(message) for message in messages],
        limits,
        members,
        options_place="",
    )
    usage = known.stream_options is not None and known.stream_options.include_usage
    return Completion(prompt, stream=bool(known.stream), usage=bool(usage))


def _with_content(message: Any) -> Any:
    """Return a message with a content, where only an assistant's or a result may have none."""
    if (
        isinstance(message, dict)
        and message.get("content") is None
        and message.get("role") in ("system", "developer", "user")
    ):
        return {**message, "content": ""}
    return message
