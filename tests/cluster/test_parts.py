"""A reply whose node goes away in the middle of a thought or of a call, as each reader of each view sees it.

It is carried on only if all that is written is text of the answer; else it ends as `interrupted`.
"""

from __future__ import annotations

import asyncio
import re
import signal
from random import Random

import aiohttp
import pytest

from chatsvc.client.reader import TRANSPORTS

from .conftest import Cluster
from .nodes import Node, read
from .scripted import REST, STOPPING
from .test_nodes import start
from .whole import Whole, expected, whole

WAIT = 60.0  # seconds: for what must happen, however slow the machine

VIEWS = [
    *((name, "characters") for name in TRANSPORTS),
    *((name, "parts") for name in TRANSPORTS if name != "text"),
]
"""What readers there are: the transport and the view of each."""


async def has(
    session: aiohttp.ClientSession, node: Node, reply: str, offset: int
) -> None:
    """Wait until a node has so many units of a reply."""
    at = 0
    async with asyncio.timeout(WAIT):
        while at < offset:
            place = node.url / "api/chat" / reply
            query = {"view": "parts", "after": f"@{at}", "wait": "5"}
            headers = {"Accept": "application/json"}
            async with session.get(place % query, headers=headers) as answer:
                at = int((await answer.json())["next"][1:])


async def go_away(node: Node, how: str) -> None:
    """Leave a node's replies to the others."""
    if how == "paused":
        node.send(signal.SIGSTOP)
    elif how == "killed":
        await node.kill()
    else:
        node.send(signal.SIGTERM)
        assert await node.ended() == 0


CASES = [
    *(("in a call", how) for how in ("rolled", "killed", "paused")),
    *(("in its text", how) for how in ("killed", "paused", "rolled")),
    *(
        (where, "killed")
        for where in STOPPING
        if where not in ("in a call", "in its text")
    ),
    ("in a thought", "rolled"),
]
"""Where a reply is, and what becomes of its node."""


@pytest.mark.sampled
@pytest.mark.parametrize(("where", "how"), CASES)
async def test_a_node_goes_away_in_the_middle(
    cluster: Cluster, session: aiohttp.ClientSession, where: str, how: str
) -> None:
    flags = ("--backend", "stopping", "--drain", "0", "--pace", "0")
    a, b = await cluster(2, *flags, program="tests.cluster.scripted")
    script = STOPPING[where]
    left = expected(script)
    if isinstance(script[-1], str):
        left.units.pop()  # the last character may still grow, so it is not written
    elif where != "in its text":
        # What is open stays so.
        assert left.units[-1][1] != "close"
    reply = await start(session, a, where)
    readers = [
        read(
            [*([a.url] if both else []), b.url],
            "",
            Random(f"{name} {view} {both}"),
            transports=[name, *(["poll"] if name == "text" else [])],
            view=view,
            reply=reply,
        )
        for name, view in VIEWS
        for both in (False, True)
    ]
    reading = [asyncio.create_task(one) for one in readers]
    await has(session, b, reply, len(left.units))
    await go_away(a, how)
    async with asyncio.timeout(WAIT):
        all_got = await asyncio.gather(*reading)
    last = await whole(b, reply)
    if where == "in its text":
        assert last == expected([*script, *REST])
    else:
        assert last.units == left.units
        assert last.end["state"] == "failed"
        assert last.end["finish_reason"] == "interrupted"
        assert "went down" in last.end["problem"]["detail"]
    for got in all_got:
        assert (got.text, got.state) == (last.text, last.end["state"])
        assert got.units in (None, last.seen())
        assert got.state == "done" or re.search("went down|interrupted", got.why)
    assert sum(got.units is not None for got in all_got) == 8
    if how == "paused":
        a.send(signal.SIGCONT)
        await a.ready()
        assert await whole(a, reply) == await whole(b, reply) == last


@pytest.mark.thorough
async def test_a_stop_on_another_node_cuts_a_call_for_all(
    cluster: Cluster, session: aiohttp.ClientSession
) -> None:
    flags = ("--backend", "stopping", "--pace", "0")
    a, b = await cluster(2, *flags, program="tests.cluster.scripted")
    reply = await start(session, a, "in a call")
    left = expected(STOPPING["in a call"])
    reading = [
        asyncio.create_task(
            read(
                [a.url, b.url],
                "",
                Random(name),
                transports=[name, *(["poll"] if name == "text" else [])],
                view=view,
                reply=reply,
            )
        )
        for name, view in VIEWS
    ]
    await has(session, b, reply, len(left.units))
    async with session.post(b.url / "api/chat" / reply / "stop") as answer:
        stopped = await answer.json()
    assert (stopped["next"], stopped["offset"]) == (len(left.text), len(left.units))
    async with asyncio.timeout(WAIT):
        all_got = await asyncio.gather(*reading)
    end = {"type": "end", "state": "stopped", "finish_reason": "stopped"}
    for node in a, b:
        assert await whole(node, reply) == Whole(left.units, end)
    for got in all_got:
        assert (got.text, got.state) == (left.text, "stopped")
        assert got.units in (None, left.seen())
