"""The side units of a reply's log, and where each stands in the answer's text.

Offsets count all units of a reply, positions those of the answer's text alone (PROTOCOL.md section
1). A side unit stands at a position, behind all text before it and before the text behind it.

Invariants:

- Side units are only appended, at positions that never decrease, except that a stop drops the last.
- The work of a call grows with the logarithm of what is there, or is linear in what it is given,
  drops or returns.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from chatsvc.ticker import Waiter
from chatsvc.units import (
    ANSWER,
    Close,
    Mark,
    PartText,
    Unit,
    behind,
    count_of,
    size_of,
    split,
)

MERGED_LENGTH = 2048
"""The code points up to which texts that follow each other in a part become one."""

SNAPSHOT_ENTRIES = 256
"""The entries after which the open parts are noted, so that a look-up starts from there."""

ENTRY_BYTES = 200
"""Bytes of memory that an entry takes beside what its unit holds."""

MEMBERS_FACTOR = 4
"""How many times as much memory a mark's members take as their JSON."""


class Placed:
    """A side unit and its place: the `position` at which it stands, and the side units before it.

    `start` is the number of the latter.
    """

    __slots__ = ("position", "start", "unit")

    def __init__(self, unit: Unit, position: int, start: int) -> None:
        self.unit = unit
        self.position = position
        self.start = start

    @property
    def offset(self) -> int:
        """The offset before the unit."""
        return self.position + self.start


_POSITION = attrgetter("position")
_OFFSET = attrgetter("offset")
_START = attrgetter("start")


