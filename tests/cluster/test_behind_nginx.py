"""The two nodes behind nginx that the README sets up."""

from __future__ import annotations

import asyncio
import secrets
import signal
from random import Random

import aiohttp
import pytest
from yarl import URL

from .nodes import Node, Received, read

pytestmark = pytest.mark.thorough

KEY = "Idempotency-Key"
WAIT = 60.0  # seconds: for what must happen, however slow the machine


async def busy(
    session: aiohttp.ClientSession, nodes: list[Node], what: str
) -> list[Node]:
    """The nodes where a metric whose name begins so is not 0."""
    found = []
    for node in nodes:
        async with session.get(node.url / "metrics") as answer:
            lines = (await answer.text()).splitlines()
        if any(float(line.split()[-1]) for line in lines if line.startswith(what)):
            found.append(node)
    return found


async def test_two_nodes_as_one(
    nodes: list[Node], balancer: URL, session: aiohttp.ClientSession
) -> None:
    """Started on one, read on both, stopped from the other; carried on when its node is killed."""

    async def start(message: str, key: str) -> str:
        while True:
            async with session.post(
                balancer / "api/chat" % {"wait": "0"},
                json={"message": message},
                headers={"Accept": "application/json", KEY: key},
            ) as answer:
                # So nginx answers over a connection that it doesn't know yet to be dead.
                if answer.status == 502:
                    continue
                assert answer.status == 200
                return str((await answer.json())["reply"])

    async def readers(reply: str) -> list[asyncio.Task[Received]]:
        """Two by events, two by WebSocket, on both nodes."""
        tasks = [
            asyncio.create_task(
                read([balancer], "", Random(n), reply=reply, transports=[transport])
            )
            for n in range(2)
            for transport in ("sse", "websocket")
        ]
        async with asyncio.timeout(WAIT):
            while len(await busy(session, nodes, "chatsvc_readers{")) < 2:
                await asyncio.sleep(0.02)
        return tasks

    endless = "x" * 10_000
    reply = await start(endless, secrets.token_hex(16))
    [owner] = await busy(session, nodes, "chatsvc_replies_running ")
    [other] = set(nodes) - {owner}
    reading = await readers(reply)
    async with session.post(other.url / "api/chat" / reply / "stop") as answer:
        stopped = await answer.json()
    for got in await asyncio.gather(*reading):
        assert (got.state, got.text) == ("stopped", endless[: stopped["next"]])
    async with asyncio.timeout(WAIT):
        while await busy(session, nodes, "chatsvc_replies_running "):
            await asyncio.sleep(0.02)

    message = "0123456789 👩‍👩‍👧" * 12
    key = secrets.token_hex(16)
    reply = await start(message, key)
    [owner] = await busy(session, nodes, "chatsvc_replies_running ")
    reading = await readers(reply)
    await owner.kill()
    # Whichever node is asked, and whether it is there or not: the key is known, and no second reply begins.
    assert {await start(message, key) for _ in range(4)} == {reply}
    for got in await asyncio.gather(*reading):
        assert (got.state, got.text) == ("done", message)


async def test_while_a_node_drains(
    nodes: list[Node], balancer: URL, session: aiohttp.ClientSession
) -> None:
    """nginx passes on what can be repeated; a POST is refused, and its client is asked to come again."""
    [draining, other] = nodes
    url = draining.url / "api/chat"
    text = {"Accept": "text/plain"}
    async with session.post(url, json={"message": "x" * 10_000}) as running:
        await running.content.readline()
        draining.send(signal.SIGTERM)
        await draining.ready(503)
        refused = None
        async with asyncio.timeout(WAIT):
            while refused is None:
                async with session.post(
                    balancer / "api/chat", json={"message": "a"}, headers=text
                ) as answer:
                    if answer.status == 503:
                        told = await answer.json(content_type=None)
                        refused = told["type"], answer.headers["Retry-After"]
        assert refused == ("/problems/draining", "1")
        for _ in range(4):
            async with session.get(
                balancer / "api/chat" % {"message": "a"}, headers=text
            ) as answer:
                assert (answer.status, await answer.text()) == (200, "a")
    assert not await busy(session, [other], 'chatsvc_refusals_total{code="')
