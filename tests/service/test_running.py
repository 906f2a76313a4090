"""Health, metrics, logs; the command's start and its end (PROTOCOL.md sections 6 to 8)."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from contextlib import closing
from pathlib import Path

import pytest
from redis.asyncio import Redis

from chatsvc.app import create_app
from chatsvc.backends.echo import EchoBackend
from chatsvc.stores.memory import MemoryStore
from chatsvc.web.logs import API_PARTS, SECRET_PARTS

from ..conftest import require_module
from ..loopback import listening
from ..redis_server import RedisServer
from .running import (
    Child,
    Inside,
    Scripted,
    child,
    eventually,
    inside,
    launch,
    without_comments,
)

NOWHERE = "redis://127.0.0.1:1"
SECRET = "秘密words"
BODY = json.dumps({"message": SECRET}).encode()


async def test_metrics() -> None:
    go = asyncio.Event()
    async with inside(backend=Scripted("ab", go, "c\n")) as chat:
        reading = asyncio.create_task(chat.raw("POST /api/chat", body=BODY))
        await eventually(lambda: chat.replies.running)
        ws = await chat.session.ws_connect(chat.url + "/ws/chat")
        during = await chat.metrics()
        assert during["chatsvc_replies_running"] == 1
        assert during['chatsvc_readers{transport="sse"}'] == 1
        assert during['chatsvc_readers{transport="websocket"}'] == 1
        await ws.close()
        go.set()
        reply = (await reading).reply
        await chat.read(reply, "?after=2")
        await chat.raw("POST /api/chat", body=b"{")
        after = await chat.metrics()
        assert after["chatsvc_replies_running"] == 0
        assert after["chatsvc_replies_started_total"] == 1
        assert after["chatsvc_characters_total"] == 4
        assert after["chatsvc_first_character_seconds_count"] == 1
        assert after['chatsvc_resumes_total{transport="sse"}'] == 1
        assert after['chatsvc_refusals_total{code="bad-json"}'] == 1
        ended = 'chatsvc_replies_ended_total{finish_reason="stop",state="done"}'
        assert after[ended] == 1


@pytest.mark.any_store
async def test_every_answer_has_the_security_headers(chat: Inside) -> None:
    for line in ("GET /", "GET /healthz", "GET /nowhere", "POST /api/chat"):
        answer = await chat.raw(line, body=BODY)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Referrer-Policy" in answer.headers
        assert answer.headers.getall("X-Content-Type-Options") == ["nosniff"]


@pytest.mark.sampled
@pytest.mark.parametrize("form", ["text", "json"])
async def test_logs_tell_what_happened_and_no_text(form: str) -> None:
    async with child("--log-format", form, "--pace", "0") as chat:
        reply = (await chat.raw("POST /api/chat", body=BODY)).reply
        await chat.raw(f"GET /api/chat?message={SECRET.encode().hex()}")
        await chat.raw(f"GET /api/chat/{reply}")
        await chat.raw("POST /api/chat", body=b'{"message": "%s"' % SECRET.encode())
        for path in ("ui/a-chat-of-ann/stream", "ui/of%2Fann/stream", f"{reply}/x"):
            await chat.raw(f"GET /api/{path}")
        await chat.terminate()
        status, errors = await chat.ended()
    assert status == 0
    for word in (SECRET, "words", SECRET.encode().hex(), reply, "of-ann", "ann/s"):
        assert word not in errors
    assert "/api/ui/a-chat…/stream" in errors
    assert "bad-json" in errors
    assert reply[:6] in errors
    assert "Traceback" not in errors
    lines = errors.splitlines()
    if form == "json":
        told = [json.loads(line) for line in lines]
        assert {"reply ended", "request"} <= {line["message"] for line in told}
        requests = [line for line in told if line["message"] == "request"]
        assert [line["status"] for line in requests] == [
            *(200, 200, 200, 400),
            *(204, 204, 404),
        ]
    else:
        time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d "
        assert all(re.match(time, line) for line in lines)


@pytest.mark.parametrize(
    ("line", "logged"),
    [
        # Addresses that don't exist, and methods that they don't take.
        ("GET /api/ui/{chat}/streams", "/api/ui/chat-o…/str…"),
        ("GET /api/ui/{chat}", "/api/ui/chat-o…"),
        ("DELETE /api/ui/{chat}/stream", "/api/ui/chat-o…/stream"),
        ("GET /api/chats/{chat}/", "/api/ch…/chat-o…/"),
        ("GET /api//ui/{chat}", "/api//ui/chat-o…"),
        ("GET //api/ui/{chat}", "//api/ui/chat-o…"),
        ("GET /prefix/API/UI/{chat}", "/prefix/API/UI/chat-o…"),
        ("GET /%61pi/ui/{chat}", "/%61pi/ui/chat-o…"),
        ("GET /api%2Fui%2F{chat}", "/api%2F…"),
        ("GET /api;v=1/ui/{chat}", "/api…/ui/chat-o…"),
        ("GET /api/ui/{chat}%3Fmessage=words", "/api/ui/chat-o…"),
        ("GET /chat/{reply}", "/chat/{reply:.6}…"),
        ("POST /api/ui/{chat}/stream?message=words", "/api/ui/chat-o…/stream"),
        ("GET /no/api-like/part", "/no/api-…/pa…"),
        ("GET /wp-login/index.php", "/wp-login/index.php"),
        # Addresses that exist, before and after the route is known.
        ("GET /api/ui/{chat}/stream", "/api/ui/chat-o…/stream"),
        ("GET /v1/models/{chat}", "/v1/models/chat-of-ann-and-bob"),
        # Long ones, which end like those that are masked.
        ("GET /" + "x" * 199, "/" + "x" * 199),
        ("GET /" + "x" * 200, "/" + "x" * 198 + "…"),
        ("GET /" + "x" * 190 + "/{reply}", "/" + "x" * 190 + "/{reply:.6}…"),
        ("GET /" + "x" * 195 + "/{reply}", "/" + "x" * 195 + "/{reply:.2}…"),
        ("GET /" + "x/" * 3000, "/" + "x/" * 99 + "…"),
    ],
)
@pytest.mark.any_store
async def test_a_logged_path_has_no_id_and_200_characters(
    line: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "chatsvc.access")
    words = {"chat": "chat-of-ann-and-bob", "reply": "0123456789abcdefghijkl"}
    async with inside(access=True) as chat:
        await chat.raw(line.format(**words))
    (path,) = [record.data["path"] for record in caplog.records]  # type: ignore[attr-defined]
    assert path == logged.format(**words)
    assert len(path) <= 200


@pytest.mark.any_store
def test_the_parts_that_are_shown_are_those_of_routes() -> None:
    routes = create_app().router.resources()
    parts = {
        part
        for resource in routes
        if resource.canonical.startswith("/api/")
        for part in resource.canonical.split("/")[1:]
    }
    assert {part for part in parts if not part.startswith("{")} == set(API_PARTS)
    assert {part for part in parts if part.startswith("{")} == set(SECRET_PARTS)


@pytest.mark.any_store
async def test_logs_hold_nothing_of_a_request_that_is_not_http() -> None:
    words = b"words"
    chunks = (b"Transfer-Encoding: chunked", b"Content-Type: application/json")
    async with child("--log-format", "json") as chat:
        for lines, body in (
            (
                [b"GET /api/chat?message=" + words * 9999 + b" HTTP/1.1", b"Host: x"],
                b"",
            ),
            ([b"GET /api/chat/" + words + b"?\xff HTTP/1.1", b"Host: x"], b""),
            ([b"POST /api/chat HTTP/1.1", b"Host: x", *chunks], words),
        ):
            reader, writer = await asyncio.open_connection(chat.host, chat.port)
            writer.write(b"\r\n".join([*lines, b"", body, b""]))
            head = await asyncio.wait_for(reader.readline(), 10)
            assert b" 400 " in head
            writer.close()
        await chat.terminate()
        _, errors = await chat.ended()
    assert "words" not in errors
    told = [json.loads(line) for line in errors.splitlines()]
    refused = [line for line in told if line["logger"] == "aiohttp.server"]
    assert {line["level"] for line in refused} == {"info"}
    assert len(refused) == 3
    assert refused[0]["message"].endswith(": LineTooLong")


async def test_the_log_tells_of_a_stream_that_broke_off() -> None:
    flags = ("--log-format", "json", "--backend", "builtins:len")
    async with child(*flags) as chat:
        for kind in ("text/plain", "text/event-stream"):
            await chat.raw("POST /api/chat", f"Accept: {kind}", body=BODY)
        await chat.terminate()
        _, errors = await chat.ended()
    told = [json.loads(line) for line in errors.splitlines()]
    requests = [line for line in told if line["message"] == "request"]
    assert [line.get("broken") for line in requests] == [True, None]


@pytest.mark.parametrize(
    ("flags", "environment", "status", "word"),
    [
        (("--pace", "x"), {}, 2, "--pace"),
        (("--port", "99999"), {}, 2, "--port"),
        ((), {"CHATSVC_GRACE": "-1"}, 2, "CHATSVC_GRACE"),
        (("--backend", "nope"), {}, 2, "--backend"),
        (("--backend", "no_such_module:f"), {}, 2, "no_such_module"),
        (("--backend", "json:nope"), {}, 2, "nope"),
        (("--store", "disk"), {}, 2, "--store"),
        (("--store", "redis://h:x"), {}, 2, "--store"),
        (("--store", "memory", "--workers", "2"), {}, 2, "--workers"),
        # Said once, not by each of them.
        (
            ("--store", NOWHERE, "--workers", "3", "--backend", "json:nope"),
            {},
            2,
            "nope",
        ),
        (("--host", "203.0.113.1", "--open"), {}, 1, "203.0.113.1"),
    ],
)
@pytest.mark.any_store
@pytest.mark.sampled
async def test_what_cannot_start_says_why_in_one_line(
    flags: tuple[str, ...], environment: dict[str, str], status: int, word: str
) -> None:
    process = await launch("--port", "0", *flags, **environment)
    out, errors = await asyncio.wait_for(process.communicate(), 20)
    (line,) = errors.decode().splitlines()
    assert word in line
    assert (process.returncode, out) == (status, b"")


class Closes(MemoryStore):
    """Tells whether it was closed."""

    closed = False

    async def close(self) -> None:
        self.closed = True
        await super().close()


class Refuses(EchoBackend):
    """Can't begin."""

    async def open(self) -> None:
        raise ConnectionRefusedError


