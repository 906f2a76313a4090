"""The spans of replies and of readings, by OpenTelemetry's semantic conventions for generative AI.

The conventions: https://github.com/open-telemetry/semantic-conventions-genai. No attribute holds text
of a question or an answer, and ids of replies, which are capabilities, have only their beginnings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any

import msgspec
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import (
    TraceContextTextMapPropagator,
)

from chatsvc import __version__
from chatsvc.backends.base import Backend, model_name
from chatsvc.kept_prompt import KeptPrompt
from chatsvc.replies import Reply

_W3C = TraceContextTextMapPropagator()

_NUMBERS: dict[str, tuple[str, type[int | float]]] = {
    "temperature": ("gen_ai.request.temperature", float),
    "top_p": ("gen_ai.request.top_p", float),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
    "top_k": ("gen_ai.request.top_k", int),
    "seed": ("gen_ai.request.seed", int),
    "max_tokens": ("gen_ai.request.max_tokens", int),
    "max_completion_tokens": ("gen_ai.request.max_tokens", int),
}
"""The attributes that options of a request become, if they are numbers."""

_USAGE = {
    "gen_ai.usage.input_tokens": ("prompt_tokens",),
    "gen_ai.usage.output_tokens": ("completion_tokens",),
    "gen_ai.usage.cache_read.input_tokens": ("prompt_tokens_details", "cached_tokens"),
    "gen_ai.usage.reasoning.output_tokens": (
        "completion_tokens_details",
        "reasoning_tokens",
    ),
}
"""Where the numbers of tokens stand in OpenAI's usage object."""

LONGEST_STATE = 512
"""The most characters of a `tracestate` that are taken: as many as have to be, and no more are kept
with a reply (W3C Trace Context, section 3.3.1.5)."""

_LARGEST = 2**63 - 1
"""The largest number that an attribute may have."""


class _Options(msgspec.Struct):
    """The part of a kept prompt that attributes are made of."""

    options: dict[str, Any] = {}


class ReplySpan:
    """The span of a reply that this node produces: a `chatsvc.replies.ReplySpan`."""

    __slots__ = ("_span", "headers")

    def __init__(self, span: Span) -> None:
        self._span = span
        self.headers: dict[str, str] = {}
        _W3C.inject(self.headers, trace.set_span_in_context(span, Context()))

    def run(self, call: Callable[..., None], *args: object) -> None:
        """Call something, and let the tasks that it starts have this span as their current one."""
        copy_context().run(self._run, call, args)

    def _run(self, call: Callable[..., None], args: tuple[object, ...]) -> None:
        # The copy of the context ends with the call, so there is nothing to detach.
        contexts.attach(trace.set_span_in_context(self._span))
        call(*args)

    def first(self, reply: Reply) -> None:
        """Note that the first text has come."""
        name = "gen_ai.response.time_to_first_chunk"
        self._span.set_attribute(name, reply.age())

    def hand_on(self, reply: Reply, successor: str) -> None:
        """End the span of a reply that goes on on another node."""
        attributes = {"chatsvc.successor": successor} if successor else {}
        self._span.add_event("chatsvc.handed_on", attributes)
        self._end(reply)

    def end(self, reply: Reply) -> None:
        """End the span of a reply that has its end."""
        span, end = self._span, reply.end
        if span.is_recording() and end is not None:
            span.set_attribute(
                "gen_ai.response.finish_reasons", (_clean(end.finish_reason),)
            )
            for name, path in _USAGE.items():
                if (count := _count(end.usage, path)) is not None:
                    span.set_attribute(name, count)
            if end.state == "failed":
                span.set_attribute("error.type", _error_type(end.problem or {}))
                span.set_status(StatusCode.ERROR)
        self._end(reply)

    def _end(self, reply: Reply) -> None:
        self._span.set_attribute("gen_ai.response.id", reply.id[:6])
        self._span.end()


