"""The bare characters, as `text/plain`, for `curl` and for whoever wants just the text."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from aiohttp import web

from ..replies import Reply
from ..stores.log import End
from ..ticker import Ticker
from .outlet import Counted
from .streaming import Encoder, is_chunked, send


class Text(Encoder):
    """A reply's text as it is. What is not whole is broken off, so it never looks complete."""

    __slots__ = ()

    def plain(self, position: int, run: Sequence[str]) -> bytes:
        """See `Encoder.plain`."""
        return "".join(run).encode()

    def end(self, end: End) -> bytes | None:
        """Nothing."""
        return None if end.state == "failed" else b""

    def moved(self) -> None:
        """The reader can't be told to come back."""


def stream(
    request: web.Request,
    reply: Reply,
    after: int,
    ticker: Ticker,
    counted: Counted,
) -> Coroutine[Any, Any, web.StreamResponse]:
    """Answer with a reply's text."""
    text = Text(chunked=is_chunked(request))
    return send(
        request,
        reply,
        after,
        ticker,
        counted,
        text,
        probes=None,
        content_type="text/plain",
    )
