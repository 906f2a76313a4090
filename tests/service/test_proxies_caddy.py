"""What `chatsvc deploy caddy` leaves to Caddy: it sends each character on, and leaves with its client."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from chatsvc.deploy.kinds import deploy
from tests.caddy_server import CaddyServer
from tests.conftest import require
from tests.loopback import free_port

from .running import Child, child

pytestmark = pytest.mark.any_store

ASKED = {
    "api/chat": {"message": "ab" * 500},
    "v1/chat/completions": {
        "model": "any",
        "stream": True,
        "messages": [{"role": "user", "content": "ab" * 500}],
    },
}


async def running(chat: Child) -> int:
    """How many replies run, as the service itself says."""
    async with chat.session.get(f"{chat.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    [count] = [line for line in lines if line.startswith("chatsvc_replies_running ")]
    return int(float(count.split()[1]))


@pytest.mark.parametrize("accept", ["text/event-stream", "text/plain"])
@pytest.mark.parametrize("path", ASKED)
async def test_a_stream_by_caddy(path: str, accept: str, tmp_path: Path) -> None:
    """With `flush_interval -1` Caddy would read on when its client is gone, as long as nothing comes."""
    require("caddy")
    port = free_port()
    async with child("--pace", "1000", "--grace", "0", "--drain", "0") as chat:
        flags = {"listen": f"127.0.0.1:{port}", "node": (f"127.0.0.1:{chat.port}",)}
        caddy = CaddyServer(tmp_path, port, deploy("caddy", flags))
        caddy.start()
        try:
            async with aiohttp.ClientSession(headers={"Accept": accept}) as session:
                # The first character comes at once, and the second a quarter of an hour later.
                async with session.post(caddy.url + path, json=ASKED[path]) as answer:
                    assert answer.status == 200
                    async with asyncio.timeout(10):
                        while b"a" not in await answer.content.readany():
                            pass
                    assert await running(chat) == 1
                    answer.close()
                async with asyncio.timeout(10):
                    while await running(chat):
                        await asyncio.sleep(0.05)
        finally:
            caddy.stop()
