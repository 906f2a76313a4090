"""What a connection may cost: heads, idle connections, bodies that are refused, answers that nobody reads.

They are PROTOCOL.md section 6, "before the table", and RFC 9110 and 9112.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import StreamReader, web

from chatsvc.web import connection_limits

from ..stalls import without_stall
from .running import (
    Answer,
    Chat,
    Child,
    Inside,
    Scripted,
    child,
    eventually,
    inside,
    parse,
)

pytestmark = pytest.mark.any_store

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-More: "
CROWD = 60
CUT = 'chatsvc_connections_cut_total{reason="%s"}'

PATCHED = """
import sys
from chatsvc.cli import main
from chatsvc.web import connection_limits
for name, _, value in (each.partition("=") for each in sys.argv.pop(1).split()):
    setattr(connection_limits, name, float(value))
sys.exit(main())
"""


@asynccontextmanager
async def patched_child(constants: str, *flags: str) -> AsyncIterator[Child]:
    """Run `chatsvc` with other constants of `connection_limits`, such as `"HEAD_S=0.2"`.

    Its event loop is uvloop's where that is installed.
    """
    command = (sys.executable, "-c", PATCHED, constants)
    async with child(*flags, command=command) as chat:
        yield chat


async def sent(
    chat: Chat, data: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect and send bytes."""
    reader, writer = await asyncio.open_connection(chat.host, chat.port)
    chat._writers.append(writer)
    writer.write(data)
    return reader, writer


async def answer_of(reader: asyncio.StreamReader) -> Answer:
    """The answer on a connection that closes behind it; a reset counts as that."""
    data = b""
    async with asyncio.timeout(20):
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                data += piece
    return parse(data)


# ---------------------------------------------------------------------- heads


async def slow_heads(chat: Chat) -> None:
    """Begin many heads and end none."""
    clients = [await sent(chat, HALF) for _ in range(CROWD)]
    for answer in await asyncio.gather(*(answer_of(reader) for reader, _ in clients)):
        assert (answer.status, answer.headers["Connection"]) == (408, "close")
        assert answer.headers["Content-Type"].startswith("text/plain")
    assert (await chat.metrics())[CUT % "slow-head"] == CROWD


async def test_heads_that_do_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection_limits.HEAD_S == 10
    monkeypatch.setattr(connection_limits, "HEAD_S", 0.1)
    monkeypatch.setattr(connection_limits, "DISCARD_S", 0.01)
    async with inside() as chat:
        await slow_heads(chat)
        await eventually(lambda: chat.connections <= 1)  # that of `metrics`


async def test_heads_that_do_not_end_on_the_loop_of_the_command() -> None:
    async with patched_child("HEAD_S=0.1 DISCARD_S=0.01") as chat:
        await slow_heads(chat)


async def test_a_byte_now_and_then_does_not_prolong_a_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_limits, "HEAD_S", 0.2)
    monkeypatch.setattr(connection_limits, "DISCARD_S", 0.01)
    async with inside() as chat:
        for begin in (b"\r\n", b"GET /a"):
            reader, writer = await sent(chat, begin)
            answer = asyncio.create_task(answer_of(reader))
            while not answer.done():
                writer.write(begin[-1:])
                await asyncio.sleep(0.02)
            assert (await answer).status == 408


