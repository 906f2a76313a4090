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
- Segments that are released entirely need no schedule any more and are merged, so that a log has
  few segments however small the pieces are that arrive.
- When a segment that a reader may stand in changes, all readers are marked as stale.
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

MERGED_LENGTH = 2048
"""The code points up to which neighbouring segments that are released become one."""

MERGE_BATCH = 16
"""The released segments that are merged at once: after each merge readers look up their segment."""


class Segment:
    """A piece of a log's text and its schedule: character `i` is released at `first + i * step`.

    `first` and `step` are in microseconds; with a step of 0 all characters are released at `first`.
    `start` is the position of the text in the log, in code points. `ends` holds the offsets in the
    text at which its characters end, or is None when each character is one code point long. `count`
    is the number of characters.
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
        """Return one segment in the place of neighbouring ones that are released entirely.

        It has the same characters at the same positions, and no schedule: all are released at 0.
        """
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
        """The time at which the last character is released (microseconds)."""
        return self.first + (self.count - 1) * self.step

    def released(self, now: int) -> int:
        """Return how many characters are released at `now` (microseconds)."""
        if now < self.first:
            return 0
        if not self.step:
            return self.count
        return min(self.count, (now - self.first) // self.step + 1)

    def offset(self, index: int) -> int:
        """Return the offset, in code points, at which character `index` begins."""
        if self.ends is None or index == 0:
            return index
        return self.ends[index - 1]

    def index(self, offset: int) -> int:
        """Return the index of the character that has the code point at `offset`."""
        return offset if self.ends is None else bisect_right(self.ends, offset)

    def characters(self, begin: int, end: int) -> Sequence[str]:
        """Return the characters from index `begin` up to `end`, without `end`.

        Where each character is one code point, that is a slice of the text: a `str`, no list.
        """
        ends = self.ends
        if ends is None:
            return self.text[begin:end]
        cuts = [ends[begin - 1] if begin else 0, *ends[begin:end]]
        return [self.text[a:b] for a, b in pairwise(cuts)]


_START = attrgetter("start")


class Log:
    """The log of one reply: its text, its end, and the waiters that are woken when it grows.

    `pace` is the time between two characters and `lag` how far release may fall behind arrival,
    both in microseconds; without a lag (None) the pace alone decides. `position` is the number of
    code points that have arrived, `size` their bytes of UTF-8. `planned_end` is set by `seal`,
    `end` by `finish`; both are None before. `on_end` is called once the end is set: the producer's
    callback. `waiters` holds the readers of this node.
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
        self._merged = 0  # the index of the segment up to which all are merged
        self.position = 0
        self.size = 0
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
        last = self.segments[-1] if self.segments else None
        segment = Segment(self.position, text)
        if last is not None and not self.pace and len(last.text) < MERGED_LENGTH:
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
        """Spread a segment over the time that the pace and the lag leave to it.

        Its first character follows the last one before it by the pace. If its last character would
        come more than the lag after its arrival, the characters are closer together: evenly spread
        up to that time, from its arrival or the release of all before it, whichever is later.
        """
        before = at - self.pace if last is None else last.last
        segment.first, segment.step = max(at, before + self.pace), self.pace
        if self.lag is not None:
            begin = max(at, before)
            room = at + self.lag - begin
            if segment.last > at + self.lag:
                segment.step = min(self.pace, room // segment.count)
                segment.first = max(at, begin + segment.step)

    def _merge(self, now: int) -> None:
        """Merge the segments that are released at `now`, from where the last merge ended.

        The last merged segment takes part again while it is shorter than `MERGED_LENGTH`.
        """
        segments, begin = self.segments, self._merged
        enough = begin + MERGE_BATCH
        if len(segments) <= enough or segments[enough].last > now:
            return
        merged: list[Segment] = []
        group: list[Segment] = []
        end, size = begin, 0
        while end < len(segments) and segments[end].last <= now:
            size += len(segments[end].text)
            if group and size > MERGED_LENGTH:
                merged.append(Segment.merged(group))
                group, size = [], len(segments[end].text)
            group.append(segments[end])
            end += 1
        merged.append(Segment.merged(group))
        segments[begin:end] = merged
        self._merged = begin + len(merged) - 1
        self._invalidate_readers()

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
        text = self.text(0, self.released(at) if end.state == "stopped" else None)
        self.end = end
        self.position = len(text)
        self.size = len(text.encode())
        self.segments = [Segment(0, text)] if text else []
        self._merged = 0
        self._invalidate_readers()
        self._wake(idle_only=False)
        if self.on_end is not None:
            self.on_end()
        # A set stays as large as it once was, a copy doesn't, and ended logs are kept for minutes.
        self.waiters = set(self.waiters)

    def interrupt(self) -> None:
        """Wake every reader and have it look up its segment anew, whatever it waits for."""
        self._invalidate_readers()
        self._wake(idle_only=False)

    def _invalidate_readers(self) -> None:
        """Have every reader look up its segment anew: one that it may stand in has changed."""
        for waiter in self.waiters:
            waiter.stale = True

    def _wake(self, *, idle_only: bool) -> None:
        for waiter in self.waiters:
            # A reader that stands in a slot of the ticker finds new text when its slot comes.
            if waiter.slot < 0 or not idle_only:
                waiter.ticker.wake(waiter)

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
        for segment in reversed(self.segments):
            count = segment.released(now)
            if count:
                return segment.start + segment.offset(count)
        return 0

    def due(self) -> int:
        """Return the time at which all text that has arrived is released (microseconds), or 0."""
        return self.segments[-1].last if self.segments else 0

    def text(self, after: int, before: int | None = None) -> str:
        """Return the text from position `after` up to `before`, or all behind it."""
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