@pytest.mark.any_store
async def test_what_was_opened_is_closed_when_the_next_cannot_start() -> None:
    store = Closes(keep=1)
    with pytest.raises(ConnectionRefusedError):
        async with inside(backend=Refuses(), store=store):
            pass
    assert store.closed


@pytest.mark.any_store
async def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await launch("--port", str(port))
        out, errors = await asyncio.wait_for(process.communicate(), 20)
    (line,) = errors.decode().splitlines()
    assert f"127.0.0.1:{port}" in line
    assert (process.returncode, out) == (1, b"")


@pytest.mark.any_store
async def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    require_module("xllamacpp")
    model = tmp_path / "broken.gguf"
    model.write_text("no model")
    flags = ("--backend", "local", "--model", str(model))
    process = await launch("--port", "0", *flags)
    out, errors = await asyncio.wait_for(process.communicate(), 20)
    (line,) = errors.decode().splitlines()
    assert "--backend local" in line
    assert model.name in line
    assert (process.returncode, out) == (2, b"")


@pytest.mark.any_store
async def test_ctrl_c_before_it_serves_ends_it_without_a_word() -> None:
    connected = asyncio.Event()

    async def silent(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """A Redis that never answers."""
        connected.set()
        with closing(writer):
            await asyncio.Event().wait()

    async with listening(silent) as port:
        process = await launch("--port", "0", "--store", f"redis://127.0.0.1:{port}")
        await asyncio.wait_for(connected.wait(), 20)
        process.send_signal(signal.SIGINT)
        out, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out, errors) == (130, b"", b"")


