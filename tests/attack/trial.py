"""A trial: one node, its innocents alone, then beside attacks; and the judgement of it.

Invariants:

- Every process that a trial starts has ended when the trial has, also when it fails.
- Times are judged by their ratio alone. The floors are there because two cores are shared by all
  processes of a trial; by as much as the innocents' own process was held, its times may be longer.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
import time
import urllib.request
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..bench.processes import resident_kib
from ..loopback import free_port

ROOT = Path(__file__).parent.parent.parent
RATIO = 2.0
"""How many times as long as alone a time may be beside the attacks."""
FLOORS_MS = {"gap": 60.0, "rendered": 250.0}
"""The times that are always good, by their name in `Report`; `FLOOR_MS` for others."""
FLOOR_MS = 150.0
REST_S = 25.0
"""How long the node has for putting everything away behind an attack."""
GRACE_S = 1
"""How long a reply of the node goes on without readers."""
KEEP_S = 15
"""How long the node keeps an ended reply: longer than an innocent may wait for its next answer beside
all attacks, some seconds, or its reply has expired as promised; and less than `REST_S`."""
SAMPLE_S = 0.5

Measured = dict[str, Any]
"""An `innocents.Report` as JSON."""

SERVE = (sys.executable, "-m", "chatsvc", "--port", "{port}")


@dataclass(frozen=True)
class Setup:
    """What a trial runs. `command` is the node's, with `{port}`; the model's flags are added.

    `cores` are the node's and that of all others; None does not pin them. `judged` are the times
    that may not be too long; None are all.
    """

    seconds: float = 10.0
    alone_s: float = 4.0
    attacks: tuple[str, ...] = ()
    chats: int = 20
    pace_s: float = 0.05
    length: int = 30
    command: Sequence[str] = SERVE
    cores: tuple[int, int] | None = None
    judged: tuple[str, ...] | None = None


RUNNING = ("gap",)
"""The times of replies that run: what is judged where everything attacks at once.

A new request then stands in one line with those of fifty attackers, and waits as long as it takes
to answer them, though none of them holds the loop.
"""


@dataclass
class Result:
    """What came of a trial.

    `late` are the times that are longer than they may be, `faults` all else that is wrong: something
    lost, or left behind. The attacks won if there is one of either. `waited_s` is for how long
    beside the attacks the node was ready to run while others had its core.
    """

    alone: Measured = field(default_factory=dict)
    beside: Measured = field(default_factory=dict)
    seen: dict[str, dict[str, int]] = field(default_factory=dict)
    resident: list[tuple[float, float]] = field(default_factory=list)
    descriptors: tuple[int, int] = (0, 0)
    waited_s: float = 0.0
    late: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    log: str = ""

    @property
    def failures(self) -> list[str]:
        """Why the attacks won."""
        return self.faults + self.late


def two_cores() -> tuple[int, int] | None:
    """Return two cores to pin to; None where there is one, or no taskset."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 and shutil.which("taskset") else None


def late(
    alone: Measured, beside: Measured, judged: tuple[str, ...] | None = None
) -> list[str]:
    """Return the times beside the attacks that are longer than they may be, in words.

    `judged` are the names of the times that are looked at; None are all.
    """
    found = []
    for name, before in alone["times"].items():
        if judged is not None and name not in judged:
            continue
        now = beside["times"].get(name)
        if now is None:
            found.append(f"no {name} at all")
            continue
        for which in ("p99", "max"):
            floor = FLOORS_MS.get(name, FLOOR_MS)
            limit = max(RATIO * before[which], floor) + beside["stalls"][which]
            if now[which] > limit:
                found.append(
                    f"{name} {which} {now[which]:.0f} ms, may be {limit:.0f}"
                    f" (alone {before[which]:.0f})"
                )
    return found


def _lost(alone: Measured, beside: Measured) -> list[str]:
    found = [f"{count} lost: {why}" for why, count in beside["lost"].items()]
    return found + [
        f"{count} lost alone: {why}" for why, count in alone["lost"].items()
    ]


async def run(setup: Setup) -> Result:
    """Run a trial. Raises `TimeoutError` or `EOFError` when one of its processes fails."""
    result = Result()
    limit_s = setup.alone_s + setup.seconds + 200
    place = [[], []] if setup.cores is None else [_pin(core) for core in setup.cores]
    async with AsyncExitStack() as stack, asyncio.timeout(limit_s):

        async def python(module: str, *words: object) -> asyncio.subprocess.Process:
            command = [*place[1], sys.executable, "-m", f"tests.attack.{module}"]
            return await stack.enter_async_context(
                _process([*command, *map(str, words)])
            )

        good = await python("innocents", setup.pace_s, setup.chats, limit_s)
        model = f"http://127.0.0.1:{int(await _line(good, 30))}/v1"
        port = free_port()
        flags = ["--backend", "openai", "--openai-url", model, "--pace", "0"]
        flags += ["--grace", str(GRACE_S), "--keep", str(KEEP_S), "--drain", "1"]
        command = [word.replace("{port}", str(port)) for word in setup.command]
        node = await stack.enter_async_context(
            _process([*place[0], *command, *flags], errors=True)
        )
        errors = asyncio.create_task(_tail(node))
        await _listens(node, port)

        async def measure(seconds: float) -> Measured:
            assert good.stdin is not None
            good.stdin.write(f"{port} {seconds} {setup.length}\n".encode())
            measured: Measured = json.loads(await _line(good, seconds + 120))
            return measured

        await measure(1)  # What is made only once has then been made.
        result.alone = await measure(setup.alone_s)
        before = await _settled(node.pid, port)
        bad = await python("attackers", port, limit_s, *setup.attacks)
        await _line(bad, 30)
        sampling = asyncio.create_task(_sample(node.pid, result.resident))
        waited = _waited_s(node.pid)
        result.beside = await measure(setup.seconds)
        result.waited_s = _waited_s(node.pid) - waited
        sampling.cancel()
        result.seen = await _ended_attacks(bad)
        result.late = late(result.alone, result.beside, setup.judged)
        result.faults = _lost(result.alone, result.beside)
        for name, seen in result.seen.items():
            if not seen:
                result.faults.append(f"{name} could not be made")
        if bad.returncode:
            result.faults.append("an attack raised an exception")
        try:
            after = await _settled(node.pid, port, before)
        except TimeoutError as error:
            result.faults.append(str(error))
        else:
            result.descriptors = before.descriptors, after.descriptors
            result.faults += before.exceeded_by(after)
            result.faults += await _end(node)
            result.log = await errors
    return result


