"""The producer of one reply: reads the backend, fills the log and sets the end, read or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

import msgspec

from chatsvc.backends.base import Backend
from chatsvc.model import End, Finish
from chatsvc.problems import BackendFailed, Problem
from chatsvc.replies.log_writer import LogWriter
from chatsvc.replies.release import ReleaseWaiter
from chatsvc.replies.reply import Reply
from chatsvc.stores.base import NotWritable, Store

logger = logging.getLogger("chatsvc.backend")

PIECES_PER_TURN = 64
"""The pieces after which the event loop gets a turn: a backend may yield all without waiting."""


class Producer:
    """The production of one reply on the node that owns it, in two phases.

    `produce` reads the backend in a task. When the text is complete, `end_when_released` waits in
    the ticker until all of it is released, and a second, short task sets the end. A reply that is
    taken over with its text complete begins with the second phase.

    `on_done` is called with the producer, once, when nothing is left to do: the reply has its end,
    or another node is to give it one. `client` is the client that the reply is counted for. `task`
    is the task that works on the reply, or None while it waits for the release.
    """

    __slots__ = (
        "_cancelled",
        "_end",
        "_finishing",
        "_on_done",
        "_release",
        "client",
        "reply",
        "store",
        "task",
    )

    def __init__(
        self,
        reply: Reply,
        store: Store,
        on_done: Callable[[Producer], None],
        *,
        client: str = "",
    ) -> None:
        self.reply = reply
        self.store = store
        self.client = client
        self.task: asyncio.Task[End | None] | None = None
        self._on_done = on_done
        self._cancelled = False
        self._finishing = False  # this producer itself is setting the end
        self._end: End | None = None
        self._release: ReleaseWaiter | None = None
        reply.log.on_end = self._log_ended

    def produce(
        self, backend: Backend, max_bytes: int, on_first: Callable[[Reply], None]
    ) -> None:
        """Take the text from a backend, then the end.

        The reply has at most `max_bytes` of UTF-8. `on_first` is called with the reply when its
        first character arrives. Text that the reply has already is continued.
        """
        self._run(self._produce(backend, max_bytes, on_first))

    def end_when_released(self, end: End) -> None:
        """Set the end of a reply whose text is complete, once all of it is released."""
        self._end = end
        self._release = ReleaseWaiter(self.reply.log, self.reply.ticker, self._finish)
        self._release.start()

    def cancel(self) -> None:
        """Stop the work, without an end. `on_done` is called once the backend has closed."""
        self._cancelled = True
        if self.task is not None:
            self.task.cancel()
        elif self._release is not None:
            self._release.close()
            self._release = None
            asyncio.get_running_loop().call_soon(self._on_done, self)

    # ------------------------------------------------------------------ tasks

    def _run(self, coroutine: Coroutine[Any, Any, End | None]) -> None:
        self.task = asyncio.create_task(coroutine)
        self.task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[End | None]) -> None:
        self.task = None
        planned_end = None
        if not task.cancelled():
            if (error := task.exception()) is not None:
                logger.error("a producer broke", exc_info=error)
            else:
                planned_end = task.result()
        if planned_end is not None and not self._cancelled:
            self.end_when_released(planned_end)
        else:
            self._on_done(self)

    def _log_ended(self) -> None:
        """Stop when the end was set from elsewhere, by a stop or by another node."""
        if not self._finishing:
            self.cancel()

    # ------------------------------------------------------------------ the work

    async def _produce(
        self, backend: Backend, max_bytes: int, on_first: Callable[[Reply], None]
    ) -> End | None:
        """Fill the log from the backend, and return the planned end, or None when it has its end.

        Cancelled, it closes the backend's generator and leaves the end to the caller.
        """
        log = self.reply.log
        log_writer = LogWriter(self.reply, self.store, max_bytes, on_first)
        prompt = self.reply.record.prompt
        if log.size:
            prompt = msgspec.structs.replace(prompt, written=log.text(0))
        end = End("done", "stop")
        count = 0
        try:
            try:
                async with aclosing(backend.stream(prompt)) as pieces:
                    async for piece in pieces:
                        count += 1
                        if not count % PIECES_PER_TURN:
                            await asyncio.sleep(0)
                        if isinstance(piece, Finish):
                            end = End("done", piece.reason, usage=piece.usage)
                            continue
                        await log_writer.write(piece)
                        if log_writer.full:
                            break
                    else:
                        await log_writer.close()
            except NotWritable:
                raise
            except Exception as error:  # noqa: BLE001  (a backend may raise anything)
                problem = public_problem(error, backend)
                # A full reply is complete, so only the closing of the backend has failed.
                if not log_writer.full:
                    end = End("failed", "error", problem.as_dict())
                    await log_writer.close()  # text held back is delivered first
            if log_writer.full and end.state == "done":
                end = End("done", "length")
            await self.store.seal(log, end)
        except NotWritable:
            return None
        except Problem as problem:  # the store is away
            await self._give_up(problem)
            return None
        return end

    def _finish(self) -> None:
        self._release = None
        if self._end is not None:
            self._run(self._set_end(self._end))

    async def _set_end(self, end: End) -> None:
        """Set the end, unless it was set from elsewhere."""
        self._finishing = True
        try:
            await self.store.finish(self.reply.log, end)
        except NotWritable:
            return
        except Problem as problem:  # the store is away
            await self._give_up(problem)

    async def _give_up(self, problem: Problem) -> None:
        """End the reply as failed because of the store, so that the readers here learn why."""
        self._finishing = True
        end = End("failed", "error", problem.as_dict())
        await self.store.finish(self.reply.log, end)


def public_problem(error: Exception, backend: Backend) -> Problem:
    """Return what readers may know of a backend's failure.

    That is `error` itself if it is a problem. Any other exception may hold secrets of the backend:
    it is logged, and a `BackendFailed` that only names the backend is returned.
    """
    if isinstance(error, Problem):
        return error
    logger.error("the backend %s failed", backend.name, exc_info=error)
    return BackendFailed(f"The backend {backend.name} failed.")
