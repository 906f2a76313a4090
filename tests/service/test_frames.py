"""Frames and closes as RFC 6455 has them, and WebSockets that nobody uses (PROTOCOL.md section 4)."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import ClientWebSocketResponse, WSMessage, WSMsgType

from chatsvc.transports import connection

from .running import Chat, Inside, Scripted, child, inside
from .test_sockets import closed_with, masked, upgraded, v1

pytestmark = pytest.mark.any_store

ASKED = b'{"message": "hi"}'
UNMASKED = b"\x81%c%b" % (len(ASKED), ASKED)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_frame_without_a_mask_gets_1002(begun: bool) -> None:
    go = asyncio.Event()
    async with inside(backend=Scripted("\n", go, "bc")) as chat:
        reader, writer = await upgraded(chat)
        if begun:
            writer.write(masked(1, ASKED))
            assert await asyncio.wait_for(reader.readexactly(3), 5) == b"\x81\x01\n"
        writer.write(UNMASKED)
        assert await closed_with(reader) == 1002
        assert len(chat.opened) == begun  # it was not taken
        if begun:  # the reply goes on, and others read it
            (reply,) = chat.opened
            go.set()
            assert b"data: c" in (await chat.read(reply)).body
        writer.write(masked(8, b""))
        assert await asyncio.wait_for(reader.read(), 10) == b""
        await chat.nothing_left()


async def check_on_the_loop_of_the_command(chat: Chat) -> None:
    lines = (
        "GET /ws/chat",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
    )
    reader, writer = await chat.connect(*lines)
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.write(masked(1, ASKED))
    got = await asyncio.wait_for(reader.readuntil(b"[DONE]"), 10)
    assert got == b"\x81\x01h\x81\x01i\x81\x06[DONE]"
    writer.write(UNMASKED)
    assert await closed_with(reader) == 1002


async def test_a_frame_without_a_mask_to_the_command() -> None:
    async with child("--pace", "0") as chat:
        await check_on_the_loop_of_the_command(chat)
        await chat.terminate()
        status, errors = await chat.ended()
    assert status == 0
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        *((code, 1002) for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999)),
        *((code, 1002) for code in (5000, 5001, 65535)),
        *((code, 1000) for code in (1000, 1001, 1009, 3000, 4000, 4999)),
    ],
)
async def test_codes_that_must_not_be_sent_get_1002(code: int, answer: int) -> None:
    """Sections 7.4.1 and 7.4.2. The reply is not affected."""
    go = asyncio.Event()
    async with inside(backend=Scripted("\n", go, "bc")) as chat:
        reader, writer = await upgraded(chat)
        writer.write(masked(1, ASKED))
        assert await asyncio.wait_for(reader.readexactly(3), 5) == b"\x81\x01\n"
        (reply,) = chat.opened
        writer.write(masked(8, code.to_bytes(2, "big")))
        assert await closed_with(reader) == answer
        go.set()
        assert b"data: c" in (await chat.read(reply)).body


async def test_a_close_without_a_code(chat: Inside) -> None:
    reader, writer = await upgraded(chat)
    writer.write(masked(8, b""))
    assert await closed_with(reader) == 1000
    assert await asyncio.wait_for(reader.read(), 5) == b""
    await chat.nothing_left()


async def test_a_connection_that_nobody_uses_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert connection.IDLE_S == 300
    monkeypatch.setattr(connection, "PING_INTERVAL_S", 0.05)
    monkeypatch.setattr(connection, "IDLE_S", 0.3)
    go = asyncio.Event()

    async def frames(ws: ClientWebSocketResponse) -> list[WSMessage]:
        """All that comes, with the close frame; pings are answered."""
        got = [await ws.receive(timeout=10)]
        while got[-1].type is WSMsgType.TEXT:
            got.append(await ws.receive(timeout=10))
        return got

    async with inside(backend=Scripted("\n", go)) as chat:
        idle, used, reading = await v1(chat), await v1(chat), await v1(chat)
        await reading.send_json({"message": "hi"})
        closed, kept, read = (
            asyncio.create_task(frames(ws)) for ws in (idle, used, reading)
        )
        for _ in range(20):
            await used.send_json({"stop": "A" * 22})
            await asyncio.sleep(0.05)
        assert [(m.type, m.data) for m in await closed] == [(WSMsgType.CLOSE, 1000)]
        # Neither the one from which frames come, nor the one that reads a reply which is silent.
        assert not kept.done()
        assert not read.done()
        go.set()  # it is idle from its reply's end on, and the other from its last frame on
        assert (await read)[-1].data == (await kept)[-1].data == 1000
        assert json.loads((await read)[-2].data)["data"] == "[DONE]"
        await chat.nothing_left()
