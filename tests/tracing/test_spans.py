"""The spans of replies and of readings, by the conventions for generative AI, in the SDK's own memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatsvc.backends.openai import OpenAIBackend
from chatsvc.problems import BackendFailed
from chatsvc.replies.spans import ReplySpan as Interface
from chatsvc.settings import Settings
from tests.scripted_upstream import DONE, Upstream, chunk, head
from tests.service.running import Scripted, eventually, inside

from .traces import (
    PARENT,
    TRACE,
    TRACEPARENT,
    Spans,
    ids,
    links,
    parent,
    words,
)

from opentelemetry import trace  # isort: skip
from opentelemetry.sdk.trace.sampling import (  # isort: skip
    ALWAYS_OFF,
    DEFAULT_ON,
    ParentBased,
)
from opentelemetry.trace import SpanKind, StatusCode  # isort: skip
from chatsvc.tracing.spans import LONGEST_STATE, ReplySpan  # isort: skip

QUICK = Settings(pace=0)
SECRET = "the-secret-words"
BODY = json.dumps({"message": SECRET}).encode()
JSON = "Accept: application/json"
USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 5,
    "total_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 4},
}


def usage_chunk(usage: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"


def answer() -> list[bytes]:
    return [
        head(),
        chunk("hello"),
        chunk(None, finish_reason="stop"),
        usage_chunk(USAGE),
        DONE,
    ]


async def test_a_reply_of_a_models_server(spans: Spans) -> None:
    upstream = Upstream(answer())
    async with upstream.running() as url:
        backend = OpenAIBackend(url, "a-model")
        async with inside(
            QUICK, backend=backend, tracer_provider=spans.provider
        ) as chat:
            body = json.dumps(
                {
                    "messages": [{"role": "user", "content": SECRET}],
                    "stream": True,
                    "temperature": 0.5,
                    "max_tokens": 9,
                    "seed": 7,
                    "top_p": True,
                    "top_k": 10**30,
                }
            ).encode()
            state = "a=1,b=2"
            got = await chat.raw(
                "POST /v1/chat/completions",
                f"traceparent: {TRACEPARENT}",
                f"tracestate: {state}",
                "Content-Type: application/json",
                body=body,
            )
            await eventually(spans.replies)
    assert got.status == 200
    [span] = spans.all()
    assert span.name == "chat a-model"
    assert span.kind is SpanKind.CLIENT
    assert (ids(span)[0], parent(span)) == (TRACE, PARENT)
    assert span.status.status_code is StatusCode.UNSET
    attributes = dict(span.attributes or {})
    seconds = attributes.pop("gen_ai.response.time_to_first_chunk")
    assert isinstance(seconds, float) and seconds > 0
    reply = attributes.pop("gen_ai.response.id")
    assert isinstance(reply, str) and len(reply) == 6
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "a-model",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.seed": 7,
        "server.address": "127.0.0.1",
        "server.port": int(upstream.url.split(":")[2].partition("/")[0]),
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 4,
    }
    assert SECRET not in words(span) and "hello" not in words(span)
    # The model's server gets the reply's span as the parent.
    lines = upstream.heads[0].split("\r\n")
    assert f"traceparent: 00-{TRACE}-{ids(span)[1]}-01" in lines
    assert f"tracestate: {state}" in lines


async def test_a_proxys_route_passes_it_on_too(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = Upstream(answer())
    async with upstream.running() as url:
        monkeypatch.setenv("http_proxy", url.removesuffix("/v1"))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        backend = OpenAIBackend("http://model.test/v1", "a-model")
        async with inside(
            QUICK, backend=backend, tracer_provider=spans.provider
        ) as chat:
            await chat.raw("POST /api/chat", JSON, body=BODY)
            await eventually(spans.replies)
    [span] = spans.replies()
    assert upstream.heads[0].startswith("POST http://model.test/v1/chat/completions")
    header = f"\r\ntraceparent: 00-{'-'.join(ids(span))}-"
    assert header in upstream.heads[0].lower()
    assert (span.attributes or {})["server.address"] == "model.test"


async def test_each_attempt_has_the_header(spans: Spans) -> None:
    busy = [head("503 Busy", "text/plain", "Content-Length: 0\r\n")]
    upstream = Upstream(busy, answer())
    async with upstream.running() as url:
        backend = OpenAIBackend(url, "a-model", first_backoff=0.01)
        async with inside(
            QUICK, backend=backend, tracer_provider=spans.provider
        ) as chat:
            await chat.raw("POST /api/chat", JSON, body=BODY)
    assert len(upstream.heads) == 2
    header = f"traceparent: 00-{'-'.join(ids(spans.replies()[0]))}-"
    assert all(header in one for one in upstream.heads)


async def test_without_traces_nothing_is_sent() -> None:
    upstream = Upstream(answer())
    async with (
        upstream.running() as url,
        inside(QUICK, backend=OpenAIBackend(url, "m")) as chat,
    ):
        got = await chat.raw(
            "POST /api/chat", f"traceparent: {TRACEPARENT}", JSON, body=BODY
        )
        reply = await chat.replies.open(got.reply)
        assert reply.record.trace == {}
    assert "trace" not in upstream.heads[0].lower()


@pytest.mark.parametrize(
    "header",
    [
        (),
        ("traceparent: nonsense",),
        (f"traceparent: 00-{'0' * 32}-{PARENT}-01",),
        (f"traceparent: {TRACEPARENT}", f"traceparent: {TRACEPARENT}"),
    ],
)
async def test_without_a_valid_parent_it_begins_a_trace(
    header: tuple[str, ...], spans: Spans
) -> None:
    async with inside(QUICK, tracer_provider=spans.provider) as chat:
        await chat.raw("POST /api/chat", JSON, *header, body=BODY)
    [span] = spans.all()
    assert span.parent is None
    assert ids(span)[0] != TRACE
    assert (span.name, span.kind) == ("chat echo", SpanKind.INTERNAL)


async def test_a_long_tracestate_is_dropped(spans: Spans) -> None:
    state = "a=" + "x" * 200 + ",b=" + "x" * 200 + ",c=" + "x" * 200
    assert len(state) > LONGEST_STATE
    async with inside(QUICK, tracer_provider=spans.provider) as chat:
        headers = (f"traceparent: {TRACEPARENT}", f"tracestate: {state}")
        got = await chat.raw("POST /api/chat", JSON, *headers, body=BODY)
        reply = await chat.replies.open(got.reply)
        assert set(reply.record.trace) == {"traceparent"}
    assert parent(spans.replies()[0]) == PARENT


async def test_the_clients_sampling_is_followed() -> None:
    spans, upstream = Spans(DEFAULT_ON), Upstream(answer())
    async with upstream.running() as url:
        backend = OpenAIBackend(url, "m")
        async with inside(
            QUICK, backend=backend, tracer_provider=spans.provider
        ) as chat:
            unsampled = f"traceparent: 00-{TRACE}-{PARENT}-00"
            got = await chat.raw("POST /api/chat", unsampled, JSON, body=BODY)
            await chat.raw(f"GET /api/chat/{got.reply}", unsampled)
    assert spans.all() == []
    [line] = [x for x in upstream.heads[0].split("\r\n") if x.startswith("traceparent")]
    assert line.startswith(f"traceparent: 00-{TRACE}-") and line.endswith("-00")


async def test_an_owners_sampler_decides_without_a_parent() -> None:
    spans = Spans(ParentBased(ALWAYS_OFF))
    async with inside(QUICK, tracer_provider=spans.provider) as chat:
        await chat.raw("POST /api/chat", JSON, body=BODY)
        await chat.raw("POST /api/chat", f"traceparent: {TRACEPARENT}", JSON, body=BODY)
    assert [parent(span) for span in spans.all()] == [PARENT]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (BackendFailed("no", reason="busy"), "busy"),
        (BackendFailed(SECRET), "broken"),
        (ValueError(SECRET), "broken"),
    ],
)
async def test_a_failed_reply_is_an_error(
    failure: Exception, kind: str, spans: Spans
) -> None:
    backend = Scripted("a", failure)
    async with inside(QUICK, backend=backend, tracer_provider=spans.provider) as chat:
        await chat.raw("POST /api/chat", JSON, body=BODY)
    [span] = spans.replies()
    assert span.status.status_code is StatusCode.ERROR
    attributes = span.attributes or {}
    assert attributes["error.type"] == kind
    assert attributes["gen_ai.response.finish_reasons"] == ("error",)
    assert SECRET not in words(span)


async def test_a_stopped_reply_is_none(spans: Spans) -> None:
    backend = Scripted("a", asyncio.Event())
    async with inside(QUICK, backend=backend, tracer_provider=spans.provider) as chat:
        started = await chat.raw("POST /api/chat?wait=0", JSON, body=BODY)
        await chat.raw(f"POST /api/chat/{started.reply}/stop")
        await eventually(spans.replies)
    [span] = spans.replies()
    assert span.status.status_code is StatusCode.UNSET
    attributes = span.attributes or {}
    assert attributes["gen_ai.response.finish_reasons"] == ("stopped",)
    assert attributes["gen_ai.response.id"] == started.reply[:6]
    assert started.reply not in words(span)


async def test_a_refused_reply_has_no_span(spans: Spans) -> None:
    settings = Settings(pace=0, max_starts=1)
    async with inside(settings, tracer_provider=spans.provider) as chat:
        for _ in range(2):
            last = await chat.raw("POST /api/chat", JSON, body=BODY)
    assert last.status == 429
    assert len(spans.all()) == 1


@pytest.mark.parametrize(
    ("line", "headers", "transport", "after"),
    [
        ("GET /api/chat/{reply}", (), "text/event-stream", 0),
        (
            "GET /api/chat/{reply}",
            ("Last-Event-ID: {reply}:3",),
            "text/event-stream",
            3,
        ),
        ("GET /api/chat/{reply}?after=2", (JSON,), "application/json", 2),
        ("GET /api/chat/{reply}", ("Accept: text/html",), "text/html", 0),
        ("GET /api/chat/{reply}", ("Accept: text/plain",), "text/plain", 0),
        ("POST /api/chat", ("Last-Event-ID: {reply}:4",), "text/event-stream", 4),
    ],
)
async def test_a_reading_links_to_the_reply(
    line: str,
    headers: tuple[str, ...],
    transport: str,
    after: int,
    spans: Spans,
) -> None:
    async with inside(QUICK, tracer_provider=spans.provider) as chat:
        reply = (await chat.raw("POST /api/chat", JSON, body=BODY)).reply
        assert spans.reads() == []
        more = [header.format(reply=reply) for header in headers]
        mine = f"traceparent: {TRACEPARENT}"
        got = await chat.raw(line.format(reply=reply), mine, *more)
        assert got.status == 200
        await eventually(spans.reads)
    [span], [first] = spans.reads(), spans.replies()
    assert links(span) == [ids(first)]
    assert (ids(span)[0], parent(span)) == (TRACE, PARENT)
    assert ids(first)[0] != TRACE
    assert span.kind is SpanKind.SERVER
    assert dict(span.attributes or {}) == {
        "gen_ai.response.id": reply[:6],
        "chatsvc.transport": transport,
        "chatsvc.after": after,
    }


async def test_a_repeated_request_links_to_the_reply(spans: Spans) -> None:
    key = "Idempotency-Key: a-key-of-more-than-16-characters"
    async with inside(QUICK, tracer_provider=spans.provider) as chat:
        for _ in range(2):
            await chat.raw("POST /api/chat", key, JSON, body=BODY)
    [first], [again] = spans.replies(), spans.reads()
    assert links(again) == [ids(first)]


async def test_websockets_are_traced_as_all_else(spans: Spans) -> None:
    async with inside(QUICK, tracer_provider=spans.provider) as chat:
        url = f"http://{chat.host}:{chat.port}/ws/chat"
        headers = {"traceparent": TRACEPARENT}
        async with chat.session.ws_connect(
            url, headers=headers, protocols=["chatsvc.v1"]
        ) as ws:
            await ws.send_json({"key": "k", "message": "hi"})
            reply = ""
            async for message in ws:
                event = json.loads(message.data)
                reply = reply or event["id"].partition(":")[0]
                if event["data"] == "[DONE]":
                    break
            await ws.send_json({"read": reply, "after": 1})
            async for message in ws:
                if json.loads(message.data)["data"] == "[DONE]":
                    break
            await eventually(spans.reads)
    [first], [again] = spans.replies(), spans.reads()
    assert parent(first) == parent(again) == PARENT
    assert links(again) == [ids(first)]
    assert (again.attributes or {})["chatsvc.transport"] == "chatsvc.v1"


async def test_a_functions_own_spans_are_children_of_the_reply(spans: Spans) -> None:
    tracer = spans.provider.get_tracer("of-ann")

    async def function(messages: list[dict[str, str]]) -> AsyncIterator[str]:
        with tracer.start_as_current_span("a-search"):
            await asyncio.sleep(0)
        yield "hi"

    async with inside(QUICK, backend=function, tracer_provider=spans.provider) as chat:
        await chat.raw("POST /api/chat", JSON, body=BODY)
    [search], [reply] = spans.all("a-search"), spans.replies()
    assert search.parent is not None
    assert f"{search.parent.span_id:016x}" == ids(reply)[1]
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_the_span_of_what_is_around_the_service_is_the_parent(
    spans: Spans,
) -> None:
    tracer = spans.provider.get_tracer("of-ann")
    with tracer.start_as_current_span("a-request"):
        async with inside(QUICK, tracer_provider=spans.provider) as chat:
            # The server's tasks begin with the context in which it was started.
            await chat.raw(
                "POST /api/chat", f"traceparent: {TRACEPARENT}", JSON, body=BODY
            )
    [around], [reply] = spans.all("a-request"), spans.replies()
    assert parent(reply) == ids(around)[1]


def test_the_interface_is_kept() -> None:
    kept: type[Interface] = ReplySpan
    assert kept is ReplySpan