@pytest.mark.parametrize("piece", [1 << 20, 10_000])
async def test_a_head_of_too_many_bytes(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connection_limits.HEAD_BYTES == 64 * 1024
    monkeypatch.setattr(connection_limits, "DISCARD_S", 0.1)

    def head(size: int) -> bytes:
        fields = b"".join(b"X-%d: %b\r\n" % (n, b"x" * 990) for n in range(size))
        return HEALTH[:-2] + fields + b"\r\n"

    async with inside() as chat:
        for size, status in ((60, 200), (70, 431)):
            data = head(size)
            reader, writer = await sent(chat, b"")
            for at in range(0, len(data), piece):
                writer.write(data[at : at + piece])
                await writer.drain()
                await asyncio.sleep(0.001)
            line = await asyncio.wait_for(reader.readline(), 10)
            assert line.startswith(b"HTTP/1.1 %d " % status)
            if status == 431:
                await asyncio.wait_for(reader.read(), 10)
            writer.close()
        assert (await chat.metrics())[CUT % "large-head"] == 1


async def test_heads_in_any_pieces_are_heads(chat: Inside) -> None:
    body = json.dumps({"message": "x" * 200_000, "wait": 0}).encode()
    reader, writer = await sent(chat, b"")
    for piece in (1, 7, 1 << 20):
        for data in (
            HEALTH,
            b"\r\n" + HEALTH,
            # A body of more than a head may have, also when it comes in one block with it.
            b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            % len(body)
            + body,
        ):
            if len(data) > 1000 and piece < 1000:
                continue
            for at in range(0, len(data), piece):
                writer.write(data[at : at + piece])
                await asyncio.sleep(0)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            if b"404" in head.partition(b"\r\n")[0]:
                reader, writer = await sent(chat, b"")
                continue
            assert head.startswith(b"HTTP/1.1 200 ")
            await reader.readexactly(len("ok\n"))


async def test_requests_that_come_together_are_answered_in_turn(chat: Inside) -> None:
    reader, _ = await sent(chat, HEALTH * 20 + HALF)
    for _ in range(20):
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\nok\n"), 10)


async def test_what_is_sent_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "HEAD_S", 0.1)
    monkeypatch.setattr(connection_limits, "DISCARD_S", 0.01)
    go = asyncio.Event()
    async with inside(backend=Scripted("\n", go), send_buffer=0) as chat:

        async def streaming() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await chat.connect(
                "POST /api/chat", body=b'{"message": ""}'
            )
            await reader.readuntil(b"data:\ndata:")
            return reader, writer

        flooded, flooding = await streaming()
        with suppress(ConnectionError):
            for _ in range(10):
                flooding.write(b"GET /healthz?" + b"x" * 8000)
                await flooding.drain()
                await asyncio.sleep(0.001)
        with suppress(ConnectionError):
            await asyncio.wait_for(flooded.read(), 10)
        assert (await chat.metrics())[CUT % "flood"] == 1
        # A head that has begun behind a stream has its time from the stream's end on.
        reader, writer = await streaming()
        writer.write(HALF)
        await chat.metrics()
        await asyncio.sleep(0.2)
        assert not reader.at_eof()
        go.set()
        rest = await asyncio.wait_for(reader.read(), 10)
        assert b"[DONE]" in rest
        assert b"HTTP/1.1 408 " in rest


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection_limits.IDLE_S == 75
    monkeypatch.setattr(connection_limits, "IDLE_S", 0.1)
    async with inside() as chat:
        for first in (b"", HEALTH):
            reader, _ = await sent(chat, first)
            data = await asyncio.wait_for(reader.read(), 10)
            assert data.endswith(b"ok\n" if first else b"")
            assert b" 408 " not in data


# ---------------------------------------------------------------------- bodies


def bomb() -> bytes:
    """A megabyte of gzip that unpacks to a gigabyte."""
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = raw.compress(bytes(16 << 20)) + raw.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + block * 64


ADDRESSES = [
    "POST /api/chat",
    "POST /nowhere",
    "PUT /api/chat",
    "POST /api/chat/x/stop",
]


def refused(answer: Answer) -> None:
    """Check that an answer refuses a compressed body."""
    assert json.loads(answer.body)["type"] == "/problems/unsupported-media-type"
    assert answer.status == 415
    assert answer.headers["Accept-Encoding"] == "identity"
    assert answer.headers["Connection"] == "close"


