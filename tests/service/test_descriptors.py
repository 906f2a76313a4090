"""File descriptors that run out: the reserve that answers operators (README.md)."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from contextlib import suppress

import pytest
from aiohttp import web

from chatsvc.app import create_app
from chatsvc.problems import Overloaded
from chatsvc.web.connections import Connections
from chatsvc.web.descriptors import LOG_INTERVAL_S, Descriptors
from chatsvc.web.figures import Figure, Figures, Kind

from .running import Child, child, parse
from .test_reach import admin_of

LIMIT = 128
CROWD = 200
LIMITED = (
    "bash",
    "-c",
    'ulimit -S -n $1; ulimit -H -n $2; shift 2; exec "$@"',
    "bash",
)
REFUSED = "chatsvc_descriptor_refusals_total"


def under(soft: int, hard: int) -> tuple[str, ...]:
    """The command line of `chatsvc` with a limit of descriptors."""
    return (*LIMITED, str(soft), str(hard), sys.executable, "-m", "chatsvc")


async def ask(chat: Child, path: str) -> tuple[int, str | None]:
    """The status of an answer on a new connection, and its `Retry-After`."""
    reader, writer = await asyncio.open_connection(chat.host, chat.port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    data = b""
    with suppress(ConnectionError):
        data = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    if not data:
        return 0, None
    answer = parse(data)
    assert answer.headers["Connection"] == "close"
    return answer.status, answer.headers.get("Retry-After")


async def metric(chat: Child, name: str) -> float:
    """A metric, on a connection of its own."""
    answer = await chat.raw("GET /metrics")
    (line,) = (
        line for line in answer.body.decode().splitlines() if line.startswith(name)
    )
    return float(line.rpartition(" ")[2])


async def test_clients_beyond_the_limit_are_told_and_counted() -> None:
    async with child("--pace", "0", command=under(LIMIT, LIMIT)) as chat:
        crowd = [
            await asyncio.open_connection(chat.host, chat.port) for _ in range(CROWD)
        ]
        for path in ("/healthz", "/readyz", "/metrics"):
            assert await ask(chat, path) == (200, None)
        for path in ("/", "/api/chat?message=hi", "/nowhere"):
            assert await ask(chat, path) == (503, "1")
        # Some are served all the same.
        reader, writer = crowd[0]
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
        line = await asyncio.wait_for(reader.readline(), 10)
        assert line == b"HTTP/1.1 404 Not Found\r\n"
        # Nobody vanished uncounted: those who are still there, and those who were refused.
        gone = [reader.at_eof() for reader, _ in crowd].count(True)
        assert 0 < CROWD - gone < LIMIT
        assert await metric(chat, REFUSED) >= gone
        assert len(os.listdir(f"/proc/{chat.process.pid}/fd")) < LIMIT
        # A reply begins none either: the backend may need a descriptor.
        writer.write(
            b"POST /api/chat?wait=0 HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
            b"Content-Type: application/json\r\nContent-Length: 15\r\n\r\n"
            b'{"message": ""}'
        )
        await asyncio.wait_for(reader.readuntil(b"HTTP/1.1 503 "), 10)
        for _, writer in crowd:
            writer.close()
        async with asyncio.timeout(10):
            while (await ask(chat, "/nowhere"))[0] != 404:  # there is room again
                await asyncio.sleep(0.05)
        await chat.terminate()
        status, errors = await chat.ended()
    assert status == 0
    assert "Traceback" not in errors
    assert errors.count(f"file descriptors have run out limit={LIMIT}") == 1


async def test_who_only_connects_does_not_keep_the_operator_out() -> None:
    async with child(command=under(LIMIT, LIMIT)) as chat:
        writers = []

        async def connect() -> None:
            while True:
                _, writer = await asyncio.open_connection(chat.host, chat.port)
                writers.append(writer)
                await asyncio.sleep(0.002)

        connecting = asyncio.create_task(connect())
        try:
            async with asyncio.timeout(20):
                while await metric(chat, REFUSED) < 20:
                    await asyncio.sleep(0.05)
            for _ in range(20):
                assert await ask(chat, "/healthz") == (200, None)
                await asyncio.sleep(0.01)
        finally:
            connecting.cancel()
            for writer in writers:
                writer.close()


async def test_the_soft_limit_is_raised_and_logged() -> None:
    hard = min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    async with child(command=under(64, hard)) as chat:
        limits = resource.prlimit(chat.process.pid, resource.RLIMIT_NOFILE)
        assert limits == (hard, hard)
        await chat.terminate()
        _, errors = await chat.ended()
    assert f"this process may have {hard} file descriptors" in errors


async def test_the_admin_port_is_answered_from_the_same_reserve() -> None:
    """Also while clients take all descriptors on the main port, and do nothing."""
    flags = ("--admin-port", "0")
    async with child(*flags, command=under(LIMIT, LIMIT)) as chat:
        admin = await admin_of(chat)
        writers = []

        async def connect() -> None:
            while True:
                _, writer = await asyncio.open_connection(chat.host, chat.port)
                writers.append(writer)
                await asyncio.sleep(0.002)

        connecting = asyncio.create_task(connect())
        try:
            async with asyncio.timeout(20):
                while len(writers) < CROWD:
                    await asyncio.sleep(0.01)
            for _ in range(10):
                async with chat.session.get(admin) as answer:
                    assert answer.status == 200
                    assert answer.headers["Connection"] == "close"
        finally:
            connecting.cancel()
            for writer in writers:
                writer.close()


async def nothing(request: web.BaseRequest) -> web.Response:
    """A handler that is never called."""
    raise AssertionError


async def test_a_connection_to_one_port_makes_room_for_one_to_another() -> None:
    app = create_app()
    server = web.Server(nothing)
    main = Connections(server, app)
    admin = Connections(server, app, waiting=main.waiting)
    assert not admin.make_room()
    main.waiting[main()] = None
    assert admin.make_room()
    assert not main.waiting
    assert not main.make_room()


def descriptors(limit: int | None) -> tuple[Descriptors, Figure]:
    counter = Figures().table(0).figure(Kind.COUNTER, "refused")
    return Descriptors(limit, counter), counter


def test_a_reply_needs_a_descriptor_below_the_reserve() -> None:
    lowest = os.dup(2)
    os.close(lowest)
    for limit in (None, lowest * 2 + 100):
        descriptors(limit)[0].check()
    with pytest.raises(Overloaded) as refused:
        descriptors(lowest)[0].check()
    assert refused.value.retry_after == 1


def test_running_out_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    full, _ = descriptors(64)
    for _ in range(3):
        full.refuse()
    now += LOG_INTERVAL_S
    full.refuse()
    first, second = (record.__dict__["data"] for record in caplog.records)
    assert (first["refused"], second["refused"]) == (1, 3)
