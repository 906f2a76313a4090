"""The one connection that asks Redis and writes to it: whatever is wanted within a few milliseconds goes together.

What fails because Redis is away, or takes no writes, is sent again, in the same order, until its patience is over. So
every command that comes here must be one that may be sent twice.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from redis.exceptions import NoScriptError

from chatsvc.problems import StoreUnavailable
from chatsvc.stores.redis.connect import FAILURES, Client, passes
from chatsvc.stores.redis.scripts import ALL, NAMES
from chatsvc.ticker import monotonic

logger = logging.getLogger("chatsvc.redis")

BATCH = 0.002
"""Seconds for which commands are collected."""

MOST = 512
"""Commands that are sent together at most."""

AGAIN = 0.1
"""Seconds between two tries."""

SAY_AGAIN = 10_000_000
"""Microseconds after which the log says again what Redis answers in place of doing what it is asked."""


class _Command:
    __slots__ = ("answer", "deadline", "words")

    def __init__(self, words: tuple[Any, ...], deadline: int) -> None:
        self.words = words
        self.deadline = deadline
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Commands:
    """Sends commands in batches. `operations` counts what has been asked.

    `patience` is how many seconds a command that says nothing else is tried for.
    """

    def __init__(self, client: Client, patience: float) -> None:
        self._client = client
        self._patience = patience
        self._queue: list[_Command] = []
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._said: int | None = None  # when the log was told last
        self.away_since: int | None = None  # microseconds of the monotonic clock
        self.operations = 0

    def open(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: self._fail(self._queue))

    async def close(self) -> None:
        """Send nothing more."""
        # A timeout inside the client that fires at the same moment swallows a cancellation: ask until it is heard.
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.1)

    async def ask(self, *words: Any, patience: float | None = None) -> Any:
        """Send one command and give the answer. Raises `StoreUnavailable` after `patience` seconds."""
        seconds = self._patience if patience is None else patience
        command = _Command(words, monotonic() + round(seconds * 1e6))
        if self._task is None or self._task.done():
            self._fail([command])  # whoever ends in a hurry must not wait
        else:
            self._queue.append(command)
            self._some.set()
        try:
            return await command.answer
        finally:
            # An error and the frame that it passed through would keep each other.
            del command

    async def run(
        self,
        script: str,
        keys: list[str],
        *arguments: Any,
        patience: float | None = None,
    ) -> Any:
        """Run a script of `scripts`, as `ask` does."""
        return await self.ask(
            "EVALSHA", NAMES[script], len(keys), *keys, *arguments, patience=patience
        )

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(BATCH if self.away_since is None else AGAIN)
            batch, self._queue = self._queue[:MOST], self._queue[MOST:]
            try:
                left = await self._send(batch)
            except BaseException:
                self._fail(batch)
                raise
            self._queue[:0] = left
            if left:
                self._give_up_late()
            if not self._queue:
                self._some.clear()

    async def _send(self, batch: list[_Command]) -> list[_Command]:
        """Send a batch; gives what is to be sent again."""
        batch = [command for command in batch if not command.answer.done()]
        if not batch:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for command in batch:
            pipeline.execute_command(*command.words)
        self.operations += len(batch)
        try:
            answers = await pipeline.execute(raise_on_error=False)
        except Exception as error:
            # None was answered. redis-py lets more through than its own errors, when a connection is taken from under it.
            if not isinstance(error, FAILURES):
                logger.warning("Redis was not asked", exc_info=error)
            answers = [ConnectionError(str(error) or repr(error))] * len(batch)
        left, loaded = [], False
        away: Exception | None = None
        for command, answer in zip(batch, answers, strict=True):
            if command.answer.done():
                continue
            if isinstance(answer, NoScriptError):
                loaded = loaded or await self._load()
                left.append(command)
            elif passes(answer):
                away = answer
                left.append(command)
            elif isinstance(answer, Exception):
                logger.error("Redis has refused a command", exc_info=answer)
                self._fail([command])
            else:
                command.answer.set_result(answer)
        if away is None:
            self.away_since = None
        else:
            self._note(away)
        return left

    def _note(self, error: Exception) -> None:
        """Redis is away, or takes no writes."""
        now = monotonic()
        if self.away_since is None:
            self.away_since = now
        if self._said is None or now - self._said > SAY_AGAIN:
            self._said = now
            logger.warning("Redis is away: %s", error)

    def _give_up_late(self) -> None:
        """End what waits for too long, also behind a batch that is tried again and again."""
        now = monotonic()
        self._fail([command for command in self._queue if command.deadline <= now])
        self._queue = [command for command in self._queue if not command.answer.done()]

    async def _load(self) -> bool:
        try:
            for script in ALL:
                await self._client.script_load(script)
        except Exception:
            logger.debug("the scripts were not loaded", exc_info=True)
            return False  # then the command fails again, and so it is loaded again
        return True

    def _fail(self, commands: list[_Command]) -> None:
        for command in commands:
            if not command.answer.done():
                command.answer.set_exception(
                    StoreUnavailable("Redis can't be reached.", retry_after=1)
                )
