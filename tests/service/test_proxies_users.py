"""Users whom a trusted proxy names (PROTOCOL.md section 8)."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from chatsvc.app import create_app
from chatsvc.settings import BadSetting, Settings, read_settings
from chatsvc.web.reach import check_reach, has_metrics, warn_if_open

from .running import Answer, Inside, Scripted, inside, launch, parse
from .test_context import Asked
from .test_proxies import said

pytestmark = pytest.mark.any_store

USER = "X-Forwarded-User"
ANN, BOB = f"{USER}: ann", f"{USER}: bob"
NAMED = Settings(pace=0, trusted_proxy=("127.0.0.1",), user_header=USER)
STRANGE = replace(NAMED, trusted_proxy=("127.0.0.2",))
"""Settings in which the tests' own address is none of the proxies'."""
BODY = b'{"message": "a"}'


async def sent(chat: Inside, *lines: bytes, path: bytes = b"/chat/") -> Answer:
    """The answer to a request for the page with header lines that need not be UTF-8."""
    reader, writer = await asyncio.open_connection(chat.host, chat.port)
    head = (
        b"GET %s HTTP/1.1" % path,
        b"Host: a",
        *lines,
        b"Connection: close",
        b"",
        b"",
    )
    writer.write(b"\r\n".join(head))
    try:
        return parse(await asyncio.wait_for(reader.read(), 20))
    finally:
        writer.close()


async def post(chat: Inside, *headers: str) -> Answer:
    return await chat.raw("POST /api/chat", *headers, body=BODY)


def refused(answer: Answer, status: int) -> str:
    """The words with which a request is refused."""
    problem = json.loads(answer.body)
    assert (answer.status, problem["status"]) == (status, status)
    code = "unauthorized" if status == 401 else "bad-request"
    assert problem["type"] == f"/problems/{code}"
    return str(problem["detail"])


async def test_a_user_finds_its_own_replies_and_no_others() -> None:
    async with inside(NAMED) as chat:
        reply = (await post(chat, ANN)).reply
        path = f"/api/chat/{reply}"
        assert (await chat.raw(f"GET {path}", ANN)).status == 200
        assert (await chat.raw(f"GET {path}", f"{USER.lower()}: ann")).status == 200
        assert (await chat.raw(f"GET {path}", BOB)).status == 404
        assert (await chat.raw(f"POST {path}/stop", BOB)).status == 404
        assert (await chat.raw(f"GET {path}")).status == 401


async def test_backends_learn_the_name() -> None:
    asked = Asked()
    async with inside(NAMED, backend=asked) as chat:
        await post(chat, f"{USER}: Ünal, 王")
        url = f"{chat.url}/ws/chat"
        async with chat.session.ws_connect(url, headers={USER: "bob"}) as ws:
            await ws.send_json({"message": "a"})
            await ws.receive(10)
    assert [context.user for context in asked.contexts] == ["Ünal, 王", "bob"]


async def test_who_is_counted_is_the_user() -> None:
    settings = replace(NAMED, max_per_client=1)
    async with inside(settings, backend=Scripted("a", asyncio.Event())) as chat:
        for headers, status in (
            ((ANN,), 200),
            ((ANN, "X-Forwarded-For: 192.0.2.2"), 429),
            ((BOB,), 200),
        ):
            asks = ("Accept: application/json", *headers)
            answer = await chat.raw("POST /api/chat?wait=0", *asks, body=BODY)
            assert answer.status == status


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ((), 401, "has named no user"),
        ((f"{USER}:",), 401, "has named no user"),
        ((f"{USER}: \u3000",), 401, "has named no user"),
        ((f"{USER}:", f"{USER.lower()}:"), 401, "has named no user"),
        ((ANN, BOB), 400, "one line"),
        ((ANN, f"{USER}:"), 400, "one line"),
        ((f"{USER}: {'x' * 257}",), 400, "256 characters"),
        ((f"{USER}: {'王' * 257}",), 400, "256 characters"),
        ((f"{USER}: a\u0085b",), 400, "control"),
        ((f"{USER}: a\u2028b",), 400, "control"),
    ],
)
async def test_what_is_no_users_name(
    headers: tuple[str, ...], status: int, words: str
) -> None:
    async with inside(NAMED) as chat:
        assert words in refused(await post(chat, *headers), status)
        assert not chat.replies.known


async def test_a_name_may_be_long_and_must_be_utf_8() -> None:
    async with inside(NAMED) as chat:
        assert (await post(chat, f"{USER}: {'王' * 256}")).status == 200
        answer = await sent(chat, b"X-Forwarded-User: \xff", path=b"/")
        assert "must be UTF-8" in refused(answer, 400)


async def test_a_user_that_no_trusted_proxy_names_is_nobody() -> None:
    async with inside(STRANGE) as chat:
        for headers in ((ANN,), ()):
            words = refused(await post(chat, *headers), 401)
            assert "from a proxy" in words
        assert not chat.replies.known


@pytest.mark.parametrize("path", ["/", "/api/chat/x", "/v1/models", "/ws/chat"])
async def test_every_address_wants_a_user(path: str) -> None:
    async with inside(NAMED) as chat:
        answer = await chat.raw(f"GET {path}")
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"]
        assert (await chat.raw(f"GET {path}", ANN)).status != 401
        for public in ("/healthz", "/readyz", "/metrics"):
            assert (await chat.raw(f"GET {public}")).status == 200


async def test_a_stranger_who_names_a_user_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with inside(STRANGE) as chat:
        for _ in range(2):
            await post(chat, ANN)
    [record] = said(caplog)
    assert record.levelno == logging.WARNING
    assert f"{USER} came from 127.0.0.1" in record.getMessage()
    assert "ann" not in record.getMessage()


KEPT = web.RequestKey("kept", str)


@web.middleware
async def keeping(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What an own function keeps with a request is there for the application around."""
    response = await handler(request)
    assert request[KEPT] == "kept"
    return response


