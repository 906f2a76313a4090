"""Server-sent events (PROTOCOL.md section 3; WHATWG HTML section 9.2)."""

from __future__ import annotations

import random
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http import HttpVersion11

from ..cursor import END
from ..replies import Moved, Reply
from ..stores.log import End
from ..ticker import Ticker, Waiter
from .outlet import DIGITS, Answer, ClientGone, Counted, Encodings, Outlet

HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
"""Of every stream (PROTOCOL.md section 2)."""

PROBES = (500_000, 1_000_000)
"""Microseconds after the start at which comments show whether a proxy buffers."""

RETRY = (100, 1500)
"""Milliseconds after which readers that are sent away come back, at random: not all at once."""

SILENCE = 15_000_000
"""Microseconds of silence after which a comment shows that the stream lives."""


class _Data(Encodings):
    """`data` lines, each event's end included. [WHATWG] One line a line of text: a newline is two empty ones."""

    def encode(self, character: str) -> bytes:
        lines = "".join(f"data: {line}\n" for line in character.split("\n"))
        if character == "\n":
            lines = "data:\ndata:\n"
        return f"{lines}\n".encode()


_data = _Data()
DONE = b"data: [DONE]\n\n"


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def json_line(value: object) -> bytes:
    """JSON without the characters at which some clients cut lines though no event stream does."""
    line = msgspec.json.encode(value)
    if not line.isascii():
        for character, escaped in _LINE_ENDS:
            line = line.replace(character, escaped)
    return line


_LINE_ENDS = [(c.encode(), b"\\u%04x" % ord(c)) for c in "\x85\u2028\u2029"]


def json_event(members: dict[str, Any]) -> bytes:
    """An event whose data is an object in one line of JSON."""
    return b"data: %b\n\n" % json_line(members)


class Encoder:
    """Makes bytes of a reply; one for each kind of event stream. `chunked` tells whether they go in chunks."""

    __slots__ = ("_chunked",)

    def __init__(self, *, chunked: bool = True) -> None:
        self._chunked = chunked

    def framed(self, data: bytes) -> bytes:
        """`data` as it goes to the connection."""
        return chunk(data) if self._chunked else data

    def encode(self, position: int, run: Sequence[str]) -> bytes:
        """The events of a run of characters that begins after `position`, framed."""
        return self.framed(self.events(position, run))

    def events(self, position: int, run: Sequence[str]) -> bytes:
        """The same, bare."""
        raise NotImplementedError

    def end(self, end: End) -> bytes:
        """What stands behind the last character, bare."""
        raise NotImplementedError

    def moved(self) -> bytes | None:
        """What a reader is told who is sent away before the end, bare; None: nothing, and the connection is broken."""
        raise NotImplementedError


class _Tails(Encodings):
    """What follows a position in a chunk: the data, and the chunk's end."""

    def encode(self, character: str) -> bytes:
        return b"\n%b\r\n" % _data[character]


_tails = _Tails()

# A chunk's size line, by the size with the "\r\n" at the chunk's end. Shared by all streams: what a stream has of its
# own is fetched from memory anew for each of its events, so it should have little.
_SIZES = [b"%x\r\n" % max(0, size - 2) for size in range(1024)]


class Events(Encoder):
    """Encodes a reply's characters as events: with `ids` or without, in chunks or bare (HTTP/1.0)."""

    __slots__ = ("_ids", "_prefix", "_usual")

    def __init__(self, reply_id: str, *, ids: bool = True, chunked: bool = True):
        super().__init__(chunked=chunked)
        self._ids = ids
        self._prefix = f"id: {reply_id}:".encode() if ids else b""
        self._usual = ids and chunked

    def encode(self, position: int, run: Sequence[str]) -> bytes:
        """See `Encoder.encode`."""
        if len(run) == 1 and self._usual:
            character = run[0]
            number = DIGITS[position + len(character)]
            tail = _tails[character]
            prefix = self._prefix
            size = len(prefix) + len(number) + len(tail)
            if size < 1024:
                return b"".join((_SIZES[size], prefix, number, tail))
        return self.framed(self.events(position, run))

    def events(self, position: int, run: Sequence[str]) -> bytes:
        """See `Encoder.events`."""
        parts: list[bytes] = []
        for character in run:
            position += len(character)
            if self._ids:
                parts += (self._prefix, DIGITS[position], b"\n")
            parts.append(_data[character])
        return b"".join(parts)

    def end(self, end: End) -> bytes:
        """The bad news if any, then `[DONE]`."""
        data = b""
        name = self._prefix + END.encode() + b"\n" if self._ids else b""
        if end.state != "done":
            problem = end.problem or told_stop(end)
            data = b"event: %b\ndata: %b\n\n" % (
                end.state.encode(),
                msgspec.json.encode(problem),
            )
        return data + name + DONE

    def moved(self) -> bytes:
        """No `[DONE]`: whoever reads on resumes, elsewhere."""
        return retry() if self._ids else b""


