"""Replies at the limits: each has a clear end, takes memory in proportion, and gives it back."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from .conftest import Cluster
from .large_replies import (
    CALLS,
    ENDLESS_PIECE_BYTES,
    IMAGE_BYTES,
    MARKS,
    MAX_PARTS,
    REASONING_BYTES,
    SMALL,
)
from .nodes import Node

WAIT = 300.0  # seconds: for what must happen, however slow the machine
ROUNDS = 4
"""How often a reply is written that takes more than `SLACK`; a smaller one is written once, for what
is left of it can't be told from that."""

MIB = 1024 * 1024

PARTS = {"view": "parts"}

MOST_PER_BYTE = 24
"""The bytes of memory that a reply may take on a node for each byte of its JSON, while three read it:
a mark of 54 bytes of JSON is some objects of Python."""

SLACK = 8 * MIB
"""Bytes that a node may take besides, whatever the reply: buffers, and memory in pieces."""


def memory(node: Node, line: str) -> int:
    """The bytes that a node has now (`VmRSS`), or had at most (`VmHWM`)."""
    status = Path(f"/proc/{node.pid}/status").read_text()
    return int(status.partition(f"{line}:")[2].split()[0]) * 1024


def begin_peak(node: Node) -> None:
    """Let the most that a node has had be what it has now."""
    Path(f"/proc/{node.pid}/clear_refs").write_text("5")


async def streamed(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """Read a stream of parts, and keep its last event but `[DONE]` alone."""
    tail = b""
    async for data in response.content.iter_chunked(1 << 16):
        tail = (tail + data)[-4096:]
    lines = [line for line in tail.splitlines() if line.startswith(b"data: ")]
    assert lines[-1] == b"data: [DONE]"
    end: dict[str, Any] = json.loads(lines[-2].removeprefix(b"data: "))
    return end


async def read_by_three(
    session: aiohttp.ClientSession, nodes: list[Node], name: str
) -> tuple[dict[str, Any], int]:
    """Have a reply written and read: where it is written, on the other node, and as a whole there.

    Returns its whole JSON and the bytes of that, when no node has the reply any more.
    """
    # Who asks with the same key attaches to the same reply.
    asking: dict[str, Any] = {"json": {"message": name}}
    key = {"Idempotency-Key": secrets.token_hex(16)}
    asked, other = (node.url / "api/chat" % PARTS for node in (nodes[0], nodes[-1]))

    async def read_elsewhere(place: str) -> dict[str, Any]:
        sse = {"Accept": "text/event-stream"}
        async with session.get(nodes[-1].url / place % PARTS, headers=sse) as response:
            return await streamed(response)

    async def read_whole() -> bytes:
        headers = {**key, "Accept": "application/json"}
        async with session.post(other, headers=headers, **asking) as response:
            return await response.read()

    async with (
        asyncio.timeout(WAIT),
        session.post(asked, headers=key, **asking) as response,
    ):
        place = f"api/chat/{response.headers['X-Reply-Id']}"
        end, end_elsewhere, data = await asyncio.gather(
            streamed(response), read_elsewhere(place), read_whole()
        )
    whole = json.loads(data)
    assert whole["reply"] == place.rpartition("/")[2]
    assert end == end_elsewhere
    assert end["type"] == "end"
    assert all(end[member] == whole[member] for member in ("state", "finish_reason"))
    async with asyncio.timeout(WAIT):
        for node in nodes:
            status = 0
            while status != 410:
                await asyncio.sleep(0.1)
                async with session.get(node.url / place) as answer:
                    status = answer.status
    return whole, len(data)


def check(name: str, whole: dict[str, Any]) -> None:
    """Check that a reply is what its name says, and ends so."""
    parts = whole["parts"]
    reason = "length" if name == "endless" else "stop"
    assert (whole["state"], whole["finish_reason"]) == ("done", reason)
    match name:
        case "calls":
            assert [len(part["text"]) for part in parts] == [64 * 64] * CALLS
            assert not any("open" in part for part in parts)
        case "reasoning":
            assert [len(part["text"]) for part in parts] == [REASONING_BYTES]
        case "marks":
            assert [part["value"] for part in parts] == list(range(MARKS))
        case "endless":
            [part] = parts
            assert part["open"]
            assert 0 <= MAX_PARTS - len(part["text"]) < ENDLESS_PIECE_BYTES
        case "image":
            [part] = parts
            assert len(part["url"]) > IMAGE_BYTES


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["calls", "reasoning", "image", "endless", "marks"])
@pytest.mark.parametrize("store", ["memory", "redis"])
async def test_a_large_reply_ends_and_gives_its_memory_back(
    cluster: Cluster, session: aiohttp.ClientSession, store: str, name: str
) -> None:
    nodes = await cluster(
        2 if store == "redis" else 1,
        *("--backend", "tests.cluster.large_replies:answer", "--keep", "1"),
        *("--max-parts", f"{MAX_PARTS}"),
        store="memory" if store == "memory" else "",
    )
    await read_by_three(session, nodes, "small")  # what is made once is made by now
    before = [memory(node, "VmRSS") for node in nodes]
    grown: list[list[int]] = []
    for _ in range(1 if name in SMALL else ROUNDS):
        for node in nodes:
            begin_peak(node)
        whole, size = await read_by_three(session, nodes, name)
        check(name, whole)
        del whole
        grown.append(
            [memory(n, "VmHWM") - b for n, b in zip(nodes, before, strict=True)]
        )
    print(store, name, size, grown)
    for first, *later in zip(*grown, strict=True):
        assert first <= MOST_PER_BYTE * size + SLACK
        # What isn't given back comes on top of the next.
        assert max(later, default=0) <= first + first // 2 + SLACK
