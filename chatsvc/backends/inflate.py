"""The content codings of responses (RFC 9110 section 8.4.1), undone in steps of bounded work.

A few hundred bytes may unpack to a gigabyte, and as many may unpack to nothing and take time all
the same. Here a step takes at most `INPUT_STEP_BYTES` and gives at most `OUTPUT_STEP_BYTES`, so a
caller that counts the steps decides how long the event loop is held and how much memory is taken.
The module never awaits.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from chatsvc.backends.errors import UNREADABLE
from chatsvc.problems import BackendFailed

INPUT_STEP_BYTES = 1024
"""The most compressed bytes that one step takes: those that unpack to nothing cost the most, up to
a microsecond for three bytes that rebuild a Huffman table."""

OUTPUT_STEP_BYTES = 4 * 1024
"""The most bytes that one step gives; only brotli's decoder may give more, up to 32 KiB."""

ZSTD_WINDOW_LOG = 23
"""The binary logarithm of the largest window of zstd that is accepted: 8 MiB, the most that RFC
9659 section 3 lets a server use."""


class Decompressor(Protocol):
    """The decoder of one compressed stream, of the shape of `compression.zstd.ZstdDecompressor`."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more can be given before further input."""

    @property
    def eof(self) -> bool:
        """Whether the compressed stream has ended; `unused_data` is what follows it."""

    @property
    def unused_data(self) -> bytes:
        """The input behind the end of the compressed stream."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take `data`, with what is left of earlier input, and return at most `max_length` bytes.

        Raises an exception of the library when `data` is not in this coding.
        """


class Inflater:
    """The decoder of a whole body: one compressed stream after another, as RFC 1952 allows it.

    `new` makes the decoder of a stream; it gets the first bytes of it.
    """

    def __init__(self, new: Callable[[bytes], Decompressor]) -> None:
        self._new = new
        self._stream: Decompressor | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` unpacks to: one piece for each step, which may be empty.

        Iterate to the end before the next call. Raises `BackendFailed`, from the iteration, when
        `data` can't be unpacked.
        """
        for begin in range(0, len(data), INPUT_STEP_BYTES):
            rest = data[begin : begin + INPUT_STEP_BYTES]
            while rest or (self._stream is not None and not self._stream.needs_input):
                try:
                    if self._stream is None:
                        self._stream = self._new(rest)
                    piece = self._stream.decompress(rest, OUTPUT_STEP_BYTES)
                except Exception as error:  # each library raises its own
                    raise BackendFailed(UNREADABLE) from error
                rest = b""
                if self._stream.eof:
                    rest, self._stream = self._stream.unused_data, None
                yield piece


class _Zlib:
    """A `Decompressor` of gzip or deflate; `wbits` chooses the format as in `zlib`."""

    def __init__(self, wbits: int) -> None:
        self._object = zlib.decompressobj(wbits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._object.decompress(self._object.unconsumed_tail + data, max_length)
        # zlib can hold back output only when it had no room for it.
        self.needs_input = len(piece) < max_length
        return piece


def _gzip(start: bytes) -> Decompressor:
    return _Zlib(16 + zlib.MAX_WBITS)


def _deflate(start: bytes) -> Decompressor:
    # [RFC 9110 8.4.1.2] "Some non-conformant implementations send the "deflate" compressed data
    # without the zlib wrapper", whose first byte would end in an 8.
    return _Zlib(zlib.MAX_WBITS if start[0] & 0xF == 8 else -zlib.MAX_WBITS)


class _Brotli:
    """A `Decompressor` of brotli (RFC 7932), by the package `Brotli` from its version 1.2 on."""

    unused_data = b""

    def __init__(self) -> None:
        self._object: Any = importlib.import_module("brotli").Decompressor()
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return False  # what follows the end is an error, which `decompress` raises

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece: bytes = self._object.process(data, output_buffer_limit=max_length)
        # Output may be left when no input is; only an empty piece says that there is none.
        self.needs_input = not piece and self._object.can_accept_more_data()
        return piece


def _brotli(start: bytes) -> Decompressor:
    return _Brotli()


def _zstd(start: bytes) -> Decompressor:
    try:
        zstd: Any = importlib.import_module("compression.zstd")  # Python 3.14
    except ImportError:
        zstd = importlib.import_module("backports.zstd")
    options = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    stream: Decompressor = zstd.ZstdDecompressor(options=options)
    return stream


CODINGS: dict[str, Callable[[bytes], Decompressor]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
"""The makers of the decoders, by the name that `Content-Encoding` has for each coding.

Those of `br` and `zstd` need a library that is not always there, as with aiohttp's own."""


def inflater(coding: str) -> Inflater | None:
    """Return the decoder for a `Content-Encoding`, or None if the body is as it was sent.

    A name that is unknown counts as no coding: some servers put a charset there. Raises
    `BackendFailed` for more than one coding, which no server of models has been seen to send.
    """
    name = coding.strip().lower()
    if "," in name:
        raise BackendFailed(UNREADABLE)
    new = CODINGS.get(name)
    return None if new is None else Inflater(new)
