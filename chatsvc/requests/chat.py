"""Requests of chatsvc's own API (PROTOCOL.md sections 2 and 4).

Bodies of a POST and frames of a WebSocket, their prompts and idempotency keys.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from chatsvc.cursor import parse_place
from chatsvc.kept_prompt import KeptPrompt, keep
from chatsvc.model import Prompt
from chatsvc.problems import InvalidRequest
from chatsvc.requests.conversation import (
    check_body,
    check_structure,
    read_conversation,
)
from chatsvc.requests.decoding import decode
from chatsvc.requests.values import (
    PARTS_SUBPROTOCOL,
    SUBPROTOCOL,
    Caller,
    Read,
    RequestLimits,
    Start,
    Stop,
    View,
)

_key = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)


class ChatRequest(msgspec.Struct):
    """The members of a body, and of a WebSocket's frame: one message, or a conversation.

    `messages` are in OpenAI's form, and `options` the further members of a request for a completion.
    """

    message: str | None = None
    messages: list[dict[str, Any]] | None = None
    options: dict[str, Any] | None = None


class Frame(ChatRequest):
    """The members of a client's frame of the subprotocols `chatsvc.v1` and `chatsvc.v2`.

    It stops the reply `stop`; or reads the reply `read` from behind the place `after`, a position
    (code points) or the text of an offset (`@` and units); or starts a reply. With `render` the
    answer's blocks are rendered, from the one on that begins at `rendered` (code points).
    """

    key: str = ""
    read: str | None = None
    after: int | str = 0
    stop: str | None = None
    render: str | None = None
    rendered: int = 0


_chat = msgspec.json.Decoder(ChatRequest)
_frame = msgspec.json.Decoder(Frame)


def parse_chat(body: bytes | str) -> ChatRequest:
    """Return what a body of JSON holds.

    Raises `BadJson`, `BadText` or `InvalidRequest`, as `decode` does.
    """
    return decode(_chat, body)


def parse_frame(text: str) -> Frame:
    """Return what a frame of JSON holds.

    Raises `BadJson`, `BadText` or `InvalidRequest`, as `decode` does.
    """
    frame = decode(_frame, text)
    if isinstance(frame.after, str) and _offset.fullmatch(frame.after) is None:
        raise InvalidRequest(_BAD_AFTER)
    return frame


_position = re.compile(r"[0-9]{1,9}", re.ASCII)

_offset = re.compile(r"@[0-9]{1,9}", re.ASCII)

_BAD_AFTER = (
    "after must be a position, a number of code points, or an offset, a string of @ and a "
    "number of units."
)


def check_rendering(render: str, rendered: int | str, *, parts: bool) -> int:
    """Return `rendered` as a position, for a request that asks for rendered blocks by `render`.

    `parts` is whether it is answered with a stream of all parts. Raises `InvalidRequest`.
    """
    if render != "html":
        raise InvalidRequest("render must be html; without it, nothing is rendered.")
    if not parts:
        raise InvalidRequest(
            "render=html needs a stream of all parts: view=parts or chatsvc.v2."
        )
    if _position.fullmatch(str(rendered)) is None:
        raise InvalidRequest(
            "rendered must be the from of a block, a number of code points."
        )
    return int(rendered)


def make_prompt(request: ChatRequest, limits: RequestLimits) -> Prompt:
    """Return the conversation that a request asks to be continued, and how.

    Raises `InvalidRequest`, `BadText` for a lone surrogate, and `TooLarge`, as `read_conversation`
    does.
    """
    if request.messages is not None:
        return read_conversation(request.messages, limits, request.options)
    if request.message is None:
        raise InvalidRequest(
            'The body must have "message", a string, or "messages", a list of {"role", "content"}.'
        )
    messages = [{"role": "user", "content": request.message}]
    return read_conversation(messages, limits, request.options)


def read_prompt(body: bytes | str, limits: RequestLimits) -> Prompt:
    """Return the prompt that a body of JSON holds.

    Raises `BadJson`, `BadText`, `InvalidRequest` or `TooLarge`.
    """
    check_structure(body, limits)
    prompt = make_prompt(parse_chat(body), limits)
    check_body(body, prompt, limits)
    return prompt


def check_key(key: str) -> str:
    """Return an idempotency key as it is.

    Raises `InvalidRequest` unless it is 1 to 128 visible ASCII characters.
    """
    if _key.fullmatch(key) is None:
        raise InvalidRequest("An Idempotency-Key is 1 to 128 visible ASCII characters.")
    return key


def scoped_key(key: str, caller: Caller) -> str:
    """Return the text under which the store knows an idempotency key (PROTOCOL.md section 2).

    It is the key itself where all requests with this key mean the same reply. A stranger's short
    key has the caller's place behind it: two strangers may choose the same one. The space between
    keeps it apart from all keys that a client can send.
    """
    return key if caller.shares(key) else f"{key} {caller.place}"


def digest(prompt: KeptPrompt) -> str:
    """Return the SHA-256 of a prompt as JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(prompt.json).hexdigest()


def make_start(
    prompt: Prompt, caller: Caller, *, key: str | None = None, view: View | None = None
) -> Start:
    """Return the request to start a reply to a prompt.

    `key` is the idempotency key, None for none. Raises `InvalidRequest` for a malformed key, as the
    empty one is.
    """
    view, kept = view or View(), keep(prompt)
    if key is None:
        return Start(kept, caller, view=view)
    key = scoped_key(check_key(key), caller)
    return Start(kept, caller, key, digest(kept), view)


def read_message(text: str, caller: Caller, limits: RequestLimits) -> Start:
    """Return what a frame without a subprotocol asks for.

    Raises `BadJson`, `BadText`, `InvalidRequest` or `TooLarge`.
    """
    prompt = read_prompt(text, limits)
    return make_start(prompt, caller, view=View(representation=""))


def read_frame(
    text: str, caller: Caller, limits: RequestLimits, subprotocol: str = SUBPROTOCOL
) -> Start | Read | Stop:
    """Return what a frame of `chatsvc.v1` or `chatsvc.v2` asks for, whichever `subprotocol` is.

    Raises `BadJson`, `BadText`, `InvalidRequest` or `TooLarge`.
    """
    check_structure(text, limits)
    frame = parse_frame(text)
    if frame.stop is not None:
        return Stop(frame.stop, caller)
    parts, rendered = subprotocol == PARTS_SUBPROTOCOL, 0
    if frame.render is not None:
        rendered = check_rendering(frame.render, frame.rendered, parts=parts)
    view = View(
        subprotocol,
        parts=parts,
        key=frame.key,
        render=frame.render is not None,
        rendered=rendered,
    )
    if frame.read is not None:
        after = frame.after
        if isinstance(after, int) and after < 0:
            raise InvalidRequest(_BAD_AFTER)
        place = parse_place(after) if isinstance(after, str) else after
        return Read(frame.read, place, caller, view)
    prompt = make_prompt(frame, limits)
    check_body(text, prompt, limits)
    return make_start(prompt, caller, key=frame.key or None, view=view)
