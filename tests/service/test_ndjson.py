"""Newline-delimited JSON, byte for byte (PROTOCOL.md section 2)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from chatsvc.problems import BackendFailed
from chatsvc.settings import Settings
from chatsvc.transports import heartbeat

from .running import (
    HARD,
    Answer,
    Inside,
    Scripted,
    characters,
    eventually,
    inside,
    parse,
)

pytestmark = pytest.mark.any_store

NDJSON = "Accept: application/x-ndjson"


def body(message: str) -> bytes:
    return json.dumps({"message": message}).encode()


def lines(answer: Answer) -> list[dict[str, Any]]:
    """The objects of a body, of which each line is one, also to what cuts at all that Unicode calls a line end."""
    text = answer.body.decode()
    assert text == "" or text.endswith("\n")
    assert text.splitlines() == text.split("\n")[:-1]
    return [json.loads(line) for line in text.splitlines()]


def expected(reply: str, text: str, after: int = 0) -> list[dict[str, str]]:
    """The lines of a text as far as they stand behind a position, without the last one."""
    found, position = [], 0
    for character in characters(text):
        before, position = position, position + len(character)
        left = character[max(0, after - before) :]
        if left:
            found.append({"id": f"{reply}:{position}", "data": left})
    return found


def done(reply: str) -> dict[str, str]:
    return {"id": f"{reply}:end", "data": "[DONE]"}


@pytest.mark.parametrize("pace", [0, 0.001])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_an_object_a_line(version: str, pace: float) -> None:
    async with inside(Settings(pace=pace)) as chat:
        answer = await chat.raw(
            "POST /api/chat", NDJSON, body=body(HARD), version=version
        )
        assert lines(answer) == [*expected(answer.reply, HARD), done(answer.reply)]
        assert answer.complete
        assert ("Transfer-Encoding" in answer.headers) == (version == "HTTP/1.1")
        await chat.nothing_left()


async def test_the_bytes(chat: Inside) -> None:
    answer = await chat.raw("POST /api/chat", NDJSON, body=body("你\n\u2028"))
    name = answer.reply
    assert answer.body.decode() == (
        f'{{"id":"{name}:1","data":"你"}}\n'
        f'{{"id":"{name}:2","data":"\\n"}}\n'
        f'{{"id":"{name}:3","data":"\\u2028"}}\n'
        f'{{"id":"{name}:end","data":"[DONE]"}}\n'
    )


async def test_the_head(chat: Inside) -> None:
    answer = await chat.raw(
        "POST /api/chat", NDJSON, "Accept-Encoding: gzip, deflate, br", body=body("hi")
    )
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert (
        answer.headers["Cache-Control"] == "private, no-store, no-cache, no-transform"
    )
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Encoding" not in answer.headers


async def test_it_is_what_v1_sends(chat: Inside) -> None:
    reply = await chat.start(HARD)
    answer = await chat.raw(f"GET /api/chat/{reply}", NDJSON)
    frames: list[dict[str, Any]] = []
    async with chat.session.ws_connect(
        chat.url + "/ws/chat", protocols=["chatsvc.v1"]
    ) as ws:
        await ws.send_json({"read": reply})
        while not frames or frames[-1]["data"] != "[DONE]":
            frames.append(await ws.receive_json(timeout=10))
    assert lines(answer) == frames


async def test_it_resumes_at_every_position(chat: Inside) -> None:
    reply = await chat.start(HARD)
    for after in range(len(HARD) + 1):
        whole = [*expected(reply, HARD, after), done(reply)]
        asks = [
            (f"GET /api/chat/{reply}?after={after}", NDJSON),
            (f"GET /api/chat/{reply}", NDJSON, f"Last-Event-ID: {reply}:{after}"),
            ("POST /api/chat", NDJSON, f"Last-Event-ID: {reply}:{after}"),
        ]
        for ask in asks:
            assert lines(await chat.raw(*ask)) == whole, ask


async def test_behind_the_end_nothing_is_left(chat: Inside) -> None:
    reply = await chat.start("ab")
    cursor = f"Last-Event-ID: {reply}:end"
    answer = await chat.raw(f"GET /api/chat/{reply}", NDJSON, cursor)
    assert (answer.status, answer.body) == (204, b"")


async def test_a_get_with_a_message_begins_a_reply(chat: Inside) -> None:
    answer = await chat.raw("GET /api/chat?message=ab", NDJSON)
    assert lines(answer) == [*expected(answer.reply, "ab"), done(answer.reply)]


async def test_an_empty_reply_is_one_line(chat: Inside) -> None:
    answer = await chat.raw("POST /api/chat", NDJSON, body=body(""))
    assert lines(answer) == [done(answer.reply)]


async def test_a_failure_comes_before_the_end() -> None:
    failing = Scripted("ab", BackendFailed("It\u2028said\x85no."))
    async with inside(backend=failing) as chat:
        answer = await chat.raw("POST /api/chat", NDJSON, body=body("hi"))
        *text, failed, last = lines(answer)
        assert text == expected(answer.reply, "ab")
        assert (failed["event"], failed["id"]) == ("failed", f"{answer.reply}:end")
        assert failed["data"]["type"] == "/problems/backend-failed"
        assert failed["data"]["detail"] == "It\u2028said\x85no."
        assert last == done(answer.reply)
        assert answer.complete


async def test_a_stop_comes_before_the_end() -> None:
    async with inside(Settings(pace=0), backend=Scripted(asyncio.Event())) as chat:
        reply = await chat.start("hi")
        reading = asyncio.create_task(chat.raw(f"GET /api/chat/{reply}", NDJSON))
        await eventually(lambda: chat.opened[reply].readers)
        await chat.json("POST", f"/api/chat/{reply}/stop")
        stopped, last = lines(await reading)
        assert stopped["event"] == "stopped"
        assert stopped["data"]["type"] == "/problems/stopped"
        assert last == done(reply)


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_whoever_is_sent_away_gets_an_end_without_the_last_line(
    version: str,
) -> None:
    async with inside(Settings(pace=0), backend=Scripted("a\n", asyncio.Event())) as (
        chat
    ):
        reply = await chat.start("hi")
        reading = asyncio.create_task(
            chat.raw(f"GET /api/chat/{reply}", NDJSON, version=version)
        )
        await eventually(lambda: chat.opened[reply].readers)
        chat.send_readers_away()
        answer = await reading
        assert lines(answer) == expected(reply, "a\n")[: len(lines(answer))]
        assert answer.complete
        await chat.json("POST", f"/api/chat/{reply}/stop")


async def test_silence_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SILENCE_US", 10_000)
    go = asyncio.Event()
    async with inside(Settings(pace=0), backend=Scripted("a\n", go, "b")) as chat:
        asked = ("POST /api/chat", NDJSON, "Connection: close")
        reader, writer = await chat.connect(*asked, body=body("hi"))
        data = await asyncio.wait_for(reader.readuntil(b'"\\n"}\n'), 5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                data += await reader.read(1000)
                data += await reader.read(1000)  # the first is the chunk's end
        go.set()
        answer = parse(data + await asyncio.wait_for(reader.read(), 5))
        assert lines(answer) == [*expected(answer.reply, "a\nb"), done(answer.reply)]
        writer.close()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f"GET /api/chat/{'A' * 22}", 404),
        ("GET /api/chat", 422),
        ("POST /api/chat", 400),
    ],
)
async def test_a_refusal_is_a_problem(chat: Inside, line: str, status: int) -> None:
    answer = await chat.raw(line, NDJSON, body=b"{")
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_crowd_has_its_own_text_each() -> None:
    async with inside(Settings(pace=0.02, limits="off")) as chat:

        async def one(number: int) -> None:
            text = f"{number}多👨‍👩‍👧‍👦\n x"
            answer = await chat.raw("POST /api/chat", NDJSON, body=body(text))
            assert lines(answer) == [*expected(answer.reply, text), done(answer.reply)]

        async with asyncio.timeout(30):
            await asyncio.gather(*(one(number) for number in range(300)))
        await chat.nothing_left()


async def test_a_reader_is_counted(chat: Inside) -> None:
    reply = await chat.start("ab")
    await chat.raw(f"GET /api/chat/{reply}?after=1", NDJSON)
    metrics = await chat.metrics()
    assert metrics['chatsvc_resumes_total{transport="ndjson"}'] == 1
    assert metrics['chatsvc_readers{transport="ndjson"}'] == 0
