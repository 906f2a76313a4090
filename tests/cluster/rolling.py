"""A rolling restart of nodes behind a proxy, under readers and new requests: what clients are answered."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import aiohttp
from yarl import URL

from .nodes import Node, read

MESSAGE = "0123456789 👩‍👩‍👧 " * 5

READERS = 6
"""Clients that begin replies and read each to its end, by any transport."""

ASKERS = 6
"""Clients that begin replies and leave, without a pause: half by POST, half by GET."""


ENOUGH = 50
"""The answers after which the first node is restarted: by then all clients are at work."""


@dataclass
class Answers:
    """What clients got while the nodes were rolled.

    `statuses` counts all answers by status. `faults` has each answer from 500 on that is no 503 with
    `Retry-After`, which is what a draining node says, and each request that got no answer at all.
    `texts` has the ends of the replies that were read whole.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    texts: Counter[tuple[str, bool]] = field(default_factory=Counter)


async def roll(nodes: Sequence[Node], proxy: URL, *, rounds: int = 1) -> Answers:
    """Restart one node after the other behind `proxy`, `rounds` times, as clients use the service."""
    answers = Answers()
    over = asyncio.Event()
    clients = [
        *(_reads(proxy, Random(n), answers, over) for n in range(READERS)),
        *(_asks(proxy, bool(n % 2), answers, over) for n in range(ASKERS)),
    ]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client)
        try:
            while answers.statuses.total() < ENOUGH:
                await asyncio.sleep(0.01)
            for _ in range(rounds):
                for node in nodes:
                    node.send(signal.SIGTERM)
                    assert await node.ended() == 0
                    await node.start()
        finally:
            over.set()
    return answers


async def _reads(
    proxy: URL, chance: Random, answers: Answers, over: asyncio.Event
) -> None:
    """Begin replies and read them whole, with the project's own client, which resumes."""
    while not over.is_set():
        got = await read(
            [proxy], MESSAGE, chance, key=str(uuid.UUID(int=chance.getrandbits(128)))
        )
        answers.texts[got.state, got.text == MESSAGE] += 1


async def _asks(
    proxy: URL, by_post: bool, answers: Answers, over: asyncio.Event
) -> None:
    """Begin one reply after the other over one connection, and read its first bytes or all."""
    headers = {"Accept": "text/plain"}
    async with aiohttp.ClientSession(headers=headers) as session:
        while not over.is_set():
            try:
                if by_post:
                    asked = session.post(proxy / "api/chat", json={"message": "ab"})
                else:
                    asked = session.get(proxy / "api/chat" % {"message": "ab"})
                async with asked as answer:
                    answers.statuses[answer.status] += 1
                    draining = answer.status == 503 and "Retry-After" in answer.headers
                    if answer.status >= 500 and not draining:
                        answers.faults[f"{answer.method} {answer.status}"] += 1
                    await answer.read()
                if answer.status != 200:
                    await asyncio.sleep(0.05)
            except aiohttp.ClientPayloadError:
                pass  # The reply is cut as its node leaves; a client resumes it.
            except aiohttp.ClientError as error:
                answers.faults[repr(error)] += 1
