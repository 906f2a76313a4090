"""The figures of the scenario `redis`, and their table.

`Run.extra` has them: `token_us`, the node's CPU a token; `commands`, those that the node sends for a
token; `redis_us`, the CPU of Redis a token, and `scripts_us`, the time a token in which it ran
scripts; `redis_bytes`, what passes between the two a token, both ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .measuring import Run
from .report import (
    DASH,
    Figure,
    Table,
    median,
    number,
    pick,
    quantiles,
    ratio,
    spread,
    with_range,
)

MEMORY, REDIS, BEFORE = "memory", "Redis", "Redis, before"
"""The names of what is compared, in tables and runs."""

OF_SCRIPTS = frozenset(
    {"hget", "hmget", "hset", "pexpire", "sadd", "srem", "xadd", "xrevrange"}
)
"""The commands that are not counted as sent, because Redis also counts those that scripts run. While
replies run, nodes send hardly any of these themselves."""


@dataclass(frozen=True)
class Totals:
    """What a Redis has done since it began: `info` is its answer to `INFO all`."""

    info: Mapping[str, Any]

    @property
    def cpu_us(self) -> float:
        """The CPU that it has used, in µs."""
        used = self.info["used_cpu_user"] + self.info["used_cpu_sys"]
        return float(used) * 1e6

    @property
    def commands(self) -> int:
        """How many commands clients have sent, without those of `OF_SCRIPTS`."""
        return sum(
            stats["calls"]
            for name, stats in self.info.items()
            if name.startswith("cmdstat_")
            and name.removeprefix("cmdstat_") not in OF_SCRIPTS
        )

    @property
    def scripts_us(self) -> float:
        """The time in which it ran scripts, in µs."""
        return float(self.info.get("cmdstat_evalsha", {"usec": 0})["usec"])

    @property
    def bytes(self) -> int:
        """What has passed between it and all clients, in bytes."""
        sent, got = "total_net_output_bytes", "total_net_input_bytes"
        return int(self.info[sent] + self.info[got])


def between(before: Totals, after: Totals, tokens: float) -> dict[str, float]:
    """Return the figures a token, of `tokens` that came between two looks at a Redis."""
    return {
        "commands": (after.commands - before.commands) / tokens,
        "redis_us": (after.cpu_us - before.cpu_us) / tokens,
        "scripts_us": (after.scripts_us - before.scripts_us) / tokens,
        "redis_bytes": (after.bytes - before.bytes) / tokens,
    }


def extra(name: str) -> Figure:
    """Return the figure of this name in `Run.extra`."""
    return lambda run: run.extra.get(name)


def table(runs: list[Run], at: float) -> Table:
    """Return the table of all servers."""
    head = ["store", "CPU µs/token", f"÷ {MEMORY}", "÷ before", "commands/token"]
    head += ["Redis: CPU µs/token", "÷ before", "in scripts µs/token", "÷ before"]
    head += ["bytes/token", "gap ms p50/p99", "p99 less memory's"]
    names = dict.fromkeys(run.server for run in runs)
    return Table(head, [_line(runs, name, at) for name in names])


def _line(runs: list[Run], name: str, at: float) -> list[str]:
    mine = pick(runs, name, at)

    def share(of: str, figure: str) -> str:
        same = name in (of, MEMORY)
        return DASH if same else number(ratio(runs, name, of, at, extra(figure)), 2)

    return [
        name,
        with_range(spread(mine, extra("token_us")), 1),
        share(MEMORY, "token_us"),
        share(BEFORE, "token_us"),
        number(median(mine, extra("commands")), 3),
        with_range(spread(mine, extra("redis_us")), 1),
        share(BEFORE, "redis_us"),
        number(median(mine, extra("scripts_us"))),
        share(BEFORE, "scripts_us"),
        number(median(mine, extra("redis_bytes")), 0),
        quantiles(mine, "gap_ms", "p50", "p99"),
        DASH if name == MEMORY else number(_later(runs, name, at)),
    ]


def _later(runs: list[Run], name: str, at: float) -> float | None:
    """Return the median of how much longer the p99 of the gaps is than memory's of that round."""
    memory = {run.round: run.gap_ms.get("p99") for run in pick(runs, MEMORY, at)}

    def later(run: Run) -> float | None:
        mine, its = run.gap_ms.get("p99"), memory.get(run.round)
        return None if mine is None or its is None else mine - its

    return median(pick(runs, name, at), later)
