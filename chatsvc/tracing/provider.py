"""The way of spans to a collector, for the command `chatsvc`: OTLP over HTTP, as protobuf.

All of it is set by the standard variables of OpenTelemetry, which its SDK reads.
"""

from __future__ import annotations

import logging
from threading import Thread

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from chatsvc import __version__

logger = logging.getLogger("chatsvc")

FLUSH_S = 1.5
"""The seconds that the last spans get to reach the collector when the service ends."""

_UNNAMED = "unknown_service"
"""How the SDK's name of a service begins that has none."""


def make_provider() -> TracerProvider | None:
    """Return a provider that sends spans to the collector that the environment names.

    Return None where the process has a provider already, as under `opentelemetry-instrument`: its
    spans go there.
    """
    known = trace.get_tracer_provider()
    if not isinstance(known, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
        return None
    provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _resource() -> Resource:
    """Return what the spans say of this service; what the environment says of it wins."""
    found = Resource.create()
    named = found.attributes.get(SERVICE_NAME, _UNNAMED)
    name = "chatsvc" if str(named).startswith(_UNNAMED) else named
    own = Resource({SERVICE_VERSION: __version__})
    return own.merge(found).merge(Resource({SERVICE_NAME: name}))


def close_provider(provider: TracerProvider) -> None:
    """Send what is left, and return within `FLUSH_S` seconds, whether the collector has taken it."""
    # The SDK repeats what fails, for longer than anybody waits for a process to end.
    closing = Thread(target=provider.shutdown, daemon=True)
    closing.start()
    closing.join(FLUSH_S)
    if closing.is_alive():
        logger.warning("the collector did not take the last spans in %g s", FLUSH_S)