def told_stop(end: End) -> dict[str, object]:
    """The problem object of a reply that was stopped: its members say it isn't an error of the server."""
    return {
        "type": "/problems/stopped",
        "title": "The reply was stopped",
        "status": 200,
        "detail": "It was stopped on request."
        if end.finish_reason == "stopped"
        else "Nobody was reading it any more.",
    }


def retry() -> bytes:
    """Sends a reader away, to come back after a moment that differs from the others' [WHATWG: milliseconds]."""
    return b"retry: %d\n\n" % random.randint(*RETRY)


def stamp() -> bytes:
    """A comment with the server's time: it shows life, and a buffering proxy."""
    return b": t=%d\n\n" % (time.time() * 1000)


class Heartbeat(Waiter):
    """Writes comments by the clock. Stands in the ticker itself: it is its own callback."""

    __slots__ = ("_events", "_outlet", "_probes")

    def __init__(
        self,
        ticker: Ticker,
        outlet: Outlet,
        events: Encoder,
        probes: Sequence[int] = PROBES,
    ) -> None:
        super().__init__(ticker)
        self._outlet = outlet
        self._events = events
        now = ticker.refresh()  # behind the first stamp: the others promise a distance
        self._probes = [now + probe for probe in reversed(probes)]
        self.send = self._beat
        self.until(self._probes[-1] if self._probes else outlet.wrote + SILENCE)
        ticker.enter(self)

    def _beat(self, _: None) -> Waiter | None:
        now = self.ticker.now
        outlet = self._outlet
        try:
            if self._probes and now >= self._probes[-1]:
                self._probes.pop()
                outlet.write(self._events.framed(stamp()))
            elif now - outlet.wrote >= SILENCE:
                outlet.write(self._events.framed(stamp()))
        except ClientGone:
            return None
        self.until(self._probes[-1] if self._probes else outlet.wrote + SILENCE)
        return self


def is_chunked(request: web.Request) -> bool:
    """Whether the answer goes in chunks: not to a client of HTTP/1.0."""
    return request.version >= HttpVersion11


def stream(
    request: web.Request,
    reply: Reply,
    after: int,
    ticker: Ticker,
    counted: Counted,
    *,
    ids: bool = True,
    first: bytes = b"",
) -> Coroutine[Any, Any, web.StreamResponse]:
    """Answer with a reply as an event stream. `first` goes before the first event."""
    events = Events(reply.id, ids=ids, chunked=is_chunked(request))
    if ids:
        first = stamp() + first
    probes = PROBES if ids else None
    return send(
        request, reply, after, ticker, counted, events, first=first, probes=probes
    )


async def send(
    request: web.Request,
    reply: Reply,
    after: int,
    ticker: Ticker,
    counted: Counted,
    events: Encoder,
    *,
    first: bytes,
    probes: Sequence[int] | None = (),
    headers: Mapping[str, str] = HEADERS,
) -> web.StreamResponse:
    """Answer with a reply as events of any kind. `first` goes out at once; `counted` is held as long as it lasts.

    Comments show that the stream lives: at `probes` (microseconds after its start) and in silence; None: never.
    """
    response = Answer(headers={**headers, "X-Reply-Id": reply.id})
    response.content_type = "text/event-stream"
    response.charset = "utf-8"
    if is_chunked(request):
        response.enable_chunked_encoding()
    with counted, reply.reading():
        await response.prepare(request)
        outlet = Outlet(request, ticker)
        heartbeat = None
        async with aclosing(reply.characters(after)) as characters:
            try:
                if reply.out() > after:  # so there is no wait: it goes with the head
                    first += events.events(*await anext(characters))
                await response.write(first)
                response.headers.clear()  # gone out, and a kilobyte in each stream
                if probes is not None:
                    heartbeat = Heartbeat(ticker, outlet, events, probes)
                await ticker.drive(outlet.pump(characters, events.encode))
                told = events.end(reply.end) if reply.end is not None else b""
            except Moved:
                last = events.moved()
                if last is None:
                    outlet.abort()
                    return response
                told = last
            finally:
                if heartbeat is not None:
                    heartbeat.close()
    await response.write_eof(told)
    return response
