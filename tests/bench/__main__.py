"""The command `python -m tests.bench [SCENARIO] [options]`: see README.md in this folder."""

import argparse
import os
import resource
import signal
import sys
from pathlib import Path
from types import ModuleType

from . import kit
from .machine import Cores, idle_look
from .report import NOISE, show, write
from .scenarios import (
    attack,
    budget,
    endings,
    growth,
    layers,
    memory,
    readers,
    redis,
    relay,
    setup,
    shard,
    soak,
    table,
    unpaced,
    workers,
)
from .scenarios.plan import Plan, numbers
from .servers import compared

SCENARIOS: dict[str, ModuleType] = {
    "table": table,
    "growth": growth,
    "unpaced": unpaced,
    "setup": setup,
    "readers": readers,
    "memory": memory,
    "soak": soak,
    "attack": attack,
    "budget": budget,
    "endings": endings,
    "relay": relay,
    "redis": redis,
    "shard": shard,
    "workers": workers,
    "layers": layers,
}
FILES = 20_000  # file descriptors; each stream takes one


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("common")
    group.add_argument(
        "--server",
        metavar="COMMAND",
        help="what to measure instead of this project's server, with {port} and "
        "{pace} (ms) or {seconds}; no shell: write 'env NAME=value command'",
    )
    group.add_argument("--name", default="chatsvc", help="its name in the tables")
    group.add_argument(
        "--lenient",
        action="store_true",
        help="it sends no ids, and code points for characters, as the peers do",
    )
    group.add_argument("--rounds", type=int, default=3)
    group.add_argument("--cpus", type=numbers, default=[0, 1], metavar="SERVER,LOAD")
    group.add_argument(
        "--nice",
        type=int,
        default=-10 if os.geteuid() == 0 else 0,
        help="of the server and its load (%(default)s)",
    )
    group.add_argument(
        "--out", type=Path, default=kit.KIT / "results", help="for JSON and SVG"
    )
    group.add_argument("--as", dest="file", metavar="NAME", help="their name there")
    group.add_argument("--no-plot", action="store_true")
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="What does one streamed character cost?",
        epilog="Exit status: 0 every stream complete, 1 some failed, 2 nothing ran.",
    )
    commands = parser.add_subparsers(dest="scenario", metavar="SCENARIO")
    for name, module in SCENARIOS.items():
        about = (module.__doc__ or "").partition("\n")[0]
        sub = commands.add_parser(name, help=about, parents=[shared])
        sub.description = module.__doc__
        module.arguments(sub)
    return parser


def _plan(parser: argparse.ArgumentParser, argv: list[str]) -> Plan:
    options_only = not argv or (argv[0].startswith("-") and argv[0] not in "-h --help")
    args = parser.parse_args(["table", *argv] if options_only else argv)
    if args.server is not None and "{port}" not in args.server:
        parser.error("--server needs {port} in it")
    allowed = os.sched_getaffinity(0)
    if len(set(args.cpus)) != 2 or not set(args.cpus) <= allowed:
        parser.error(f"--cpus takes two different ones of {sorted(allowed)}")
    if args.rounds < 1:
        parser.error("--rounds takes 1 or more")
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    server = compared(args.server, args.name, args.lenient)
    cores = Cores(args.cpus[0], args.cpus[1], args.nice)
    return Plan(server, cores, args.rounds, args)


def main(argv: list[str]) -> int:
    """Run one scenario and return the exit status."""
    plan = _plan(_parser(), argv)
    # A `finally` block ends the servers. Python skips it on SIGTERM unless that raises.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        kit.ensure("load")
    except kit.NotBuilt as e:
        print(f"can't build the load generator: {e}", file=sys.stderr)
        return 2
    before = idle_look(plan.cores)
    outcome = SCENARIOS[plan.args.scenario].run(plan)
    busy = ", ".join(
        f"{share:.0%} of the {whose} core" for whose, share in before.items()
    )
    if max(before.values()) > NOISE:
        outcome.notes.insert(0, f"NOISE: before the first run others used {busy}")
    show(outcome)
    write(
        outcome,
        plan.args.file or plan.args.scenario,
        plan.args.out,
        plot=not plan.args.no_plot,
    )
    failed = outcome.failed or any(run.failed for run in outcome.runs)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
