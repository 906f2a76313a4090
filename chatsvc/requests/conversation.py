"""Conversations in OpenAI's form: messages and options, read into a `Prompt` (PROTOCOL.md section 2).

Every API that starts a reply brings what it was sent into this form. All members stay as they came,
also those that nothing here knows. Refused is what is malformed or over a limit, and what a backend
does not take although it changes what is asked: tools, their calls and results, images, audio, files,
and the form of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from chatsvc.model import Message, Prompt
from chatsvc.problems import BadText, InvalidRequest, TooLarge
from chatsvc.requests.content import check_parts, text_of
from chatsvc.requests.values import RequestLimits

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
"""The roles that a message of a conversation may have; `function` is OpenAI's older `tool`."""

_LIMITED_ROLES = frozenset({"system", "developer", "user"})
"""The roles whose messages people write: those of the others may be as long as a body allows."""

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
    for index, message in enumerate(messages):
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


def files_size(prompt: Prompt) -> int:
    """Return the bytes that all files in a prompt have, as they were sent."""
    everything = frozenset({"images", "audio", "files"})
    return sum(
        check_parts(content, "", everything)
        for message in prompt.messages
        if isinstance(content := message.members.get("content"), list)
    )


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
    if len(message) == 2 and isinstance(content, str):
        files = 0
        members: dict[str, Any] = {}
    else:
        members = {
            name: value
            for name, value in message.items()
            if name != "role" and not (name == "content" and isinstance(value, str))
        }
        files = (
            check_parts(content, f"{place}.content", limits.takes)
            if isinstance(content, list)
            else 0
        )
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
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise BadText(
            "The message holds a lone surrogate, which is not a character."
        ) from None
    if size > max_message:
        raise TooLarge(
            f"A message may have {max_message} bytes of UTF-8; this one has {size}."
        )


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = False


class KnownOptions(msgspec.Struct):
    """The options that mean something to the service; all others are the backend's alone."""

    model: str = ""
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    n: int | None = 1


def read_options(
    options: Mapping[str, Any], limits: RequestLimits, place: str = "options."
) -> dict[str, Any]:
    """Return the options of a request that go on to the backend, as they came.

    Those that the service decides are left out: `messages`, `stream`, `include_usage` of
    `stream_options`, and a `model` that the request may not choose. `place` goes before the name of an
    option in what is raised.

    Raises `InvalidRequest`, also for what the backend does not take.
    """
    if not options:
        return {}
    known = known_options(options, place)
    if known.n not in (None, 1):
        raise InvalidRequest(f"{place}n must be 1: a request has one reply here.")
    _check_tools(options, limits.takes, place)
    answer = options.get("response_format")
    is_text = isinstance(answer, dict) and answer.get("type") == "text"
    if answer is not None and not is_text and "response_format" not in limits.takes:
        raise InvalidRequest(
            f"{place}response_format must be text: the backend takes no other."
        )
    kept = {
        name: value
        for name, value in options.items()
        if name not in ("messages", "stream", "stream_options")
    }
    if limits.models.isdisjoint({"*", known.model}):
        kept.pop("model", None)
    stream_options = options.get("stream_options") or {}
    if stream_options.keys() - {"include_usage"}:
        kept["stream_options"] = {**stream_options, "include_usage": True}
    return kept


def known_options(options: Mapping[str, Any], place: str) -> KnownOptions:
    """Return the options that mean something to the service.

    Raises `InvalidRequest` for one of another type; `place` goes before its name.
    """
    names = KnownOptions.__struct_fields__
    given = {name: options[name] for name in names if name in options}
    try:
        return msgspec.convert(given, KnownOptions)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{error}.".replace("$.", f"$.{place}")) from None


def _check_tools(options: Mapping[str, Any], takes: frozenset[str], place: str) -> None:
    if "tools" in takes:
        return
    for name in ("tools", "functions"):
        if options.get(name):
            raise InvalidRequest(
                f"{place}{name} must be empty: the backend takes no tools."
            )
    for name in ("tool_choice", "function_call"):
        if options.get(name) not in (None, "none", "auto"):
            raise InvalidRequest(
                f"{place}{name} must be auto or none: the backend takes no tools."
            )
