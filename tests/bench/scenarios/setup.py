"""The cost of a new stream: CPU up to its first character, and its wait among many others."""

import argparse
import contextlib
import subprocess
from collections.abc import Iterator

from ..machine import Cores
from ..measuring import (
    Load,
    Run,
    as_run,
    failed_run,
    interleaved,
    load_command,
    measure,
    reasons_text,
    run_load,
    warm_up,
)
from ..processes import Failed, Server, started
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
from .plan import Plan, peer_arguments

PACE_MS = 100


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    peer_arguments(parser, "go")
    parser.add_argument("--streams", type=int, default=500, help="set up, alone")
    parser.add_argument(
        "--ramp", type=int, default=400, help="ms in which these are opened"
    )
    parser.add_argument(
        "--crowd", type=int, default=5000, help="streams that run; 0: skip"
    )
    parser.add_argument(
        "--seconds",
        type=int,
        default=10,
        help="in each of which 50 join the crowd",
    )


def setup_us(run: Run) -> float | None:
    """Return the CPU of a new stream in µs, or None if it is not known."""
    return run.setup_us


def p99_first(run: Run) -> float | None:
    """Return the p99 of the time to the first character in ms, or None if it is not known."""
    return run.first_ms.get("p99")


def _wait_ms(load: Load) -> int:
    """Return the milliseconds until the whole crowd runs, and a second more."""
    return load.ramp_ms + 1000


@contextlib.contextmanager
def _crowd(server: Server, load: Load, port: int, cores: Cores) -> Iterator[None]:
    """Keep many streams running: all of them when the block begins and, normally, when it ends."""
    command = load_command(server, load, port, [], cores)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_wait_ms(load) / 1000)
                raise Failed("the crowd left before the others came")
            yield
            if process.poll() is not None:
                raise Failed("the crowd left too early: the server is overloaded")
        finally:
            process.terminate()


def _joining(plan: Plan, server: Server, load: Load, round_: int) -> Run:
    """Streams that come while `load.x` others run."""
    length = (load.ramp_ms + 20_000) // PACE_MS
    others = Load(int(load.at), length, PACE_MS, ramp=min(int(load.at), 10_000))
    others_ms = others.ramp_ms + length * PACE_MS
    try:
        limit_s = others_ms // 1000 + 120
        with started(server, PACE_MS, plan.cores, limit_s) as (port, pids):
            warm_up(server, load, port, plan.cores)
            with _crowd(server, others, port, plan.cores):
                report = run_load(server, load, port, pids, plan.cores)
    except Failed as e:
        return failed_run(server, load, round_, e)
    run = as_run(server, load, round_, report)
    # The crowd's events are in these.
    run.setup_us = run.cpu_us = None
    run.pace_ms = 0  # no figure here is of gaps
    # The crowd's load is on that core as well.
    run.client_busy, run.client_other = run.client_busy + run.client_other, 0
    if run.failed:
        run.error = reasons_text(run.reasons)
    return run


def run(plan: Plan) -> Outcome:
    """Measure new streams without others, then new streams that join a crowd."""
    servers, missing = plan.servers()
    # The pace is so slow that only first characters come until the last stream is set up.
    alone = Load(
        plan.streams, 2, 10_000, options=("--first-only",), ramp=plan.ramp, x=0
    )
    joining = Load(
        50 * plan.seconds, 5, PACE_MS, ramp=1000 * plan.seconds, x=plan.crowd
    )

    def either(server: Server, load: Load, round_: int, cores: Cores) -> Run:
        if load.at:
            return _joining(plan, server, load, round_)
        run = measure(server, load, round_, cores)
        run.pace_ms, run.events_per_character = 0, 1  # it left on purpose
        return run

    loads = [alone, joining] if plan.crowd else [alone]
    runs = interleaved(servers, loads, plan.rounds, plan.cores, either)
    names, places = [s.name for s in servers], [load.at for load in loads]
    own, lines = names[0], []
    for name in names:
        for at in places:
            mine = pick(runs, name, at)
            busy = median(mine, lambda r: r.client_busy)
            cpu, first = (
                DASH if name == own else number(ratio(runs, own, name, at, figure), 2)
                for figure in (setup_us, p99_first)
            )
            lines.append(
                [
                    name,
                    f"{at:g}",
                    with_range(spread(mine, setup_us), 0),
                    cpu,
                    quantiles(mine, "first_ms", "p50", "p99", "max"),
                    first,
                    DASH if busy is None else f"{busy:.0%}",
                ]
            )
    head = ["server", "others", "CPU µs/stream", f"{own} ÷ this"]
    head += ["first character ms p50/p99/max", f"p99: {own} ÷ this", "load's core"]
    title = f"set-up: {plan.streams} streams in {plan.ramp} ms, alone; "
    if plan.crowd:
        title += f"50 a second for {plan.seconds} s while {plan.crowd} run; "
    return Outcome(
        f"{title}rounds: {plan.rounds}",
        [Table(head, lines)],
        missing + notes(runs),
        [
            Panel("set-up, CPU µs a stream", series(runs, names, [alone.at], setup_us)),
            Panel(
                f"first character among {plan.crowd}, p99 ms",
                series(runs, names, places[-1:], p99_first),
            ),
        ],
        runs,
    )
