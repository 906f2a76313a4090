"""The reader of all parts of a reply: its marks and texts, for one client, over any transport."""

from __future__ import annotations

from typing import Any, NamedTuple

from chatsvc.log import Log
from chatsvc.replies.departure import Departure, SentAway
from chatsvc.replies.log_reader import LogReader
from chatsvc.ticker import IDLE, NOW, Ticker
from chatsvc.units import Unit

LONGEST_BATCH = 64 * 1024
"""The most units that a reader yields at once, but for one character more."""

MOST_ITEMS = 1024
"""The most items that a reader yields at once; other readers get their turn in between."""


def units_at_once(log: Log, after: int, before: int) -> list[tuple[int, Unit]]:
    """Return the units between two offsets, each with the offset behind it, as `Log.units`.

    They are at most `MOST_ITEMS` values and about `LONGEST_BATCH` units, and end with a character.
    """
    until = min(before, log.character_begin(after + LONGEST_BATCH))
    return log.units(after, until, MOST_ITEMS)


class PartItem(NamedTuple):
    """A mark or a text that a reader of parts is given, and the offset behind it.

    Text of the answer is a `PartText` of part 0. `resumed` is whether it is the mark of a part that
    was open where the reading begins: it counts as no unit, and its `offset` is that of the
    beginning.
    """

    offset: int
    unit: Unit
    resumed: bool = False


class PartsReader(LogReader[list[PartItem]]):
    """A reader of all units of a reply behind an offset (PROTOCOL.md section 1), in order.

    It yields lists, each with all that is out and was not yielded yet, or `MOST_ITEMS` and about
    `LONGEST_BATCH` units of it: text of the answer in whole characters as it is released, and a side
    unit as soon as the text before it is. Texts of one part that follow each other are one item. If
    parts are open at `after`, their marks come first, as `resumed`. `offset` is the offset behind
    what was yielded last.
    """

    __slots__ = ("_resumed", "offset")

    def __init__(
        self, log: Log, ticker: Ticker, departure: Departure, after: int = 0
    ) -> None:
        super().__init__(log, ticker, departure)
        self.offset = after
        self._resumed = False  # whether the open parts' marks have been yielded
        log.sides().waiters.add(self)

    def take(self) -> list[PartItem] | None:
        """Return what is out and was not returned yet, without waiting, or None.

        See `LogReader.take`. Raises `SentAway`.
        """
        log = self._log
        items: list[PartItem] = []
        if not self._resumed:
            self._resumed = True
            marks = log.sides().open_at(self.offset)
            items = [PartItem(self.offset, mark, resumed=True) for mark in marks]
        if log.end is not None and self.offset >= log.offset:
            self.over = not items
            self.slot = NOW if items else IDLE
            return items or None
        items += next_units(self, self.offset)
        if items:
            self.offset = items[-1].offset
        return items or None

    def close(self) -> None:
        """Yield nothing any more, and leave the log's waiters."""
        super().close()
        self._log.sides().waiters.discard(self)


def next_units(reader: LogReader[Any], after: int) -> list[PartItem]:
    """Return the units that are out for a reader behind the offset `after`, which may be none.

    They are as many as `PartsReader` yields at once. `reader.slot` then names the slot in which there
    may be more. Raises `SentAway` when the reader's node leaves and the reply has not ended there.
    """
    log = reader._log
    if reader._departure.leaving and (log.end is None or after < log.offset):
        raise SentAway
    out = log.released_offset(reader.ticker.horizon)
    items = [PartItem(*found) for found in units_at_once(log, after, out)]
    if items:
        after = items[-1].offset
    if after < out or log.end is not None:
        reader.slot = NOW
    elif (due := log.due_behind(log.position_at(after))) is None:
        reader.slot = IDLE  # the log wakes it
    else:
        reader.until_released(due)
    return items
