"""A running service: the application in this process, or `chatsvc` as a child."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from typing import Any, NamedTuple

import aiohttp
import regex
from aiohttp import web
from multidict import CIMultiDict

from chatsvc.app import create_app
from chatsvc.model import Finish
from chatsvc.replies import Replies, Reply
from chatsvc.settings import Settings
from chatsvc.web.app_keys import REPLIES
from chatsvc.web.connections import Connections
from chatsvc.web.logs import AccessLog
from chatsvc.web.logs import access as access_logger

HARD = "你好, wörld!\n\n  👨‍👩‍👧‍👦🇨🇳🏳️‍🌈 e\u0301 क्षि\t한글 \u2028x\n "
"""What clients get wrong: wide characters, families, flags, marks, newlines, spaces at the edges."""

OURS = (
    "Producer.",
    "Connection.",
    "Handover.",
    "MemoryStore.finish",
    "Registry.",
    "Replies.",
    "Producers.",
)
"""How the names of the coroutines begin that work on replies."""

Item = str | BaseException | asyncio.Event | Finish


class Scripted:
    """A backend's function that follows a script: text is yielded, an error raised, an event waited for.

    `calls` counts producers, `open` those that have not been closed yet.
    """

    def __init__(self, *script: Item) -> None:
        self.script = script
        self.calls = 0
        self.open = 0
        self.asked: list[list[dict[str, str]]] = []

    async def __call__(
        self, messages: list[dict[str, str]]
    ) -> AsyncIterator[str | Finish]:
        self.calls += 1
        self.open += 1
        self.asked.append(messages)
        try:
            for item in self.script:
                if isinstance(item, BaseException):
                    raise item
                if isinstance(item, asyncio.Event):
                    await item.wait()
                else:
                    yield item
        finally:
            self.open -= 1


def characters(text: str) -> list[str]:
    """The text as it is cut into events."""
    return regex.findall(r"\X", text)


def _event(character: str) -> bytes:
    newline = character == "\n"
    return b"data:\ndata:\n\n" if newline else f"data: {character}\n\n".encode()


def seed_events(text: str) -> bytes:
    """What the original server sent."""
    return b"".join(map(_event, characters(text)))


def events(reply: str, text: str, after: int = 0) -> bytes:
    """The events of a text with their ids, as far as they stand behind a position."""
    data, position = b"", 0
    for character in characters(text):
        before, position = position, position + len(character)
        left = character[max(0, after - before) :]
        if left:
            data += f"id: {reply}:{position}\n".encode() + _event(left)
    return data


def done(reply: str) -> bytes:
    """The last event of a stream."""
    return f"id: {reply}:end\ndata: [DONE]\n\n".encode()


_comment = re.compile(rb": t=[0-9]{13}\n\n")


def without_comments(body: bytes) -> bytes:
    """A stream of events without its heartbeats, which come when they come."""
    return _comment.sub(b"", body)


class Answer(NamedTuple):
    """An answer as bytes off a socket; `complete` tells whether a chunked body had its last chunk."""

    status: int
    version: str
    headers: CIMultiDict[str]
    body: bytes
    complete: bool

    @property
    def reply(self) -> str:
        """The reply id."""
        return self.headers["X-Reply-Id"]


def parse(data: bytes) -> Answer:
    """Read an answer that ended with its connection."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    version, status, *_ = first.split(" ")
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, _, value = line.partition(": ")
        headers.add(name, value)
    complete = True
    if headers.get("Transfer-Encoding") == "chunked":
        body, complete = _unchunked(body)
    return Answer(int(status), version, headers, body, complete)


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return body, data == b"\r\n"
        body += data[:length]
        assert data[length : length + 2] == b"\r\n"
        data = data[length + 2 :]
    return body, False