class Reading:
    """The span of a reading, from its start until it is called."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def __call__(self) -> None:
        """End the span."""
        self._span.end()


class Tracing:
    """The maker of spans by a `provider`, for replies of a `backend`: a tracer and an `Observer`."""

    def __init__(self, provider: TracerProvider, backend: Backend) -> None:
        self._tracer = provider.get_tracer("chatsvc", __version__)
        self._backend = backend
        self._server: tuple[str, int] | None = getattr(backend, "server", None)

    def start(self, prompt: KeptPrompt, parent: Mapping[str, str]) -> ReplySpan:
        """Return the span of a reply that is about to be created.

        Its parent is the current span, where something around this service has one, else what the
        headers `parent` name.
        """
        return self._start(prompt, _surroundings(parent), ())

    def _start(
        self, prompt: KeptPrompt, context: Context | None, links: tuple[Link, ...]
    ) -> ReplySpan:
        try:
            options = msgspec.json.decode(prompt.json, type=_Options).options
        except (
            msgspec.MsgspecError
        ):  # a node of another version may have written anything
            options = {}
        model = _clean(model_name(self._backend, options))
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self._backend.name,
            "gen_ai.request.model": model,
            "gen_ai.request.stream": True,
        }
        for option, (name, kind) in _NUMBERS.items():
            value: Any = options.get(option)
            is_number = isinstance(value, (int, kind)) and not isinstance(value, bool)
            if is_number and abs(value) <= _LARGEST:
                attributes[name] = kind(value)
        if self._server is not None:
            attributes["server.address"], attributes["server.port"] = self._server
        kind_of_span = SpanKind.INTERNAL if self._server is None else SpanKind.CLIENT
        span = self._tracer.start_span(
            f"chat {model}", context, kind_of_span, attributes, links
        )
        return ReplySpan(span)

    def read(
        self, reply: Reply, parent: Mapping[str, str], transport: str, after: int
    ) -> Reading:
        """Return the span of a reading of a reply that another request has begun.

        `parent` are the headers of the request that reads, `after` the position (code points) or
        the offset behind which it reads. The span ends when what is returned is called.
        """
        attributes: dict[str, Any] = {
            "gen_ai.response.id": reply.id[:6],
            "chatsvc.transport": transport,
            "chatsvc.after": after,
        }
        span = self._tracer.start_span(
            "chatsvc.read",
            _surroundings(parent),
            SpanKind.SERVER,
            attributes,
            _links(reply),
        )
        return Reading(span)

    # ------------------------------------------------------------------ Observer

    def producing(self, count: int) -> None:
        """Do nothing: how many replies run is no matter of traces."""

    def started(self, reply: Reply) -> None:
        """Do nothing: the reply has its span already."""

    def first(self, reply: Reply) -> None:
        """See `Observer`."""
        if isinstance(reply.span, ReplySpan):
            reply.span.first(reply)

    def handed_on(self, reply: Reply, successor: str) -> None:
        """See `Observer`."""
        span, reply.span = reply.span, None
        if isinstance(span, ReplySpan):
            span.hand_on(reply, successor)

    def taken_over(self, reply: Reply) -> None:
        """See `Observer`. The new span is a child of the first one of the reply."""
        first = _context(reply.record.trace)
        reply.span = self._start(reply.record.prompt, first, _links(reply))

    def ended(self, reply: Reply) -> None:
        """See `Observer`."""
        span, reply.span = reply.span, None
        if isinstance(span, ReplySpan):
            span.end(reply)


def _surroundings(headers: Mapping[str, str]) -> Context | None:
    """Return the context of a new span: None, which is the present one, if that has a span.

    Otherwise it is what the headers name.
    """
    is_inside = trace.get_current_span().get_span_context().is_valid
    return None if is_inside else _context(headers)


def _context(headers: Mapping[str, str]) -> Context:
    """Return the context that headers name, an empty one if they name none or are not valid.

    A `tracestate` of more than `LONGEST_STATE` characters is left out.
    """
    if len(headers.get("tracestate", "")) > LONGEST_STATE:
        headers = {name: headers[name] for name in headers if name != "tracestate"}
    return _W3C.extract(headers, Context())


def _links(reply: Reply) -> tuple[Link, ...]:
    """Return a link to the first span of a reply, if it has one."""
    found = trace.get_current_span(_context(reply.record.trace)).get_span_context()
    return (Link(found),) if found.is_valid else ()


def _count(usage: Any, path: tuple[str, ...]) -> int | None:
    """Return a number of tokens in a usage object, None where it has none."""
    for name in path:
        usage = usage.get(name) if isinstance(usage, dict) else None
    is_count = isinstance(usage, int) and not isinstance(usage, bool)
    return usage if is_count and 0 <= usage <= _LARGEST else None


def _error_type(problem: Mapping[str, Any]) -> str:
    """Return why a reply has failed: the reason of a failure of the backend, else the problem's code."""
    reason = problem.get("reason")
    if isinstance(reason, str) and reason:
        return _clean(reason)
    return _clean(str(problem.get("type", "")).rpartition("/")[2]) or "_OTHER"


def _clean(text: str) -> str:
    """Return a text that any encoding takes: one from a client may hold half a surrogate pair."""
    return text.encode("utf-8", "replace").decode()
