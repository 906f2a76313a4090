"""What a client may ask, read from JSON (PROTOCOL.md section 2) and checked by msgspec."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from typing import TypeVar

import msgspec

from chatsvc.model import Message, Prompt
from chatsvc.problems import BadJson, BadText, InvalidRequest, Problem, TooLarge

ROLES = ("system", "developer", "user", "assistant")
"""Who may have said a message of a conversation."""

BODY_FACTOR = 16
"""A body may be this many times as large as one message: it holds a conversation."""

_key = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)


Request = TypeVar("Request")


class ChatRequest(msgspec.Struct):
    """The body of a POST, and the WebSocket's request frame."""

    message: str | None = None
    messages: list[Message] | None = None


class Frame(ChatRequest):
    """A client's frame of the subprotocol `chatsvc.v1`."""

    key: str = ""
    read: str | None = None
    after: int = 0
    stop: str | None = None


_chat = msgspec.json.Decoder(ChatRequest)
_frame = msgspec.json.Decoder(Frame)


def parse_chat(body: bytes | str) -> ChatRequest:
    """Raises `BadJson`, `BadText`, `InvalidRequest`."""
    return decode(_chat, body)


def parse_frame(body: str) -> Frame:
    """Raises as `parse_chat`."""
    return decode(_frame, body)


def decode(decoder: msgspec.json.Decoder[Request], body: bytes | str) -> Request:
    """Decode JSON. Raises `BadJson`, `BadText` for a lone surrogate, `InvalidRequest` that names the field."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _why(error, body) from None


def _why(error: Exception, body: bytes | str) -> Problem:
    """msgspec stops at the first thing it dislikes; the standard library tells what kind of thing it was."""
    try:
        text = body if isinstance(body, str) else body.decode()
    except UnicodeDecodeError:
        return BadText("The body is not UTF-8.")
    try:
        # An int() of very many digits would be refused, though it is JSON.
        value = json.loads(text, parse_constant=_no_constant, parse_int=float)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return BadText("The text holds a lone surrogate, which is not a character.")
    except RecursionError:
        return BadJson("The JSON is nested too deeply.")
    except ValueError as broken:
        return BadJson(f"The body is not JSON: {broken}.")
    if isinstance(error, msgspec.ValidationError):
        return InvalidRequest(f"{error}.")
    return BadJson(f"The body is not JSON: {error}.")


def _no_constant(name: str) -> None:
    raise ValueError(f"it has no {name}")


def prompt(request: ChatRequest, max_message: int) -> Prompt:
    """The conversation asked for. `max_message` is in bytes of UTF-8.

    What the assistant said may be longer: it is a reply, and comes back as part of the conversation.
    Raises `InvalidRequest`, `BadText` for a lone surrogate, `TooLarge` for a message over the limit.
    """
    if request.messages is not None:
        messages = tuple(request.messages)
        if not messages:
            raise InvalidRequest("messages must hold at least one message.")
    elif request.message is not None:
        messages = (Message("user", request.message),)
    else:
        raise InvalidRequest(
            'The body must have "message", a string, or "messages", a list of {"role", "content"}.'
        )
    for index, message in enumerate(messages):
        if message.role not in ROLES:
            raise InvalidRequest(
                f"messages[{index}].role must be one of {', '.join(ROLES)}."
            )
        said = message.role == "assistant"
        check_text(message.content, sys.maxsize if said else max_message)
    return Prompt(messages)


def check_text(text: str, max_message: int) -> None:
    """Raises `BadText` for a lone surrogate and `TooLarge` for a text of more bytes."""
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise BadText(
            "The message holds a lone surrogate, which is not a character."
        ) from None
    if size > max_message:
        raise TooLarge(
            f"A message may have {max_message} bytes of UTF-8; this one has {size}."
        )


def check_key(key: str) -> str:
    """An idempotency key, as it is. Raises `InvalidRequest`."""
    if _key.fullmatch(key) is None:
        raise InvalidRequest("An Idempotency-Key is 1 to 128 visible ASCII characters.")
    return key


def digest(asked: Prompt) -> str:
    """Identifies what a key was used for."""
    return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()
