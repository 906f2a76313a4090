"""What a client gets that asks for nothing new: byte for byte what the version before parts gives it.

Both versions run as processes and play the same scripts of text, of which `ANSWER` makes as many as
there are messages. Only ids, times and dates may differ.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import aiohttp
import pytest

from tests.cluster.nodes import Node
from tests.conftest import THOROUGH
from tests.redis_server import RedisServer

SCRIPTS = 300 if THOROUGH else 30
"""How many scripts are played; with the store in Redis a fifth of them, for it makes none of the bytes."""

AT_ONCE = 8
SAME_HEADERS = (b"Content-Type", b"Transfer-Encoding", b"X-Accel-Buffering")
"""Others, as those for caches, have changed since."""

REASON = ',"reason":"broken"'
"""A member that failures have got since, in every view."""

ANSWER = """
import asyncio
from random import Random
FRAGMENTS = [
    "a", " ", "\\n", "\\r", "\\r\\n", "好", "e", "\\u0301", "👩", "\\u200d", "👧", "🇩", "🇪", "क्षि",
    "\\ud83d", "\\ude00", "\\0", "\\u2028", "x\\ud83d", "data: ", "[DONE]", "한글", "z" * 40,
]

async def answer(messages):
    chance = Random(messages[-1]["content"])
    for _ in range(chance.randrange(40)):
        yield "".join(chance.choices(FRAGMENTS, k=chance.randrange(5)))
        if chance.random() < 0.3:
            await asyncio.sleep(chance.choice([0, 0.001]))
    if chance.random() < 0.1:
        raise ValueError("secret")
"""


class Got(NamedTuple):
    """An answer, without what may differ: its status, `SAME_HEADERS`, body, and whether that was cut."""

    head: list[str]
    body: bytes
    cut: bool = False


class Client:
    """A client of one node, by HTTP and by one WebSocket of `chatsvc.v1` for all."""

    def __init__(self, node: Node, session: aiohttp.ClientSession) -> None:
        self.node = node
        self.session = session

    async def http(
        self, method: str, path: str, accept: str, message: str | None = None
    ) -> tuple[str, Got]:
        """Send a request; gives the reply's id and the answer."""
        body = b""
        json = None if message is None else {"message": message}
        headers = {"Accept": accept}
        url = f"{self.node.url}{path}"
        async with self.session.request(
            method, url, json=json, headers=headers
        ) as response:
            cut = False
            try:
                while chunk := await response.content.readany():
                    body += chunk
            except aiohttp.ClientPayloadError:
                cut = True
            reply = response.headers.get("X-Reply-Id", "")
            head = [f"{response.status}"]
            for name, value in response.raw_headers:
                if name in SAME_HEADERS:
                    head.append(f"{name.decode()}: {value.decode()}")
        body = re.sub(rb": t=\d+\n\n", b"", body).replace(REASON.encode(), b"")
        return reply, Got(
            head, body.replace(reply.encode(), b"R") if reply else body, cut
        )

    async def frames(self, frame: dict[str, object]) -> tuple[str, list[str]]:
        """Send a frame of `chatsvc.v1`; gives the reply's id and all frames of the answer."""
        found: list[str] = []
        async with self.session.ws_connect(
            self.node.url / "ws/chat", protocols=["chatsvc.v1"]
        ) as ws:
            await ws.send_json(frame)
            while not found or '"[DONE]"' not in found[-1] or ":end" not in found[-1]:
                found.append(await ws.receive_str(timeout=20))
        named = re.search(r'"id":"([\w-]{22}):', found[0])
        assert named is not None, found[0]
        return named[1], [
            each.replace(named[1], "R").replace(REASON, "") for each in found
        ]

    async def all_of(self, message: str) -> list[Got | list[str]]:
        """All that the node says to who asks, and then reads the reply again from somewhere."""
        chance = Random(message)
        sse, text = "text/event-stream", "text/plain"
        asked: Got | list[str]
        match chance.randrange(4):
            case 0:
                reply, asked = await self.http("POST", "api/chat", sse, message)
            case 1:
                reply, asked = await self.http("POST", "api/chat?ids=0", sse, message)
            case 2:
                reply, asked = await self.http("POST", "api/chat", text, message)
            case _:
                key = "k" * chance.randrange(1, 20) + message
                reply, asked = await self.frames({"message": message, "key": key})
        path = f"api/chat/{reply}"
        _, snapshot = await self.http("GET", path, "application/json")
        known = re.search(rb'"next":(\d+)', snapshot.body)
        assert known is not None, snapshot
        after = chance.choice([0, chance.randrange(int(known[1]) + 1)])
        found: list[Got | list[str]] = [asked]
        live = b""
        for accept, query in (
            (sse, ""),
            (sse, "ids=0&"),
            (text, ""),
        ):
            _, got = await self.http("GET", f"{path}?{query}after={after}", accept)
            found.append(got)
            live = live or got.body
        _, frames = await self.frames({"read": reply, "after": after})
        found.append(frames)
        if b"event: failed" not in live:  # its snapshot has a problem now
            found.append(
                snapshot._replace(body=snapshot.body.replace(reply.encode(), b"R"))
            )
        return found


@pytest.fixture
async def clients(
    store: str,
    old_root: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[list[Client]]:
    """A client of a node of the other version, and one of this."""
    (tmp_path / "thousand_scripts.py").write_text(ANSWER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    # There are more replies than one client may start.
    monkeypatch.setenv("CHATSVC_LIMITS", "off")
    flags = ("--backend", "thousand_scripts:answer", "--max-reply", "500")
    nodes = []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        for number in (5, 6):
            address = store
            if store == "redis":
                server: RedisServer = request.getfixturevalue("redis_server")
                address = server.database(number)
            nodes.append(Node(address, *flags))
        nodes[0].root = old_root
        try:
            await asyncio.gather(*(node.start() for node in nodes))
            yield [Client(node, session) for node in nodes]
        finally:
            await asyncio.gather(*(node.kill() for node in nodes))


async def test_a_client_that_asks_for_nothing_new_gets_the_same_bytes(
    clients: list[Client], store: str
) -> None:
    numbers = iter(range(SCRIPTS if store == "memory" else SCRIPTS // 5))
    ends = set[str]()

    async def compare() -> None:
        for number in numbers:
            old, new = await asyncio.gather(*(c.all_of(f"{number}") for c in clients))
            assert len(old) == len(new)
            for before, now in zip(old, new, strict=True):
                assert now == before, number
            ends.update(re.findall(r'finish_reason":"\w+|event: \w+', str(new)))

    await asyncio.gather(*(compare() for _ in range(AT_ONCE)))
    assert ends == {
        'finish_reason":"stop',
        'finish_reason":"length',
        "event: failed",
    }
