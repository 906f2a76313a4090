"""One Redis' share of a million replies at once: can it carry them, and what does it need?

Some nodes stream a model's replies to readers, of whom some leave, come back to another node, or stop
the reply. What the nodes send to Redis meanwhile is recorded. As many copies of them as make up the
share are then replayed on one Redis, as fast as it answers: an hour, or what of it fits into the time.

Invariants:

- Redis runs alone on the server's core, and the replay on the other one.
- A million replies are that many Redis, each with nodes of its own: what they hold is not shared.
- Replies expire in the replay as they would, but sooner, by `KEEP_S`: so its CPU has that part too.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from redis import Redis, RedisError

from .. import kit
from ..measuring import Load, Run, reasons_text, run_load, warm_up
from ..processes import Failed, Server, started, wait_for_listeners
from ..redis_recorder import recording
from ..redis_replay import Replayed, replay
from ..redis_trace import Trace
from ..report import Outcome, Panel, Series, Table, median, number, spread, with_range
from ..servers import REDIS_SERVER
from .plan import Plan
from .relay import TOKEN

KEEP_S = 10
"""Seconds for which an ended reply is kept in the recording and in the replay."""

KEPT_S = 300
"""Seconds for which it is kept by default, for which memory is told."""

REMEMBERED_S = 24 * 3600
"""Seconds for which the id of an expired reply is known (PROTOCOL.md section 4)."""

GAP_MS = 40
"""Milliseconds between two tokens of a reply."""

WRONG = 0.01
"""The share of other answers than recorded with which a replay has failed."""

SETTLE_S = 0.5
"""Seconds that are recorded after the last reply, for what a node sends when it has ended."""


class Recorded(NamedTuple):
    """A trace, and what the Redis of the recording said of itself before and after."""

    trace: Trace
    before: Mapping[str, Any]
    after: Mapping[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    parser.add_argument(
        "--replies", type=int, default=1_000_000, help="at once, in all"
    )
    parser.add_argument(
        "--shards", type=int, default=1000, help="Redis that they are spread over"
    )
    parser.add_argument("--nodes", type=int, default=2, help="that are recorded")
    parser.add_argument("--streams", type=int, default=100, help="on them at once")
    parser.add_argument(
        "--length", type=int, default=1200, help="characters of a reply at most"
    )
    parser.add_argument("--record", type=int, default=15, help="seconds of new replies")
    parser.add_argument("--hour", type=float, default=3600, help="seconds to replay")
    parser.add_argument(
        "--seconds", type=float, default=60, help="that a replay may take"
    )


def run(plan: Plan) -> Outcome:
    """Record once, and replay in each round."""
    title = (
        f"shard: {plan.replies} replies at once over {plan.shards} Redis, a token each "
        f"{GAP_MS} ms; rounds: {plan.rounds}"
    )
    if min(plan.replies, plan.shards, plan.seconds, plan.hour) < 1:
        said = "FAILED: --replies, --shards, --seconds and --hour take 1 or more"
        return Outcome(title, [], [said], failed=True)
    try:
        kit.ensure("model")
        recorded = _recorded(plan)
        trace = recorded.trace
        copies = max(1, round(plan.replies / plan.shards / trace.at_once))
        runs = [_round(plan, trace, copies, n) for n in range(plan.rounds)]
    except (kit.NotBuilt, Failed, RedisError) as e:
        failed = Run("Redis", plan.shards, 0, error=str(e), failed=1)
        return Outcome(title, [], [f"FAILED: {e}"], runs=[failed], failed=True)
    figures = ("redis_share", "commands_per_s", "in_per_s", "out_per_s")
    of_what = (
        f"recorded: {trace.replies} replies in {trace.length_us / 1e6:.0f} s, "
        f"{trace.at_once:.0f} at once on {plan.nodes} nodes; replayed: {copies} times that"
    )
    differ = [
        f"{'FAILED: ' if run.failed else ''}round {run.round + 1}: other answers than recorded: "
        f"{reasons_text(run.reasons)}"
        for run in runs
        if run.reasons
    ]
    return Outcome(
        title,
        [_rates(runs), _parts(runs, recorded), _memory(runs)],
        [of_what, *differ],
        [Panel(name, [Series("Redis", [0], [_mid(runs, name)])]) for name in figures],
        runs,
    )


# ----------------------------------------------------------------------- the recording


def _recorded(plan: Plan) -> Recorded:
    """Return the recording of nodes that serve a model's replies for a while. Raises `Failed`."""
    model = Server("the model", (str(kit.MODEL), "{port}", "{pace}"))
    cores, core = plan.cores, plan.cores.client
    load = Load(
        plan.streams,
        plan.length,
        GAP_MS,
        options=("--churn", str(plan.record)),
        ramp=min(plan.length * GAP_MS // TOKEN // 2, 1000 * plan.record // 2),
    )
    limit_s = load.limit_s + plan.record + 120
    flags = ("--backend", "openai", "--pace", "0", "--keep", str(KEEP_S))
    with (
        started(model, GAP_MS, cores, limit_s, core) as (model_port, _),
        started(REDIS_SERVER, 0, cores, limit_s, core) as (redis_port, _),
        recording(redis_port, cores) as recorder,
        Redis(port=redis_port) as client,
    ):
        server = plan.server.named(
            plan.server.name,
            *(*flags, "--openai-url", f"http://127.0.0.1:{model_port}/v1"),
            *("--store", f"redis://127.0.0.1:{recorder.port}/0"),
            *("--workers", str(plan.nodes)),
        )
        with started(server, 0, cores, limit_s) as (port, pids):
            wait_for_listeners(port, plan.nodes)
            warm_up(server, load, port, cores)
            before = client.info("all")
            begin_us = time.time_ns() // 1000
            report = run_load(server, load, port, pids, cores)
            time.sleep(SETTLE_S)
            end_us = time.time_ns() // 1000
            after = client.info("all")
    if report["failed"]:
        raise Failed(f"the recording: {reasons_text(report['reasons'])}")
    commands = [each for each in recorder.commands() if each.at_us < end_us]
    trace = Trace(commands, begin_us)
    if not trace.replies:
        raise Failed("the recording has no replies: does the server use its --store?")
    return Recorded(trace, before, after)


# -------------------------------------------------------------------------- the replay


def _round(plan: Plan, trace: Trace, copies: int, round_: int) -> Run:
    """Return the figures of one replay on a fresh Redis. Raises `Failed` and `RedisError`."""
    limit_s = round(30 * plan.seconds) + 240
    with (
        started(REDIS_SERVER, 0, plan.cores, limit_s) as (port, _),
        Redis(port=port, socket_timeout=60) as client,
    ):
        for source in trace.scripts:
            client.script_load(source)

        def look() -> dict[str, Any]:
            return dict(client.info("all"))

        def play() -> Replayed:
            return asyncio.run(
                replay(trace, copies, port, plan.seconds, plan.hour, look)
            )

        # In a thread of its own: this one goes where it likes.
        with ThreadPoolExecutor(1, initializer=plan.cores.place_this_thread) as pool:
            done = pool.submit(play).result()
        run = Run("Redis", plan.shards, round_, streams=copies)
        run.reasons = dict(done.wrong)
        if done.wrong.total() > WRONG * done.commands:
            run.failed = done.wrong.total()
        run.extra = _figures(trace, copies, done) | _sizes(client)
    scale = plan.replies / plan.shards / (trace.at_once * copies)
    starts = run.extra["starts_per_s"]
    kept = trace.at_once * copies + starts * KEPT_S
    run.extra["kept_mib"] = scale * kept * run.extra["reply_bytes"] / 2**20
    marks = starts * REMEMBERED_S * run.extra["mark_bytes"]
    run.extra["marks_mib"] = scale * marks / 2**20
    return run


def _figures(trace: Trace, copies: int, done: Replayed) -> dict[str, float]:
    """Return the figures of a second of the replayed time, and of a token."""
    seconds = done.replayed_s
    at_once = trace.at_once * copies
    tokens = at_once * seconds * 1000 / GAP_MS
    token = _of_a_token(done.before, done.after, tokens)
    return {
        "at_once": at_once,
        "starts_per_s": trace.replies * copies / trace.length_us * 1e6,
        "replayed_s": seconds,
        "faster": seconds / done.wall_s,
        "commands_per_s": done.commands / seconds,
        "redis_share": token["cpu_us"] * tokens / seconds / 1e6,
        "in_per_s": token["in"] * tokens / seconds,
        "out_per_s": token["out"] * tokens / seconds,
        "token_commands": done.commands / tokens,
        **{f"token_{name}": value for name, value in token.items()},
    }


def _of_a_token(
    before: Mapping[str, Any], after: Mapping[str, Any], tokens: float
) -> dict[str, float]:
    """Return what Redis did for a token between two looks, of so many tokens."""

    def risen(*names: str) -> float:
        return sum(float(after[name]) - float(before[name]) for name in names) / tokens

    return {
        "cpu_us": risen("used_cpu_user", "used_cpu_sys") * 1e6,
        "operations": risen("total_commands_processed"),
        "in": risen("total_net_input_bytes"),
        "out": risen("total_net_output_bytes"),
    }


def _used(client: Redis) -> int:
    return int(client.info("memory")["used_memory"])


def _sizes(client: Redis) -> dict[str, float]:
    """Return what a reply and the mark of an expired id take in Redis, in bytes; deletes all."""
    replies = marks = 0
    doomed: list[bytes] = []
    whole = _used(client)
    for key in client.scan_iter(count=10_000):
        if key.endswith(b":gone"):
            marks += 1
        else:
            replies += key.endswith(b":log")
            doomed.append(key)
    for begin in range(0, len(doomed), 1000):
        client.delete(*doomed[begin : begin + 1000])
    of_marks = _used(client)
    client.flushall()
    return {
        "reply_bytes": (whole - of_marks) / max(1, replies),
        # Of a few marks, what Redis has for itself is more than what they take.
        "mark_bytes": max(0, of_marks - _used(client)) / max(1, marks),
    }


# -------------------------------------------------------------------------- the tables


def _mid(runs: list[Run], figure: str) -> float:
    return median(runs, lambda run: run.extra[figure]) or 0


def _cell(runs: list[Run], figure: str, digits: int = 1) -> str:
    return with_range(spread(runs, lambda run: run.extra[figure]), digits)


def _rates(runs: list[Run]) -> Table:
    """Return the table of what a second of the share costs one Redis."""
    head = ["", "replies at once", "new/s", "commands/s", "KiB/s in", "KiB/s out"]
    head += ["Redis CPU s/s", "replayed s", "times as fast"]
    line = [
        "one Redis",
        number(_mid(runs, "at_once"), 0),
        number(_mid(runs, "starts_per_s"), 0),
        number(_mid(runs, "commands_per_s"), 0),
        number(_mid(runs, "in_per_s") / 1024, 0),
        number(_mid(runs, "out_per_s") / 1024, 0),
        _cell(runs, "redis_share", digits=2),
        number(_mid(runs, "replayed_s"), 0),
        _cell(runs, "faster", digits=1),
    ]
    return Table(head, [line], "each second of its share")


def _parts(runs: list[Run], recorded: Recorded) -> Table:
    """Return the table of a token's part, in the replay and in the recording."""
    trace = recorded.trace
    tokens = trace.at_once * trace.length_us / 1000 / GAP_MS
    token = _of_a_token(recorded.before, recorded.after, tokens)
    head = ["a token", "commands", "with those of scripts", "bytes in", "bytes out"]
    replayed = [
        "replayed",
        number(_mid(runs, "token_commands"), 2),
        number(_mid(runs, "token_operations"), 2),
        number(_mid(runs, "token_in"), 0),
        number(_mid(runs, "token_out"), 0),
        _cell(runs, "token_cpu_us"),
    ]
    first = [
        "recorded",
        number(trace.commands / tokens, 2),
        number(token["operations"], 2),
        number(token["in"], 0),
        number(token["out"], 0),
        number(token["cpu_us"]),
    ]
    return Table([*head, "Redis CPU µs"], [replayed, first])


def _memory(runs: list[Run]) -> Table:
    """Return the table of the memory, from what a reply and a mark take."""
    head = ["", "bytes of one", f"MiB by --keep {KEPT_S}, after a day"]
    replies = ["replies", _cell(runs, "reply_bytes", digits=0)]
    marks = ["marks of expired ids", _cell(runs, "mark_bytes", digits=0)]
    return Table(
        head,
        [
            [*replies, number(_mid(runs, "kept_mib"), 0)],
            [*marks, number(_mid(runs, "marks_mib"), 0)],
        ],
    )
