"""The table of appetites: attacks that hold as much of a node's memory as they can, for long.

Each is one round, as in `attacks`: large prompts, replies that nobody reads, readers that take
nothing, and requests of which the end never comes. They are for a node with a budget of memory
(`--max-memory`) and with a limit of running replies for each client.
"""

import asyncio
import json
from contextlib import suppress

from .attacks import EVENTS, JSON, Attack
from .model import PACED, SCRIPT
from .target import Target, read_for, send

STAY_S = 20.0
"""Seconds for which something is held."""
TEXT = "x" * 30_000
LARGE = json.dumps(
    {
        "messages": [{"role": "user", "content": TEXT}] * 14
        + [{"role": "user", "content": PACED + "y" * 2000}]
    }
).encode()
"""A body of 420 KB, whose reply goes on for longer than anybody stays."""
MANY = json.dumps(
    {
        "messages": [{"role": "user", "content": "hi"}] * 9000
        + [{"role": "user", "content": PACED + "y" * 2000}]
    }
).encode()
"""A body of as many bytes, whose messages take ten times as much as objects."""


async def _large_prompt(target: Target, number: int) -> None:
    body = MANY if number % 4 == 0 else LARGE
    await target.ask("POST /api/chat", EVENTS, body=body, stay=STAY_S)


async def _unread(target: Target, number: int) -> None:
    await target.ask("POST /api/chat?wait=0", JSON, body=LARGE, stay=0.2)


async def _hold(target: Target, data: bytes) -> None:
    """Send bytes and then nothing more, for as long as the node lets it be."""
    async with target.connected() as (reader, writer):
        with suppress(ConnectionError):
            await send(writer, [data])
        await read_for(reader, STAY_S)
    target.seen["held"] += 1


async def _head(target: Target, number: int) -> None:
    await _hold(
        target, target.head("GET /", *[f"X-{n}: {'z' * 7000}" for n in range(8)])[:-2]
    )


async def _trailers(target: Target, number: int) -> None:
    json_chunks = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"z" * 7000) for n in range(100))
    await _hold(target, target.head("POST /api/chat", *json_chunks) + b"0\r\n" + lines)


async def _body(target: Target, number: int) -> None:
    length = ("Content-Type: application/json", f"Content-Length: {len(LARGE)}")
    await _hold(target, target.head("POST /api/chat", *length) + LARGE[:-1])


async def _frame(target: Target, number: int) -> None:
    async with target.websocket() as (reader, writer):
        size = 1_000_000
        with suppress(ConnectionError):
            begin = b"\x81\xff" + size.to_bytes(8, "big") + bytes(4)
            await send(writer, [begin + b"x" * (size - 1)])
        await read_for(reader, STAY_S)


async def _takes_nothing(target: Target, number: int) -> None:
    """Start a long reply, and read nothing of it."""
    message = json.dumps({"message": SCRIPT + "flags"}).encode()
    async with target.connected(receive_buffer=2048) as (_, writer):
        headers = (EVENTS, "Content-Type: application/json")
        length = f"Content-Length: {len(message)}"
        writer.write(target.head("POST /api/chat", *headers, length) + message)
        await asyncio.sleep(STAY_S)
    target.seen["held"] += 1


APPETITES: dict[str, Attack] = {
    "large-prompts": Attack(_large_prompt, at_once=60),
    "unread-replies": Attack(_unread, at_once=2, every_s=0.5),
    "unfinished-heads": Attack(_head, at_once=60),
    "unfinished-trailers": Attack(_trailers, at_once=60, every_s=5.0),
    "unfinished-bodies": Attack(_body, at_once=30),
    "unfinished-frames": Attack(_frame, at_once=15),
    "slow-readers": Attack(_takes_nothing, at_once=20),
}
"""All appetites by their names."""
