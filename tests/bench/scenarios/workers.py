"""Two workers on two cores: how many times the tokens of one worker on one core do they carry?

One worker, and then two, stream a model's replies with the store in Redis, with the same number of
replies for each worker. The first worker has the server's core alone. The second shares the load's core
with the readers, the model and Redis, so neither can be driven to its limit here. What is measured is the
CPU that each worker takes for a token, and how evenly the kernel gives them the connections. From both
follows at how many tokens/s the busiest worker takes `FULL` of a core.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from .. import kit
from ..machine import Cores
from ..measuring import Load, Run, as_run, failed_run, interleaved, run_load, warm_up
from ..processes import Failed, Server, family, started, wait_for_listeners
from ..relay_tables import PACE
from ..report import (
    DASH,
    Outcome,
    Panel,
    Table,
    median,
    notes,
    number,
    pick,
    quantiles,
    ratio,
    series,
    spread,
    with_range,
)
from ..servers import REDIS_SERVER
from .plan import Plan
from .relay import TOKEN

FULL = 0.8
"""The share of its core that the busiest worker is to take."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    parser.add_argument("--workers", type=int, default=2, help="compared with one")
    parser.add_argument("--streams", type=int, default=100, help="for each worker")
    parser.add_argument("--tokens", type=int, default=250, help="in each of them")
    parser.add_argument("--gap", type=int, default=40, help="ms between two tokens")
    parser.add_argument(
        "--ramp", type=int, default=1000, help="ms in which the replies begin"
    )


def capacity(run: Run) -> float | None:
    """Return the tokens/s at which the busiest worker takes `FULL` of its core, if that is known."""
    return run.extra.get("capacity")


def run(plan: Plan) -> Outcome:
    """Measure one worker and several, in interleaved rounds."""
    title = (
        f"workers: {plan.streams} replies of {plan.tokens} tokens for each worker, one token "
        f"each {plan.gap} ms, in Redis; rounds: {plan.rounds}"
    )
    try:
        kit.ensure("model")
        runs = _runs(plan)
    except (kit.NotBuilt, Failed) as e:
        return Outcome(title, [], [f"FAILED: {e}"], failed=True)
    names = list(dict.fromkeys(run.server for run in runs))
    at = runs[0].at
    return Outcome(
        title,
        [table(runs, names, at)],
        notes(runs) + list(_doubts(runs)),
        [Panel(f"tokens/s at {FULL:.0%}", series(runs, names, [at], capacity))],
        runs,
    )


def _runs(plan: Plan) -> list[Run]:
    model = Server("the model", (str(kit.MODEL), "{port}", "{pace}"))
    length = plan.tokens * TOKEN
    load = Load(plan.streams, length, plan.gap, ramp=plan.ramp, x=plan.tokens)
    counts = {"1 worker": 1, f"{plan.workers} workers": plan.workers}
    limit_s = 2 * plan.rounds * (load.limit_s + 120)
    core = plan.cores.client
    with started(model, plan.gap, plan.cores, limit_s, core) as (port, _):
        flags = [*("--backend", "openai", "--pace", "0", "--store", "{store}")]
        flags += ["--openai-url", f"http://127.0.0.1:{port}/v1"]
        servers = [
            plan.server.named(name, *flags, "--workers", str(count))
            for name, count in counts.items()
        ]
        measure = partial(_measure, counts)
        return interleaved(servers, [load], plan.rounds, plan.cores, measure)


def _measure(
    counts: dict[str, int], server: Server, load: Load, round_: int, cores: Cores
) -> Run:
    """Return the run of so many workers; a failure is returned as its `error`."""
    count = counts[server.name]
    limit_s = load.limit_s + 120
    load = Load(
        load.streams * count, load.length, load.pace_ms, ramp=load.ramp, x=load.x
    )
    try:
        with started(REDIS_SERVER, 0, cores, limit_s, cores.client) as (store, _):
            server = server.filled(store=f"redis://127.0.0.1:{store}/0")
            with started(server, load.pace_ms, cores, limit_s) as (port, pids):
                wait_for_listeners(port, count)
                workers = childless(family(pids[0]))
                if len(workers) != count:
                    raise Failed(f"{len(workers)} workers run")
                for worker, core in zip(workers, [cores.server, cores.client]):
                    os.sched_setaffinity(worker, {core})
                warm_up(server, load, port, cores)
                before = [_cpu_us(worker) for worker in workers]
                report = run_load(server, load, port, workers, cores)
                after = [_cpu_us(worker) for worker in workers]
    except (Failed, OSError) as e:
        return failed_run(server, load, round_, e)
    run = as_run(server, load, round_, report)
    used_us = [b - a for a, b in zip(before, after, strict=True)]
    tokens = report["points"] / TOKEN or 1
    run.extra = figures(used_us, tokens)
    if report["steady_points_per_s"]:
        asked = load.streams * TOKEN * 1000 / load.pace_ms
        run.extra["kept_pace"] = report["steady_points_per_s"] / asked
    # The gaps and the number of events are those of the door, not of the model.
    run.pace_ms, run.events_per_character = 0, 1
    return run


def figures(used_us: list[float], tokens: float) -> dict[str, float]:
    """Return the figures of workers that have used so much CPU (µs) for so many tokens of all."""
    return {
        "token_us": sum(used_us) / tokens,
        "busiest": max(used_us) / sum(used_us),
        "capacity": FULL * 1e6 / (max(used_us) / tokens),
    }


def childless(pids: Iterable[int]) -> list[int]:
    """Return the processes that have no children among these, the oldest first."""
    stats = {pid: Path(f"/proc/{pid}/stat").read_text() for pid in pids}
    parents = {int(stat.rpartition(")")[2].split()[1]) for stat in stats.values()}
    return sorted(set(stats) - parents)


def _cpu_us(pid: int) -> float:
    """Return the CPU that all threads of a process have used (µs)."""
    used_ns = 0
    for task in os.scandir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            used_ns += int(Path(task.path, "schedstat").read_text().split()[0])
    return used_ns / 1000


def table(runs: list[Run], names: list[str], at: float) -> Table:
    """Return the table of one worker, the first of the names, and of several."""
    one = names[0]
    head = ["", "N", "CPU µs/token", "busiest worker's share", "events in time"]
    head += [f"tokens/s at {FULL:.0%}", "÷ one", "gap ms p50/p99"]
    lines = []
    for name in names:
        mine = pick(runs, name, at)
        times = None if name == one else ratio(runs, name, one, at, capacity)
        pace = median(mine, lambda run: run.extra.get("kept_pace"))
        lines.append(
            [
                name,
                str(mine[0].streams) if mine else DASH,
                with_range(spread(mine, lambda run: run.extra["token_us"]), 1),
                with_range(spread(mine, lambda run: run.extra["busiest"])),
                DASH if pace is None else f"{pace:.0%}",
                with_range(spread(mine, capacity), 0),
                number(times, 2),
                quantiles(mine, "gap_ms", "p50", "p99"),
            ]
        )
    return Table(head, lines)


def _doubts(runs: list[Run]) -> Iterable[str]:
    """Yield what to distrust in the runs, besides what `notes` says."""
    for run in runs:
        pace = run.extra.get("kept_pace", 1)
        if not run.failed and pace < PACE:
            yield (
                f"{run.server}, round {run.round + 1}: tokens came at {pace:.0%} of the model's "
                "pace: late ones are read together, and look cheap"
            )