def encoded(line: str, body: bytes, encoding: str) -> bytes:
    """A request with a body that is encoded."""
    head = (
        f"{line} HTTP/1.1\r\nHost: x\r\nContent-Encoding: {encoding}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def compressed(chat: Chat, line: str, body: bytes, encoding: str) -> Answer:
    """Send a compressed body, as much as is taken."""
    reader, _ = await sent(chat, encoded(line, body, encoding))
    return await answer_of(reader)


async def nobody(request: web.Request) -> str | None:
    return None


async def test_no_body_is_inflated_at_any_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What aiohttp's parser would inflate with.
    monkeypatch.delattr("aiohttp.http_parser.ZLibDecompressor")
    body = bomb()
    async with inside() as chat, inside(authorize=nobody) as closed:

        async def attack() -> Sequence[Answer]:
            return await asyncio.gather(
                *(compressed(chat, line, body, "gzip") for line in ADDRESSES),
                compressed(closed, "POST /api/chat", body, "gzip"),
            )

        for answer in await without_stall(attack()):
            refused(answer)
        await chat.nothing_left()


async def test_no_body_is_inflated_where_the_service_is_mounted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other application's runner may inflate: it does so no more once the service has answered."""
    inflated = 0
    original = StreamReader.feed_data

    def counting(stream: StreamReader, data: bytes, size: int = 0) -> bool:
        nonlocal inflated
        inflated += len(data)
        return original(stream, data, size)

    monkeypatch.setattr(StreamReader, "feed_data", counting)
    async with inside(app=web.Application()) as chat:
        reader, _ = await sent(chat, encoded("POST /chat/api/chat", bomb(), "gzip"))

        async def answered() -> Answer:
            answer = await reader.readuntil(b"}")
            await asyncio.sleep(1)  # aiohttp takes the rest of the body
            return parse(answer)

        refused(await without_stall(answered()))
        assert inflated < len(bomb()) * 10


@pytest.mark.parametrize(
    "encoding", ["gzip", "deflate", "br", "x", "identity, gzip", "GZIP"]
)
async def test_a_compressed_body_is_refused_by_its_header(
    chat: Inside, encoding: str
) -> None:
    refused(await compressed(chat, "POST /api/chat", b"{}", encoding))


async def test_identity_is_no_encoding(chat: Inside) -> None:
    answer = await chat.raw(
        "POST /api/chat", "Content-Encoding: Identity", body=b'{"message": "ab"}'
    )
    assert answer.status == 200


async def test_little_of_a_refused_body_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (connection_limits.DISCARD_BYTES, connection_limits.DISCARD_S) == (
        64 * 1024,
        1,
    )
    monkeypatch.setattr(connection_limits, "DISCARD_S", 0.3)
    taken = 0
    original = web.RequestHandler.data_received

    def counting(handler: web.RequestHandler, data: bytes) -> None:
        nonlocal taken
        taken += len(data)
        original(handler, data)

    monkeypatch.setattr(web.RequestHandler, "data_received", counting)
    size = 1 << 30
    head = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    async with inside() as chat:
        reader, writer = await sent(chat, head)
        told = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert told.startswith(b"HTTP/1.1 404 ")
        assert b"Connection: close\r\n" in told
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                while True:
                    writer.write(bytes(10_000))
                    await writer.drain()
        await eventually(lambda: not chat.connections)
        assert taken <= len(head) + connection_limits.DISCARD_BYTES


# ---------------------------------------------------------------------- answers


@asynccontextmanager
async def who_reads_nothing(chat: Inside, request: str) -> AsyncIterator[socket.socket]:
    """A client with a small buffer that sends a request and reads nothing."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.setblocking(False)
        await loop.sock_connect(client, (chat.host, chat.port))
        await loop.sock_sendall(client, request.encode())
        yield client


def asked(path: str, accept: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"


@pytest.mark.parametrize(
    ("accept", "length"),
    [
        ("application/json", 250_000),
        ("application/json", 30_000),
        ("text/html", 60_000),
        ("text/plain", 15_000),
    ],
)
async def test_who_takes_nothing_of_an_answer_is_dropped(
    accept: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsvc.web.disconnects.CHECK_INTERVAL_S", 0.02)
    backend = Scripted("word " * (length // 5))
    async with inside(send_buffer=4096, backend=backend) as chat:
        reply = await chat.start()
        await eventually(lambda: not chat.replies.running)
        before = chat.connections
        request = asked(f"/api/chat/{reply}", accept)
        async with who_reads_nothing(chat, request):
            await eventually(lambda: max(chat.buffers))
            await asyncio.sleep(0.2)
            assert max(chat.buffers)  # it waits
            monkeypatch.setattr("chatsvc.web.disconnects.STALLED_S", 0.1)
            await eventually(lambda: chat.connections <= before)


async def test_who_takes_an_answer_slowly_gets_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatsvc.web.disconnects.CHECK_INTERVAL_S", 0.02)
    monkeypatch.setattr("chatsvc.web.disconnects.STALLED_S", 0.4)
    loop = asyncio.get_running_loop()
    text = "word " * 20_000
    async with inside(send_buffer=4096, backend=Scripted(text)) as chat:
        reply = await chat.start()
        await eventually(lambda: not chat.replies.running)
        request = asked(f"/api/chat/{reply}", "application/json")
        async with who_reads_nothing(chat, request) as client:
            data = b""
            begun = loop.time()
            while not data.endswith(b"}"):
                data += await asyncio.wait_for(loop.sock_recv(client, 2500), 10)
                await asyncio.sleep(0.03)
            assert loop.time() - begun > 2 * 0.4
        assert json.loads(data.partition(b"\r\n\r\n")[2])["text"] == text
