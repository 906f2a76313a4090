"""A segment of a reply's text: its characters, and when each of them is released.

`chatsvc.log` holds a reply's text in segments. Every time is in integer microseconds of the store's
clock.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from chatsvc.graphemes import boundaries

MERGED_LENGTH = 2048
"""The code points up to which neighbouring segments become one: as many are copied at most."""


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

    def extend(self, following: Segment) -> bool:
        """Append the text of the following segment, unless both are longer than `MERGED_LENGTH`.

        It takes on this one's schedule. Returns whether it was appended.
        """
        length = len(self.text)
        if length + len(following.text) > MERGED_LENGTH:
            return False
        if self.ends is not None or following.ends is not None:
            self.ends = self._ends_behind(0)
            self.ends.extend(following._ends_behind(length))
        self.text += following.text
        self.count += following.count
        return True

    def extend_plainly(self, text: str) -> bool:
        """Append a text of ASCII as `extend` does, unless the segment has an array or a step.

        Returns whether it was appended.
        """
        count = self.count + len(text)
        if self.ends is not None or self.step or count > MERGED_LENGTH:
            return False
        self.text, self.count = self.text + text, count
        return True

    def truncate(self, count: int) -> None:
        """Drop all characters but the first `count`."""
        self.text = self.text[: self.offset(count)]
        self.ends = None if self.ends is None else self.ends[:count]
        self.count = count

    def _ends_behind(self, base: int) -> array[int]:
        """Return the offsets at which the characters end, counted from `base` code points before."""
        if self.ends is None:
            return array("I", range(base + 1, base + self.count + 1))
        return array("I", [base + end for end in self.ends]) if base else self.ends

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

    def released_behind(self, position: int, now: int) -> str:
        """Return the text behind a position of the reply, if it takes no more than a look.

        So it is with each token of a model: all of it is released at `now` (microseconds), and each
        character is a code point. Otherwise, and if there is none, return "".
        """
        inside = position - self.start
        if self.ends is not None or self.step or inside < 0 or now < self.first:
            return ""
        return self.text[inside:]


def fitting(text: str, room: int) -> str:
    """Return as many whole characters of `text` as have `room`, in bytes of UTF-8."""
    if len(text) * 4 <= room or len(encoded := text.encode()) <= room:
        return text
    # The code points that have room; the last character that they begin has no room as a whole.
    count = len(encoded[: max(room, 0)].decode(errors="ignore"))
    segment = Segment(0, text)
    return text[: segment.offset(segment.index(count))]
