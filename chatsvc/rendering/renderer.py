"""Replies' Markdown as HTML, beside the event loop, fairly for all clients."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from chatsvc.problems import Draining, Overloaded
from chatsvc.rendering.block_messages import Answered, Asked, plain_blocks
from chatsvc.rendering.escaping import plain
from chatsvc.rendering.fair_queue import FairQueue
from chatsvc.rendering.frames import Kind
from chatsvc.rendering.worker import (
    RenderingFailed,
    Worker,
    WorkerDied,
    WorkerNotStarted,
)

PROCESSES = 2
"""Children that render at the same time; a client has one of them at most."""

MAX_WAITING = 64
"""Texts that wait for a child."""

TIMEOUT_S = 2.0
"""Seconds after which a child that has not answered is killed. It cuts a rendering itself after 0.75
seconds of CPU, but not within a regular expression."""

CACHE_CHARACTERS = 4 * 1024 * 1024
"""Characters of texts and of their HTML that are kept for the next who asks."""

logger = logging.getLogger("chatsvc.rendering")


class _Job:
    """A message that waits for a child, and the future of the answer.

    `kinds` are those of the first attempt and of the second. The answer is None if both fail.
    """

    def __init__(self, kinds: tuple[Kind, Kind], text: str) -> None:
        self.kinds = kinds
        self.text = text
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[str | None] = loop.create_future()

    def settle(self, outcome: str | Exception | None) -> None:
        """Give whoever waits the answer or an exception, unless the client has left."""
        if self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


_TEXT = (Kind.COLOURED, Kind.UNCOLOURED)

_BLOCKS = (Kind.BLOCKS, Kind.UNCOLOURED_BLOCKS)


class Renderer:
    """Renders texts in at most `processes` children, which are started when there is work.

    `max_waiting` texts may wait, and a child has `timeout` seconds for one. `command` are the
    arguments that start a child; None stands for the renderer's own program.
    """

    def __init__(
        self,
        *,
        processes: int = PROCESSES,
        max_waiting: int = MAX_WAITING,
        timeout: float = TIMEOUT_S,
        command: Sequence[str] | None = None,
    ) -> None:
        self._workers = [Worker(command) for _ in range(processes)]
        self._idle = list(self._workers)
        self._queue: FairQueue[_Job] = FairQueue(max_waiting)
        self._timeout = timeout
        self._tasks: dict[str, asyncio.Task[None]] = {}  # what runs, by the client
        self._cache = _Cache(CACHE_CHARACTERS)
        self._closed = False

    async def render(self, text: str, client: str) -> str:
        """Return a text as HTML. `client` is whoever asks, by any name.

        A text that can't be rendered comes as plain text. Raises `Overloaded` when too many wait,
        or no child can be started; `Draining` when the renderer is closed.
        """
        html = self._cache.get(text)
        if html is None:
            html = await self._answer(_Job(_TEXT, text), client)
            html = plain(text) if html is None else html
            self._cache.put(text, html)
        return html

    async def render_blocks(self, asked: Asked, client: str) -> Answered:
        """Return the blocks of a piece of a text, as `render` does its HTML.

        Blocks that can't be rendered come as plain text. Raises what `render` raises.
        """
        text = msgspec.json.encode(asked).decode()
        answer = await self._answer(_Job(_BLOCKS, text), client)
        if answer is None:
            return plain_blocks(asked)
        return msgspec.json.decode(answer, type=Answered)

    async def _answer(self, job: _Job, client: str) -> str | None:
        """Return what a child answers, or None. Raises what `render` raises."""
        left = self._queue.put(client, job)
        if left is not None:
            left.settle(_overloaded("Too many replies are being rendered."))
        self._dispatch()
        try:
            return await job.answer
        finally:  # the client may have left
            self._queue.discard(client, job)

    def pids(self) -> list[int]:
        """Return the process ids of the children that run."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    async def close(self) -> None:
        """End all children, and whatever waits with `Draining`."""
        self._closed = True
        self._dispatch()
        # A task that is cancelled before it begins settles nothing.
        await asyncio.sleep(0)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await asyncio.gather(*(worker.close() for worker in self._workers))

    def _dispatch(self) -> None:
        """Give the children that are idle something to do."""
        while self._closed or self._idle:
            taken = self._queue.take(busy=() if self._closed else self._tasks)
            if taken is None:
                return
            client, job = taken
            if self._closed or job.answer.done():  # or the client has left just now
                job.settle(_draining())
                continue
            worker = self._idle.pop()
            task = asyncio.create_task(self._run(worker, client, job))
            self._tasks[client] = task

    async def _run(self, worker: Worker, client: str, job: _Job) -> None:
        """Have a child answer whoever waits, and go on with the next."""
        outcome: str | Exception | None = _draining()
        try:
            outcome = await self._ask(worker, job)
        except Exception as error:  # noqa: BLE001  (whoever waits gets it)
            outcome = error
        finally:
            job.settle(outcome)
            self._idle.append(worker)
            del self._tasks[client]
            self._dispatch()

    async def _ask(self, worker: Worker, job: _Job) -> str | None:
        """Return what a child answers; None if it fails twice, or takes too long.

        The second attempt is without colours, since lexers are what a child can't interrupt. Raises
        `Overloaded` when no child can be started.
        """
        started = False
        for kind in job.kinds:
            try:
                return await worker.ask(kind, job.text, timeout=self._timeout)
            except WorkerNotStarted as error:
                logger.error("no process to render replies: %s", error)
                continue
            except TimeoutError:
                logger.warning("rendering a reply took over %g s", self._timeout)
            except (WorkerDied, RenderingFailed) as error:
                logger.warning("rendering a reply failed: %s", error)
            started = True
        if not started:
            raise _overloaded("Replies can't be rendered now.")
        return None


class _Cache:
    """The HTML of the texts that were rendered last, of `most` characters altogether."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._html: OrderedDict[str, str] = OrderedDict()

    def get(self, text: str) -> str | None:
        """Return the HTML of a text, or None."""
        if text in self._html:
            self._html.move_to_end(text)
        return self._html.get(text)

    def put(self, text: str, html: str) -> None:
        """Keep the HTML of a text, in place of those that were not asked for longest."""
        old = self._html.pop(text, None)
        if old is not None:
            self._size -= len(text) + len(old)
        self._size += len(text) + len(html)
        self._html[text] = html
        while self._size > self._most:
            text, html = self._html.popitem(last=False)
            self._size -= len(text) + len(html)


def _overloaded(detail: str) -> Overloaded:
    return Overloaded(f"{detail} Try again in a moment.", retry_after=1)


def _draining() -> Draining:
    return Draining("This node renders no more replies.", retry_after=1)
