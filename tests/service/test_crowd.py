"""Crowds: many streams at once, clients that vanish, readers that never read."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from chatsvc import ticker
from chatsvc.settings import Settings
from chatsvc.transports import connection, heartbeat, writing

from .running import (
    Inside,
    done,
    events,
    eventually,
    inside,
    parse,
    without_comments,
)
from .test_sockets import masked

MANY = 500
"""Some times what the ticker calls in one turn, and what a listening socket holds by default."""

TEXT = "多👨‍👩‍👧‍👦\n x"


@pytest.fixture(autouse=True)
def files() -> Iterator[None]:
    """Room for both ends of all connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MANY + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.thorough
async def test_many_streams_at_once_each_exact() -> None:
    begun = 0
    all_have_begun = asyncio.Event()

    async def echo(messages: list[dict[str, str]]) -> AsyncIterator[str]:
        text = messages[-1]["content"]
        yield text[:-1]
        await all_have_begun.wait()
        yield text[-1]

    async with inside(Settings(pace=0.1, limits="off"), backend=echo) as chat:

        async def one(number: int) -> None:
            nonlocal begun
            text = f"{number}{TEXT}"
            body = json.dumps({"message": text}).encode()
            reader, writer = await chat.connect(
                "POST /api/chat", "Connection: close", body=body
            )
            data = await reader.readuntil(b"\r\n\r\n")
            begun += 1
            if begun == MANY:
                assert chat.replies.running == MANY
                all_have_begun.set()
            answer = parse(data + await reader.read())
            writer.close()
            assert without_comments(answer.body) == (
                events(answer.reply, text) + done(answer.reply)
            )
            assert answer.complete

        async with asyncio.timeout(60):
            await asyncio.gather(*(one(number) for number in range(MANY)))
        await chat.nothing_left()


@pytest.mark.thorough
async def test_clients_that_vanish_leave_nothing() -> None:
    async with inside(Settings(pace=0.05, grace=0.2, limits="off")) as chat:
        body = json.dumps({"message": "x" * 10_000}).encode()

        async def vanish(number: int) -> None:
            if number % 4 == 3:
                ws = await chat.session.ws_connect(chat.url + "/ws/chat")
                await ws.send_str(body.decode())
                await ws.receive_str(timeout=20)
                assert ws._response.connection is not None
                assert ws._response.connection.transport is not None
                ws._response.connection.transport.abort()
                return
            kind = ("text/event-stream", "text/plain", "application/json")[number % 4]
            reader, writer = await chat.connect(
                "POST /api/chat", f"Accept: {kind}", body=body
            )
            if number % 4 != 2:
                await reader.readuntil(b"x")
            writer.transport.abort()

        async with asyncio.timeout(30):
            await asyncio.gather(*(vanish(number) for number in range(MANY)))
        await chat.nothing_left()


@pytest.mark.any_store
async def test_100_that_never_read_cost_a_bounded_buffer_and_can_resume(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "你好" * 10_000
    settings = Settings(pace=0, max_reply=2**20, max_message=2**20)
    # A timer that is set before the clock jumps fires late by the jump: let there always be one that is set for soon.
    monkeypatch.setattr(heartbeat, "SILENCE_US", 200_000)
    async with inside(settings, send_buffer=2**16) as chat:
        reply = await chat.start(text)
        whole = events(reply, text)
        assert len(whole) > 10 * writing.FULL_BYTES
        never = [await _never_reads(chat, reply, n) for n in range(100)]
        run = len(whole) // len(text) * 1024
        await eventually(
            lambda: sum(b > writing.FULL_BYTES for b in chat.buffers) == 100
        )
        assert max(chat.buffers) < writing.FULL_BYTES + 2 * run
        real, ahead = ticker.monotonic, 0
        monkeypatch.setattr(ticker, "monotonic", lambda: real() + ahead)

        def dropped() -> bool:
            # Again and again, for a reader's deadline begins anew with each byte that its kernel still takes.
            nonlocal ahead
            ahead += writing.STALLED_US
            # The connection of `start` is kept alive.
            return len(chat.buffers) <= 1

        await eventually(dropped)
        await chat.nothing_left()
        for reader, writer in (never[0], never[2]):
            data = await reader.read()
            head, _, data = data.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.0 200 ")
            got = without_comments(data[: data.rindex(b"\n\n") + 2])
            assert whole.startswith(got)
            last = int(got.rpartition(b"id: " + reply.encode() + b":")[2].split()[0])
            assert 0 < last < len(text)
            rest = await chat.read(reply, f"?after={last}")
            assert got + without_comments(rest.body) == whole + done(reply)
        for _, writer in never:
            writer.transport.abort()


@pytest.mark.parametrize("what", ["mistakes", "replies"])
@pytest.mark.any_store
async def test_one_that_asks_on_and_on_and_never_reads_costs_a_bounded_buffer(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PING_INTERVAL_S", 0.2)
    async with inside(Settings(pace=0), send_buffer=2**16) as chat:
        reply = await chat.start("x" * 10_000)
        ask, times = b"{}", 50_000
        if what == "replies":
            ask, times = b'{"read": "%b"}' % reply.encode(), connection.MAX_STREAMS
        _, writer = await _never_reads(chat, reply, 1)
        writer.write(masked(1, ask) * times)
        most = 0

        def dropped() -> bool:
            nonlocal most
            most = max([most, *chat.buffers])
            return len(chat.buffers) <= 1  # the one of `start` is kept alive

        await eventually(lambda: len(chat.buffers) == 2)
        await eventually(dropped)
        assert writing.FULL_BYTES // 2 < most < 3 * writing.FULL_BYTES
        await chat.nothing_left()
        writer.transport.abort()


@pytest.mark.any_store
async def test_a_reader_that_does_not_take_the_end_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with inside(Settings(pace=0), send_buffer=4096) as chat:
        reply = await chat.start("x" * 1300)
        _, writer = await _never_reads(chat, reply, 0)
        # All of it is written: what remains is less than makes a stream wait.
        await eventually(lambda: 20_000 < max(chat.buffers) < writing.FULL_BYTES)
        real = ticker.monotonic
        monkeypatch.setattr(ticker, "monotonic", lambda: 1000 * real())
        await eventually(lambda: not any(chat.buffers))
        await chat.nothing_left()
        writer.transport.abort()


async def _never_reads(
    chat: Inside, reply: str, number: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client with a small window that asks and then reads nothing; every other one by WebSocket."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (chat.host, chat.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    if number % 2:
        ask = b'{"read": "%b"}' % reply.encode()
        writer.write(
            b"GET /ws/chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Sec-WebSocket-Protocol: chatsvc.v1\r\n\r\n"
            b"\x81%c\0\0\0\0%b" % (0x80 | len(ask), ask)
        )
    else:
        writer.write(b"GET /api/chat/%b HTTP/1.0\r\n\r\n" % reply.encode())
    return reader, writer
