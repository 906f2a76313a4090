"""Traces: spans of OpenTelemetry for replies and for resumed readings, if somebody collects them.

A reply has one span (`spans`), by the semantic conventions for generative AI, and without a word of
what was asked or answered. `provider` sends spans to a collector from the command `chatsvc`, if
`collector` finds one in the environment; an application that mounts chatsvc has a provider of its own.

`spans` and `provider` import OpenTelemetry (the extra `otel`), so they are imported only where there
are traces: without them a reply costs nothing.

- The span's parent is what the client's `traceparent` and `tracestate` name (W3C Trace Context). The
  model's server gets these headers with the reply's span as the parent.
- The headers are kept with the reply (`Record.trace`), so that any node can refer to its span.
- A reading of a reply that another request has begun has a span of its own, which links to the
  reply's.
- Where a node hands a reply on, its span ends with an event. The span of the node that takes it over
  is a child of the first one, and links to it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from aiohttp import web

from chatsvc.backends.base import Backend

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from chatsvc.tracing.spans import Tracing

TRACE_HEADERS = ("traceparent", "tracestate")
"""The headers of W3C Trace Context."""

TRACER_PROVIDER: web.AppKey[TracerProvider | None] = web.AppKey("tracer_provider")
"""The key of the provider that an application is to use; None stands for that of the process."""

TRACING: web.AppKey[Tracing | None] = web.AppKey("tracing")
"""The key of what makes an application's spans; its value is None where there are no traces."""


def tracing_of(backend: Backend, provider: TracerProvider | None) -> Tracing | None:
    """Return what makes the spans of the replies of a backend, or None if nobody collects them.

    `provider` is the one to use. None stands for the one that the process has set for all, if it has.
    """
    if provider is None:
        # Whoever has set one has imported this.
        api = sys.modules.get("opentelemetry.trace")
        if api is None:
            return None
        provider = api.get_tracer_provider()
        if isinstance(provider, (api.ProxyTracerProvider, api.NoOpTracerProvider)):
            return None
    from chatsvc.tracing.spans import Tracing

    return Tracing(provider, backend)
