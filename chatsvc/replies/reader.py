"""What is out of a reply, as time goes on: for those who read it, and for who waits until it is all out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, Any

from chatsvc.log import Segment
from chatsvc.ticker import IDLE, NOW, Waiter

if TYPE_CHECKING:
    from chatsvc.replies.reply import Reply

RUN = 1024
"""Characters that a reader is given at once at most, so that catching up is cut into pieces."""

Run = tuple[int, Sequence[str]]
"""The position (code points) before some characters, and the characters."""

_NOWHERE = Segment(0, "")


class SentAway(Exception):
    """This node sends its readers away; the reply goes on, and any other node gives the rest."""


class ReplyReader(Waiter, AsyncGenerator[Run, None]):
    """The one generator that feeds every transport: what is out behind a position, then each character when it is due.

    It gives runs of whole characters (after a position inside one, what is left of it first), at most `RUN` of them,
    until the end; then `Reply.end` tells how it ended. Iterate over it in a task, or stand it in the ticker and `take`
    whenever it is called: that is the same without a task to wake. Both raise `SentAway` when this node sends its readers
    away.
    """

    __slots__ = (
        "_due",
        "_reply",
        "_segment",
        "_start",
        "_stride",
        "_text",
        "over",
        "position",
    )

    def __init__(self, reply: Reply, after: int = 0) -> None:
        super().__init__(reply.ticker)
        self.over = False  # there is nothing more to give
        self.position = after  # behind what was given
        self.stale = True
        self._reply = reply
        self._segment = _NOWHERE  # where it stands in the log
        self._due = 0  # when the next character is out (microseconds)
        self._stride = 0  # microseconds to the next, or 0: not to be taken singly
        self._text = ""  # of the segment
        self._start = 0  # its position
        reply.log.waiters.add(self)

    def take(self) -> Run | None:
        """What is out and was not given yet, without waiting; `slot` is then when there may be more.

        None when there is nothing, and when there never will be: then it is `over`.
        """
        ticker = self.ticker
        if self.stale and not self._find():
            return None
        horizon, due, position = ticker.horizon, self._due, self.position
        if horizon < due:
            self.until_out(due)
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
            self.until_out(following)
        return position, text[index]

    def _find(self) -> bool:
        """Stand in the segment that holds what is next; whether there is one."""
        log = self._reply.log
        segment = log.find(self.position)
        if segment is None and log.end is not None:
            self.over = True
            self.slot = IDLE
            return False
        if self._reply.leaving:
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
        """All that is out of this segment, in pieces of `RUN`."""
        segment, before = self._segment, self.position
        index = segment.index(before - segment.start)
        out = min(segment.out(self.ticker.horizon), index + RUN)
        run = segment.characters(index, out)
        left = before - segment.start - segment.offset(index)
        if left:
            run = [run[0][left:], *run[1:]]
        self.position = segment.start + segment.offset(out)
        self._due = segment.first + out * segment.step
        if out == segment.count:
            self.stale = True
        self.slot = NOW
        return before, run

    async def __anext__(self) -> Run:
        self.ticker.refresh()
        while not self.over:
            run = self.take()
            if run is not None:
                return run
            if not self.over:
                await self
        raise StopAsyncIteration

    async def asend(self, value: None) -> Run:
        """As `anext`: there is nothing to tell it."""
        return await self.__anext__()

    async def athrow(self, *error: Any) -> Run:
        """Close it, and raise."""
        self.close()
        return await super().athrow(*error)

    def close(self) -> None:
        """Give nothing any more."""
        super().close()
        self.over = True
        self._reply.log.waiters.discard(self)


class Released(Waiter):
    """Calls `then`, once, when all text of a reply that has arrived is out. Stands in the ticker itself."""

    __slots__ = ("_log", "_then")

    def __init__(self, reply: Reply, then: Callable[[], None]) -> None:
        super().__init__(reply.ticker)
        self._log = reply.log
        self._then = then

    def start(self) -> None:
        """Begin to wait; `then` may be called at once."""
        self.ticker.refresh()
        self.call()
        self.ticker.enter(self)

    def call(self) -> None:
        """Look whether it is time."""
        due = self._log.due()
        if due > self.ticker.horizon:
            self.until_out(due)
            return
        then = self._then
        self.close()
        then()

    def close(self) -> None:
        """Never call `then`. The ticker may keep this for as long as the text would have taken: it holds no reply."""
        super().close()
        del self._log, self._then
