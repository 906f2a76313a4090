"""The values of an OpenAI-compatible server's chunks: from the bytes of one JSON object.

There are three ways to them. `decode` is the quick one, for chunks as most servers send them: it knows
all members. `decode_loosely` also takes members that nobody knows, and needs twice as long.
`chatsvc.backends.chunk_conversion` takes the decoded JSON of any chunk. Where one of the others takes a
chunk, it makes the same of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from chatsvc.model import Reasoning


class Function(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The tool that a call is for, and more of its arguments: their JSON, as text in pieces."""

    name: str | None = None
    arguments: str | None = None


class Custom(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The custom tool that a call is for, and more of its input: plain text, in pieces."""

    name: str | None = None
    input: str | None = None


class CallDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What a chunk adds to a tool's call. `extra_content` is opaque: Google's signature, say.

    A call with other members, or whose function has some, is not taken by `decode`; `convert` keeps
    them in `others`, those of its `function` or `custom` in an object under that name.
    """

    index: int | None = None
    id: str | None = None
    function: Function | None = None
    extra_content: Any = None
    type: str | None = None
    custom: Custom | None = None
    others: dict[str, Any] | None = msgspec.field(name="(others)", default=None)


class Delta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What a chunk adds to an answer, or a completion's whole message, by OpenAI's names.

    `content` is text, but `convert` makes a list of it where the server's had reasoning among its
    parts: text and reasoning in their order. A delta with other members is not taken by `decode`;
    `convert` keeps them in `others`, and of a list's parts those that are neither text nor reasoning.
    """

    content: str | None = None
    role: Any = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallDelta] | None = None
    reasoning_details: list[Any] | None = None
    mixed: list[str | Reasoning] | None = msgspec.field(name="(mixed)", default=None)
    others: dict[str, Any] | None = msgspec.field(name="(others)", default=None)

    def has_side(self) -> bool:
        """Return whether there is anything but text: members that hold something."""
        return bool(
            self.reasoning_content
            or self.reasoning
            or self.tool_calls
            or self.has_more()
        )

    def has_more(self) -> bool:
        """Return whether there is more than text, reasoning and calls have members for."""
        return bool(self.others or self.mixed) or self.reasoning_details is not None

    def adds(self) -> bool:
        """Return whether `has_side` is true of something that belongs to an answer."""
        others = self.others
        return bool(
            self.reasoning_content
            or self.reasoning
            or self.tool_calls
            or self.mixed
            or self.reasoning_details
            or (others and any(others.values()))
        )


class Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One of the answers that a chunk adds to.

    The members behind `usage` are extras that many servers send; `others` are any others.
    """

    delta: Delta | None = None
    index: int | None = 0
    finish_reason: str | None = None
    message: Delta | None = None
    text: str | None = None
    error: dict[str, Any] | str | None = None
    usage: dict[str, Any] | None = None
    logprobs: Any = None
    native_finish_reason: Any = None
    stop_reason: Any = None
    matched_stop: Any = None
    token_ids: Any = None
    content_filter_results: Any = None
    others: dict[str, Any] | None = msgspec.field(name="(others)", default=None)

    def extras(self) -> tuple[Any, ...]:
        """Return the values of `CHOICE_EXTRAS`."""
        return (
            self.logprobs,
            self.native_finish_reason,
            self.stop_reason,
            self.matched_stop,
            self.token_ids,
            self.content_filter_results,
        )


class Chunk(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One `chat.completion.chunk`, or one whole `chat.completion`.

    The members from `model` to `x_groq` are extras that many servers send, and `others` are any
    others. What stands between are members that say nothing of the answer.
    """

    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | str | None = None
    model: Any = None
    system_fingerprint: Any = None
    service_tier: Any = None
    provider: Any = None
    base_resp: Any = None
    x_groq: Any = None
    id: Any = None
    object: Any = None
    created: Any = None
    obfuscation: Any = None
    others: dict[str, Any] | None = msgspec.field(name="(others)", default=None)

    def any_usage(self) -> dict[str, Any] | None:
        """Return the usage that the chunk reports, wherever it stands, or None.

        It is the chunk's own, that of its first choice (Moonshot), or that of `x_groq`.
        """
        usage = self.usage
        if usage is None and self.choices:
            usage = self.choices[0].usage
        if usage is None and isinstance(self.x_groq, dict):
            usage = self.x_groq.get("usage")
        return usage if isinstance(usage, dict) else None

    def extras(self) -> tuple[Any, ...]:
        """Return the values of `CHUNK_EXTRAS`."""
        return (
            self.model,
            self.system_fingerprint,
            self.service_tier,
            self.provider,
            self.base_resp,
            self.x_groq,
        )


CHUNK_EXTRAS = (
    *("model", "system_fingerprint", "service_tier", "provider"),
    *("base_resp", "x_groq"),
)
"""The names of what `Chunk.extras` returns, in its order."""

CHOICE_EXTRAS = (
    *("logprobs", "native_finish_reason", "stop_reason", "matched_stop"),
    *("token_ids", "content_filter_results"),
)
"""The names of what `Choice.extras` returns, in its order."""

NO_EXTRAS = frozenset({"id", "object", "created", "index", "role", "obfuscation"})
"""The members of a chunk, a choice or a delta that are no extras. OpenAI's `obfuscation` is random
text in each chunk that only hides how long the others are."""

decode = msgspec.json.Decoder(Chunk).decode
"""Return the `Chunk` of one JSON object, as bytes.

Raises `msgspec.DecodeError` or `RecursionError` for what is no JSON, and for what only
`chatsvc.backends.chunk_conversion.convert` can make a chunk of.
"""


class _LooseDelta(Delta, forbid_unknown_fields=False, gc=False):
    pass


class _LooseChoice(Choice, forbid_unknown_fields=False, gc=False):
    delta: _LooseDelta | None = None
    message: _LooseDelta | None = None


class _LooseChunk(Chunk, forbid_unknown_fields=False, gc=False):
    choices: list[_LooseChoice] | None = None  # type: ignore[assignment]


_decode_loose = msgspec.json.Decoder(_LooseChunk).decode
_decode_any = msgspec.json.Decoder(dict[str, Any]).decode

OF_A_CHUNK = NO_EXTRAS | {"choices", "usage", "error", *CHUNK_EXTRAS}
OF_A_CHOICE = NO_EXTRAS | {
    *("delta", "finish_reason", "message", "text", "error", "usage"),
    *CHOICE_EXTRAS,
}
OF_A_DELTA = NO_EXTRAS | {
    *("content", "refusal", "reasoning_content", "reasoning", "tool_calls"),
    "reasoning_details",
}
OF_A_CALL = frozenset({"index", "id", "function", "extra_content", "type", "custom"})
"""The members of each that are not in its `others`."""

_EXACT_ONLY = frozenset({"function_call", "extra_content"})


def decode_loosely(data: bytes) -> Chunk:
    """Return the `Chunk` of one JSON object, as `decode` does, also if it has unknown members."""
    chunk = _decode_loose(data)
    members = _decode_any(data)
    chunk.others = others_of(members, OF_A_CHUNK)
    for choice, each in zip(chunk.choices or (), members.get("choices") or ()):
        choice.others = others_of(each, OF_A_CHOICE)
        for name in ("delta", "message"):
            part: Delta | None = getattr(choice, name)
            if part is not None:
                part.others = others_of(each[name], OF_A_DELTA)
                if part.others and not _EXACT_ONLY.isdisjoint(part.others):
                    raise msgspec.DecodeError("it is for chunk_conversion")
    return chunk


class ChunkDecoder:
    """A decoder of the chunks of one response: it is the quick one until one of them has more."""

    __slots__ = ("_decode",)

    def __init__(self) -> None:
        self._decode: Callable[[bytes], Chunk] = decode

    def decode(self, data: bytes) -> Chunk | None:
        """Return the chunk that one JSON object is, or None if it is for `chunk_conversion`."""
        try:
            return self._decode(data)
        except (msgspec.DecodeError, RecursionError):
            pass
        if self._decode is decode_loosely:
            return None
        # Who sends unknown members in one chunk does so in each.
        self._decode = decode_loosely
        return self.decode(data)


def others_of(members: dict[str, Any], known: frozenset[str]) -> dict[str, Any] | None:
    """Return the members with other names than the known ones that are not None; None for none."""
    others = {
        name: value
        for name, value in members.items()
        if value is not None and name not in known
    }
    return others or None
