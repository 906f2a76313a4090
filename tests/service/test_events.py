"""Server-sent events, byte for byte (PROTOCOL.md section 3)."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from aiohttp import web

from chatsvc.problems import BackendFailed
from chatsvc.replies import Replies, Reply
from chatsvc.settings import Settings
from chatsvc.transports import heartbeat, sse
from chatsvc.transports import response as response_module
from chatsvc.transports.response import ReplyResponse

from .running import (
    HARD,
    Inside,
    Scripted,
    characters,
    done,
    events,
    inside,
    seed_events,
    without_comments,
)


def body(message: str) -> bytes:
    return json.dumps({"message": message}).encode()


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_the_seeds_bytes(chat: Inside, version: str) -> None:
    answer = await chat.raw("POST /api/chat?ids=0", body=body(HARD), version=version)
    assert answer.body == seed_events(HARD) + b"data: [DONE]\n\n"
    assert answer.complete
    assert ("Transfer-Encoding" in answer.headers) == (version == "HTTP/1.1")


async def test_a_head_that_goes_alone_makes_no_difference(
    chat: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReplyResponse, "_send_headers_immediately", True)
    answer = await chat.raw("POST /api/chat?ids=0", body=body(HARD))
    assert answer.body == seed_events(HARD) + b"data: [DONE]\n\n"
    answer = await chat.raw("POST /api/chat", "Accept: text/plain", body=body(HARD))
    assert answer.body.decode() == HARD
    assert answer.complete


@pytest.mark.parametrize("pace", [0, 0.001])
async def test_events_have_ids_and_comments(pace: float) -> None:
    async with inside(Settings(pace=pace)) as chat:
        answer = await chat.raw(
            "POST /api/chat", "Accept-Encoding: gzip, br", body=body(HARD)
        )
        assert re.match(rb": t=[0-9]{13}\n\nid: ", answer.body)
        assert without_comments(answer.body) == events(answer.reply, HARD) + done(
            answer.reply
        )
        await chat.nothing_left()


@pytest.mark.parametrize("kind", ["text/event-stream", "text/plain"])
async def test_a_body_without_a_length_ends_with_the_connection(
    chat: Inside, kind: str
) -> None:
    headers = f"Accept: {kind}", "Connection: keep-alive"
    reader, _ = await chat.connect(
        "POST /api/chat", *headers, body=body("hi"), version="HTTP/1.0"
    )
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.endswith(b"hi" if kind == "text/plain" else b"data: [DONE]\n\n")


async def test_a_reader_that_is_sent_away_at_once_knows_where_it_stands(
    chat: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Replies.start

    async def starts_and_leaves(self: Replies, *a: Any, **options: Any) -> Reply:
        reply = await start(self, *a, **options)
        self._registry.send_readers_away()
        return reply

    monkeypatch.setattr(Replies, "start", starts_and_leaves)
    answer = await chat.raw("GET /api/chat?message=abc")
    told = b"id: %b:0\n\nretry: " % answer.reply.encode()
    assert told in answer.body


async def test_the_head_of_a_stream(chat: Inside) -> None:
    answer = await chat.raw(
        "POST /api/chat", "Accept-Encoding: gzip, deflate, br", body=body("hi")
    )
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert (
        answer.headers["Cache-Control"] == "private, no-store, no-cache, no-transform"
    )
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", answer.reply)
    assert "Content-Encoding" not in answer.headers


async def test_an_empty_message_has_an_empty_reply(chat: Inside) -> None:
    answer = await chat.raw("POST /api/chat?ids=0", body=body(""))
    assert answer.body == b"data: [DONE]\n\n"


async def test_line_ends_become_newlines(chat: Inside) -> None:
    answer = await chat.raw("POST /api/chat?ids=0", body=body("a\r\nb\rc"))
    assert answer.body == seed_events("a\nb\nc") + b"data: [DONE]\n\n"


async def test_done_of_the_text_is_six_characters(chat: Inside) -> None:
    answer = await chat.raw("POST /api/chat?ids=0", body=body("[DONE]"))
    assert answer.body == seed_events("[DONE]") + b"data: [DONE]\n\n"
    assert answer.body.count(b"data: [DONE]") == 1


@pytest.mark.parametrize(
    "kind", ["text/event-stream", "text/plain", "application/x-ndjson"]
)
async def test_the_head_comes_before_any_text(kind: str) -> None:
    go = asyncio.Event()
    async with inside(backend=Scripted(go, "late")) as chat:
        reader, writer = await chat.connect(
            "POST /api/chat", f"Accept: {kind}", body=body("hi")
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 200 ")
        go.set()
        rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
        assert re.search(rb"l.*a.*t.*e", rest, re.DOTALL)
        writer.close()


class Recorded:
    """A transport that notes what it is given to write."""

    def __init__(self, transport: asyncio.Transport, writes: list[bytes]) -> None:
        self._transport = transport
        self._writes = writes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._writes.append(bytes(data))
        self._transport.write(data)


def record(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the service writes to its connections from now on."""
    writes: list[bytes] = []
    made = web.RequestHandler.connection_made

    def connection_made(handler: web.RequestHandler, transport: Any) -> None:
        made(handler, Recorded(transport, writes))  # type: ignore[arg-type]

    monkeypatch.setattr(web.RequestHandler, "connection_made", connection_made)
    return writes