class SideUnits:
    """All side units of one log. `count` is their number; `waiters` are the readers of them here."""

    __slots__ = (
        "_entries",
        "_measured",
        "_measured_bytes",
        "_open",
        "_snapshots",
        "count",
        "waiters",
    )

    def __init__(self) -> None:
        self.count = 0
        self.waiters: set[Waiter] = set()
        self._entries: list[Placed] = []
        # The number of entries whose bytes are known: all but the last, which may still grow.
        self._measured = 0
        self._measured_bytes = 0
        self._open: dict[int, Mark] = {}  # behind the last entry, by the part's number
        # The number of entries before, and the parts that are open there.
        self._snapshots: list[tuple[int, tuple[Mark, ...]]] = []

    def append(self, units: Sequence[Unit], position: int) -> None:
        """Append some units, which stand at `position`."""
        for unit in units:
            self._append(unit, position)

    def _append(self, unit: Unit, position: int) -> None:
        entries = self._entries
        last = entries[-1] if entries else None
        start, count = self.count, count_of(unit)
        self.count += count
        if (
            last is not None
            and last.position == position
            and type(unit) is PartText
            and type(last.unit) is PartText
            and last.unit.part == unit.part
            and len(last.unit.text) + count <= MERGED_LENGTH
        ):
            last.unit = PartText(unit.part, last.unit.text + unit.text)
            return
        noted = self._snapshots[-1][0] if self._snapshots else 0
        # As many entries as the note has parts, so that all notes are no larger than the entries.
        if len(entries) - noted >= SNAPSHOT_ENTRIES + len(self._open):
            self._snapshots.append((len(entries), tuple(self._open.values())))
        entries.append(Placed(unit, position, start))
        _follow(self._open, unit)

    def held_bytes(self) -> int:
        """Return the bytes of memory that the units take, about: what is new is measured."""
        entries = self._entries
        for number in range(self._measured, len(entries) - 1):
            self._measured_bytes += _held_bytes(entries[number].unit)
        self._measured = max(0, len(entries) - 1)
        last = _held_bytes(entries[-1].unit) if entries else 0
        return self._measured_bytes + last

    def until(self, position: int) -> int:
        """Return how many side units stand at `position` or before it."""
        return self._start(bisect_right(self._entries, position, key=_POSITION))

    def before(self, position: int) -> int:
        """Return how many side units stand before the code point that ends at `position`.

        `position` and these together are the earliest offset that has the position.
        """
        return self._start(bisect_left(self._entries, position, key=_POSITION))

    def _start(self, index: int) -> int:
        entries = self._entries
        return entries[index].start if index < len(entries) else self.count

    def position(self, offset: int) -> int:
        """Return the position at an offset."""
        index = bisect_right(self._entries, offset, key=_OFFSET) - 1
        if index < 0:
            return offset
        entry = self._entries[index]
        return max(entry.position, offset - entry.start - count_of(entry.unit))

    def between(
        self, after: int, before: int, text: Callable[[int, int], str], most: int
    ) -> list[tuple[int, Unit]]:
        """Return the units between two offsets, those of the answer's text too, as `Log.units`.

        `text` returns the answer's text between two positions.
        """
        found: list[tuple[int, Unit]] = []
        texts: list[str] = []  # of the part that the last unit of `found` belongs to
        offset = after
        for unit in self._pieces(after, before, text):
            offset += count_of(unit)
            if type(unit) is PartText and texts and found[-1][1].part == unit.part:
                texts.append(unit.text)
                found[-1] = offset, unit
                continue
            _join(found, texts)
            if len(found) >= most:
                return found
            texts = [unit.text] if type(unit) is PartText else []
            found.append((offset, unit))
        _join(found, texts)
        return found

    def _pieces(
        self, after: int, before: int, text: Callable[[int, int], str]
    ) -> Iterator[Unit]:
        """Yield the units between two offsets, in order, as they stand in the log."""
        offset, position = after, self.position(after)
        index = bisect_right(self._entries, after, key=_OFFSET) - 1
        for number in range(max(0, index), len(self._entries)):
            if offset >= before:
                return
            entry = self._entries[number]
            if entry.position > position:
                behind_text = min(entry.position, position + before - offset)
                yield PartText(ANSWER, text(position, behind_text))
                offset += behind_text - position
                position = behind_text
                if offset >= before:
                    return
            unit = behind(entry.unit, offset - entry.offset)
            if unit is None:
                continue
            if type(unit) is PartText and len(unit.text) > before - offset:
                unit = PartText(unit.part, unit.text[: before - offset])
            yield unit
            offset += count_of(unit)
        if offset < before and (rest := text(position, position + before - offset)):
            yield PartText(ANSWER, rest)

    def latest(self, position: int, after: int) -> PartText | None:
        """Return what is behind the first `after` side units, if it takes no more than a look.

        So it is with each token of a model's reasoning: it is text of one part, in the last entry,
        at a `position` of the answer's text. Otherwise return None.
        """
        entry = self._entries[-1]
        unit, inside = entry.unit, after - entry.start
        if type(unit) is not PartText or inside < 0 or entry.position != position:
            return None
        return PartText(unit.part, unit.text[inside:])

    def sides(self, after: int, before: int) -> Iterator[Unit]:
        """Yield the side units behind the first `after`, up to the first `before`."""
        index = bisect_right(self._entries, after, key=_START) - 1
        for number in range(max(0, index), len(self._entries)):
            entry = self._entries[number]
            if entry.start >= before:
                return
            unit = behind(entry.unit, max(0, after - entry.start))
            if unit is not None:
                [first], _ = split([unit], before - max(after, entry.start))
                yield first

    def drop_behind(self, position: int) -> None:
        """Drop all side units that stand behind `position`."""
        index = bisect_right(self._entries, position, key=_POSITION)
        self.count = self._start(index)
        del self._entries[index:]
        if self._measured >= index:  # the one that is now the last may grow again
            self._measured = self._measured_bytes = 0
        while self._snapshots and self._snapshots[-1][0] > index:
            self._snapshots.pop()
        self._open = self._open_before(index)

    def open_at(self, offset: int) -> list[Mark]:
        """Return the marks of the parts that are open at an offset, by number.

        They began before it, and are not whole in their mark; those that end there are open.
        """
        index = bisect_left(self._entries, offset, key=_OFFSET)
        found = self._open_before(index)
        return [found[part] for part in sorted(found)]

    def _open_before(self, index: int) -> dict[int, Mark]:
        """Return the parts that are open before the entry with an index, by number."""
        at = bisect_right(self._snapshots, index, key=lambda noted: noted[0]) - 1
        begin, marks = self._snapshots[at] if at >= 0 else (0, ())
        found = {mark.part: mark for mark in marks}
        for entry in self._entries[begin:index]:
            _follow(found, entry.unit)
        return found


def _held_bytes(unit: Unit) -> int:
    size = size_of(unit)
    return ENTRY_BYTES + (size if type(unit) is PartText else MEMBERS_FACTOR * size)


def _follow(parts: dict[int, Mark], unit: Unit) -> None:
    """Keep `parts`, the open ones, up to date with the next unit."""
    if type(unit) is Mark:
        if not unit.whole:
            parts[unit.part] = unit
    elif type(unit) is Close:
        parts.pop(unit.part, None)


def _join(found: list[tuple[int, Unit]], texts: list[str]) -> None:
    """Let the last of `found`, if there are `texts` for it, be the text that these are together."""
    if len(texts) > 1:
        offset, unit = found[-1]
        found[-1] = offset, PartText(unit.part, "".join(texts))
