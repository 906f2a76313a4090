"""Requests whose end two servers may see at different places, and what hides behind them.

Such a request, which a proxy passes on, would have the service take the body of one client's request
for the next request, which may be another client's (RFC 9112 section 11.2).
"""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.settings import Settings

from .running import inside

pytestmark = pytest.mark.any_store

BODY = b'{"message": "a"}'
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
HIDDEN = (
    b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
)
HIDDEN += b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
HEAD = (
    b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", CHUNKED),
        (b"Content-Length: 16\r\nContent-Length: 0\r\n", BODY),
        (b"Content-Length: 16, 0\r\n", BODY),
        (b"Content-Length: +16\r\n", BODY),
        (b"Content-Length: 0x10\r\n", BODY),
        (b"Content-Length: 1_6\r\n", BODY),
        (b"Content-Length: -16\r\n", BODY),
        (b"Content-Length : 16\r\n", BODY),
        (b"X-Folded: a\r\n Content-Length: 0\r\nContent-Length: 16\r\n", BODY),
        (b"X-Cut: a\rContent-Length: 0\r\nContent-Length: 16\r\n", BODY),
        (b"X-Cut: a\0b\r\nContent-Length: 16\r\n", BODY),
        (b"Transfer-Encoding: xchunked\r\n", CHUNKED),
        (b"Transfer-Encoding: \x0bchunked\r\n", CHUNKED),
        (b"Transfer-Encoding : chunked\r\n", CHUNKED),
        (b"Transfer-Encoding: chunked, identity\r\n", CHUNKED),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", CHUNKED),
        (b"Transfer-Encoding: identity\r\nContent-Length: 16\r\n", BODY),
        (b"Transfer-Encoding: chunked\r\n", CHUNKED.replace(b"\r\n", b"\n")),
        (b"Transfer-Encoding: chunked\r\n", b"0x" + CHUNKED),
        (b"Transfer-Encoding: chunked\r\n", b"-" + CHUNKED),
        (b"Transfer-Encoding: chunked\r\n", b"5" + CHUNKED[2:]),
        (b"Transfer-Encoding: chunked\r\n", b"10;a\nb" + CHUNKED[2:]),
    ],
)
async def test_a_request_with_two_ends_is_refused_and_nothing_behind_it_is_read(
    headers: bytes, body: bytes
) -> None:
    async with inside(Settings(pace=0)) as chat:
        reader, writer = await asyncio.open_connection(chat.host, chat.port)
        writer.write(HEAD + headers + b"\r\n" + body + HIDDEN)
        got = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert got.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 ")), got
        assert b" 200 OK" not in got and not chat.opened


async def test_a_request_with_one_end_is_answered_and_the_next_one_too() -> None:
    async with inside(Settings(pace=0)) as chat:
        for headers, body in (
            (b"Content-Length: 16\r\n", BODY),
            (b"Transfer-Encoding: chunked\r\n", CHUNKED),
        ):
            reader, writer = await asyncio.open_connection(chat.host, chat.port)
            writer.write(HEAD + headers + b"\r\n" + body + HIDDEN)
            got = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            assert got.count(b"HTTP/1.1 200 OK") == 2
