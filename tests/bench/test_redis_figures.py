"""The figures of the scenario `redis`: of the tokens between two looks at a Redis, and compared within a round."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import require

from .measuring import Run
from .redis_figures import BEFORE, MEMORY, REDIS, Totals, between, table
from .report import DASH
from .test_bench import QUIETLY

TINY = ["--streams", "3", "--tokens", "20", "--gap", "20", "--ramp", "50"]


def look(times: int) -> Totals:
    return Totals(
        {
            "used_cpu_user": 2e-6 * times,
            "used_cpu_sys": 1e-6 * times,
            "total_net_input_bytes": 10 * times,
            "total_net_output_bytes": 20 * times,
            "cmdstat_evalsha": {"calls": times, "usec": 5 * times},
            "cmdstat_xread": {"calls": times, "usec": times},
            "cmdstat_xadd": {"calls": 9 * times, "usec": times},
        }
    )


def test_what_scripts_run_is_not_counted_as_sent() -> None:
    figures = between(look(100), look(600), tokens=1000)
    assert figures == pytest.approx(
        {"commands": 1.0, "redis_us": 1.5, "scripts_us": 2.5, "redis_bytes": 15}
    )


def test_a_redis_that_has_run_no_script_yet() -> None:
    info = {k: v for k, v in look(1).info.items() if not k.startswith("cmdstat_")}
    assert between(Totals(info), look(1), 1)["scripts_us"] == 5


def _run(server: str, round_: int, us: float, p99: float) -> Run:
    extra = {"token_us": us, "redis_us": us / 4, "scripts_us": us / 8, "commands": 0.1}
    run = Run(server, 200, round_, streams=9, gap_ms={"p50": 40, "p99": p99})
    return replace(run, extra={} if server == MEMORY else extra) if us else run


def test_servers_are_compared_within_each_round() -> None:
    runs = [
        replace(_run(MEMORY, 0, 0, 41), extra={"token_us": 10}),
        replace(_run(MEMORY, 1, 0, 51), extra={"token_us": 20}),
        *(_run(REDIS, 0, 15, 46), _run(REDIS, 1, 20, 54)),
        *(_run(BEFORE, 0, 30, 61), _run(BEFORE, 1, 40, 71)),
    ]
    found = table(runs, 200)
    memory, mine, before = (
        dict(zip(found.head[:3], line, strict=False)) | {"later": line[-1]}
        for line in found.lines
    )
    assert memory["÷ memory"] == memory["later"] == DASH
    # 15 ÷ 10 and 20 ÷ 20; 5 ms and 3 ms.
    assert (mine["÷ memory"], mine["later"]) == ("1.25", "4.0")
    assert (before["÷ memory"], before["later"]) == ("2.50", "20.0")
    of_redis = found.head.index("Redis: CPU µs/token") + 1
    assert found.lines[1][of_redis] == "0.50"
    assert found.lines[2][of_redis] == DASH


@pytest.mark.thorough
def test_it_runs_on_both_stores_and_on_another_version(tmp_path: Path) -> None:
    require("gcc", "taskset", "redis-server")
    from .__main__ import main
    from .servers import compared

    words = compared(None, "", False).command
    before = [" ".join(word for word in words if word not in ("--pace", "{seconds}"))]
    where = ["--rounds", "1", *QUIETLY, "--out", str(tmp_path)]
    assert main(["redis", *TINY, "--before", *before, *where]) == 0
    runs = json.loads((tmp_path / "redis.json").read_text())["runs"]
    assert [run["server"] for run in runs] == [MEMORY, REDIS, BEFORE]
    for run in runs:
        assert not run["failed"]
        assert (run["extra"].get("commands", 0) > 0) is (run["server"] != MEMORY)
