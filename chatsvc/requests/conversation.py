"""Conversations in OpenAI's form: messages and options, read into a `Prompt` (PROTOCOL.md section 2).

Every API that starts a reply brings what it was sent into this form. All members stay as they came,
also those that nothing here knows. Refused is what is malformed or over a limit, and what a backend
does not take although it changes what is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from chatsvc.model import Message, Prompt
from chatsvc.problems import BadJson, BadText, InvalidRequest, TooLarge
from chatsvc.requests.content import FILE_ABILITIES, check_parts, text_of, text_size
from chatsvc.requests.options import read_options
from chatsvc.requests.values import RequestLimits

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
"""The roles that a message of a conversation may have; `function` is OpenAI's older `tool`."""

_LIMITED_ROLES = ("system", "developer", "user")
"""The roles whose messages people write: those of the others may be as long as a body allows."""

_PLAIN_ROLES = (*_LIMITED_ROLES, "assistant")
"""The roles of messages that need no member but their content."""

_ANSWERS = {"tool": "tool_call_id", "function": "name"}
"""The roles of results, and the member that names the call or the function."""

_CALLS = ("tool_calls", "function_call")
"""The members of an assistant's message that hold what it called."""


def read_conversation(
    messages: Sequence[Any],
    limits: RequestLimits,
    options: Mapping[str, Any] | None = None,
    *,
    options_place: str = "options.",
) -> Prompt:
    """Return the prompt of a conversation in OpenAI's form.

    `messages` are the messages as decoded JSON, oldest first, `options` the other members of a request
    for a completion. What is wrong is named by its place: `messages[2].content[0]`; `options_place`
    goes before the name of an option.

    Raises `InvalidRequest`, and `TooLarge` for a message or files over their limit.
    """
    if not messages:
        raise InvalidRequest("messages must hold at least one message.")
    read = []
    files = 0
    # No code point has more bytes.
    short = limits.message // 4
    for index, message in enumerate(messages):
        # Most conversations hold nothing else, some of them thousands of it.
        if (
            isinstance(message, dict)
            and len(message) == 2
            and isinstance(content := message.get("content"), str)
            and len(content) <= short
            and (role := message.get("role")) in _PLAIN_ROLES
        ):
            read.append(Message(role, content))
            continue
        turn, size = _read_message(message, f"messages[{index}]", limits)
        read.append(turn)
        files += size
    if files > limits.files:
        raise TooLarge(
            f"The files of a request may have {limits.files} bytes as they are sent; "
            f"these have {files}."
        )
    return Prompt(
        tuple(read), options=read_options(options or {}, limits, options_place)
    )


def check_body(body: bytes | str, prompt: Prompt, limits: RequestLimits) -> None:
    """Check a body of JSON as a whole: `prompt` is what was read of it.

    Raises `TooLarge` if it has more than `limits.text` bytes beside its files, and `BadJson` if it is
    nested so deeply that it could be read and not be written again.
    """
    size = text_size(body)
    if size > limits.text:
        rest = size - _files_size(prompt)
        if rest > limits.text:
            raise TooLarge(
                f"A body may have {limits.text} bytes beside its files; this one has {rest}."
            )
    if _has_more(body, "[{", _SPARE_LEVELS):
        nested: Any = prompt
        for _ in range(_SPARE_LEVELS):
            nested = [nested]
        try:
            msgspec.json.encode(nested)
        except RecursionError:
            raise BadJson("The JSON is nested too deeply.") from None


_SPARE_LEVELS = 200
"""Levels that a request must leave of those that Python's stack has room for.

A record, a backend's request, and the calls that lead to where these are written stand around it.
"""


def check_structure(body: bytes | str, limits: RequestLimits) -> None:
    """Raise `TooLarge` if a body has more than `limits.text` bytes beside its files, by its look.

    To make values costs much more for many small ones than for a file, which is one text of Base64:
    that has none of the characters that are counted here.
    """
    if len(body) > limits.text and _has_more(body, ",[{", limits.text):
        raise TooLarge(f"A body may have {limits.text} bytes beside its files.")


