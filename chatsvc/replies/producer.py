"""The producer of one reply: reads the backend, fills the log and sets the end, read or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

from chatsvc.backends.base import Backend, DirectBackend
from chatsvc.model import End, Finish, Usage
from chatsvc.problem import Problem
from chatsvc.replies.background import Background, started_task
from chatsvc.replies.log_writer import LogWriter
from chatsvc.replies.outcome import (
    end_of_failure,
    end_of_finish,
    end_of_overrun,
    failed,
    usage_of,
)
from chatsvc.replies.release import ReleaseWaiter, end_if_released
from chatsvc.replies.reply import Reply
from chatsvc.replies.timer import Timer
from chatsvc.stores.base import NotWritable, Store

logger = logging.getLogger("chatsvc.backend")

PIECES_PER_TURN = 64
"""The pieces after which the event loop gets a turn: a backend may yield all without waiting."""

CLOSING_S = 5.0
"""The seconds that a backend's generator has to close; then the reply ends without it."""


class Producer:
    """The production of one reply on the node that owns it, in two phases.

    `produce` reads the backend in a task. When the text is complete, `end_when_released` waits in
    the ticker until all of it is released; then the end is set, in a second, short task if the
    store has to be waited for. A reply that is taken over with its text complete begins with the
    second phase.

    `on_done` is called with the producer, once, when nothing is left to do: the reply has its end,
    or another node is to give it one. `direct` is the backend if its text can reach the log without
    this producer's task, else None. `account` is what the reply is counted for. `task` works on the
    reply, or is None. `background` keeps a task that has to be left behind.

    Invariants:

    - Whatever the backend does, the first phase ends: at the latest `CLOSING_S` after its limit of
      time, after a stop, or after the text was as long as it may be.
    - Once the backend is told to close, nothing that it yields or raises changes the reply.
    - No exception is kept in a local or an attribute: its traceback holds the frames of this
      producer, and the cycle would keep the reply until the garbage collector runs, which is rare.
    """

    __slots__ = (
        "_abandoned",
        "_appending",
        "_backend",
        "_background",
        "_cancelled",
        "_closing",
        "_direct",
        "_end",
        "_finishing",
        "_log_writer",
        "_on_done",
        "_release",
        "_timer",
        "account",
        "has_ended_it",
        "reply",
        "store",
        "task",
    )

    def __init__(
        self,
        reply: Reply,
        store: Store,
        backend: Backend,
        background: Background,
        on_done: Callable[[Producer], None],
        *,
        direct: DirectBackend | None = None,
        account: str = "",
    ) -> None:
        self.reply = reply
        self.store = store
        self.account = account
        self.has_ended_it = False  # it has set the reply's end as its owner
        self.task: asyncio.Task[End | None] | None = None
        self._backend = backend
        self._direct = direct
        self._background = background
        self._on_done = on_done
        self._cancelled = False
        self._closing = False  # the backend is told to close
        self._abandoned = False  # it has not closed: its task is left behind
        self._appending = False  # the store has not taken the last piece yet
        self._finishing = False  # this producer itself is setting the end
        self._end: End | None = None
        self._log_writer: LogWriter | None = None
        self._release: ReleaseWaiter | None = None
        self._timer = Timer()  # it runs while the backend is open
        reply.log.on_end = self._log_ended

    def produce(
        self,
        max_bytes: int,
        max_parts_bytes: int,
        max_seconds: float,
        on_first: Callable[[Reply], None],
    ) -> None:
        """Take all pieces from the backend, then the end.

        The reply has at most `max_bytes` of UTF-8 and `max_parts_bytes` beside them, and it fails if
        the backend has not given all in `max_seconds` from now. `on_first` is called with the reply
        when its first character arrives. Text that the reply has already is continued.
        """
        self._log_writer = LogWriter(
            self.reply, self.store, max_bytes, max_parts_bytes, on_first
        )
        self._timer.start(max_seconds, self._overrun, max_seconds)
        self._run(self._produce(self._log_writer))  # it may set the timer itself

    def end_when_released(self, end: End) -> None:
        """Set the end of a reply whose text is complete, once all of it is released."""
        self._end = end
        self._release = ReleaseWaiter(self.reply.log, self.reply.ticker, self._finish)
        self._release.start()

    def cancel(self) -> None:
        """Stop the work without an end; `on_done` is called in `CLOSING_S`, or once all is closed."""
        self._cancelled = True
        if self.task is not None:
            self.task.cancel()
            if self._timer.running:
                self._limit_closing()
        elif self._release is not None:
            self._release.close()
            self._release = None
            asyncio.get_running_loop().call_soon(self._on_done, self)

    # ------------------------------------------------------------------ tasks

    def _run(self, coroutine: Coroutine[Any, Any, End | None]) -> None:
        self.task = started_task(coroutine)
        self.task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[End | None]) -> None:
        self.task = None
        self._timer.stop()
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

    # ------------------------------------------------------------------ the backend's time

    def _overrun(self, max_seconds: float) -> None:
        """Have the reply fail: the backend has not given all its text in `max_seconds`."""
        reply = self.reply
        self._end = end_of_overrun(max_seconds, self._backend, reply.id, reply.age())
        self._limit_closing()
        if self.task is not None:
            self.task.cancel()

    def _limit_closing(self) -> None:
        """Note that the backend is told to close, and leave it behind if it hasn't in time."""
        self._closing = True
        if self._log_writer is not None:
            self._log_writer.take_no_more()
        self._timer.start(CLOSING_S, self._abandon)

    def _abandon(self) -> None:
        """Go on without the task that waits for the backend to close."""
        name = self._backend.name
        logger.error("the backend %s has not closed in %g s", name, CLOSING_S)
        self._abandoned = True
        task, self.task = self.task, None
        if task is not None:
            task.remove_done_callback(self._task_done)
            task.cancel()
            self._background.keep(task)
        if self._end is None or self._log_writer is None or self._cancelled:
            self._on_done(self)
        else:
            self._run(self._seal(self._log_writer, self._end))

    # ------------------------------------------------------------------ the work

    async def _produce(self, log_writer: LogWriter) -> End | None:
        """Fill the log from the backend, and return the planned end, or None when it has its end.

        Cancelled, it closes the backend's generator and leaves the end to the caller.
        """
        try:
            end = await self._fill(log_writer)
        except NotWritable:
            return None
        except asyncio.CancelledError:
            if self._end is None or self._cancelled or self._abandoned:
                raise
            end = self._end  # the time is over
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
        except (Exception, SystemExit) as error:  # noqa: BLE001  (it may raise anything)
            reply = self.reply
            end = end_of_failure(error, self._backend, reply.id, reply.age())
        if self._cancelled or self._abandoned:
            return None
        self._timer.stop()
        if log_writer.full:
            end = End("done", "length")
        planned_end = await self._seal(log_writer, self._end or end)
        if planned_end and end_if_released(self.reply, self.store, planned_end):
            return None
        return planned_end

    async def _fill(self, log_writer: LogWriter) -> End:
        """Read the backend to its end, to the limits, or until it is told to close."""
        prompt = self.reply.prompt()
        end, count = End("done", "stop"), 0
        if self._direct is not None:
            stream = self._direct.stream_to(prompt, log_writer.take)
        else:
            stream = self._backend.stream(prompt)
        del prompt  # it takes several times the room of what is kept
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                if self._closing:  # it has swallowed its cancellation
                    break
                count += 1
                if not count % PIECES_PER_TURN:
                    await asyncio.sleep(0)
                if isinstance(piece, Usage):
                    log_writer.note_usage(usage_of(piece.usage))
                    continue
                if isinstance(piece, Finish):
                    has_calls = log_writer.has_calls
                    end = end_of_finish(piece, has_calls=has_calls)
                    log_writer.note_usage(end.usage)
                    if not has_calls:
                        continue
                if not log_writer.full:  # its `take` may have filled it
                    appending = log_writer.write(piece)
                    self._appending = True
                    await appending
                    self._appending = False
                if log_writer.full:
                    self._end = End("done", "length")
                    self._limit_closing()
                    break
            else:
                if log_writer.has_calls:
                    await log_writer.write(Finish())  # it has ended whole without one
        return end

    async def _seal(self, log_writer: LogWriter, end: End) -> End | None:
        """Deliver the text that was held back, and note that the text is complete.

        Return the planned end, or None when the reply has its end.
        """
        try:
            # Behind a piece that was cut, or that the store didn't take, it would stand in a gap.
            if not (log_writer.full or self._appending):
                await log_writer.close()
                if log_writer.full and end.state == "done":
                    end = End("done", "length")
            end = end.with_usage(self.reply.log.usage)
            await self.store.seal(self.reply.log, end)
        except NotWritable:
            return None
        except Problem as problem:  # the store is away
            unavailable = failed(problem)
        else:
            return end
        await self._give_up(unavailable)
        return None

    def _finish(self) -> None:
        self._release = None
        if self._end is None:
            return
        if end_if_released(self.reply, self.store, self._end):
            self._on_done(self)
        else:
            self._run(self._set_end(self._end))

    async def _set_end(self, end: End) -> None:
        """Set the end, unless it was set from elsewhere."""
        self._finishing = True
        try:
            self.has_ended_it = await self.store.finish(self.reply.log, end)
            return
        except NotWritable:
            return
        except Problem as problem:  # the store is away
            unavailable = failed(problem)
        await self._give_up(unavailable)

    async def _give_up(self, end: End) -> None:
        """End the reply as failed because of the store, so that the readers here learn why."""
        self._finishing = True
        self.has_ended_it = await self.store.finish(self.reply.log, end)
