"""The reader of all parts of a reply: its marks and texts, for one client, over any transport."""

from __future__ import annotations

from typing import Any, NamedTuple

from chatsvc.log import Log
from chatsvc.replies.departure import Departure, SentAway
from chatsvc.replies.log_reader import LogReader
from chatsvc.ticker import IDLE, NOW, Ticker
from chatsvc.units import ANSWER, PartText, Unit

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

    __slots__ = ("_seen", "_sides", "offset")

    def __init__(
        self, log: Log, ticker: Ticker, departure: Departure, after: int = 0
    ) -> None:
        super().__init__(log, ticker, departure)
        self.offset = after
        self._sides = log.sides()
        self._sides.waiters.add(self)
        # The side units before the offset; -1 until the open parts' marks have been yielded.
        self._seen = -1

    def take(self) -> list[PartItem] | None:
        """Return what is out and was not returned yet, without waiting, or None.

        See `LogReader.take`. Raises `SentAway`.
        """
        if (text := self.take_text()) is not None:
            return [PartItem(self.offset, PartText(ANSWER, text))]
        return self.take_others()

    def take_others(self) -> list[PartItem] | None:
        """Return what `take` does when `take_text` has returned None. Raises `SentAway`."""
        if (token := self._take_token()) is not None:
            return [token]
        log = self._log
        items: list[PartItem] = []
        if self._seen < 0:
            marks = self._sides.open_at(self.offset)
            items = [PartItem(self.offset, mark, resumed=True) for mark in marks]
            self._seen = 0
        if log.end is not None and self.offset >= log.offset:
            self.over = not items
            self.slot = NOW if items else IDLE
            return items or None
        items += next_units(self, self.offset)
        if items:
            self.offset = items[-1].offset
        self._seen = self.offset - log.position_at(self.offset)
        return items or None

    def take_text(self) -> str | None:
        """Return what is new if it is one text of the answer and short, as a model's token is.

        The offset behind it is `offset` then, and `slot` is as after `take`. Else return None, and
        nothing has happened.
        """
        log, seen = self._log, self._seen
        position, end = self.offset - seen, log.position
        if (
            self._sides.count != seen
            or not position < end <= position + LONGEST_BATCH
            or self._departure.leaving
        ):
            return None
        text = log.segments[-1].released_behind(position, self.ticker.horizon)
        if not text:
            return None
        self.offset = end + seen
        self.slot = IDLE if log.end is None else NOW  # the log wakes it
        return text

    def _take_token(self) -> PartItem | None:
        """Return what is new if it is one text of a side part, as a token of reasoning is; else None.

        It is what `take` would find with much more work.
        """
        log, seen = self._log, self._seen
        if not 0 <= seen < self._sides.count or self._departure.leaving:
            return None
        unit = self._sides.latest(self.offset - seen, seen)
        if unit is None or len(unit.text) > LONGEST_BATCH:
            return None
        self.offset += len(unit.text)
        self._seen += len(unit.text)
        behind = self.offset < log.offset or log.end is not None
        self.slot = NOW if behind else IDLE  # the log wakes it
        return PartItem(self.offset, unit)

    def close(self) -> None:
        """Yield nothing any more, and leave the log's waiters."""
        super().close()
        self._sides.waiters.discard(self)


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
