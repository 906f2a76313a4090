"""The content of messages: OpenAI's parts of text, images, audio and files (PROTOCOL.md section 2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chatsvc.problems import InvalidRequest
from chatsvc.requests.values import RequestLimits

FILE_ABILITIES = frozenset({"images", "audio", "files"})
"""What a backend takes that takes other parts than text, of `chatsvc.model.ABILITIES`."""


def request_limits(
    message: int, files: int, *, takes: Iterable[str], models: Iterable[str]
) -> RequestLimits:
    """Return what a request may hold that a backend is to answer which takes `takes`.

    The arguments are the members of `RequestLimits`; `files` counts only for a backend that takes some.
    """
    takes = frozenset(takes)
    if takes.isdisjoint(FILE_ABILITIES):
        files = 0
    return RequestLimits(message, files, takes, frozenset(models))


def text_of(content: Any, place: str) -> str:
    """Return the text of a message's `content`: a string, a list of parts, or None for none.

    `place` names the content in messages. Raises `InvalidRequest` for any other shape.
    """
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise InvalidRequest(f"{place} must be a string or a list of parts.")
    return "".join(
        [_text(part, f"{place}[{index}]") for index, part in enumerate(content)]
    )


def _text(part: Any, place: str) -> str:
    """Return the text of a part, "" if it is none of type `text`. Raises `InvalidRequest`."""
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        raise InvalidRequest(f'{place} must be a part, an object with a "type".')
    if kind != "text":
        return ""
    text = part.get("text")
    if not isinstance(text, str):
        raise InvalidRequest(f"{place}.text must be a string.")
    return text


def check_parts(parts: list[Any], place: str, takes: frozenset[str]) -> int:
    """Return the bytes of the files in a message's parts, as they were sent.

    `parts` have been read by `text_of`. Raises `InvalidRequest` for a part that is not as OpenAI
    defines it, and for one that a backend does not take which takes `takes`.
    """
    return sum(
        _file_size(part, f"{place}[{index}]", takes)
        for index, part in enumerate(parts)
        if part["type"] != "text"
    )


def _file_size(part: dict[str, Any], place: str, takes: frozenset[str]) -> int:
    kind = part["type"]
    if kind not in _FILES:
        # A later version of OpenAI's API may have it, or another server.
        if takes.isdisjoint(FILE_ABILITIES):
            raise InvalidRequest(
                f"{place} must be a part of type text, not {kind[:40]}: "
                "the backend takes nothing else."
            )
        return 0
    ability, required, alternatives = _FILES[kind]
    if ability not in takes:
        raise InvalidRequest(f"{place} must be text: the backend takes no {ability}.")
    value = part.get(kind)
    if not isinstance(value, dict):
        raise InvalidRequest(f"{place}.{kind} must be an object.")
    given = [name for name in alternatives if value.get(name) is not None]
    for name in (*required, *given):
        if not isinstance(value.get(name), str):
            raise InvalidRequest(f"{place}.{kind}.{name} must be a string.")
    if alternatives and not given:
        raise InvalidRequest(f"{place}.{kind} must have {' or '.join(alternatives)}.")
    return sum(text_size(value[name]) for name in (*required, *given))


_FILES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "image_url": ("images", ("url",), ()),
    "input_audio": ("audio", ("data", "format"), ()),
    "file": ("files", (), ("file_data", "file_id")),
}
"""By the type of a part: what a backend must take, and the strings that hold its file.

They stand in an object under the name of the type. The first must be there, and one of the second.
"""


def text_size(text: str | bytes) -> int:
    """Return the bytes of a text in UTF-8. Raises `UnicodeEncodeError` for a lone surrogate."""
    if isinstance(text, bytes) or text.isascii():
        return len(text)
    return len(text.encode())
