"""The bare characters, as `text/plain`, for `curl` and for whoever wants just the text."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from chatsvc.model import End
from chatsvc.replies import Reply
from chatsvc.transports.response import Encoder, ReplyResponse, is_chunked
from chatsvc.transports.writing import ReaderScope


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

    def sent_away(self) -> None:
        """The reader can't be told to come back."""


def stream(
    request: web.Request, reply: Reply, after: int, held: ReaderScope
) -> ReplyResponse:
    """A reply's text."""
    text = Text(chunked=is_chunked(request))
    return ReplyResponse(
        request, reply, after, held, text, probes=None, content_type="text/plain"
    )
