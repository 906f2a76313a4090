"""The command `python -m tests.attack [options] [NAME …]`; exit status 1 if an attack won."""

import argparse
import asyncio
import json
import sys
from dataclasses import replace

from .attacks import ATTACKS
from .trial import Result, Setup, run, two_cores

NOISE_S = 1.0
"""For how long the node may wait for its core before times that are late say little of it."""


def table(result: Result) -> str:
    """Return the times alone and beside the attacks as a table."""
    lines = [f"{'ms':10} {'alone p50/p99/max':>24} {'beside':>24} {'count':>8}"]
    for name, alone in result.alone["times"].items():
        beside = result.beside["times"].get(name, dict.fromkeys(alone, 0.0))
        cells = (
            " / ".join(f"{t[q]:.1f}" for q in ("p50", "p99", "max"))
            for t in (alone, beside)
        )
        lines.append(
            f"{name:10} "
            + " ".join(f"{c:>24}" for c in cells)
            + f" {beside['count']:8}"
        )
    return "\n".join(lines)


def _say(name: str, result: Result, verbose: bool) -> None:
    won = "; ".join(result.failures)
    print(f"{name:18} {'WON: ' + won if won else 'held off'}", flush=True)
    if result.waited_s > NOISE_S:
        print(f"{'':18} NOISE: others had the node's core for {result.waited_s:.1f} s")
    if verbose:
        resident = [mib for _, mib in result.resident] or [0.0]
        print(table(result))
        print(
            f"own stalls {result.beside['stalls']}; replies {result.beside['replies']}"
        )
        print(f"MiB {resident[0]:.1f} … {max(resident):.1f} … {resident[-1]:.1f}")
        print("seen:", json.dumps(result.seen))
        print(result.log[-2000:])


async def _main(setup: Setup, each: bool, verbose: bool) -> bool:
    if not each:
        result = await run(setup)
        _say("all at once", result, verbose)
        return bool(result.failures)
    won = []
    for name in setup.attacks or ATTACKS:
        try:
            result = await run(replace(setup, attacks=(name,)))
        except (EOFError, TimeoutError) as error:
            result = Result(faults=[f"{type(error).__name__}: {error}"])
            _say(name, result, False)
        else:
            _say(name, result, verbose)
        if result.failures:
            won.append(name)
    print(f"{len(won)} won: {', '.join(won)}")
    return bool(won)


def main() -> int:
    """Run the trials that the command line asks for, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ATTACKS))
    parser.add_argument("--each", action="store_true", help="each attack alone")
    parser.add_argument("--seconds", type=float, default=Setup.seconds)
    parser.add_argument("--alone", type=float, default=Setup.alone_s)
    parser.add_argument("--chats", type=int, default=Setup.chats)
    parser.add_argument("--quiet", action="store_true", help="only who won")
    args = parser.parse_args()
    if unknown := set(args.names) - ATTACKS.keys():
        parser.error(f"no attack {', '.join(sorted(unknown))}")
    setup = Setup(
        seconds=args.seconds,
        alone_s=args.alone,
        attacks=tuple(args.names),
        chats=args.chats,
        cores=two_cores(),
    )
    return int(asyncio.run(_main(setup, args.each, not args.quiet)))


if __name__ == "__main__":
    sys.exit(main())