@pytest.mark.sampled
@pytest.mark.any_store
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_redis_of_a_later_version_is_refused_in_one_line(
    redis_server: RedisServer, workers: str
) -> None:
    url = redis_server.database(7)
    async with Redis.from_url(url) as client:
        await client.set("chatsvc:{0}:format", "2")
        process = await launch("--port", "0", "--store", url, "--workers", workers)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
        await client.delete("chatsvc:{0}:format")
    assert process.returncode == 2
    assert errors.startswith(b"chatsvc: --store: ") and errors.count(b"\n") == 1
    assert b"a later version of chatsvc" in errors


@pytest.mark.any_store
async def test_an_unknown_flag_is_refused() -> None:
    process = await launch("--no-such-flag")
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert b"--no-such-flag" in errors
    assert b"Traceback" not in errors


@pytest.mark.any_store
async def test_a_backend_of_ones_own_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "async def answer(messages):\n"
        "    for word in messages[-1]['content'].split():\n"
        "        yield word[::-1]\n"
    )
    async with child("--backend", "mine:answer", PYTHONPATH=str(tmp_path)) as chat:
        got = await chat.json("POST", "/api/chat", "ab cd")
        assert got["text"] == "badc"


# ---------------------------------------------------------------------- the end


async def _begin(chat: Child, kind: str) -> tuple[asyncio.Task[bytes], asyncio.Event]:
    """A client of some kind that reads to the end of what it is given, and an event for its first byte."""
    began = asyncio.Event()

    async def read() -> bytes:
        message = {"message": "x" * 10_000}
        data = b""
        if kind == "websocket":
            async with chat.session.ws_connect(chat.url + "/ws/chat") as ws:
                await ws.send_json(message)
                async for frame in ws:
                    began.set()
                    data += frame.data.encode()
                return data + b" %d" % (ws.close_code or 0)
        headers = {"Accept": kind}
        async with chat.session.post(
            chat.url + "/api/chat", json=message, headers=headers
        ) as response:
            reply = response.headers["X-Reply-Id"].encode()
            try:
                async for piece in response.content.iter_any():
                    began.set()
                    data += piece
            except Exception as error:  # noqa: BLE001
                return data + b" " + type(error).__name__.encode()
            return data + b" complete " + reply

    return asyncio.create_task(read()), began


