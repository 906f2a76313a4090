"""The WebSocket, bare and as `chatsvc.v1` (PROTOCOL.md section 4)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from chatsvc.client_limits import UNLIMITED, StartLimits
from chatsvc.settings import Settings
from chatsvc.stores import Record
from chatsvc.stores.memory import MemoryStore
from chatsvc.transports import connection, serving

from .running import (
    HARD,
    Inside,
    Scripted,
    characters,
    eventually,
    inside,
)

V1 = "chatsvc.v1"
PROTOCOL = "Sec-WebSocket-Protocol"


async def bare(chat: Inside) -> ClientWebSocketResponse:
    return await chat.session.ws_connect(chat.url + "/ws/chat", autoping=False)


async def v1(chat: Inside) -> ClientWebSocketResponse:
    return await chat.session.ws_connect(chat.url + "/ws/chat", protocols=[V1])


async def until_done(ws: ClientWebSocketResponse) -> list[str]:
    frames = []
    while (frame := await ws.receive_str(timeout=10)) != "[DONE]":
        frames.append(frame)
    return frames


async def frame(ws: ClientWebSocketResponse) -> dict[str, Any]:
    got: dict[str, Any] = await ws.receive_json(timeout=10)
    return got


async def of_reply(ws: ClientWebSocketResponse) -> list[dict[str, Any]]:
    """The frames up to the end of a reply, that one included."""
    frames = [await frame(ws)]
    while frames[-1]["data"] != "[DONE]":
        frames.append(await frame(ws))
    return frames


def text(frames: list[dict[str, Any]]) -> str:
    return "".join(frame["data"] for frame in frames[:-1])


@pytest.mark.parametrize("pace", [0, 0.001])
async def test_bare_characters_one_reply_after_the_other(pace: float) -> None:
    async with inside(Settings(pace=pace)) as chat:
        ws = await bare(chat)
        assert ws.protocol is None
        assert not ws.compress
        texts = [HARD, "", "a\nb", HARD]
        for asked in texts:
            await ws.send_json({"message": asked})
        for asked in texts:
            assert await until_done(ws) == characters(asked)
        await ws.send_json({"messages": [{"role": "user", "content": "again"}]})
        assert await until_done(ws) == list("again")
        await ws.close()
        await chat.nothing_left()


class Gated(MemoryStore):
    """Begins no reply but the first one before `go`; `waits` tells that one waits for that."""

    def __init__(self) -> None:
        super().__init__(keep=60)
        self.begun = 0
        self.waits, self.go = asyncio.Event(), asyncio.Event()

    async def create(self, record: Record, limits: StartLimits = UNLIMITED) -> str:
        self.begun += 1
        if self.begun > 1:
            self.waits.set()
            await self.go.wait()
        return await super().create(record, limits)


async def test_a_frame_that_comes_while_a_reply_is_begun_waits_for_its_turn() -> None:
    go, store = asyncio.Event(), Gated()

    async def backend(messages: list[dict[str, str]]) -> AsyncIterator[str]:
        yield messages[-1]["content"]
        await go.wait()

    async def told() -> None:
        """Everything sent so far has been taken."""
        await ws.ping()
        assert (await ws.receive(timeout=5)).type is WSMsgType.PONG

    async with inside(Settings(pace=0.001), backend=backend, store=store) as chat:
        ws = await bare(chat)
        await ws.send_json({"message": "\n"})
        assert await ws.receive_str(timeout=5) == "\n"
        await ws.send_json({"message": "b" * 20})
        await told()
        go.set()
        assert await until_done(ws) == []
        await asyncio.wait_for(store.waits.wait(), 5)
        await ws.send_json({"message": "c" * 20})
        await told()
        store.go.set()
        assert await until_done(ws) == ["b"] * 20
        assert await until_done(ws) == ["c"] * 20
        await ws.close()
        await chat.nothing_left()


async def test_no_compression_is_offered(chat: Inside) -> None:
    ws = await chat.session.ws_connect(chat.url + "/ws/chat", compress=15)
    assert not ws.compress
    await ws.close()


async def test_a_bare_reply_that_fails_closes_with_its_code() -> None:
    async with inside(backend=Scripted("ab", ValueError("secret"))) as chat:
        ws = await bare(chat)
        await ws.send_json({"message": "hi"})
        assert [await ws.receive_str() for _ in "ab"] == ["a", "b"]
        closed = await ws.receive(timeout=10)
        assert closed.type is WSMsgType.CLOSE
        assert (closed.data, closed.extra) == (4502, "The backend failed")
        await chat.nothing_left()


async def test_a_bare_reply_that_is_stopped_elsewhere_is_done() -> None:
    async with inside(backend=Scripted("a", asyncio.Event())) as chat:
        ws = await bare(chat)
        await ws.send_json({"message": "hi"})
        await eventually(lambda: chat.replies.known)
        (reply,) = chat.opened
        async with chat.session.post(f"{chat.url}/api/chat/{reply}/stop") as response:
            assert response.status == 200
        assert await until_done(ws) in ([], ["a"])
        await ws.close()


async def test_v1_mirrors_the_events(chat: Inside) -> None:
    ws = await v1(chat)
    assert ws.protocol == V1
    await ws.send_json({"message": HARD, "key": "k1"})
    frames = await of_reply(ws)
    reply = frames[0]["id"].partition(":")[0]
    expected: list[dict[str, str]] = []
    position = 0
    for character in characters(HARD):
        position += len(character)
        expected.append({"id": f"{reply}:{position}", "data": character})
    expected.append({"id": f"{reply}:end", "data": "[DONE]"})
    expected[0]["key"] = "k1"
    assert frames == expected
    await ws.close()
    await chat.nothing_left()


async def test_v1_echoes_the_key_on_the_end_of_an_empty_reply(chat: Inside) -> None:
    ws = await v1(chat)
    await ws.send_json({"message": "", "key": "k"})
    end = await frame(ws)
    assert (end["key"], end["data"]) == ("k", "[DONE]")
    await ws.close()


async def test_v1_runs_several_at_once() -> None:
    go = asyncio.Event()
    async with inside(backend=Scripted("a\n", go, HARD)) as chat:
        ws = await v1(chat)
        keys = [f"k{n}" for n in range(8)]
        for key in keys:
            await ws.send_json({"message": "hi", "key": key})
        begun = [await frame(ws) for _ in range(16)]
        got = {_reply(one): "a\n" for one in begun}
        assert {one.get("key", "k0") for one in begun} == set(keys)
        assert len(got) == 8
        go.set()
        running = set(got)
        while running:
            one = await frame(ws)
            if one["data"] == "[DONE]":
                running.discard(_reply(one))
            else:
                got[_reply(one)] += one["data"]
        assert set(got.values()) == {"a\n" + HARD}
        await ws.close()
        await chat.nothing_left()


def _reply(frame: dict[str, Any]) -> str:
    reply: str = frame["id"].partition(":")[0]
    return reply


async def test_v1_reads_from_anywhere_and_a_key_attaches(chat: Inside) -> None:
    reply = await chat.start(HARD)
    ws = await v1(chat)
    for after in (0, 3, len(HARD)):
        await ws.send_json({"read": reply, "after": after})
        assert text(await of_reply(ws)) == HARD[after:]
    told = []
    for _ in range(2):
        await ws.send_json({"message": "abc", "key": "same"})
        told.append(await of_reply(ws))
    assert told[0] == told[1]
    await ws.close()


async def test_v1_stops() -> None:
    async with inside(backend=Scripted("a", asyncio.Event())) as chat:
        ws = await v1(chat)
        await ws.send_json({"message": "hi", "key": "k"})
        await eventually(lambda: chat.replies.known)
        (reply,) = chat.opened
        await ws.send_json({"stop": reply})
        frames = await of_reply(ws)
        assert frames[-2]["event"] == "stopped"
        assert frames[-2]["id"] == f"{reply}:end"
        assert frames[-2]["data"]["type"] == "/problems/stopped"
        assert frames[-1] == {"id": f"{reply}:end", "data": "[DONE]"}
        await ws.send_json({"stop": reply})  # no error, and no answer
        await ws.send_json({"read": reply})
        assert (await of_reply(ws))[-2]["event"] == "stopped"
        await ws.close()
        await chat.nothing_left()


async def test_v1_tells_of_a_failure_and_stays() -> None:
    async with inside(backend=Scripted("a", ValueError("secret"))) as chat:
        ws = await v1(chat)
        for _ in range(2):
            await ws.send_json({"message": "hi"})
            frames = await of_reply(ws)
            assert [f["data"] for f in frames[:-2]] == ["a"]
            assert frames[-2]["event"] == "failed"
            assert frames[-2]["data"]["type"] == "/problems/backend-failed"
            assert "secret" not in json.dumps(frames)
        await ws.close()


async def test_pings_are_answered_also_in_mid_reply() -> None:
    async with inside(backend=Scripted(asyncio.Event())) as chat:
        ws = await bare(chat)
        await ws.ping(b"idle")
        assert (await ws.receive(timeout=5)).data == b"idle"
        await ws.send_json({"message": "hi"})
        await eventually(lambda: chat.replies.known)
        await ws.ping(b"busy")
        pong = await ws.receive(timeout=5)
        assert (pong.type, pong.data) == (WSMsgType.PONG, b"busy")
        await ws.close()


async def test_the_server_pings_and_drops_who_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert connection.PING_INTERVAL_S == 20
    monkeypatch.setattr(connection, "PING_INTERVAL_S", 0.05)
    async with inside() as chat:
        alive, silent = await v1(chat), await bare(chat)
        reading = asyncio.create_task(alive.receive())  # answers pings by itself
        assert (await silent.receive(timeout=5)).type is WSMsgType.PING
        dropped = await silent.receive(timeout=5)
        assert dropped.type in (WSMsgType.CLOSED, WSMsgType.ERROR)
        await alive.send_json({"message": "a"})
        assert json.loads((await reading).data)["data"] == "a"
        await alive.close()


async def test_a_reader_that_leaves_ends_nothing_for_the_other() -> None:
    go = asyncio.Event()
    async with inside(backend=Scripted("a", go, "b")) as chat:
        ws = await bare(chat)
        await ws.send_json({"message": "hi"})
        await eventually(lambda: chat.replies.known)
        (reply,) = chat.opened
        reading = asyncio.create_task(chat.read(reply))
        await eventually(lambda: chat.opened[reply].readers == 2)
        await ws.close()
        go.set()
        assert b"data: b" in (await reading).body
        await chat.nothing_left()


def masked(opcode: int, payload: bytes) -> bytes:
    """A short frame of a client's; its mask is zero (RFC 6455 section 5.2)."""
    return bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