@pytest.mark.parametrize(
    "kind", ["text/event-stream", "text/plain", "application/x-ndjson"]
)
async def test_what_is_out_goes_with_the_head_in_one_write(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = record(monkeypatch)
    async with inside(Settings(pace=0)) as chat:
        reply = await chat.start("hello")
        await chat.read(reply)
        writes.clear()
        answer = await chat.raw(f"GET /api/chat/{reply}", f"Accept: {kind}")
    assert answer.complete
    head, end = writes
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"o" in head.partition(b"\r\n\r\n")[2]
    assert end.endswith(b"0\r\n\r\n" if kind == "text/plain" else b"\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "kind", ["text/event-stream", "text/plain", "application/x-ndjson"]
)
async def test_the_last_text_goes_with_the_end_in_one_write(
    kind: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes, goes_on = record(monkeypatch), asyncio.Event()
    async with inside(Settings(pace=0), backend=Scripted("a\n", goes_on, "bc")) as chat:
        reply = await chat.start("hello")
        writes.clear()
        reading = asyncio.create_task(
            chat.raw(f"GET /api/chat/{reply}", f"Accept: {kind}")
        )
        async with asyncio.timeout(10):
            while not any(b"X-Reply-Id" in each and b"a" in each for each in writes):
                await asyncio.sleep(0.001)
        writes.clear()
        goes_on.set()
        answer = await reading
    assert answer.complete
    last = b"".join(writes)
    assert b"b" in last and b"c" in last and last.endswith(b"\r\n0\r\n\r\n")
    if store == "memory":  # Redis reports the end later than the text
        assert len(writes) == 1


async def test_a_text_goes_out_before_a_failure_breaks_the_stream_off() -> None:
    goes_on = asyncio.Event()
    backend = Scripted("a\n", goes_on, "bc", BackendFailed("no"))
    async with inside(Settings(pace=0), backend=backend) as chat:
        reply = await chat.start("hello")
        reading = asyncio.create_task(
            chat.raw(f"GET /api/chat/{reply}", "Accept: text/plain")
        )
        await asyncio.sleep(0)
        goes_on.set()
        answer = await reading
    assert not answer.complete
    assert b"c" in answer.body


async def test_what_is_out_is_more_than_goes_with_the_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writes = record(monkeypatch)
    async with inside(Settings(pace=0)) as chat:
        reply = await chat.start("x" * (response_module.FIRST_CHARACTERS + 1))
        await chat.read(reply)
        writes.clear()
        await chat.raw(f"GET /api/chat/{reply}")
    assert b"data: x" not in writes[0]  # it has no deadline as the others have


async def test_comments_at_the_start_and_half_a_second_and_a_second_later() -> None:
    never = asyncio.Event()
    async with inside(Settings(grace=0), backend=Scripted(never)) as chat:
        reader, writer = await chat.connect("POST /api/chat", body=body("hi"))
        stamps = []
        for _ in range(3):
            found = await asyncio.wait_for(reader.readuntil(b"\n\n\r\n"), 5)
            stamp = re.search(rb": t=([0-9]{13})\n\n\r\n$", found)
            assert stamp is not None
            stamps.append(int(stamp[1]))
        assert stamps[1] - stamps[0] >= 500
        assert stamps[2] - stamps[0] >= 1000
        writer.close()
        await chat.nothing_left()


async def test_silence_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    assert heartbeat.SILENCE_US == 15_000_000
    monkeypatch.setattr(sse, "PROBE_TIMES_US", (10_000, 20_000))
    monkeypatch.setattr(heartbeat, "SILENCE_US", 30_000)
    go = asyncio.Event()
    async with inside(Settings(grace=0), backend=Scripted("a", go, "b")) as chat:
        reader, writer = await chat.connect("POST /api/chat", body=body("hi"))
        data = b""
        while data.count(b": t=") < 6:
            data += await asyncio.wait_for(reader.read(4096), 5)
        go.set()
        data += await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
        assert data.index(b"data: b") > data.rindex(b"data: a")
        writer.close()


async def test_a_seed_client_gets_no_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PROBE_TIMES_US", (10_000, 20_000))
    async with inside(Settings(pace=0.02)) as chat:
        answer = await chat.raw("POST /api/chat?ids=0", body=body("abcdef"))
        assert answer.body == seed_events("abcdef") + b"data: [DONE]\n\n"


@pytest.mark.parametrize("cut", range(len("👨‍👩‍👧‍👦") + 1))
async def test_a_cursor_in_a_character_gives_what_is_left_of_it(
    chat: Inside, cut: int
) -> None:
    text = "a👨‍👩‍👧‍👦b"
    reply = await chat.start(text)
    answer = await chat.read(reply, f"?after={1 + cut}")
    assert without_comments(answer.body) == events(reply, text, 1 + cut) + done(reply)


async def test_a_post_with_a_cursor_attaches(chat: Inside) -> None:
    reply = await chat.start("abc")
    answer = await chat.raw(
        "POST /api/chat", f"Last-Event-ID: {reply}:1", body=b"not looked at"
    )
    assert answer.reply == reply
    assert without_comments(answer.body) == events(reply, "abc", 1) + done(reply)


async def test_the_header_wins_over_the_query(chat: Inside) -> None:
    reply = await chat.start("abc")
    answer = await chat.raw(
        f"GET /api/chat/{reply}?after=0", f"Last-Event-ID: {reply}:2"
    )
    assert without_comments(answer.body) == events(reply, "abc", 2) + done(reply)


async def test_a_native_event_source(chat: Inside) -> None:
    """Its request, its reconnect in the middle, and the one after the end."""
    line = "GET /api/chat?message=%E4%BD%A0%E5%A5%BD"
    first = await chat.raw(line, "Accept: text/event-stream")
    reply = first.reply
    assert without_comments(first.body) == (
        f"id: {reply}:0\n\n".encode() + events(reply, "你好") + done(reply)
    )
    again = await chat.raw(
        line, "Accept: text/event-stream", f"Last-Event-ID: {reply}:1"
    )
    assert without_comments(again.body) == events(reply, "你好", 1) + done(reply)
    over = await chat.raw(
        line, "Accept: text/event-stream", f"Last-Event-ID: {reply}:end"
    )
    assert (over.status, over.body) == (204, b"")
    assert (await chat.metrics())["chatsvc_replies_started_total"] == 1


async def test_a_failure_is_told_before_the_end() -> None:
    backend = Scripted("ab", ValueError("a secret of the backend"))
    async with inside(backend=backend) as chat:
        answer = await chat.raw("POST /api/chat", body=body("hi"))
        told = re.search(rb"event: failed\ndata: (\{.*\})\n\n", answer.body)
        assert told is not None
        assert json.loads(told[1])["type"] == "/problems/backend-failed"
        assert b"secret" not in answer.body
        assert without_comments(answer.body) == (
            events(answer.reply, "ab") + told[0] + done(answer.reply)
        )
        await chat.nothing_left()


async def test_a_problem_is_one_line_for_clients_that_cut_at_too_much() -> None:
    """`str.splitlines` cuts at more than an event stream does."""
    failed = Scripted(BackendFailed("It\u2028said\x85no."))
    async with inside(backend=failed) as chat:
        answer = await chat.raw("POST /api/chat", body=body("hi"))
        lines = without_comments(answer.body).decode().splitlines()
        problem = json.loads(lines[1].removeprefix("data: "))
        assert problem["detail"] == "It\u2028said\x85no."


async def test_fifty_readers_cost_one_producer() -> None:
    backend = Scripted(*characters(HARD))
    async with inside(Settings(pace=0.005), backend=backend) as chat:
        reply = await chat.start()
        answers = await asyncio.gather(*(chat.read(reply) for _ in range(50)))
        whole = events(reply, HARD) + done(reply)
        assert {without_comments(answer.body) for answer in answers} == {whole}
        assert backend.calls == 1
        await chat.nothing_left()
