"""Chunks of an OpenAI-compatible server from decoded JSON, whatever its members are.

Numbers stand where a text is due, lists of parts and objects too, and members that nobody knows. What
can be read of all that is put into the values of `chatsvc.backends.chunk_values`.
"""

from __future__ import annotations

import json
import math
from typing import Any

from chatsvc.backends.chunk_values import (
    CHOICE_EXTRAS,
    CHUNK_EXTRAS,
    NO_EXTRAS,
    OF_A_CALL,
    OF_A_CHOICE,
    OF_A_CHUNK,
    CallDelta,
    Choice,
    Chunk,
    Custom,
    Delta,
    Function,
    others_of,
)
from chatsvc.backends.content_parts import read_content, read_text

LONGEST_INTEGER = 300
"""Digits of a number that is read as an integer: `int` refuses thousands, and takes long for them."""

MOST_MARKS = 16 * 1024
"""The most structural characters, `,:[{` outside strings, that one piece of JSON may have.

A string of a MiB is decoded in milliseconds, but a MiB of empty lists in a fifth of a second. An
answer has a few dozen, or some hundred for each token where their probabilities are asked for.
"""


class Number(str):
    """A number as it stands in the JSON."""

    __slots__ = ()


_exact_decoder = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=Number
)


def loads(text: str) -> Any:
    """Return what JSON holds, with each number as a `Number`.

    Raises `ValueError` when it is none, and `RecursionError`.
    """
    return _exact_decoder.decode(text)


def is_cut(data: bytes) -> bool:
    """Return whether data that begins an object of JSON is none, as the beginning of one is not."""
    text = data.decode("utf-8", "replace").strip()
    if not text.startswith("{"):
        return False
    try:
        loads(text)
    except (ValueError, RecursionError):
        return True
    return False


def marks(data: str) -> int:
    """Return how many structural characters of JSON are in `data`, outside its strings.

    Of what is not JSON any number may come out. The work is linear in the length, and each pass is
    one of C: without escaped backslashes and quotes, every other part between quotes is a string.
    """
    plain = data.replace("\\\\", "").replace('\\"', "")
    parts = plain.split('"', 2 * MOST_MARKS)
    outside = "".join(parts[::2])
    return sum(outside.count(mark) for mark in ",:[{")


def convert(chunk: dict[str, Any]) -> Chunk:
    """Return the `Chunk` of an object that was decoded by `loads`.

    Only choices with index 0 are made, or with none. What is no list has no choices, and what is no
    object is none. Raises `BackendFailed` when the text of an answer is of a kind that can't be
    read: better no answer than half of one.
    """
    made: list[Choice] = []
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        if not isinstance(choice, dict) or choice.get("index", "0") not in ("0", None):
            continue
        made.append(
            Choice(
                delta=_delta(choice.get("delta")),
                finish_reason=_finish(choice.get("finish_reason")),
                message=_delta(choice.get("message")),
                text=read_text(choice.get("text")),
                error=choice.get("error") or None,
                usage=_usage(choice),
                others=plain(others_of(choice, OF_A_CHOICE)),
                **{name: plain(choice.get(name)) for name in CHOICE_EXTRAS},
            )
        )
    return Chunk(
        choices=made,
        usage=_usage(chunk),
        others=plain(others_of(chunk, OF_A_CHUNK)),
        **{name: plain(chunk.get(name)) for name in CHUNK_EXTRAS},
    )


def _usage(holder: dict[str, Any]) -> dict[str, Any] | None:
    usage = holder.get("usage")
    return plain(usage) if isinstance(usage, dict) else None


def _finish(value: object) -> str | None:
    """Return the `finish_reason` that a value stands for: what is true, and no text, is a stop."""
    if isinstance(value, Number):
        return "stop" if float(value) else None
    if isinstance(value, str):
        return value
    return "stop" if value else None


def plain(value: Any) -> Any:
    """Return a value of `loads` with its numbers as `int` and `float`; of NaN and the like, None.

    Raises `RecursionError` for one that is nested too deeply.
    """
    if isinstance(value, Number):
        if value.removeprefix("-").isdigit() and len(value) <= LONGEST_INTEGER:
            return int(value)
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    return value


_TEXTS = ("refusal", "reasoning_content", "reasoning")


def _delta(part: object) -> Delta | None:
    if not isinstance(part, dict):
        return None
    made = Delta()
    others: dict[str, Any] = {}
    for name, value in part.items():
        if value is None or name in NO_EXTRAS:
            continue
        if name == "content":
            made.content, made.mixed, left = read_content(value)
            if left:
                others[name] = plain(left)
        elif name in _TEXTS and isinstance(value, str):
            setattr(made, name, str.__str__(value))
        elif name == "tool_calls" and isinstance(value, list):
            made.tool_calls = [_call(each) for each in value if isinstance(each, dict)]
        elif name == "function_call" and isinstance(value, dict):
            # The call of older interfaces: there is only one. None of a newer one has its index.
            call = CallDelta(-1, function=_function(value))
            call.others = _others_of_call({"function": value})
            made.tool_calls = [call]
        elif name == "reasoning_details" and isinstance(value, list):
            made.reasoning_details = plain(value)
        else:
            others[name] = plain(value)
    if _is_thought(part):
        made.content, made.reasoning_content = None, made.content
    made.others = others or None
    return made


def _is_thought(delta: dict[str, Any]) -> bool:
    """Return whether the content of a delta is what the model thinks, as Gemini says it."""
    extra = delta.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return isinstance(google, dict) and google.get("thought") is True


_TEXT_OF = {"function": "arguments", "custom": "input"}
"""The objects of a call that name its tool, and the member of each that grows."""


def _call(value: dict[str, Any]) -> CallDelta:
    index, custom = value.get("index"), value.get("custom")
    return CallDelta(
        plain(index) if isinstance(index, Number) and index.isdigit() else None,
        _text(value.get("id")),
        _function(value.get("function")),
        plain(value.get("extra_content")),
        _text(value.get("type")),
        Custom(*_tool(custom, "input")) if isinstance(custom, dict) else None,
        _others_of_call(value),
    )


def _others_of_call(call: dict[str, Any]) -> dict[str, Any] | None:
    """Return the members of a call, and of its tool's object, that `CallDelta` has no place for."""
    others = others_of(call, OF_A_CALL) or {}
    for name, text in _TEXT_OF.items():
        tool = call.get(name)
        if isinstance(tool, dict) and (
            left := others_of(tool, frozenset({"name", text}))
        ):
            others[name] = left
    found: dict[str, Any] | None = plain(others or None)
    return found


def _function(value: object) -> Function | None:
    return Function(*_tool(value, "arguments")) if isinstance(value, dict) else None


def _tool(value: dict[str, Any], text_name: str) -> tuple[str | None, str | None]:
    """Return a tool's name and the text for it, which may also be JSON itself (Ollama's own is)."""
    text = value.get(text_name)
    if isinstance(text, (dict, list)):
        text = json.dumps(plain(text), ensure_ascii=False)
    return _text(value.get("name")), _text(text)


def _text(value: object) -> str | None:
    return str.__str__(value) if isinstance(value, str) else None
