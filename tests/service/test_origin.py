"""Browsers: who may ask, and who may read the answer (PROTOCOL.md section 2, WHATWG Fetch)."""

from __future__ import annotations

import ssl
from dataclasses import replace

import aiohttp
import pytest
import trustme
from aiohttp import web

from chatsvc.app import create_app
from chatsvc.settings import BadSetting, Settings

from .running import Inside, inside, launch

pytestmark = pytest.mark.any_store

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


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [("chat.example", 200), ("evil.example", 403), ("localhost", 200)],
)
async def test_a_forwarded_host_counts_where_it_is_one_that_is_answered(
    forwarded: str, status: int
) -> None:
    """A page whose name leads to a proxy is of that proxy's origin, and its script may send the header."""
    settings = Settings(pace=0, allow_host=("chat.example",))
    asks = (f"Origin: http://{forwarded}", f"X-Forwarded-Host: {forwarded}")
    async with inside(settings) as chat:
        assert (await chat.raw("POST /api/chat", *asks, body=BODY)).status == status


@pytest.mark.parametrize(
    ("origin", "proxies", "headers", "status"),
    [
        # What a page of the same name over plain http says, once it is known that TLS was used.
        ("http", ("127.0.0.0/8",), ("X-Forwarded-Proto: https",), 403),
        ("http", ("192.0.2.1", "127.0.0.1"), ("X-Forwarded-Proto: HTTPS",), 403),
        ("http", ("127.0.0.1",), ("X-Forwarded-Proto: wss",), 403),
        ("http", ("127.0.0.1",), ("X-Forwarded-Proto: https, http",), 403),
        ("http", ("127.0.0.1",), ("X-Forwarded-Proto: http",) * 2, 200),
        (
            *("http", ("127.0.0.1",)),
            ("X-Forwarded-Proto: http", "X-Forwarded-Proto: https"),
            403,
        ),
        (
            *("http", ("127.0.0.1",)),
            ("X-Forwarded-Proto: https", "Sec-Fetch-Site: same-origin"),
            403,
        ),
        ("http", ("127.0.0.1",), (), 200),
        # A proxy that is not trusted says nothing.
        ("http", (), ("X-Forwarded-Proto: https",), 200),
        ("http", ("192.0.2.0/24", "::1"), ("X-Forwarded-Proto: https",), 200),
        # TLS may end at any proxy, so this is own whatever the service sees.
        ("https", (), (), 200),
        ("https", ("127.0.0.1",), ("X-Forwarded-Proto: http",), 200),
        ("https", ("127.0.0.1",), ("X-Forwarded-Proto: https",), 200),
        ("ws", (), (), 403),
    ],
)
async def test_an_origin_without_tls_is_not_own_for_a_request_that_came_by_tls(
    origin: str, proxies: tuple[str, ...], headers: tuple[str, ...], status: int
) -> None:
    async with inside(Settings(pace=0, trusted_proxy=proxies)) as chat:
        named = f"Origin: {origin}://{chat.host}:{chat.port}"
        answer = await chat.raw("POST /api/chat", named, *headers, body=BODY)
        assert answer.status == status


