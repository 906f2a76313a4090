"""The measurements: one run of a load against one server, and many runs in interleaved rounds."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import kit
from .machine import Cores, core_seconds, stolen_seconds
from .processes import Failed, Server, started

POLL_US = 250  # the load generator looks for events this often


@dataclass(frozen=True)
class Load:
    """A load for one server: `streams` at once, of `length` characters each."""

    streams: int
    length: int
    pace_ms: int  # 0: without pacing
    mode: str = "sse"
    charset: str = "ascii"
    options: tuple[str, ...] = ()
    ramp: int | None = None  # milliseconds over which the streams are opened
    x: float | None = None  # its x in a table of growth; None: its streams

    @property
    def at(self) -> float:
        """The x of this load in its table."""
        return self.streams if self.x is None else self.x

    @property
    def ramp_ms(self) -> int:
        """Milliseconds over which the streams are opened.

        By default at most half a stream's life, so that in the other half all streams run.
        """
        if self.ramp is not None:
            return self.ramp
        return min(self.streams, self.length * self.pace_ms // 2)

    @property
    def limit_s(self) -> int:
        """Seconds after which a run counts as hung."""
        expected_ms = self.ramp_ms + self.length * self.pace_ms
        return min(600, 2 * expected_ms // 1000 + 60)


@dataclass
class Run:
    """The figures of one run of the load generator against one server."""

    server: str
    at: float
    round: int
    error: str = ""
    pace_ms: int = 0
    streams: int = 0
    cpu_us: float | None = None  # per event; while all streams ran, if `steady`
    kernel_us: float | None = None  # the part of it spent in the kernel
    steady: bool = False
    events_per_s: float = 0
    gap_ms: dict[str, float] = field(default_factory=dict)  # p50, p99, p999, max
    first_ms: dict[str, float] = field(default_factory=dict)
    setup_us: float | None = None  # CPU per stream until each has its first event
    rss_kib: float = 0  # resident memory per stream
    core_busy: float | None = None  # share of the server's core that anything used
    other_work: float | None = None  # share that others than the server used
    client_busy: float = 0  # share of its core that the load generator used
    client_other: float = 0  # share of that core that others used
    stolen: float = 0  # share of the server's core that the hypervisor took
    events_per_character: float = 1
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    extra: dict[str, float] = field(default_factory=dict)  # a scenario's own figures


def _kernel_us(d: dict[str, Any], steady: float | None) -> float | None:
    """Return the kernel's CPU per event in µs, or None for a short run.

    The kernel counts it in ticks of 10 ms, so a short run has too few of them.
    """
    if not steady or steady * d["steady_events"] < 500_000:
        return None
    return float(steady - d["steady_user_us_per_event"])


def failed_run(server: Server, load: Load, round_: int, error: Exception) -> Run:
    """Return the run of a server that could not be measured, because of `error`."""
    return Run(
        server.name,
        load.at,
        round_,
        error=str(error),
        pace_ms=load.pace_ms,
        streams=load.streams,
        failed=load.streams,
    )


def as_run(server: Server, load: Load, round_: int, d: dict[str, Any]) -> Run:
    """Return the load generator's report as a `Run`."""
    steady = d["steady_cpu_us_per_event"] if load.pace_ms else None
    core, rate = d["steady_core_us_per_event"], d["steady_events_per_s"]
    expected = d["completed"] * load.length
    return Run(
        server.name,
        load.at,
        round_,
        pace_ms=load.pace_ms,
        streams=load.streams,
        cpu_us=steady or (d["cpu_us_per_event"] if d["events"] else None),
        kernel_us=_kernel_us(d, steady),
        steady=bool(steady),
        events_per_s=d["events_per_s"],
        gap_ms=d["gap_ms"],
        first_ms=d["first_event_ms"],
        setup_us=d["setup_cpu_us_per_stream"],
        rss_kib=d["rss_kib_per_stream"] or 0,
        core_busy=core * rate / 1e6 if rate and core else None,
        other_work=(core - steady) * rate / 1e6 if rate and steady and core else None,
        client_busy=d["client_cpu_s"] / d["elapsed_s"],
        client_other=(d["client_core_s"] - d["client_cpu_s"]) / d["elapsed_s"],
        stolen=d["stolen_s"] / d["elapsed_s"],
        events_per_character=d["events"] / expected if expected else 1,
        failed=d["failed"],
        reasons=d["reasons"],
    )


