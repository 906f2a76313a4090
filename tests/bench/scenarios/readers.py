"""Many readers of one reply, and long replies: do their costs grow linearly?"""

import argparse

from ..measuring import Load, Run, interleaved
from ..report import (
    Outcome,
    Panel,
    Table,
    median,
    notes,
    number,
    pick,
    quantiles,
    series,
    spread,
    with_range,
)
from .plan import Plan, numbers, store_argument
from .table import PACE_MS, cpu_us
from .unpaced import rate


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    store_argument(parser)
    parser.add_argument(
        "--readers", type=numbers, default=[1, 10, 100, 1000], metavar="R,R,…"
    )
    parser.add_argument("--streams", type=int, default=1000, help="in all, paced")
    parser.add_argument("--length", type=int, default=60, help="of a paced reply")
    parser.add_argument(
        "--lengths",
        type=numbers,
        default=[1024, 16_384, 65_536, 262_144],
        metavar="L,L,…",
        help="characters (and bytes) of a long reply, unpaced",
    )
    parser.add_argument(
        "--total", type=int, default=2**21, help="characters in all for each length"
    )


def run(plan: Plan) -> Outcome:
    """Measure replies with more and more readers, then longer and longer replies."""
    servers = plan.own()
    # The number of streams is always the same: an event costs less when more share a wake-up.
    shared = [
        Load(plan.streams, plan.length, PACE_MS, options=("--readers", str(r)), x=r)
        for r in plan.readers
    ]
    # The server echoes the message, so a long reply needs a long message.
    roomy = [s.named(s.name, "--max-message", "1MiB") for s in servers]
    long = [
        Load(
            max(1, plan.total // length), length, 0, options=("--window", "8"), x=length
        )
        for length in plan.lengths
    ]
    runs = interleaved(servers, shared, plan.rounds, plan.cores)
    long_runs = interleaved(roomy, long, plan.rounds, plan.cores)
    names = [s.name for s in servers]
    at_readers = [load.at for load in shared]
    at_length = [load.at for load in long]
    return Outcome(
        f"one reply, many readers: {plan.streams} readers in all, one character each "
        f"{PACE_MS} ms; long replies: {plan.total} characters in all, 8 at once, "
        f"unpaced; rounds: {plan.rounds}",
        [
            _readers(runs, names, at_readers),
            _lengths(long_runs, names, at_length),
        ],
        notes(runs + long_runs),
        [
            Panel(
                "server CPU, µs per event",
                series(runs, names, at_readers, cpu_us),
                "readers of each reply",
            ),
            Panel(
                "unpaced, events per second",
                series(long_runs, names, at_length, rate),
                "characters of each reply",
            ),
        ],
        runs + long_runs,
    )


def _readers(runs: list[Run], names: list[str], places: list[float]) -> Table:
    lines = [
        [
            name,
            f"{at:g}",
            with_range(spread(mine := pick(runs, name, at), cpu_us)),
            quantiles(mine, "gap_ms", "p50", "p99", "p999"),
            quantiles(mine, "first_ms", "p50", "p99"),
            number(median(mine, lambda r: r.rss_kib)),
        ]
        for name in names
        for at in places
    ]
    head = ["server", "readers", "CPU µs/event", "gap ms p50/p99/p99.9"]
    head += ["first event ms p50/p99", "KiB/reader"]
    return Table(head, lines)


def _lengths(runs: list[Run], names: list[str], places: list[float]) -> Table:
    lines = [
        [
            name,
            f"{at:g}",
            with_range(spread(mine := pick(runs, name, at), cpu_us)),
            with_range(spread(mine, rate), 0),
            quantiles(mine, "first_ms", "p50", "p99"),
        ]
        for name in names
        for at in places
    ]
    head = [
        "server",
        "characters",
        "CPU µs/event",
        "events/s",
        "first event ms p50/p99",
    ]
    return Table(head, lines)
