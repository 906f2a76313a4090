"""Three nodes, one of them of two processes, readers that hop between them, transports and views, and everything going wrong.

The nodes write replies of `text`, or of `parts` too; or they are of two `versions`, of which one knows no parts, and become
the other whenever they start again.

A seed says what is done to whom and when, so one that fails can be replayed: `CHATSVC_CHAOS_SEEDS=7` runs seed 7,
`CHATSVC_CHAOS_SEEDS=0-99` a hundred, `CHATSVC_CHAOS_READERS` how many readers, `CHATSVC_CHAOS_SECONDS` for how long.
Every third seed runs a backend that can't carry on what another node has begun.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis
from yarl import URL

from chatsvc.client.reader import TRANSPORTS
from tests.redis_server import RedisServer

from .conftest import Cluster
from .nodes import ROOT, Node, Received, read
from .scripted import script_of
from .whole import Whole, expected, whole

pytestmark = pytest.mark.thorough

CHARACTERS = ["a", "ß", "好", "👩‍👩‍👧", "🇩🇪", "e\u0301", "\n", " ", "0", "é"]
PACE = 0.05  # seconds


def seeds() -> list[int]:
    """The seeds to run; by default one with each kind of backend."""
    first, _, last = os.environ.get("CHATSVC_CHAOS_SEEDS", "2-3").partition("-")
    return list(range(int(first), int(last or first) + 1))


Change = Callable[[Node], None]
"""Makes a node another one, before it starts."""


def unchanged(node: Node) -> None:
    """Leave it as it is."""


async def harm_node(node: Node, chance: Random, seconds: float, change: Change) -> None:
    """Do one bad thing after another to a node; it is changed whenever it starts again."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        await asyncio.sleep(chance.uniform(0, 4))
        match chance.choice(["kill", "pause", "roll"]):
            case "kill":
                await node.kill()
                await asyncio.sleep(chance.uniform(0, 1))
                change(node)
                await node.start()
            case "pause":
                node.send(signal.SIGSTOP)
                await asyncio.sleep(chance.uniform(0.5, 6))
                node.send(signal.SIGCONT)
            case "roll":
                node.send(signal.SIGTERM)
                await node.ended()
                change(node)
                await node.start()


