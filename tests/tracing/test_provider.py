"""Spans of the command `chatsvc` at a collector that speaks OTLP/HTTP, and what the environment says of it."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

import aiohttp
import pytest

from chatsvc.settings import wants_traces
from chatsvc.tracing import tracing_of
from chatsvc.tracing.collector import collector
from tests.readme import EmptyFolder, blocks
from tests.redis_server import RedisServer
from tests.service.running import child, inside

from .traces import PARENT, TRACE, TRACEPARENT, Collector, Spans, parent

from opentelemetry import trace  # isort: skip
from opentelemetry.sdk.trace import TracerProvider  # isort: skip
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # isort: skip
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # isort: skip
    InMemorySpanExporter,
)
from chatsvc.tracing import provider as provider_module  # isort: skip
from chatsvc.backends.echo import EchoBackend

from chatsvc.tracing.provider import close_provider, make_provider  # isort: skip

BODY = b'{"message": "the-secret-words"}'
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
JSON = "Accept: application/json"
COMMAND = (str(Path(sys.executable).with_name("chatsvc")),)


def attributes(span: object) -> dict[str, object]:
    """The attributes of a span as it came over the wire."""
    found: dict[str, object] = {}
    for each in span.attributes:  # type: ignore[attr-defined]
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kind)
        if kind == "array_value":
            value = [one.string_value for one in value.values]
        found[each.key] = value
    return found


@pytest.mark.any_store
@pytest.mark.parametrize("name", ["", "of-ann"])
async def test_the_command_sends_spans_and_flushes_them_at_its_end(name: str) -> None:
    gatherer = Collector()
    environment = {"OTEL_EXPORTER_OTLP_HEADERS": "x-key=secret"}
    if name:
        environment["OTEL_SERVICE_NAME"] = name
    async with gatherer.running() as url:
        flags = ("--pace", "0")
        environment[ENDPOINT] = url
        async with child(*flags, command=COMMAND, **environment) as chat:
            answer = await chat.raw(
                "POST /api/chat", f"traceparent: {TRACEPARENT}", JSON, body=BODY
            )
            await chat.raw(f"GET /api/chat/{answer.reply}")
            await chat.terminate()
            status, errors = await chat.ended()
    assert status == 0
    assert "Traceback" not in errors
    by_name = {span.name: span for span in gatherer.spans}
    reply, read = by_name["chat echo"], by_name["chatsvc.read"]
    assert (reply.trace_id.hex(), reply.parent_span_id.hex()) == (TRACE, PARENT)
    assert [link.span_id for link in read.links] == [reply.span_id]
    told = attributes(reply)
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    assert told["gen_ai.response.id"] == answer.reply[:6]
    assert gatherer.resources[0]["service.name"] == (name or "chatsvc")
    assert gatherer.resources[0]["service.version"]
    assert gatherer.headers[0]["x-key"] == "secret"
    assert "secret-words" not in str(gatherer.spans)


@pytest.mark.any_store
async def test_it_works_as_the_readme_says(tmp_path: Path) -> None:
    [example] = blocks("sh", "OTEL_EXPORTER_OTLP_ENDPOINT")
    export, _ = example.strip().splitlines()
    name, _, value = export.removeprefix("export ").partition("=")
    assert value == "http://127.0.0.1:4318"
    gatherer, folder = Collector(), EmptyFolder(tmp_path / "empty")
    async with gatherer.running() as url:
        folder.environment[name] = url
        with folder.serving(example, "--pace", "0") as service:
            asking = {"message": "hi"}
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{service.url}/api/chat", json=asking) as answer,
            ):
                await answer.read()
            service.process.terminate()
            await asyncio.wait_for(gatherer.came.wait(), 20)
            await asyncio.to_thread(service.process.wait)
    assert [span.name for span in gatherer.spans] == ["chat echo"]


@pytest.mark.any_store
async def test_each_worker_sends_its_spans(redis_server: RedisServer) -> None:
    gatherer = Collector()
    async with gatherer.running() as url:
        store = ("--store", redis_server.database(6), "--workers", "2", "--pace", "0")
        async with child(*store, **{ENDPOINT: url}) as chat:
            for _ in range(8):
                await chat.raw("POST /api/chat", JSON, body=BODY)
            await chat.terminate()
            status, _ = await chat.ended()
    assert status == 0
    assert len([s for s in gatherer.spans if s.name == "chat echo"]) == 8


@pytest.mark.any_store
@pytest.mark.parametrize("kind", ["refuses", "hangs", "is not there"])
async def test_a_collector_that_takes_nothing_holds_nobody_up(kind: str) -> None:
    gatherer = Collector(503, hangs=kind == "hangs")
    async with gatherer.running() as url:
        if kind == "is not there":
            url = "http://127.0.0.1:9"
        async with child("--pace", "0", **{ENDPOINT: url}) as chat:
            answer = await chat.raw("POST /api/chat", JSON, body=BODY)
            assert answer.status == 200
            await chat.terminate()
            status, errors = await chat.ended()
    assert status == 0, errors
    assert "Traceback" not in errors


def test_a_provider_is_closed_within_bounds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(provider_module, "FLUSH_S", 0.01)
    answered = threading.Event()

    class Hanging(InMemorySpanExporter):
        def shutdown(self) -> None:
            answered.wait()

    hanging = TracerProvider(shutdown_on_exit=False)
    hanging.add_span_processor(SimpleSpanProcessor(Hanging()))
    close_provider(hanging)
    assert "did not take the last spans in 0.01 s" in caplog.text
    answered.set()
    caplog.clear()
    monkeypatch.setattr(provider_module, "FLUSH_S", 20)
    close_provider(Spans().provider)
    assert not caplog.records


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({ENDPOINT: "http://a"}, True),
        ({ENDPOINT: " "}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a/v1/traces"}, True),
        ({ENDPOINT: "http://a", "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINT: "http://a", "OTEL_SDK_DISABLED": "TRUE "}, False),
        ({ENDPOINT: "http://a", "OTEL_SDK_DISABLED": "no"}, True),
        ({ENDPOINT: "http://a", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: "http://a", "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_the_environment_says_whether_there_are_traces(
    environment: dict[str, str], wanted: bool
) -> None:
    assert wants_traces(environment) is wanted


@pytest.mark.any_store
async def test_without_a_collector_nothing_is_imported() -> None:
    code = (
        "import sys; from chatsvc.cli import main; import atexit; "
        "atexit.register(lambda: print('opentelemetry' in sys.modules)); "
        "sys.argv = ['chatsvc', '--backend', 'nowhere']; main()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=-1, stderr=-1
    )
    out, _ = await process.communicate()
    assert out == b"False\n"


def test_without_the_extra_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "chatsvc.tracing.provider", None)
    with collector() as provider:
        assert provider is None
    assert "'.[otel]'" in caplog.text


def test_the_provider_of_the_process_is_used_where_there_is_one(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracing_of(EchoBackend(), None) is None
    assert tracing_of(EchoBackend(), spans.provider) is not None
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)
    assert tracing_of(EchoBackend(), None) is not None
    assert make_provider() is None
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", trace.NoOpTracerProvider())
    assert tracing_of(EchoBackend(), None) is None


async def test_an_application_that_mounts_the_service_has_its_spans(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)
    async with inside() as chat:
        await chat.raw("POST /api/chat", f"traceparent: {TRACEPARENT}", JSON, body=BODY)
    assert [parent(span) for span in spans.replies()] == [PARENT]


@pytest.mark.any_store
@pytest.mark.parametrize(
    "refused",
    [
        {"OTEL_BSP_SCHEDULE_DELAY": "-4"},  # by the SDK, when it is set up
        {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "x"},  # when it is imported
        {"OTEL_PYTHON_TRACER_PROVIDER": "nobody"},  # by the API
    ],
)
async def test_what_opentelemetry_refuses_is_one_line(refused: dict[str, str]) -> None:
    variables = {**os.environ, ENDPOINT: "http://127.0.0.1:9", **refused}
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "--port",
        "0",
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, out) == (2, b"")
    last = error.decode().splitlines()[-1]
    assert last.startswith("chatsvc: OpenTelemetry refuses its variables (OTEL_…): ")
    assert not last.endswith(": ")
