"""The log of a reply: the text that has arrived, when each character is released, and the end.

Arrival and release are two things. A log holds the text that has *arrived* from the backend. Its
pace and lag say at which time each character is *released* to the readers. Nothing here awaits and
nothing reads a clock: every time is an argument, in integer microseconds of the store's clock, so
that every node computes the same schedule.

Invariants:

- Text is only appended, in whole characters, and only before the end. A character that has been
  released stays as it is, and stays released.
- The end is set once. A reply that is stopped ends at the position that is *released* at that time:
  the text that had arrived beyond it was given to no reader and is dropped. Any other end comes
  after all of the text: what isn't released when it is set is released with it.
- A log has few segments, however small the pieces are that arrive: what continues the schedule of
  the last segment joins it, and segments that are released entirely need none and are merged. Text
  is cut into characters only when it arrives.
- The work of a call is linear in the text that it is given, drops or returns, or it is bounded.
- When a segment that a reader may stand in changes, all readers are marked as stale.
- Side units stand beside the text (see `chatsvc.side`). The pace spreads text alone: a side unit is
  out as soon as the text before it is, so all nodes compute the same, and a stop drops the side units
  behind the position that is released. Where one stands, a character ends.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any

from chatsvc.kept_prompt import KeptPrompt
from chatsvc.model import End
from chatsvc.segment import Segment
from chatsvc.side import SideUnits
from chatsvc.ticker import Waiter
from chatsvc.units import ANSWER, PartText, Unit

MERGE_BATCH = 16
"""The released segments that are merged at once: after each merge readers look up their segment."""

_LAG_GRAIN_US = 1_000
"""The lag ends at a multiple of this: what falls behind it within one is released together."""

_START = attrgetter("start")
_FIRST = attrgetter("first")


class Log:
    """The log of one reply: its text, its end, and the waiters that are woken when it grows.

    `pace` is the time between two characters and `lag` how far release may fall behind arrival,
    both in microseconds; without a lag (None) the pace alone decides. `position` is the number of
    code points that have arrived, `size` their bytes of UTF-8. `planned_end` is set by `seal`,
    `end` by `finish`; both are None before. `on_end` is called once the end is set: the producer's
    callback. `waiters` holds the readers of this node. `side` holds the side units; it is None before
    there are any, or readers of them. `usage` is what the backend says that the reply has used so far,
    as OpenAI's usage object, on the node that produces it; else None. `prompt` is what the reply
    answers, or None where that is not kept: the end drops all of it but the question.
    """

    __slots__ = (
        "__weakref__",
        "_merged",
        "end",
        "lag",
        "on_end",
        "pace",
        "planned_end",
        "position",
        "prompt",
        "reply_id",
        "segments",
        "side",
        "size",
        "usage",
        "waiters",
    )

    def __init__(self, reply_id: str, *, pace: int = 0, lag: int | None = None) -> None:
        self.reply_id = reply_id
        self.prompt: KeptPrompt | None = None
        self.pace = pace
        self.lag = lag
        self.segments: list[Segment] = []
        self._merged = 0  # the index of the segment up to which all are merged
        self.position = 0
        self.size = 0
        self.side: SideUnits | None = None
        self.usage: dict[str, Any] | None = None
        self.planned_end: End | None = None
        self.end: End | None = None
        self.on_end: Callable[[], None] | None = None
        self.waiters: set[Waiter] = set()

    # ------------------------------------------------------------------ writing

    def append(self, text: str, at: int) -> None:
        """Append text that arrived at `at` (microseconds), and wake the readers that wait for it.

        `text` must hold whole characters with clean line ends, as `Splitter` returns them.
        """
        if not text:
            return
        ascii_only, segments = text.isascii(), self.segments
        last = segments[-1] if segments else None
        if last is None or self.pace or not ascii_only or not last.extend_plainly(text):
            segment = Segment(self.position, text)
            self._schedule(segment, last, at)
            if last is None or not self._join(last, segment):
                self._merge(at)
                segments.append(segment)
        length = len(text)
        self.position += length
        self.size += length if ascii_only else len(text.encode())
        for waiter in self.waiters:
            waiter.stale = True  # the segment that it stands in may have changed
            # A reader that stands in a slot of the ticker finds new text when its slot comes.
            if waiter.slot < 0:
                waiter.ticker.wake(waiter)

    def append_side(self, units: Sequence[Unit]) -> None:
        """Append side units behind all that has arrived, and wake the readers that wait for them.

        The text before them must be whole characters: what follows them begins a new one.
        """
        side = self.sides()
        side.append(units, self.position)
        for waiter in side.waiters:
            if waiter.slot < 0:
                waiter.ticker.wake(waiter)

    def sides(self) -> SideUnits:
        """Return `side`; make it if it is None."""
        if self.side is None:
            self.side = SideUnits()
        return self.side

    def _schedule(self, segment: Segment, last: Segment | None, at: int) -> None:
        """Spread a segment over the time that the pace and the lag leave to it.

        Its first character follows the last one before it by the pace. If its last character would
        come more than the lag after its arrival, the characters are closer together: evenly spread
        up to that time, from its arrival or the release of all before it, whichever is later.
        """
        before = at - self.pace if last is None else last.last
        segment.first, segment.step = max(at, before + self.pace), self.pace
        if self.lag is not None and segment.last > (limit := at + self.lag):
            begin = max(at, before)
            room = max(0, limit - limit % _LAG_GRAIN_US - begin)
            segment.step = min(self.pace, room // segment.count)
            segment.first = max(at, begin + segment.step)

    def _join(self, last: Segment, segment: Segment) -> bool:
        """Append a segment to the last one if that keeps all times; return whether it did.

        A single character has no step of its own. Without a pace there are no times to keep: what
        arrives is released.
        """
        step = segment.first - last.last if self.pace else 0
        if (
            step > self.pace
            or (last.count > 1 and last.step != step)
            or (segment.count > 1 and segment.step != step)
            or not last.extend(segment)
        ):
            return False
        last.step = step
        return True

    def _merge(self, now: int) -> None:
        """Merge the segments that are released at `now`, once they are `MERGE_BATCH` and one."""
        segments, end = self.segments, self._merged + MERGE_BATCH
        if len(segments) <= end or segments[end].last > now:
            return
        while end < len(segments) and segments[end].last <= now:
            end += 1
        self._merge_until(end)

    def _merge_until(self, end: int) -> None:
        """Merge the segments up to index `end`, from where the last merge ended: all are released.

        The last merged segment takes part again while it is shorter than `MERGED_LENGTH`.
        """
        begin = self._merged
        merged: list[Segment] = []
        for segment in self.segments[begin:end]:
            segment.first = segment.step = 0
            if not merged or not merged[-1].extend(segment):
                merged.append(segment)
        self.segments[begin:end] = merged
        self._merged = begin + max(len(merged) - 1, 0)

    def seal(self, planned_end: End) -> None:
        """Note that all of the text has arrived, and the end that follows once it is released.

        No reader is woken: readers see the end only when `finish` sets it.
        """
        self.planned_end = planned_end

    def finish(self, end: End, at: int) -> None:
        """Set the end, wake all readers and call `on_end`; do nothing if there is an end already.

        An end whose state is `stopped` cuts the text at the position that is released at `at`
        (microseconds). With any other end all of the text that has arrived is released.
        """
        if self.end is not None:
            return
        if end.state == "stopped":
            self._drop_behind(self.released(at))
        self.end = end
        self._merge_until(len(self.segments))
        self.interrupt()
        if self.on_end is not None:
            self.on_end()
        if self.prompt is not None:
            self.prompt.drop()
        # A set stays as large as it once was, a copy doesn't, and ended logs are kept for minutes.
        self.waiters = set(self.waiters)

    def _drop_behind(self, position: int) -> None:
        """Drop the text and the side units behind a position, at which a character ends."""
        if self.side is not None:
            self.side.drop_behind(position)
        self.size -= len(self.text(position).encode())
        self.position = position
        del self.segments[bisect_left(self.segments, position, key=_START) :]
        if self.segments:
            last = self.segments[-1]
            last.truncate(last.index(position - last.start))

    def interrupt(self) -> None:
        """Wake every reader and have it look up its segment anew, whatever it waits for."""
        for waiter in self.waiters:
            waiter.stale = True
            waiter.ticker.wake(waiter)

    # ------------------------------------------------------------------ offsets

    @property
    def offset(self) -> int:
        """The number of units that have arrived: code points of text, and side units."""
        return self.position if self.side is None else self.position + self.side.count

    def offset_at(self, position: int) -> int:
        """Return the earliest offset that has a position."""
        return position if self.side is None else position + self.side.before(position)

    def position_at(self, offset: int) -> int:
        """Return the position at an offset."""
        return offset if self.side is None else self.side.position(offset)

    def released_offset(self, now: int) -> int:
        """Return the offset up to which the reply is out at `now` (microseconds)."""
        position = self.released(now)
        return position if self.side is None else position + self.side.until(position)

    def character_begin(self, offset: int) -> int:
        """Return the offset at which the character begins that has the unit behind `offset`.

        It is `offset` itself where a side unit stands behind it, or nothing.
        """
        position = self.position_at(offset)
        segment = self.find(position)
        if segment is None or (
            self.side is not None and offset < position + self.side.until(position)
        ):
            return offset
        inside = position - segment.start
        return offset - (inside - segment.offset(segment.index(inside)))

    def due_behind(self, position: int) -> int | None:
        """Return when the character is released that has the code point behind `position`.

        The time is in microseconds; it is None if there is no such character yet.
        """
        segment = self.find(position)
        if segment is None:
            return None
        return segment.first + segment.index(position - segment.start) * segment.step

    def units(
        self, after: int, before: int, most: int = 1 << 62
    ) -> list[tuple[int, Unit]]:
        """Return the units between two offsets, text as `PartText` of part 0, at most `most` values.

        Each stands with the offset behind it. Texts of one part that follow each other are one.
        """
        if self.side is not None:
            return self.side.between(after, before, self.text, most)
        text = self.text(after, before)
        return [(after + len(text), PartText(ANSWER, text))] if text else []

    # ------------------------------------------------------------------ reading

    def find(self, position: int) -> Segment | None:
        """Return the segment that holds the code point after `position`, or None."""
        if position >= self.position:
            return None
        return self.segments[self._index(position)]

    def _index(self, position: int) -> int:
        return bisect_right(self.segments, position, key=_START) - 1

    def released(self, now: int) -> int:
        """Return the position up to which the text is released at `now` (microseconds)."""
        index = bisect_right(self.segments, now, key=_FIRST) - 1
        if index < 0:
            return 0
        segment = self.segments[index]
        return segment.start + segment.offset(segment.released(now))

    def due(self) -> int:
        """Return the time at which all text that has arrived is released (microseconds), or 0."""
        return self.segments[-1].last if self.segments else 0

    def text(self, after: int, before: int | None = None) -> str:
        """Return the text from position `after` up to `before`, or all behind it."""
        last = self.position if before is None else before
        if after >= last:
            return ""
        parts = []
        for segment in islice(self.segments, max(0, self._index(after)), None):
            if segment.start >= last:
                break
            parts.append(
                segment.text[max(0, after - segment.start) : last - segment.start]
            )
        return "".join(parts)
