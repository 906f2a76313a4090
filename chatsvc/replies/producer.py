"""The one writer of a reply: reads the backend and fills the log, whether anybody reads or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

import msgspec

from chatsvc.backends.base import Backend
from chatsvc.graphemes import Splitter
from chatsvc.log import Segment
from chatsvc.model import End, Finish
from chatsvc.problems import BackendFailed, Problem
from chatsvc.replies.reader import Released
from chatsvc.replies.reply import Reply
from chatsvc.stores.base import NotWritable, Store

logger = logging.getLogger("chatsvc.backend")

TURN = 64
"""Pieces after which the event loop gets a turn, for a backend may give all of them without ever waiting."""

PART = 32 * 1024
"""Code points of a piece that are taken in one turn: cutting them into characters keeps the event loop for 10 ms."""


class Producer:
    """The making of one reply, on the node that owns it.

    Its backend is read in a task. When its text is complete, the end waits in the ticker until all of it is out, which
    costs a tenth of what a task does, and is set. `over` is called when nothing is left to do: the reply has its end,
    or somebody else is to give it one.
    """

    __slots__ = (
        "_cancelled",
        "_end",
        "_over",
        "_released",
        "client",
        "finishing",
        "reply",
        "store",
        "task",
    )

    def __init__(
        self,
        reply: Reply,
        store: Store,
        over: Callable[[Producer], None],
        *,
        client: str = "",
    ) -> None:
        self.reply = reply
        self.store = store
        self.client = client
        self.finishing = False  # it is about to set the end itself
        self.task: asyncio.Task[End | None] | None = None
        self._over = over
        self._cancelled = False
        self._end: End | None = None
        self._released: Released | None = None
        reply.log.on_end = self._ended

    def read(
        self, backend: Backend, max_bytes: int, first: Callable[[Reply], None]
    ) -> None:
        """Take the text from a backend, and then the end; `first` is told of the first character."""
        self._run(produce(self, backend, max_bytes, first))

    def end(self, end: End) -> None:
        """All text has arrived: set the end when it is out."""
        self._end = end
        self._released = Released(self.reply, self._finish)
        self._released.start()

    def cancel(self) -> None:
        """Do no more, and be over soon."""
        self._cancelled = True
        if self.task is not None:
            self.task.cancel()
        elif self._released is not None:
            self._released.close()
            self._released = None
            asyncio.get_running_loop().call_soon(self._over, self)

    def _finish(self) -> None:
        self._released = None
        if self._end is not None:
            self._run(finish(self, self._end))

    def _run(self, coroutine: Coroutine[Any, Any, End | None]) -> None:
        self.task = asyncio.create_task(coroutine)
        self.task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[End | None]) -> None:
        self.task = None
        end = None
        if not task.cancelled():
            if (error := task.exception()) is not None:
                logger.error("a producer broke", exc_info=error)
            else:
                end = task.result()
        if end is not None and not self._cancelled:
            self.end(end)
        else:
            self._over(self)

    def _ended(self) -> None:
        """The log has its end: if from elsewhere, there is nothing to do any more."""
        if not self.finishing:
            self.cancel()


class LogWriter:
    """Fills a reply's log with what a backend gives, in whole characters, up to `max_bytes` of UTF-8.

    `full` tells that there was more. `first` is told when the first character has arrived.
    """

    __slots__ = (
        "_first",
        "_max_bytes",
        "_reply",
        "_size",
        "_splitter",
        "_store",
        "full",
    )

    def __init__(
        self,
        reply: Reply,
        store: Store,
        max_bytes: int,
        first: Callable[[Reply], None],
    ) -> None:
        self.full = False
        self._max_bytes = max_bytes
        self._reply = reply
        self._store = store
        self._first = first
        self._splitter = Splitter()
        # Counted here: what a store takes may show in the log later.
        self._size = reply.log.size

    def take(self, piece: str) -> Coroutine[Any, Any, None]:
        """Append a piece of any size, but for what may yet grow. Raises `NotWritable`, and a `Problem` of the store's."""
        if len(piece) <= PART:
            return self._append(self._splitter.feed(piece))
        return self._take_parts(piece)

    def close(self) -> Coroutine[Any, Any, None]:
        """Append what was held back: no more will come. Raises as `take`."""
        return self._append(self._splitter.close())

    async def _take_parts(self, piece: str) -> None:
        for begin in range(0, len(piece), PART):
            await self._append(self._splitter.feed(piece[begin : begin + PART]))
            if self.full:
                return
            await asyncio.sleep(0)

    async def _append(self, text: str) -> None:
        fitting = _fitting(text, self._max_bytes - self._size)
        if fitting:
            if not self._size:
                self._first(self._reply)
            self._size += len(fitting.encode())
            await self._store.append(self._reply.log, fitting)
        self.full = len(fitting) < len(text)


async def produce(
    production: Producer,
    backend: Backend,
    max_bytes: int,
    first: Callable[[Reply], None],
) -> End | None:
    """Fill the reply's log from the backend. Gives the end that it is to have, or None once it has one.

    `first` is told when the first character has arrived. A reply that has text is carried on behind it.

    Cancelled, it closes the backend's generator and leaves the end to whoever cancelled it.
    """
    reply, store = production.reply, production.store
    log = reply.log
    filling = LogWriter(reply, store, max_bytes, first)
    prompt = reply.record.prompt
    if log.size:
        prompt = msgspec.structs.replace(prompt, written=log.text(0))
    end = End("done", "stop")
    count = 0
    try:
        try:
            async with aclosing(backend.stream(prompt)) as pieces:
                async for piece in pieces:
                    count += 1
                    if not count % TURN:
                        await asyncio.sleep(0)
                    if isinstance(piece, Finish):
                        end = End("done", piece.reason, usage=piece.usage)
                        continue
                    await filling.take(piece)
                    if filling.full:
                        break
                else:
                    await filling.close()
        except NotWritable:
            raise
        except Exception as error:  # noqa: BLE001  (a stranger's code may raise anything)
            problem = _told(error, backend)
            if not filling.full:  # else it failed in closing
                end = End("failed", "error", problem.as_dict())
                await filling.close()  # text held back is delivered first
        if filling.full and end.state == "done":
            end = End("done", "length")
        await store.seal(log, end)
    except NotWritable:
        return None
    except Problem as problem:  # the store is away
        await _give_up(production, problem)
        return None
    return end


async def finish(production: Producer, end: End) -> None:
    """Set the end, unless somebody has."""
    production.finishing = True
    try:
        await production.store.finish(production.reply.log, end)
    except NotWritable:
        return
    except Problem as problem:  # the store is away
        await _give_up(production, problem)


async def _give_up(production: Producer, problem: Problem) -> None:
    """Say to those who read here what keeps them from the rest."""
    production.finishing = True
    end = End("failed", "error", problem.as_dict())
    await production.store.finish(production.reply.log, end)


def _told(error: Exception, backend: Backend) -> Problem:
    """What readers are told of a failure: a problem's own words, or none of a stranger's."""
    if isinstance(error, Problem):
        return error
    logger.error("the backend %s failed", backend.name, exc_info=error)
    return BackendFailed(f"The backend {backend.name} failed.")


def _fitting(text: str, room: int) -> str:
    """As many whole characters of `text` as have room, in bytes of UTF-8."""
    if len(text) * 4 <= room or len(text.encode()) <= room:
        return text
    segment = Segment(0, text)
    fits, size = 0, 0
    for character in segment.characters(0, segment.count):
        size += len(character.encode())
        if size > room:
            break
        fits += len(character)
    return text[:fits]
