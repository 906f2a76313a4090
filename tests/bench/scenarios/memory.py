"""Memory of a stream, a reader and a kept reply; and whether many kept replies slow others."""

import argparse
from collections.abc import Iterator

from ..measuring import (
    Load,
    Run,
    as_run,
    interleaved,
    reasons_text,
    run_load,
    warm_up,
)
from ..processes import Failed, Server, resident_kib, started
from ..report import (
    Outcome,
    Panel,
    Series,
    Table,
    notes,
    number,
    pick,
    spread,
    with_range,
)
from .plan import Plan, store_argument
from .table import PACE_MS

TOGETHER = 100  # replies that run at once while many are made


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    store_argument(parser)
    parser.add_argument("--streams", type=int, default=2500)
    parser.add_argument("--readers", type=int, default=100, help="of each reply")
    parser.add_argument(
        "--kept", type=int, default=100_000, help="kept replies; 0: skip"
    )
    parser.add_argument("--length", type=int, default=100, help="characters in each")
    parser.add_argument(
        "--steps", type=int, default=10, help="in which their number grows"
    )


def rss_kib(run: Run) -> float | None:
    """Return the resident memory of a stream in KiB, or None if it is not known."""
    return run.rss_kib or None


def run(plan: Plan) -> Outcome:
    """Measure the memory of streams and readers, then of more and more kept replies."""
    servers = plan.own()
    names = [s.name for s in servers]
    alone = Load(plan.streams, 30, PACE_MS, x=1)
    shared = Load(
        plan.streams,
        30,
        PACE_MS,
        options=("--readers", str(plan.readers)),
        x=plan.readers,
    )
    runs = interleaved(servers, [alone, shared], plan.rounds, plan.cores)
    steps = {s.name: list(_fill(plan, s)) for s in servers if plan.kept}
    kept = [step for found in steps.values() for step in found]
    costs = [
        [
            name,
            with_range(spread(pick(runs, name, alone.at), rss_kib), 1),
            with_range(spread(pick(runs, name, shared.at), rss_kib), 1),
            number(_per_kept(steps.get(name, [])), 2),
        ]
        for name in names
    ]
    head = ["server", "KiB/stream", "KiB/reader", "KiB/kept reply"]
    tables = [Table(head, costs)]
    if kept:
        tables.append(_growth(kept))
    return Outcome(
        f"memory: {plan.streams} streams; as many readers, {plan.readers} of each "
        f"reply; {plan.kept} kept replies of {plan.length} characters",
        tables,
        notes(runs + kept),
        [
            Panel(
                "resident MiB",
                _lines(steps, "rss_mib"),
                "kept replies",
            ),
            Panel("CPU µs to make and read one more", _lines(steps, "each_us"), "kept"),
            Panel("first character, worst ms", _lines(steps, "calm_max_ms"), "kept"),
        ],
        runs + kept,
    )


def _fill(plan: Plan, server: Server) -> Iterator[Run]:
    """Yield a run for each step, in which the server keeps more replies than before.

    After each step a few streams with long pauses between them measure the first character.
    """
    server = server.named(server.name, "--keep", "86400")
    size = max(1, plan.kept // plan.steps)
    some = ("--window", str(TOGETHER))
    more = Load(size, plan.length, 0, options=some, x=0)
    spaced_out = min(300, size)
    calm = Load(spaced_out, 1, 0, ramp=5 * spaced_out)
    done = 0
    try:
        with started(server, 0, plan.cores, 3600) as (port, pids):
            warm_up(server, more, port, plan.cores)
            for step in range(plan.steps + 1):
                run = Run(server.name, done, 0, streams=size)
                if step:
                    done += size
                    report = run_load(server, more, port, pids, plan.cores)
                    run = as_run(server, more, 0, report)
                    run.at = done
                    each = report["cpu_us_per_event"] * report["events"] / size
                    run.extra["each_us"] = each
                run.extra["rss_mib"] = resident_kib(pids) / 1024
                look = run_load(server, calm, port, pids, plan.cores)
                done += calm.streams
                if look["failed"]:
                    raise Failed(reasons_text(look["reasons"]))
                for name in "p50", "p99", "max":
                    run.extra[f"calm_{name}_ms"] = look["first_event_ms"][name]
                run.first_ms = look["first_event_ms"]
                yield run
    except Failed as e:
        yield Run(server.name, done, 0, error=str(e), failed=size)


def _per_kept(steps: list[Run]) -> float | None:
    good = [r for r in steps if not r.failed]
    if len(good) < 2:
        return None
    # Not from 0: the memory of the first replies contains what the process needs only once.
    first, last = good[1] if len(good) > 2 else good[0], good[-1]
    mib = last.extra["rss_mib"] - first.extra["rss_mib"]
    return mib * 1024 / (last.at - first.at)


def _growth(steps: list[Run]) -> Table:
    lines = []
    for run in steps:
        if not run.failed:
            lines.append(
                [
                    run.server,
                    f"{run.at:g}",
                    number(run.extra.get("each_us"), 0),
                    number(run.extra["rss_mib"]),
                    " / ".join(
                        number(run.extra[f"calm_{name}_ms"])
                        for name in ("p50", "p99", "max")
                    ),
                ]
            )
    head = ["server", "kept", "CPU µs for one more", "resident MiB"]
    return Table([*head, "first character ms p50/p99/max"], lines)


def _lines(steps: dict[str, list[Run]], figure: str) -> list[Series]:
    lines = []
    for name, runs in steps.items():
        known = [r for r in runs if figure in r.extra]
        y = [r.extra[figure] for r in known]
        lines.append(Series(name, [r.at for r in known], y))
    return lines