def _has_more(body: bytes | str, characters: str, most: int) -> bool:
    """Return whether a body has more than `most` of some ASCII characters in all.

    To search is much faster than to count where there are few, and is given up where there are many.
    """
    if len(body) <= most:  # as most bodies are, for the levels at least
        return False
    marks: list[Any] = list(characters)
    if isinstance(body, bytes):
        marks = [character.encode() for character in characters]
    found = 0
    for mark in marks:
        at = body.find(mark)
        while at >= 0:
            found += 1
            if found > most:
                return True
            if found == _MOST_SEARCHES:
                return sum(map(body.count, marks)) > most
            at = body.find(mark, at + 1)
    return False


_MOST_SEARCHES = 4096


def _files_size(prompt: Prompt) -> int:
    """Return the bytes of all files in a prompt as they were sent.

    They are those in contents, and the images that models have made, which come back as they came.
    """
    return sum(
        check_parts(content, "", FILE_ABILITIES)
        for message in prompt.messages
        if isinstance(content := message.members.get("content"), list)
    ) + sum(
        _image_size(image)
        for message in prompt.messages
        if isinstance(images := message.members.get("images"), list)
        for image in images
    )


def _image_size(image: Any) -> int:
    """Return the bytes of an image's address, or 0 for what is no part of type `image_url`."""
    holder = image.get("image_url") if isinstance(image, dict) else None
    url = holder.get("url") if isinstance(holder, dict) else None
    return text_size(url) if isinstance(url, str) else 0


def _read_message(
    message: Any, place: str, limits: RequestLimits
) -> tuple[Message, int]:
    """Return a message, and the bytes of its files as they were sent."""
    if not isinstance(message, dict):
        raise InvalidRequest(f'{place} must be an object: {{"role", "content"}}.')
    role = message.get("role")
    if role not in ROLES:
        raise InvalidRequest(f"{place}.role must be one of {', '.join(ROLES)}.")
    content = message.get("content")
    if content is None and role not in ("assistant", "function"):
        raise InvalidRequest(f"{place}.content must be a string or a list of parts.")
    text = text_of(content, f"{place}.content")
    if role in _LIMITED_ROLES:
        check_text(text, limits.message)
    files = 0
    if isinstance(content, list):
        files = check_parts(content, f"{place}.content", limits.takes)
    members = {
        name: value
        for name, value in message.items()
        if name != "role" and not (name == "content" and isinstance(value, str))
    }
    if role not in _LIMITED_ROLES:
        _check_calls(role, message, place, limits.takes)
    return Message(role, text, members, "content" not in message), files


def _check_calls(
    role: str, message: dict[str, Any], place: str, takes: frozenset[str]
) -> None:
    """Check what a message says of calls: it is a result, or an assistant's, which may have called."""
    if "tools" not in takes:
        if role in _ANSWERS:
            raise InvalidRequest(
                f"{place}.role must not be {role}: the backend takes no tools."
            )
        for name in _CALLS:
            if message.get(name):
                raise InvalidRequest(
                    f"{place}.{name} must be empty: the backend takes no tools."
                )
    named_by = _ANSWERS.get(role)
    if named_by is not None and not isinstance(message.get(named_by), str):
        raise InvalidRequest(f"{place}.{named_by} must be a string.")
    calls = message.get("tool_calls")
    if calls is not None and not (
        isinstance(calls, list) and all(isinstance(call, dict) for call in calls)
    ):
        raise InvalidRequest(f"{place}.tool_calls must be a list of objects.")


def check_text(text: str, max_message: int) -> None:
    """Raise `BadText` for a lone surrogate, `TooLarge` for over `max_message` bytes of UTF-8."""
    try:
        size = text_size(text)
    except UnicodeEncodeError:
        raise BadText(
            "The message holds a lone surrogate, which is not a character."
        ) from None
    if size > max_message:
        raise TooLarge(
            f"A message may have {max_message} bytes of UTF-8; this one has {size}."
        )
