"""What a version of chatsvc leaves in Redis, and what it answers from that, as JSON.

`python -m tests.stores.recording COMMIT > tests/stores/written_by_COMMIT.json` records a version of
the clone's history; `record` also records this one. A recording has

- `keys`: for each key in Redis its type, its value, and whether it expires;
- `replies`: the id of each reply, by the message that was asked;
- `answers`: for each of them that had ended, the whole snapshots of both views;
- `shared`: the token of the share link to the reply `done`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from redis.asyncio import Redis
from yarl import URL

from chatsvc import (
    BackendFailed,
    Data,
    Finish,
    Reasoning,
    Source,
    ToolCall,
    ToolResult,
    Usage,
)
from tests.cluster.nodes import Node
from tests.old_version import unpack
from tests.redis_server import RedisServer

Recording = dict[str, Any]

BACKEND = "tests.stores.recording:answer"
"""The name of `answer` for this version."""

KEY = "8f14e45f-ceea-467f-a8f0-7e5b1c2d3a4b"
"""The idempotency key of the reply `done`."""

ENDED = ("done", "failed", "stopped")
"""The messages whose replies have ended when the node is killed."""

CUT = ("complete", "running")
"""The messages whose replies have not: of the first, the text was complete."""

COMPLETE = "all of it " * 20
"""The text of the reply `complete`: most of it was not released yet."""

FLAGS = ("--pace", "0.05", "--drain", "0", "--grace", "600")


async def answer(messages: list[dict[str, Any]]) -> AsyncIterator[Any]:
    """The backend: what it says depends on the message."""
    said = messages[-1]["content"]
    if said == "done":
        yield Reasoning("Let me ")
        yield Reasoning("see.")
        yield "Hello 👨‍👩‍👧 e"
        yield Data("n", 1)
        yield "\u0301 "
        yield ToolCall("1", "f", '{"q":')
        yield ToolCall("1", "", '"x"}')
        yield ToolResult("1", {"celsius": 21})
        yield "wörld\r\n"
        yield Source("https://example.com/a", title="A")
        yield Finish("tool_calls", {"total_tokens": 3})
    elif said == "failed":
        yield "partly"
        raise BackendFailed("It is busy.", reason="busy")
    elif said == "complete":
        yield "all of it " * 20
    else:
        yield Usage({"total_tokens": 2})
        yield Reasoning("One ")
        yield "two three"
        await asyncio.Event().wait()


async def ask(node: Node, path: str, body: Any = None, **headers: str) -> Any:
    """Return the JSON that a node answers with: to a POST if there is a `body`, else to a GET."""
    headers |= {"Accept": "application/json"}
    method = "GET" if body is None else "POST"
    # Queries are written as they are to cross the wire.
    url = URL(f"{node.url}{path}", encoded=True)
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, json=body, headers=headers) as response,
    ):
        return await response.json(content_type=None)


async def begin(node: Node, message: str, **headers: str) -> str:
    """Start a reply, and return its id."""
    found = await ask(node, "api/chat?wait=0", {"message": message}, **headers)
    return str(found["reply"])


async def snapshots(node: Node, reply: str) -> dict[str, Any]:
    """Return the whole snapshots of a reply that has ended, in both views."""
    path = f"api/chat/{reply}?after=0&wait=0"
    return {
        "characters": await ask(node, path),
        "parts": await ask(node, f"{path}&view=parts"),
    }


async def record(root: Path, url: str, backend: str) -> Recording:
    """Return what the version whose code is in `root` leaves in the Redis at `url`, when it is killed.

    `backend` is the name of `answer` for that version.
    """
    node = Node(url, "--backend", backend, *FLAGS)
    node.root = root
    async with Redis.from_url(url, decode_responses=True) as client:
        await client.flushdb()
        await node.start()
        try:
            ids = {"done": await begin(node, "done", **{"Idempotency-Key": KEY})}
            for each in ("failed", "stopped", "running"):
                ids[each] = await begin(node, each)
            shared = await ask(node, f"api/chat/{ids['done']}/share", {})
            for each in ("stopped", "running"):
                await seen(node, ids[each], "two th")
            await ask(node, f"api/chat/{ids['stopped']}/stop", {})
            for each in ENDED:
                await ended(node, ids[each])
            answers = {each: await snapshots(node, ids[each]) for each in ENDED}
            # The last one: its text is released within half a second.
            ids["complete"] = await begin(node, "complete")
            while not await client.hexists(f"chatsvc:{{0}}:{ids['complete']}", "c"):
                await asyncio.sleep(0.001)
        finally:
            await node.kill()
        keys = {
            key: await dumped(client, key) for key in sorted(await client.keys("*"))
        }
    found = {"keys": keys, "replies": ids, "answers": answers}
    return found | {"shared": shared["token"]}


async def seen(node: Node, reply: str, text: str) -> None:
    """Wait until a reply's text has what is looked for."""
    async with asyncio.timeout(60):
        while text not in (await ask(node, f"api/chat/{reply}?after=0&wait=0"))["text"]:
            await asyncio.sleep(0.05)


async def ended(node: Node, reply: str) -> Any:
    """Wait for a reply's end, and return its last snapshot of the text."""
    async with asyncio.timeout(60):
        while True:
            found = await ask(node, f"api/chat/{reply}?after=0&wait=0")
            if found["state"] != "running":
                return found
            await asyncio.sleep(0.05)


async def dumped(client: Redis, key: bytes | str) -> dict[str, Any]:
    """Return what a key holds."""
    kind = await client.type(key)
    value: Any
    match kind:
        case "string":
            value = await client.get(key)
        case "hash":
            value = await client.hgetall(key)
        case "set":
            value = sorted(await client.smembers(key))
        case "zset":
            scores: Any = await client.zrange(key, 0, -1, withscores=True)
            value = dict(scores)
        case "stream":
            value = await client.xrange(key)
        case _:
            raise TypeError(kind)
    return {"type": kind, "value": value, "expires": await client.pttl(key) > 0}


async def load(client: Redis, recording: Recording) -> None:
    """Put the keys of a recording into an empty database; those that expire do so in an hour."""
    await client.flushdb()
    for key, held in recording["keys"].items():
        value = held["value"]
        match held["type"]:
            case "string":
                await client.set(key, value)
            case "hash":
                await client.hset(key, mapping=value)
            case "set":
                await client.sadd(key, *value)
            case "zset":
                await client.zadd(key, value)
            case "stream":
                for entry_id, fields in value:
                    await client.xadd(key, fields, id=entry_id)
        if held["expires"]:
            await client.expire(key, 3600)


def write_backend(root: Path) -> str:
    """Write `answer` into the folder of another version's code, and return its name there."""
    head = "import asyncio\nfrom typing import *\nfrom chatsvc import *\n\n"
    (root / "recorded_answers.py").write_text(head + inspect.getsource(answer))
    return "recorded_answers:answer"


async def _main(commit: str) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        unpack(root, commit)
        server = RedisServer(root)
        server.start()
        try:
            found = await record(root, server.url, write_backend(root))
        finally:
            server.stop()
    json.dump(found, sys.stdout, ensure_ascii=False, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
