"""The base of the readers of a log: an async generator whose items can also be taken in the ticker."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

from chatsvc.log import Log
from chatsvc.replies.departure import Departure
from chatsvc.ticker import Ticker, Waiter

Item = TypeVar("Item")
"""What a reader yields at once."""


class LogReader(Waiter, AsyncGenerator[Item, None]):
    """An async generator of what a log gives to one client, each item as soon as it is out.

    Iterate over it in a task. Or write a subclass that overrides `call`, enter it in the ticker,
    and have it call `take` whenever it is called: that gives the same items without a task to wake
    for each of them. Both raise `SentAway` when this node sends its readers away. `over` is true
    once nothing comes any more. Close it after use.
    """

    __slots__ = ("_departure", "_log", "over")

    def __init__(self, log: Log, ticker: Ticker, departure: Departure) -> None:
        super().__init__(ticker)
        self.over = False
        self.stale = True
        self._log = log
        self._departure = departure
        log.waiters.add(self)

    @abstractmethod
    def take(self) -> Item | None:
        """Return the next item if it is out, without waiting, or None.

        Afterwards `slot` names the slot in which there may be more. After None, `over` says whether
        there never will be more. The time that counts is that of the ticker's turn. Raises
        `SentAway` when the node leaves and the reply has not ended where the reader is.
        """

    async def __anext__(self) -> Item:
        """Return the next item, once it is out. Raises `SentAway`."""
        self.ticker.refresh()
        while not self.over:
            item = self.take()
            if item is not None:
                return item
            if not self.over:
                await self
        raise StopAsyncIteration

    async def asend(self, value: None) -> Item:
        """Return the next item, as `anext` does; `value` is not used."""
        return await self.__anext__()

    async def athrow(self, *error: Any) -> Item:
        """Close the reader, and raise `error`."""
        self.close()
        return await super().athrow(*error)

    def close(self) -> None:
        """Yield nothing any more, and leave the log's waiters."""
        super().close()
        self.over = True
        self._log.waiters.discard(self)
