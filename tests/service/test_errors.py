"""Every row of the table of errors, on HTTP and on WebSocket, and what remains afterwards (PROTOCOL.md section 6)."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from chatsvc.client_limits import UNLIMITED, StartLimits
from chatsvc.problems import ReplyNotFound, StoreUnavailable, every_problem
from chatsvc.settings import Settings
from chatsvc.stores import Record
from chatsvc.stores.memory import MemoryStore

from ..living import uncollected
from .running import Answer, Inside, Scripted, eventually, inside, parse

UNKNOWN = "A" * 22
V1 = ("chatsvc.v1",)
SMALL = Settings(pace=0, max_message=64, keep=0.05, allow_origin=())


@pytest.fixture
async def small() -> AsyncIterator[Inside]:
    """A service that soon has enough."""
    async with inside(SMALL) as service:
        yield service


def problem(answer: Answer, code: str, status: int) -> dict[str, Any]:
    """Check that an answer is a problem, and that it tells nothing else."""
    told: dict[str, Any] = json.loads(answer.body)
    assert (told["type"], answer.status) == (f"/problems/{code}", status)
    assert told["status"] == status
    more = {"limit", "retry_after"} if status == 429 else set()
    assert set(told) == {"type", "title", "status", "detail"} | more
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Traceback" not in told["detail"]
    assert ".py" not in told["detail"]
    return told


class Row(NamedTuple):
    """A request over HTTP and the problem that it gets."""

    code: str
    status: int
    line: str
    body: bytes = b""
    headers: tuple[str, ...] = ()


CHAT = "POST /api/chat"
GET = f"GET /api/chat/{UNKNOWN}"
DEEP = b"[" * 100_000

HTTP = [
    Row("bad-json", 400, CHAT, b""),
    Row("bad-json", 400, CHAT, b"{"),
    Row("bad-json", 400, CHAT, b'{"message": "a"} x'),
    Row("unsupported-media-type", 415, CHAT, b"not gzip", ("Content-Encoding: gzip",)),
    Row("bad-text", 400, CHAT, b'{"message": "\xff"}'),
    Row("bad-text", 400, CHAT, b'{"message": "\\ud800"}'),
    Row("bad-text", 400, CHAT, b'{"message": "\xed\xa0\x80"}'),
    Row("bad-text", 400, "GET /api/chat?message=%FF"),
    Row("bad-cursor", 400, CHAT, b"{}", ("Last-Event-ID: x",)),
    Row("bad-cursor", 400, CHAT, b"{}", (f"Last-Event-ID: {UNKNOWN}:-1",)),
    Row("bad-cursor", 400, CHAT, b"{}", (f"Last-Event-ID: {UNKNOWN}:01",)),
    Row("bad-cursor", 400, f"{GET}?after=x"),
    Row("bad-cursor", 400, f"{GET}?after=-1"),
    Row("bad-cursor", 400, GET, b"", (f"Last-Event-ID: {'B' * 22}:1",)),
    Row("forbidden-origin", 403, CHAT, b"{}", ("Origin: https://evil.example",)),
    Row("forbidden-origin", 403, CHAT, b"{}", ("Origin: null",)),
    Row("not-found", 404, "GET /nowhere"),
    Row("not-found", 404, "GET /api"),
    Row("not-found", 404, "GET /api/chat/"),
    Row("method-not-allowed", 405, "DELETE /api/chat"),
    Row("method-not-allowed", 405, f"POST /api/chat/{UNKNOWN}"),
    Row("reply-not-found", 404, GET),
    Row("reply-not-found", 404, "GET /api/chat/short"),
    Row("reply-not-found", 404, f"POST /api/chat/{UNKNOWN}/stop"),
    Row("reply-not-found", 404, "POST /api/chat/nodes/stop"),  # a key in Redis
    Row("reply-not-found", 404, CHAT, b"", (f"Last-Event-ID: {UNKNOWN}:1",)),
    Row("reply-not-found", 404, CHAT, b"", (f"Last-Event-ID: {UNKNOWN}:end",)),
    Row("too-large", 413, CHAT, json.dumps({"message": "x" * 65}).encode()),
    Row("too-large", 413, CHAT, json.dumps({"message": "x" * 2000}).encode()),
    Row("too-large", 413, f"GET /api/chat?message={'x' * 65}"),
    Row("unsupported-media-type", 415, CHAT, b"{}", ("Content-Type: text/plain",)),
    Row(
        "unsupported-media-type",
        415,
        CHAT,
        b"{}",
        ("Content-Type: application/json; charset=utf-16",),
    ),
    Row("invalid-request", 422, CHAT, b"{}"),
    Row("invalid-request", 422, CHAT, b"[]"),
    Row("invalid-request", 422, CHAT, b'{"message": 1}'),
    Row("invalid-request", 422, CHAT, b'{"messages": []}'),
    Row("invalid-request", 422, CHAT, b'{"messages": [{"role": "x", "content": ""}]}'),
    Row("invalid-request", 422, CHAT, b'{"message": ""}', ("Idempotency-Key: a b",)),
    Row("invalid-request", 422, CHAT, b'{"message": ""}', ("Idempotency-Key: ",)),
    Row(
        "invalid-request",
        422,
        CHAT,
        b'{"message": ""}',
        (f"Idempotency-Key: {'k' * 129}",),
    ),
    Row("invalid-request", 422, "GET /api/chat"),
    Row("invalid-request", 422, f"{GET}?wait=31"),
    Row("invalid-request", 422, f"{GET}?wait=nan"),
    Row("invalid-request", 422, "GET /ws/chat"),
    Row("not-acceptable", 406, GET, b"", ("Accept: image/png",)),
]


@pytest.mark.parametrize("row", HTTP, ids=lambda row: f"{row.code}-{row.line[:24]}")
async def test_http(small: Inside, row: Row) -> None:
    answer = await small.raw(row.line, *row.headers, body=row.body)
    problem(answer, row.code, row.status)
    assert ("Allow" in answer.headers) == (row.status == 405)
    await small.nothing_left()
    metrics = await small.metrics()
    assert metrics[f'chatsvc_refusals_total{{code="{row.code}"}}'] == 1
    assert metrics["chatsvc_replies_started_total"] == 0


@pytest.mark.any_store
async def test_a_body_that_is_nested_without_end() -> None:
    async with inside() as chat:
        problem(await chat.raw(CHAT, body=DEEP), "bad-json", 400)


@pytest.mark.any_store
async def test_a_chunked_body_over_the_limit_is_not_read_to_its_end(
    small: Inside,
) -> None:
    reader, writer = await asyncio.open_connection(small.host, small.port)
    writer.write(
        b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n800\r\n" + b"x" * 0x800 + b"\r\n"
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 413 ")
    writer.close()


@pytest.mark.any_store
async def test_a_body_that_does_not_arrive(
    monkeypatch: pytest.MonkeyPatch, small: Inside
) -> None:
    monkeypatch.setattr("chatsvc.web.bodies.BODY_DEADLINE_S", 0.05)
    reader, writer = await asyncio.open_connection(small.host, small.port)
    writer.write(
        b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 17\r\nConnection: close\r\n\r\n{"
    )
    head = await asyncio.wait_for(reader.readuntil(b"}"), 5)
    problem(parse(head), "bad-request", 408)
    writer.close()


@pytest.mark.any_store
async def test_what_an_application_answers_for_us_keeps_its_status() -> None:
    async def authorize(request: web.Request) -> str | None:
        raise {
            "402": web.HTTPPaymentRequired(),
            "417": web.HTTPExpectationFailed(),
            "302": web.HTTPFound("/login"),
        }[request.query["as"]]

    async with inside(authorize=authorize) as chat:
        for status in (402, 417):
            answer = await chat.raw(f"{CHAT}?as={status}", body=b"{}")
            problem(answer, "bad-request", status)
        answer = await chat.raw(f"{CHAT}?as=302", body=b"{}")
        assert (answer.status, answer.headers["Location"]) == (302, "/login")


@pytest.mark.any_store
async def test_a_version_of_http_that_is_not_spoken_begins_nothing(
    chat: Inside,
) -> None:
    answer = await chat.raw(CHAT, body=b'{"message": "hi"}', version="HTTP/2.0")
    problem(answer, "bad-request", 400)
    assert not chat.replies.known


@pytest.mark.any_store
async def test_whom_an_application_can_not_reach_is_not_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def authorize(request: web.Request) -> str | None:
        raise ConnectionRefusedError("its database")

    async with inside(authorize=authorize) as chat:
        problem(await chat.raw(CHAT, body=b"{}"), "internal-error", 500)
    assert "its database" in caplog.text


@pytest.mark.any_store
async def test_the_field_that_is_wrong_is_named(small: Inside) -> None:
    body = b'{"messages": [{"role": "user", "content": ""}, {"role": "user"}]}'
    told = problem(await small.raw(CHAT, body=body), "invalid-request", 422)
    assert "content" in told["detail"]
    assert "messages[" in told["detail"]


async def test_a_key_with_another_body(small: Inside) -> None:
    await small.start("a", **{"Idempotency-Key": "k"})
    again = await small.raw(CHAT, "Idempotency-Key: k", body=b'{"message": "b"}')
    problem(again, "invalid-request", 422)


async def test_a_position_past_the_end(small: Inside) -> None:
    async with inside(Settings(pace=0)) as chat:
        reply = await chat.start("ab")
        problem(await chat.read(reply, "?after=3"), "cursor-past-end", 409)


async def no_longer_kept(chat: Inside, reply: str) -> None:
    async with asyncio.timeout(10):
        while (await chat.read(reply)).status == 200:
            pass


async def test_a_reply_that_is_no_longer_kept(small: Inside) -> None:
    reply = await small.start("ab")
    await no_longer_kept(small, reply)
    for line in (
        f"GET /api/chat/{reply}",
        f"POST /api/chat/{reply}/stop",
    ):
        problem(await small.raw(line), "reply-expired", 410)


async def test_limits_of_running_replies() -> None:
    for settings, code, status in (
        (Settings(grace=0, max_replies=1), "overloaded", 503),
        (Settings(grace=0, max_per_client=1), "too-many-requests", 429),
    ):
        async with inside(settings, backend=Scripted(asyncio.Event())) as chat:
            _, writer = await chat.connect(CHAT, body=b'{"message": ""}')
            await eventually(lambda: chat.replies.running)
            answer = await chat.raw(CHAT, body=b'{"message": ""}')
            problem(answer, code, status)
            assert int(answer.headers["Retry-After"]) >= 1
            writer.close()
            await eventually(lambda: not chat.replies.running)
            reply = await chat.start("hi")  # there is room again
            assert reply
            await chat.nothing_left()


async def test_draining() -> None:
    async with inside(Settings(pace=0)) as chat:
        reply = await chat.start("ab")
        chat.replies.admission.draining = True
        for line in (CHAT, "GET /readyz"):
            answer = await chat.raw(line, body=b'{"message": ""}')
            problem(answer, "draining", 503)
            assert int(answer.headers["Retry-After"]) >= 1
        assert (await chat.read(reply)).status == 200
        assert (await chat.raw("GET /healthz")).status == 200


COMPLETE = "POST /v1/chat/completions"


@pytest.mark.parametrize("line", [CHAT, COMPLETE])
async def test_a_whole_reply_that_draining_cuts_says_when_to_come_back(
    line: str,
) -> None:
    asked = b'{"message": "", "messages": [{"role": "user", "content": ""}]}'
    async with inside(backend=Scripted(asyncio.Event())) as chat:
        whole = asyncio.create_task(
            chat.raw(line, "Accept: application/json", body=asked)
        )
        await eventually(lambda: [r for r in chat.opened.values() if r.readers])
        await chat.replies.drain(0)
        answer = await whole
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


class Away(MemoryStore):
    """A store that can't be reached."""

    async def create(self, record: Record, limits: StartLimits = UNLIMITED) -> str:
        raise StoreUnavailable(retry_after=1)

    def ready(self) -> bool:
        return False


