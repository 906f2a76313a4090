"""The memory budget over HTTP and WebSocket: who is stopped or refused (PROTOCOL.md section 7)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from chatsvc.replies import memory as replies_memory
from chatsvc.settings import Settings
from chatsvc.web import connection_limits, memory, sockets
from chatsvc.web.memory import MEMORY

from ..redis_server import RedisServer
from .running import Inside, Scripted, child, eventually, inside
from .test_connections import sent
from .test_workers import workers

MIB = 1024**2
HELD = 'chatsvc_memory_bytes{kind="%s"}'
LIMIT = "chatsvc_memory_limit_bytes"
MESSAGES = [{"role": "assistant", "content": "x" * 30_000} for _ in range(10)]
MESSAGES.append({"role": "user", "content": "?"})  # which is kept with the reply
LARGE = json.dumps({"messages": MESSAGES}).encode()
HEAD = (
    b"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at everything often, spare no reply, and close soon what was refused."""
    monkeypatch.setattr(memory, "SAMPLE_S", 0.01)
    monkeypatch.setattr(replies_memory, "FRESH_US", -1)
    monkeypatch.setattr(connection_limits, "DISCARD_S", 0.01)


async def post(chat: Inside, body: bytes, query: str = "?wait=0") -> Any:
    """The status and the JSON of the answer to a request, and its headers."""
    async with chat.session.post(
        f"{chat.url}/api/chat{query}",
        data=body,
        headers={"Content-Type": "application/json", "Accept": "application/json"},
    ) as response:
        return response.status, await response.json(content_type=None), response.headers


def budget(limit: int) -> Settings:
    return Settings(max_memory=limit)


async def test_unread_replies_are_stopped_before_a_start_is_refused() -> None:
    hangs = asyncio.Event()
    async with inside(budget(MIB), backend=Scripted("ab", hangs)) as chat:
        first, second, third = [(await post(chat, LARGE))[1]["reply"] for _ in range(3)]
        stream, _ = await chat.connect(f"GET /api/chat/{third}")
        await stream.readuntil(b"data: a")
        fourth = (await post(chat, LARGE))[1]["reply"]
        ended = await chat.json("GET", f"/api/chat/{first}?wait=5")
        assert (ended["state"], ended["finish_reason"]) == ("stopped", "abandoned")
        assert (await chat.json("GET", f"/api/chat/{third}?wait=0"))[
            "state"
        ] == "running"
        held = await chat.metrics()
        assert held[LIMIT] == MIB
        assert len(LARGE) < held[HELD % "prompts"] < MIB
        streams = [stream]
        for reply in second, fourth:
            reader, _ = await chat.connect(f"GET /api/chat/{reply}")
            await reader.readuntil(b"data: a")
            streams.append(reader)
        status, problem, headers = await post(chat, LARGE)
        assert (status, problem["type"]) == (503, "/problems/overloaded")
        assert headers["Retry-After"] == "1"
        assert "memory" in problem["detail"]
        assert (await post(chat, b'{"message": "small"}'))[0] == 200
        hangs.set()
        for stream in streams:
            assert b"[DONE]" in await asyncio.wait_for(stream.readuntil(b"[DONE]"), 10)


@pytest.mark.any_store
async def test_a_body_is_refused_before_it_is_read_and_while_it_arrives() -> None:
    async with inside(budget(2 * MIB), backend=Scripted("a")) as chat:
        watch = chat.app[MEMORY]
        reader, writer = await sent(
            chat, HEAD + b"Content-Length: 400000\r\n\r\n" + b"x" * 100_000
        )
        await eventually(lambda: watch.bodies == 100_000)
        assert (await chat.metrics())[HELD % "requests"] >= 100_000
        watch.budget.limit = 150_000
        writer.write(b"x" * 100_000)
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in answer
        assert watch.bodies == 0
        watch.budget.limit = 0
        watch.bodies += 1
        reader, _ = await sent(chat, HEAD + b"Content-Length: 400000\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 503 ")
        watch.bodies -= 1


