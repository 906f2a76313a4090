"""The metrics of `/metrics`. None of them is updated for each character, which would cost much."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from chatsvc.replies import Reply
from chatsvc.replies.outcome import FINISH_REASONS
from chatsvc.ticker import monotonic


class Metrics:
    """The metrics of one node, an `Observer` of its replies."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.running = Gauge(
            "chatsvc_replies_running",
            "Replies produced by this node now",
            registry=registry,
        )
        self.readers = Gauge(
            "chatsvc_readers",
            "Readers by transport",
            ["transport"],
            registry=registry,
        )
        self._started = Counter(
            "chatsvc_replies_started", "Replies started here", registry=registry
        )
        self._ended = Counter(
            "chatsvc_replies_ended",
            "Replies that ended, by reason",
            ["state", "finish_reason"],
            registry=registry,
        )
        self._characters = Counter(
            "chatsvc_characters", "Code points of ended replies", registry=registry
        )
        self.resumes = Counter(
            "chatsvc_resumes",
            "Streams that began behind the start of a reply",
            ["transport"],
            registry=registry,
        )
        self.refusals = Counter(
            "chatsvc_refusals",
            "Requests answered by a problem",
            ["code"],
            registry=registry,
        )
        self.cut = Counter(
            "chatsvc_connections_cut",
            "Connections ended because of what their clients did, by reason",
            ["reason"],
            registry=registry,
        )
        self.without_descriptor = Counter(
            "chatsvc_descriptor_refusals",
            "Connections and replies refused for want of file descriptors",
            registry=registry,
        )
        self.stalls = Counter(
            "chatsvc_loop_stalls",
            "Stalls of the event loop of 100 ms and more",
            registry=registry,
        )
        self.longest_stall = Gauge(
            "chatsvc_loop_longest_stall_seconds",
            "The longest time that the event loop was held since the last scrape",
            registry=registry,
        )
        self._first = Histogram(
            "chatsvc_first_character_seconds",
            "From the start of a reply to its first character",
            registry=registry,
            buckets=(0.001, 0.005, 0.02, 0.1, 0.3, 1, 3, 10, 30, 60),
        )

    def started(self, reply: Reply) -> None:
        """See `Observer`."""
        self._started.inc()

    def first(self, reply: Reply) -> None:
        """See `Observer`."""
        self._first.observe((monotonic() - reply.started) / 1e6)

    def ended(self, reply: Reply) -> None:
        """See `Observer`."""
        if reply.end is not None:
            end = reply.end
            # A model's server may finish with any words, and each would be a series of its own.
            known = end.state != "done" or end.finish_reason in FINISH_REASONS
            self._ended.labels(end.state, end.finish_reason if known else "other").inc()
        self._characters.inc(reply.log.position)

    def reading(self, transport: str) -> AbstractContextManager[None]:
        """Return a context manager that counts a reader of `transport`."""
        return self.readers.labels(transport).track_inprogress()

    def exposition(self, running: Callable[[], int]) -> web.Response:
        """Return the response to a scrape.

        `running()` is the number of replies that the node produces.
        """
        self.running.set(running())
        return web.Response(
            body=generate_latest(self.registry),
            headers={"Content-Type": CONTENT_TYPE_LATEST},
        )


METRICS = web.AppKey("metrics", Metrics)
"""The key of the application's metrics."""