async def eventually(true: Callable[[], object], seconds: float = 10) -> None:
    """Wait until something has become true."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


class Chat:
    """A service at `url`, and a client's `session` with it."""

    def __init__(self, host: str, port: int, session: aiohttp.ClientSession) -> None:
        self.host = host
        self.port = port
        self.url = f"http://{host}:{port}"
        self.session = session
        self._writers: list[asyncio.StreamWriter] = []

    def close(self) -> None:
        """Close what `connect` opened, so that a test that fails leaves nothing either."""
        for writer in self._writers:
            writer.close()

    async def raw(
        self,
        line: str,
        *headers: str,
        body: bytes = b"",
        version: str = "HTTP/1.1",
    ) -> Answer:
        """Send one request as bytes, and read until the connection closes."""
        reader, writer = await self.connect(
            line, *headers, "Connection: close", body=body, version=version
        )
        try:
            return parse(await asyncio.wait_for(reader.read(), 20))
        finally:
            writer.close()

    async def connect(
        self,
        line: str,
        *headers: str,
        body: bytes = b"",
        version: str = "HTTP/1.1",
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send one request as bytes; what comes back is the caller's."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        self._writers.append(writer)
        lines = [f"{line} {version}", f"Host: {self.host}:{self.port}", *headers]
        if not line.startswith("POST"):
            body = b""
        else:
            lines += [f"Content-Length: {len(body)}"]
            if not any(header.startswith("Content-Type") for header in headers):
                lines += ["Content-Type: application/json"]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        return reader, writer

    async def start(self, message: str = HARD, **headers: str) -> str:
        """Begin a reply without waiting for its text, and give its id."""
        answer = await self.json("POST", "/api/chat?wait=0", message, **headers)
        reply: str = answer["reply"]
        return reply

    async def json(
        self, method: str, path: str, message: str | None = None, **headers: str
    ) -> Any:
        """The JSON of an answer."""
        async with self.session.request(
            method,
            self.url + path,
            json=None if message is None else {"message": message},
            headers={"Accept": "application/json", **headers},
        ) as response:
            return await response.json(content_type=None)

    async def read(self, reply: str, query: str = "") -> Answer:
        """A reply as a stream of events, as bytes."""
        return await self.raw(f"GET /api/chat/{reply}{query}")

    async def metrics(self) -> dict[str, float]:
        """`/metrics`, by name and labels."""
        async with self.session.get(self.url + "/metrics") as response:
            lines = (await response.text()).splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


class Inside(Chat):
    """A service whose application is in this process."""

    def __init__(
        self,
        app: web.Application,
        runner: web.AppRunner,
        port: int,
        session: aiohttp.ClientSession,
    ) -> None:
        super().__init__("127.0.0.1", port, session)
        self.app = app
        self._runner = runner

    @property
    def buffers(self) -> list[int]:
        """The bytes that wait to be sent on each connection."""
        assert self._runner.server is not None
        transports = (handler.transport for handler in self._runner.server.connections)
        return [t.get_write_buffer_size() for t in transports if t is not None]

    def cut(self) -> None:
        """Reset all connections."""
        assert self._runner.server is not None
        for handler in self._runner.server.connections:
            if handler.transport is not None:
                handler.transport.abort()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        assert self._runner.server is not None
        return len(self._runner.server.connections)

    @property
    def replies(self) -> Replies:
        """Its replies."""
        return self.app[REPLIES]

    @property
    def opened(self) -> MutableMapping[str, Reply]:
        """Those that are open, by id."""
        return self.replies._registry._replies

    def send_readers_away(self) -> None:
        """Do what the node does when it leaves."""
        self.replies._registry.send_readers_away()

    async def nothing_left(self) -> None:
        """Wait until no reply runs, none is read, and no task of theirs is left."""
        await eventually(lambda: not self.replies.running and not self.replies.known)

        def strays() -> list[str]:
            coroutines = (task.get_coro() for task in asyncio.all_tasks())
            names = [getattr(c, "__qualname__", "") for c in coroutines]
            return [name for name in names if name.startswith(OURS)]

        await eventually(lambda: not strays())
        readers = [
            value
            for name, value in (await self.metrics()).items()
            if name.startswith("chatsvc_readers")
        ]
        assert not any(readers)


@asynccontextmanager
async def inside(
    settings: Settings | None = None,
    app: web.Application | None = None,
    send_buffer: int = 0,
    drain: float = 0,
    access: bool = False,
    **arguments: Any,
) -> AsyncIterator[Inside]:
    """Run the application as `chatsvc serve` does, or mounted in `app`; `send_buffer` is the kernel's, in bytes.

    Its store is the one that the environment names, as a command's is. In the end it drains for `drain` seconds.
    With `access` it logs requests.
    """
    address = os.environ.get("CHATSVC_STORE", "memory")
    outer = inner = create_app(
        replace(settings or Settings(), store=address, drain=drain), **arguments
    )
    if app is not None:
        app.add_subapp("/chat/", inner)
        outer = app
    runner = web.AppRunner(
        outer, handler_cancellation=app is None, access_log=None, shutdown_timeout=1.0
    )
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    if send_buffer:  # of what is accepted, too
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    port = listening.getsockname()[1]
    served = None
    if app is None:
        assert runner.server is not None
        connections = Connections(
            runner.server,
            inner,
            access_log_class=AccessLog,
            access_log=access_logger if access else None,
        )
        loop = asyncio.get_running_loop()
        served = await loop.create_server(connections, sock=listening, backlog=4096)
    else:
        await web.SockSite(runner, listening, backlog=4096).start()
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            chat = Inside(inner, runner, port, session)
            with closing(chat):
                yield chat
    finally:
        if served is not None:
            served.close()
        await runner.cleanup()


class Child(Chat):
    """`chatsvc` in a process of its own."""

    def __init__(
        self, process: asyncio.subprocess.Process, port: int, session: Any
    ) -> None:
        super().__init__("127.0.0.1", port, session)
        self.process = process

    async def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> tuple[int, str]:
        """The exit status, and what is on stderr."""
        assert self.process.stderr is not None
        errors = await asyncio.wait_for(self.process.stderr.read(), 20)
        return await self.process.wait(), errors.decode()


COMMAND = (sys.executable, "-m", "chatsvc")
"""The command line of `chatsvc`, without its flags."""

START_TIMEOUT_S = 60.0
"""Seconds in which a command that is started, with its workers, says where it is: others run beside it."""


async def launch(
    *flags: str, command: Sequence[str] = COMMAND, **environment: str
) -> asyncio.subprocess.Process:
    """Start the command."""
    return await asyncio.create_subprocess_exec(
        *command,
        *flags,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**24,
        env={**os.environ, **environment},
    )


async def said(process: asyncio.subprocess.Process) -> str:
    """The next line on its stdout: where a command is that starts."""
    assert process.stdout is not None
    async with asyncio.timeout(START_TIMEOUT_S):
        return (await process.stdout.readline()).decode().strip()


@asynccontextmanager
async def child(
    *flags: str, command: Sequence[str] = COMMAND, **environment: str
) -> AsyncIterator[Child]:
    """Run `chatsvc` on a free port, and end it."""
    process = await launch("--port", "0", *flags, command=command, **environment)
    try:
        line = await said(process)
        assert line.startswith("chatsvc is running on http://127.0.0.1:"), line
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            chat = Child(process, int(line.rpartition(":")[2]), session)
            with closing(chat):
                yield chat
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
