"""What `/metrics` says: the format, builds, processes, and failures by reason (PROTOCOL.md section 8)."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

import chatsvc
from chatsvc.model import End
from chatsvc.problems import BackendFailed, Overloaded
from chatsvc.stores.base import STORE_FAILURES
from chatsvc.web.figures import Figures
from chatsvc.web.metrics import BACKEND_FAILURES, Metrics
from chatsvc.web.process_metrics import process_metrics

from .running import Inside, Scripted, eventually, inside

pytestmark = pytest.mark.any_store

FAILED = 'chatsvc_backend_failures_total{reason="%s"}'


def samples(metrics: Metrics) -> dict[str, float]:
    """What a scrape shows, by name and labels."""
    body = metrics.exposition().body
    assert isinstance(body, bytes)
    return {
        f"{sample.name}{sorted(sample.labels.items()) or ''}": sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


async def test_each_metric_is_said_once_and_can_be_parsed(chat: Inside) -> None:
    await chat.json("POST", "/api/chat", "x")
    async with chat.session.get(chat.url + "/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = await answer.text()
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.documentation for family in families)
    types = {family.name: family.type for family in families}
    assert types["chatsvc_replies_started"] == "counter"
    assert types["chatsvc_readers"] == "gauge"
    assert types["chatsvc_first_character_seconds"] == "histogram"


async def test_the_build_is_said(chat: Inside) -> None:
    labels = (
        f'aiohttp="{aiohttp.__version__}",python="{platform.python_version()}",'
        f'version="{chatsvc.__version__}"'
    )
    assert (await chat.metrics())[f"chatsvc_build_info{{{labels}}}"] == 1


async def test_one_process_has_the_names_that_dashboards_know(chat: Inside) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("there is no /proc")
    metrics = await chat.metrics()
    assert 1e6 < metrics["process_resident_memory_bytes"] < 1e11
    assert metrics["process_open_fds"] > 2
    assert metrics["process_cpu_seconds_total"] > 0


def test_several_processes_are_told_apart_and_a_dead_one_is_left_out() -> None:
    if not Path("/proc/self").exists():
        pytest.skip("there is no /proc")
    metrics = {m.name: m for m in process_metrics([os.getpid(), 0, os.getppid()])}
    workers = [s.labels for s in metrics["process_resident_memory_bytes"].samples]
    assert workers == [{"worker": "0"}, {"worker": "2"}]
    assert len(metrics["process_cpu_seconds"].samples) == 2


class Reply:
    """A reply as an observer sees it when it has ended."""

    def __init__(self, problem: dict[str, Any] | None) -> None:
        state = "done" if problem is None else "failed"
        self.end = End(state, "error" if problem else "stop", problem)
        self.log = type("Log", (), {"position": 3})


@pytest.mark.parametrize(
    ("problem", "counted"),
    [
        (None, None),
        (BackendFailed("x").as_dict(), "broken"),
        ({**BackendFailed("x").as_dict(), "reason": "busy"}, "busy"),
        ({**BackendFailed("x").as_dict(), "reason": "refused"}, "refused"),
        ({**BackendFailed("x").as_dict(), "reason": "misconfigured"}, "misconfigured"),
        ({**BackendFailed("x").as_dict(), "reason": "anything else"}, "broken"),
        ({**BackendFailed("x").as_dict(), "reason": [1]}, "broken"),
        (Overloaded("x").as_dict(), None),
        ({"reason": "busy"}, None),
    ],
)
def test_failures_of_the_backend_are_counted_by_reason(
    problem: dict[str, Any] | None, counted: str | None
) -> None:
    metrics = Metrics()
    metrics.ended(Reply(problem))  # type: ignore[arg-type]
    shown = samples(metrics)
    for reason in BACKEND_FAILURES:
        name = f"chatsvc_backend_failures_total{[('reason', reason)]}"
        assert shown[name] == (reason == counted)


async def test_a_backend_that_raises_is_a_failure() -> None:
    async with inside(backend=Scripted("ab", RuntimeError("x"))) as chat:
        await chat.json("POST", "/api/chat", "x")
        await eventually(lambda: not chat.replies.running)
        metrics = await chat.metrics()
    assert metrics[FAILED % "broken"] == 1
    assert metrics[FAILED % "busy"] == 0


async def test_replies_that_are_produced_are_counted_as_they_begin_and_end() -> None:
    go = asyncio.Event()

    async def answer(messages: list[dict[str, str]]) -> AsyncIterator[str]:
        await go.wait()
        yield "x"

    async with inside(backend=answer) as chat:
        for number in range(1, 4):
            await chat.start("x")
            assert (await chat.metrics())["chatsvc_replies_running"] == number
        go.set()
        await eventually(lambda: not chat.replies.running)
        assert (await chat.metrics())["chatsvc_replies_running"] == 0


def test_the_figures_of_all_processes_are_added_up_and_peaks_are_the_highest() -> None:
    figures = Figures(2)
    first, second = Metrics(figures, 0), Metrics(figures, 1)
    for metrics, count in ((first, 1), (second, 2)):
        for _ in range(count):
            metrics.started(Reply(None))  # type: ignore[arg-type]
            metrics.refusals.labels("bad-json").inc()
        metrics.producing(count * 10)
        metrics.longest_stall.raise_to(count)
        metrics._first.observe(0.02 * count)
        metrics._first.observe(100)
    shown = samples(first)
    assert shown["chatsvc_replies_started_total"] == 3
    assert shown["chatsvc_replies_running"] == 30
    assert shown["chatsvc_refusals_total[('code', 'bad-json')]"] == 3
    assert shown["chatsvc_loop_longest_stall_seconds"] == 2
    name = "chatsvc_first_character_seconds"
    bounds = ("0.005", "0.02", "0.1", "60.0", "+Inf")
    counts = [shown[f"{name}_bucket{[('le', bound)]}"] for bound in bounds]
    assert counts == [0, 1, 2, 2, 4]
    assert shown[f"{name}_count"] == 4
    assert shown[f"{name}_sum"] == pytest.approx(200.06)
    # The other process has forgotten its peak as well.
    assert samples(second)["chatsvc_loop_longest_stall_seconds"] == 0


def test_a_worker_that_is_started_anew_goes_on_counting() -> None:
    figures = Figures(2)
    other, dead = Metrics(figures, 0), Metrics(figures, 1)
    for metrics in (other, dead):
        metrics.started(Reply(None))  # type: ignore[arg-type]
        metrics.producing(1)
        metrics.readers.labels("sse").inc()
    figures.table(1).end()
    readers = "chatsvc_readers[('transport', 'sse')]"

    def shown() -> tuple[float, ...]:
        found = samples(other)
        names = ("chatsvc_replies_started_total", "chatsvc_replies_running", readers)
        return tuple(found[name] for name in names)

    assert shown() == (2, 1, 1)
    anew = Metrics(figures, 1)
    anew.started(Reply(None))  # type: ignore[arg-type]
    assert shown() == (3, 1, 1)


def test_every_reason_of_the_store_is_there_from_the_start() -> None:
    metrics = Metrics()
    metrics.store_failed("full")
    shown = samples(metrics)
    for reason in STORE_FAILURES:
        name = f"chatsvc_store_failures_total{[('reason', reason)]}"
        assert shown[name] == (reason == "full")