async def test_sigterm_in_the_middle_of_200_replies(store: str, tmp_path: Path) -> None:
    kinds = ["text/event-stream", "text/plain", "websocket", "text/event-stream"]
    flags = ["--pace", "0.02", "--drain", "0.3", "--limits", "off"]
    if store == "memory":  # one that could not be carried on elsewhere either
        (tmp_path / "endless.py").write_text(
            "import asyncio\n"
            "async def answer(messages):\n"
            "    while True:\n"
            "        yield 'x'\n"
            "        await asyncio.sleep(0.02)\n"
        )
        flags += ["--backend", "endless:answer"]
    async with child(*flags, PYTHONPATH=str(tmp_path)) as chat:
        readers = [await _begin(chat, kinds[n % 4]) for n in range(200)]
        idle = await chat.session.ws_connect(chat.url + "/ws/chat")
        await asyncio.gather(*(began.wait() for _, began in readers))
        await chat.terminate()
        assert (await idle.receive(timeout=10)).data == 1012
        ends = await asyncio.wait_for(
            asyncio.gather(*(reading for reading, _ in readers)), 10
        )
        status, errors = await chat.ended()
    assert status == 0
    assert "Traceback" not in errors
    for n, end in enumerate(ends):
        kind = kinds[n % 4]
        if kind == "websocket":
            assert re.fullmatch(rb"x+ 1012", end)
        elif kind == "text/plain":
            assert re.fullmatch(rb"x+ ClientPayloadError", end)
        else:
            stream, _, reply = end.partition(b" complete ")
            stream = without_comments(stream)
            count = stream.count(b"data: x\n")
            last = b"id: %b:%d\ndata: x\n\n" % (reply, count)
            if store == "redis":  # another node has the rest
                assert re.search(re.escape(last) + rb"retry: \d+\n\n$", stream)
                assert b"event: " not in stream
                continue
            told = re.search(rb"event: failed\ndata: (\{.*\})\n\n", stream)
            assert told is not None
            assert json.loads(told[1])["type"] == "/problems/draining"
            assert stream.endswith(b"id: %b:end\ndata: [DONE]\n\n" % reply)
            assert last + b"event: failed" in stream


async def test_what_can_end_within_the_drain_does() -> None:
    async with child("--pace", "0.02", "--drain", "20") as chat:
        body = json.dumps({"message": "x" * 30}).encode()
        reader, writer = await chat.connect("POST /api/chat", body=body)
        await reader.readuntil(b"data: x")
        await chat.terminate()
        rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
        assert rest.count(b"data: x") == 29
        assert b"data: [DONE]" in rest
        writer.close()
        status, _ = await chat.ended()
        assert status == 0


@pytest.mark.thorough
@pytest.mark.parametrize("hurry", [False, True])
async def test_a_function_that_cannot_be_stopped_does_not_keep_the_service_from_ending(
    hurry: bool, tmp_path: Path
) -> None:
    (tmp_path / "stubborn.py").write_text(
        "import asyncio, time\n"
        "async def answer(messages):\n"
        "    yield 'x\\n'\n"
        "    while True:\n"
        "        try:\n"
        "            await asyncio.to_thread(time.sleep, 3600)\n"
        "        except asyncio.CancelledError:\n"
        "            pass\n"
    )
    drain = "3600" if hurry else "0"
    flags = ("--backend", "stubborn:answer", "--drain", drain)
    async with child(*flags, PYTHONPATH=str(tmp_path)) as chat:
        reader, writer = await chat.connect("POST /api/chat", body=BODY)
        await reader.readuntil(b"data:\ndata:\n\n")
        await chat.terminate()
        if hurry:
            while (await chat.raw("GET /readyz")).status != 503:
                pass
            await chat.terminate()
        else:
            assert b"data: [DONE]" in await asyncio.wait_for(reader.read(), 20)
        status, errors = await chat.ended()
        writer.close()
    assert status == int(hurry)
    assert "Traceback" not in errors


async def test_a_node_that_drains_says_so() -> None:
    async with child("--pace", "0.02", "--drain", "20") as chat:
        body = json.dumps({"message": "x" * 10_000}).encode()
        reader, writer = await chat.connect("POST /api/chat", body=body)
        await reader.readuntil(b"data: x")
        await chat.terminate()
        while (await chat.raw("GET /readyz")).status != 503:
            pass
        refused = await chat.raw("POST /api/chat", body=body)
        assert refused.status == 503
        assert json.loads(refused.body)["type"] == "/problems/draining"
        await chat.terminate()  # told twice: somebody is in a hurry
        status, errors = await chat.ended()
        assert status != 0
        assert "Traceback" not in errors
        writer.close()
