"""One child process of a renderer, as its parent sees it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress

from chatsvc.rendering.frames import HEAD, Kind, frame

PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from chatsvc.rendering.child import main; main()"
)
"""The program of a child, whose arguments are `IMPORT_PATH`: it has to import the same modules as
its parent, from wherever they are. `-m` with `-P` would not find those of a checkout."""

IMPORT_PATH = tuple(sys.path)
"""Where this process looked for modules before an operator's own function was imported.

The folder of such a function comes first from then on, and a file `html.py` in it would be what a
child imports.
"""

START_TIMEOUT_S = 20.0
"""Seconds in which a child must be ready."""

EXIT_TIMEOUT_S = 1.0
"""Seconds in which a child must exit after its stdin has been closed; then it is killed."""


class WorkerDied(Exception):
    """Raised when a child has ended."""


class WorkerNotStarted(WorkerDied):
    """Raised when a child could not be started."""


class RenderingFailed(Exception):
    """Raised when a rendering ended with an exception, whose name is the argument."""


class Worker:
    """A child process that renders one text at a time.

    It is started for the first text, and again for the next when it has ended. `command` are the
    arguments that start it; None stands for the renderer's own program.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None when no child runs."""
        return self._process.pid if self._is_running() and self._process else None

    async def start(self) -> None:
        """Start the child if it does not run. Raises `WorkerNotStarted`."""
        if self._is_running():
            return
        await self.kill()
        command = self._command or (sys.executable, "-P", "-c", PROGRAM, *IMPORT_PATH)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # Ctrl-C in the terminal is for the service, which ends its children itself.
                start_new_session=True,
            )
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._receive()
        except (OSError, TimeoutError, WorkerDied) as error:
            await self.kill()
            raise WorkerNotStarted(repr(error)) from None

    async def ask(self, kind: Kind, text: str, *, timeout: float) -> str:
        """Return the answer to a message of `kind` with a text.

        Raises `WorkerNotStarted`, `WorkerDied`, `RenderingFailed`, and `TimeoutError` when it takes
        more than `timeout` seconds. After a `TimeoutError` the child has been killed.
        """
        await self.start()
        try:
            async with asyncio.timeout(timeout):
                stdin = self._pipes()[0]
                stdin.write(frame(kind, text))
                with suppress(ConnectionError):  # then there is no answer, either
                    await stdin.drain()
                answered, answer = await self._receive()
        except BaseException:
            # Whatever it still writes must not be taken for the next answer.
            await self.kill()
            raise
        if answered == Kind.FAILED:
            raise RenderingFailed(answer)
        return answer

    async def _receive(self) -> tuple[Kind, str]:
        """Return the child's next message. Raises `WorkerDied`."""
        stdout = self._pipes()[1]
        try:
            size, kind = HEAD.unpack(await stdout.readexactly(HEAD.size))
            return Kind(kind), (await stdout.readexactly(size)).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            raise WorkerDied("its process has ended") from None

    async def close(self) -> None:
        """End the child, which is not rendering."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(EXIT_TIMEOUT_S):
                    await self._process.wait()
        await self.kill()

    async def kill(self) -> None:
        """End the child at once if it runs."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()

    def _is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def _pipes(self) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise WorkerDied("its process has no pipes")
        return process.stdin, process.stdout
