"""Server-sent events (PROTOCOL.md section 3; WHATWG HTML section 9.2)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from chatsvc.cursor import END
from chatsvc.model import End
from chatsvc.replies import Reply
from chatsvc.transports.response import (
    PROBES,
    Encoder,
    ReplyResponse,
    is_chunked,
    stamp,
)
from chatsvc.transports.writing import DIGITS, Encodings, ReaderScope

RETRY = (100, 1500)
"""Milliseconds after which readers that are sent away come back, at random: not all at once."""


class _Data(Encodings):
    """`data` lines, each event's end included. [WHATWG] One line a line of text: a newline is two empty ones."""

    def encode(self, character: str) -> bytes:
        lines = "".join(f"data: {line}\n" for line in character.split("\n"))
        if character == "\n":
            lines = "data:\ndata:\n"
        return f"{lines}\n".encode()


_data = _Data()

DONE = b"data: [DONE]\n\n"
"""The last event of a stream: closed, don't come back."""


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


class _Tails(Encodings):
    """What follows a position in a chunk: the data, and the chunk's end."""

    def encode(self, character: str) -> bytes:
        return b"\n%b\r\n" % _data[character]


_tails = _Tails()

# A chunk's size line, by the size with the "\r\n" at the chunk's end. Shared by all streams: what a stream has of its
# own is fetched from memory anew for each of its events, so it should have little.
_SIZES = [b"%x\r\n" % max(0, size - 2) for size in range(1024)]


class SseEncoder(Encoder):
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
        return self.framed(self.plain(position, run))

    def plain(self, position: int, run: Sequence[str]) -> bytes:
        """See `Encoder.plain`."""
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
                json_line(problem),
            )
        return data + name + DONE

    def sent_away(self) -> bytes:
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


def stream(
    request: web.Request,
    reply: Reply,
    after: int,
    held: ReaderScope,
    *,
    ids: bool = True,
    first: bytes = b"",
) -> ReplyResponse:
    """A reply as an event stream. `first` goes before the first event."""
    events = SseEncoder(reply.id, ids=ids, chunked=is_chunked(request))
    if ids:
        first = stamp() + first
    probes = PROBES if ids else None
    return ReplyResponse(
        request, reply, after, held, events, first=first, probes=probes
    )
