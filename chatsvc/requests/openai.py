"""Requests of OpenAI's clients for a chat completion (PROTOCOL.md section 5)."""

from __future__ import annotations

from typing import Any

import msgspec

from chatsvc.model import Message, Prompt
from chatsvc.problems import InvalidRequest
from chatsvc.requests.chat import ChatRequest, make_prompt
from chatsvc.requests.decoding import decode

TOOL_OPTIONS = (
    "tools",
    "functions",
    "parallel_tool_calls",
    "tool_choice",
    "function_call",
)
"""The members that are never passed on: a reply is text, so it can't hold the call of a tool."""


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class _Turn(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = False


class _Known(msgspec.Struct):
    """The members that mean something to the service; all others are the backend's."""

    messages: list[_Turn]
    model: str = ""
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    n: int | None = 1


class Completion(msgspec.Struct, frozen=True):
    """A request for a completion.

    `stream` is whether it is to come as a stream or whole, `usage` whether a stream is to end with
    the number of tokens used.
    """

    prompt: Prompt
    stream: bool
    usage: bool


_members = msgspec.json.Decoder(dict[str, Any])


def parse_completion(body: bytes, max_message: int) -> Completion:
    """Return what a body of JSON asks for; `max_message` is in bytes of UTF-8.

    Raises `BadJson`, `BadText`, `TooLarge`, and `InvalidRequest` also for what a reply can't be:
    several choices, or the call of a tool that the model must make.
    """
    members = decode(_members, body)
    try:
        known = msgspec.convert(members, _Known)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{error}.") from None
    if known.n not in (None, 1):
        raise InvalidRequest("n must be 1: a request has one reply here.")
    for name in ("tool_choice", "function_call"):
        if members.get(name) not in (None, "none", "auto"):
            raise InvalidRequest(f"{name} must be auto or none: a reply is text here.")
    turns = [
        Message(turn.role, _text(turn.content, f"messages[{index}].content"))
        for index, turn in enumerate(known.messages)
    ]
    options = {
        name: value
        for name, value in members.items()
        if name not in _Known.__struct_fields__ and name not in TOOL_OPTIONS
    }
    prompt = make_prompt(ChatRequest(messages=turns), max_message)
    usage = known.stream_options is not None and known.stream_options.include_usage
    return Completion(
        msgspec.structs.replace(prompt, options=options),
        stream=bool(known.stream),
        usage=bool(usage),
    )


def _text(content: str | list[_Part] | None, place: str) -> str:
    if not isinstance(content, list):
        return content or ""
    for index, part in enumerate(content):
        if part.type != "text" or part.text is None:
            raise InvalidRequest(
                f"{place}[{index}] must be a part of type text, not {part.type}."
            )
    return "".join(part.text or "" for part in content)
