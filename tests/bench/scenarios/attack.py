"""Minutes of every attack of tests/attack beside innocent chats: gaps, losses, memory."""

import argparse
import asyncio
import statistics

from tests.attack.trial import RUNNING, Result, Setup
from tests.attack.trial import run as run_trial

from ..measuring import Run
from ..report import Outcome, Panel, Series, Table, number
from .plan import Plan
from .table import PACE_MS

FLAT_MIB = 4.0
"""By how much memory may grow from the second quarter to the last.

The ids of expired replies are in it, which are known for a day by contract: 10 bytes each, and 175
for each of the last 16,384.
"""
QUANTILES = ("p50", "p99", "max")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--alone", type=float, default=30, help="seconds before that")
    parser.add_argument("--chats", type=int, default=200, help="innocent ones, at once")
    parser.add_argument("--length", type=int, default=100, help="characters of each")
    parser.add_argument(
        "--attacks", default="", metavar="A,B", help="default: all at once"
    )


def run(plan: Plan) -> Outcome:
    """Run the chats alone, then beside the attacks, and sample the node's memory."""
    seconds = plan.minutes * 60
    setup = Setup(
        judged=RUNNING,
        seconds=seconds,
        alone_s=plan.alone,
        attacks=tuple(name for name in plan.attacks.split(",") if name),
        chats=plan.chats,
        pace_s=PACE_MS / 1000,
        length=plan.length,
        command=[
            word.replace("{seconds}", "0").replace("{pace}", "0")
            for word in plan.server.command
        ],
        cores=(plan.cores.server, plan.cores.client),
    )
    which = plan.attacks or "all attacks"
    title = f"attack: {plan.minutes:g} minutes of {which} beside {plan.chats} chats"
    try:
        result = asyncio.run(run_trial(setup))
    except (EOFError, TimeoutError) as e:
        failed = Run(plan.server.name, 0, 0, error=str(e), failed=plan.chats)
        return Outcome(title, [], [f"FAILED: {e}"], runs=[failed])
    figures = Run(plan.server.name, plan.chats, 0, streams=plan.chats)
    figures.reasons = result.beside["lost"]
    figures.failed = sum(figures.reasons.values())
    figures.gap_ms = result.beside["times"].get("gap", {})
    figures.first_ms = result.beside["times"].get("first", {})
    quarters = _quarters(result)
    figures.extra = {f"quarter_{i + 1}_mib": mib for i, mib in enumerate(quarters)}
    notes = [f"WON: {why}" for why in result.failures]
    grown = quarters[3] - quarters[1]
    if grown > FLAT_MIB:
        notes.append(f"NOT FLAT: {grown:.1f} MiB more in the last quarter")
    failed_too = bool(notes)
    notes.append(f"the node waited {result.waited_s:.1f} s while others had its core")
    line = Series(
        plan.server.name,
        [second / 60 for second, _ in result.resident],
        [mib for _, mib in result.resident],
    )
    panel = Panel("resident MiB", [line], "minutes")
    tables = [_times(result), _memory(result, quarters), _seen(result)]
    return Outcome(title, tables, notes, [panel], [figures], failed_too)


def _quarters(result: Result) -> list[float]:
    """Return the mean of the resident MiB in each quarter of the time."""
    samples = [mib for _, mib in result.resident] or [0.0]
    size = max(1, len(samples) // 4)
    parts = (samples[at * size : (at + 1) * size] for at in range(4))
    return [statistics.mean(part or samples[-1:]) for part in parts]


def _times(result: Result) -> Table:
    head = ["ms, p50 / p99 / max", "alone", "beside the attacks", "requests or events"]
    lines = []
    for name, alone in result.alone["times"].items():
        beside = result.beside["times"].get(name, {})
        cells = [
            " / ".join(number(times.get(q)) for q in QUANTILES)
            for times in (alone, beside)
        ]
        lines.append([name, *cells, f"{beside.get('count', 0):.0f}"])
    return Table(head, lines)


def _memory(result: Result, quarters: list[float]) -> Table:
    head = ["replies", "lost", "descriptors before", "after"]
    head += [f"MiB, quarter {i}" for i in range(1, 5)]
    lost = sum(result.beside["lost"].values())
    counts = [result.beside["replies"], lost, *result.descriptors]
    return Table(head, [[*map(str, counts), *map(number, quarters)]])


def _seen(result: Result) -> Table:
    lines = [
        [name, ", ".join(f"{what} ×{count}" for what, count in seen.items())]
        for name, seen in result.seen.items()
    ]
    return Table(["attack", "what came back"], lines)
