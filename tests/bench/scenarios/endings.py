"""Many minutes of replies from a model that end in every way there is: does memory grow with their number?"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp

from .. import scripted_model
from ..measuring import Run, reasons_text
from ..processes import Failed, resident_kib, started
from ..report import Outcome, Panel, Series, Table, number
from ..scripted_model import LONG, TEXT
from .plan import Plan
from .soak import left_over

MAX_REPLY = 500
"""Bytes that a reply may have, so that the `long` one is cut."""

FLAGS = (
    *("--backend", "openai", "--openai-timeout", "1"),
    *("--keep", "1", "--grace", "0.2", "--max-reply", str(MAX_REPLY)),
)

SOME = 20
"""Events after which clients stop a reply or leave: fewer than come before its pause."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--streams", type=int, default=32, help="at once")
    parser.add_argument(
        "--most", type=float, default=0.1, help="KiB a reply that memory may grow by"
    )


class _Wrong(Exception):
    """A reply did not end as it should; the message says what came."""


def _sent(body: bytes) -> tuple[str, str]:
    """The text of a stream of events, and how it ended: `done`, `failed`, `stopped`, or `cut`."""
    text, end = "", "cut"
    for event in body.decode().split("\n\n")[:-1]:
        lines = [line.partition(": ") for line in event.split("\n")]
        data = [value for name, _, value in lines if name.rstrip(":") == "data"]
        named = [value for name, _, value in lines if name == "event"]
        if named:
            end = named[0]
        elif data == ["[DONE]"]:
            end = "done" if end == "cut" else end
        elif data:
            text += "\n".join(data)
    return text, end


