"""The values of an OpenAI-compatible server's chunks: from the bytes of one JSON object.

There are two ways to them. `decode` is the quick one, for chunks as most servers send them: it
looks at nothing but the members that matter, and knows their kinds. `convert` takes the decoded
JSON of any other chunk, with numbers for texts, lists of parts and members that nobody knows. Where
`decode` takes a chunk, `convert` makes the same of it.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

from chatsvc.backends.errors import UNREADABLE
from chatsvc.problems import BackendFailed

OTHER_PARTS = frozenset(
    {
        *("reference", "references", "citation", "image", "image_url", "output_image"),
        *("audio", "input_audio", "output_audio", "file", "document", "tool_use"),
    }
)
"""The types of parts of a content that are no text, and may be passed over."""

REASONING_PARTS = frozenset({"thinking", "reasoning", "redacted_thinking"})
"""The types of parts of a content that hold what the model thinks, which is not the answer."""


LONGEST_INTEGER = 300
"""Digits of a number that is read as an integer: `int` refuses thousands, and takes long for them."""


class Delta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What a chunk adds to an answer, or a completion's whole message, by OpenAI's names.

    A chunk whose delta has other members is not taken by `decode`. Of these `convert` keeps in
    `extra` those that hold something, and a `content` that is not text alone.
    """

    content: str | None = None
    role: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Any] | None = None
    extra: dict[str, Any] | None = msgspec.field(name="(others)", default=None)

    def text(self) -> str:
        """Return the text of the answer: its content, and a refusal, which is one in words."""
        return (self.content or "") + (self.refusal or "")

    def has_more(self) -> bool:
        """Return whether there is something of an answer that is no text: thoughts, calls."""
        return bool(
            self.reasoning_content or self.reasoning or self.tool_calls or self.extra
        )


class Choice(msgspec.Struct, gc=False):
    """One of the answers that a chunk adds to."""

    delta: Delta | None = None
    index: int | None = 0
    finish_reason: str | None = None
    message: Delta | None = None
    text: str | None = None
    error: dict[str, Any] | str | None = None
    usage: dict[str, Any] | None = None


class Groq(msgspec.Struct, gc=False):
    """What Groq adds to a chunk."""

    usage: dict[str, Any] | None = None


class BaseResp(msgspec.Struct, gc=False):
    """MiniMax's status of an answer: 0 if nothing is wrong."""

    status_code: int = 0


class Chunk(msgspec.Struct, gc=False):
    """One `chat.completion.chunk`, or one whole `chat.completion`: what is looked at of it."""

    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | str | None = None
    base_resp: BaseResp | None = None
    x_groq: Groq | None = None

    def any_usage(self) -> dict[str, Any] | None:
        """Return the usage that the chunk reports, wherever it stands, or None.

        It is the chunk's own, that of its first choice (Moonshot), or that of `x_groq`.
        """
        usage = self.usage
        if usage is None and self.choices:
            usage = self.choices[0].usage
        if usage is None and self.x_groq is not None:
            usage = self.x_groq.usage
        return usage


decode = msgspec.json.Decoder(Chunk).decode
"""Return the `Chunk` of one JSON object, as bytes.

Raises `msgspec.DecodeError` or `RecursionError` for what is no JSON, and for what only `convert`
can make a chunk of.
"""


class Number(str):
    """A number as it stands in the JSON."""

    __slots__ = ()


def loads(text: str) -> Any:
    """Return what JSON holds, with each number as a `Number`.

    Raises `ValueError` when it is none, and `RecursionError`.
    """
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number)


def convert(chunk: dict[str, Any]) -> Chunk:
    """Return the `Chunk` of an object that was decoded by `loads`, with its choices and its usage.

    Only choices with index 0 are made, or with none. What is no list has no choices, and what is no
    object is none. Raises `BackendFailed` when the text of an answer is of a kind that can't be
    read: better no answer than half of one.
    """
    made: list[Choice] = []
    choices, groq = chunk.get("choices"), chunk.get("x_groq")
    for choice in choices if isinstance(choices, list) else []:
        if not isinstance(choice, dict) or choice.get("index", "0") not in ("0", None):
            continue
        made.append(
            Choice(
                delta=_delta(choice.get("delta")),
                finish_reason=_finish(choice.get("finish_reason")),
                message=_delta(choice.get("message")),
                text=_text(choice.get("text")),
                error=choice.get("error") or None,
                usage=_usage(choice),
            )
        )
    groq_usage = _usage(groq) if isinstance(groq, dict) else None
    return Chunk(choices=made, usage=_usage(chunk), x_groq=Groq(usage=groq_usage))


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


def _delta(part: object) -> Delta | None:
    if not isinstance(part, dict):
        return None
    made = Delta()
    extra: dict[str, Any] = {}
    for name, value in part.items():
        if name == "content":
            made.content, thoughts = _content(value)
            if thoughts:
                extra[name] = plain(value)
        elif name in ("refusal", "reasoning_content", "reasoning", "role") and (
            value is None or isinstance(value, str)
        ):
            setattr(made, name, value)
        elif name == "tool_calls" and isinstance(value, list):
            made.tool_calls = plain(value)
        elif value and name != "role":
            extra[name] = plain(value)
    if _is_thought(part):
        made.content, made.reasoning_content = None, made.content
    made.extra = extra or None
    return made


def _is_thought(delta: dict[str, Any]) -> bool:
    """Return whether the content of a delta is what the model thinks, as Gemini says it."""
    extra = delta.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return isinstance(google, dict) and google.get("thought") is True


def _text(value: object) -> str | None:
    """Return the text that a member stands for; raises as `convert`."""
    if not value:
        return None
    if isinstance(value, str):  # a Number is one: it stands as it stood
        return str.__str__(value)
    raise BackendFailed(UNREADABLE)


def _content(value: object) -> tuple[str | None, bool]:
    """Return the text of a content, and whether it has something besides; raises as `convert`.

    It is a text, or a list of parts, which are texts or objects with a type; or one such object.
    """
    if isinstance(value, dict):
        value = [value] if value else None
    if not isinstance(value, list):
        return _text(value), False
    texts: list[str] = []
    more = False
    for part in value:
        if not isinstance(part, dict):
            texts.append(_text(part) or "")
            continue
        kind = part.get("type")
        if kind in REASONING_PARTS or kind in OTHER_PARTS:
            more = True
        elif part.get("text") is None and isinstance(part.get("refusal"), str):
            texts.append(part["refusal"])
        elif "text" in part:
            texts.append(_text(part["text"]) or "")
        else:
            raise BackendFailed(UNREADABLE)
    return "".join(texts), more
