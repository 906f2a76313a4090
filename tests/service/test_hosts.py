"""Hosts: a name that leads here is not answered unless it is known (PROTOCOL.md section 2)."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from chatsvc.app import create_app
from chatsvc.settings import BadSetting, Settings
from chatsvc.web.hosts import Hosts

from .running import Answer, Chat, child, inside, launch, parse, said

pytestmark = pytest.mark.any_store

BODY = b'{"message": "a"}'
FLAGS = ("--pace", "0", "--allow-host", "chat.example", "--allow-host", ".corp")
ALLOWING = Settings(pace=0, allow_host=("chat.example",))

ANSWERED = [
    *("127.0.0.1:{port}", "127.0.0.1", "127.1.2.3:1", "localhost:{port}", "LocalHost"),
    *("a.b.localhost", "localhost.", "[::1]:{port}", "[::ffff:127.0.0.1]"),
    *("0.0.0.0:{port}", "[::]:{port}"),  # they lead to the loopback
    *("chat.example", "CHAT.example:8443", "chat.example.", "corp", "a.b.corp:80"),
]
REFUSED = [
    *("evil.example", "evil.example:{port}", "192.0.2.1", "[2001:db8::1]:{port}"),
    *("localhost.evil.example", "evillocalhost", "127.0.0.1.evil.example"),
    *("chat.example.evil.example", "evilchat.example", "a.chat.example", "acorp"),
    *("", "a b", "u@localhost", "localhost,evil.example", "[::1", ":80", "*"),
    *("2130706433", "127.1", "0x7f.1", "\xff"),
]


async def ask(chat: Chat, line: str, *hosts: str, body: bytes = b"") -> Answer:
    """Send a request with these `Host` lines, and no others."""
    reader, writer = await asyncio.open_connection(chat.host, chat.port)
    try:
        lines = [f"{line} HTTP/1.{int(bool(hosts))}", "Connection: close"]
        lines += [f"Host: {host.format(port=chat.port)}" for host in hosts]
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return parse(await asyncio.wait_for(reader.read(), 20))
    finally:
        writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Chat]:
    """The command, which is asked by other names, too; each test connects to it by itself."""
    async with child(*FLAGS) as chat:
        yield chat


async def test_the_command_answers_these_hosts_and_no_other(served: Chat) -> None:
    for hosts, status in ((ANSWERED, 200), (REFUSED, 421)):
        for host in hosts:
            answer = await ask(served, "GET /api/chat?message=a", host)
            assert answer.status == status, host


@pytest.mark.parametrize(
    "line",
    [
        *("GET /", "POST /api/chat", "GET /ws/chat", "GET /metrics", "GET /nowhere"),
        *(
            "GET /static/x/main.js",
            "POST /api/ui",
            "OPTIONS /api/chat",
            "PUT /healthz/",
        ),
    ],
)
async def test_nothing_is_told_to_another_host(served: Chat, line: str) -> None:
    answer = await ask(served, line, "evil.example", body=BODY)
    assert answer.status == 421
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["type"] == "/problems/misdirected-request"
    assert "--allow-host evil.example" in problem["detail"]


async def test_openai_s_clients_read_it_as_their_own_error(served: Chat) -> None:
    answer = await ask(served, "GET /v1/models", "evil.example")
    assert answer.status == 421
    assert json.loads(answer.body)["error"]["code"] == "misdirected-request"


async def test_a_request_names_its_host_once_and_truly(served: Chat) -> None:
    assert (await ask(served, "GET /api/chat?message=a")).status == 421  # HTTP/1.0
    twice = await ask(served, "GET /", "localhost", "evil.example")
    assert twice.status in (400, 421)
    line = "GET http://evil.example/"
    assert (await ask(served, line, "localhost")).status == 421
    assert (await ask(served, "GET http://localhost/", "localhost")).status == 200
    assert (await ask(served, "GET http://[::1]:80/", "localhost")).status == 200


async def test_liveness_and_readiness_are_for_any_host(served: Chat) -> None:
    for path in ("/healthz", "/readyz"):
        for hosts in (("evil.example",), ("",), ()):
            assert (await ask(served, f"GET {path}", *hosts)).status == 200


async def test_any_host_where_that_is_wanted() -> None:
    async with child("--pace", "0", "--allow-host", "*") as chat:
        for hosts in (("evil.example",), ("a b",), ()):
            answer = await ask(chat, "GET /api/chat?message=a", *hosts)
            assert answer.status == 200


async def test_the_variable_has_several() -> None:
    async with child(CHATSVC_ALLOW_HOST="a.example, .b.example") as chat:
        for host in ("a.example", "c.b.example"):
            assert (await ask(chat, "GET /", host)).status == 200
        assert (await ask(chat, "GET /", "c.a.example")).status == 421


async def test_an_application_checks_hosts_only_where_it_has_any() -> None:
    async with inside(Settings(pace=0)) as chat:
        assert (await ask(chat, "GET /", "evil.example")).status == 200
    async with inside(ALLOWING) as chat:
        assert (await ask(chat, "GET /", "chat.example")).status == 200
        assert (await ask(chat, "GET /", "127.0.0.1")).status == 200
        assert (await ask(chat, "GET /", "evil.example")).status == 421
    async with inside(ALLOWING, app=web.Application()) as chat:
        assert (await ask(chat, "GET /chat/", "evil.example")).status == 421
        assert (await ask(chat, "GET /chat/readyz", "evil.example")).status == 200
        assert (await ask(chat, "GET /chat/chat/readyz", "evil.example")).status == 421


async def test_a_unix_socket_answers_any_host(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    runner = web.AppRunner(create_app(ALLOWING), access_log=None)
    await runner.setup()
    await web.UnixSite(runner, path).start()
    try:
        connector = aiohttp.UnixConnector(path)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("http://evil.example/") as answer,
        ):
            assert answer.status == 200
    finally:
        await runner.cleanup()


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_an_ipv6_socket() -> None:
    process = await launch("--port", "0", "--host", "::1", "--pace", "0")
    try:
        assert process.stdout is not None
        line = await said(process)
        async with aiohttp.ClientSession() as session:
            chat = Chat("::1", int(line.rpartition(":")[2]), session)
            assert (await ask(chat, "GET /", "[::1]:{port}")).status == 200
            assert (await ask(chat, "GET /", "evil.example")).status == 421
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize(
    ("host", "came_to", "answered"),
    [
        ("192.0.2.1:3000", "192.0.2.1", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.2", "192.0.2.1", False),
        ("[fe80::1]:3000", "fe80::1%eth0", True),
        ("[2001:DB8::0:1]", "2001:db8::1", True),
        ("[2001:db8::2]", "2001:db8::1", False),
        ("127.0.0.1", "192.0.2.1", True),
        ("0.0.0.0", "192.0.2.1", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", None, False),
        ("192.0.2.1", None, False),
        ("localhost", None, True),
    ],
)
def test_the_very_address_that_the_connection_came_to(
    host: str, came_to: str | None, answered: bool
) -> None:
    assert Hosts(()).answers(host, came_to) is answered


@pytest.mark.parametrize("host", ["", "a b", "chat.example:80", "*.example", "."])
def test_an_application_refuses_what_is_no_host(host: str) -> None:
    with pytest.raises(BadSetting, match="--allow-host"):
        create_app(Settings(allow_host=(host,)))
