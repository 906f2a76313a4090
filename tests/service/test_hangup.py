"""The command with API keys: where it may listen, SIGHUP, workers (PROTOCOL.md sections 8, 9)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from chatsvc.settings import Settings
from chatsvc.web.reach import check_reach, has_metrics

from ..redis_server import RedisServer
from .api_keys import TOKENS, KeysFile, bearer
from .running import Child, child, eventually, launch, said
from .test_reach import EVERYWHERE, HELD, admin_of
from .test_workers import pids

pytestmark = pytest.mark.any_store

LONG = json.dumps({"message": "x" * 30_000}).encode()


async def status(chat: Child, name: str, path: str = "/") -> int:
    """The status with which a key is answered, over a connection of its own."""
    return (await chat.raw(f"GET {path}", bearer(name))).status


async def becomes(chat: Child, name: str, wanted: int, times: int = 1) -> None:
    """Wait until a key is answered by a status, so many times in a row."""
    async with asyncio.timeout(20):
        row = 0
        while row < times:
            with suppress(ConnectionError, IndexError, ValueError):  # none listens now
                row = row + 1 if await status(chat, name) == wanted else 0


async def logged(chat: Child, words: str) -> str:
    """The next line of the log that has some words."""
    assert chat.process.stderr is not None
    async with asyncio.timeout(20):
        while words not in (line := (await chat.process.stderr.readline()).decode()):
            assert line, f"the log ended without {words!r}"
    return line


async def test_a_hangup_has_the_file_read_again(tmp_path: Path) -> None:
    file = KeysFile(tmp_path, "alice")
    async with child("--api-keys-file", str(file.path)) as chat:
        await logged(chat, "API keys: 1, of users: 1")
        assert (await status(chat, "alice"), await status(chat, "bob")) == (200, 401)
        reader, _ = await chat.connect("POST /api/chat", bearer("alice"), body=LONG)
        await reader.readuntil(b"data: x")
        file.has("bob")
        chat.process.send_signal(signal.SIGHUP)
        assert b"[DONE]" not in await asyncio.wait_for(reader.read(), 20)
        assert (await status(chat, "alice"), await status(chat, "bob")) == (401, 200)
        await logged(chat, "API keys: 1, of users: 1")
        # A file that is broken changes nothing, and is said once.
        file.path.write_text("[key")
        chat.process.send_signal(signal.SIGHUP)
        line = await logged(chat, "ERROR")
        assert f"--api-keys-file {file.path}: it is not TOML at" in line
        assert await status(chat, "bob") == 200
        file.has()
        chat.process.send_signal(signal.SIGHUP)
        await logged(chat, "WARNING chatsvc there is no API key: nobody is let in")
        assert await status(chat, "bob") == 401
        await chat.terminate()
        ended, errors = await chat.ended()
        assert ended == 0
        for token in TOKENS.values():
            assert token not in errors


@asynccontextmanager
async def workers(redis_server: RedisServer, file: KeysFile) -> AsyncIterator[Child]:
    """Two workers with the keys of a file."""
    if not Path("/proc/self").exists():
        pytest.skip("there is no /proc")
    flags = ("--store", redis_server.database(3), "--workers", "2", "--drain", "0")
    async with child(*flags, "--api-keys-file", str(file.path)) as chat:
        yield chat


async def test_a_hangup_reaches_all_workers_and_those_that_are_still_to_come(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    file = KeysFile(tmp_path, "alice")
    async with workers(redis_server, file) as chat:
        assert await status(chat, "alice") == 200
        file.has("bob")
        chat.process.send_signal(signal.SIGHUP)
        await becomes(chat, "alice", 401, times=16)
        await becomes(chat, "bob", 200, times=16)
        file.path.write_text("[key")
        chat.process.send_signal(signal.SIGHUP)
        await logged(chat, "ERROR")
        # Workers that are started again have the keys that are good, not those of the broken file.
        old = pids(chat)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not set(old) & set(pids(chat)), 20)
        await becomes(chat, "bob", 200, times=4)
        assert await status(chat, "alice") == 401
        await chat.terminate()
        ended, errors = await chat.ended()
        assert ended == 0
        assert "ERROR" not in errors


async def test_a_hangup_while_workers_begin_or_end_kills_none(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    file = KeysFile(tmp_path, "alice")
    flags = ("--store", redis_server.database(3), "--workers", "2", "--drain", "0.1")
    process = await launch("--port", "0", *flags, "--api-keys-file", str(file.path))
    assert process.stdout is not None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    await eventually(lambda: children.exists() and children.read_text(), 20)
    listening = asyncio.create_task(process.stdout.readline())
    while not listening.done():
        process.send_signal(signal.SIGHUP)
        await asyncio.wait([listening], timeout=0.01)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGHUP)
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, errors
    assert b"a worker ended" not in errors


@pytest.mark.parametrize("workers", [(), ("--workers", "2", "--store", "redis://x")])
@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("short", "CHATSVC_API_KEYS takes keys of at least 16 visible ASCII"),
        ("", "--api-keys-file /nowhere: can't read it"),
    ],
)
@pytest.mark.sampled
async def test_bad_keys_are_said_in_one_line(
    workers: tuple[str, ...], keys: str, said: str
) -> None:
    flags = () if keys else ("--api-keys-file", "/nowhere")
    process = await launch("--port", "0", *flags, *workers, CHATSVC_API_KEYS=keys)
    out, errors = await asyncio.wait_for(process.communicate(), 20)
    (line,) = errors.decode().splitlines()
    assert line.startswith(f"chatsvc: {said}")
    assert (process.returncode, out) == (2, b"")


# ---------------------------------------------------------------------- reach


def test_with_keys_the_service_may_be_reached_from_elsewhere() -> None:
    for settings in (
        Settings(host=(EVERYWHERE,), api_keys="x" * 16),
        Settings(host=(EVERYWHERE,), api_keys_file="keys.toml"),
    ):
        check_reach(settings)
        assert has_metrics(settings)


async def test_with_keys_nothing_is_open_and_admins_read_the_figures(
    tmp_path: Path,
) -> None:
    file = KeysFile(tmp_path)
    process = await launch(
        "--port", "0", "--host", EVERYWHERE, "--api-keys-file", str(file.path)
    )
    try:
        assert process.stdout is not None
        line = await said(process)
        async with aiohttp.ClientSession() as session:
            chat = Child(process, int(line.rpartition(":")[2]), session)
            assert (await chat.raw("GET /metrics")).status == 401
            assert await status(chat, "alice", "/metrics") == 403
            answer = await chat.raw("GET /metrics", bearer("operator"))
            assert b"chatsvc_build_info" in answer.body
            chat.close()
        process.terminate()
        _, errors = await asyncio.wait_for(process.communicate(), 20)
        warnings = [
            line
            for line in errors.decode().splitlines()
            if "WARNING" in line and HELD not in line
        ]
        assert not warnings
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_on_the_loopback_and_the_admin_port_the_figures_are_as_public_as_before(
    tmp_path: Path,
) -> None:
    file = KeysFile(tmp_path)
    async with child("--api-keys-file", str(file.path)) as chat:
        assert (await chat.raw("GET /metrics")).status == 200
    flags = ("--api-keys-file", str(file.path), "--admin-port", "0")
    async with child(*flags) as chat:
        url = await admin_of(chat)
        async with chat.session.get(url) as answer:
            assert answer.status == 200
        async with chat.session.get(url.replace("metrics", "api/chat")) as answer:
            assert answer.status == 404
        assert await status(chat, "operator", "/metrics") == 404


async def test_no_process_that_the_service_starts_gets_the_keys() -> None:
    program = (
        "import asyncio, os, sys\n"
        "from chatsvc import cli, serve\n"
        "def shown(settings, **rest):\n"
        "    print(os.environ.get('CHATSVC_API_KEYS'), settings.api_keys)\n"
        "serve.serve = shown\n"
        "sys.exit(cli.main(['serve']))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "CHATSVC_API_KEYS": "x" * 16},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    assert out.decode().split() == ["None", "x" * 16]