async def test_an_origin_without_tls_is_not_own_for_an_application_with_tls() -> None:
    """A mounted application's server may end TLS itself."""
    certificate = trustme.CA().issue_cert("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    runner = web.AppRunner(create_app(Settings(pace=0)), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        port = runner.addresses[0][1]
        url = f"https://127.0.0.1:{port}/api/chat"
        async with aiohttp.ClientSession() as session:
            for scheme, status in (("http", 403), ("https", 200)):
                headers = {"Origin": f"{scheme}://127.0.0.1:{port}"}
                async with session.post(
                    url, json={"message": "a"}, headers=headers, ssl=False
                ) as answer:
                    assert answer.status == status
    finally:
        await runner.cleanup()


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


@pytest.mark.parametrize(
    ("agent", "accept", "status"),
    [
        # Not a browser: only a type that there is none of is refused.
        ("curl/8", None, 200),
        ("curl/8", "*/*", 200),
        (None, None, 200),
        ("axios", "application/json, text/plain, */*", 200),
        ("x", "text/event-stream;q=0.5,application/x-ndjson", 200),
        ("x", "text/*", 200),
        ("x", "text/html;q=0, text/plain", 200),
        ("x", ", text/plain,", 200),
        ("x", "image/png", 403),
        ("x", "image/*", 403),
        ("x", "IMAGE/avif,*/*;q=0.8", 403),
        ("x", "text/html", 403),
        ("x", "text/css,*/*;q=0.1", 403),
        ("x", "text/plain, video/webm;q=0.1", 403),
        # A browser: only what a native EventSource says begins a reply.
        ("Mozilla/5.0", None, 403),
        ("Mozilla/5.0", "*/*", 403),
        ("Mozilla/5.0 (X11)", "application/json, text/plain, */*", 403),
        ("Mozilla/5.0", "text/*", 403),
        ("Mozilla/5.0", "text/event-stream;q=0, */*", 403),
        ("Mozilla/5.0", "text/event-stream", 200),
        ("Mozilla/5.0", "Text/Event-Stream, */*;q=0.1", 200),
        ("Mozilla/5.0", "image/png, text/event-stream", 403),
    ],
)
@pytest.mark.parametrize("allowed", [(), ("*",)])
async def test_over_plain_http_an_element_of_a_page_begins_no_reply(
    agent: str | None, accept: str | None, status: int, allowed: tuple[str, ...]
) -> None:
    """There a browser tells neither the origin nor the site, so `Accept` must do."""
    headers = [] if accept is None else [f"Accept: {accept}"]
    headers += [] if agent is None else [f"User-Agent: {agent}"]
    async with inside(Settings(pace=0, allow_origin=allowed)) as chat:
        answer = await chat.raw("GET /api/chat?message=a", *headers)
        assert answer.status == status
        started = (await chat.metrics())["chatsvc_replies_started_total"]
        assert started == (status == 200)
        # Where a site is named, that is believed.
        answer = await chat.raw(
            "GET /api/chat?message=a", *headers, "Sec-Fetch-Site: none"
        )
        assert answer.status in (200, 406)
        reply = await chat.start("b")  # what reads only is not concerned
        for line in (f"GET /api/chat/{reply}", "GET /api/chat"):
            cursor = f"Last-Event-ID: {reply}:0"
            answer = await chat.raw(line, *headers, cursor)
            assert answer.status in (200, 406)


async def test_accept_on_several_lines_is_one_list() -> None:
    async with inside(Settings(pace=0)) as chat:
        lines = ("Accept: text/plain", "Accept: image/png")
        assert (await chat.raw("GET /api/chat?message=a", *lines)).status == 403


@pytest.mark.parametrize("allowed", [(), ("*",)])
async def test_a_link_in_a_reply_to_the_service_itself_begins_no_reply(
    allowed: tuple[str, ...],
) -> None:
    line = "GET /api/chat?message=a"
    site = "Sec-Fetch-Site: same-origin"
    async with inside(Settings(pace=0, allow_origin=allowed)) as chat:
        link = await chat.raw(line, site, "Sec-Fetch-Mode: navigate")
        assert link.status == 403
        for mode in ("cors", "same-origin"):  # an EventSource, and `fetch`
            answer = await chat.raw(line, site, f"Sec-Fetch-Mode: {mode}")
            assert answer.status == 200


async def test_an_allowed_origin_may_send_cookies_where_that_is_wanted() -> None:
    wants = ("Origin: https://friend.example", "Cookie: a=b")
    name = "Access-Control-Allow-Credentials"
    for credentials in (False, True):
        async with inside(replace(ALLOWING, allow_credentials=credentials)) as chat:
            for line in ("POST /api/chat", "OPTIONS /api/chat", "GET /healthz"):
                answer = await chat.raw(line, *wants, body=BODY)
                assert (answer.headers.get(name) == "true") is credentials
            own = await chat.raw("POST /api/chat", f"Origin: {chat.url}", body=BODY)
            assert own.status == 200 and name not in own.headers
            foreign = await chat.raw("POST /api/chat", "Origin: https://e.example")
            assert foreign.status == 403 and name not in foreign.headers


def test_cookies_are_for_origins_that_are_named() -> None:
    settings = Settings(allow_origin=("*",), allow_credentials=True)
    with pytest.raises(BadSetting, match=r"--allow-credentials.*--allow-origin"):
        create_app(settings)
    create_app(replace(settings, allow_origin=(FRIEND,)))


async def test_the_command_refuses_cookies_from_everywhere() -> None:
    process = await launch("--allow-origin", "*", "--allow-credentials")
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.startswith(b"chatsvc: --allow-credentials takes origins by their")
    assert errors.count(b"\n") == 1


async def test_an_allowed_origin_may_send_more_headers() -> None:
    settings = replace(ALLOWING, allow_header=("X-Session", "X-Trace"))
    asks = (f"Origin: {FRIEND}", "Access-Control-Request-Method: POST")
    async with inside(settings) as chat:
        answer = await chat.raw("OPTIONS /api/chat", *asks)
        allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
        assert {"X-Session", "X-Trace", "Content-Type"} <= set(allowed)


def test_an_application_refuses_a_proxy_that_is_no_network() -> None:
    with pytest.raises(BadSetting, match="--trusted-proxy"):
        create_app(Settings(trusted_proxy=("proxy.example",)))


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
