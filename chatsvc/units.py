"""The units of a reply that stand beside its answer's text: marks, and the text of side parts.

A reply is a log of units in one order (PROTOCOL.md section 1). A unit is a code point of the answer's
text, a code point of a side part's text, or a mark. A side part (reasoning, a call of a tool, a
source, …) has a number from 1 on. It begins with a `Mark`; one that is not whole in that has
`PartText` and, unless the reply ended before, a `Close`. Part 0 is the answer's text, without marks.

These are plain immutable values. `encode_units` and `decode_units` turn side units into JSON, as they
stand in a shared store, and back.

Invariants:

- `decode_units` takes any JSON: members and kinds that it doesn't know are kept or ignored, and an
  object is one of the three by its members alone. So a later version may add members and kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import msgspec

MARK_BYTES = 64
"""The bytes that a mark counts for beside those of its JSON, where a reply's size is limited."""


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """The mark that begins side part number `part`: one unit.

    `kind` is the part's kind and `members` are its members, by name (PROTOCOL.md section 1). `whole`
    is whether the part has no text and no closing mark: then this mark is all of it.
    """

    part: int
    kind: str
    members: dict[str, Any] = {}
    whole: bool = False


class PartText(msgspec.Struct, frozen=True):
    """Text of part number `part`: as many units as it has code points.

    In the log it belongs to a side part. What readers are given of the answer's text is a `PartText`
    of part 0.
    """

    part: int
    text: str


class Close(msgspec.Struct, frozen=True, omit_defaults=True):
    """The mark that ends side part number `part`, with the members known only then: one unit."""

    part: int
    members: dict[str, Any] = {}


Unit = Mark | PartText | Close
"""Some units of one part: a mark, or text."""

ANSWER = 0
"""The number of the part that is the answer's text."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def count_of(unit: Unit) -> int:
    """Return the number of units: the code points of a text, 1 for a mark."""
    return len(unit.text) if type(unit) is PartText else 1


def count_all(units: Sequence[Unit]) -> int:
    """Return the number of units of all of some."""
    return sum(map(count_of, units))


def behind(unit: Unit, count: int) -> Unit | None:
    """Return what is left of `unit` behind its first `count` units, or None if nothing is."""
    if not count:
        return unit
    if type(unit) is PartText and count < len(unit.text):
        return PartText(unit.part, unit.text[count:])
    return None


def split(units: Sequence[Unit], count: int) -> tuple[list[Unit], list[Unit]]:
    """Return the first `count` units of some, and the others."""
    first: list[Unit] = []
    others: list[Unit] = []
    for unit in units:
        size = count_of(unit)
        if size <= count:
            first.append(unit)
        elif not count:
            others.append(unit)
        elif type(unit) is PartText:
            first.append(PartText(unit.part, unit.text[:count]))
            others.append(PartText(unit.part, unit.text[count:]))
        count -= min(size, count)
    return first, others


def joined(units: Iterable[Unit]) -> list[Unit]:
    """Return the same units, in which texts of one part that follow each other are one."""
    found: list[Unit] = []
    for part, group in groupby(
        units, lambda unit: unit.part if type(unit) is PartText else None
    ):
        if part is None:
            found += group
        else:
            texts = [unit.text for unit in group if type(unit) is PartText]
            if text := "".join(texts):
                found.append(PartText(part, text))
    return found


def size_of(unit: Unit) -> int:
    """Return the bytes that `unit` counts for against the limit of a reply's side parts.

    They are a text's bytes of UTF-8, and for a mark those of its JSON and `MARK_BYTES`. Raises
    `TypeError`, `ValueError` or `RecursionError` for members that JSON can't hold.
    """
    if type(unit) is PartText:
        return len(unit.text) if unit.text.isascii() else len(unit.text.encode())
    return len(_encoder.encode(unit)) + MARK_BYTES


def encode_units(units: Sequence[Unit]) -> str:
    """Return side units as JSON: an array with an object for each."""
    return _encoder.encode(units).decode()


def decode_units(text: str) -> tuple[Unit, ...]:
    """Return the side units that `encode_units` has written, in this version or in a later one.

    What is no array of objects, or an object without a side part's number, is left out.
    """
    try:
        found = _decoder.decode(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(found, list):
        return ()
    return tuple(unit for each in found if (unit := _unit(each)) is not None)


def _unit(found: object) -> Unit | None:
    if not isinstance(found, dict):
        return None
    part, text, kind = found.get("part"), found.get("text"), found.get("kind")
    if type(part) is not int or part < 1:
        return None
    if isinstance(text, str):
        return PartText(part, text)
    members = found.get("members")
    if not isinstance(members, dict):
        members = {}
    if isinstance(kind, str):
        return Mark(part, kind, members, found.get("whole") is True)
    return Close(part, members)
