"""A model's server whose answers end as the last message of a request says; it speaks OpenAI's chunks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..loopback import listening
from ..scripted_upstream import DONE, chunk, head

TEXT = "The quick brown fox jumps over the lazy dog, 你好 and back again.\n"
"""What each answer says first."""

PIECE = 5
"""Code points in a chunk, about as many as a token has."""

PAUSE_S = 0.5
"""Seconds for which the answer to `slow` waits before it says `TEXT` again."""

LONG = 20
"""How often the answer to `long` says `TEXT`."""

_PIECES = [TEXT[i : i + PIECE] for i in range(0, len(TEXT), PIECE)]
_CHUNKS = b"".join(map(chunk, _PIECES))
_FINISH = chunk(None, finish_reason="stop") + DONE
_REFUSAL = b'{"error": {"message": "no"}}'

ANSWERS: dict[str, list[bytes | float | None]] = {
    "whole": [head() + _CHUNKS, _FINISH],
    "slow": [head() + _CHUNKS, PAUSE_S, _CHUNKS + _FINISH],
    "long": [head() + _CHUNKS * LONG + _FINISH],
    "refused": [head("400 Bad Request", "application/json") + _REFUSAL],
    "overloaded": [head("503 Service Unavailable", "application/json") + _REFUSAL],
    "broken off": [head() + _CHUNKS],
    "silent": [head() + _CHUNKS, None],
    "unreadable": [head() + _CHUNKS + b"data: {{\n\n"],
    "reported": [head() + _CHUNKS + b'data: {"error": {"message": "no"}}\n\n'],
}
"""The answers by the message: bytes to send, seconds to wait, and None for silence."""


@asynccontextmanager
async def running() -> AsyncIterator[str]:
    """Run the server until the block ends; gives its URL, with the /v1."""
    async with listening(_answer) as port:
        yield f"http://127.0.0.1:{port}/v1"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        first = await reader.readuntil(b"\r\n\r\n")
        length = int(first.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        request = json.loads(await reader.readexactly(length))
        for part in ANSWERS[request["messages"][-1]["content"]]:
            if part is None:
                await reader.read()
            elif isinstance(part, float):
                await asyncio.sleep(part)
            else:
                writer.write(part)
                await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
