"""A scripted upstream: it sends the given bytes, and records when its client leaves."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from .loopback import listening

HANG = None
"""The part of a script that sends nothing more until the client leaves."""

Part = bytes | None


def head(
    status: str = "200 OK", kind: str = "text/event-stream", more: str = ""
) -> bytes:
    """Return the head of a response whose body ends with the connection."""
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}\r\n".encode()


def chunk(content: object = None, **more: object) -> bytes:
    """Return an OpenAI chunk as a server-sent event."""
    choice = {"index": 0, "delta": {"content": content}, **more}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


class Upstream:
    """An upstream that plays one script for each connection, in order; the last one repeats.

    `requests` and `heads` hold what the clients sent, and `open` is how many are connected. `asked`
    is set with the first request, and `left` while no client is connected after one was.
    """

    def __init__(self, *scripts: Sequence[Part]) -> None:
        self.scripts = list(scripts)
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.open = 0
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Listen on a free port until the block ends; yield the URL, which ends in /v1."""
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
            for part in script:
                if part is HANG:
                    await reader.read()
                    break
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self.left.set()
            writer.close()