async def upgraded(
    chat: Inside, *headers: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket as bytes."""
    reader, writer = await chat.connect(
        "GET /ws/chat",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
        *headers,
    )
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    return reader, writer


async def closed_with(reader: asyncio.StreamReader) -> int:
    """The code of the close frame that is the next one."""
    kind, size = await asyncio.wait_for(reader.readexactly(2), 5)
    assert kind == 0x88
    return int.from_bytes((await reader.readexactly(size))[:2], "big")


@pytest.mark.parametrize(
    ("protocols", "code"), [((), 4502), ((), 1012), ((f"{PROTOCOL}: {V1}",), 1012)]
)
async def test_the_peers_close_frame_is_waited_for(
    protocols: tuple[str, ...], code: int
) -> None:
    """RFC 6455 section 7.1.1: what the peer is sending must not cost it the code."""
    go = asyncio.Event()
    async with inside(backend=Scripted(go, ValueError())) as chat:
        reader, writer = await upgraded(chat, *protocols)
        writer.write(masked(1, b'{"message": "hi"}'))
        await eventually(lambda: [r for r in chat.opened.values() if r.readers])
        if code == 1012:
            chat.send_readers_away()
        else:
            go.set()
        assert await closed_with(reader) == code
        await chat.metrics()  # time enough to drop the connection
        assert not reader.at_eof()
        writer.write(masked(8, code.to_bytes(2, "big")))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        go.set()
        await chat.nothing_left()


async def test_nothing_stands_behind_a_close_frame() -> None:
    """RFC 6455 section 5.5.1. The reply goes on meanwhile, and others read it."""
    go = asyncio.Event()
    async with inside(backend=Scripted("\n", go, "bc")) as chat:
        reader, writer = await upgraded(chat)
        writer.write(masked(1, b'{"message": "hi"}'))
        assert await asyncio.wait_for(reader.readexactly(3), 5) == b"\x81\x01\n"
        (reply,) = chat.opened
        writer.write(masked(2, b"\0"))
        assert await closed_with(reader) == 1003
        go.set()
        assert b"data: c" in (await chat.read(reply)).body
        writer.write(masked(8, b""))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        await chat.nothing_left()


async def test_a_flood_of_requests_is_bounded() -> None:
    async with inside(backend=Scripted(asyncio.Event())) as chat:
        ws = await bare(chat)
        for _ in range(serving.MAX_QUEUED + 2):
            await ws.send_json({"message": "hi"})
        closed = await ws.receive(timeout=10)
        assert closed.data == 1013
        long = await bare(chat)
        said = {"role": "assistant", "content": "x" * 500_000}
        for _ in range(4):
            await long.send_json({"messages": [said, {"role": "user", "content": ""}]})
        closed = await long.receive(timeout=10)
        assert closed.data == 1013
        many = await v1(chat)
        for _ in range(connection.MAX_STREAMS + 1):
            await many.send_json({"message": "hi"})
        told = await frame(many)
        assert told["data"]["type"] == "/problems/overloaded"
        reply = next(id for id, reply in chat.opened.items() if reply.readers)
        await many.send_json({"stop": reply})  # that makes room
        frames = await of_reply(many)
        assert frames[0]["event"] == "stopped"
        await many.send_json({"read": reply})
        assert await of_reply(many) == frames
        await many.close()
