"""The log of a reply: what has arrived, when each character is out, and the one end.

Arrival and release are two things. The log holds what has *arrived*. The pace says, from the store's clock, what is
*out*: a character is out when it has arrived and its turn has come. Nothing here awaits and nothing looks at a clock;
times are given, in integer microseconds of the store's clock, so every node computes the same.

Rules
- Text is only appended, in whole characters, and only before `end`. What has been out stays as it is.
- `end` is set once. A reply that is stopped ends where it was *out*: what had arrived beyond that was given to nobody
  and goes. Every other end comes after all text; what isn't out yet when it is set is out with it.
- Segments that are out entirely have no schedule any more and are merged, so a log stays short.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import attrgetter

from chatsvc.graphemes import boundaries
from chatsvc.model import End
from chatsvc.ticker import Waiter

MERGE_BELOW = 2048
"""Code points up to which neighbouring segments that are out become one."""

MERGE_AT_ONCE = 16
"""Segments that are out before they are merged: a reader has to find its place again each time."""


class Segment:
    """Text with a schedule: character `i` is out at `first + i * step` (microseconds).

    `start` is the position before it; `ends` the offsets at which its characters end, or None when each is one code
    point long; `count` the number of characters.
    """

    __slots__ = ("count", "ends", "first", "start", "step", "text")

    def __init__(self, start: int, text: str, first: int = 0, step: int = 0) -> None:
        self.start = start
        self.text = text
        self.ends: array[int] | None = boundaries(text)
        self.count = len(text) if self.ends is None else len(self.ends)
        self.first = first
        self.step = step

    @classmethod
    def merged(cls, segments: Sequence[Segment]) -> Segment:
        """One segment without a schedule in the place of several; its characters are theirs."""
        merged = cls(segments[0].start, "")
        merged.text = "".join(segment.text for segment in segments)
        merged.count = sum(segment.count for segment in segments)
        if merged.count < len(merged.text):
            ends, base = array("I"), 0
            for segment in segments:
                own = segment.ends or range(1, segment.count + 1)
                ends.extend(array("I", (base + end for end in own)) if base else own)
                base += len(segment.text)
            merged.ends = ends
        return merged

    @property
    def last(self) -> int:
        """When its last character is out."""
        return self.first + (self.count - 1) * self.step

    def out(self, now: int) -> int:
        """How many of its characters are out."""
        if now < self.first:
            return 0
        if not self.step:
            return self.count
        return min(self.count, (now - self.first) // self.step + 1)

    def offset(self, index: int) -> int:
        """How many code points stand before character `index`."""
        if self.ends is None or index == 0:
            return index
        return self.ends[index - 1]

    def index(self, offset: int) -> int:
        """The character that the code point at `offset` belongs to."""
        return offset if self.ends is None else bisect_right(self.ends, offset)

    def characters(self, begin: int, end: int) -> Sequence[str]:
        """The characters from `begin` up to `end`: the text itself where each is one code point."""
        ends = self.ends
        if ends is None:
            return self.text[begin:end]
        cuts = [ends[begin - 1] if begin else 0, *ends[begin:end]]
        return [self.text[a:b] for a, b in pairwise(cuts)]


_START = attrgetter("start")


class Log:
    """One reply's text and end, with those who wait for more.

    `pace` is the microseconds between two characters; `lag` how far release may fall behind arrival (microseconds), or
    None where the pace is all that counts.
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
        "reply_id",
        "segments",
        "size",
        "waiters",
    )

    def __init__(self, reply_id: str, *, pace: int = 0, lag: int | None = None) -> None:
        self.reply_id = reply_id
        self.pace = pace
        self.lag = lag
        self.segments: list[Segment] = []
        self._merged = 0  # the segment up to which all are merged
        self.position = 0  # of the last code point that has arrived
        self.size = 0  # bytes of UTF-8 that have arrived
        # What the end will be once all is out; known since the text is complete.
        self.planned_end: End | None = None
        self.end: End | None = None
        self.on_end: Callable[[], None] | None = None  # for whoever produces it
        self.waiters: set[Waiter] = set()  # woken when it grows or ends

    # ------------------------------------------------------------------ writing

    def append(self, text: str, at: int) -> None:
        """Take text that arrived at `at`; `text` is whole characters with clean line ends."""
        if not text:
            return
        last = self.segments[-1] if self.segments else None
        segment = Segment(self.position, text)
        if last is not None and not self.pace and len(last.text) < MERGE_BELOW:
            self.segments[-1] = Segment.merged((last, segment))
            self._invalidate_readers()
        else:
            self._schedule(segment, last, at)
            self._merge(at)
            self.segments.append(segment)
        self.position += len(text)
        self.size += len(text) if text.isascii() else len(text.encode())
        self._wake(idle_only=True)

    def _schedule(self, segment: Segment, last: Segment | None, at: int) -> None:
        """Spread a segment over the time that the pace and the lag leave it."""
        before = at - self.pace if last is None else last.last
        segment.first, segment.step = max(at, before + self.pace), self.pace
        if self.lag is not None:
            begin = max(at, before)
            room = at + self.lag - begin
            if segment.last > at + self.lag:
                segment.step = min(self.pace, room // segment.count)
                segment.first = max(at, begin + segment.step)

    def _merge(self, now: int) -> None:
        """Merge those that are out by now, from where the last time ended."""
        segments, begin = self.segments, self._merged
        enough = begin + MERGE_AT_ONCE
        if len(segments) <= enough or segments[enough].last > now:
            return
        merged: list[Segment] = []
        group: list[Segment] = []
        end, size = begin, 0
        while end < len(segments) and segments[end].last <= now:
            size += len(segments[end].text)
            if group and size > MERGE_BELOW:
                merged.append(Segment.merged(group))
                group, size = [], len(segments[end].text)
            group.append(segments[end])
            end += 1
        merged.append(Segment.merged(group))
        segments[begin:end] = merged
        self._merged = begin + len(merged) - 1
        self._invalidate_readers()

    def seal(self, planned_end: End) -> None:
        """No more text will come; this end follows when all is out."""
        self.planned_end = planned_end

    def finish(self, end: End, at: int) -> None:
        """Set the end. One that stops the reply cuts it where it is out at `at`; a second end changes nothing."""
        if self.end is not None:
            return
        text = self.text(0, self.out(at) if end.state == "stopped" else None)
        self.end = end
        self.position = len(text)
        self.size = len(text.encode())
        self.segments = [Segment(0, text)] if text else []
        self._merged = 0
        self._invalidate_readers()
        self._wake(idle_only=False)
        if self.on_end is not None:
            self.on_end()
        self.waiters = set(self.waiters)  # as small as it can be: an ended log is kept

    def interrupt(self) -> None:
        """Let every reader look at where it stands, wherever it waits."""
        self._invalidate_readers()
        self._wake(idle_only=False)

    def _invalidate_readers(self) -> None:
        """A segment that a reader may be in has changed."""
        for waiter in self.waiters:
            waiter.stale = True

    def _wake(self, *, idle_only: bool) -> None:
        for waiter in self.waiters:
            # Who waits for the clock will see new text when its time comes.
            if waiter.slot < 0 or not idle_only:
                waiter.ticker.wake(waiter)

    # ------------------------------------------------------------------ reading

    def find(self, position: int) -> Segment | None:
        """The segment that holds the code point after `position`, if it has arrived."""
        if position >= self.position:
            return None
        return self.segments[self._index(position)]

    def _index(self, position: int) -> int:
        return bisect_right(self.segments, position, key=_START) - 1

    def out(self, now: int) -> int:
        """The position that is out at `now`."""
        for segment in reversed(self.segments):
            count = segment.out(now)
            if count:
                return segment.start + segment.offset(count)
        return 0

    def due(self) -> int:
        """When all that has arrived is out (microseconds; 0 when nothing has arrived)."""
        return self.segments[-1].last if self.segments else 0

    def text(self, after: int, before: int | None = None) -> str:
        """The text between two positions."""
        last = self.position if before is None else before
        if after >= last:
            return ""
        parts = []
        for segment in self.segments[self._index(after) :]:
            if segment.start >= last:
                break
            parts.append(
                segment.text[max(0, after - segment.start) : last - segment.start]
            )
        return "".join(parts)
