"""The end of a reply whose text is complete: it may be set once all of the text is released."""

from __future__ import annotations

from collections.abc import Callable

from chatsvc.log import Log
from chatsvc.model import End
from chatsvc.replies.reply import Reply
from chatsvc.stores.base import Store
from chatsvc.ticker import Ticker, Waiter


def end_if_released(reply: Reply, store: Store, end: End) -> bool:
    """Set the end of a reply at once and return True, if all of its text is released by now.

    Return False also if the store has to be waited for. `Log.on_end` is not called. An end that is
    set in the turn that has brought the last text goes out with it, in one write; and it needs no
    task, which costs as much as a token.
    """
    finish_now, ticker = store.finish_now, reply.ticker
    if finish_now is None:
        return False
    ticker.refresh()
    if reply.log.due() > ticker.horizon:
        return False
    reply.log.on_end = None  # it would stop the producer, which has done its work
    finish_now(reply.log, end)
    return True


class ReleaseWaiter(Waiter):
    """A waiter that calls `then`, once, when all that has arrived in a log is released.

    The ticker calls it directly, which costs a tenth of what a task costs.
    """

    __slots__ = ("_log", "_then")

    def __init__(self, log: Log, ticker: Ticker, then: Callable[[], None]) -> None:
        super().__init__(ticker)
        self._log = log
        self._then = then

    def start(self) -> None:
        """Begin to wait. `then` is called at once if all is released already."""
        self.ticker.refresh()
        self.call()
        self.ticker.enter(self)

    def call(self) -> None:
        """Call `then` if all is released, else name the slot in which it may be."""
        due = self._log.due()
        if due > self.ticker.horizon:
            self.until_released(due)
            return
        then = self._then
        self.close()
        then()

    def close(self) -> None:
        """Never call `then`, and let go of the log.

        The ticker keeps this object until the slot that it stands in has come, but not the log.
        """
        super().close()
        del self._log, self._then
