"""Signing in and out by a browser: the form, the cookie, and where each of them counts."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.settings import Settings
from chatsvc.users.attempts import MOST_WRONG
from chatsvc.users.identity import ADMIN
from chatsvc.users.keys import ApiKey, KeyRing, digest_of
from chatsvc.users.signatures import Purpose
from chatsvc.web import login, sessions
from chatsvc.web.login import _place
from chatsvc.web.sessions import SESSION_S

from .api_keys import BOB, KEY, OTHER, RING, replace_keys
from .running import Answer, Inside, inside

pytestmark = pytest.mark.any_store

FORM = "Content-Type: application/x-www-form-urlencoded"
SETTINGS = Settings(pace=0, api_keys=KEY)
BODY = b'{"message": "a"}'


@pytest.fixture
async def chat() -> AsyncIterator[Inside]:
    async with inside(SETTINGS) as service:
        replace_keys(service.app, RING)
        yield service


async def sign_in(
    chat: Inside, *headers: str, key: str = KEY, path: str = "", **fields: str
) -> Answer:
    body = urlencode({"key": key, **fields}).encode()
    return await chat.raw(f"POST {path}/login", FORM, *headers, body=body)


def cookie_of(answer: Answer) -> str:
    """The `Cookie` header of a browser that has got an answer."""
    return f"Cookie: {answer.headers['Set-Cookie'].partition(';')[0]}"


async def session(chat: Inside, key: str = KEY) -> str:
    answer = await sign_in(chat, key=key)
    assert answer.status == 303
    return cookie_of(answer)


async def test_the_page_leads_to_the_form_and_back(chat: Inside) -> None:
    for extra in ([], ["Accept: text/html"], ["Cookie: chatsvc=nonsense"]):
        answer = await chat.raw("GET /", *extra)
        assert (answer.status, answer.headers["Location"]) == (303, "login")
    form = await chat.raw("GET /login")
    assert form.status == 200
    assert b'<form method="post">' in form.body and b"<script" not in form.body
    assert form.headers["Cache-Control"] == "private, no-store"
    done = await sign_in(chat)
    assert (done.status, done.headers["Location"]) == (303, "./")
    page = await chat.raw("GET /", cookie_of(done))
    assert page.status == 200
    assert b">alice</span>" in page.body and b'action="logout"' in page.body
    assert page.headers["Cache-Control"] == "private, no-store"
    # Who is signed in already needs no form.
    again = await chat.raw("GET /login?next=api/chat/x", cookie_of(done))
    assert (again.status, again.headers["Location"]) == (303, "./api/chat/x")


async def test_the_cookie_is_for_this_machine_over_plain_http(chat: Inside) -> None:
    given = SimpleCookie((await sign_in(chat)).headers["Set-Cookie"])["chatsvc"]
    assert (given["path"], given["samesite"], given["secure"]) == ("/", "Strict", "")
    assert given["httponly"] and int(given["max-age"]) == SESSION_S
    assert KEY not in given.value and digest_of(KEY)[:8] not in given.value


async def test_the_cookie_is_for_this_host_alone_over_tls() -> None:
    settings = Settings(api_keys=KEY, trusted_proxy=("127.0.0.1",))
    tls = "X-Forwarded-Proto: https"
    async with inside(settings) as chat:
        answer = await sign_in(chat, tls)
        given = SimpleCookie(answer.headers["Set-Cookie"])["__Host-chatsvc"]
        assert (given["path"], given["secure"], given["domain"]) == ("/", True, "")
        assert (await chat.raw("GET /", tls, cookie_of(answer))).status == 200
        # Without TLS a cookie of that name is none of the service's, nor is the other over TLS.
        assert (await chat.raw("GET /", cookie_of(answer))).status == 303
        plain = cookie_of(await sign_in(chat))
        assert (await chat.raw("GET /", tls, plain)).status == 303


async def test_below_a_prefix_the_cookie_is_for_what_is_below_it() -> None:
    settings = Settings(api_keys=KEY, trusted_proxy=("127.0.0.1",))
    tls = "X-Forwarded-Proto: https"
    async with inside(settings, app=web.Application()) as chat:
        page = await chat.raw("GET /chat/", tls)
        assert (page.status, page.headers["Location"]) == (303, "login")
        answer = await sign_in(chat, tls, path="/chat")
        assert answer.headers["Location"] == "./"
        given = SimpleCookie(answer.headers["Set-Cookie"])["__Secure-chatsvc"]
        assert (given["path"], given["secure"]) == ("/chat/", True)
        assert (await chat.raw("GET /chat/", tls, cookie_of(answer))).status == 200
        plain = SimpleCookie((await sign_in(chat, path="/chat")).headers["Set-Cookie"])
        assert plain["chatsvc"]["path"] == "/chat/"
        out = await chat.raw("POST /chat/logout", tls, cookie_of(answer))
        gone = SimpleCookie(out.headers["Set-Cookie"])["__Secure-chatsvc"]
        assert (gone["path"], gone["max-age"], gone.value) == ("/chat/", "0", "")


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (["/chat"], "/chat/"),
        (["/chat/"], "/chat/"),
        (["/outer, /inner/"], "/outer/inner/"),
        (["/outer", "/inner"], "/outer/inner/"),
        (["/"], "/"),
        ([""], "/"),
        (["chat"], "/"),
        (["//evil"], "/"),
        (["/chat; Domain=evil.example"], "/"),
        (["/a", "b c"], "/"),
        (["/ch\u00e4t"], "/"),
    ],
)
async def test_the_cookie_is_for_what_a_proxy_has_taken_away(
    sent: list[str], path: str
) -> None:
    settings = Settings(api_keys=KEY, trusted_proxy=("127.0.0.1",))
    lines = [f"X-Forwarded-Prefix: {each}" for each in sent]
    async with inside(settings) as chat:
        answer = await sign_in(chat, "X-Forwarded-Proto: https", *lines)
        [given] = SimpleCookie(answer.headers["Set-Cookie"]).values()
        assert given["path"] == path
        name = "__Host-chatsvc" if path == "/" else "__Secure-chatsvc"
        assert given.key == name


async def test_a_path_is_believed_from_a_proxy_alone() -> None:
    async with inside(Settings(api_keys=KEY)) as chat:
        answer = await sign_in(chat, "X-Forwarded-Prefix: /chat")
        [given] = SimpleCookie(answer.headers["Set-Cookie"]).values()
        assert given["path"] == "/"


@pytest.mark.parametrize(
    "host", ["chat.example", "192.0.2.1:3000", "127.0.0.1.example"]
)
async def test_nobody_signs_in_where_the_key_could_be_read(host: str) -> None:
    async with inside(SETTINGS) as chat:
        for line in ("GET /login", "POST /login"):
            reader, writer = await asyncio.open_connection(chat.host, chat.port)
            body = urlencode({"key": KEY}).encode()
            head = f"{line} HTTP/1.1\r\nHost: {host}\r\n{FORM}\r\nConnection: close\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert b"https" in answer and b"<form" not in answer
            assert b"set-cookie" not in answer.lower()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost:1", True),
        ("chat.localhost", True),
        ("127.9.9.9", True),
        ("[::1]:80", True),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("[", False),
    ],
)
def test_what_is_the_browser_s_own_machine(host: str, loopback: bool) -> None:
    assert sessions._is_loopback(host) is loopback


async def test_a_session_is_a_user_s_everywhere(chat: Inside) -> None:
    alice, bob = await session(chat), await session(chat, OTHER)
    answer = await chat.raw("POST /api/chat", alice, body=BODY)
    assert answer.status == 200
    assert (await chat.raw(f"GET /api/chat/{answer.reply}", alice)).status == 200
    assert (await chat.raw(f"GET /api/chat/{answer.reply}", bob)).status == 404
    assert (await chat.raw(f"GET /api/chat/{answer.reply}")).status == 401
    name, _, value = alice.removeprefix("Cookie: ").partition("=")
    socket = await chat.session.ws_connect(
        f"{chat.url}/ws/chat", headers={"Cookie": f"{name}={value}"}
    )
    await socket.close()
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await chat.session.ws_connect(f"{chat.url}/ws/chat")


async def test_a_key_wins_over_a_session(chat: Inside) -> None:
    alice = await session(chat)
    answer = await chat.raw("POST /api/chat", alice, body=BODY)
    line = f"GET /api/chat/{answer.reply}"
    bob = f"Authorization: Bearer {OTHER}"
    assert (await chat.raw(line, alice, bob)).status == 404
    wrong = "Authorization: Bearer wrong"
    assert (await chat.raw(line, alice, wrong)).status == 401


async def test_a_session_ends_with_its_key(chat: Inside) -> None:
    alice, bob = await session(chat), await session(chat, OTHER)
    replace_keys(chat.app, KeyRing([BOB]))
    assert (await chat.raw("GET /", alice)).status == 303
    assert (await chat.raw("POST /api/chat", alice, body=BODY)).status == 401
    assert (await chat.raw("GET /", bob)).status == 200
    replace_keys(chat.app, RING)
    assert (await chat.raw("GET /", alice)).status == 200


async def test_a_session_expires(chat: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, now = await session(chat), time.time()
    monkeypatch.setattr(sessions, "time", lambda: now + SESSION_S - 5)
    assert (await chat.raw("GET /", alice)).status == 200
    monkeypatch.setattr(sessions, "time", lambda: now + SESSION_S + 5)
    assert (await chat.raw("GET /", alice)).status == 303


async def test_a_ticket_is_no_session(chat: Inside) -> None:
    ticket = RING.signer.sign(
        Purpose.TICKET, digest_of(KEY), issued_s=0, expires_s=2**40
    )
    assert (await chat.raw("GET /", f"Cookie: chatsvc={ticket}")).status == 303


async def test_another_node_knows_the_session(chat: Inside) -> None:
    alice = await session(chat)
    async with inside(SETTINGS) as other:
        page = await other.raw("GET /", alice)
        assert page.status == 200
        assert f"key-{digest_of(KEY)[:8]}".encode() in page.body


async def test_signing_out(chat: Inside) -> None:
    alice = await session(chat)
    answer = await chat.raw("POST /logout", alice, f"Origin: {chat.url}")
    assert (answer.status, answer.headers["Location"]) == (303, "login")
    gone = SimpleCookie(answer.headers["Set-Cookie"])["chatsvc"]
    assert (gone.value, gone["max-age"], gone["path"]) == ("", "0", "/")
    assert (await chat.raw("GET /logout", alice)).status == 405


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("Origin: own", True),
        ("X: no origin", True),
        ("Sec-Fetch-Site: none", True),
        ("Origin: https://evil.example", False),
        ("Origin: https://friend.example", False),
        ("Origin: null", False),
        ("Sec-Fetch-Site: cross-site", False),
        ("Sec-Fetch-Site: same-site", False),
    ],
)
async def test_only_the_service_s_own_pages_sign_in_and_out(
    header: str, allowed: bool
) -> None:
    friendly = Settings(
        api_keys=KEY, allow_origin=("https://friend.example",), allow_credentials=True
    )
    async with inside(friendly) as chat:
        header = header.replace("own", chat.url)
        for line in ("POST /login", "POST /logout"):
            body = urlencode({"key": KEY}).encode()
            answer = await chat.raw(line, FORM, header, body=body)
            assert answer.status == (303 if allowed else 403)
            assert ("Set-Cookie" in answer.headers) is allowed


@pytest.mark.parametrize("credentials", [False, True])
async def test_a_session_from_another_origin_counts_only_if_it_is_let(
    credentials: bool,
) -> None:
    friendly = Settings(
        pace=0,
        api_keys=KEY,
        allow_origin=("https://friend.example",),
        allow_credentials=credentials,
    )
    friend = "Origin: https://friend.example"
    async with inside(friendly) as chat:
        alice = await session(chat)
        answer = await chat.raw("POST /api/chat", friend, alice, body=BODY)
        assert answer.status == (200 if credentials else 403)
        bearer = f"Authorization: Bearer {KEY}"
        answer = await chat.raw("POST /api/chat", friend, alice, bearer, body=BODY)
        assert answer.status == 200
        own = f"Origin: {chat.url}"
        assert (await chat.raw("POST /api/chat", own, alice, body=BODY)).status == 200


async def test_a_wrong_key_gets_the_form_again(
    chat: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "wrong-0123456789abcdef"
    answer = await sign_in(chat, key=secret, next="api/chat/x")
    assert answer.status == 401
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    text = answer.body.decode()
    assert "This key is not known here" in text and 'value="api/chat/x"' in text
    assert secret not in text and secret not in caplog.text
    chinese = await sign_in(chat, "Accept-Language: zh", key=secret)
    assert "请核对后重试" in chinese.body.decode()
    replace_keys(chat.app, KeyRing([ApiKey("op", digest_of(KEY), frozenset({ADMIN}))]))
    metrics = await chat.raw("GET /metrics", f"Authorization: Bearer {KEY}")
    assert b'chatsvc_refusals_total{code="unauthorized"} 2.0' in metrics.body


async def test_wrong_keys_are_limited(
    chat: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(login, "monotonic", lambda: now)
    for _ in range(MOST_WRONG):
        assert (await sign_in(chat, key="wrong")).status == 401
    limited = await sign_in(chat)  # the right one would tell whoever tries them all
    assert (limited.status, limited.headers["Retry-After"]) == (429, "6")
    assert "Wait a minute" in limited.body.decode()
    monkeypatch.setattr(login, "monotonic", lambda: now + 6)
    assert (await sign_in(chat)).status == 303


async def test_right_keys_are_not_limited(chat: Inside) -> None:
    for _ in range(2 * MOST_WRONG):
        assert (await sign_in(chat)).status == 303


async def test_a_key_that_may_not_chat_signs_nobody_in(chat: Inside) -> None:
    admin = ApiKey("alice", digest_of(KEY), frozenset({ADMIN}))
    replace_keys(chat.app, KeyRing([admin]))
    answer = await sign_in(chat)
    assert answer.status == 403
    assert b"may not be used to chat" in answer.body


@pytest.mark.parametrize(
    ("type_", "body", "status"),
    [
        (FORM, b"", 401),
        (FORM, b"key=a&key=b", 401),
        (FORM, b"key=%FF%00%0A", 401),
        (FORM, b"\xff\xfe", 400),
        (FORM, b"&".join([b"a=b"] * 40), 400),
        (FORM, b"key=" + b"x" * 20_000, 413),
        ("Content-Type: application/json", b'{"key": "x"}', 415),
        ("Content-Type: multipart/form-data; boundary=x", b"--x--", 415),
    ],
)
async def test_what_is_no_form(
    chat: Inside, type_: str, body: bytes, status: int
) -> None:
    assert (await chat.raw("POST /login", type_, body=body)).status == status


async def test_a_link_of_another_site_is_loaded_anew(chat: Inside) -> None:
    """The browser keeps the session back until the page itself asks."""
    answer = await chat.raw("GET /login?next=a%26b", "Sec-Fetch-Site: cross-site")
    found = re.search(rb'http-equiv="refresh" content="0; url=([^"]+)"', answer.body)
    assert found is not None and found[1] == b"login?next=a%26b"
    for site in ("same-origin", "none"):
        answer = await chat.raw("GET /login", f"Sec-Fetch-Site: {site}")
        assert b"refresh" not in answer.body


async def test_a_browser_that_shows_a_reply_is_led_to_the_form(chat: Inside) -> None:
    reply = (await chat.raw("POST /api/chat", await session(chat), body=BODY)).reply
    navigate = "Sec-Fetch-Mode: navigate"
    answer = await chat.raw(f"GET /api/chat/{reply}", navigate)
    assert answer.status == 303
    form = urljoin(f"/api/chat/{reply}", answer.headers["Location"])
    assert form == f"/login?next=api/chat/{reply}"
    done = await sign_in(chat, next=f"api/chat/{reply}")
    assert urljoin(form, done.headers["Location"]) == f"/api/chat/{reply}"
    # A script wants to know.
    assert (await chat.raw(f"GET /api/chat/{reply}", "Accept: text/html")).status == 401


@pytest.mark.parametrize(
    "path", ["/api/chat/x", "/api/chat/a%2Fb", "/%2F%2Fevil.example/x"]
)
async def test_below_a_prefix_a_browser_is_led_to_the_form_there(path: str) -> None:
    async with inside(SETTINGS, app=web.Application()) as chat:
        answer = await chat.raw(f"GET /chat{path}", "Sec-Fetch-Mode: navigate")
        assert answer.status == 303
        form = urljoin(f"https://site.example/chat{path}", answer.headers["Location"])
        assert form.partition("?")[0] == "https://site.example/chat/login"


@given(st.text() | st.from_regex(r"([/\\.:a-z?#@%]|%2[eE]){1,12}", fullmatch=True))
def test_nobody_is_led_to_another_site(text: str) -> None:
    place = re.sub("%2e", ".", _place(text), flags=re.IGNORECASE)
    there = urljoin("https://chat.example/deep/login", f"./{place}")
    assert there.startswith("https://chat.example/deep/")


@pytest.mark.parametrize(
    "text",
    [
        "//evil",
        "/a",
        "\\evil",
        "https://evil",
        "javascript:x",
        "a\r\nb",
        "é",
        "a" * 501,
        "a/../../other",
        "a/%2e%2E/%2e./other?x",
        "a/..",
    ],
)
def test_what_is_no_place_leads_to_the_page(text: str) -> None:
    assert _place(text) == ""


@pytest.mark.parametrize("authorized", [False, True])
async def test_without_keys_there_is_nothing_to_sign_in_to(authorized: bool) -> None:
    async def user(request: web.Request) -> str | None:
        return "alice"

    async with inside(authorize=user if authorized else None) as chat:
        for line in ("GET /login", "POST /login", "POST /logout"):
            assert (await chat.raw(line, FORM)).status == 404
        page = await chat.raw("GET /")
        assert page.status == 200
        _, _, shown = page.body.partition(b"</style>")
        assert shown and b"logout" not in shown and b"sign-in" not in shown
        assert (b">alice</span>" in page.body) is authorized
