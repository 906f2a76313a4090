"""A model server that keeps its connections: one script of raw bytes for each request."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from tests.loopback import listening
from tests.scripted_upstream import DONE, HANG, Part, chunk

CLOSE = object()
"""The part of a script that closes the connection."""

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n"
)
END = b"0\r\n\r\n"
"""The end of a chunked body."""


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


ANSWER = HEAD + b"\r\n" + chunked(chunk("a") + chunk(None, finish_reason="stop") + DONE)
"""A complete answer of one letter, without the end of its body."""


class KeepingServer:
    """The server: the first request gets the first script, and so on, the last one again and again.

    - `connections`: how many have been made.
    - `requests`: for each request, the number of its connection, from 1 on.
    - `open`: the connections that are open now; `left` is set whenever one has ended.
    """

    def __init__(self, *scripts: Iterable[Part | object]) -> None:
        self.scripts = list(scripts)
        self.connections = 0
        self.requests: list[int] = []
        self.open = 0
        self.left = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Listen on a free port; yields the URL, with its /v1."""
        async with listening(self._serve) as port:
            yield f"http://127.0.0.1:{port}/v1"

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        self.open += 1
        number = self.connections
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = head.partition("content-length:")[2].partition("\r\n")[0]
                await reader.readexactly(int(length))
                self.requests.append(number)
                script = (
                    self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                )
                for part in script:
                    if part is CLOSE:
                        return
                    if part is HANG:
                        await reader.read()
                        return
                    if isinstance(part, float):
                        await asyncio.sleep(part)
                        continue
                    assert isinstance(part, bytes)
                    writer.write(part)
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self.left.set()
            writer.close()
