"""The metrics of `/metrics`: what is counted, and how a scrape shows it (PROTOCOL.md section 8).

The numbers are `chatsvc.web.figures`; the format is written by prometheus_client. None of them is
updated for each character, which would cost much.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chatsvc import __version__
from chatsvc.client_limits import ClientLimits
from chatsvc.problem import Problem
from chatsvc.problems import BackendFailed, TooManyRequests
from chatsvc.replies import Reply
from chatsvc.replies.outcome import FINISH_REASONS
from chatsvc.stores.base import STORE_FAILURES
from chatsvc.ticker import monotonic
from chatsvc.web.figures import Figure, Figures, Kind, Record
from chatsvc.web.metric_families import Family, Histogram, LabelledFigures
from chatsvc.web.process_metrics import process_metrics

FIRST_CHARACTER_S = (0.001, 0.005, 0.02, 0.1, 0.3, 1, 3, 10, 30, 60)
"""The upper bounds of the histogram of the time to the first character (seconds)."""

BACKEND_FAILURES = ("busy", "refused", "misconfigured", "broken")
"""The reasons by which failures of the backend are counted; any other counts as the last."""

CLIENT_LIMITS = ClientLimits.__struct_fields__
"""The names of the limits of a client, by which refusals are counted."""


class Metrics(Collector):
    """The metrics of a service, an `Observer` of the replies of one of its processes.

    This process writes the table `process` of `figures`; a scrape shows the sums of all tables.
    """

    def __init__(self, figures: Figures | None = None, process: int = 0) -> None:
        self._figures = figures or Figures()
        self._table = self._figures.table(process)
        self._table.begin(os.getpid())
        self._families: dict[str, Callable[[list[Record]], Metric]] = {}
        self._running = self._figure(
            Kind.GAUGE, "chatsvc_replies_running", "Replies that are produced now"
        )
        self.readers = self._labelled(
            Kind.GAUGE, "chatsvc_readers", "Readers by transport", "transport"
        )
        self._started = self._figure(
            Kind.COUNTER, "chatsvc_replies_started", "Replies started here"
        )
        self._ended = self._labelled(
            Kind.COUNTER,
            "chatsvc_replies_ended",
            "Replies that ended, by reason",
            "state",
            "finish_reason",
        )
        self._characters = self._figure(
            Kind.COUNTER, "chatsvc_characters", "Code points of ended replies"
        )
        self._backend_failures = self._labelled(
            Kind.COUNTER,
            "chatsvc_backend_failures",
            "Replies that failed because of the backend, by reason",
            "reason",
        )
        self._store_failures = self._labelled(
            Kind.COUNTER,
            "chatsvc_store_failures",
            "Requests to the store that failed, also if repeated with success, by reason",
            "reason",
        )
        self.resumes = self._labelled(
            Kind.COUNTER,
            "chatsvc_resumes",
            "Streams that began behind the start of a reply",
            "transport",
        )
        self.refusals = self._labelled(
            Kind.COUNTER, "chatsvc_refusals", "Requests answered by a problem", "code"
        )
        self._limit_refusals = self._labelled(
            Kind.COUNTER,
            "chatsvc_limit_refusals",
            "Requests, frames and connections beyond a limit of their client, by limit",
            "limit",
        )
        self.cut = self._labelled(
            Kind.COUNTER,
            "chatsvc_connections_cut",
            "Connections ended because of what their clients did, by reason",
            "reason",
        )
        self.without_descriptor = self._figure(
            Kind.COUNTER,
            "chatsvc_descriptor_refusals",
            "Connections and replies refused for want of file descriptors",
        )
        self.memory = self._labelled(
            Kind.GAUGE,
            "chatsvc_memory_bytes",
            "Bytes that count against --max-memory, by what holds them",
            "kind",
        )
        self.memory_limit = self._figure(
            Kind.GAUGE, "chatsvc_memory_limit_bytes", "The bytes of --max-memory"
        )
        self.stalls = self._figure(
            Kind.COUNTER,
            "chatsvc_loop_stalls",
            "Stalls of the event loop of 100 ms and more",
        )
        self.longest_stall = self._figure(
            Kind.PEAK,
            "chatsvc_loop_longest_stall_seconds",
            "The longest time that the event loop was held since the last scrape",
        )
        self._first = Histogram(
            "chatsvc_first_character_seconds",
            "From the start of a reply to its first character",
            FIRST_CHARACTER_S,
            self._table,
        )
        self._families[self._first.name] = self._first.metric
        # A counter that appears with its first failure has no rise that an alert could see.
        for reason in BACKEND_FAILURES:
            self._backend_failures.labels(reason)
        for reason in STORE_FAILURES:
            self._store_failures.labels(reason)
        for limit in CLIENT_LIMITS:
            self._limit_refusals.labels(limit)

    def _labelled(
        self, kind: Kind, name: str, help: str, *labels: str
    ) -> LabelledFigures:
        family = Family(kind, name, help, labels)
        self._families[name] = family.metric
        return LabelledFigures(family, self._table)

    def _figure(self, kind: Kind, name: str, help: str) -> Figure:
        return self._labelled(kind, name, help).labels()

    # ------------------------------------------------------------------ what happens

    def producing(self, count: int) -> None:
        """See `Observer`."""
        self._running.set(count)

    def started(self, reply: Reply) -> None:
        """See `Observer`."""
        self._started.inc()

    def first(self, reply: Reply) -> None:
        """See `Observer`."""
        self._first.observe((monotonic() - reply.started) / 1e6)

    def handed_on(self, reply: Reply, successor: str) -> None:
        """Do nothing: the node that ends the reply counts all of it."""

    def taken_over(self, reply: Reply) -> None:
        """Do nothing: the reply was counted where it was started."""

    def ended(self, reply: Reply) -> None:
        """See `Observer`."""
        end = reply.end
        assert end is not None
        self._characters.inc(reply.log.position)
        # A model's server may finish with any words, and each would be a series of its own.
        known_end = end.state != "done" or end.finish_reason in FINISH_REASONS
        self._ended.labels(end.state, end.finish_reason if known_end else "other").inc()
        problem = end.problem
        if problem and problem.get("type") == BackendFailed().as_dict()["type"]:
            reason = problem.get("reason")
            known = reason if reason in BACKEND_FAILURES else BACKEND_FAILURES[-1]
            self._backend_failures.labels(known).inc()

    def store_failed(self, reason: str) -> None:
        """Count a failure of the store; `reason` is one of `STORE_FAILURES`."""
        self._store_failures.labels(reason).inc()

    def limit_reached(self, problem: Problem) -> None:
        """Count the problem of a request, frame or connection, if it is a limit of its client."""
        if isinstance(problem, TooManyRequests):
            self._limit_refusals.labels(problem.limit).inc()

    @contextmanager
    def reading(self, transport: str) -> Iterator[None]:
        """Return a context manager that counts a reader of `transport`."""
        readers = self.readers.labels(transport)
        readers.inc()
        try:
            yield
        finally:
            readers.dec()

    # ------------------------------------------------------------------ scrapes

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics (see `prometheus_client.registry.Collector`)."""
        build = GaugeMetricFamily(
            "chatsvc_build_info",
            "What runs; the value is always 1",
            labels=("version", "python", "aiohttp"),
        )
        versions = (__version__, platform.python_version(), aiohttp.__version__)
        build.add_metric(versions, 1.0)
        yield build
        tables = self._figures.tables()
        found: dict[str, list[Record]] = {name: [] for name in self._families}
        for table in tables:
            for record in table:
                found[record.name].append(record)
        for name, metric_of in self._families.items():
            yield metric_of(found[name])
        pids = [table.pid for table in tables] if len(tables) > 1 else [os.getpid()]
        yield from process_metrics(pids)

    def exposition(self) -> web.Response:
        """Return the response to a scrape."""
        registry = CollectorRegistry()
        registry.register(self)
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=generate_latest(registry), headers=headers)


METRICS = web.AppKey("metrics", Metrics)
"""The key of the application's metrics."""
