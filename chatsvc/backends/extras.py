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
from chatsvc.model import FRAGMENTS, Extra

DEEPEST = 100
"""How deep a member may be nested; one that is deeper is left out, for the log refuses it."""


class Extras:
    """The extras of one answer: those of its chunks, choices and deltas that are new.

    A member of a chunk or choice whose name is in `CHUNK_EXTRAS` or `CHOICE_EXTRAS` is new if its
    value is another than the last one, or if its name is in `FRAGMENTS`; any other always, since the
    reply's log finds out by itself whether it is. `waiting` is whether any were added since `take`.
    """

    __slots__ = ("_fragments", "_names", "_of_choice", "_of_chunk", "_states")

    def __init__(self) -> None:
        self._of_chunk: tuple[Any, ...] = (None,) * len(CHUNK_EXTRAS)
        self._of_choice: tuple[Any, ...] = (None,) * len(CHOICE_EXTRAS)
        # What was added since `take`: of each delta, and by the place for chunks and choices.
        self._fragments: list[dict[str, Any]] = []
        self._states: dict[str, dict[str, Any]] = {}
        self._names: set[str] = set()  # of the members that deltas had

    @property
    def waiting(self) -> bool:
        """Whether `take` would return anything."""
        return bool(self._fragments or self._states)

    def add_chunk(self, chunk: Chunk) -> None:
        """Add what is new in a chunk itself."""
        values, before = chunk.extras(), self._of_chunk
        if values == before and chunk.others is None:
            return
        self._of_chunk = values
        new = _changed(CHUNK_EXTRAS, values, before)
        self._add("chunk", new | (chunk.others or {}))

    def add_choice(self, choice: Choice) -> None:
        """Add what is new in a choice itself."""
        values, before = choice.extras(), self._of_choice
        if (
            values == before
            and choice.others is None
            and choice.logprobs is None
            and choice.token_ids is None
        ):
            return
        self._of_choice = values
        new = _changed(CHOICE_EXTRAS, values, before)
        self._add("choice", new | (choice.others or {}))

    def add_parts(self, delta: Delta | None, message: Delta | None) -> None:
        """Add the members of a choice's delta and of its whole message that no other piece takes.

        Of the message, those that deltas have said already are left out.
        """
        if delta is not None and delta.has_more():
            fragments = _of_delta(delta)
            self._names.update(fragments)
            self._fragments.append(fragments)
        if message is not None and message.has_more():
            members = _of_delta(message).items()
            new = {name: value for name, value in members if name not in self._names}
            self._fragments.append(new)

    def take(self) -> list[Extra]:
        """Return what was added since the last call: those of deltas first, of chunks last."""
        if not self.waiting:
            return []
        found = [(None, members) for members in self._fragments]
        states = [(at, self._states.get(at)) for at in ("choice", "chunk")]
        self._fragments, self._states = [], {}
        return [
            Extra(kept, at)
            for at, members in (*found, *states)
            if members and (kept := keepable_members(members))
        ]

    def take_states(self) -> list[Extra]:
        """Return those of chunks and choices that are no `FRAGMENTS`; `take` then has the others."""
        found: list[Extra] = []
        for at in ("choice", "chunk"):
            members = self._states.pop(at, None)
            if members is None:
                continue
            if not FRAGMENTS.isdisjoint(members):
                self._add(at, {n: v for n, v in members.items() if n in FRAGMENTS})
                members = {n: v for n, v in members.items() if n not in FRAGMENTS}
            if kept := keepable_members(members):
                found.append(Extra(kept, at))
        return found

    def _add(self, at: str, members: dict[str, Any]) -> None:
        if members:
            self._states[at] = self._states.get(at, {}) | members


def _of_delta(delta: Delta) -> dict[str, Any]:
    """Return the members of a delta or message that no other piece takes, by name."""
    extras = dict(delta.others or {})
    if delta.reasoning_details is not None:
        extras["reasoning_details"] = delta.reasoning_details
    return extras


def keepable_members(members: dict[str, Any]) -> dict[str, Any]:
    """Return those members, by name, that a log can hold and that are not None; see `keepable`."""
    return {
        name: kept
        for name, value in members.items()
        if (kept := value if type(value) is str else keepable(value)) is not None
    }


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
        if value is not None and (value != last or name in FRAGMENTS)
    }
