"""The reader of a reply: it gives the released characters to one client, over any transport."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from chatsvc.log import Log, Segment
from chatsvc.replies.departure import Departure, SentAway
from chatsvc.ticker import IDLE, NOW, Ticker, Waiter

LONGEST_RUN = 1024
"""The most characters that a reader yields at once; other readers get their turn in between."""

Run = tuple[int, Sequence[str]]
"""The position (code points) before some characters, and the characters."""

_NO_SEGMENT = Segment(0, "")


class ReplyReader(Waiter, AsyncGenerator[Run, None]):
    """An async generator of what is released behind a position, then of each character when it is.

    It yields runs of at most `LONGEST_RUN` whole characters until the end of the log; `Log.end`
    then says how the reply ended. If the position is inside a character, the first run begins with
    the rest of that character. `position` is the position (code points) behind what was yielded
    last; `over` is true once nothing comes any more.

    Iterate over it in a task. Or write a subclass that overrides `call`, enter it in the ticker,
    and have it call `take` whenever it is called: that gives the same runs without a task to wake
    for each character. Both raise `SentAway` when this node sends its readers away.
    """

    __slots__ = (
        "_departure",
        "_due",
        "_log",
        "_segment",
        "_start",
        "_stride",
        "_text",
        "over",
        "position",
    )

    def __init__(
        self, log: Log, ticker: Ticker, departure: Departure, after: int = 0
    ) -> None:
        super().__init__(ticker)
        self.over = False
        self.position = after
        self.stale = True
        self._log = log
        self._departure = departure
        self._segment = _NO_SEGMENT  # the one that holds what comes next
        self._due = 0  # when the next character is released (microseconds)
        # Microseconds from one character to the next; 0 where they are released together, or are
        # not one code point each, so that `take` can't take them singly.
        self._stride = 0
        self._text = ""  # of the segment
        self._start = 0  # position of the segment
        log.waiters.add(self)

    def take(self) -> Run | None:
        """Return what is released and was not returned yet, without waiting, or None.

        Afterwards `slot` names the slot in which there may be more. After None, `over` says whether
        there never will be more. The time that counts is that of the ticker's turn. Raises
        `SentAway` when the node leaves and the reply has not ended at this position.
        """
        ticker = self.ticker
        if self.stale and not self._find():
            return None
        horizon, due, position = ticker.horizon, self._due, self.position
        if horizon < due:
            self.until_released(due)
            return None
        following = due + self._stride
        if horizon >= following:
            return self._catch_up()
        # One character, as usual.
        text, index = self._text, position - self._start
        self._due = following
        self.position = position + 1
        if index + 1 == len(text):
            self.stale, self.slot = True, NOW
        else:
            self.until_released(following)
        return position, text[index]

    def _find(self) -> bool:
        """Look up the segment that holds the next character, and return whether there is one.

        Raises `SentAway` when the node leaves and the reply has not ended at this position.
        """
        log = self._log
        segment = log.find(self.position)
        if segment is None and log.end is not None:
            self.over = True
            self.slot = IDLE
            return False
        if self._departure.leaving:
            raise SentAway
        if segment is None:
            self.slot = IDLE  # the log wakes it
            return False
        self.stale = False
        self._segment = segment
        self._stride = segment.step if segment.ends is None else 0
        self._text, self._start = segment.text, segment.start
        self._due = (
            segment.first + segment.index(self.position - segment.start) * segment.step
        )
        return True

    def _catch_up(self) -> Run:
        """Return the released characters of the segment, at most `LONGEST_RUN` of them."""
        segment, before = self._segment, self.position
        index = segment.index(before - segment.start)
        released = min(segment.released(self.ticker.horizon), index + LONGEST_RUN)
        run = segment.characters(index, released)
        inside = before - segment.start - segment.offset(index)
        if inside:
            run = [run[0][inside:], *run[1:]]
        self.position = segment.start + segment.offset(released)
        self._due = segment.first + released * segment.step
        if released == segment.count:
            self.stale = True
        self.slot = NOW
        return before, run

    async def __anext__(self) -> Run:
        """Return the next run, once it is released. Raises `SentAway`."""
        self.ticker.refresh()
        while not self.over:
            run = self.take()
            if run is not None:
                return run
            if not self.over:
                await self
        raise StopAsyncIteration

    async def asend(self, value: None) -> Run:
        """Return the next run, as `anext` does; `value` is not used."""
        return await self.__anext__()

    async def athrow(self, *error: Any) -> Run:
        """Close the reader, and raise `error`."""
        self.close()
        return await super().athrow(*error)

    def close(self) -> None:
        """Yield nothing any more, and leave the log's waiters."""
        super().close()
        self.over = True
        self._log.waiters.discard(self)
