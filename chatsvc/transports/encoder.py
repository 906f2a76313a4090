"""The encoder: a codec's events in a framing, with one cached path for a single character.

Nearly every write of the service is one character of one stream, so what that costs is what a
stream costs. Its bytes are joined from tables that all streams share, which stay in the processor's
cache: with thousands of streams, an object that belongs to one stream has to be fetched from memory
for each event. Whatever is not one character is made by `Codec.events` and `Framing.wrap`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from operator import add

from chatsvc.transports.codec import NO_DIGITS, Codec, Encodings, encodings
from chatsvc.transports.framing import Framing


@cache
def _tails(tail: Callable[[str], bytes], framing: Framing) -> Encodings:
    return Encodings(lambda character: tail(character) + framing.trailer)


@cache
def _frames(tail: Callable[[str], bytes], framing: Framing) -> Encodings:
    return Encodings(lambda character: framing.wrap([tail(character)]))


class Encoder(ABC):
    """The interface of an encoder: a stream's characters in, the bytes for its connection out."""

    __slots__ = ()

    @abstractmethod
    def encode(self, position: int, run: Sequence[str]) -> bytes:
        """Return the bytes of a run of characters that begins behind `position` (code points)."""


def make_encoder(codec: Codec, framing: Framing) -> Encoder:
    """Return the encoder of a stream."""
    if codec.prefix or codec.numbers is not NO_DIGITS:
        return EventEncoder(codec, framing)
    return CharacterEncoder(codec, framing)


class EventEncoder(Encoder):
    """The encoder of events that differ by stream or position: each is joined from four parts."""

    __slots__ = (
        "_codec",
        "_framing",
        "_heads",
        "_limit",
        "_numbers",
        "_prefix",
        "_run_tails",
        "_tails",
    )

    def __init__(self, codec: Codec, framing: Framing) -> None:
        self._prefix = codec.prefix
        self._numbers = codec.numbers
        self._tails = _tails(codec.tail, framing)
        # Without the trailer: characters that go together share one. None if the codec joins them.
        self._run_tails = (
            None if codec.joins or framing.one_each else encodings(codec.tail)
        )
        self._heads = framing.heads
        # The size from which on an event is left to the codec: 0 until the first run is encoded,
        # because a codec may add to the first event; then that of the table of heads.
        self._limit = 0
        self._codec = codec
        self._framing = framing

    def encode(self, position: int, run: Sequence[str]) -> bytes:
        """See `Encoder.encode`."""
        if len(run) == 1:
            character = run[0]
            prefix, tail = self._prefix, self._tails[character]
            number = self._numbers[position + len(character)]
            size = len(prefix) + len(number) + len(tail)
            if size < self._limit:
                return b"".join((self._heads[size], prefix, number, tail))
        elif self._limit and self._run_tails is not None and isinstance(run, str):
            # The words of a model. Each character is one code point.
            ends = range(position + 1, position + len(run) + 1)
            events = map(
                add,
                map(self._numbers.__getitem__, ends),
                map(self._run_tails.__getitem__, run),
            )
            return self._framing.wrap_one(self._prefix.join((b"", *events)))
        self._limit = len(self._heads)
        return self._framing.wrap(self._codec.events(position, run))


class CharacterEncoder(Encoder):
    """The encoder of events that differ by character alone: each is cached as a whole frame."""

    __slots__ = ("_begun", "_codec", "_frames", "_framing")

    def __init__(self, codec: Codec, framing: Framing) -> None:
        self._frames = _frames(codec.tail, framing)
        # Whether the first run has been encoded, by the codec, which may add to the first event.
        self._begun = False
        self._codec = codec
        self._framing = framing

    def encode(self, position: int, run: Sequence[str]) -> bytes:
        """See `Encoder.encode`."""
        if self._begun and len(run) == 1:
            return self._frames[run[0]]
        self._begun = True
        return self._framing.wrap(self._codec.events(position, run))
