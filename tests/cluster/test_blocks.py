"""The rendered blocks of a reply whose node is killed, read on another node and across both."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

from ..growing_markdown import Page, without_ends
from .conftest import Cluster
from .nodes import Node
from .test_nodes import start

TEXT = (
    "# Title\n\nSome **bold text** and `code`.\n\n- one\n- two *it*\n\n```py\nx = 1\n```\n\n"
    "| a | b |\n|---|---|\n| 1 | **x** |\n\nThe end, 你好。 " * 2
)


class Client:
    """A page that reads on from where it was, on whatever node."""

    def __init__(self, reply: str) -> None:
        self.reply = reply
        self.page = Page()
        self.after = "@0"
        self.text = ""
        self.state = ""

    async def read(
        self, session: aiohttp.ClientSession, node: Node, blocks: int = 1 << 30
    ) -> None:
        """Read to the end of the reply, or until there are so many blocks of it."""
        last = self.page.blocks[-1].start if self.page.blocks else 0
        query = {"view": "parts", "render": "html", "after": self.after}
        url = node.url / "api/chat" / self.reply
        async with session.get(url % {**query, "rendered": str(last)}) as stream:
            async for line in stream.content:
                if line.startswith(b"id: "):
                    self.after = line.decode().strip().rpartition(":")[2]
                elif line.startswith(b"data: {"):
                    self._take(json.loads(line[6:]))
                if self.state or len(self.page.blocks) >= blocks:
                    return

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == "block":
            self.page.apply(event)
        elif event["type"] == "delta":
            self.text += event["text"]
        elif event["type"] == "end":
            self.state = event["state"]


async def test_blocks_go_on_when_the_node_of_a_reply_is_killed(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    a, b = await cluster(2, "--pace", "0.02")
    reply = await start(session, a, TEXT)
    elsewhere, across = Client(reply), Client(reply)
    reading = asyncio.create_task(elsewhere.read(session, b))
    await across.read(session, a, blocks=2)
    assert not across.state
    await a.kill()
    async with asyncio.timeout(60):
        await across.read(session, b)
        await reading
    html = {"Accept": "text/html"}
    async with session.get(b.url / "api/chat" / reply, headers=html) as answer:
        page = without_ends(await answer.text())
    body = page.partition("<body>\n")[2].partition("</body>")[0]
    for client in elsewhere, across:
        assert (client.state, client.text) == ("done", TEXT)
        assert client.page.html == body
