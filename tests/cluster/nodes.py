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
from chatsvc.client.signals import Refused, Signal, TextReceived, UnitsReceived
from chatsvc.client.wire import Question, Timeouts
from tests.loopback import held_port

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
    """One process that serves on `port`: the module `program`, with the code that stands in `root`.

    These two and the `flags` may be changed before it is started again.
    """

    root = ROOT

    def __init__(self, store: str, *flags: str, program: str = "chatsvc") -> None:
        self.port = held_port(self)
        self.url = URL(f"http://127.0.0.1:{self.port}/")
        self.program = program
        self.flags: Sequence[str] = flags
        self._store = store
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        words = [sys.executable, "-m", self.program, "--port", str(self.port)]
        words += ["--store", self._store, *self.flags]
        self._process = subprocess.Popen(  # noqa: ASYNC220  (it returns at once)
            words,
            stdout=subprocess.DEVNULL,
            stderr=None if os.environ.get("CHATSVC_TEST_LOUD") else subprocess.DEVNULL,
            cwd=self.root,
        )
        await self.ready()

    async def ready(self, status: int = 200) -> None:
        """Wait until `/readyz` says so."""
        deadline = time.monotonic() + 60
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


class Units:
    """What a reader of the parts view gets that resumes by offset: each unit exactly once, in order.

    `found` has each unit's part, its kind, and the code point that it is; "" for a mark.
    """

    def __init__(self) -> None:
        self.found: list[tuple[int, str, str]] = []

    def take(self, units: UnitsReceived) -> None:
        """Add the units of an event, which begin right behind those before."""
        count = len(units.text) or 1
        assert units.offset == len(self.found) + count, (len(self.found), units)
        for each in units.text or [""]:
            self.found.append((units.part, units.kind, each))


@dataclass
class Received:
    """What a reader got: the text, how it ended, and why; of the parts view all units, too."""

    text: str
    state: str
    why: str
    view: str
    units: list[tuple[int, str, str]] | None = None


VIEWS = {"characters": (False,), "parts": (True,), "both": (False, True)}
"""Whether parts are asked for, by the name of what a reader asks for: `both` is either, by chance."""


async def read(
    places: Sequence[URL],
    message: str,
    chance: Random,
    *,
    transports: Sequence[str] = tuple(TRANSPORTS),
    view: str = "characters",
    reply: str | None = None,
    key: str = "",
    cuts: float = 0.0,
    started: asyncio.Future[str] | None = None,
) -> Received:
    """Ask, or read a known reply, with the project's own client: each attempt at one of some places, each a node or what
    stands before several, and by a transport by chance.

    `view` is one of `VIEWS`. A reader of `parts` alone goes by offsets, also past nodes that know none.
    `cuts` is how many seconds a connection lives before it is cut, about; 0: none is.
    """
    backoff = Backoff(0.05, 0.5, 1000)
    parts = view != "characters"
    reading = Reading(["poll"], parts=parts, backoff=backoff, chance=chance.random)
    reading.reply = reply
    # At first contact, a client takes a dead address for a wrong one; here it is a balancer's that has lost a node.
    reading._reached = True
    # A node that is paused costs one of these at each attempt, and one that is slow an attempt more.
    timeouts = Timeouts(headers=3.0, first_byte=1000.0, silence=3.0, poll=2.0)
    question = Question(places[0], {"message": message}, key, timeouts)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=2.0, sock_read=3.0)
    text = ""
    units = Units() if view == "parts" else None
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while (step := reading.next()) is not None:
            await asyncio.sleep(step.delay)
            parts = chance.choice(VIEWS[view])
            here = replace(question, base=chance.choice(places), parts=parts)
            name = chance.choice([n for n in transports if not parts or n != "text"])
            limit = chance.uniform(0.2, 2) * cuts if cuts else None
            try:
                async with (
                    asyncio.timeout(limit),
                    aclosing(TRANSPORTS[name](session, here, step)) as signals,
                ):
                    async for told in signals:
                        if units is not None:
                            if _knows_no_parts(told):
                                break
                            if isinstance(told, UnitsReceived):
                                units.take(told)
                        new = reading.take(told)
                        if not isinstance(told, UnitsReceived) or not told.part:
                            text += new
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
    found = None if units is None else units.found
    return Received(text, outcome.state, outcome.reason, view, found)


def _knows_no_parts(told: Signal) -> bool:
    """Whether that is what a node of an older version says to a reader of parts."""
    if isinstance(told, Refused):
        return told.problem.code == "bad-cursor"
    return isinstance(told, TextReceived)
