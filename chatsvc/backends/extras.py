"""The members of chunks that no piece but `Extra` takes, as a reply's log can hold them. Pure."""

from __future__ import annotations

import math
from typing import Any

from chatsvc.backends.chunk_values import (
    CHOICE_EXTRAS,
    CHUNK_EXTRAS,
    Choice,
    Chunk,
    Delta,
)

DEEPEST = 100
"""How deep a member may be nested; one that is deeper is left out, for the log refuses it."""


class Extras:
    """The extras of one answer: those of a chunk, a choice and a delta that are new.

    A member whose name is in `CHUNK_EXTRAS` or `CHOICE_EXTRAS` is new if its value is another than the
    last one; any other always, since the reply's log finds out by itself whether it is.
    """

    __slots__ = ("_of_choice", "_of_chunk")

    def __init__(self) -> None:
        self._of_chunk: tuple[Any, ...] = (None,) * len(CHUNK_EXTRAS)
        self._of_choice: tuple[Any, ...] = (None,) * len(CHOICE_EXTRAS)

    def of_chunk(self, chunk: Chunk) -> dict[str, Any] | None:
        """Return what is new in a chunk itself, by name, or None if nothing is."""
        values, before = chunk.extras(), self._of_chunk
        if values == before and chunk.others is None:
            return None
        self._of_chunk = values
        return _changed(CHUNK_EXTRAS, values, before) | (chunk.others or {})

    def of_choice(self, choice: Choice) -> dict[str, Any] | None:
        """Return what is new in a choice itself, by name, or None if nothing is."""
        values, before = choice.extras(), self._of_choice
        if values == before and choice.others is None:
            return None
        self._of_choice = values
        return _changed(CHOICE_EXTRAS, values, before) | (choice.others or {})


def of_delta(delta: Delta) -> dict[str, Any]:
    """Return the members of a delta or message that no other piece takes, by name."""
    extras = dict(delta.others or {})
    if delta.reasoning_details is not None:
        extras["reasoning_details"] = delta.reasoning_details
    return extras


def keepable(value: Any) -> Any:
    """Return a value of JSON as a log can hold it, or None if it is nested too deeply.

    An integer of more than 64 bits becomes the nearest number.
    """
    try:
        return _kept(value, DEEPEST)
    except (ValueError, OverflowError):
        return None


def _kept(value: Any, depth: int) -> Any:
    if type(value) is int:
        return value if -(2**63) <= value < 2**64 else float(value)
    if type(value) is float and not math.isfinite(value):
        return None
    if isinstance(value, (list, dict)) and not depth:
        raise ValueError
    if isinstance(value, list):
        return [_kept(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {name: _kept(member, depth - 1) for name, member in value.items()}
    return value


def _changed(
    names: tuple[str, ...], values: tuple[Any, ...], before: tuple[Any, ...]
) -> dict[str, Any]:
    return {
        name: value
        for name, value, last in zip(names, values, before, strict=True)
        if value is not None and value != last
    }
