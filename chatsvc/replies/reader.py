"""The reader of a reply: it gives the released characters to one client, over any transport."""

from __future__ import annotations

from collections.abc import Sequence

from chatsvc.log import Log
from chatsvc.replies.departure import Departure, SentAway
from chatsvc.replies.log_reader import LogReader
from chatsvc.segment import Segment
from chatsvc.ticker import IDLE, NOW, Ticker

LONGEST_RUN = 1024
"""The most characters that a reader yields at once; other readers get their turn in between."""

Run = tuple[int, Sequence[str]]
"""The position (code points) before some characters, and the characters."""

_NO_SEGMENT = Segment(0, "")


class ReplyReader(LogReader[Run]):
    """An async generator of what is released behind a position, then of each character when it is.

    It yields what is released at a time as one run, of at most `LONGEST_RUN` whole characters, until
    the end of the log; `Log.end` then says how the reply ended. If the position is inside a
    character, the first run begins with the rest of that character. `position` is the position
    (code points) behind what was yielded last; `over` is true once nothing comes any more.

    Iterate over it in a task. Or write a subclass that overrides `call`, enter it in the ticker,
    and have it call `take` whenever it is called: that gives the same runs without a task to wake
    for each character. Both raise `SentAway` when this node sends its readers away.
    """

    __slots__ = (
        "_due",
        "_segment",
        "_start",
        "_stride",
        "_text",
        "position",
    )

    def __init__(
        self, log: Log, ticker: Ticker, departure: Departure, after: int = 0
    ) -> None:
        super().__init__(log, ticker, departure)
        self.position = after
        self._segment = _NO_SEGMENT  # the one that holds what comes next
        self._due = 0  # when the next character is released (microseconds)
        # Microseconds from one character to the next; 0 where they are released together, or are
        # not one code point each, so that `take` can't take them singly.
        self._stride = 0
        self._text = ""  # of the segment
        self._start = 0  # position of the segment

    def take(self) -> Run | None:
        """Return what is released and was not returned yet, without waiting, or None.

        Afterwards `slot` names the slot in which there may be more. After None, `over` says whether
        there never will be more. The time that counts is that of the ticker's turn. Raises
        `SentAway` when the node leaves and the reply has not ended at this position.
        """
        horizon, position = self.ticker.horizon, self.position
        if self.stale:
            log = self._log
            end = log.position
            if position < end <= position + LONGEST_RUN and not self._departure.leaving:
                # So it is with each token of a model: what is new is out, and all in one segment,
                # where each character is a code point. It is looked up anew for the next one.
                segment = log.segments[-1]
                start = segment.start
                if (
                    segment.ends is None
                    and not segment.step
                    and start <= position
                    and segment.first <= horizon
                ):
                    self.position = end
                    self.slot = IDLE if log.end is None else NOW
                    return position, segment.text[position - start :]
            if not self._find():
                return None
        due = self._due
        if horizon < due:
            self.until_released(due)
            return None
        following = due + self._stride
        text, index = self._text, position - self._start
        if horizon >= following or index + 1 == len(text):
            return self._catch_up(horizon)
        # One character, as usual.
        self._due = following
        self.position = position + 1
        self.until_released(following)
        return position, text[index]

    def _find(self) -> bool:
        """Look up the segment that holds the next character, and return whether there is one.

        Raises `SentAway` when the node leaves and the reply has not ended at this position.
        """
        log, position = self._log, self.position
        if position >= log.position:
            self.slot = IDLE  # the log wakes it
            if log.end is not None:
                self.over = True
            elif self._departure.leaving:
                raise SentAway
            return False
        if self._departure.leaving:
            raise SentAway
        # Nearly always the last one: `find` searches only for a reader that is behind.
        segment = log.segments[-1]
        if position < segment.start:
            segment = log.find(position) or segment
        self.stale = False
        self._segment = segment
        self._text, self._start = segment.text, segment.start
        if segment.step:
            self._stride = segment.step if segment.ends is None else 0
            index = segment.index(position - segment.start)
            self._due = segment.first + index * segment.step
        else:
            self._stride, self._due = 0, segment.first
        return True

    def _catch_up(self, horizon: int) -> Run:
        """Return the characters that are released by `horizon`, at most `LONGEST_RUN` of them.

        They may be of several segments. At least one is released.
        """
        before = self.position
        run = self._take_segment(horizon, LONGEST_RUN)
        log = self._log
        while self.stale and self.position < log.position and len(run) < LONGEST_RUN:
            self._find()
            if horizon < self._due:
                break
            more = self._take_segment(horizon, LONGEST_RUN - len(run))
            if isinstance(run, str) and isinstance(more, str):
                run += more
            else:
                run = [*run, *more]
        if self.stale and self.position == log.position and log.end is None:
            self.slot = IDLE  # the log wakes it
        elif horizon < self._due:
            self.until_released(self._due)
        else:
            self.slot = NOW
        return before, run

    def _take_segment(self, horizon: int, most: int) -> Sequence[str]:
        """Return the released characters of the segment, at most `most` of them."""
        segment, start = self._segment, self._start
        inside = self.position - start
        if segment.ends is None:
            index, count = inside, len(self._text)
        else:
            index, count = segment.index(inside), segment.count
        released = segment.released(horizon) if segment.step else count
        released = min(released, index + most)
        if segment.ends is None:
            run: Sequence[str] = self._text[index:released]
            self.position = start + released
        else:
            run = segment.characters(index, released)
            inside -= segment.offset(index)
            if inside:
                run = [run[0][inside:], *run[1:]]
            self.position = start + segment.offset(released)
        if released == count:
            self.stale = True
        else:
            self._due = segment.first + released * segment.step
        return run
