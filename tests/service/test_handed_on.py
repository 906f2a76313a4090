"""A reply that moves between workers and nodes of the command: its lines and its count, over a real Redis."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest

from ..redis_server import RedisServer
from .running import Child, child
from .test_workers import figures, pids

pytestmark = pytest.mark.any_store

TEXT = "x" * 60
BODY = json.dumps({"message": TEXT}).encode()
FLAGS = ("--log-format", "json", "--pace", "0.05", "--drain", "0")


async def begin(chat: Child) -> tuple[str, asyncio.StreamReader]:
    """A reply of which something has come, and its stream."""
    reader, _ = await chat.connect("POST /api/chat", body=BODY)
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readuntil(b"data: x")
    return head.decode().partition("X-Reply-Id: ")[2][:22], reader


def told(logs: Iterable[str], reply: str) -> list[dict[str, Any]]:
    """The lines of some logs about what became of a reply, in the order of their times."""
    lines = [json.loads(line) for log in logs for line in log.splitlines()]
    ours = [line for line in lines if line["logger"] == "chatsvc.events"]
    return sorted(
        (line for line in ours if line["reply"] == reply[:6]),
        key=lambda line: line["time"],
    )


async def test_a_node_that_goes_says_where_the_reply_ends(
    redis_server: RedisServer,
) -> None:
    store = ("--store", redis_server.database(7), "--store-prefix", "handed")
    async with child(*FLAGS, *store) as giver, child(*FLAGS, *store) as taker:
        reply, _ = await begin(giver)
        await giver.terminate()
        _, first = await giver.ended()
        whole = await taker.raw(f"GET /api/chat/{reply}", "Accept: text/plain")
        assert whole.body.decode() == TEXT
        counted = await figures(f"http://{taker.host}:{taker.port}/metrics")
        assert counted["chatsvc_characters_total"] == len(TEXT)
        assert counted["chatsvc_replies_started_total"] == 0
        await taker.terminate()
        _, second = await taker.ended()
    lines = told([first, second], reply)
    assert [line["message"] for line in lines] == [
        "reply handed on",
        "reply taken over",
        "reply ended",
    ]
    assert (lines[2]["state"], lines[2]["code_points"]) == ("done", len(TEXT))


async def test_a_node_that_was_paused_names_its_successor_and_counts_nothing(
    redis_server: RedisServer,
) -> None:
    store = ("--store", redis_server.database(7), "--store-prefix", "paused")
    async with child(*FLAGS, *store) as giver, child(*FLAGS, *store) as taker:
        reply, _ = await begin(giver)
        os.kill(giver.process.pid, signal.SIGSTOP)
        try:
            whole = await taker.raw(f"GET /api/chat/{reply}", "Accept: text/plain")
        finally:
            os.kill(giver.process.pid, signal.SIGCONT)
        assert whole.body.decode() == TEXT
        sums = [0.0, 0.0]
        for chat in giver, taker:
            url = f"http://{chat.host}:{chat.port}/metrics"
            async with asyncio.timeout(20):  # the one that wakes finds out in a moment
                while (found := await figures(url))["chatsvc_replies_running"]:
                    await asyncio.sleep(0)
            sums[0] += found["chatsvc_characters_total"]
            sums[1] += found["chatsvc_replies_started_total"]
        assert sums == [len(TEXT), 1]
        logs = []
        for chat in giver, taker:
            await chat.terminate()
            logs.append((await chat.ended())[1])
    lines = {line["message"]: line for line in told(logs, reply)}
    assert len(told(logs, reply)) == 3
    assert set(lines) == {"reply handed on", "reply taken over", "reply ended"}
    assert lines["reply handed on"]["to"] == lines["reply taken over"]["node"]


async def test_a_worker_that_dies_leaves_one_end(redis_server: RedisServer) -> None:
    store = ("--store", redis_server.database(7), "--store-prefix", "killed")
    async with child(*FLAGS, *store, "--workers", "2") as chat:
        reply, _ = await begin(chat)
        os.kill(pids(chat)[0], signal.SIGKILL)
        async with asyncio.timeout(60):
            while True:
                with suppress(ConnectionError, IndexError, ValueError):  # just killed
                    whole = await chat.raw(
                        f"GET /api/chat/{reply}", "Accept: text/plain"
                    )
                    if whole.complete:
                        break
        assert whole.body.decode() == TEXT
        url = f"http://{chat.host}:{chat.port}/metrics"
        async with asyncio.timeout(20):
            while (found := await figures(url))["chatsvc_replies_running"]:
                await asyncio.sleep(0)
        assert found["chatsvc_characters_total"] == len(TEXT)
        await chat.terminate()
        _, errors = await chat.ended()
    messages = [line["message"] for line in told([errors], reply)]
    # It was with the worker that was killed, or with the other one.
    assert messages in (["reply taken over", "reply ended"], ["reply ended"])
