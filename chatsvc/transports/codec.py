"""The interfaces of codecs: what the events of a reply's stream say, whatever carries them.

A codec belongs to one stream. It makes *events*: whole payloads without any framing, which
`framing` wraps for the connection. A `Codec` is one of the answer's text: `encoder` joins its
events into the one cached path that a single character takes. A `PartsCodec` is one of all parts.
Codecs never write and never wait.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import ClassVar

from chatsvc.model import End
from chatsvc.replies import PartItem

CACHED_CHARACTERS = 4096
"""Characters whose encodings one cache keeps: more than a conversation uses, in any language."""

LONGEST_CACHED = 16
"""Code points of the longest character that is cached: one may have any number of marks."""


class Encodings(dict[str, bytes]):
    """A bounded cache of what `encode(character)` returns; `cache[character]` fills it."""

    __slots__ = ("_encode",)

    def __init__(self, encode: Callable[[str], bytes]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, character: str) -> bytes:
        if len(self) >= CACHED_CHARACTERS:
            self.clear()
        encoded = self._encode(character)
        if len(character) <= LONGEST_CACHED:
            self[character] = encoded
        return encoded


class _Digits(dict[int, bytes]):
    """A table of numbers in decimal; those that it lacks are made, and not kept."""

    def __missing__(self, number: int) -> bytes:
        return b"%d" % number


class _NoDigits(dict[int, bytes]):
    """A table of nothing for every number."""

    def __missing__(self, number: int) -> bytes:
        return b""


_COMMON_POSITIONS = range(8192)

DIGITS: Mapping[int, bytes] = _Digits((n, b"%d" % n) for n in _COMMON_POSITIONS)
"""The positions in decimal: nearly all that occur are made in advance, others when looked up."""

NO_DIGITS: Mapping[int, bytes] = _NoDigits.fromkeys(_COMMON_POSITIONS, b"")
"""The table in place of `DIGITS` for events that do not say their position: all of it is empty."""


@cache
def encodings(tail: Callable[[str], bytes]) -> Encodings:
    """Return the cache of what `tail` makes of each character; all streams of a kind share it."""
    return Encodings(tail)


class StreamCodec(ABC):
    """What the codecs of all streams have: the kind of stream, its first events and its last.

    `probe_times_us` has the times (microseconds after the start) of the comments that show whether
    a proxy buffers; after these, comments come in silence alone. With None, the stream has no
    comments.
    """

    __slots__ = ("probe_times_us",)

    transport: ClassVar[str]
    """The name of this kind of stream in the metrics."""

    media_type: ClassVar[str] = "text/event-stream"
    """The media type of an HTTP body of such events."""

    charset: ClassVar[str | None] = "utf-8"
    """The `charset` parameter of the media type; None where the type defines none."""

    headers: ClassVar[Mapping[str, str]] = {}
    """The headers of an HTTP response that only this kind of stream has."""

    marks_end: ClassVar[bool] = True
    """Whether the last event says that the reply has ended.

    If none does, a body without chunks (HTTP/1.0) that is not complete is ended by a reset of the
    connection.
    """

    def __init__(self, probe_times_us: tuple[int, ...] | None = None) -> None:
        self.probe_times_us = probe_times_us

    def first(self) -> list[bytes]:
        """Return the events that go out with the response's head, before any character."""
        return []

    def past(self) -> list[bytes]:
        """Return the events that go out behind the `first` ones, before any character of the reply.

        They may be large: what the client is to have that came before the reply.
        """
        return []

    @abstractmethod
    def end(self, end: End) -> list[bytes] | None:
        """Return the last events of a reply that ended as `end` says.

        None breaks the connection off.
        """

    @abstractmethod
    def sent_away(self) -> list[bytes] | None:
        """Return the last events for a reader that its node sends away before the reply has ended.

        None breaks the connection off. It is not called for WebSockets, which are closed with the
        code of `draining`.
        """


class Codec(StreamCodec):
    """The codec of one stream of the answer's text: it makes the stream's events.

    The event of a character is `prefix + numbers[position] + tail(character)`, where `position` is
    that behind the character (code points); so is the event of several characters where `joins` is
    true. `prefix` is the stream's own. `numbers` is `DIGITS` or `NO_DIGITS`. `tail` is one function
    for all streams of a kind, because its results are cached. `probe_times_us` is that of
    `StreamCodec`.
    """

    __slots__ = ("numbers", "prefix", "tail")

    joins: ClassVar[bool] = False
    """Whether the characters of one run share one event, rather than having one each."""

    def __init__(
        self,
        tail: Callable[[str], bytes],
        *,
        prefix: bytes = b"",
        numbers: Mapping[int, bytes] = NO_DIGITS,
        probe_times_us: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(probe_times_us)
        self.tail = tail
        self.prefix = prefix
        self.numbers = numbers

    def events(self, position: int, run: Sequence[str]) -> list[bytes]:
        """Return the events of a run of characters that begins behind `position` (code points).

        An override may add to the first event: the first run of a stream passes through here, and
        not through the cache of `encoder`.
        """
        prefix, numbers = self.prefix, self.numbers
        if self.joins:
            text = "".join(run)
            return [prefix + numbers[position + len(text)] + self.tail(text)]
        tails = encodings(self.tail)
        if numbers is NO_DIGITS:
            return [prefix + tails[character] for character in run]
        if isinstance(run, str):  # each of its characters is one code point
            return [
                prefix + numbers[end] + tails[character]
                for end, character in enumerate(run, position + 1)
            ]
        events = []
        for character in run:
            position += len(character)
            events.append(prefix + numbers[position] + tails[character])
        return events


class MixedCodec(Codec):
    """The codec of one stream of the answer's text and of what stands beside it.

    Text goes the way of any `Codec`, as long as no side unit comes, and no more work is done for it.
    `part_events` takes everything else; afterwards `prefix` may be another.
    """

    __slots__ = ()

    @property
    def holds(self) -> bool:
        """Whether something waits for the next unit, also if that is text: `part_events` takes it."""
        return False

    @abstractmethod
    def part_events(self, items: Sequence[PartItem]) -> list[bytes]:
        """Return the events of some marks and texts, in order."""


class PartsCodec(StreamCodec):
    """The codec of one stream of all parts of a reply: it makes the stream's events."""

    __slots__ = ()

    @abstractmethod
    def text_event(self, offset: int, text: str) -> bytes:
        """Return the event of a text of the answer that ends at `offset`: the one of `events`."""

    @abstractmethod
    def block_event(self, data: bytes) -> bytes:
        """Return the event of a rendered block, whose `data` is JSON in one line. It has no id."""

    @abstractmethod
    def events(self, items: Sequence[PartItem]) -> list[bytes]:
        """Return the events of some marks and texts, in order."""


def stop_problem(end: End) -> dict[str, object]:
    """Return the problem object (RFC 9457) of a reply that was stopped.

    Stopping is no error of the server, so its type is not in the table of PROTOCOL.md section 6,
    and its status is 200.
    """
    return {
        "type": "/problems/stopped",
        "title": "The reply was stopped",
        "status": 200,
        "detail": "It was stopped on request."
        if end.finish_reason == "stopped"
        else "Nobody was reading it any more.",
    }
