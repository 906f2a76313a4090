"""Nodes of this version and of version 0.1, the one before it, side by side on one Redis.

Each test goes forth, from the other version to this one, and back.
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import aiohttp
import pytest
from yarl import URL

from tests.stores.recording import (
    BACKEND,
    ENDED,
    ask,
    begin,
    ended,
    seen,
    snapshots,
    write_backend,
)

from .conftest import Cluster
from .nodes import ROOT, Node, Received, read

pytestmark = pytest.mark.thorough

NUMBERS = "".join(f"{number} " for number in range(60))
"""A message that an echo takes three seconds for."""

FLAGS = ("--pace", "0.02", "--drain", "0", "--grace", "60")

Two = Callable[..., Awaitable[tuple[Node, Node]]]


@pytest.fixture(params=["forth", "back"])
def two(request: pytest.FixtureRequest, cluster: Cluster, previous_root: Path) -> Two:
    """Starts a node of each version: first that which a test begins with."""
    roots = (previous_root, ROOT)
    if request.param == "back":
        roots = (ROOT, previous_root)
    answers = write_backend(previous_root)

    async def start(*flags: str) -> tuple[Node, Node]:
        nodes: list[Node] = []
        for root in roots:
            here = [answers if root != ROOT and f == BACKEND else f for f in flags]
            [node] = await cluster(1, *FLAGS, *here, root=root)
            nodes.append(node)
        return nodes[0], nodes[1]

    return start


async def test_what_one_has_written_the_other_answers_with(two: Two) -> None:
    one, other = await two("--backend", BACKEND)
    for message in ENDED:
        reply = await begin(one, message)
        if message == "stopped":
            await seen(other, reply, "two th")
            await ask(other, f"api/chat/{reply}/stop", {})
        await asyncio.gather(ended(one, reply), ended(other, reply))
        assert await snapshots(one, reply) == await snapshots(other, reply), message


async def test_keys_and_share_links_lead_to_one_reply(two: Two) -> None:
    one, other = await two()
    key = {"Idempotency-Key": "8f14e45f-ceea-467f-a8f0-7e5b1c2d3a4c"}
    reply = await begin(one, "hello", **key)
    assert await begin(other, "hello", **key) == reply
    refused = await ask(other, "api/chat?wait=0", {"message": "other"}, **key)
    assert refused["status"] == 422
    token = (await ask(one, f"api/chat/{reply}/share", {}))["token"]
    assert (await ask(other, f"api/chat/{reply}/share", {}))["token"] == token
    await ended(one, reply)
    shared = await ask(other, f"api/shared/{token}?after=0&wait=0")
    assert shared["text"] == "hello"
    await ask(other, f"api/chat/{reply}/unshare", {})
    gone = await ask(one, f"api/shared/{token}?after=0&wait=0")
    assert gone["status"] == 404


async def test_a_dead_nodes_reply_is_carried_on(two: Two) -> None:
    one, other = await two()
    reply = await begin(one, NUMBERS)
    await seen(other, reply, "9 10 ")
    await one.kill()
    found = await ended(other, reply)
    assert (found["text"], found["finish_reason"]) == (NUMBERS, "stop")


async def test_a_user_is_the_same_for_both(two: Two, tmp_path: Path) -> None:
    secret = "a-key-of-at-least-sixteen-characters"
    keys = tmp_path / "keys.toml"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    keys.write_text(f'[[key]]\nname = "ann"\nsha256 = "{digest}"\n')
    one, other = await two("--api-keys-file", str(keys))
    bearer = {"Authorization": f"Bearer {secret}"}
    reply = await begin(one, "hello", **bearer)
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as browser:
        async with browser.post(
            one.url / "login", data={"key": secret}, allow_redirects=False
        ) as signed_in:
            assert signed_in.status == 303
        # A jar knows hosts, not ports: the cookie goes to the other node, too.
        async with browser.get(other.url / "api/chat" / reply) as found:
            assert found.status == 200
            assert "[DONE]" in await found.text()
    ticket = (await ask(one, "api/ticket", {}, **bearer))["ticket"]
    poll = {"message": "hi", "ticket": ticket, "wait": "5"}
    by_ticket = await ask(other, str(URL("api/chat").with_query(poll)))
    assert by_ticket["state"] in ("running", "done")
    assert (await ask(other, f"api/chat/{reply}?after=0&wait=0"))["status"] == 401


async def test_a_rolling_update_loses_nothing(two: Two) -> None:
    """Both nodes are replaced, one after the other, while people begin and read replies at both."""
    nodes = list(await two())
    nodes[1].send(signal.SIGTERM)
    await nodes[1].ended()
    root, new = nodes[0].root, nodes[1].root
    nodes[1].root = root
    await nodes[1].start()  # Both are of the version to begin with.
    places = [node.url for node in nodes]
    rolled = asyncio.Event()
    read_whole: list[Received] = []

    async def person(number: int) -> None:
        chance = Random(number)
        while not rolled.is_set():
            key = f"{chance.getrandbits(128):032x}"
            read_whole.append(await read(places, NUMBERS, chance, key=key))

    async def more_is_read() -> None:
        """Wait until as many replies more have been read as there are people."""
        count = len(read_whole) + len(people)
        async with asyncio.timeout(60):
            while len(read_whole) < count:
                await asyncio.sleep(0.01)

    people = [asyncio.create_task(person(number)) for number in range(8)]
    for node in nodes:
        await more_is_read()
        node.send(signal.SIGTERM)
        assert await node.ended() == 0
        node.root = new
        await node.start()
    await more_is_read()
    rolled.set()
    await asyncio.wait_for(asyncio.gather(*people), 90)
    assert len(read_whole) >= len(people)
    wrong = [one for one in read_whole if (one.text, one.state) != (NUMBERS, "done")]
    assert wrong == []
