"""A model server that plays scripts of raw bytes and notices when its client leaves."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from .loopback import listening

HANG = None
"""The part of a script that sends nothing more until the client leaves."""

Part = bytes | float | None
"""One part of a script: bytes to send in one write, seconds to wait, or `HANG`."""


def head(
    status: str = "200 OK", kind: str = "text/event-stream", more: str = ""
) -> bytes:
    """Return a response's head; `more` holds further header lines, each with its CRLF.

    Without a Content-Length the body ends with the connection.
    """
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}\r\n".encode()


def chunk(content: object = None, **more: object) -> bytes:
    """Return an OpenAI chunk as an event; `more` are further members of its only choice."""
    choice = {"index": 0, "delta": {"content": content}, **more}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
"""The event behind the last chunk."""


Script = Iterable[Part] | Callable[[dict[str, Any]], Iterable[Part]]
"""The parts of one answer, or a function that makes them of the request's body (as JSON)."""


class Upstream:
    """The scripted server: the first connection gets the first script, and so on; the last script
    is played again for every further connection, each of which takes one request. A script may be
    without end, as `itertools.repeat` makes one: it is played until the client leaves.

    - `requests`, `heads`: the bodies (as JSON) and the heads of all requests so far.
    - `open`: the connections that are open now.
    - `asked`, `left`: set when a request has been read whole, and when a connection has ended.
    """

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.open = 0
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Listen on a free port; yields the URL, with its /v1."""
        async with listening(self._serve) as port:
            self.url = f"http://127.0.0.1:{port}/v1"
            yield self.url

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.open += 1
        self.left.clear()
        try:
            raw = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(raw)
            length = next(
                int(line.split(":")[1])
                for line in raw.split("\r\n")
                if line.lower().startswith("content-length:")
            )
            self.requests.append(json.loads(await reader.readexactly(length)))
            self.asked.set()
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
            for part in script(self.requests[-1]) if callable(script) else script:
                if part is HANG:
                    await reader.read()
                    break
                if isinstance(part, float):
                    await asyncio.sleep(part)
                    continue
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self.left.set()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            # The reader keeps the exception, and the frames of its traceback the reader: a test
            # that counts what a client leaves to the collector would count this, too.
            if (error := reader.exception()) is not None:
                error.__traceback__ = None
