"""Spans in memory, and a collector that speaks OTLP over HTTP, for these tests."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.conftest import require_module

require_module("opentelemetry.sdk")
require_module("opentelemetry.exporter.otlp.proto.http")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
    InMemorySpanExporter,
)
from opentelemetry.sdk.trace.sampling import Sampler

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Spans:
    """A provider whose spans stay in memory."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def all(self, name: str = "") -> list[ReadableSpan]:
        """The spans that have ended, whose names begin so, in the order of their ends."""
        return [
            span
            for span in self.exporter.get_finished_spans()
            if span.name.startswith(name)
        ]

    def replies(self) -> list[ReadableSpan]:
        """The spans of replies."""
        return self.all("chat ")

    def reads(self) -> list[ReadableSpan]:
        """The spans of readings."""
        return self.all("chatsvc.read")


def ids(span: ReadableSpan) -> tuple[str, str]:
    """The ids of a span's trace and of the span, as headers have them."""
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def links(span: ReadableSpan) -> list[tuple[str, str]]:
    """The ids of the spans that a span links to."""
    found = (link.context for link in span.links)
    return [(f"{each.trace_id:032x}", f"{each.span_id:016x}") for each in found]


def parent(span: ReadableSpan) -> str | None:
    """The id of a span's parent."""
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def words(span: ReadableSpan) -> str:
    """All that a span says."""
    return str(span.to_json())


class Collector:
    """What takes spans by OTLP/HTTP: the spans that came, with the attributes of their resources.

    With `status` it answers that in place of taking them; with `hangs` it never answers.
    """

    def __init__(self, status: int = 200, *, hangs: bool = False) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.came = asyncio.Event()
        self.url = ""
        self._status = status
        self._hangs = hangs

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.came.set()
        if self._hangs:
            await asyncio.Event().wait()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert request.content_type == "application/x-protobuf"
        found = ExportTraceServiceRequest.FromString(body)
        self.headers.append(dict(request.headers))
        for resource_spans in found.resource_spans:
            attributes = resource_spans.resource.attributes
            self.resources.append(
                {each.key: each.value.string_value for each in attributes}
            )
            for scope in resource_spans.scope_spans:
                assert scope.scope.name == "chatsvc"
                self.spans += scope.spans
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(
            body=answer, status=self._status, content_type="application/x-protobuf"
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Listen on a free port of the loopback; give the URL."""
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield self.url
        finally:
            await runner.cleanup()


@pytest.fixture
def spans() -> Spans:
    """A provider of this test's own."""
    return Spans()