class _Client:
    """A client of the service at `url`."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    @asynccontextmanager
    async def _asking(self, message: str) -> AsyncIterator[aiohttp.ClientResponse]:
        body = {"message": message}
        async with self.session.post(f"{self.url}/api/chat", json=body) as response:
            yield response

    async def read(self, message: str, text: str, end: str) -> None:
        """Read a reply to its end. Raises `_Wrong` unless it has this text and end."""
        async with self._asking(message) as response:
            _check(await response.read(), text, end)

    async def stop(self) -> None:
        """Stop a reply in its middle."""
        async with self._asking("slow") as response:
            body = await _beginning(response)
            reply = response.headers["X-Reply-Id"]
            async with self.session.post(f"{self.url}/api/chat/{reply}/stop") as stop:
                if (await stop.json())["state"] != "stopped":
                    raise _Wrong("a reply that is not stopped")
            text, end = _sent(body + await response.read())
            if end != "stopped" or not (TEXT * 2).startswith(text):
                raise _Wrong(f"{end} after {len(text)} code points")

    async def leave(self) -> None:
        """Leave a reply in its middle; when its grace is over it is abandoned."""
        async with self._asking("slow") as response:
            await _beginning(response)
            response.close()

    async def leave_completion(self) -> None:
        """Leave a reply in its middle over `/v1`, which stops it."""
        messages = [{"role": "user", "content": "slow"}]
        body = {"model": "any", "stream": True, "messages": messages}
        async with self.session.post(
            f"{self.url}/v1/chat/completions", json=body
        ) as response:
            # The role, and all that was out then.
            await _beginning(response, 2)
            response.close()

    async def resume(self) -> None:
        """Break the connection in the middle, and read the rest over another one."""
        async with self._asking("slow") as response:
            body = await _beginning(response)
            response.close()
        whole = body[: body.rindex(b"\n\n") + 2]
        cursor = whole[whole.rindex(b"id: ") + 4 :].split(b"\n")[0].decode()
        reply = response.headers["X-Reply-Id"]
        async with self.session.get(
            f"{self.url}/api/chat/{reply}", headers={"Last-Event-ID": cursor}
        ) as response:
            _check(whole + await response.read(), TEXT * 2, "done")


async def _beginning(response: aiohttp.ClientResponse, events: int = SOME) -> bytes:
    """Read the first events of an answer to `slow`."""
    body = b""
    while body.count(b"\n\n") < events:
        data = await response.content.readany()
        if not data:
            raise _Wrong("an end before the middle")
        body += data
    return body


def _check(body: bytes, text: str, end: str) -> None:
    found = _sent(body)
    if found != (text, end):
        raise _Wrong(f"{found[1]} after {len(found[0])} code points")


Use = Callable[[_Client], Awaitable[None]]


def _reads(message: str, text: str, end: str) -> Use:
    return lambda client: client.read(message, text, end)


_cut = (TEXT * LONG).encode()[:MAX_REPLY].decode(errors="ignore")

USES: dict[str, Use] = {
    "whole": _reads("whole", TEXT, "done"),
    "refused": _reads("refused", "", "failed"),
    "resumed": _Client.resume,
    "overloaded": _reads("overloaded", "", "failed"),
    "stopped": _Client.stop,
    "broken off": _reads("broken off", TEXT, "failed"),
    "left": _Client.leave,
    "silent": _reads("silent", TEXT, "failed"),
    "cut": _reads("long", _cut, "done"),
    "unreadable": _reads("unreadable", TEXT, "failed"),
    "left over /v1": _Client.leave_completion,
    "reported": _reads("reported", TEXT, "failed"),
}
"""What clients do, and what the model does to them."""


class _Counts:
    """How many replies have ended in which way, and what went wrong."""

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.samples: list[tuple[float, int, float]] = []  # minutes, replies, MiB


def run(plan: Plan) -> Outcome:
    title = (
        f"endings: {plan.minutes:g} minutes of {plan.streams} clients of a model's "
        "replies that end, fail, are stopped, left, cut and resumed"
    )
    counts = _Counts()
    run = Run(plan.server.name, plan.streams, 0, streams=plan.streams)
    try:
        left = asyncio.run(_endings(plan, counts))
    except Failed as e:
        run.error, run.failed = str(e), plan.streams
        return Outcome(title, [], [f"FAILED: {e}"], runs=[run])
    run.failed, run.reasons = sum(counts.wrong.values()), dict(counts.wrong)
    growth = _growth(counts.samples)
    run.extra = {**counts.ended, "kib_per_reply": growth}
    said = [f"FAILED: {reasons_text(run.reasons)}"] if run.failed else []
    if left:
        said.append(f"STILL RUNNING after all readers left: {left}")
    if growth > plan.most:
        said.append(f"GROWS by {growth:.3f} KiB a reply, more than {plan.most:g}")
    line = Series(plan.server.name, [], [])
    for minutes, _, mib in counts.samples:
        line.x.append(minutes)
        line.y.append(mib)
    panel = Panel("resident MiB", [line], "minutes")
    tables = [_ends(counts), _memory(counts, growth)]
    failed = bool(left) or growth > plan.most
    return Outcome(title, tables, said, [panel], [run], failed)


async def _endings(plan: Plan, counts: _Counts) -> int | None:
    """Run all; gives how many replies still run at last."""
    seconds = plan.minutes * 60
    async with scripted_model.running() as url:
        server = plan.server.named(plan.server.name, *FLAGS, "--openai-url", url)
        with started(server, 0, plan.cores, round(seconds) + 120) as (port, pids):
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                client = _Client(f"http://127.0.0.1:{port}", session)
                began = time.monotonic()
                watch = asyncio.create_task(_watch(pids, seconds, began, counts))
                uses = list(USES.items())
                await asyncio.gather(
                    *(
                        _use(client, uses[n % 12 :] + uses[: n % 12], watch, counts)
                        for n in range(plan.streams)
                    )
                )
                await watch
            return await asyncio.to_thread(left_over, port)


async def _use(
    client: _Client,
    uses: list[tuple[str, Use]],
    watch: asyncio.Task[None],
    counts: _Counts,
) -> None:
    while True:
        for name, use in uses:
            if watch.done():
                return
            try:
                async with asyncio.timeout(60):
                    await use(client)
            except (_Wrong, aiohttp.ClientError, OSError, json.JSONDecodeError) as e:
                counts.wrong[f"{name}: {e or type(e).__name__}"] += 1
            else:
                counts.ended[name] += 1


async def _watch(
    pids: list[int], seconds: float, began: float, counts: _Counts
) -> None:
    """Note the memory now and then, until it is over."""
    while (elapsed := time.monotonic() - began) < seconds:
        mib = resident_kib(pids) / 1024
        counts.samples.append((elapsed / 60, counts.ended.total(), mib))
        await asyncio.sleep(max(0.2, seconds / 600))


def _growth(samples: list[tuple[float, int, float]]) -> float:
    """KiB that each reply adds after the first quarter: the slope of the line that fits best."""
    late = samples[len(samples) // 4 :]
    replies = [count for _, count, _ in late]
    if len(set(replies)) < 2:
        return 0.0
    mib = [mib for _, _, mib in late]
    return statistics.linear_regression(replies, mib).slope * 1024


def _ends(counts: _Counts) -> Table:
    return Table(
        ["replies", *USES, "failed"],
        [
            [
                str(counts.ended.total()),
                *(str(counts.ended[name]) for name in USES),
                str(sum(counts.wrong.values())),
            ]
        ],
    )


def _memory(counts: _Counts, growth: float) -> Table:
    mib = [mib for _, _, mib in counts.samples]
    quarter = len(mib) // 4
    head = [
        "MiB at the start",
        "after a quarter",
        "at the end",
        "KiB a reply from then",
    ]
    cells = [number(mib[0]), number(mib[quarter]), number(mib[-1]), number(growth, 3)]
    return Table(head, [cells])
