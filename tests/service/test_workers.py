"""The figures of several workers: sums through any of them, whatever becomes of one (PROTOCOL.md section 8)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ..redis_server import RedisServer
from .running import Child, child, launch, said
from .test_reach import admin_of

pytestmark = pytest.mark.any_store

WORKERS = 3
STARTED = "chatsvc_replies_started_total"
RUNNING = "chatsvc_replies_running"
READERS = 'chatsvc_readers{transport="sse"}'


@asynccontextmanager
async def workers(redis_server: RedisServer, *flags: str) -> AsyncIterator[Child]:
    """A service of three workers."""
    if not Path("/proc/self").exists():
        pytest.skip("there is no /proc")
    fixed = ("--store", redis_server.database(3), "--workers", str(WORKERS))
    async with child(*fixed, "--drain", "0", *flags) as chat:
        yield chat


def pids(chat: Child) -> list[int]:
    """The workers that live."""
    parent = chat.process.pid
    words = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(word) for word in words]


async def figures(url: str) -> dict[str, float]:
    """A scrape over a connection of its own, so that any worker may get it."""
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(name, int(port))
        request = f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        data = (await reader.read()).decode()
        writer.close()
    head, _, body = data.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 "), head
    lines = (line for line in body.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines)}


async def all_see(url: str, name: str, value: float) -> None:
    """Check that many scrapes in a row, each by some worker, say the same."""
    assert {(await figures(url)).get(name) for _ in range(4 * WORKERS)} == {value}


async def begin(chat: Child, count: int) -> list[asyncio.StreamWriter]:
    """Start replies that go on, each over a connection of its own."""
    body = json.dumps({"message": "x" * 30_000}).encode()
    writers = []
    for _ in range(count):
        reader, writer = await chat.connect("POST /api/chat", body=body)
        await reader.readuntil(b"data: x")
        writers.append(writer)
    return writers


async def test_each_scrape_of_the_main_port_shows_the_sums_of_all(
    redis_server: RedisServer,
) -> None:
    async with workers(redis_server) as chat:
        for _ in range(2 * WORKERS):
            await chat.raw("POST /api/chat", body=b"{")
        writers = await begin(chat, 3 * WORKERS)
        url = chat.url + "/metrics"
        await all_see(url, STARTED, 3 * WORKERS)
        await all_see(url, RUNNING, 3 * WORKERS)
        await all_see(url, READERS, 3 * WORKERS)
        await all_see(url, 'chatsvc_refusals_total{code="bad-json"}', 2 * WORKERS)
        of_each = [f'process_open_fds{{worker="{n}"}}' for n in range(WORKERS)]
        assert set(of_each) <= set(await figures(url))
        for writer in writers:
            writer.close()


async def test_a_worker_that_dies_takes_its_state_along_and_no_count(
    redis_server: RedisServer,
) -> None:
    async with workers(redis_server, "--admin-port", "0") as chat:
        url = await admin_of(chat)
        await begin(chat, 3 * WORKERS)
        before = await figures(url)
        assert before[STARTED] == before[READERS] == 3 * WORKERS
        [*old] = pids(chat)
        os.kill(old[0], signal.SIGKILL)
        readers = before[READERS]
        async with asyncio.timeout(20):
            while True:
                now = await figures(url)  # the port is never closed
                assert now[STARTED] >= before[STARTED]
                assert now[READERS] <= readers
                readers = now[READERS]
                live = pids(chat)
                if old[0] not in live and len(live) == WORKERS:
                    starts = "process_start_time_seconds{"
                    if sum(name.startswith(starts) for name in now) == WORKERS:
                        break
        await chat.terminate()
        status, _ = await chat.ended()
        assert status == 0


@pytest.mark.thorough
async def test_a_worker_that_is_not_started_again_leaves_no_readers_behind(
    redis_server: RedisServer,
) -> None:
    async with workers(redis_server, "--admin-port", "0", "--drain", "60") as chat:
        url = await admin_of(chat)
        await begin(chat, 3 * WORKERS)
        *some, _ = pids(chat)
        await chat.terminate()  # all drain, and none is replaced
        for pid in some:
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while (now := await figures(url))[READERS] == 3 * WORKERS:
                pass
            while (now := await figures(url))[RUNNING] > now[READERS]:
                pass
        assert now[STARTED] == 3 * WORKERS
        await chat.terminate()  # at once
        await chat.ended()


@pytest.mark.thorough
async def test_while_a_worker_hangs_another_one_gives_the_figures_of_all(
    redis_server: RedisServer,
) -> None:
    async with workers(redis_server, "--admin-port", "0") as chat:
        url = await admin_of(chat)
        await begin(chat, 3 * WORKERS)
        hung = pids(chat)[0]
        os.kill(hung, signal.SIGSTOP)
        try:
            await all_see(url, STARTED, 3 * WORKERS)
        finally:
            os.kill(hung, signal.SIGCONT)


@pytest.mark.thorough
async def test_the_admin_port_is_no_other_services(redis_server: RedisServer) -> None:
    async with workers(redis_server, "--admin-port", "0") as chat:
        url = await admin_of(chat)
        port = url.removesuffix("/metrics").rpartition(":")[2]
        flags = ("--workers", "2", "--store", redis_server.database(3))
        another = await launch("--port", "0", "--admin-port", port, *flags)
        _, errors = await asyncio.wait_for(another.communicate(), 20)
        assert another.returncode == 1
        assert f"can't listen on 127.0.0.1:{port}" in errors.decode()


@pytest.mark.thorough
async def test_workers_that_are_open_say_so_once(redis_server: RedisServer) -> None:
    flags = ("--workers", "2", "--store", redis_server.database(3), "--drain", "0")
    process = await launch("--port", "0", "--host", "0.0.0.0", "--open", *flags)
    try:
        assert process.stdout is not None
        line = await said(process)
        chat = Child(process, int(line.rpartition(":")[2]), None)
        assert (await chat.raw("GET /metrics")).status == 404
        await chat.terminate()
        _, errors = await chat.ended()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    assert errors.count("WARNING chatsvc the service is open") == 1
