"""The cost of a model's token, and of a short reply, on the way through a relay.

A model's server streams `TOKEN` code points to a token, each reply on a schedule of its own. Between
it and the readers stands chatsvc, by each of its doors, or a peer. Two works are measured: many
long replies at once, and many short ones one after another.

Invariants:

- In each round the readers also read the model directly. Its bytes and its first tokens in that
  round are what the others are compared with.
- The model and the readers run on the load's core, and the relay alone on the other one.
"""

import argparse
import tempfile
from collections.abc import Iterable
from typing import Any

from .. import kit
from ..measuring import (
    Load,
    Run,
    as_run,
    failed_run,
    interleaved,
    run_load,
    warm_up,
)
from ..processes import Failed, Server, started
from ..relay_tables import (
    MODEL,
    SHORT,
    Figure,
    doubts,
    later,
    replies,
    reply_ms,
    token_us,
    tokens,
)
from ..report import Outcome, Panel, Series, notes, series
from .plan import Plan, peers_argument

TOKEN = 4
"""Code points in a token, as model.c cuts them."""

FEWER = {"fastapi": 4}
"""Peers that can't carry the load on one core, and the part of it that they get."""

DOORS: dict[str, tuple[str, ...]] = {
    "/api/chat": ("--strict",),
    "/api/chat?ids=0": ("--strict",),
    "/v1/chat/completions": ("--completions",),
}
"""The paths of chatsvc that are measured, and how the load generator reads each."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    peers_argument(parser)
    parser.add_argument(
        "--doors",
        metavar="A,B",
        default=",".join(DOORS),
        help="paths of the server that are measured (%(default)s)",
    )
    parser.add_argument("--streams", type=int, default=200, help="long replies at once")
    parser.add_argument("--tokens", type=int, default=200, help="in each of them")
    parser.add_argument("--gap", type=int, default=40, help="ms between two tokens")
    parser.add_argument(
        "--ramp", type=int, default=1500, help="ms in which the long replies begin"
    )
    parser.add_argument("--replies", type=int, default=800, help="short ones")
    parser.add_argument(
        "--seconds", type=float, default=4, help="in which the short replies begin"
    )


def run(plan: Plan) -> Outcome:
    """Measure both works for chatsvc's doors, the model itself, and the peers."""
    long = Load(
        plan.streams, plan.tokens * TOKEN, plan.gap, ramp=plan.ramp, x=plan.tokens
    )
    short = Load(
        plan.replies,
        SHORT * TOKEN,
        plan.gap,
        ramp=round(plan.seconds * 1000),
        x=SHORT,
    )
    title = (
        f"relay: {plan.streams} replies of {plan.tokens} tokens, one each {plan.gap} ms; "
        f"{plan.replies} replies of {SHORT} tokens in {plan.seconds:g} s; "
        f"tokens of {TOKEN} characters; rounds: {plan.rounds}"
    )
    if plan.tokens == SHORT:
        return Outcome(title, [], [f"FAILED: --tokens {SHORT} is short"], failed=True)
    unknown = set(plan.doors.split(",")) - set(DOORS)
    if unknown:
        said = f"FAILED: no door {', '.join(sorted(unknown))}: there are {', '.join(DOORS)}"
        return Outcome(title, [], [said], failed=True)
    peers, missing = plan.peers("relay")
    try:
        kit.ensure("model")
        runs = _runs(plan, [long, short], peers)
    except (kit.NotBuilt, Failed) as e:
        return Outcome(title, [], [f"FAILED: the model: {e}"], failed=True)
    names = list(dict.fromkeys(run.server for run in runs))
    if any(run.server.startswith(tuple(FEWER)) for run in runs):
        fewer = ", ".join(f"{peer} 1/{part}" for peer, part in FEWER.items())
        missing.append(f"of the load, what one core can carry: {fewer}")
    return Outcome(
        title,
        [tokens(runs, names, long.at), replies(runs, names)],
        missing + notes(runs) + list(doubts(runs)),
        [
            Panel("CPU, µs a token", _bars(runs, names, long.at, token_us)),
            Panel("CPU, ms a short reply", _bars(runs, names, SHORT, reply_ms)),
            Panel(
                "first token after the model's, p99 ms",
                _bars(runs, names, long.at, later("p99", runs)),
            ),
        ],
        runs,
    )