def _pin(core: int) -> list[str]:
    return ["taskset", "-c", str(core)]


@asynccontextmanager
async def _process(
    command: list[str], errors: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL if errors else asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE if errors else None,
        cwd=ROOT,
        limit=2**24,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _line(process: asyncio.subprocess.Process, seconds: float) -> str:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), seconds)
    if not line:
        raise EOFError("a process of the trial has ended")
    return line.decode()


async def _tail(process: asyncio.subprocess.Process) -> str:
    """Read what the node logs to the end; return the last of it that is no matter of course."""
    assert process.stderr is not None
    last: deque[bytes] = deque(maxlen=100)
    async for line in process.stderr:
        if b" INFO " not in line:
            last.append(line)
    return b"".join(last).decode(errors="replace")


async def _ended_attacks(
    attackers: asyncio.subprocess.Process,
) -> dict[str, dict[str, int]]:
    """End the attacks; return what they saw."""
    assert attackers.stdin is not None
    attackers.stdin.close()
    seen: dict[str, dict[str, int]] = json.loads(await _line(attackers, 60))
    await asyncio.wait_for(attackers.wait(), 20)
    return seen


def _waited_s(pid: int) -> float:
    """Return the seconds in which a process was ready to run and did not; 0 if it has ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def _family(pid: int) -> list[int]:
    """Return the ids of a process and of its children."""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [pid, *map(int, children.split())]
    return [pid]


async def _sample(pid: int, samples: list[tuple[float, float]]) -> None:
    """Note the resident MiB of the node and its children each `SAMPLE_S`.

    With them stand the seconds since the first time.
    """
    begun = time.monotonic()
    while True:
        samples.append((time.monotonic() - begun, resident_kib(_family(pid)) / 1024))
        await asyncio.sleep(SAMPLE_S)


@dataclass(frozen=True)
class _State:
    """What a node holds: `running` replies, `readers`, open `descriptors`."""

    running: int
    readers: int
    descriptors: int

    def exceeded_by(self, other: _State) -> list[str]:
        """Return what the other state has more of, in words."""
        return [
            f"{getattr(other, name)} {name} afterwards, {getattr(self, name)} before"
            for name in ("running", "readers", "descriptors")
            if getattr(other, name) > getattr(self, name)
        ]


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return str(answer.read().decode())


async def _state(pid: int, port: int) -> _State:
    text = await asyncio.to_thread(_get, port, "/metrics")

    def total(name: str) -> int:
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        return int(sum(map(float, found)))

    await asyncio.sleep(0.05)  # The connection of the scrape is then closed.
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    return _State(
        total("chatsvc_replies_running"), total("chatsvc_readers"), descriptors
    )


async def _settled(pid: int, port: int, wanted: _State | None = None) -> _State:
    """Return the node's state: as soon as it has no more than `wanted`, or after `REST_S`.

    Without `wanted`, as soon as nothing runs.
    """
    deadline = time.monotonic() + REST_S
    while True:
        with suppress(OSError):
            state = await _state(pid, port)
            good = not (wanted or state).exceeded_by(state) and not state.running
            if good or time.monotonic() > deadline:
                return state
        if time.monotonic() > deadline:
            raise TimeoutError("the node does not answer any more")
        await asyncio.sleep(0.2)


async def _listens(node: asyncio.subprocess.Process, port: int) -> None:
    for _ in range(300):
        with suppress(OSError):
            await asyncio.to_thread(_get, port, "/healthz")
            return
        if node.returncode is not None:
            break
        await asyncio.sleep(0.1)
    raise EOFError("the node does not listen")


async def _end(node: asyncio.subprocess.Process) -> list[str]:
    """Send SIGTERM; return what is wrong with the node's end."""
    if node.returncode is not None:
        return [f"the node ended by itself with {node.returncode}"]
    node.send_signal(signal.SIGTERM)
    try:
        status = await asyncio.wait_for(node.wait(), 20)
    except TimeoutError:
        return ["the node does not end on SIGTERM"]
    return [f"exit status {status}"] if status else []
