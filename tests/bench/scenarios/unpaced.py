"""Events per second without pacing, as in the bursts of a backend."""

import argparse

from ..measuring import Load, Run, interleaved
from ..report import (
    DASH,
    Outcome,
    Panel,
    Table,
    notes,
    number,
    pick,
    quantiles,
    ratio,
    series,
    spread,
    with_range,
)
from .plan import Plan
from .table import cpu_us, mode_arguments


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    mode_arguments(parser)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--length", type=int, default=2000, help="characters in each")


def rate(run: Run) -> float | None:
    """Return the events per second, or None if there were none."""
    return run.events_per_s or None


def run(plan: Plan) -> Outcome:
    """Measure all servers with streams that nothing paces."""
    mode = "ws" if plan.ws else "sse"
    servers, missing = plan.servers(mode)
    own = servers[0]
    load = Load(plan.streams, plan.length, 0, mode=mode, charset=plan.charset)
    runs = interleaved(servers, [load], plan.rounds, plan.cores)
    names = [server.name for server in servers]
    lines = []
    for name in names:
        mine = pick(runs, name, load.at)
        share = ratio(runs, own.name, name, load.at, rate)
        lines.append(
            [
                name,
                with_range(spread(mine, rate), 0),
                DASH if name == own.name else number(share, 2),
                with_range(spread(mine, cpu_us)),
                quantiles(mine, "first_ms", "p50", "p99"),
            ]
        )
    head = ["server", "events/s", f"{own.name} ÷ this", "CPU µs/event"]
    head += ["first event ms p50/p99"]
    return Outcome(
        f"{mode.upper()}, unpaced: {plan.streams} streams of {plan.length} "
        f"characters; rounds: {plan.rounds}",
        [Table(head, lines)],
        missing + notes(runs),
        [Panel("events per second", series(runs, names, [load.at], rate))],
        runs,
    )
