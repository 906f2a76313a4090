"""The bare characters, as `text/plain`, for `curl` and for whoever wants just the text."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from ..replies import Reply
from ..stores.log import End
from .outlet import Held
from .streaming import Answer, Encoder, is_chunked


class Text(Encoder):
    """A reply's text as it is. What is not whole is broken off, so it never looks complete."""

    __slots__ = ()
    marks_end = False

    def plain(self, position: int, run: Sequence[str]) -> bytes:
        """See `Encoder.plain`."""
        return "".join(run).encode()

    def end(self, end: End) -> bytes | None:
        """Nothing."""
        return None if end.state == "failed" else b""

    def moved(self) -> None:
        """The reader can't be told to come back."""


def stream(request: web.Request, reply: Reply, after: int, held: Held) -> Answer:
    """A reply's text."""
    text = Text(chunked=is_chunked(request))
    return Answer(
        request, reply, after, held, text, probes=None, content_type="text/plain"
    )
