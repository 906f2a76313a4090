"""The connection for commands: everything but the blocking reads of `follower` goes through it.

Commands that are given within a few milliseconds are sent together, in one round trip.

Invariants:
- What fails because Redis is away, or takes no writes, is sent again, in the same order, until the
  deadline of each command is over. So every command must be one that may be sent twice.
- A command is answered, or fails with `StoreUnavailable`; none waits for ever.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

from redis.exceptions import NoScriptError

from chatsvc.stores.redis.connect import (
    FAILURES,
    RETRY_S,
    Client,
    failure_reason,
    is_refusal,
    is_transient,
    unavailable,
)
from chatsvc.stores.redis.scripts import ALL, Script
from chatsvc.stores.redis.tasks import cancel
from chatsvc.ticker import monotonic

logger = logging.getLogger("chatsvc.redis")

COLLECT_S = 0.002
"""Seconds for which commands are collected before they are sent together."""

MAX_BATCH = 512
"""Commands that are sent together at most."""

LOG_AGAIN_US = 10_000_000
"""Microseconds between two lines in the log that say that Redis is away."""


# The `repr` of a client, which redis-py puts into its error for each Sentinel that fails.
_CLIENT = re.compile(r"<redis\.[^<>]*(?:<.*>[^<>]*)?>")


class _Command:
    __slots__ = ("answer", "deadline_us", "words")

    def __init__(self, words: tuple[Any, ...], deadline_us: int) -> None:
        self.words = words
        self.deadline_us = deadline_us  # of the monotonic clock
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Commands:
    """A queue of commands to Redis, sent in batches over one connection of `client`.

    `patience` is how many seconds a command is tried for, unless a call says otherwise. `mask`
    returns a text without the passwords in it. `operations` counts the commands that were sent.
    `on_failure` is what `Store.on_failure` set. `refusal` is what Redis answered when it refused
    the user's password or missed a right the last time; "" since it has answered anything else.
    """

    def __init__(
        self, client: Client, patience: float, mask: Callable[[str], str]
    ) -> None:
        self._client = client
        self._patience = patience
        self._mask = mask
        self._queue: list[_Command] = []
        self._due = asyncio.Event()  # set when what is in the queue is to be sent
        self._task: asyncio.Task[None] | None = None
        self._away = False
        self._logged_us: int | None = None  # when the log last said so
        self.operations = 0
        self.on_failure: Callable[[str], None] | None = None
        self.refusal = ""

    def open(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: self._fail(self._queue))

    async def close(self) -> None:
        """Stop sending; commands that wait for an answer fail."""
        await cancel(self._task)

    async def ask(
        self, *words: Any, patience: float | None = None, at_once: bool = False
    ) -> Any:
        """Send a command, and return Redis' answer as redis-py gives it.

        One that is to go `at_once` waits for no others. Raises `StoreUnavailable` when there is no
        answer for `patience` seconds, when Redis refuses the command, and after `close`.
        """
        seconds = self._patience if patience is None else patience
        command = _Command(words, monotonic() + round(seconds * 1e6))
        if self._task is None or self._task.done():
            # Nothing would send it any more, and a shutdown must not wait for it.
            self._fail([command])
        else:
            self._queue.append(command)
            if at_once:
                self._due.set()
            elif len(self._queue) == 1:
                self._collect()
        try:
            return await command.answer
        finally:
            # The error's traceback holds this frame, and the frame the error: a cycle that only the
            # garbage collector would end, and while Redis is away there are many.
            del command

    def describe(self, error: BaseException) -> str:
        """Return the text of an error in one line, without the passwords that it may quote."""
        text = " ".join(str(error).split()) or repr(error)
        return self._mask(_CLIENT.sub("Sentinel", text))

    def report(self, what: str, error: Exception) -> None:
        """Log an error with its traceback, unless it is one of `FAILURES`, which are expected."""
        if not isinstance(error, FAILURES):
            # The error behind it may be one of redis-py's, which may quote a password.
            error.__cause__, error.__suppress_context__ = None, True
            logger.warning(what, exc_info=error)

    async def load(self, script: Script) -> None:
        """Have all masters keep a script. Raises one of `FAILURES`; it is not tried again."""
        await self._client.script_load(script.source)

    async def run(
        self,
        script: Script,
        keys: list[str],
        *arguments: Any,
        patience: float | None = None,
        at_once: bool = False,
    ) -> Any:
        """Run a script with its KEYS and ARGV, and return what it returns. Raises as `ask` does."""
        return await self.ask(
            "EVALSHA",
            script.sha1,
            len(keys),
            *keys,
            *arguments,
            patience=patience,
            at_once=at_once,
        )

    def _collect(self) -> None:
        asyncio.get_running_loop().call_later(COLLECT_S, self._due.set)

    async def _run(self) -> None:
        while True:
            await self._due.wait()
            if self._away:
                await asyncio.sleep(RETRY_S)
            self._due.clear()
            batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
            try:
                unsent = await self._send(batch)
            except BaseException:
                self._fail(batch)
                raise
            self._queue[:0] = unsent
            if unsent:
                self._expire()
                self._due.set()
            elif self._queue:
                self._collect()

    async def _send(self, batch: list[_Command]) -> list[_Command]:
        """Send a batch, and return the commands that are to be sent again."""
        batch = [command for command in batch if not command.answer.done()]
        if not batch:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for command in batch:
            pipeline.execute_command(*command.words)
        self.operations += len(batch)
        reason = ""
        try:
            answers = await pipeline.execute(raise_on_error=False)
        except Exception as error:  # noqa: BLE001  (`report` logs it)
            # No command was answered. When a connection is closed during a call, redis-py raises
            # other errors than its own too (AttributeError, say): they mean the same.
            self.report("Redis was not asked", error)
            self._note_refusal(error)
            reason = failure_reason(error)
            answers = [ConnectionError(self.describe(error))] * len(batch)
        again, loaded = [], False
        away: Exception | None = None
        for command, answer in zip(batch, answers, strict=True):
            if command.answer.done():
                continue
            if isinstance(answer, NoScriptError):
                loaded = loaded or await self._load()
                again.append(command)
            elif is_transient(answer):
                self._note_refusal(answer)
                away = answer
                reason = reason or failure_reason(answer)
                again.append(command)
            elif isinstance(answer, Exception):
                self._note_refusal(answer)
                logger.error("Redis has refused a command: %s", self.describe(answer))
                self.note_failure(answer)
                self._fail([command])
            else:
                self.refusal = ""
                command.answer.set_result(answer)
        self._away = away is not None
        if away is not None:
            self._log_away(away)
            self._note_failure(reason)
        return again

    def note_failure(self, error: Exception) -> None:
        """Report a request that has failed, also one that `Follower` has sent."""
        self._note_failure(failure_reason(error))

    def _note_failure(self, reason: str) -> None:
        if self.on_failure is not None:
            self.on_failure(reason)

    def _note_refusal(self, error: Exception) -> None:
        if is_refusal(error):
            self.refusal = self.describe(error)

    def _log_away(self, error: Exception) -> None:
        now = monotonic()
        if self._logged_us is None or now - self._logged_us > LOG_AGAIN_US:
            self._logged_us = now
            logger.warning("Redis is away: %s", self.describe(error))

    def _expire(self) -> None:
        """Fail all commands whose deadline is over.

        That includes those behind the next batch, which may consist of commands with a long
        patience that are tried again and again.
        """
        now = monotonic()
        self._fail([command for command in self._queue if command.deadline_us <= now])
        self._queue = [command for command in self._queue if not command.answer.done()]

    async def _load(self) -> bool:
        try:
            for script in ALL:
                await self.load(script)
        except Exception as error:  # noqa: BLE001  (it is logged)
            # The command fails in the same way when it is sent again, and so this is tried again.
            self._note_refusal(error)
            logger.debug("the scripts were not loaded: %s", self.describe(error))
            return False
        return True

    def _fail(self, commands: list[_Command]) -> None:
        for command in commands:
            if not command.answer.done():
                command.answer.set_exception(unavailable())
