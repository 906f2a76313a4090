"""Values that every store and transport can encode: what a backend says beside its text, cleaned.

The end of a reply is encoded as JSON by msgspec, for Redis and for readers. A lone surrogate in it,
a value of a foreign class or a number that the decoder refuses would leave the reply without an
end, so what comes from outside goes through here before it becomes part of one.
"""

from __future__ import annotations

import math
from typing import Any

from chatsvc.graphemes import join_surrogates
from chatsvc.model import Finish

MOST_DEPTH = 8
"""How deep a usage may be nested; OpenAI's has two levels."""

MOST_WEIGHT = 4096
"""Values and characters of strings that a usage may have in all, or it is dropped."""

LARGEST_INT = 2**63 - 1
"""The largest integer that all decoders of the project read; the least is its negative."""


class _TooBig(Exception):
    """A usage that has more than `MOST_WEIGHT` or is nested deeper than `MOST_DEPTH`."""


def encodable_text(text: object) -> str:
    """Return `text` as plain `str` of valid Unicode, each lone surrogate replaced by U+FFFD.

    Of a `str`'s subclass, such as a markup or an enumeration, it is the characters; of any other
    object what `str` makes of it.
    """
    # `str` would ask a subclass's own `__str__`, which for an enumeration gives its name.
    plain = text if isinstance(text, str) else str(text)
    return join_surrogates(str.__str__(plain))


def encodable_usage(usage: object) -> dict[str, Any] | None:
    """Return a copy of `usage` that holds nothing but JSON, or None where there is none.

    It is None for anything but a dict, and for one that is too big or too deep as a whole. Inside,
    None stands for what JSON does not have: objects of other classes, numbers that are not finite
    and integers beyond 64 bits. A key that is not a `str` is left out with its value.
    """
    if not isinstance(usage, dict):
        return None
    try:
        copy: dict[str, Any] = _Copier().copy(usage, MOST_DEPTH)
    except _TooBig:
        return None
    return copy


def encodable_finish(finish: Finish) -> Finish:
    """Return `finish` with a reason and a usage that can be encoded."""
    return Finish(encodable_text(finish.reason), encodable_usage(finish.usage))


class _Copier:
    """One copy in progress; it stops at what is too big instead of looking at all of it."""

    def __init__(self) -> None:
        self._room = MOST_WEIGHT

    def copy(self, value: object, depth: int) -> Any:
        """Return the copy of `value`, in which `depth` further levels may be."""
        self._take(1)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            self._take(len(value))
            return encodable_text(value)
        if isinstance(value, int):
            return int(value) if -LARGEST_INT <= value <= LARGEST_INT else None
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if not isinstance(value, (dict, list, tuple)):
            return None
        if not depth:
            raise _TooBig
        if isinstance(value, dict):
            return {
                self.copy(key, 0): self.copy(item, depth - 1)
                for key, item in value.items()
                if isinstance(key, str)
            }
        return [self.copy(item, depth - 1) for item in value]

    def _take(self, weight: int) -> None:
        self._room -= weight
        if self._room < 0:
            raise _TooBig