class Login:
    """An application's own function, which takes whoever the header names, else eve."""

    def __init__(self) -> None:
        self.seen: list[str | None] = []

    async def __call__(self, request: web.Request) -> str | None:
        self.seen.append(request.headers.get(USER))
        request[KEPT] = "kept"
        return request.headers.get("X-Name", "eve")


async def test_backends_and_an_own_function_see_the_header_of_a_proxy_alone() -> None:
    for settings, name in ((NAMED, "ann"), (STRANGE, None)):
        asked, login = Asked(), Login()
        settings = replace(settings, context_headers=(f"{USER.lower()},X-Tenant",))
        async with inside(settings, backend=asked, authorize=login) as chat:
            answer = await post(chat, ANN, BOB, "X-Tenant: Zoë", "X-Name: Zoë")
            assert answer.status == 200
            ws_url, headers = f"{chat.url}/ws/chat", {USER: "ann"}
            async with chat.session.ws_connect(ws_url, headers=headers) as ws:
                await ws.send_json({"message": "a"})
                await ws.receive(10)
        assert login.seen == [name, name]
        first, second = asked.contexts
        assert (first.user, first.headers["X-Tenant"]) == ("Zoë", "Zoë")
        assert second.user == "eve"
        hidden = [context.headers.get(USER.lower()) for context in asked.contexts]
        assert hidden == (["ann, bob", "ann"] if name else [None, None])


async def test_a_header_that_is_not_utf_8_beside_a_forged_one_does_no_harm() -> None:
    login, theirs = Login(), web.Application(middlewares=[keeping])
    async with inside(STRANGE, theirs, authorize=login) as chat:
        answer = await sent(chat, b"X-Forwarded-User: \xff", b"X-Odd: \xfe")
        assert answer.status == 200
    assert login.seen == [None]


def test_without_a_proxy_no_header_names_users() -> None:
    with pytest.raises(BadSetting, match="--user-header needs a --trusted-proxy"):
        create_app(Settings(user_header=USER))
    with pytest.raises(BadSetting, match="--user-header takes the name of a header"):
        read_settings(Settings, {"user_header": "X User"}, {})


async def test_the_command_refuses_it_in_one_line() -> None:
    process = await launch("--host", "0.0.0.0", "--port", "0", "--user-header", USER)
    out, errors = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert errors.startswith(b"chatsvc: --user-header needs a --trusted-proxy")
    assert errors.count(b"\n") == 1


@pytest.mark.parametrize(
    "settings",
    [
        replace(NAMED, host=("0.0.0.0",)),
        Settings(host=("0.0.0.0",), authorize="a:b"),
    ],
)
def test_a_service_with_users_may_be_reached_and_is_not_open(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    check_reach(settings)
    warn_if_open(settings)
    assert not caplog.records
    assert not has_metrics(settings)
    for name in ("--user-header", "--authorize"):
        with pytest.raises(BadSetting, match=name):
            check_reach(Settings(host=("0.0.0.0",)))
