"""The collector of traces that the command `chatsvc` sends spans to, if the environment names one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chatsvc.settings import BadSetting, wants_traces

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

logger = logging.getLogger("chatsvc")


@contextmanager
def collector() -> Iterator[TracerProvider | None]:
    """Return a context manager that gives the provider for spans, or None if there is no collector.

    In the end, what is left is sent, within bounds (see `provider`). Without the extra `otel` there is
    one line in the log that says so, and None. Raises `BadSetting` when OpenTelemetry refuses its own
    variables.
    """
    provider = None
    if wants_traces():
        try:
            # It takes a tenth of a second, and is not there without the extra.
            from chatsvc.tracing.provider import close_provider, make_provider

            provider = make_provider()
        except ImportError as error:
            logger.info(
                "no traces are sent without the extra otel, which `pip install '.[otel]'` in a "
                "clone of chatsvc installs: %s",
                error,
            )
        except Exception as error:
            # Each part of the SDK refuses the variables that it reads in its own way, some when they
            # are imported.
            raise BadSetting(
                f"OpenTelemetry refuses its variables (OTEL_…): {_in_words(error)}"
            ) from error
    try:
        yield provider
    finally:
        if provider is not None:
            close_provider(provider)


def _in_words(error: Exception) -> str:
    """Return an error in one line, with its kind if it has no words of its own."""
    words = " ".join(str(error).split())
    return words if isinstance(error, ValueError) and words else repr(error)