async def harm_redis(server: RedisServer, chance: Random, seconds: float) -> None:
    """The same to Redis: it is away for moments, and it crashes."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        await asyncio.sleep(chance.uniform(0.5, 6))
        if chance.random() < 0.5:
            server.send(signal.SIGSTOP)
            await asyncio.sleep(chance.uniform(0.1, 2))
            server.send(signal.SIGCONT)
        else:
            server.stop()
            await asyncio.sleep(chance.uniform(0, 1))
            await asyncio.to_thread(server.start)


@dataclass
class Asked:
    """A reply, what its readers got, and what it was at last, on some nodes that know parts."""

    message: str = ""
    reply: str = ""
    stopped: bool = False
    got: list[Received] = field(default_factory=list)
    left: list[Whole] = field(default_factory=list)

    def wrong(self, mix: str, carried_on: bool) -> str:
        """What should not have been; empty if all is well."""
        if len({(one.state, one.text) for one in self.got}) > 1:
            n = len(os.path.commonprefix([one.text for one in self.got]))
            got = [(one.view, one.state, one.why, one.text[n:]) for one in self.got]
            return f"readers got different things behind {n}: {got}"
        state, text = self.got[0].state, self.got[0].text
        if not self.message.startswith(text):
            return "the text is another"
        if state == "done" and text != self.message:
            return "something is missing"
        if state == "stopped" and not self.stopped:
            return "nobody stopped it"
        whys = [one.why for one in self.got if one.state == "failed"]
        if not all(re.search("went down|interrupted", why) for why in whys):
            return "it failed for no reason"
        for last in self.left:
            if last != self.left[0]:
                return "it is different on two nodes"
            if (last.text, last.end["state"]) != (text, state):
                return "it is different from what readers got"
            if any(one.units not in (None, last.seen()) for one in self.got):
                return "a reader of parts got different ones"
            if state == "failed" and last.end["finish_reason"] != "interrupted":
                return "it failed for another reason"
        only_text = not self.left or len(self.left[0].units) == len(text)
        # Nothing that is done here is beyond what the service promises to outlive.
        if state == "failed" and carried_on and only_text:
            return "it failed"
        return self.wrong_parts() if mix == "parts" and self.left else ""

    def wrong_parts(self) -> str:
        """What is wrong with the units of a reply that nodes have written which all know parts."""
        last, right = self.left[0], expected(script_of(self.message))
        if last.units != right.units[: len(last.units)]:
            return "the parts are others"
        if last.end["state"] == "done" and last.units != right.units:
            return "a part is missing"
        if last.end["state"] == "done" and last.end != right.end:
            return "the end is another"
        return ""


async def stop(places: list[URL], reply: str, chance: Random) -> None:
    """Stop a reply from any node that is there."""
    timeout = aiohttp.ClientTimeout(total=6)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            url = chance.choice(places) / "api/chat" / reply / "stop"
            try:
                async with session.post(url) as answer:
                    if answer.status in (200, 202):
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.1)


async def ask(
    asked: Asked, places: list[URL], mix: str, seed: int, number: int, seconds: float
) -> None:
    """A reply that some read: one who asked, one who comes later, and one of all its parts. A few are stopped."""
    chance = Random(f"{seed} {number}")
    asked.message = "".join(chance.choices(CHARACTERS, k=chance.randrange(20, 150)))
    await asyncio.sleep(chance.uniform(0, seconds / 2))
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    key = f"{os.getpid()}-{mix}-{seed}-{number}"
    views = ["characters"] if mix == "text" else ["characters", "both"]
    # Nodes of the other version know no NDJSON, and go by position on a WebSocket.
    names = [n for n in TRANSPORTS if n != "ndjson" or mix != "versions"]
    by_offset = [n for n in names if n != "websocket" or mix != "versions"]
    view = chance.choice(views)
    first = asyncio.create_task(
        read(
            *(places, asked.message, chance),
            transports=names,
            view=view,
            key=key,
            cuts=2.0,
            started=started,
        )
    )
    either: set[asyncio.Future[Any]] = {first, started}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if started.done():
        second, third = (Random(f"{seed} {number} {nth}") for nth in ("second", "3rd"))
        reply = asked.reply = started.result()
        view = second.choice(views)
        late = [
            read(
                *(places, "", second),
                transports=names,
                view=view,
                reply=reply,
                cuts=3.0,
            )
        ]
        if mix != "text":
            late.append(
                read(
                    *(places, "", third),
                    transports=by_offset,
                    view="parts",
                    reply=reply,
                    cuts=3.0,
                )
            )
        others = asyncio.gather(*late)
        if second.random() < 0.15:
            asked.stopped = True
            await asyncio.sleep(second.uniform(0, 3))
            await stop(places, reply, second)
        asked.got += await others
    asked.got.append(await first)


async def kept(server: RedisServer) -> dict[str, Any]:
    """What Redis knows of each reply; one may expire meanwhile."""
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        keys = [key async for key in redis.scan_iter(f"*:{'?' * 22}", 1000, "hash")]
        found = {key.rpartition(":")[2]: await redis.hgetall(key) for key in keys}
        return {reply: fields for reply, fields in found.items() if fields}


async def counted(server: RedisServer) -> set[str]:
    """The replies that count as running for the client that began them."""
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        keys = [key async for key in redis.scan_iter("*:running:*", 1000, "set")]
        return {str(each) for key in keys for each in await redis.smembers(key)}


async def owners(server: RedisServer) -> dict[str, Any]:
    """Until when each node's lease is, and how much each owns."""
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        leases = await redis.zrange("chatsvc:{0}:nodes", 0, -1, withscores=True)
        owned = {
            key: await redis.scard(key) async for key in redis.scan_iter("*owned*")
        }
    return {"leases": leases, "owned": owned}


