"""Who can reach the command, and where its metrics stand (PROTOCOL.md section 8)."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import hdrs

from chatsvc.settings import BadSetting, Settings
from chatsvc.web.reach import check_reach, has_metrics, is_loopback

from .running import COMMAND, Child, child, launch, said

pytestmark = pytest.mark.any_store

EVERYWHERE = "0.0.0.0"
HELD = "the event loop was held"
"""What is logged as well where the machine is busy."""


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("127.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        (EVERYWHERE, False),
        ("0", False),
        ("", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("fe80::1%lo", False),
        ("no-such-name.invalid", True),  # nothing can listen there
        ("a..b", True),
        ("x" * 300, True),
    ],
)
def test_an_address_is_this_machines_alone_or_not(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone


def test_a_name_that_stands_for_another_address_as_well_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def both(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (each, 0)) for each in ("127.0.0.1", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    assert not is_loopback("both.example")


@pytest.mark.parametrize("host", [EVERYWHERE, "", "::", "10.0.0.1"])
def test_without_users_the_service_is_not_open_by_accident(host: str) -> None:
    with pytest.raises(BadSetting) as refused:
        check_reach(Settings(host=(host,)))
    for way in ("127.0.0.1", "proxy", "authorize", "--open"):
        assert way in str(refused.value)
    check_reach(Settings(host=(host,), open=True))


def test_one_address_that_others_reach_is_enough() -> None:
    with pytest.raises(BadSetting, match=r"^--host 10\.0\.0\.1 can be reached"):
        check_reach(Settings(host=("127.0.0.1", "10.0.0.1", "::1")))
    check_reach(Settings(host=("127.0.0.1", "::1")))
    check_reach(Settings(uds="/run/x"))
    assert has_metrics(Settings(uds="/run/x"))
    assert not has_metrics(Settings(host=("127.0.0.1", "10.0.0.1"), open=True))


def test_metrics_stand_on_the_main_port_where_nobody_else_reaches_it() -> None:
    assert has_metrics(Settings())
    assert not has_metrics(Settings(host=(EVERYWHERE,), open=True))
    assert not has_metrics(Settings(admin_port=("127.0.0.1", 0)))


@pytest.mark.parametrize("workers", [(), ("--workers", "2", "--store", "redis://x")])
@pytest.mark.parametrize("by", ["flag", "variable"])
@pytest.mark.sampled
async def test_the_command_refuses_and_names_the_ways_in(
    workers: tuple[str, ...], by: str
) -> None:
    flags = ("--host", EVERYWHERE) if by == "flag" else ()
    environment = {} if by == "flag" else {"CHATSVC_HOST": EVERYWHERE}
    process = await launch("--port", "0", *flags, *workers, **environment)
    out, errors = await asyncio.wait_for(process.communicate(), 20)
    (line,) = errors.decode().splitlines()
    assert line.startswith(f"chatsvc: --host {EVERYWHERE} ")
    assert "--open" in line
    assert (process.returncode, out) == (2, b"")


@asynccontextmanager
async def everywhere(*flags: str) -> AsyncIterator[Child]:
    """The command on all addresses, asked on the loopback."""
    process = await launch("--port", "0", "--host", EVERYWHERE, "--open", *flags)
    try:
        assert process.stdout is not None
        line = await said(process)
        async with aiohttp.ClientSession() as session:
            yield Child(process, int(line.rpartition(":")[2]), session)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_service_that_is_open_says_so_and_keeps_its_figures() -> None:
    async with everywhere("--log-format", "json") as chat:
        assert (await chat.raw("GET /healthz")).status == 200
        hidden = await chat.raw("GET /metrics")
        unknown = await chat.raw("GET /nowhere")
        assert (hidden.status, hidden.body) == (404, unknown.body)
        await chat.terminate()
        status, errors = await chat.ended()
    assert status == 0
    lines = [json.loads(line) for line in errors.splitlines()]
    [warning] = [
        line for line in lines if line["level"] == "warning" and line["message"] != HELD
    ]
    assert "open" in warning["message"]
    assert EVERYWHERE in warning["message"]


async def test_on_the_loopback_nothing_is_open_and_nothing_is_said() -> None:
    async with child("--open") as chat:
        assert (await chat.raw("GET /metrics")).status == 200
        await chat.terminate()
        _, errors = await chat.ended()
    assert "is open" not in errors


async def admin_of(chat: Child) -> str:
    """The URL of the admin port's metrics, as the second line of the command says it."""
    assert chat.process.stdout is not None
    line = await said(chat.process)
    words = "its metrics are on "
    assert line.startswith(words)
    return line.removeprefix(words).strip()


@pytest.mark.parametrize("host", ["", "127.0.0.1:", "localhost:", "0.0.0.0:"])
@pytest.mark.sampled
async def test_the_admin_port_has_the_metrics_and_nothing_else(host: str) -> None:
    async with child("--admin-port", f"{host}0", "--pace", "0") as chat:
        url = await admin_of(chat)
        assert url.startswith(f"http://{'0.0.0.0' if '0.0' in host[:3] else '127.'}")
        url = url.replace(EVERYWHERE, "127.0.0.1")
        await chat.json("POST", "/api/chat", "x")
        async with chat.session.get(url) as answer:
            assert answer.status == 200
            assert "chatsvc_replies_started_total 1.0" in await answer.text()
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert (await chat.raw("GET /metrics")).status == 404
        root = url.removesuffix("/metrics")
        for path in ("/", "/api/chat", "/healthz", "/ws/chat", "/static/x/y"):
            async with chat.session.get(root + path) as answer:
                assert answer.status == 404, path
                assert (await answer.json())["type"] == "/problems/not-found"
        async with chat.session.post(url) as answer:
            assert answer.status == 405
            assert answer.headers[hdrs.ALLOW] == "GET, HEAD"
        async with chat.session.get(chat.url + "/readyz") as answer:
            assert answer.status == 200


async def test_the_admin_port_answers_to_the_end_of_the_drain() -> None:
    async with child("--admin-port", "0", "--pace", "0.02", "--drain", "60") as chat:
        url = await admin_of(chat)
        body = json.dumps({"message": "x" * 5000}).encode()
        reader, writer = await chat.connect("POST /api/chat", body=body)
        await reader.readuntil(b"data: x")
        await chat.terminate()
        while (await chat.raw("GET /readyz")).status != 503:
            pass
        async with chat.session.get(url) as answer:
            assert "chatsvc_replies_running 1.0" in await answer.text()
        await chat.terminate()
        await chat.ended()
        writer.close()


@pytest.mark.parametrize("workers", [(), ("--workers", "2", "--store", "redis://x")])
async def test_an_admin_port_that_is_taken_is_said_in_one_line(
    workers: tuple[str, ...],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await launch("--port", "0", "--admin-port", str(port), *workers)
        out, errors = await asyncio.wait_for(process.communicate(), 20)
    (line,) = errors.decode().splitlines()
    assert f"127.0.0.1:{port}" in line
    assert (process.returncode, out) == (1, b"")


async def test_a_host_that_is_no_name_is_said_in_one_line() -> None:
    for flags in (("--host", "a..b"), ("--admin-port", "a..b:0")):
        process = await launch("--port", "0", *flags, command=COMMAND)
        out, errors = await asyncio.wait_for(process.communicate(), 20)
        (line,) = errors.decode().splitlines()
        assert "can't listen on a..b:0" in line
        assert (process.returncode, out) == (1, b"")