async def test_a_store_that_is_away() -> None:
    async with inside(store=Away(keep=1)) as chat:
        for line in (CHAT, "GET /readyz"):
            answer = await chat.raw(line, body=b'{"message": ""}')
            problem(answer, "store-unavailable", 503)
            assert int(answer.headers["Retry-After"]) >= 1
        assert await _closed(chat, '{"message": ""}') == 1013
        await chat.nothing_left()


class Broken(MemoryStore):
    """A store with a mistake in it."""

    def __init__(self, mistake: type[Exception]) -> None:
        super().__init__(keep=1)
        self.mistake = mistake

    async def create(self, record: Record, limits: StartLimits = UNLIMITED) -> str:
        raise self.mistake("a path: /somewhere/secret.py")


@pytest.mark.parametrize("mistake", [ZeroDivisionError, ConnectionRefusedError])
@pytest.mark.any_store
async def test_a_mistake_of_ours_is_told_to_nobody(
    mistake: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    async with inside(store=Broken(mistake)) as chat:
        answer = await chat.raw(CHAT, body=b'{"message": "words"}')
        problem(answer, "internal-error", 500)
        assert mistake.__name__ in caplog.text
        assert "words" not in caplog.text
        assert await _closed(chat, '{"message": ""}') == 1011
        ws = await chat.session.ws_connect(chat.url + "/ws/chat", protocols=V1)
        await ws.send_json({"message": "", "key": "k"})
        told = await ws.receive_json(timeout=5)
        assert told["data"]["type"] == "/problems/internal-error"
        await ws.close()


@pytest.mark.parametrize(
    "kind", ["text/event-stream", "text/plain", "application/x-ndjson"]
)
@pytest.mark.any_store
async def test_a_mistake_of_ours_in_a_stream_breaks_it_off(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with inside() as chat:
        monkeypatch.setattr("chatsvc.replies.ReplyReader.take", broken)
        answer = await chat.raw(CHAT, f"Accept: {kind}", body=b'{"message": ""}')
        assert answer.status == 200
        assert not answer.complete
        assert b"HTTP" not in answer.body
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, told: None)
        for protocols in ((), V1):
            ws = await chat.session.ws_connect(
                chat.url + "/ws/chat", protocols=protocols
            )
            await ws.send_json({"message": "a"})
            assert (await ws.receive(timeout=5)).type is WSMsgType.CLOSED
        await chat.replies.drain(0)
        await chat.nothing_left()


@pytest.mark.any_store
async def test_a_browser_gets_a_page(small: Inside) -> None:
    answer = await small.raw("GET /nowhere?<script>", "Accept: text/html,*/*")
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"<!doctype html>" in answer.body
    assert b"<script>" not in answer.body


# ---------------------------------------------------------------------- WebSocket


class Frame(NamedTuple):
    """A frame and what becomes of it."""

    code: str
    close: int
    text: str | bytes


BOTH = [
    Frame("bad-json", 1007, "{"),
    Frame("bad-json", 1007, "[" * 1020),  # deeper than a parser goes
    Frame("bad-text", 1007, '{"message": "\\ud800"}'),
    Frame("too-large", 1009, json.dumps({"message": "x" * 65})),
    Frame("unsupported-media-type", 1003, b"\x00"),
    Frame("invalid-request", 4422, "[]"),
    Frame("invalid-request", 4422, "{}"),
    Frame("invalid-request", 4422, '{"message": 1}'),
]
ONLY_V1 = [
    Frame("reply-not-found", 4404, json.dumps({"read": UNKNOWN, "key": "k"})),
    Frame("reply-not-found", 4404, json.dumps({"stop": UNKNOWN})),
    Frame("reply-not-found", 4404, json.dumps({"read": "short"})),
    Frame("reply-not-found", 4404, json.dumps({"read": "nodes"})),
    Frame("reply-not-found", 4404, json.dumps({"stop": "nodes"})),
    Frame("invalid-request", 4422, json.dumps({"read": UNKNOWN, "after": -1})),
    Frame("invalid-request", 4422, json.dumps({"message": "", "key": "a b"})),
]


async def _send(ws: aiohttp.ClientWebSocketResponse, frame: str | bytes) -> None:
    if isinstance(frame, str):
        await ws.send_str(frame)
    else:
        await ws.send_bytes(frame)


async def _closed(chat: Inside, frame: str | bytes) -> int:
    """The code with which the bare socket is closed after a frame."""
    async with chat.session.ws_connect(chat.url + "/ws/chat") as ws:
        await _send(ws, frame)
        closed = await ws.receive(timeout=5)
        assert closed.type is WSMsgType.CLOSE, closed
        assert closed.extra
        assert isinstance(closed.data, int)
        return closed.data


@pytest.mark.parametrize("frame", BOTH, ids=lambda frame: frame.code)
async def test_bare(small: Inside, frame: Frame) -> None:
    assert await _closed(small, frame.text) == frame.close
    await small.nothing_left()


@pytest.mark.parametrize("frame", BOTH + ONLY_V1, ids=lambda frame: frame.code)
async def test_v1(small: Inside, frame: Frame) -> None:
    ws = await small.session.ws_connect(small.url + "/ws/chat", protocols=V1)
    await _send(ws, frame.text)
    told = await ws.receive_json(timeout=5)
    assert told["event"] == "failed"
    assert told["data"]["type"] == f"/problems/{frame.code}"
    if b"key" in (frame.text if isinstance(frame.text, bytes) else b""):
        assert told["key"]
    await ws.send_json({"message": "ok"})  # the connection stays
    assert [(await ws.receive_json(timeout=5))["data"] for _ in range(3)] == [
        "o",
        "k",
        "[DONE]",
    ]
    await ws.close()
    await small.nothing_left()


@pytest.mark.parametrize("protocols", [(), V1])
@pytest.mark.any_store
async def test_a_frame_that_is_not_utf8(
    small: Inside, protocols: tuple[str, ...]
) -> None:
    """[RFC 6455, 8.1] It fails the connection, whatever the subprotocol."""
    ws = await small.session.ws_connect(small.url + "/ws/chat", protocols=protocols)
    await ws.send_frame(b'{"message": "\xff"}', WSMsgType.TEXT)
    closed = await ws.receive(timeout=5)
    assert closed.data == 1007


@pytest.mark.parametrize("protocols", [(), V1])
@pytest.mark.any_store
async def test_a_frame_over_the_limit(
    small: Inside, protocols: tuple[str, ...]
) -> None:
    ws = await small.session.ws_connect(small.url + "/ws/chat", protocols=protocols)
    await ws.send_str("x" * 64 * 17)
    closed = await ws.receive(timeout=5)
    assert closed.data == 1009
    await small.nothing_left()


async def test_v1_of_positions_and_of_expired_replies() -> None:
    async with inside(Settings(pace=0, keep=0.2)) as chat:
        ws = await chat.session.ws_connect(chat.url + "/ws/chat", protocols=V1)
        reply = await chat.start("ab")
        await ws.send_json({"read": reply, "after": 3, "key": "k"})
        told = await ws.receive_json(timeout=5)
        assert told["data"]["type"] == "/problems/cursor-past-end"
        assert told["key"] == "k"
        await no_longer_kept(chat, reply)
        await ws.send_json({"read": reply})
        told = await ws.receive_json(timeout=5)
        assert told["data"]["type"] == "/problems/reply-expired"
        await ws.close()


async def test_limits_of_running_replies_close_a_bare_socket() -> None:
    for settings, code in (
        (Settings(grace=0, max_replies=1), 1013),
        (Settings(grace=0, max_per_client=1), 4429),
    ):
        async with inside(settings, backend=Scripted(asyncio.Event())) as chat:
            _, writer = await chat.connect(CHAT, body=b'{"message": ""}')
            await eventually(lambda: chat.replies.running)
            assert await _closed(chat, '{"message": ""}') == code
            writer.close()


async def test_draining_closes_a_bare_socket(chat: Inside) -> None:
    chat.replies.admission.draining = True
    assert await _closed(chat, '{"message": ""}') == 1012


# ---------------------------------------------------------------------- who asks


async def who(request: web.Request) -> str | None:
    return request.headers.get("Authorization")


async def test_authorize_knows_whose_a_reply_is() -> None:
    async with inside(Settings(pace=0), authorize=who) as chat:
        for line in (CHAT, GET, "GET /ws/chat", "GET /"):
            answer = await chat.raw(line, body=b'{"message": ""}')
            problem(answer, "unauthorized", 401)
            assert answer.headers["WWW-Authenticate"]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await chat.session.ws_connect(chat.url + "/ws/chat")
        assert refused.value.status == 401
        for line in ("GET /healthz", "GET /readyz", "GET /metrics"):
            assert (await chat.raw(line)).status == 200
        reply = await chat.start("ab", Authorization="ann")
        for line in (f"GET /api/chat/{reply}", f"POST /api/chat/{reply}/stop"):
            mine = await chat.raw(line, "Authorization: ann")
            assert mine.status == 200
            other = await chat.raw(line, "Authorization: bob")
            problem(other, "reply-not-found", 404)
        ws = await chat.session.ws_connect(
            chat.url + "/ws/chat", protocols=V1, headers={"Authorization": "bob"}
        )
        for frame in ({"read": reply}, {"stop": reply}):
            await ws.send_json(frame)
            told = await ws.receive_json(timeout=5)
            assert told["data"]["type"] == "/problems/reply-not-found"
        await ws.close()
        keyed = [
            await chat.start("a", Authorization=name, **{"Idempotency-Key": "k"})
            for name in ("ann", "bob")
        ]
        assert keyed[0] != keyed[1]


async def test_a_key_without_the_scope_for_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    digest = hashlib.sha256(b"admins").hexdigest()
    file.write_text(f'[[key]]\nname = "ann"\nsha256 = "{digest}"\nscopes = ["admin"]\n')
    async with inside(Settings(api_keys_file=str(file))) as chat:
        for line in (CHAT, GET, "GET /ws/chat", "GET /"):
            answer = await chat.raw(line, "Authorization: Bearer admins", body=b"{}")
            problem(answer, "forbidden", 403)


@pytest.mark.parametrize("name", [42, "", b"ann", True, False, 0, ["ann"]])
@pytest.mark.any_store
async def test_what_is_no_name_begins_nothing(
    name: object, caplog: pytest.LogCaptureFixture
) -> None:
    """A reply of such a user could be found by nobody, or by everybody."""

    async def authorize(request: web.Request) -> Any:
        return name

    async with inside(Settings(pace=0), authorize=authorize) as chat:
        for line in (CHAT, GET, "GET /ws/chat", "GET /api/chat?message=hi"):
            answer = await chat.raw(line, body=b'{"message": "ab"}')
            problem(answer, "internal-error", 500)
        metrics = await chat.metrics()
        assert metrics["chatsvc_replies_started_total"] == 0
    assert f"not {'an empty str' if name == '' else type(name).__name__}" in caplog.text


@pytest.mark.any_store
async def test_a_host_that_is_not_answered() -> None:
    async with inside(replace(SMALL, allow_host=("chat.example",))) as chat:
        answer = await chat.raw("GET http://evil.example/api/chat")
        problem(answer, "misdirected-request", 421)


@pytest.mark.any_store
def test_every_problem_of_the_table_is_tried_here() -> None:
    with open(__file__, encoding="utf-8") as source:
        tried = source.read()
    missing = {kind.code for kind in every_problem() if f'"{kind.code}"' not in tried}
    assert missing <= {"backend-failed"}  # with the transports


async def test_a_refusal_keeps_nothing_once_it_is_told(chat: Inside) -> None:
    """Neither the request nor its body: the garbage collector looks rarely."""
    with uncollected():
        problem(await chat.raw(GET), "reply-not-found", 404)
        await eventually(lambda: not any(map(is_refusal, gc.get_objects())))


def is_refusal(thing: object) -> bool:
    return isinstance(thing, ReplyNotFound)
