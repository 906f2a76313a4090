"""The password of Redis in a running service, and what a service says that Redis refuses (PROTOCOL.md section 8)."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import require
from tests.service.running import child, launch

from .limited import LimitedServer

PASSWORD = "a-secret"
"""That of the README's user."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedServer]:
    """A Redis with the README's user, and another password for everybody else."""
    require("redis-server", "redis-cli")
    server = LimitedServer(tmp_path_factory.mktemp("secrets"))
    server.start()
    yield server
    server.stop()


def command_lines(pid: int) -> str:
    """The command lines of a process and all its descendants, as any user of the machine reads them."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue  # it has ended
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    family = {pid}
    while more := {p for p, parent in parents.items() if parent in family} - family:
        family |= more
    lines = []
    for member in family:
        try:
            lines.append(Path(f"/proc/{member}/cmdline").read_text())
        except OSError:
            continue
    return "\n".join(lines)


@pytest.mark.sampled
@pytest.mark.parametrize("workers", ["2", "1"])
@pytest.mark.skipif(not os.path.exists("/proc/self/cmdline"), reason="no /proc")
async def test_with_a_file_no_command_line_and_no_log_has_the_password(
    workers: str, server: LimitedServer, tmp_path: Path
) -> None:
    file = tmp_path / "store"
    file.write_text(f"{server.url}\n")
    flags = ["--store-file", str(file), "--workers", workers, "--pace", "0"]
    async with child(*flags) as chat:
        assert (await chat.read(await chat.start("hi"))).status == 200
        html = {"headers": {"Accept": "text/html"}}
        reply = await chat.start("**hi**")
        async with chat.session.get(f"{chat.url}/api/chat/{reply}", **html) as page:  # type: ignore[arg-type]
            assert page.status == 200  # a process that renders runs now
        lines = command_lines(chat.process.pid)
        assert str(file) in lines
        assert PASSWORD not in lines
        server.allow("redis-cli ACL SETUSER chatsvc resetpass '>other'")
        with Redis(port=server.port) as admin:
            admin.client_kill_filter(_type="normal", skipme=True)
        try:
            async with asyncio.timeout(20):
                while (await chat.session.get(f"{chat.url}/readyz")).status == 200:
                    await asyncio.sleep(0.05)
        finally:
            server.allow(f"redis-cli ACL SETUSER chatsvc resetpass '>{PASSWORD}'")
        await chat.terminate()
        status, errors = await chat.ended()
    assert status == 0
    assert "invalid username-password" in errors
    assert PASSWORD not in errors


async def test_the_file_may_be_a_pipe_for_several_workers(
    server: LimitedServer,
) -> None:
    reading, writing = os.pipe()
    os.write(writing, server.url.encode())
    os.close(writing)
    os.set_inheritable(reading, True)
    shell = ("bash", "-c", f'exec "$0" "$@" < /dev/fd/{reading}')
    try:
        process = await asyncio.create_subprocess_exec(
            *shell,
            *("python", "-m", "chatsvc", "--port", "0", "--workers", "2"),
            *("--store-file", "/dev/stdin"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(reading,),
            env={**os.environ, "PATH": _path()},
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        assert line.startswith(b"chatsvc is running on")
        process.terminate()
        await process.communicate()
    finally:
        os.close(reading)


def _path() -> str:
    """The search path on which `python` is the one that runs the tests."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


WRONG: dict[str, tuple[str, str]] = {
    "right": ("redis://less:hunter2@{}", r"lacks the rights \+srandmember$"),
    "password": ("redis://chatsvc:hunter2@{}", "invalid username-password"),
    "no password": ("redis://{}", "Authentication required"),
    "database": ("redis://chatsvc:a-secret@{}/5", "select"),
    "prefix": ("redis://other:hunter2@{}", "no permissions"),
}
"""Addresses with what Redis does not take, and what is said."""


@pytest.mark.sampled
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_what_redis_refuses_is_in_the_last_line_and_the_status_is_2(
    workers: str, server: LimitedServer
) -> None:
    at = f"127.0.0.1:{server.port}"
    with Redis(port=server.port) as admin:
        for rules in ("less ~chatsvc:* +@all -srandmember", "other ~other:* +@all"):
            admin.execute_command("ACL", "SETUSER", *rules.split(), "on", ">hunter2")
        admin.config_set("requirepass", "topsecret")
        try:
            # Side by side: each tries for some seconds.
            async with asyncio.timeout(60):
                ends = await asyncio.gather(
                    *(
                        start_and_end(workers, address.format(at))
                        for address, _ in WRONG.values()
                    )
                )
        finally:
            admin.config_set("requirepass", "")
    for (what, (_, says)), (status, text) in zip(WRONG.items(), ends, strict=True):
        assert "hunter2" not in text and PASSWORD not in text, what
        assert "Traceback" not in text, what
        *_, line = text.splitlines()
        assert line.startswith("chatsvc: --store: "), what
        assert re.search(says, line), what
        assert status == 2, what


async def start_and_end(workers: str, address: str) -> tuple[int | None, str]:
    """Start a service that ends by itself; return its exit status and what it wrote to stderr."""
    process = await launch(
        *("--port", "0", "--workers", workers), CHATSVC_STORE=address
    )
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


async def test_services_with_another_prefix_share_nothing(
    server: LimitedServer,
) -> None:
    store = f"redis://127.0.0.1:{server.port}"
    with Redis(port=server.port) as admin:
        admin.flushall()
        key = {"Idempotency-Key": "the-same-for-both-of-them"}
        flags = ("--store", store, "--pace", "0", "--store-prefix")
        async with child(*flags, "one:a") as one, child(*flags, "two") as two:
            first = await one.start("hi", **key)
            assert await two.start("hi", **key) != first
            assert (await two.read(first)).status == 404
            assert (await one.read(first)).status == 200
            names = {bytes(name).decode() for name in admin.keys("*")}
    assert names
    assert all(name.startswith(("one:a:{0}:", "two:{0}:")) for name in names)
