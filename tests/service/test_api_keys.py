"""API keys over the wire: who is let in, to what, and whose a reply is (PROTOCOL.md section 9)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import openai
import pytest
from aiohttp import web

from chatsvc.app import create_app
from chatsvc.settings import BadSetting, Settings
from chatsvc.users.keys import digest_of

from .api_keys import TOKENS, KeysFile, authorization, bearer
from .running import Answer, Inside, inside, parse
from .test_mounted import theirs
from .test_ui import turn

MESSAGE = json.dumps({"message": "ab"}).encode()
COMPLETION = json.dumps({"messages": [{"role": "user", "content": "ab"}]}).encode()
V1 = ("chatsvc.v1",)

DOORS = [
    ("POST /api/chat", MESSAGE),
    ("GET /api/chat?message=ab", b""),
    (f"GET /api/chat/{'A' * 22}", b""),
    (f"POST /api/chat/{'A' * 22}/stop", b""),
    ("POST /v1/chat/completions", COMPLETION),
    ("GET /v1/models", b""),
    ("POST /api/ui", turn("ab")),
    (f"GET /api/ui/{'a' * 16}/stream", b""),
    ("GET /ws/chat", b""),
    ("GET /", b""),
    ("GET /nowhere", b""),
]
"""Every address that is for users."""


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Inside]:
    """A service for the users of a file."""
    async with inside(KeysFile(tmp_path).settings(pace=0)) as chat:
        yield chat


def problem_of(answer: Answer) -> str:
    """The code of the problem that an answer is, in whatever shape."""
    body = json.loads(answer.body)
    code = body["error"]["code"] if "error" in body else body["type"]
    return str(code).removeprefix("/problems/")


@pytest.mark.parametrize(("line", "body"), DOORS)
@pytest.mark.any_store
async def test_nobody_is_let_in_without_a_key(
    keyed: Inside, line: str, body: bytes
) -> None:
    without = await keyed.raw(line, body=body)
    if line == "GET /":  # a person is led to the form for signing in
        assert (without.status, without.headers["Location"]) == (303, "login")
    else:
        assert (without.status, problem_of(without)) == (401, "unauthorized")
        assert without.headers["WWW-Authenticate"] == "Bearer"
    for sent in (
        "Bearer no-key-that-there-is",
        "Bearer",
        "Bearer ",
        f"Basic {TOKENS['alice']}",
        TOKENS["alice"],
        f"Bearer {digest_of(TOKENS['alice'])}",
        f"Bearer {TOKENS['alice']} x",
    ):
        wrong = await keyed.raw(line, f"Authorization: {sent}", body=body)
        assert (wrong.status, problem_of(wrong)) == (401, "unauthorized"), sent
        assert wrong.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    doubled = await keyed.raw(line, bearer("alice"), bearer("bob"), body=body)
    assert doubled.status == 401


@pytest.mark.any_store
async def test_a_token_that_is_no_text_is_none_that_is_known(keyed: Inside) -> None:
    reader, writer = await asyncio.open_connection(keyed.host, keyed.port)
    head = f"GET / HTTP/1.1\r\nHost: {keyed.host}\r\nConnection: close\r\n"
    writer.write(head.encode() + b"Authorization: Bearer \xff\xfe\r\n\r\n")
    answer = parse(await asyncio.wait_for(reader.read(), 10))
    assert (answer.status, problem_of(answer)) == (401, "unauthorized")
    writer.close()


@pytest.mark.parametrize(("line", "body"), DOORS)
@pytest.mark.any_store
async def test_a_key_lets_its_user_in_everywhere(
    keyed: Inside, line: str, body: bytes
) -> None:
    for scheme in ("Bearer", "bearer", "BEARER "):
        header = f"Authorization: {scheme} {TOKENS['alice']}"
        assert (await keyed.raw(line, header, body=body)).status not in (401, 403)


@pytest.mark.parametrize(("line", "body"), DOORS)
@pytest.mark.any_store
async def test_a_key_that_may_not_chat_is_told_so(
    keyed: Inside, line: str, body: bytes
) -> None:
    answer = await keyed.raw(line, bearer("operator"), body=body)
    assert (answer.status, problem_of(answer)) == (403, "forbidden")
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer error="insufficient_scope", scope="chat"'
    )


@pytest.mark.any_store
async def test_what_is_the_same_for_everybody_needs_no_key(keyed: Inside) -> None:
    for line in ("GET /healthz", "GET /readyz"):
        assert (await keyed.raw(line)).status == 200
    assert (await keyed.raw("GET /static/x/nothing")).status == 404
    page = (await keyed.raw("GET /", bearer("alice"))).body.decode()
    [module, *_] = [text for text in page.split('"') if text.endswith(".js")]
    assert (await keyed.raw(f"GET /{module}")).status == 200
    origin = f"Origin: {keyed.url}"
    assert (await keyed.raw("OPTIONS /api/chat", origin)).status == 204


@pytest.mark.any_store
async def test_a_mounted_application_shows_its_figures_to_admins(
    keyed: Inside,
) -> None:
    for headers, status in (
        ((), 401),
        ((bearer("alice"),), 403),
        ((bearer("operator"),), 200),
    ):
        assert (await keyed.raw("GET /metrics", *headers)).status == status
    async with inside() as chat:
        assert (await chat.raw("GET /metrics")).status == 200


@pytest.mark.any_store
async def test_keys_hold_below_a_prefix(tmp_path: Path) -> None:
    async with inside(KeysFile(tmp_path).settings(pace=0), app=theirs()) as chat:
        assert (await chat.raw("GET /")).body == b"theirs"
        assert (await chat.raw("POST /chat/api/chat", body=MESSAGE)).status == 401
        answer = await chat.raw("POST /chat/api/chat", bearer("bob"), body=MESSAGE)
        assert answer.status == 200
        assert (await chat.raw("GET /chat/healthz")).status == 200


@pytest.mark.any_store
async def test_a_browser_that_asks_for_a_page_gets_one(keyed: Inside) -> None:
    answer = await keyed.raw("GET /nowhere", "Accept: text/html")
    assert (answer.status, answer.headers["Content-Type"]) == (
        401,
        "text/html; charset=utf-8",
    )
    assert b"Who are you?" in answer.body


# ---------------------------------------------------------------------- whose a reply is


async def test_another_users_reply_is_not_there(keyed: Inside) -> None:
    reply = await keyed.start("abc", **authorization("alice"))
    second = await keyed.raw(f"GET /api/chat/{reply}", bearer("alices-second"))
    assert second.status == 200
    cursor = f"Last-Event-ID: {reply}:1"
    for line, *headers in (
        (f"GET /api/chat/{reply}",),
        (f"GET /api/chat/{reply}?after=1",),
        (f"GET /api/chat/{reply}?view=parts",),
        (f"GET /api/chat/{reply}", "Accept: application/json"),
        (f"GET /api/chat/{reply}?wait=0", "Accept: application/json"),
        (f"GET /api/chat/{reply}", "Accept: text/plain"),
        (f"GET /api/chat/{reply}", "Accept: application/x-ndjson"),
        (f"GET /api/chat/{reply}", "Accept: text/html"),
        ("GET /api/chat", cursor),
        ("POST /api/chat", cursor),
        (f"POST /api/chat/{reply}/stop",),
    ):
        other = await keyed.raw(line, bearer("bob"), *headers, body=MESSAGE)
        assert other.status == 404, (line, headers)
        if "text/html" not in str(headers):
            assert problem_of(other) == "reply-not-found"
    async with keyed.session.ws_connect(
        keyed.url + "/ws/chat", protocols=V1, headers=authorization("bob")
    ) as ws:
        for frame in ({"read": reply}, {"stop": reply}):
            await ws.send_json(frame)
            said = await ws.receive_json(timeout=5)
            assert said["data"]["type"] == "/problems/reply-not-found"


async def test_another_users_chat_and_its_messages_are_not_there(
    tmp_path: Path,
) -> None:
    chat_id = "a" * 16
    async with inside(KeysFile(tmp_path).settings(pace=0.01)) as chat:
        body = turn("x" * 5000, chat=chat_id)
        reader, writer = await chat.connect("POST /api/ui", bearer("alice"), body=body)
        head = (await reader.readuntil(b'"text-delta"')).decode()
        reply = head.partition("X-Reply-Id: ")[2][:22]
        stream = f"GET /api/ui/{chat_id}/stream"
        assert (await chat.raw(stream, bearer("bob"))).status == 204
        stop = f"POST /api/chat/{reply}/stop"
        assert (await chat.raw(stop, bearer("bob"))).status == 404
        # Of the same id, and yet another chat: nothing of alice's is stopped.
        body = turn("ab", chat=chat_id)
        assert (await chat.raw("POST /api/ui", bearer("bob"), body=body)).status == 200
        assert chat.opened[reply].end is None
        stopped = await chat.raw(stop, bearer("alices-second"))
        assert json.loads(stopped.body)["state"] == "stopped"
        writer.close()


async def test_an_idempotency_key_is_a_users_own(keyed: Inside) -> None:
    key = {"Idempotency-Key": "a-key-of-16-characters-and-more"}
    mine = await keyed.start("ab", **authorization("alice"), **key)
    assert mine == await keyed.start("ab", **authorization("alices-second"), **key)
    assert mine != await keyed.start("ab", **authorization("bob"), **key)


# ---------------------------------------------------------------------- clients


async def test_openais_client_sends_its_key(keyed: Inside) -> None:
    for name, raised in (
        ("alice", None),
        ("operator", openai.PermissionDeniedError),
        (None, openai.AuthenticationError),
    ):
        async with openai.AsyncOpenAI(
            base_url=f"{keyed.url}/v1",
            api_key="none" if name is None else TOKENS[name],
            max_retries=0,
        ) as client:
            asking = client.chat.completions.create(
                model="any", messages=[{"role": "user", "content": "ab"}]
            )
            if raised is None:
                assert (await asking).choices[0].message.content == "ab"
                continue
            with pytest.raises(raised) as refused:
                await asking
            assert isinstance(refused.value, openai.APIStatusError)
            assert refused.value.type in ("authentication_error", "permission_error")


async def test_a_websocket_is_let_in_by_the_header(keyed: Inside) -> None:
    url = keyed.url + "/ws/chat"
    for headers, status in (({}, 401), (authorization("operator"), 403)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await keyed.session.ws_connect(url, headers=headers)
        assert refused.value.status == status
    async with keyed.session.ws_connect(url, headers=authorization("bob")) as ws:
        await ws.send_json({"message": "a"})
        assert await ws.receive_str(timeout=5) == "a"


# ---------------------------------------------------------------------- where keys come from


@pytest.mark.any_store
async def test_a_plain_key_has_a_user_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = ["a-plain-key-of-one", "a-plain-key-of-two"]
    settings = Settings(pace=0, api_keys=f" {tokens[0]}\n{tokens[1]}")
    async with inside(settings, access=True) as chat:
        replies = {}
        for token in tokens:
            header = {"Authorization": f"Bearer {token}"}
            replies[token] = await chat.start("ab", **header)
            user = f"key-{digest_of(token)[:8]}"
            await chat.replies.open(replies[token], user=user)
        header = {"Authorization": f"Bearer {tokens[1]}"}
        path = f"/api/chat/{replies[tokens[0]]}"
        assert (await chat.json("GET", path, **header))["status"] == 404
    assert "request" in caplog.text
    for token in tokens:
        assert token not in caplog.text
        assert digest_of(token)[:16] not in caplog.text
        assert token not in repr(settings)


@pytest.mark.any_store
async def test_the_applications_own_function_is_asked_beside_the_keys(
    tmp_path: Path,
) -> None:
    async def authorize(request: web.Request) -> str | None:
        return "carol" if request.query.get("who") == "carol" else None

    settings = KeysFile(tmp_path).settings(pace=0)
    async with inside(settings, authorize=authorize) as chat:
        carols = await chat.raw("POST /api/chat?who=carol", body=MESSAGE)
        assert carols.status == 200
        read = f"GET /api/chat/{carols.reply}"
        assert (await chat.raw(f"{read}?who=carol")).status == 200
        assert (await chat.raw(f"{read}?who=carol", bearer("bob"))).status == 404
        assert (await chat.raw(read)).status == 401


@pytest.mark.any_store
async def test_bad_keys_are_a_bad_setting(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="CHATSVC_API_KEYS takes keys of at least 16"):
        create_app(Settings(api_keys="short"))
    with pytest.raises(BadSetting, match="--api-keys-file /nowhere: can't read it"):
        create_app(Settings(api_keys_file="/nowhere"))


@pytest.mark.any_store
async def test_a_file_without_a_key_lets_nobody_in(tmp_path: Path) -> None:
    file = KeysFile(tmp_path)
    file.has()
    async with inside(file.settings()) as chat:
        assert (await chat.raw("GET /", bearer("alice"))).status == 401
