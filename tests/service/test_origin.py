"""Browsers: who may ask, and who may read the answer (PROTOCOL.md section 2, WHATWG Fetch)."""

from __future__ import annotations

import aiohttp
import pytest

from chatsvc.settings import Settings

from .running import Inside, inside

FRIEND = "https://friend.example"
ALLOWING = Settings(pace=0, allow_origin=(FRIEND,))
BODY = b'{"message": "a"}'


async def socket(chat: Inside, origin: str) -> int:
    """The status of an upgrade that a page of this origin asks for."""
    headers = {"Origin": origin}
    try:
        ws = await chat.session.ws_connect(chat.url + "/ws/chat", headers=headers)
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status
    await ws.close()
    return 101


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("own", 200),
        (FRIEND, 200),
        ("HTTPS://FRIEND.example", 200),
        ("https://friend.example.evil.example", 403),
        ("http://friend.example", 403),
        ("http://localhost", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
async def test_an_origin_on_post_and_websocket_alike(origin: str, status: int) -> None:
    async with inside(ALLOWING) as chat:
        origin = chat.url if origin == "own" else origin
        answer = await chat.raw("POST /api/chat", f"Origin: {origin}", body=BODY)
        assert answer.status == status
        assert await socket(chat, origin) == (101 if status == 200 else status)
        if status == 403:
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_chain_of_proxies_names_several_hosts(chat: Inside) -> None:
    asks = ("Origin: http://chat.example", "X-Forwarded-Host: chat.example, inner:80")
    assert (await chat.raw("POST /api/chat", *asks, body=BODY)).status == 200
    asks = ("Origin: http://chat", *asks[1:])
    assert (await chat.raw("POST /api/chat", *asks, body=BODY)).status == 403


async def test_no_origin_is_no_browser(chat: Inside) -> None:
    assert (await chat.raw("POST /api/chat", body=BODY)).status == 200


@pytest.mark.parametrize(
    ("site", "allowed", "status"),
    [
        ("cross-site", (), 403),
        ("same-site", (), 403),
        ("cross-site", (FRIEND,), 403),
        ("cross-site", ("*",), 200),
        ("same-origin", (), 200),
        ("none", (), 200),
    ],
)
async def test_an_image_of_a_foreign_page_begins_no_reply(
    site: str, allowed: tuple[str, ...], status: int
) -> None:
    """A browser sends no `Origin` for one (WHATWG Fetch), but it tells where the page is from."""
    async with inside(Settings(pace=0, allow_origin=allowed)) as chat:
        line = "GET /api/chat?message=a"
        answer = await chat.raw(line, f"Sec-Fetch-Site: {site}")
        assert answer.status == status
        started = (await chat.metrics())["chatsvc_replies_started_total"]
        assert started == (status == 200)
        reply = await chat.start("b")  # whoever has a link may follow it
        link = await chat.raw(f"GET /api/chat/{reply}", f"Sec-Fetch-Site: {site}")
        assert link.status == 200


async def test_an_allowed_origin_may_read() -> None:
    async with inside(ALLOWING) as chat:
        for path in ("/api/chat", "/api/chat?ids=0"):
            answer = await chat.raw(f"POST {path}", f"Origin: {FRIEND}", body=BODY)
            assert answer.headers["Access-Control-Allow-Origin"] == FRIEND
            assert "X-Reply-Id" in answer.headers["Access-Control-Expose-Headers"]
            assert "Origin" in answer.headers["Vary"]
        page = (await chat.raw("GET /")).body.decode()
        file = page.partition('src="')[2].partition('"')[0]
        answer = await chat.raw(f"GET /{file}", f"Origin: {FRIEND}")
        assert answer.status == 200
        assert {"Origin", "Accept-Encoding"} <= set(answer.headers["Vary"].split(", "))
        broken = await chat.raw("POST /api/chat", f"Origin: {FRIEND}", body=b"{")
        assert broken.status == 400
        assert broken.headers["Access-Control-Allow-Origin"] == FRIEND


async def test_a_preflight() -> None:
    asks = ("Access-Control-Request-Method: POST",)
    async with inside(ALLOWING) as chat:
        for path in ("/api/chat", "/api/chat/x/stop"):
            answer = await chat.raw(f"OPTIONS {path}", f"Origin: {FRIEND}", *asks)
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == FRIEND
            assert "POST" in answer.headers["Access-Control-Allow-Methods"]
            allowed = answer.headers["Access-Control-Allow-Headers"].lower()
            for header in ("content-type", "last-event-id", "idempotency-key"):
                assert header in allowed
            # OpenAI's client sends it with `chat.completions.stream`.
            assert "x-stainless-helper-method" in allowed
        foreign = await chat.raw("OPTIONS /api/chat", "Origin: https://e.example")
        assert foreign.status == 403
