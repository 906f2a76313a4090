"""The node under attack as raw connections: what is sent is the attack's, byte for byte."""

import asyncio
import base64
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

ANSWER_S = 10.0
"""How long an attack waits for the first line of an answer."""
HOST = "127.0.0.1"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Target:
    """The node, as one attack sees it from the loopback address `address`.

    `seen` counts what came back: statuses, and `none` for a connection that ended without one.
    """

    def __init__(self, port: int, address: str) -> None:
        self.port = port
        self.address = address
        self.seen: Counter[str] = Counter()

    @asynccontextmanager
    async def connected(self, receive_buffer: int = 0) -> AsyncIterator[Connection]:
        """Connect; the end of the block resets the connection. `receive_buffer` is in bytes."""
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.bind((self.address, 0))
            await asyncio.get_running_loop().sock_connect(sock, (HOST, self.port))
            reader, writer = await asyncio.open_connection(sock=sock, limit=2**20)
        except BaseException:
            sock.close()
            raise
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def head(self, line: str, *headers: str) -> bytes:
        """Return a request's head: `line` is its method and URL."""
        lines = [f"{line} HTTP/1.1", f"Host: {HOST}:{self.port}", *headers, "", ""]
        return "\r\n".join(lines).encode()

    async def ask(
        self, line: str, *headers: str, body: bytes = b"", stay: float = 0.0
    ) -> bytes:
        """Send one request, read its status and then for `stay` seconds at most, and leave.

        A POST has a Content-Length and, without another Content-Type, that of JSON. Returns what
        was read of the answer behind its first line.
        """
        own = list(headers)
        if line.startswith("POST"):
            own.append(f"Content-Length: {len(body)}")
            if not any(header.startswith("Content-Type") for header in headers):
                own.append("Content-Type: application/json")
        async with self.connected() as (reader, writer):
            sending = asyncio.create_task(
                self._send(writer, self.head(line, *own) + body)
            )
            try:
                await self.status(reader)
                return await read_for(reader, stay)
            finally:
                sending.cancel()

    async def status(self, reader: asyncio.StreamReader) -> str:
        """Read and count the status of an answer; `none` when the connection ends before it."""
        line = b""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            async with asyncio.timeout(ANSWER_S):
                line = await reader.readuntil(b"\r\n")
        status = line[9:12].decode() or "none"
        self.seen[status] += 1
        return status

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        with suppress(
            ConnectionError
        ):  # The node may answer before it has read everything.
            await send(writer, [data])

    @asynccontextmanager
    async def websocket(
        self, subprotocol: str = "chatsvc.v1", receive_buffer: int = 0
    ) -> AsyncIterator[Connection]:
        """Open a WebSocket; "" is no subprotocol. Raises `ConnectionError` when it is refused."""
        key = base64.b64encode(os.urandom(16)).decode()
        headers = ["Connection: Upgrade", "Upgrade: websocket"]
        headers += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
        if subprotocol:
            headers.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        async with self.connected(receive_buffer) as (reader, writer):
            writer.write(self.head("GET /ws/chat", *headers))
            if await self.status(reader) != "101":
                raise ConnectionError("refused")
            await reader.readuntil(b"\r\n\r\n")
            yield reader, writer


async def send(
    writer: asyncio.StreamWriter, parts: Iterable[bytes], pause: float = 0.0
) -> None:
    """Send parts, with `pause` seconds behind each. Raises `ConnectionError` as a socket does."""
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(pause)


async def read_for(
    reader: asyncio.StreamReader, seconds: float, most: int = 1 << 18
) -> bytes:
    """Read for some seconds, at most `most` bytes or to the end."""
    data = b""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(seconds):
            while len(data) < most and (more := await reader.read(65536)):
                data += more
    return data


def frame(
    payload: bytes, opcode: int = 1, *, mask: bool = True, fin: bool = True
) -> bytes:
    """Return a WebSocket frame (RFC 6455 section 5.2), whose masking key is 0."""
    length, bit = len(payload), 0x80 if mask else 0
    head = bytes([opcode | (0x80 if fin else 0)])
    if length < 126:
        head += bytes([bit | length])
    elif length < 65536:
        head += bytes([bit | 126]) + length.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + length.to_bytes(8, "big")
    return head + (bytes(4) if mask else b"") + payload
