"""Nodes of `chatsvc` as processes on fixed ports, to be killed, paused and rolled; and a reader that hops."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import aiohttp
from yarl import URL

from chatsvc.client.reader import TRANSPORTS
from chatsvc.client.reading import Backoff, Reading
from chatsvc.client.wire import Question, Timeouts
from tests.loopback import free_port

ROOT = Path(__file__).parents[2]


async def counting(messages: list[dict[str, str]]) -> AsyncIterator[str]:
    """A backend that can't carry on: numbers, twenty a second."""
    for number in range(10_000):
        yield f"{number} "
        await asyncio.sleep(0.05)


async def pieces(messages: list[dict[str, str]]) -> AsyncIterator[str]:
    """A backend as quick as a model: the message, five characters at a time, twenty times a second."""
    text = messages[-1]["content"]
    for begin in range(0, len(text), 5):
        yield text[begin : begin + 5]
        await asyncio.sleep(0.05)


async def repeating(messages: list[dict[str, str]]) -> AsyncIterator[str]:
    """A backend that can't carry on: the message, word by word."""
    for word in re.findall(r"\S*\s*", messages[-1]["content"]):
        yield word
        await asyncio.sleep(0.1)


class Node:
    """One process that serves on `port`, with the code that stands in `root`."""

    root = ROOT

    def __init__(self, store: str, *flags: str) -> None:
        self.port = free_port()
        self.url = URL(f"http://127.0.0.1:{self.port}/")
        self._words = [sys.executable, "-m", "chatsvc", "--port", str(self.port)]
        self._words += ["--store", store, *flags]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        self._process = subprocess.Popen(  # noqa: ASYNC220  (it returns at once)
            self._words,
            stdout=subprocess.DEVNULL,
            stderr=None if os.environ.get("CHATSVC_TEST_LOUD") else subprocess.DEVNULL,
            cwd=self.root,
        )
        await self.ready()

    async def ready(self, status: int = 200) -> None:
        """Wait until `/readyz` says so."""
        deadline = time.monotonic() + 20
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < deadline:
                try:
                    async with session.get(self.url / "readyz") as response:
                        if response.status == status:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)
        raise TimeoutError(f"the node is not at {status}")

    def send(self, sign: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(sign)

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    async def ended(self) -> int:
        """Wait for its end; gives the exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        return await asyncio.to_thread(process.wait, 30)

    async def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            await self.ended()


@dataclass
class Received:
    """What a reader got: the text, how it ended, and why."""

    text: str
    state: str
    why: str


async def read(
    places: Sequence[URL],
    message: str,
    chance: Random,
    *,
    transports: Sequence[str] = tuple(TRANSPORTS),
    reply: str | None = None,
    key: str = "",
    cuts: float = 0.0,
    started: asyncio.Future[str] | None = None,
) -> Received:
    """Ask, or read a known reply, with the project's own client: each attempt at one of some places, each a node or what
    stands before several, and by a transport by chance.

    `cuts` is how many seconds a connection lives before it is cut, about; 0: none is.
    """
    reading = Reading(["poll"], backoff=Backoff(0.05, 0.5, 1000), chance=chance.random)
    reading.reply = reply
    # At first contact, a client takes a dead address for a wrong one; here it is a balancer's that has lost a node.
    reading._reached = True
    timeouts = Timeouts(headers=8.0, first_byte=1000.0, silence=6.0, poll=2.0)
    question = Question(places[0], {"message": message}, key, timeouts)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=2.0, sock_read=6.0)
    text = ""
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while (step := reading.next()) is not None:
            await asyncio.sleep(step.delay)
            here = replace(question, base=chance.choice(places))
            transport = TRANSPORTS[chance.choice(transports)]
            limit = chance.uniform(0.2, 2) * cuts if cuts else None
            try:
                async with (
                    asyncio.timeout(limit),
                    aclosing(transport(session, here, step)) as signals,
                ):
                    async for told in signals:
                        text += reading.take(told)
                        if (
                            started is not None
                            and not started.done()
                            and reading.reply is not None
                        ):
                            started.set_result(reading.reply)
                        if reading.outcome is not None:
                            break
            except TimeoutError:
                continue
    outcome = reading.outcome
    assert outcome is not None
    return Received(text, outcome.state, outcome.reason)