def load_command(
    server: Server, load: Load, port: int, pids: Iterable[int], cores: Cores
) -> list[str]:
    """Return the load generator's command line, which runs it on its own core."""
    values: dict[str, object] = {
        "--port": port,
        "--mode": load.mode,
        "--streams": load.streams,
        "--length": load.length,
        "--ramp": load.ramp_ms,
        "--timeout": load.limit_s,
        "--charset": load.charset,
        "--poll": POLL_US,
        "--cpu": cores.server,
    }
    if server.path:
        values["--path"] = server.path
    command: list[object] = [kit.LOAD, *server.options, *load.options]
    for name, value in values.items():
        command += [name, value]
    for pid in pids:
        command += ["--pid", pid]
    return cores.place(cores.client, *command)


def run_load(
    server: Server, load: Load, port: int, pids: Iterable[int], cores: Cores
) -> dict[str, Any]:
    """Run the load generator to its end and return its report, with the other use of the cores.

    Raises `Failed` if it does not print a report.
    """
    began, busy = time.monotonic(), core_seconds(cores.client)
    stolen = stolen_seconds(cores.server)
    command = load_command(server, load, port, pids, cores)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said = (done.stderr or done.stdout).strip()[-300:]
        raise Failed(f"load: {said}") from None
    return {
        **report,
        "client_core_s": core_seconds(cores.client) - busy,
        "stolen_s": stolen_seconds(cores.server) - stolen,
        "elapsed_s": time.monotonic() - began,
    }


def warm_up(server: Server, load: Load, port: int, cores: Cores) -> None:
    """Run a small load first, so that a server loads and compiles its code. Raises `Failed`."""
    length = 5 if load.pace_ms else min(200, load.length)
    small = replace(load, streams=32, length=length, options=(), ramp=None)
    if load.pace_ms > 1000:
        small = replace(small, length=1)
    report = run_load(server, small, port, [], cores)
    if report["failed"]:
        raise Failed(f"warm-up failed: {reasons_text(report['reasons'])}")
    time.sleep(0.2)


def measure(server: Server, load: Load, round_: int, cores: Cores) -> Run:
    """Start a fresh server, warm it up, run the load, and return the `Run`.

    A failure does not raise: it is returned as a `Run` with an `error`.
    """
    try:
        limit_s = load.limit_s + 120
        with started(server, load.pace_ms, cores, limit_s) as (port, pids):
            warm_up(server, load, port, cores)
            report = run_load(server, load, port, pids, cores)
        run = as_run(server, load, round_, report)
        if run.cpu_us == 0:
            raise Failed("used no CPU at all: it must stay in the foreground")
        return run
    except Failed as e:
        return failed_run(server, load, round_, e)


def reasons_text(reasons: dict[str, int]) -> str:
    """Return one line with the reasons why streams failed, and how many failed for each."""
    return ", ".join(f"{n} × {why}" for why, n in reasons.items())


Measure = Callable[[Server, Load, int, Cores], Run]


def interleaved(
    servers: Sequence[Server],
    loads: Sequence[Load],
    rounds: int,
    cores: Cores,
    measure: Measure = measure,
) -> list[Run]:
    """Measure all servers in turn in each round, so that a slow spell of the machine hits all.

    Return the runs made so far when the first server, with which all are compared, fails.
    """
    runs: list[Run] = []
    total = len(servers) * len(loads) * rounds
    for round_ in range(rounds):
        for load in loads:
            for server in servers:
                run = measure(server, load, round_, cores)
                runs.append(run)
                _report(run, len(runs), total)
                if run.error and server is servers[0]:
                    return runs
    return runs


def _report(run: Run, count: int, total: int) -> None:
    what = run.error or f"{run.failed} failed"
    if run.cpu_us is not None:
        what = f"{run.cpu_us:.2f} µs/event, {run.events_per_s:.0f} events/s, {what}"
    where = f"[{count}/{total}] {run.server} at {run.at:g}"
    print(f"  {where}: {what}", file=sys.stderr, flush=True)
