"""The cost of a model's tokens with the store in Redis: for the node, for Redis, and in time.

A model's server streams many long replies at once, as in `relay`. Between it and the readers stands
chatsvc with the store `memory`, and the same with a Redis of its own; with `--before`, another
version of it in Redis too.

Invariants:

- Every run has a fresh server and, where it needs one, a fresh and empty Redis.
- The model, the readers and Redis run on the load's core, and the server alone on the other one.
"""

import argparse
import shlex
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from redis import Redis, RedisError

from .. import kit
from ..measuring import Load, Run, as_run, failed_run, interleaved, run_load, warm_up
from ..processes import Failed, Server, started
from ..redis_figures import BEFORE, MEMORY, REDIS, Totals, between, table
from ..report import Outcome, notes
from ..servers import REDIS_SERVER
from .plan import Plan
from .relay import DOORS, TOKEN


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    parser.add_argument(
        "--before",
        metavar="COMMAND",
        help="another version to compare with, with {port} and, if it is at another place, all "
        "other flags but --backend, --openai-url, --pace and --store",
    )
    parser.add_argument(
        "--door", choices=list(DOORS), default="/api/chat", help="(%(default)s)"
    )
    parser.add_argument("--streams", type=int, default=200, help="replies at once")
    parser.add_argument("--tokens", type=int, default=200, help="in each of them")
    parser.add_argument("--gap", type=int, default=40, help="ms between two tokens")
    parser.add_argument(
        "--ramp", type=int, default=1500, help="ms in which the replies begin"
    )


def run(plan: Plan) -> Outcome:
    """Measure the same load with each store."""
    load = Load(plan.streams, plan.tokens * TOKEN, plan.gap, ramp=plan.ramp)
    title = (
        f"redis: {plan.streams} replies of {plan.tokens} tokens, one each {plan.gap} ms, "
        f"by {plan.door}; rounds: {plan.rounds}"
    )
    try:
        kit.ensure("model")
        runs = _runs(plan, load)
    except (kit.NotBuilt, Failed) as e:
        return Outcome(title, [], [f"FAILED: {e}"], failed=True)
    return Outcome(title, [table(runs, load.at)], notes(runs), [], runs)


def _servers(plan: Plan) -> Iterable[Server]:
    flags = ("--backend", "openai", "--openai-url", "{model}/v1", "--pace", "0")
    in_redis = (*flags, "--store", "{store}")
    options = DOORS[plan.door] if "--strict" in plan.server.options else ()
    own = plan.server.at(plan.door, *options)
    yield own.named(MEMORY, *flags)
    yield own.named(REDIS, *in_redis)
    if plan.before is not None:
        words = (*shlex.split(plan.before), *in_redis)
        yield Server(BEFORE, words, plan.door, options, environment=own.environment)


def _runs(plan: Plan, load: Load) -> list[Run]:
    model = Server("the model", (str(kit.MODEL), "{port}", "{pace}"))
    servers = list(_servers(plan))
    limit_s = len(servers) * plan.rounds * (load.limit_s + 120)
    core = plan.cores.client
    with started(model, plan.gap, plan.cores, limit_s, core) as (port, _):
        filled = [s.filled(model=f"http://127.0.0.1:{port}") for s in servers]

        def measure(server: Server, load: Load, round_: int, _: Any) -> Run:
            return _measure(plan, server, load, round_)

        return interleaved(filled, [load], plan.rounds, plan.cores, measure)


def _measure(plan: Plan, server: Server, load: Load, round_: int) -> Run:
    """Return the run of the load against one server; a failure is returned as its `error`."""
    cores, limit_s = plan.cores, load.limit_s + 120
    try:
        with ExitStack() as stack:
            store_port = 0
            if server.name != MEMORY:
                store = started(REDIS_SERVER, 0, cores, limit_s, cores.client)
                store_port, _ = stack.enter_context(store)
                server = server.filled(store=f"redis://127.0.0.1:{store_port}/0")
            running = started(server, load.pace_ms, cores, limit_s)
            port, pids = stack.enter_context(running)
            warm_up(server, load, port, cores)
            before = _totals(store_port)
            report = run_load(server, load, port, pids, cores)
            after = _totals(store_port)
    except (Failed, RedisError) as e:
        return failed_run(server, load, round_, e)
    run = as_run(server, load, round_, report)
    tokens = report["points"] / TOKEN or 1
    steady_us = report["steady_cpu_us_per_point"]
    if steady_us:
        run.extra["token_us"] = steady_us * TOKEN
    if before is not None and after is not None:
        run.extra |= between(before, after, tokens)
    # The gaps and the number of events are those of the door, not of the model.
    run.pace_ms, run.events_per_character = 0, 1
    return run


def _totals(port: int) -> Totals | None:
    """Return what a Redis has done since it began; None without one (port 0)."""
    if not port:
        return None
    with Redis(port=port) as client:
        return Totals(client.info("all"))
