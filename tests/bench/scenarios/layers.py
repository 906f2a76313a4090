"""Where the CPU of an event goes: kernel, interpreter, libraries, chatsvc.

perf says it for the layers, and py-spy for the functions. A profiler that is missing is left out.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from .. import kit
from ..measuring import Load, Run, as_run, run_load, warm_up
from ..processes import Failed, started
from ..report import Outcome, Panel, Series, Table, notes, number
from .plan import Plan
from .table import PACE_MS

HERTZ = 499  # Not a multiple of the rate of events, or the samples would all hit the same moment.
Shares = Counter[tuple[str, str]]  # the number of samples by (layer, function)
Look = Callable[[int, int, Path], None]  # profiles a process, for seconds, into a file


class Missing(Exception):
    """A profiler that is missing or does not work on this machine; the message is the reason."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    parser.add_argument("--ws", action="store_true", help="over WebSockets")
    parser.add_argument("--streams", type=int, default=2500)
    parser.add_argument("--seconds", type=int, default=10, help="to profile")
    parser.add_argument("--top", type=int, default=12, help="functions to list")


def run(plan: Plan) -> Outcome:
    """Profile one run with each profiler and return the shares of the layers and functions."""
    mode = "ws" if plan.ws else "sse"
    ramp = min(plan.streams, 5000)
    length = (ramp + 1000 * plan.seconds + 3000) // PACE_MS
    load = Load(plan.streams, length, PACE_MS, mode=mode, ramp=ramp)
    tables, panels, said, runs = [], [], [], []
    profilers = {
        "by perf: which code ran": (_perf, _perf_shares),
        "by py-spy: in which function, with the C and the kernel that it calls, "
        "while it held the interpreter": (_spy, _spy_shares),
    }
    try:
        kit.ensure("spy")
    except kit.NotBuilt as e:
        said.append(f"without py-spy: {e}")
    # Each profiles a run of its own: in one run, each would see the work of the other.
    for title, (look, shares) in profilers.items():
        try:
            profiled, seen = _profiled(plan, load, look, shares)
        except Missing as e:
            said.append(f"SKIPPED {title}: {e}")
            continue
        runs.append(profiled)
        if total := seen.total():
            layers: Counter[str] = Counter()
            for (layer, _), count in seen.items():
                layers[layer] += count
            profiled.extra = {name: n / total for name, n in layers.items()}
            cpu_us = (
                profiled.cpu_us if look is _perf else None
            )  # py-spy does not see all of it.
            tables.append(_layers(title, layers, cpu_us))
            tables.append(_functions(seen, plan.top))
            bars = [
                Series(name, [0], [100 * n / total]) for name, n in layers.most_common()
            ]
            panels.append(Panel(f"% {title.partition(':')[0]}", bars))
    return Outcome(
        f"where the CPU goes: {mode.upper()}, {plan.streams} streams, one character "
        f"each {PACE_MS} ms, {plan.seconds} s",
        tables,
        said + notes(runs),
        panels,
        runs,
    )


def _profiled(
    plan: Plan, load: Load, look: Look, shares: Callable[[Path], Shares]
) -> tuple[Run, Shares]:
    server, trouble = plan.server, []

    with (
        tempfile.TemporaryDirectory() as folder,
        started(server, PACE_MS, plan.cores, load.limit_s + 120) as (port, pids),
    ):
        found = Path(folder, "profile")

        def after_ramp() -> None:
            time.sleep(load.ramp_ms / 1000 + 1)
            try:
                look(pids[-1], plan.seconds, found)
            except Missing as e:
                trouble.append(e)

        looking = threading.Thread(target=after_ramp)
        try:
            warm_up(server, load, port, plan.cores)
            looking.start()
            report = run_load(server, load, port, pids, plan.cores)
        except Failed as e:
            failed = Run(server.name, load.at, 0, error=str(e), failed=load.streams)
            return failed, Counter()
        finally:
            if looking.ident is not None:
                looking.join()
        if trouble:
            raise trouble[0]
        return as_run(server, load, 0, report), shares(found)


def _call(*command: object) -> str:
    words = list(map(str, command))
    if shutil.which(words[0]) is None:
        raise Missing(f"not on this machine: {words[0]}")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["said nothing"]
        raise Missing(f"{Path(words[0]).name}: {said[-1]}")
    return done.stdout


# ------------------------------------------------------------------------------- perf


def _perf(pid: int, seconds: int, into: Path) -> None:
    which = ("-e", "cpu-clock", "-F", HERTZ, "-p", pid, "-o", into)
    _call("perf", "record", "-q", *which, "--", "sleep", seconds)


def _perf_shares(found: Path) -> Shares:
    text = _call("perf", "script", "-i", found, "-F", "ip,sym,dso")
    shares: Shares = Counter()
    for line in text.splitlines():
        if match := re.match(r"\s*[0-9a-f]+ (.+) \((.*)\)$", line):
            symbol, place = match.groups()
            shares[_code(place), symbol.partition("+")[0]] += 1
    return shares


def _code(place: str) -> str:
    name = Path(place).name
    if "kernel" in name or place.startswith("[") and name != "[vdso]":
        return "kernel"
    if name.startswith(("python", "libpython")) or "/lib-dynload/" in place:
        return "Python interpreter"
    for package in ("uvloop", "aiohttp", "msgspec", "regex"):
        if f"/{package}/" in place:
            return f"{package} (C)"
    return "C library" if name.startswith(("libc.", "libm.", "[vdso]")) else name


# ----------------------------------------------------------------------------- py-spy


def _spy(pid: int, seconds: int, into: Path) -> None:
    how = (
        "--nonblocking",
        "--gil",
        "--format",
        "raw",
        "--rate",
        HERTZ,
        "--duration",
        seconds,
    )
    _call(kit.SPY, "record", *how, "--pid", pid, "--output", into)


def _spy_shares(found: Path) -> Shares:
    """Count the innermost frame of each stack, like `function (package/module.py:line)`."""
    shares: Shares = Counter()
    for line in found.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frame = stack.rpartition(";")[2]
        if match := re.match(r"(.*) \(([^:()]*)(?::\d+)?\)$", frame):
            function, place = match.groups()
            package = place.partition("/")[0].removesuffix(".py")
            shares[_owner(package), f"{function} ({place})"] += int(count)
    return shares


def _owner(package: str) -> str:
    if package in ("uvloop", "asyncio"):
        return "event loop"
    if package.startswith("<frozen") or package in sys.stdlib_module_names:
        return "standard library"
    return package


# ----------------------------------------------------------------------------- tables


def _layers(title: str, layers: Counter[str], cpu_us: float | None) -> Table:
    total = layers.total()
    lines = [
        [
            name,
            f"{count / total:.1%}",
            number(cpu_us * count / total if cpu_us else None, 2),
        ]
        for name, count in layers.most_common()
    ]
    return Table(["layer", "share", "µs/event"], lines, f"{title} ({total} samples)")


def _functions(shares: Shares, top: int) -> Table:
    total = shares.total()
    lines = [
        [function, layer, f"{count / total:.1%}"]
        for (layer, function), count in shares.most_common(top)
    ]
    return Table(["function", "layer", "share"], lines)
