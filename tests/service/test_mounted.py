"""chatsvc in somebody else's application, under a prefix, without `handler_cancellation`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urljoin

import pytest
from aiohttp import web

from chatsvc.settings import Settings

from .running import (
    HARD,
    Inside,
    Scripted,
    characters,
    done,
    events,
    eventually,
    inside,
    parse,
    without_comments,
)

pytestmark = pytest.mark.any_store


def theirs() -> web.Application:
    """The foreign application, which has a page of its own."""

    async def index(request: web.Request) -> web.Response:
        return web.Response(text="theirs")

    app = web.Application()
    app.router.add_get("/", index)
    return app


@pytest.fixture
async def chat() -> AsyncIterator[Inside]:
    async with inside(Settings(pace=0), app=theirs()) as service:
        yield service


async def test_all_endpoints(chat: Inside) -> None:
    async with chat.session.get(chat.url + "/") as response:
        assert await response.text() == "theirs"
    body = json.dumps({"message": HARD}).encode()
    answer = await chat.raw("POST /chat/api/chat", body=body)
    reply = answer.reply
    whole = events(reply, HARD) + done(reply)
    assert without_comments(answer.body) == whole
    again = await chat.raw(f"GET /chat/api/chat/{reply}")
    assert without_comments(again.body) == whole
    stopped = await chat.raw(f"POST /chat/api/chat/{reply}/stop")
    assert json.loads(stopped.body)["state"] == "done"
    ws = await chat.session.ws_connect(chat.url + "/chat/ws/chat")
    await ws.send_json({"message": HARD})
    got = [await ws.receive_str(timeout=5) for _ in [*characters(HARD), "[DONE]"]]
    assert got == [*characters(HARD), "[DONE]"]
    await ws.close()
    for path in ("healthz", "readyz", "metrics"):
        assert (await chat.raw(f"GET /chat/{path}")).status == 200


async def test_the_page_and_its_files(chat: Inside) -> None:
    async with chat.session.get(chat.url + "/chat/") as response:
        page = await response.text()
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/html")
    files = set(re.findall(r'(?:src|href)="([^"#]+\.(?:js|css|svg))"', page))
    assert len(files) > 2
    for file in files:
        url = urljoin(chat.url + "/chat/", file)
        async with chat.session.get(url) as response:
            assert response.status == 200, url
            assert await response.read()


async def test_problems_origins_and_authorize_work_under_the_prefix() -> None:
    async def nobody(request: web.Request) -> str | None:
        return None

    async with inside(app=theirs(), authorize=nobody) as chat:
        answer = await chat.raw("POST /chat/api/chat", body=b"{}")
        assert json.loads(answer.body)["type"] == "/problems/unauthorized"
        foreign = await chat.raw(
            "POST /chat/api/chat", "Origin: https://e.example", body=b"{}"
        )
        assert json.loads(foreign.body)["type"] == "/problems/forbidden-origin"
        missing = await chat.raw("GET /chat/static/nothing")
        assert json.loads(missing.body)["type"] == "/problems/not-found"


async def test_a_client_that_leaves_is_noticed_all_the_same() -> None:
    settings = Settings(grace=0, pace=0.005)
    async with inside(settings, app=theirs()) as chat:
        for kind in ("text/event-stream", "text/plain"):
            body = json.dumps({"message": "x" * 10_000}).encode()
            reader, writer = await chat.connect(
                "POST /chat/api/chat", f"Accept: {kind}", body=body
            )
            await reader.readuntil(b"x")
            writer.close()
            await eventually(lambda: not chat.replies.known)


@pytest.mark.parametrize(
    "kind",
    ["text/event-stream", "text/plain", "application/x-ndjson", "application/json"],
)
async def test_a_silent_reply_that_is_left_is_noticed_soon(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("chatsvc.web.disconnects.CHECK_INTERVAL_S", 0.02)
    backend = Scripted(asyncio.Event())
    async with inside(Settings(grace=0), app=theirs(), backend=backend) as chat:
        _, writer = await chat.connect(
            "POST /chat/api/chat", f"Accept: {kind}", body=b'{"message": ""}'
        )
        await eventually(lambda: backend.open)
        writer.close()
        await eventually(lambda: not chat.replies.known)
        assert not backend.open


async def test_readers_are_told_when_the_application_ends() -> None:
    async with inside(app=theirs(), backend=Scripted("ab\n", asyncio.Event())) as chat:
        reader, writer = await chat.connect(
            "POST /chat/api/chat", "Connection: close", body=b'{"message": ""}'
        )
        head = await asyncio.wait_for(reader.readuntil(b"data:\ndata:\n\n"), 10)
        await asyncio.wait_for(chat.app.shutdown(), 10)
        answer = parse(head + await asyncio.wait_for(reader.read(), 10))
        assert answer.complete
        assert b"event: failed\n" in answer.body
        assert b"/problems/draining" in answer.body
        assert answer.body.endswith(done(answer.reply))
        writer.close()


async def test_replies_get_their_time_when_the_application_ends() -> None:
    go = asyncio.Event()
    async with inside(
        app=theirs(), backend=Scripted("ab\n", go, "c"), drain=3600
    ) as chat:
        reading = asyncio.create_task(
            chat.raw("POST /chat/api/chat", body=b'{"message": ""}')
        )
        await eventually(lambda: chat.replies.running)
        ending = asyncio.create_task(chat.app.shutdown())
        await eventually(lambda: chat.replies.admission.draining)
        go.set()
        await asyncio.wait_for(ending, 10)
        answer = await reading
        whole = events(answer.reply, "ab\nc") + done(answer.reply)
        assert without_comments(answer.body) == whole


async def test_a_stream_goes_as_it_is_whatever_a_middleware_would_have_it() -> None:
    @web.middleware
    async def compress(
        request: web.Request, handler: Callable[..., Any]
    ) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        response.enable_compression()
        response.headers["X-Theirs"] = "yes"
        return response

    app = theirs()
    app.middlewares.append(compress)
    async with inside(Settings(pace=0), app=app) as chat:
        body = json.dumps({"message": HARD}).encode()
        coding = "Accept-Encoding: gzip, deflate"
        for version in ("HTTP/1.1", "HTTP/1.0"):
            answer = await chat.raw(
                "POST /chat/api/chat", coding, body=body, version=version
            )
            assert "Content-Encoding" not in answer.headers
            assert answer.headers["X-Theirs"] == "yes"
            whole = events(answer.reply, HARD) + done(answer.reply)
            assert without_comments(answer.body) == whole
        theirs_too = await chat.raw("GET /", coding)
        assert theirs_too.headers["Content-Encoding"] == "deflate"


async def test_a_text_whose_reader_has_left_ends_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody cancels its handler here: it finds the connection closed when the reply ends."""
    go = asyncio.Event()
    async with inside(app=theirs(), backend=Scripted("\n", go)) as chat:
        reader, writer = await chat.connect(
            "POST /chat/api/chat",
            "Accept: text/plain",
            body=b'{"message": "hi"}',
            version="HTTP/1.0",
        )
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n\n"), 5)
        writer.transport.abort()
        await eventually(lambda: not chat.buffers)
        go.set()
        await eventually(lambda: not chat.replies.known)
    assert not caplog.records
