"""Minutes of clients that hold memory, beside innocent chats: losses, memory under a budget."""

import argparse
import asyncio
import statistics

from tests.attack.appetites import APPETITES
from tests.attack.trial import RUNNING, Result, Setup
from tests.attack.trial import run as run_trial

from ..measuring import Run
from ..report import Outcome, Panel, Series, Table, number
from .plan import Plan
from .table import PACE_MS

FLAT = 0.05
"""By which share memory may grow from the second quarter to the last."""
PER_CLIENT = 250
"""Running replies that one client may have: each appetite is one."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--alone", type=float, default=30, help="seconds before that")
    parser.add_argument("--chats", type=int, default=100, help="innocent ones, at once")
    parser.add_argument("--length", type=int, default=100, help="characters of each")
    parser.add_argument("--max-memory", default="512MiB", metavar="BYTES")
    parser.add_argument(
        "--appetites", default="", metavar="A,B", help="default: all at once"
    )


def run(plan: Plan) -> Outcome:
    """Run the chats alone, then beside the appetites, and sample the node's memory."""
    names = [name for name in plan.appetites.split(",") if name] or [*APPETITES]
    command = [
        word.replace("{seconds}", "0").replace("{pace}", "0")
        for word in plan.server.command
    ]
    command += ["--max-memory", plan.max_memory, "--max-per-client", str(PER_CLIENT)]
    setup = Setup(
        judged=RUNNING,
        seconds=plan.minutes * 60,
        alone_s=plan.alone,
        attacks=tuple(names),
        chats=plan.chats,
        pace_s=PACE_MS / 1000,
        length=plan.length,
        command=command,
        cores=(plan.cores.server, plan.cores.client),
    )
    title = (
        f"budget: {plan.minutes:g} minutes under {plan.max_memory} of"
        f" {', '.join(names)} beside {plan.chats} chats"
    )
    try:
        result = asyncio.run(run_trial(setup))
    except (EOFError, TimeoutError) as e:
        failed = Run(plan.server.name, 0, 0, error=str(e), failed=plan.chats)
        return Outcome(title, [], [f"FAILED: {e}"], runs=[failed])
    figures = Run(plan.server.name, plan.chats, 0, streams=plan.chats)
    figures.reasons = result.beside["lost"]
    figures.failed = sum(figures.reasons.values())
    figures.gap_ms = result.beside["times"].get("gap", {})
    quarters = _quarters(result)
    figures.extra = {f"quarter_{i + 1}_mib": mib for i, mib in enumerate(quarters)}
    # What is lost or left behind fails the run. Gaps are shown: large bodies take their time.
    notes = [f"LOST: {why}" for why in result.faults]
    if quarters[3] > quarters[1] * (1 + FLAT):
        grown = quarters[3] - quarters[1]
        notes.append(f"NOT FLAT: {grown:.1f} MiB more in the last quarter")
    failed_too = bool(notes)
    notes += [f"late: {why}" for why in result.late]
    line = Series(
        plan.server.name,
        [second / 60 for second, _ in result.resident],
        [mib for _, mib in result.resident],
    )
    tables = [_innocents(result), _memory(result, quarters), _seen(result)]
    panel = Panel("resident MiB", [line], "minutes")
    return Outcome(title, tables, notes, [panel], [figures], failed_too)


def _quarters(result: Result) -> list[float]:
    """Return the mean of the resident MiB in each quarter of the time."""
    samples = [mib for _, mib in result.resident] or [0.0]
    size = max(1, len(samples) // 4)
    parts = (samples[at * size : (at + 1) * size] for at in range(4))
    return [statistics.mean(part or samples[-1:]) for part in parts]


def _innocents(result: Result) -> Table:
    def cells(times: dict[str, float]) -> str:
        return " / ".join(number(times.get(name)) for name in ("p50", "p99", "max"))

    lost = sum(result.beside["lost"].values())
    gaps = [each["times"].get("gap", {}) for each in (result.alone, result.beside)]
    head = ["replies", "lost", "gap ms p50 / p99 / max, alone", "beside the appetites"]
    return Table(head, [[str(result.beside["replies"]), str(lost), *map(cells, gaps)]])


def _memory(result: Result, quarters: list[float]) -> Table:
    most = max((mib for _, mib in result.resident), default=0.0)
    head = [f"MiB, quarter {i}" for i in range(1, 5)] + ["most"]
    return Table(head, [[*map(number, quarters), number(most)]])


def _seen(result: Result) -> Table:
    lines = [
        [name, ", ".join(f"{what} ×{count}" for what, count in seen.items())]
        for name, seen in result.seen.items()
    ]
    return Table(["appetite", "what came back"], lines)
