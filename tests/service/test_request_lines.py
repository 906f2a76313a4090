"""The line of each request in the log, and the name that its answer has: whoever asks, however it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatsvc.settings import Settings
from chatsvc.web import connection_limits

from ..redis_server import RedisServer
from .api_keys import KeysFile, bearer
from .running import Child, Scripted, child, eventually, inside

LONG = json.dumps({"message": "x" * 3000}).encode()
BODY = b'{"message": "hi"}'
NAME = "X-Request-Id: of-ann"
NEW = re.compile("[0-9a-f]{16}")
NONE: tuple[str, ...] = ()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """What the lines of requests hold so far."""
    caplog.set_level(logging.INFO, "chatsvc.access")

    def found() -> list[dict[str, Any]]:
        records = [each for each in caplog.records if each.name == "chatsvc.access"]
        return [vars(each)["data"] for each in records]

    return found


Lines = Callable[[], list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("line", "headers", "body", "status"),
    [
        ("POST /api/chat", NONE, BODY, 200),
        ("POST /api/chat", ("Accept: application/json",), BODY, 200),
        ("POST /api/chat", ("Accept: text/plain",), BODY, 200),
        ("POST /api/chat?view=parts", ("Accept: application/x-ndjson",), BODY, 200),
        ("GET /api/chat?message=a", NONE, b"", 200),
        ("POST /api/chat", NONE, b"{", 400),
        ("GET /api/chat/0123456789abcdefghijkl", NONE, b"", 404),
        ("GET /nowhere", NONE, b"", 404),
        ("PUT /api/chat", NONE, BODY, 405),
        ("OPTIONS /api/chat", ("Origin: http://a.example",), b"", 403),
        ("POST /api/chat", ("Content-Encoding: gzip",), BODY, 415),
        ("GET /ws/chat", NONE, b"", 422),
        ("GET /healthz", NONE, b"", 200),
        ("GET /readyz", NONE, b"", 200),
        ("GET /metrics", NONE, b"", 200),
        ("HEAD /", NONE, b"", 200),
        ("GET /v1/models", NONE, b"", 200),
        ("GET /api/ui/a-chat-of-ann-and-bob/stream", NONE, b"", 204),
    ],
)
async def test_every_answer_has_the_name_of_its_request(
    line: str, headers: tuple[str, ...], body: bytes, status: int, lines: Lines
) -> None:
    async with inside(Settings(pace=0), access=True) as chat:
        named = await chat.raw(line, NAME, *headers, body=body)
        unnamed = await chat.raw(line, *headers, body=body)
    assert (named.status, unnamed.status) == (status, status)
    assert named.headers.getall("X-Request-Id") == ["of-ann"]
    [new] = unnamed.headers.getall("X-Request-Id")
    assert NEW.fullmatch(new)
    is_probe = line.split()[1] in ("/healthz", "/readyz", "/metrics")
    wanted = [] if is_probe else ["of-ann", new]
    assert [each["request_id"] for each in lines()] == wanted


async def test_what_is_no_request_has_a_name_too(
    lines: Lines, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "HEAD_S", 0.05)
    caplog.set_level(logging.INFO)
    async with inside(access=True) as chat:
        bad = await chat.raw("GET /api\x00")
        reader, writer = await asyncio.open_connection(chat.host, chat.port)
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        slow = (await asyncio.wait_for(reader.read(), 10)).decode()
        writer.close()
    assert bad.status == 400
    assert slow.startswith("HTTP/1.1 408 ")
    [name] = re.findall("\r\nX-Request-Id: ([0-9a-f]{16})\r\n", slow)
    assert [each["request_id"] for each in lines()] == [bad.headers["X-Request-Id"]]
    cut = [r for r in caplog.records if r.getMessage() == "a connection was cut"]
    assert [vars(each)["data"]["request_id"] for each in cut] == [name]


async def test_a_line_says_whose_request_it_was_and_of_which_reply(
    tmp_path: Path, lines: Lines
) -> None:
    file = KeysFile(tmp_path, "alice")
    settings = Settings(pace=0, api_keys_file=str(file.path))
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with inside(settings, access=True) as chat:
        parent = f"traceparent: 00-{trace}-00f067aa0ba902b7-01"
        answer = await chat.raw("POST /api/chat", bearer("alice"), parent, body=BODY)
        reply = answer.reply
        for line in (
            f"GET /api/chat/{reply}",
            f"POST /api/chat/{reply}/stop",
            f"POST /api/chat/{reply}/share",
            "GET /nowhere",
        ):
            await chat.raw(line, bearer("alice"), NAME)
        await chat.raw("GET /api/chat/x", NAME)
    known = {"user": "alice", "reply": reply[:6]}
    assert answer.headers["X-Request-Id"] == trace
    first, *others = lines()
    assert {k: first[k] for k in ("request_id", "user", "reply")} == {
        "request_id": trace,
        **known,
    }
    assert [{k: each.get(k) for k in known} for each in others] == [
        *[known] * 3,
        {**known, "reply": None},
        {"user": None, "reply": None},
    ]
    assert [each.get("problem") for each in others] == [
        *[None] * 3,
        "not-found",
        "unauthorized",
    ]
    assert reply not in json.dumps(lines())


async def test_a_websocket_names_its_replies_and_why_it_was_closed(
    lines: Lines,
) -> None:
    async with inside(Settings(pace=0), access=True) as chat:
        url = f"http://{chat.host}:{chat.port}/ws/chat"
        async with chat.session.ws_connect(
            url, headers={"X-Request-Id": "of-ann"}
        ) as ws:
            response = ws._response
            assert response.headers["X-Request-Id"] == "of-ann"
            for _ in range(2):
                await ws.send_str(json.dumps({"message": "hi"}))
                while await ws.receive_str() != "[DONE]":
                    pass
            await ws.send_bytes(b"")
            await ws.receive()
        await eventually(lines)
    [line] = lines()
    assert (line["status"], line["request_id"]) == (101, "of-ann")
    assert len(set(line["reply"].split(","))) == 2
    assert line["problem"] == "unsupported-media-type"


HANGS = ("text/event-stream", "text/plain", "application/json", "application/x-ndjson")


@pytest.mark.parametrize("accept", HANGS)
async def test_whoever_hangs_up_has_a_line(accept: str, lines: Lines) -> None:
    backend = Scripted("x", asyncio.Event())
    async with inside(access=True, backend=backend) as chat:
        _, writer = await chat.connect(
            "POST /api/chat", NAME, f"Accept: {accept}", body=BODY
        )
        await eventually(lambda: backend.open)
        writer.transport.abort()
        await eventually(lines)
    [line] = lines()
    begun = accept != "application/json"
    assert line["status"] == (200 if begun else 499)
    assert (line["request_id"], line["broken"]) == ("of-ann", True)
    assert line["seconds"] >= 0
    assert "reply" in line


async def test_a_websocket_whose_client_hangs_up_has_a_line(lines: Lines) -> None:
    async with inside(access=True) as chat:
        url = f"http://{chat.host}:{chat.port}/ws/chat"
        ws = await chat.session.ws_connect(url)
        await ws.send_str(json.dumps({"message": "a long message"}))
        await ws.receive_str()
        assert ws._response.connection is not None
        transport = ws._response.connection.transport
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
        await eventually(lines)
    [line] = lines()
    assert (line["status"], line["broken"]) == (101, True)


async def test_a_service_that_goes_down_logs_what_it_cuts(lines: Lines) -> None:
    backend = Scripted("x", asyncio.Event())
    async with inside(access=True, backend=backend) as chat:
        reader, _ = await chat.connect("POST /v1/chat/completions", body=b"{}")
        await reader.readline()
        json_body = b'{"messages": [{"role": "user", "content": "a"}], "stream": true}'
        reader, _ = await chat.connect(
            "POST /v1/chat/completions",
            "Content-Type: application/json",
            body=json_body,
        )
        await reader.readuntil(b"x")
    assert [each["status"] for each in lines()] == [422, 200]


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
async def test_a_withdrawn_key_leaves_lines(
    workers: tuple[str, ...], tmp_path: Path, redis_server: RedisServer
) -> None:
    file = KeysFile(tmp_path, "alice", "bob")
    store = ("--store", redis_server.database(5), *workers) if workers else ()
    flags = ("--log-format", "json", "--api-keys-file", str(file.path), *store)
    async with child(*flags) as chat:
        reader, _ = await chat.connect(
            "POST /api/chat", bearer("alice"), "X-Request-Id: a-stream", body=LONG
        )
        await reader.readuntil(b"data: x")
        headers = {"X-Request-Id": "a-socket"}
        name, _, value = bearer("alice").partition(": ")
        url = f"http://{chat.host}:{chat.port}/ws/chat"
        ws = await chat.session.ws_connect(url, headers={**headers, name: value})
        await ws.send_str(LONG.decode())
        await ws.receive_str()
        file.has("bob")
        chat.process.send_signal(signal.SIGHUP)
        message = await ws.receive()
        while message.type.name == "TEXT":
            message = await ws.receive()
        assert ws.close_code == 4401
        await asyncio.wait_for(reader.read(), 10)
        await chat.terminate()
        requests = await requests_of(chat)
    found = {each["request_id"]: each for each in requests}
    assert set(found) == {"a-stream", "a-socket"}
    stream, socket = found["a-stream"], found["a-socket"]
    assert (stream["status"], stream["broken"]) == (200, True)
    assert (socket["status"], "broken" in socket) == (101, False)
    for each in (stream, socket):
        assert (each["user"], each["problem"]) == ("alice", "unauthorized")


async def requests_of(chat: Child) -> list[dict[str, Any]]:
    """The lines of requests of a service that has ended, as JSON."""
    _, errors = await chat.ended()
    told = [json.loads(line) for line in errors.splitlines()]
    return [line for line in told if line["message"] == "request"]


@pytest.mark.parametrize(
    ("flags", "environment", "has"),
    [
        ((), {}, {"chatsvc.access", "chatsvc.events", "chatsvc"}),
        (("--no-access-log",), {}, {"chatsvc.events", "chatsvc"}),
        ((), {"CHATSVC_NO_ACCESS_LOG": "yes"}, {"chatsvc.events", "chatsvc"}),
        (("--log-level", "warning"), {}, set()),
        ((), {"CHATSVC_LOG_LEVEL": "error"}, set()),
        (("--log-level", "debug"), {}, {"chatsvc.access", "chatsvc.events", "chatsvc"}),
    ],
)
@pytest.mark.any_store
@pytest.mark.sampled
async def test_the_level_and_the_switch_choose_the_lines(
    flags: tuple[str, ...], environment: dict[str, str], has: set[str]
) -> None:
    words = ("--log-format", "json", "--pace", "0", *flags)
    async with child(*words, **environment) as chat:
        answer = await chat.raw("POST /api/chat", NAME, body=BODY)
        assert answer.headers["X-Request-Id"] == "of-ann"
        await chat.terminate()
        _, errors = await chat.ended()
    told = [json.loads(line) for line in errors.splitlines()]
    assert {each["logger"] for each in told} == has
    debug = [each["message"] for each in told if each["level"] == "debug"]
    assert debug == (["reply started"] if "debug" in flags else [])


@pytest.mark.any_store
async def test_nobody_writes_lines_of_the_log() -> None:
    forged = 'a"=b'
    async with child("--pace", "0") as chat:
        await chat.raw("GET /nowhere", f"X-Request-Id: {forged}")
        await chat.raw("GET /nowhere?a=1", "X-Request-Id: of ann\tstatus=200")
        await chat.raw("GET /no%0Awhere=1%20status=200")
        await chat.terminate()
        _, errors = await chat.ended()
    lines = [line for line in errors.splitlines() if "chatsvc.access" in line]
    assert len(lines) == 3
    assert r'request_id="a\"=b"' in lines[0]
    assert re.search(" request_id=[0-9a-f]{16} ", lines[1] + " ")
    assert all(line.count(" status=") == 1 for line in lines)
