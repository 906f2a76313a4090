"""The main table: CPU per event, gaps, first event and memory, beside the peers."""

import argparse

from ..measuring import Load, Run, interleaved
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
from .plan import Plan, numbers, peer_arguments

PACE_MS = 100


def mode_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the transport, the peers and the characters."""
    parser.add_argument("--ws", action="store_true", help="over WebSockets")
    parser.add_argument(
        "--subprotocol", metavar="NAME", help="of the server measured; peers use none"
    )
    peer_arguments(parser)
    parser.add_argument(
        "--charset", default="ascii", choices=("ascii", "utf8", "emoji", "all")
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    mode_arguments(parser)
    parser.add_argument("--streams", type=numbers, default=[2500], metavar="N,N,…")
    parser.add_argument("--length", type=int, default=55, help="characters in each")


def cpu_us(run: Run) -> float | None:
    """Return the CPU of an event in µs, or None if it is not known."""
    return run.cpu_us


def p99_gap(run: Run) -> float | None:
    """Return the p99 of the gap between two events in ms, or None if it is not known."""
    return run.gap_ms.get("p99")


def run(plan: Plan) -> Outcome:
    """Measure all servers at each number of streams."""
    mode = "ws" if plan.ws else "sse"
    servers, missing = plan.servers(mode)
    loads = [
        Load(n, plan.length, PACE_MS, mode=mode, charset=plan.charset)
        for n in plan.streams
    ]
    runs = interleaved(servers, loads, plan.rounds, plan.cores)
    places = [load.at for load in loads]
    names = [server.name for server in servers]
    counts = ", ".join(map(str, plan.streams))
    over = plan.subprotocol or ("bare WebSocket" if plan.ws else "SSE")
    return Outcome(
        f"{over}: {counts} streams of {plan.length} characters, "
        f"one each {PACE_MS} ms; rounds: {plan.rounds}",
        [_table(runs, names, places)],
        missing + _stores(plan, runs, places) + notes(runs),
        [
            Panel("server CPU, µs per event", series(runs, names, places, cpu_us), "N"),
            Panel("p99 gap, ms", series(runs, names, places, p99_gap), "N"),
        ],
        runs,
    )


def _stores(plan: Plan, runs: list[Run], places: list[float]) -> list[str]:
    """Return a line with the cost of another store as a multiple of the cost in memory."""
    own, *others = (server.name for server in plan.own())
    return [
        f"{name} ÷ {own} at {at:g}: {number(ratio(runs, name, own, at, cpu_us), 2)}"
        for name in others
        for at in places
    ]


def _table(runs: list[Run], names: list[str], places: list[float]) -> Table:
    own = names[0]
    head = ["server", "N", "CPU µs/event", f"{own} ÷ this", "kernel µs"]
    head += ["gap ms p50/p99/p99.9", "first event ms p50/p99", "KiB/stream", "core"]
    lines = []
    for name in names:
        for at in places:
            mine = pick(runs, name, at)
            whole_run = "" if all(r.steady for r in mine) else "~"
            busy = median(mine, lambda r: r.core_busy)
            share = ratio(runs, own, name, at, cpu_us)
            lines.append(
                [
                    name,
                    f"{at:g}",
                    whole_run + with_range(spread(mine, cpu_us)),
                    DASH if name == own else number(share, 2),
                    number(median(mine, lambda r: r.kernel_us)),
                    quantiles(mine, "gap_ms", "p50", "p99", "p999"),
                    quantiles(mine, "first_ms", "p50", "p99"),
                    number(median(mine, lambda r: r.rss_kib)),
                    DASH if busy is None else f"{busy:.0%}",
                ]
            )
    return Table(head, lines)