def changing(old_root: Path, flags: list[str], carried_on: bool) -> Change:
    """Makes a node one of the other version."""
    old_backend = "echo" if carried_on else "repeating:pieces"
    new_backend = "following" if carried_on else "following-once"

    def change(node: Node) -> None:
        old = node.root is old_root
        node.root = ROOT if old else old_root
        node.program = "tests.cluster.scripted" if old else "chatsvc"
        backend = old_backend if node.root is old_root else new_backend
        node.flags = [*flags, "--backend", backend]

    return change


async def all_whole(all_asked: list[Asked], nodes: list[Node]) -> None:
    """Note what each reply is at last, by two nodes."""
    for asked in all_asked:
        if asked.reply:
            asked.left = await asyncio.gather(
                *(whole(node, asked.reply) for node in nodes)
            )


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("mix", ["text", "parts", "versions"])
async def test_every_reader_has_the_exact_reply_once(
    cluster: Cluster,
    redis_server: RedisServer,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    mix: str,
) -> None:
    count = int(os.environ.get("CHATSVC_CHAOS_READERS", "60")) // 2
    if count > 100:  # all of them come from one address
        monkeypatch.setenv("CHATSVC_LIMITS", "off")
    seconds = float(os.environ.get("CHATSVC_CHAOS_SECONDS", "6"))
    flags = ["--pace", f"{PACE}", "--drain", "0.2", "--grace", "60"]
    carried_on = seed % 3 != 0
    program = "chatsvc" if mix == "text" else "tests.cluster.scripted"
    change: Change = unchanged
    if mix == "versions":
        root = request.getfixturevalue("old_root")
        change = changing(root, list(flags), carried_on)
    if mix != "text":
        flags += ["--backend", "following" if carried_on else "following-once"]
    elif not carried_on:
        flags += ["--backend", "tests.cluster.nodes:repeating"]
    nodes = await cluster(2, *flags, program=program)
    nodes += await cluster(1, *flags, "--workers", "2", program=program)
    places = [node.url for node in nodes]
    if mix == "versions":
        # A reader of parts finds at least one node that knows them.
        places += [node.url for node in await cluster(1, *flags, program=program)]
    harming = [
        asyncio.create_task(
            harm_node(node, Random(f"{seed} node {n}"), seconds, change)
        )
        for n, node in enumerate(nodes)
    ]
    redis = Random(f"{seed} redis")
    harming.append(asyncio.create_task(harm_redis(redis_server, redis, seconds)))
    all_asked = [Asked() for _ in range(count)]
    reading = {
        asyncio.create_task(ask(asked, places, mix, seed, number, seconds)): asked
        for number, asked in enumerate(all_asked)
    }
    _, stuck = await asyncio.wait(reading, timeout=seconds + 60)
    if stuck:
        known = await kept(redis_server)
        found = [(reading[one], known.get(reading[one].reply)) for one in stuck]
        by = await owners(redis_server)
        pytest.fail(f"{len(stuck)} of {count} are stuck: {found[:5]}, {by}")
    await asyncio.gather(*harming, *reading)
    if mix != "text":
        last = await cluster(2, *flags, program=program)
        await all_whole(all_asked, last)
    wrong = [(asked.wrong(mix, carried_on), asked) for asked in all_asked]
    wrong = [(what, asked) for what, asked in wrong if what]
    assert not wrong, (len(wrong), wrong[:3])
    states = [one.state for asked in all_asked for one in asked.got]
    print(
        f"\n{mix} {seed}:",
        [node.program for node in nodes],
        {each: states.count(each) for each in set(states)},
    )
    assert states.count("done") > (
        len(states) / 2 if carried_on and mix == "text" else 0
    )
    mine = f'"{os.getpid()}-{mix}-{seed}-'  # other tests have left theirs
    async with asyncio.timeout(20):
        while any(
            mine in fields["r"] and "x" not in fields
            for fields in (await kept(redis_server)).values()
        ):
            await asyncio.sleep(0.2)
        # None counts any more for the address that began it.
        # A node of the other version leaves some.
        while mix != "versions" and await counted(redis_server) & {
            asked.reply for asked in all_asked
        }:
            await asyncio.sleep(0.2)
