"""The bare characters, as `text/plain`, for `curl` and for whoever wants just the text."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing, suppress

from aiohttp import web
from aiohttp.http import HttpVersion11

from ..replies import Moved, Reply
from ..ticker import Ticker
from .outlet import Answer, Counted, Outlet
from .sse import HEADERS, chunk


def _bare(_: int, run: Sequence[str]) -> bytes:
    return "".join(run).encode()


def _chunked(_: int, run: Sequence[str]) -> bytes:
    return chunk("".join(run).encode())


async def stream(
    request: web.Request,
    reply: Reply,
    after: int,
    ticker: Ticker,
    counted: Counted,
) -> web.StreamResponse:
    """Answer with a reply's text; a reply that failed breaks the body off, so it never looks complete."""
    response = Answer(headers={**HEADERS, "X-Reply-Id": reply.id})
    response.content_type = "text/plain"
    response.charset = "utf-8"
    chunked = request.version >= HttpVersion11
    if chunked:
        response.enable_chunked_encoding()
    with counted, reply.reading():
        await response.prepare(request)
        outlet = Outlet(request, ticker)
        with suppress(Moved):
            async with aclosing(reply.characters(after)) as characters:
                first = b""
                if reply.out() > after:  # so there is no wait: it goes with the head
                    first = _bare(*await anext(characters))
                await response.write(first)
                response.headers.clear()  # gone out, and a kilobyte in each stream
                encode = _chunked if chunked else _bare
                await ticker.drive(outlet.pump(characters, encode))
        if reply.end is None or reply.end.state == "failed":
            outlet.abort()
            return response
    await response.write_eof()
    return response