@pytest.mark.any_store
async def test_heads_frames_and_unsent_bytes_count_until_they_are_gone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sockets, "SPARED_BYTES", 1000)
    text = "y" * 200_000
    async with inside(
        Settings(max_memory=64 * MIB), backend=Scripted(text), send_buffer=4096
    ) as chat:
        watch = chat.app[MEMORY]
        _, head = await sent(chat, b"GET / HTTP/1.1\r\nHost: x\r\nX-Y: " + b"z" * 5000)
        await eventually(lambda: watch._unfinished > 5000)
        head.close()
        await eventually(lambda: not watch._unfinished)

        _, writer = await chat.connect("POST /api/chat", body=b'{"message": ""}')
        await eventually(lambda: watch._unsent > 10_000)
        writer.transport.abort()
        await eventually(lambda: not watch._unsent)

        socket = await chat.session.ws_connect(chat.url + "/ws/chat")
        frame = b"\x81\xff" + (100_000).to_bytes(8, "big") + bytes(4) + b"x" * 50_000
        connection = socket._response.connection
        assert connection is not None and connection.transport is not None
        connection.transport.write(frame)
        await eventually(lambda: watch._unfinished >= 50_000)
        watch.budget.limit = 10_000
        message = await asyncio.wait_for(socket.receive(), 10)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1013)
        logged = [record.message for record in caplog.records]
        assert logged.count("the memory of --max-memory is used up") == 1
        await eventually(lambda: not watch._unfinished)


@pytest.mark.any_store
async def test_what_is_thrown_away_of_a_refused_body_does_not_count() -> None:
    async with inside(backend=Scripted("a")) as chat:
        watch = chat.app[MEMORY]
        reader, writer = await sent(chat, HEAD + b"Content-Length: 90000000\r\n\r\n")
        answer = await reader.readuntil(b"\r\n")
        assert b" 413 " in answer
        (connection,) = (c for each in watch.connections for c in each())
        writer.write(b"x" * 300_000)
        await eventually(lambda: connection._seen)  # type: ignore[attr-defined]
        assert connection.unfinished_bytes == 0


@pytest.mark.any_store
async def test_what_a_body_has_beside_its_content_is_limited() -> None:
    line = b"a:" + b"b" * 8000 + b"\r\n"
    async with inside(backend=Scripted("a")) as chat:
        reader, writer = await sent(
            chat, HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
        )
        writer.write(line * 100)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        cut = (await chat.metrics())['chatsvc_connections_cut_total{reason="flood"}']
        assert cut == 1


@pytest.mark.any_store
async def test_many_small_chunks_and_trailers_are_no_flood() -> None:
    async with inside(backend=Scripted("a")) as chat:
        watch = chat.app[MEMORY]
        reader, writer = await sent(
            chat, HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        body = b'{"message": "' + b"x" * 20_000 + b'"}'
        for at in range(0, len(body), 2000):
            pieces = body[at : at + 2000]
            writer.write(b"".join(b"1\r\n%c\r\n" % each for each in pieces))
            await eventually(lambda: watch.bodies == at + len(pieces))  # noqa: B023
        writer.write(b"0\r\nX-Trailer: 1\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.any_store
async def test_the_command_takes_a_budget_and_workers_share_it(
    redis_server: RedisServer,
) -> None:
    async with child("--max-memory", "96MiB") as chat:
        assert (await chat.metrics())[LIMIT] == 96 * MIB
    async with workers(redis_server, "--max-memory", "96MiB") as chat:

        async def limit() -> float:
            return (await chat.metrics())[LIMIT]

        async with asyncio.timeout(20):
            while await limit() != 96 * MIB:
                await asyncio.sleep(0.05)


@pytest.mark.any_store
async def test_by_default_it_is_half_of_what_there_is() -> None:
    async with inside() as chat:
        assert (await chat.metrics())[LIMIT] > 2**23