def _bars(runs: list[Run], names: list[str], at: float, figure: Figure) -> list[Series]:
    """Return the bars of all servers but the model itself."""
    return series(runs, [name for name in names if name != MODEL], [at], figure)


def _runs(plan: Plan, loads: list[Load], peers: list[Server]) -> list[Run]:
    """Run the model's server, and measure all servers in front of it in interleaved rounds."""
    model = Server(MODEL, (str(kit.MODEL), "{port}", "{pace}"))
    doors = list(_doors(plan.server, plan.doors.split(",")))
    turns = len(loads) * (len(doors) + len(peers) + 1) * plan.rounds
    limit_s = turns * (max(load.limit_s for load in loads) + 120)
    core = plan.cores.client
    with (
        tempfile.TemporaryDirectory() as folder,
        started(model, plan.gap, plan.cores, limit_s, core) as (port, _),
    ):
        url = f"http://127.0.0.1:{port}"
        direct = model.with_options("--completions")

        def measure(server: Server, load: Load, round_: int, _: Any) -> Run:
            return _measure(plan, server, load, round_, port)

        servers = [
            server.filled(model=url, folder=folder)
            for server in [*doors, direct, *peers]
        ]
        return interleaved(servers, loads, plan.rounds, plan.cores, measure)


def _doors(server: Server, paths: list[str]) -> Iterable[Server]:
    """Yield the server by each of these doors; chatsvc gets the flags that name the model."""
    if not any("{model}" in word for word in server.command):
        # Without a pace, as is the default of this backend.
        flags = ("--backend", "openai", "--openai-url", "{model}/v1", "--pace", "0")
        server = server.named(server.name, *flags)
    for path in paths:
        options = DOORS[path]
        if "--strict" in options and "--strict" not in server.options:
            options = ()  # A server that is measured with --lenient.
        name = f"{server.name} {path.removesuffix('/chat/completions')}"
        yield server.named(name).at(path, *options)


def _measure(
    plan: Plan, server: Server, load: Load, round_: int, model_port: int
) -> Run:
    """Return the run of one load against one server; a failure is returned as its `error`."""
    part = FEWER.get(server.name, 1)
    load = Load(
        max(1, load.streams // part),
        load.length,
        load.pace_ms,
        ramp=load.ramp,
        x=load.x,
    )
    try:
        if server.name == MODEL:
            report = run_load(server, load, model_port, [], plan.cores)
        else:
            limit_s = load.limit_s + 120
            with started(server, load.pace_ms, plan.cores, limit_s) as (port, pids):
                warm_up(server, load, port, plan.cores)
                report = run_load(server, load, port, pids, plan.cores)
    except Failed as e:
        return failed_run(server, load, round_, e)
    return _figures(as_run(server, load, round_, report), report)


def _figures(run: Run, report: dict[str, Any]) -> Run:
    """Return the run with the figures of tokens and replies, as far as they are known.

    They are counted in code points, because each door cuts a token into other events.
    """
    tokens = report["points"] / TOKEN or 1
    run.extra["token_bytes"] = report["body_bytes"] / tokens
    if report["cpu_us_per_event"] is not None:
        whole_us = report["cpu_us_per_event"] * report["events"]
        steady_us = report["steady_cpu_us_per_point"]
        run.extra["token_us"] = steady_us * TOKEN if steady_us else whole_us / tokens
        run.extra["reply_ms"] = whole_us / run.streams / 1000
    if report["steady_points_per_s"]:
        asked = run.streams * TOKEN * 1000 / run.pace_ms
        run.extra["kept_pace"] = report["steady_points_per_s"] / asked
    # The gaps and the number of events are those of the door, not of the model.
    run.pace_ms, run.events_per_character = 0, 1
    return run
