"""Many minutes of streams that end, are cut and resumed, leave or are stopped: is memory flat?"""

import argparse
import contextlib
import json
import re
import statistics
import subprocess
import time
import urllib.request
from typing import Any

from ..measuring import Load, Run, load_command, reasons_text, warm_up
from ..processes import Failed, Server, resident_kib, started
from ..report import Outcome, Panel, Series, Table, number
from .plan import Plan
from .table import PACE_MS

GRACE_S = 5  # at most, for replies without readers, so that the end of the run is short


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--streams", type=int, default=2000, help="at once")
    parser.add_argument(
        "--length", type=int, default=600, help="characters at most; any from 1 on"
    )
    parser.add_argument(
        "--keep", type=float, default=60, help="seconds that the server keeps replies"
    )
    parser.add_argument(
        "--charset", default="all", choices=("ascii", "utf8", "emoji", "all")
    )


def run(plan: Plan) -> Outcome:
    """Run the streams for the given minutes, and sample the server's memory."""
    seconds = max(1, round(plan.minutes * 60))
    grace = min(plan.keep, GRACE_S)
    flags = ("--keep", f"{plan.keep:g}", "--grace", f"{grace:g}")
    server = plan.server.named(plan.server.name, *flags)
    churn = ("--churn", str(seconds))
    load = Load(plan.streams, plan.length, PACE_MS, charset=plan.charset, options=churn)
    title = (
        f"soak: {plan.minutes:g} minutes of {plan.streams} streams of up to "
        f"{plan.length} characters, one each {PACE_MS} ms; kept {plan.keep:g} s"
    )
    samples: list[tuple[float, float]] = []  # minutes, MiB
    try:
        report = _soak(plan, server, load, seconds, samples)
    except Failed as e:
        run = Run(server.name, 0, 0, error=str(e), failed=plan.streams)
        return Outcome(title, [], [f"FAILED: {e}"], runs=[run])
    run = Run(server.name, plan.streams, 0, streams=plan.streams)
    run.failed, run.reasons = report["failed"], report["reasons"]
    run.gap_ms, run.first_ms = report["gap_ms"], report["first_event_ms"]
    said = [f"FAILED: {reasons_text(run.reasons)}"] if run.failed else []
    if report["left_over"]:
        said.append(f"STILL RUNNING after all readers left: {report['left_over']}")
    run.extra = {**report["ended"], "opened": report["opened"], **_drift(samples)}
    panel = Panel("resident MiB", [_line(server.name, samples)], "minutes")
    tables = [_ends(report), _memory(run.extra)]
    return Outcome(title, tables, said, [panel], [run], bool(report["left_over"]))


def _soak(
    plan: Plan,
    server: Server,
    load: Load,
    seconds: int,
    samples: list[tuple[float, float]],
) -> dict[str, Any]:
    limit_s = seconds + load.length * PACE_MS // 1000 + 60
    with started(server, PACE_MS, plan.cores, limit_s + 120) as (port, pids):
        warm_up(server, load, port, plan.cores)
        command = load_command(server, load, port, pids, plan.cores)
        command += ["--timeout", str(limit_s)]  # The last of two counts.
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                done = False
                while not done:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(max(0.2, seconds / 600))
                        done = True
                    elapsed = time.monotonic() - began
                    if elapsed <= seconds:  # After that the streams become fewer.
                        mib = resident_kib(pids) / 1024
                        samples.append((elapsed / 60, mib))
                said = process.stdout.read() if process.stdout else ""
            finally:
                process.terminate()
        try:
            report: dict[str, Any] = json.loads(said)
        except ValueError:
            raise Failed("the load generator said nothing") from None
        report["left_over"] = left_over(port)
    return report


def left_over(port: int) -> int | None:
    """Return how many replies still run without readers; None if the server has no such metric."""
    deadline = time.monotonic() + GRACE_S + 10
    while True:
        try:
            url = f"http://127.0.0.1:{port}/metrics"
            with urllib.request.urlopen(url, timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return None
        found = re.search(r"^chatsvc_replies_running (\S+)", text, re.MULTILINE)
        if found is None:
            return None
        running = int(float(found[1]))
        if not running or time.monotonic() > deadline:
            return running
        time.sleep(0.2)


def _drift(samples: list[tuple[float, float]]) -> dict[str, float]:
    """Return how memory changed.

    MiB at the start, in the second quarter and in the last one; KiB a minute in the last half.
    """
    quarter = max(1, len(samples) // 4)
    second = [mib for _, mib in samples[quarter : 2 * quarter]] or [samples[-1][1]]
    late = samples[len(samples) // 2 :]
    slope = 0.0
    if len({minute for minute, _ in late}) > 1:
        slope = statistics.linear_regression(*zip(*late, strict=True)).slope
    return {
        "first_mib": samples[0][1],
        "second_quarter_mib": statistics.mean(second),
        "last_quarter_mib": statistics.mean(mib for _, mib in samples[-quarter:]),
        "kib_per_minute": slope * 1024,
    }


def _ends(report: dict[str, Any]) -> Table:
    ended = report["ended"]
    head = ["opened", "whole", "cut, resumed", "left", "stopped", "failed", "events"]
    head += ["gap ms p50/p99/max"]
    counts = [ended[name] for name in ("whole", "resumed", "left", "stopped")]
    gaps = " / ".join(number(report["gap_ms"][q]) for q in ("p50", "p99", "max"))
    cells = [report["opened"], *counts, report["failed"], report["events"], gaps]
    return Table(head, [list(map(str, cells))])


def _memory(drift: dict[str, float]) -> Table:
    head = ["MiB at the start", "second quarter", "last quarter", "KiB/minute, late"]
    names = ("first_mib", "second_quarter_mib", "last_quarter_mib", "kib_per_minute")
    return Table(head, [[number(drift[name]) for name in names]])


def _line(name: str, samples: list[tuple[float, float]]) -> Series:
    return Series(name, [m for m, _ in samples], [mib for _, mib in samples])
