"""What caches may do with each answer, and the name of the service (PROTOCOL.md section 2)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from chatsvc.settings import Settings

from .running import Answer, Inside, Scripted, eventually, inside, parse

pytestmark = pytest.mark.any_store

FRIEND = "https://friend.example"
BODY = b'{"message": "ab"}'
TURN = json.dumps(
    {
        "id": "0123456789abcdef",
        "messages": [{"role": "user", "parts": [{"type": "text", "text": "ab"}]}],
    }
).encode()
ASKED = {"messages": [{"role": "user", "content": "ab"}]}
WHOLE, CHUNKS = (json.dumps({**ASKED, "stream": on}).encode() for on in (False, True))

STREAM = "private, no-store, no-cache, no-transform"
KEPT_BY_NOBODY = "private, no-store"
VARY = "Accept, Authorization, Cookie, Last-Event-ID, Sec-Fetch-Site, Origin"
PAGE = ("no-cache", "Accept-Encoding, Accept-Language, Cookie, Origin")

JSON = "Accept: application/json"
TEXT = "Accept: text/plain"
HTML = "Accept: text/html"

ROWS = [
    ("POST /api/chat", (), BODY, 200, STREAM),
    ("POST /api/chat", (TEXT,), BODY, 200, STREAM),
    ("POST /api/chat", ("Accept: application/x-ndjson",), BODY, 200, STREAM),
    ("POST /api/chat", (JSON,), BODY, 200, KEPT_BY_NOBODY),
    ("POST /api/chat?wait=0", (JSON,), BODY, 200, KEPT_BY_NOBODY),
    ("POST /api/chat", (), b"{", 400, KEPT_BY_NOBODY),
    ("GET /api/chat?message=a", (), b"", 200, STREAM),
    ("GET /api/chat?message=a", (JSON,), b"", 200, KEPT_BY_NOBODY),
    (
        "GET /api/chat?message=a",
        ("Sec-Fetch-Site: cross-site",),
        b"",
        403,
        KEPT_BY_NOBODY,
    ),
    ("GET /api/chat/{reply}", (), b"", 200, STREAM),
    ("GET /api/chat/{reply}", (JSON,), b"", 200, KEPT_BY_NOBODY),
    ("GET /api/chat/{reply}", (HTML,), b"", 200, KEPT_BY_NOBODY),
    (
        "GET /api/chat/{reply}",
        ("Last-Event-ID: {reply}:end",),
        b"",
        204,
        KEPT_BY_NOBODY,
    ),
    ("HEAD /api/chat/{reply}", (), b"", 405, KEPT_BY_NOBODY),
    ("POST /api/chat/{reply}/stop", (), b"", 200, KEPT_BY_NOBODY),
    ("POST /api/chat/{reply}/share", (), b"", 200, KEPT_BY_NOBODY),
    ("GET /api/shared/{token}", (), b"", 200, STREAM),
    ("GET /api/shared/{token}", (JSON,), b"", 200, KEPT_BY_NOBODY),
    ("GET /api/shared/{token}", (HTML,), b"", 200, KEPT_BY_NOBODY),
    ("GET /api/shared/{token}/question", (), b"", 200, KEPT_BY_NOBODY),
    ("GET /api/shared/nothing", (), b"", 404, KEPT_BY_NOBODY),
    ("POST /api/chat/{other}/unshare", (), b"", 204, KEPT_BY_NOBODY),
    ("POST /v1/chat/completions", (), CHUNKS, 200, STREAM),
    ("POST /v1/chat/completions", (), WHOLE, 200, KEPT_BY_NOBODY),
    ("GET /v1/models", (), b"", 200, KEPT_BY_NOBODY),
    ("GET /v1/models/nothing", (), b"", 404, KEPT_BY_NOBODY),
    ("POST /api/ui", (), TURN, 200, STREAM),
    ("GET /api/ui/short/stream", (), b"", 204, KEPT_BY_NOBODY),
    ("GET /ws/chat", (), b"", 422, KEPT_BY_NOBODY),
    ("OPTIONS /api/chat", (), b"", 405, KEPT_BY_NOBODY),
    # Where there are no keys; tests/service/test_login.py has the others.
    ("POST /api/ticket", (), b"", 404, KEPT_BY_NOBODY),
    ("GET /login", (), b"", 404, KEPT_BY_NOBODY),
    ("POST /login", (), b"", 404, KEPT_BY_NOBODY),
    ("POST /logout", (), b"", 404, KEPT_BY_NOBODY),
    ("GET /nowhere", (), b"", 404, KEPT_BY_NOBODY),
    ("GET /nowhere", (HTML,), b"", 404, KEPT_BY_NOBODY),
    ("GET /healthz", (), b"", 200, KEPT_BY_NOBODY),
    ("GET /readyz", (), b"", 200, KEPT_BY_NOBODY),
    ("GET /metrics", (), b"", 200, KEPT_BY_NOBODY),
]


def listed(answer: Answer) -> tuple[str, str]:
    """The two headers, each of which stands once."""
    for name in ("Cache-Control", "Vary", "Server"):
        assert len(answer.headers.getall(name)) == 1
    assert answer.headers["Server"] == "chatsvc"
    return answer.headers["Cache-Control"], answer.headers["Vary"]


@pytest.fixture
async def friendly() -> AsyncIterator[Inside]:
    async with inside(Settings(pace=0, allow_origin=(FRIEND,))) as chat:
        yield chat


async def test_each_answer_says_who_may_keep_it_and_what_it_depends_on(
    friendly: Inside,
) -> None:
    """`Vary` is the same with and without the headers that it names."""
    reply, other = [(await friendly.raw("POST /api/chat", body=BODY)).reply for _ in "ab"]  # fmt: skip
    share = await friendly.raw(f"POST /api/chat/{reply}/share")
    names = {"reply": reply, "other": other, "token": json.loads(share.body)["token"]}
    for line, headers, body, status, caching in ROWS:
        for origin in ((), (f"Origin: {FRIEND}",)):
            asked = [each.format(**names) for each in (*headers, *origin)]
            answer = await friendly.raw(line.format(**names), *asked, body=body)
            # With an origin OPTIONS is a preflight, and a script may ask from another site.
            if origin and status in (403, 405):
                status = {"OPTIONS": 204, "GET": 200, "HEAD": 405}[line.split()[0]]
                caching = STREAM if status == 200 else caching
            assert answer.status == status, line
            assert listed(answer) == (caching, VARY), line


@pytest.mark.parametrize("origin", [(), (f"Origin: {FRIEND}",)])
async def test_a_chats_reply_that_runs_is_a_stream(origin: tuple[str, ...]) -> None:
    goes_on = asyncio.Event()
    settings = Settings(pace=0, allow_origin=(FRIEND,))
    async with inside(settings, backend=Scripted("a", goes_on)) as chat:
        first = asyncio.create_task(chat.raw("POST /api/ui", body=TURN))
        await eventually(lambda: chat.replies.running == 1)
        line = "GET /api/ui/0123456789abcdef/stream"
        reader, _ = await chat.connect(line, "Connection: close", *origin)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        goes_on.set()
        again = parse(head + await asyncio.wait_for(reader.read(), 10))
        for answer in (again, await first):
            assert answer.status == 200
            assert listed(answer) == (STREAM, VARY)


async def test_the_rows_are_all_routes(friendly: Inside) -> None:
    asked = {line.partition("?")[0].partition(" ")[2] for line, *_ in ROWS}
    for resource in friendly.app.router.resources():
        name = resource.canonical.replace("{chat}", "short").replace(
            "{model}", "nothing"
        )
        name = name.replace("{reply}/unshare", "{other}/unshare")
        assert name in asked or name in ("/", "/static/{digest}/{name}")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_page_and_its_files_keep_their_own(
    friendly: Inside, method: str
) -> None:
    page = await friendly.raw("GET /")
    file = page.body.decode().partition('src="')[2].partition('"')[0]
    for asked in ((), (f"Origin: {FRIEND}",), ("Accept-Encoding: gzip",)):
        answer = await friendly.raw(f"{method} /", *asked)
        assert (answer.status, listed(answer)) == (200, PAGE)
        answer = await friendly.raw(f"{method} /{file}", *asked)
        kept = "public, max-age=31536000, immutable"
        assert (answer.status, listed(answer)) == (
            200,
            (kept, "Accept-Encoding, Origin"),
        )
        other = await friendly.raw(f"{method} /static/0123456789abcdef/main.js", *asked)
        assert listed(other) == ("no-store", "Accept-Encoding, Origin")
        missing = await friendly.raw(f"{method} /static/0123456789abcdef/no.js", *asked)
        assert (missing.status, listed(missing)) == (404, (KEPT_BY_NOBODY, VARY))


async def test_a_redirect_of_the_application_keeps_its_own() -> None:
    async def login(request: web.Request) -> str | None:
        raise web.HTTPFound("/login", headers={"Vary": "X-Session"})

    async with inside(authorize=login) as chat:
        answer = await chat.raw("GET /api/chat?message=a")
        assert answer.status == 302
        assert listed(answer) == (KEPT_BY_NOBODY, "X-Session, Origin")


async def test_a_failure_is_kept_by_nobody() -> None:
    backend = Scripted(ValueError("x"))
    async with inside(Settings(pace=0), backend=backend) as chat:
        for line, body in (("/api/chat", BODY), ("/v1/chat/completions", WHOLE)):
            answer = await chat.raw(f"POST {line}", JSON, body=body)
            assert answer.status == 502
            assert listed(answer) == (KEPT_BY_NOBODY, VARY)


async def test_the_server_has_no_versions(chat: Inside) -> None:
    """Neither where a middleware answers, nor aiohttp itself, nor in an upgrade."""
    for lines in (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: x\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n",
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n",
        b"nonsense\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n",
    ):
        reader, writer = await asyncio.open_connection(chat.host, chat.port)
        writer.write(lines + b"\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert b"\r\nServer: chatsvc\r\n" in head
        assert b"aiohttp" not in head
        assert b"Python" not in head
        writer.close()
    timeout = aiohttp.ClientWSTimeout(ws_close=10)
    ws = await chat.session.ws_connect(f"{chat.url}/ws/chat", timeout=timeout)
    assert ws._response.headers["Server"] == "chatsvc"
    await ws.close()
