"""Options of a request: the members of OpenAI's request for a completion beside the messages.

On `/v1` they stand where OpenAI has them, on chatsvc's own API in the member `options` (PROTOCOL.md
section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from chatsvc.model import may_choose
from chatsvc.problems import InvalidRequest
from chatsvc.requests.values import RequestLimits


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
    if not may_choose(known.model, limits.models):
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
